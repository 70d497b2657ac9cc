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


def test_the_body_length_of_the_context_holds() -> None:
    """Forecasts of several blocks are as long as the first, although later contexts are forecasts throughout."""
    walk = gait(seconds=2.0, fps=15.0)
    torso = np.linalg.norm(walk.positions[:, 1] - walk.positions[:, 8], axis=1)
    (future,) = roll_out([walk], Stretching("zero-velocity", "xyz"), 120, 1, np.random.default_rng(0))[0]
    stretched = np.linalg.norm(future.positions[:, 1] - future.positions[:, 8], axis=1)
    np.testing.assert_allclose(stretched, 1.2 * np.median(torso), rtol=0.02)
