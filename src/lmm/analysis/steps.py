"""When feet are on the floor, the steps that follow from it, and their rhythm. Of motions in metres."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, binary_opening, gaussian_filter1d, minimum_filter1d

from lmm.core.motion import Motion
from lmm.pipeline.features import MIDHIP
from lmm.skeletons import BODY_25

Array = NDArray[Any]

POINTS = ("Ankle", "BigToe", "SmallToe", "Heel")
STILL_MPS, STILL_PACE = 0.55, 0.9  # a point of a foot on the floor is slower than this, or than this share of the ...
PACE_S, NEAR_M = 0.3, 0.06  # ... body's pace over the ground, smoothed so, and nearer to the lowest that it comes ...
FLOOR_S, TILT_M = 0.8, 0.15  # ... lately and soon, which is near the lowest of the whole motion
SMOOTH_S = 0.05
LEAST_S = 0.1  # of a contact, and of a time off the floor
LEAST_STEPS = 4
WALK_MPS = 0.3  # of the mid-hip over the ground: slower is stepping on the spot


@dataclass(frozen=True)
class Step:
    """A foot comes down: `side`, ``right`` or ``left``, at `time_s` on the motion's clock."""

    side: str
    time_s: float


def contacts(motion: Motion) -> dict[str, Array]:
    """Return for each side, ``right`` and ``left``, bool (T,): some point of the foot rests on the floor.

    A point rests if it is slower than STILL_MPS, or than STILL_PACE of the mid-hip's pace (feet swing, roll and come to
    rest the faster the faster somebody walks), and within NEAR_M of the lowest place that it has within FLOOR_S before
    and after (capture volumes tilt), which is itself within TILT_M of the lowest of all. False where no point is seen.
    """
    still = np.maximum(STILL_MPS, STILL_PACE * _pace(motion))
    return {side: _contact(motion, s, still) for side, s in (("right", "R"), ("left", "L"))}


def _pace(motion: Motion) -> Array:
    """Return the speed (T,) of the mid-hip over the ground, m/s, smoothed; 0 where it is hardly seen."""
    hip = _filled(motion.positions[:, MIDHIP])
    if hip is None:
        return np.zeros(motion.num_frames)
    smooth = gaussian_filter1d(hip[:, [0, 2]], PACE_S * motion.fps, axis=0)
    return np.asarray(np.linalg.norm(np.gradient(smooth, axis=0), axis=1) * motion.fps)


def _filled(p: Array) -> Array | None:
    """Return (T, 3) with straight lines across gaps; None of what is seen in fewer than 3 frames."""
    seen, frames = np.isfinite(p[:, 0]), np.arange(len(p))
    if seen.sum() < 3:
        return None
    return np.stack([np.interp(frames, frames[seen], p[seen, d].astype(np.float64)) for d in range(3)], 1)


def _contact(motion: Motion, s: str, still: Array) -> Array:
    down = np.zeros(motion.num_frames, bool)
    for name in POINTS:
        given = motion.positions[:, BODY_25.index[s + name]]
        filled = _filled(given)
        if filled is None:
            continue
        seen = np.isfinite(given[:, 0])
        p = gaussian_filter1d(filled, SMOOTH_S * motion.fps, axis=0)
        speed = np.linalg.norm(np.gradient(p, axis=0), axis=1) * motion.fps
        floor = minimum_filter1d(p[:, 1], 2 * round(FLOOR_S * motion.fps) + 1)
        level = floor < np.percentile(p[:, 1], 5) + TILT_M
        down |= seen & (speed < still) & (p[:, 1] - floor < NEAR_M) & level
    least = np.ones(max(1, round(LEAST_S * motion.fps)), bool)
    closed = binary_closing(np.pad(down, len(least), mode="edge"), least)
    return np.asarray(binary_opening(closed, least)[len(least) : -len(least)])


def steps(motion: Motion) -> list[Step]:
    """Return the times at which feet come down, in order; not those that are down when the motion begins."""
    found = [
        Step(side, float(motion.clock[k + 1]))
        for side, down in contacts(motion).items()
        for k in np.flatnonzero(~down[:-1] & down[1:])
    ]
    return sorted(found, key=lambda s: s.time_s)


def rhythm(motion: Motion) -> dict[str, float] | None:
    """Return what a walk's steps tell, or None where nobody walks: fewer than LEAST_STEPS, or slower than WALK_MPS.

    ``steps``, their number · ``cadence_spm``, steps a minute, of the median time between one foot and the other ·
    ``step_s_right``, ``step_s_left``: median time from the other foot's contact to this foot's · ``stride_s`` ·
    ``speed_mps`` over the ground · ``step_length_m`` = speed x step time · ``stance_right``, ``stance_left``: share of
    whole strides on the floor · ``step_time_asymmetry`` = (right - left) / mean.
    """
    made = steps(motion)
    hip = motion.positions[:, MIDHIP, [0, 2]].astype(np.float64)
    hip = hip[np.isfinite(hip).all(1)]
    if len(made) < LEAST_STEPS or len(hip) < 2:
        return None
    smooth = gaussian_filter1d(hip, 0.2 * motion.fps, axis=0, mode="reflect")
    speed = float(np.linalg.norm(np.diff(smooth, axis=0), axis=1).mean() * motion.fps)
    gaps: dict[str, list[float]] = {"right": [], "left": []}
    for a, b in pairwise(made):
        if a.side != b.side:
            gaps[b.side].append(b.time_s - a.time_s)
    strides = [b - a for side in gaps for a, b in pairwise([s.time_s for s in made if s.side == side])]
    if speed < WALK_MPS or not gaps["right"] or not gaps["left"] or not strides:
        return None
    right, left = (float(np.median(gaps[side])) for side in ("right", "left"))
    return {
        "steps": len(made),
        "cadence_spm": 120 / (right + left),
        "step_s_right": right,
        "step_s_left": left,
        "stride_s": float(np.median(strides)),
        "speed_mps": speed,
        "step_length_m": speed * (right + left) / 2,
        **{f"stance_{side}": _stance(motion, side, made) for side in gaps},
        "step_time_asymmetry": round(2 * (right - left) / (right + left), 4) + 0.0,
    }


def _stance(motion: Motion, side: str, made: list[Step]) -> float:
    """Return the share of time that a foot is on the floor, from its first step to its last: of whole strides."""
    times = [s.time_s for s in made if s.side == side]
    within = (motion.clock >= times[0]) & (motion.clock < times[-1])
    return float(contacts(motion)[side][within].mean()) if within.any() else float("nan")
