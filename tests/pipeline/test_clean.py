"""Each cleaning step by itself, on motions whose faults are known, and the whole on real ones."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.errors import MotionError
from lmm.core.motion import INTERPOLATED, MISSING, RECORDED, REMOVED, Motion
from lmm.datasets.synthetic import gait
from lmm.pipeline.clean import (
    CleaningSettings,
    clean,
    drop_low_confidence,
    fill_gaps,
    remove_outliers,
    store_rate,
    trim,
)
from lmm.skeletons import BODY_25

WRIST = BODY_25.index["RWrist"]


@pytest.fixture(scope="module")
def walk() -> Motion:
    return gait(seconds=4.0, fps=60.0)


def changed(motion: Motion, frames: slice | list[int], joint: int, by: object) -> Motion:
    p = motion.positions.copy()
    p[frames, joint] = by if by is np.nan else p[frames, joint] + by
    return motion.replace(positions=p, confidence=np.isfinite(p).all(axis=-1).astype(float))


def test_low_confidence_becomes_missing_and_is_told(walk: Motion) -> None:
    c = walk.confidence.copy()
    c[3, WRIST] = 0.1
    out = drop_low_confidence(walk.replace(confidence=c), 0.2)
    assert np.isnan(out.positions[3, WRIST]).all()
    assert out.flags[3, WRIST] == REMOVED
    assert (out.flags == REMOVED).sum() == 1


@pytest.mark.parametrize("size_m", [0.2, 0.5, 3.0])
def test_a_single_frame_spike_is_removed_and_nothing_else(walk: Motion, size_m: float) -> None:
    out = remove_outliers(changed(walk, [100], WRIST, (0, size_m, 0)), CleaningSettings())
    assert np.argwhere(out.flags == REMOVED).tolist() == [[100, WRIST]]


def test_a_joint_that_is_lost_for_a_while_is_removed(walk: Motion) -> None:
    out = remove_outliers(changed(walk, slice(100, 120), WRIST, (0.9, 0.4, 0)), CleaningSettings())
    assert (out.flags[100:120, WRIST] == REMOVED).all()
    assert (np.delete(out.flags, WRIST, axis=1) == RECORDED).all()


def test_clean_movement_loses_nothing(walk: Motion) -> None:
    assert not (remove_outliers(walk, CleaningSettings()).flags == REMOVED).any()


def test_short_gaps_are_filled_with_less_confidence_and_long_ones_stay(walk: Motion) -> None:
    short, long = slice(50, 80), slice(120, 151)  # 30 frames are 0.5 s at 60 FPS
    gappy = changed(changed(walk, short, WRIST, np.nan), long, WRIST, np.nan)
    out = fill_gaps(gappy, 0.5, 0.5)
    assert (out.flags[short, WRIST] == INTERPOLATED).all()
    assert (out.confidence[short, WRIST] == 0.5).all()
    assert (out.flags[long, WRIST] == MISSING).all()
    assert np.isnan(out.positions[long, WRIST]).all()
    outside = np.r_[0:50, 80:120, 151:240]
    np.testing.assert_array_equal(out.positions[outside], walk.positions[outside])
    assert np.abs(out.positions[55:75, WRIST] - walk.positions[55:75, WRIST]).max() < 0.2


def test_trim_keeps_the_clock(walk: Motion) -> None:
    p = walk.positions.copy()
    p[:10] = np.nan
    out = trim(walk.replace(positions=p))
    assert out.num_frames == walk.num_frames - 10
    assert out.start_s == pytest.approx(10 / 60)


def test_nothing_left_is_an_error(walk: Motion) -> None:
    with pytest.raises(MotionError, match="no joint is left"):
        clean(walk.replace(confidence=np.full_like(walk.confidence, 0.1)))


@pytest.mark.parametrize(
    ("source", "expected"), [(120, 30), (30, 30), (29.97, 30), (25, 15), (20, 15), (15, 15), (10, 15)]
)
def test_store_rate(source: float, expected: float) -> None:
    assert store_rate(source) == expected


def test_a_clean_clip_is_unchanged_at_its_own_rate() -> None:
    walk = gait(seconds=2.0, fps=30.0)
    out = clean(walk)
    np.testing.assert_array_equal(out.positions, walk.positions)
    assert out.meta["cleaning"]["max_gap_s"] == 0.5
    np.testing.assert_array_equal(clean(out).positions, out.positions)
