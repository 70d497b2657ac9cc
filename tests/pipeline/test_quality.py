"""Plausibility figures on a walk whose measures are known, and on walks that were spoilt in one way each."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.motion import Motion
from lmm.datasets.synthetic import gait
from lmm.pipeline.quality import quality


@pytest.fixture(scope="module")
def walk() -> Motion:
    return gait(seconds=4.0, fps=30.0, height_m=1.75)


def test_a_walk_is_plausible(walk: Motion) -> None:
    figures = quality(walk)
    assert figures["warnings"] == []
    assert figures["missing"] == 0
    assert figures["thigh_m"] == pytest.approx(0.245 * 1.75, abs=0.01)
    assert figures["hip_height_m"] == pytest.approx(0.53 * 1.75, abs=0.06)
    assert figures["bone_length_cv"] < 0.001
    assert figures["upright"] == figures["left_is_left"] == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda p: p * (-1, 1, 1), "mirrored"),
        (lambda p: p * 100, "--units"),
        (lambda p: p * 0.01, "--units"),
        (lambda p: p[..., [0, 2, 1]] * (1, -1, -1), "--up"),
        (lambda p: p + np.random.default_rng(0).normal(0, 0.15, p.shape), "bones change"),
    ],
)
def test_what_is_wrong_is_named(walk: Motion, spoil: object, says: str) -> None:
    figures = quality(walk.replace(positions=spoil(walk.positions)))  # type: ignore[operator]
    assert any(says in w for w in figures["warnings"]), figures


def test_swapped_labels_are_seen_as_mirrored(walk: Motion) -> None:
    swapped = walk.replace(positions=walk.positions[:, list(walk.skeleton.mirrored)])
    assert any("mirrored" in w for w in quality(swapped)["warnings"])


def test_faster_than_people(walk: Motion) -> None:
    assert any("--source-fps" in w for w in quality(walk.replace(fps=300.0))["warnings"])


def test_image_motions_count_in_trunk_lengths(walk: Motion) -> None:
    image = walk.replace(positions=walk.positions[..., :2] * (300, -300) + (640, 700), space="image")
    figures = quality(image)
    assert figures["hip_height_trunks"] == pytest.approx(0.53 / 0.288, abs=0.2)
    assert figures["warnings"] == []
    lost = image.positions.copy()
    lost[10:20:2, 4] += 250
    (warning,) = quality(image.replace(positions=lost))["warnings"]
    assert "joints leap" in warning
