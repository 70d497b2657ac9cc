"""How often a movement is repeated, and when each repetition begins and ends.

A repetition leaves a pose of rest and comes back towards it. The pose of rest is where the motion begins and ends, if
these agree, else the pose that it is in most of the time. How far the motion is from it is measured along the direction
in which it varies most, to the side on which it goes further, in places of the joints about the mid-hip and the
mid-hip's height. A repetition is a peak of this distance that is MOVED of the usual greatest high and stands APART from
its neighbours; it begins and ends where BOUNDS of its prominence are lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks, peak_widths

from lmm.core.motion import Motion
from lmm.pipeline.features import MIDHIP, NECK

Array = NDArray[Any]

RATE = 15.0  # frames a second: repetitions are slower
SMOOTH_S = 0.15
MOVED, APART = 0.4, 0.35  # of the usual greatest distance
USUAL = 95  # percentile of the distance that is the usual greatest
BOUNDS = 0.85  # of a peak's prominence
LEAST_S = 0.4  # between two peaks
LEAST_DISTANCE = 0.03  # body lengths, root mean square over joints: below it, nothing was done
ENDS_S = 0.3
AGREE = 1.0  # of the greatest distance: how far apart beginning and end may be to be the same pose


@dataclass(frozen=True)
class Repetition:
    """`start_s`, `end_s` on the motion's clock; `reach`, the greatest distance from rest, body lengths, at `top_s`."""

    start_s: float
    end_s: float
    reach: float
    top_s: float


def repetitions(motion: Motion) -> list[Repetition]:
    """Return the repetitions of a BODY_25 motion, in order; none where nothing is repeated, or too little is seen."""
    poses = _poses(motion)
    if poses is None:
        return []
    distance = _along(poses - _rest(poses, motion.fps))
    usual = float(np.percentile(distance, USUAL))
    if usual < LEAST_DISTANCE:
        return []
    padded = np.concatenate([[0.0], distance, [0.0]])  # who begins or ends away from rest has moved, too
    tops, told = find_peaks(padded, height=MOVED * usual, prominence=APART * usual, distance=LEAST_S * motion.fps)
    left, right = peak_widths(padded, tops, BOUNDS, (told["prominences"], told["left_bases"], told["right_bases"]))[2:]
    seconds = np.interp([left - 1, right - 1], np.arange(motion.num_frames), motion.clock)
    return [
        Repetition(float(start), float(end), float(padded[top]), float(motion.clock[top - 1]))
        for start, end, top in zip(*seconds, tops, strict=True)
    ]


def _poses(motion: Motion) -> Array | None:
    """Return smoothed poses (T, K) in body lengths, of the joints seen in most frames, gaps bridged."""
    points = motion.positions.astype(np.float64)
    known = motion.observed
    kept = [j for j in range(points.shape[1]) if known[:, j].mean() > 0.5]
    if MIDHIP not in kept or NECK not in kept or motion.num_frames < 3:
        return None
    frames = np.arange(motion.num_frames)
    for j in kept:
        for d in range(points.shape[2]):
            points[:, j, d] = np.interp(frames, frames[known[:, j]], points[known[:, j], j, d])
    scale = np.percentile(np.linalg.norm(points[:, NECK] - points[:, MIDHIP], axis=1), 90)
    local = points[:, kept] - points[:, [MIDHIP]]
    height = points[:, [MIDHIP], 1] - points[:1, [MIDHIP], 1]
    flat = np.concatenate([local.reshape(len(points), -1), height * np.sqrt(len(kept))], 1)
    return np.asarray(
        gaussian_filter1d(flat / max(scale, 1e-9) * np.sqrt(points.shape[2]), SMOOTH_S * motion.fps, axis=0)
    )


def _along(moved: Array) -> Array:
    """Return how far poses (T, K) are from rest along the direction in which they vary most, to the side that they
    reach furthest on."""
    direction = np.linalg.svd(moved - moved.mean(0), full_matrices=False)[2][0]
    line = moved @ direction / np.sqrt(moved.shape[1])
    low, high = np.percentile(line, [100 - USUAL, USUAL])
    return np.asarray(line if high >= -low else -line)


def _rest(poses: Array, fps: float) -> Array:
    """Return the pose (K,) of rest."""
    edge = max(1, round(ENDS_S * fps))
    first, last = poses[:edge].mean(0), poses[-edge:].mean(0)
    spread = np.sqrt(((poses - poses.mean(0)) ** 2).mean(1)).max()
    if np.sqrt(((first - last) ** 2).mean()) <= AGREE * spread:
        return np.asarray((first + last) / 2)
    some = poses[:: max(1, len(poses) // 300)]
    apart = np.sqrt(((some[:, None] - some[None]) ** 2).mean(-1))
    return np.asarray(some[np.percentile(apart, 30, axis=1).argmin()])
