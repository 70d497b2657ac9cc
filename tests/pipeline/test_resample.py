"""Resampling: against scipy on whole clips, on uneven clocks, around gaps, and against aliases."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfiltfilt

from lmm.core.motion import SYNTHESISED, Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.pipeline.resample import resample

POINT = Skeleton("point", ("p",), (-1,))


def sine(fps: float, frequency: float, seconds: float = 4.0, times: np.ndarray | None = None) -> Motion:
    t = np.arange(round(seconds * fps)) / fps if times is None else times
    p = np.stack([np.sin(2 * np.pi * frequency * t), np.cos(2 * np.pi * frequency * t)], -1)[:, None]
    return make_motion(p, fps, POINT, "image", times=times)


def test_equals_filter_then_every_fourth_frame() -> None:
    m = make_motion(np.random.default_rng(0).normal(size=(200, 1, 3)), 120, POINT, "world")
    filtered = sosfiltfilt(butter(4, 12, fs=120, output="sos"), m.positions.astype(float), axis=0, padlen=33)
    np.testing.assert_allclose(resample(m, 30).positions, filtered[::4], atol=1e-6)


def test_slow_movement_stays_and_what_would_alias_goes() -> None:
    slow = resample(sine(120, 1.0), 15)
    t = slow.clock
    np.testing.assert_allclose(slow.positions[5:-5, 0, 0], np.sin(2 * np.pi * t)[5:-5], atol=0.01)
    fast = resample(sine(120, 13.0), 15)  # would come out as 2 Hz of full height
    assert np.abs(fast.positions[10:-10]).max() < 0.02


def test_uneven_clock_gives_the_same_curve_as_an_even_one() -> None:
    rng = np.random.default_rng(2)
    times = np.cumsum(rng.uniform(0.025, 0.042, 150))
    m = sine(30, 0.8, times=times)
    even = resample(m, 30)
    expected = np.sin(2 * np.pi * 0.8 * even.clock)
    assert even.times is None
    np.testing.assert_allclose(even.positions[3:-3, 0, 0], expected[3:-3], atol=0.01)


def test_gaps_stay_gaps_and_nothing_leaks_from_one_joint_to_another() -> None:
    pair = Skeleton("pair", ("a", "b"), (-1, 0))
    p = np.zeros((120, 2, 3))
    p[:, 1] = 5
    p[40:80, 0] = np.nan
    out = resample(make_motion(p, 60, pair, "world"), 30)
    assert np.isnan(out.positions[21:39, 0]).all()
    assert np.isfinite(out.positions[:20, 0]).all()
    assert np.isfinite(out.positions[41:, 0]).all()
    np.testing.assert_allclose(out.positions[:, 1], 5, atol=1e-6)


def test_a_hole_in_the_clock_is_no_motion() -> None:
    times = np.concatenate([np.arange(30) / 30, 3 + np.arange(30) / 30])
    out = resample(sine(30, 0.5, times=times), 30)
    assert np.isnan(out.positions[35:85]).all()
    assert np.isfinite(out.positions[:29]).all()


@settings(max_examples=60, deadline=None)
@given(
    source=st.floats(5, 240), target=st.sampled_from([15.0, 30.0]), frames=st.integers(1, 60), seed=st.integers(0, 99)
)
def test_any_motion_keeps_its_span_and_stays_within_its_values(
    source: float, target: float, frames: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    p = rng.uniform(-1, 1, (frames, 1, 3))
    p[rng.random(frames) < 0.2] = np.nan
    m = make_motion(p, source, POINT, "world")
    out = resample(m, target)
    assert out.fps == target
    assert out.num_frames == int(np.floor((frames - 1) / source * target + 1e-6)) + 1
    assert not np.isinf(out.positions).any()
    seen = out.positions[np.isfinite(out.positions)]
    assert (np.abs(seen) < 4).all()  # the filter mirrors the ends, which may reach 3


def test_synthesised_samples_stay_synthesised_at_the_edge_of_gaps() -> None:
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.uniform(0.02, 0.06, 200))
    p = rng.normal(size=(200, 1, 3))
    p[rng.random(200) < 0.3] = np.nan
    m = make_motion(p, 25, POINT, "world", times=times, flags=np.full((200, 1), SYNTHESISED))
    out = resample(m, 30)
    assert (out.flags[out.observed] == SYNTHESISED).all()
