"""Scores of codecs, by hand: a perfect one, one that lifts, one that trembles, one whose path is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm.datasets.synthetic import gait
from lmm.evaluation.reconstruction import jerk, jerk_error, reconstruction
from lmm.models.codec import Codec
from lmm.pipeline.codec_features import FPS, SLICES, encode


class Changed(Codec):
    """A codec whose latents are the features, padded to whole latents, and which changes them when decoding."""

    change: Any = staticmethod(lambda x: x)

    def encode(self, features: Tensor) -> Tensor:
        return features

    def decode(self, latents: Tensor) -> Tensor:
        return self.change(latents.clone())


def scores(change: Any, **config: Any) -> dict[str, float]:
    codec = Changed.of_size("tiny", **config)
    codec.change = change
    return reconstruction(codec, [gait(seconds=9, seed=0, turn_deg_per_s=20), gait(seconds=3)])


def test_a_perfect_codec_has_no_error_and_costs_what_its_latents_do() -> None:
    told = scores(lambda x: x)
    assert all(told[name] == 0 for name in ("mpjpe_mm", "mpjpe_path_mm", "mpjpe_clip_mm", "sjpe", "jerk_difference"))
    assert told["frames"] == 12 * FPS
    assert told["bytes_per_second"] == 32 * 2 * 7.5
    assert scores(lambda x: x, bottleneck="fsq", levels=(16, 16))["bytes_per_second"] == 7.5


def test_a_lifted_joint_and_a_path_that_is_too_long() -> None:
    def lifted(x: Tensor) -> Tensor:
        x[..., SLICES["joints"].start + 1] += 0.16
        return x

    told = scores(lifted)
    for name in ("mpjpe_mm", "mpjpe_path_mm", "mpjpe_clip_mm"):
        assert told[name] == pytest.approx(10, rel=1e-3)

    def longer(x: Tensor) -> Tensor:
        x[..., SLICES["velocity"]] *= 1.1
        return x

    told = scores(longer)
    assert told["mpjpe_mm"] < 1e-3
    assert 0 < told["mpjpe_path_mm"] < told["mpjpe_clip_mm"]
    y = [encode(m)[0] for m in (gait(seconds=9, seed=0, turn_deg_per_s=20), gait(seconds=3))]
    straight = np.cumsum(np.linalg.norm(y[1][:, SLICES["velocity"]], axis=1)) / FPS * 0.1  # the way gone too far
    assert told["mpjpe_clip_mm"] > 1000 * straight.mean() * 0.9 / 4


def test_jerk_is_the_third_derivative_and_sjpe_its_symmetric_error() -> None:
    t = np.arange(40) / FPS
    cubic = np.zeros((40, 2, 3))
    cubic[:, 0, 0], cubic[:, 1, 2] = t**3, -2 * t**3
    np.testing.assert_allclose(jerk(cubic), [[6, 12]] * 37, rtol=1e-6)
    told = jerk_error(3 * cubic, cubic)
    assert told["sjpe"] == pytest.approx(0.5)
    assert (told["sjpe_noise"], told["sjpe_static"]) == (told["sjpe"], 0)
    assert told["jerk_difference"] == pytest.approx(18)
    told = jerk_error(0 * cubic, cubic)
    assert (told["sjpe"], told["sjpe_static"]) == (pytest.approx(1), pytest.approx(1))
    assert jerk_error(cubic[:3], cubic[:3])["sjpe"] == 0


def test_real_latents_pass_through() -> None:
    torch.manual_seed(0)
    told = reconstruction(Codec.of_size("tiny").eval(), [gait(seconds=1.1)])
    assert told["frames"] == 33
    assert told["mpjpe_mm"] > 1
