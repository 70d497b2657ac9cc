"""Rolled out, block by block: what holds from one block to the next."""

from __future__ import annotations

from typing import Any

import numpy as np

from lmm.datasets.synthetic import gait
from lmm.inference.rollout import roll_out
from lmm.models.baselines import Baseline
from lmm.pipeline.features import NECK


class Stretching(Baseline):
    """Forecasts the last pose with a neck 1.2 body lengths above the hips."""

    context_frames = 15

    def forecast(self, *given: Any, **named: Any) -> Any:
        out = super().forecast(*given, **named)
        out.reshape(*out.shape[:-1], 25, 3)[..., NECK, :] = (0, 1.2, 0)
        return out


class Drawing(Baseline):
    """Holds the last pose; two samples or more are drawn, and move up by as much as their generator says."""

    context_frames, fewest_draws = 15, 2

    def forecast(
        self, context: Any, valid: Any, observed: Any, frames: int, samples: int = 1, generator: Any = None
    ) -> Any:
        out = super().forecast(context, valid, observed, frames, samples, generator)
        if samples >= self.fewest_draws:
            out[..., 3 * NECK + 1] += generator.uniform(0.1, 0.2, out.shape[:3])
        return out


def test_every_block_of_a_sample_is_a_draw() -> None:
    walk = gait(seconds=2.0, fps=15.0)
    for samples, moves in ((1, False), (3, True)):
        (futures,) = roll_out([walk], Drawing("zero-velocity", "xyz"), 90, samples, np.random.default_rng(0))
        assert len(futures) == samples
        for future in futures:
            neck = future.positions[:, NECK] - future.positions[:, 8]
            still = np.abs(np.diff(neck, axis=0)).max(axis=1) < 1e-6
            assert [bool(still[b : b + 29].all()) for b in (0, 30, 60)] == [not moves] * 3


def test_the_body_length_of_the_context_holds() -> None:
    """Forecasts of several blocks are as long as the first, although later contexts are forecasts throughout."""
    walk = gait(seconds=2.0, fps=15.0)
    torso = np.linalg.norm(walk.positions[:, 1] - walk.positions[:, 8], axis=1)
    (future,) = roll_out([walk], Stretching("zero-velocity", "xyz"), 120, 1, np.random.default_rng(0))[0]
    stretched = np.linalg.norm(future.positions[:, 1] - future.positions[:, 8], axis=1)
    np.testing.assert_allclose(stretched, 1.2 * np.median(torso), rtol=0.02)
