"""Anti-aliased resampling on time stamps."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import MAX_FRAMES, MISSING, REMOVED, Motion

Array = NDArray[Any]
CUTOFF = 0.4  # of the new rate: 12 Hz for 30 FPS, 6 Hz for 15 FPS
ORDER = 4
MAX_STRETCH = 100  # new frames for each old one: beyond it the clock is damaged, or was never one of movement


def resample(motion: Motion, fps: float) -> Motion:
    """Return the motion at `fps` frames a second on a regular clock that starts at its first frame.

    When the rate falls, each stretch of observed frames is first low-passed with a zero-phase Butterworth filter of
    order 4 (forward and backward) at 0.4 of the new rate; then values are taken by PCHIP interpolation at the new
    times. Irregular `times` are put on a regular clock of the source's own rate before filtering. Gaps stay gaps:
    nothing is invented between stretches. Confidence is interpolated, flags are those of the nearest source frame.
    Raises MotionError for forecasts with samples, and if the result would be too long.
    """
    if motion.samples is not None:
        raise MotionError("a forecast with samples keeps its frame rate.")
    if motion.times is None and abs(motion.fps - fps) < 1e-9 * fps:
        return motion
    clock = motion.clock
    frames = int(np.floor((clock[-1] - clock[0]) * fps + 1e-6)) + 1
    limit = min(MAX_FRAMES, 10_000 + MAX_STRETCH * motion.num_frames)
    if frames > limit:
        raise MotionError(
            f"{motion.num_frames} frames last {clock[-1] - clock[0]:g} s; {frames} frames at {fps:g} a second are over "
            f"the limit of {limit}."
        )
    new = clock[0] + np.arange(frames) / fps
    j, d = motion.positions.shape[1:]
    positions = np.full((frames, j, d), np.nan, np.float32)
    observed = motion.observed
    patterns, group = np.unique(observed, axis=1, return_inverse=True)
    for g in range(patterns.shape[1]):
        joints = np.flatnonzero(group == g)
        for first, last in _stretches(patterns[:, g], clock, motion.fps):
            values = motion.positions[first:last, joints].reshape(last - first, -1).astype(np.float64)
            at = np.flatnonzero((new >= clock[first] - 0.5 / motion.fps) & (new <= clock[last - 1] + 0.5 / motion.fps))
            taken = _stretch(clock[first:last], values, motion, new[at], fps)
            positions[np.ix_(at, joints)] = taken.reshape(len(at), len(joints), d)
    nearest = np.clip(np.searchsorted(clock, new), 1, max(len(clock) - 1, 1))
    nearest = np.minimum(
        nearest - (new - clock[nearest - 1] < clock[np.minimum(nearest, len(clock) - 1)] - new), len(clock) - 1
    )
    seen = np.isfinite(positions).all(axis=-1)
    confidence = np.where(seen, _interpolate_confidence(clock, motion.confidence, new), 0)
    flags = motion.flags[nearest]
    gone = seen & np.isin(flags, (MISSING, REMOVED))  # on the edge of a gap the nearest frame may be a missing one
    for joint in np.flatnonzero(gone.any(axis=0)):
        known = np.flatnonzero(observed[:, joint])
        before = np.clip(np.searchsorted(known, nearest[gone[:, joint]]) - 1, 0, None)
        after = np.minimum(before + 1, len(known) - 1)
        closer = np.abs(known[after] - nearest[gone[:, joint]]) < np.abs(known[before] - nearest[gone[:, joint]])
        flags[gone[:, joint], joint] = motion.flags[known[np.where(closer, after, before)], joint]
    return motion.replace(
        positions=positions, confidence=confidence, fps=fps, times=None, start_s=float(clock[0]), flags=flags
    )


def _stretches(observed: Array, clock: Array, fps: float) -> list[tuple[int, int]]:
    """Return [first, last) of the runs of observed frames without a hole in the clock (over 0.5 s)."""
    breaks = np.flatnonzero(np.diff(clock) > max(0.5, 2.5 / fps)) + 1
    edges = np.flatnonzero(np.diff(np.concatenate([[0], observed.astype(np.int8), [0]])))
    runs = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    out: list[tuple[int, int]] = []
    for first, last in runs:
        cuts = [first, *[int(b) for b in breaks if first < b < last], last]
        out += pairwise(cuts)
    return out


def _stretch(times: Array, values: Array, motion: Motion, new: Array, fps: float) -> Array:
    """Return `values` (n, k) of `times` (n,), low-passed if the rate falls, at `new`; held beyond the ends."""
    from scipy.interpolate import PchipInterpolator
    from scipy.signal import sosfiltfilt

    if len(values) == 1:
        return np.repeat(values, len(new), axis=0)
    if motion.times is not None:
        n = int(np.floor((times[-1] - times[0]) * motion.fps + 1e-6)) + 1
        regular = times[0] + np.arange(n) / motion.fps
        if regular[-1] < times[-1] - 1e-9:
            regular = np.append(regular, regular[-1] + 1 / motion.fps)
        values = PchipInterpolator(times, values)(np.minimum(regular, times[-1]))
        times = regular
    if fps < motion.fps * 0.999 and len(values) > 3:
        sections = _low_pass(fps, motion.fps)
        length = min(len(values) - 1, int(2 * motion.fps / fps) * 3 + 9)
        values = sosfiltfilt(sections, values, axis=0, padlen=length)
    at = (new - times[0]) * motion.fps
    whole = np.rint(at).astype(int)
    if np.abs(at - whole).max(initial=0) < 1e-6:
        return np.asarray(values[np.clip(whole, 0, len(values) - 1)])
    return np.asarray(PchipInterpolator(times, values)(np.clip(new, times[0], times[-1])))


@lru_cache(maxsize=64)
def _low_pass(fps: float, source_fps: float) -> Array:
    """Return the second-order sections of the filter; designing it takes longer than filtering a short clip."""
    from scipy.signal import butter

    return np.asarray(butter(ORDER, CUTOFF * fps, fs=source_fps, output="sos"))


def _interpolate_confidence(clock: Array, confidence: Array, new: Array) -> Array:
    after = np.clip(np.searchsorted(clock, new), 1, max(len(clock) - 1, 1))
    if len(clock) == 1:
        return np.repeat(confidence, len(new), axis=0)
    before = after - 1
    w = np.clip((new - clock[before]) / (clock[after] - clock[before]), 0, 1)[:, None]
    a, b = confidence[before], confidence[after]
    # a missing neighbour lends no confidence and takes none away
    return np.where(a <= 0, b, np.where(b <= 0, a, a * (1 - w) + b * w))
