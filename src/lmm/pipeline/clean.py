"""The one-way half of the pipeline: any motion → clean BODY_25 motion, at ingest, once.

1 to BODY_25 · 2 low confidence and outliers become missing · 3 short gaps are interpolated · 4 anti-aliased resampling.
Each step is a pure function; `CleaningSettings` describes them and is stored with what they made. `Motion.flags` tells
of each sample whether it was recorded, interpolated, synthesised or removed. `space` is unchanged.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lmm.core.errors import MotionError
from lmm.core.motion import INTERPOLATED, REMOVED, Motion
from lmm.pipeline.convert import to_body25
from lmm.pipeline.resample import resample

Array = NDArray[Any]
MIN_SCALE = 1e-6  # metres or pixels: a body smaller than this has no lengths to judge by


class CleaningSettings(BaseModel):
    """Parameters of the cleaning steps; lengths are in trunks (neck to mid-hip), so that pixels and metres fit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fps: float | None = Field(
        default=None, gt=0, description="rate of the result; None: 30 if the source has 30 or more, else 15"
    )
    min_confidence: float = Field(default=0.2, ge=0, le=1, description="below it a joint is missing")
    hampel_sigmas: float = Field(
        default=6.0, gt=0, description="deviations from the local median, in robust standard deviations"
    )
    min_bone_deviation: float = Field(
        default=0.5, gt=0, description="a bone length is an outlier only beyond this deviation"
    )
    max_acceleration: float = Field(
        default=1000.0, gt=0, description="a spike leaves and returns faster than this, per s²"
    )
    max_speed: float = Field(
        default=25.0, gt=0, description="a joint that jumps off and back faster than this was lost, per s"
    )
    max_gap_s: float = Field(default=0.5, ge=0, description="longer gaps stay missing, seconds")
    gap_confidence: float = Field(default=0.5, gt=0, le=1, description="factor on the confidence around a filled gap")


def clean(motion: Motion, settings: CleaningSettings | None = None) -> Motion:
    """Return the clean BODY_25 motion of any motion that has a table; see the module's steps.

    Frames before the first and after the last observed joint are cut off. ``meta["cleaning"]`` keeps the settings.
    Raises MotionError if the skeleton cannot be converted, or nothing is left.
    """
    settings = settings or CleaningSettings()
    result = drop_low_confidence(to_body25(motion), settings.min_confidence)
    result = remove_outliers(result, settings)
    result = trim(result)
    result = fill_gaps(result, settings.max_gap_s, settings.gap_confidence)
    result = resample(result, settings.fps or store_rate(motion.fps))
    return result.replace(meta={**result.meta, "cleaning": settings.model_dump()})


def store_rate(source_fps: float) -> float:
    """Return the store's rate for a source: 30 FPS if it has (nominally) 30 or more, else 15."""
    return 30.0 if source_fps > 28.5 else 15.0


def drop_low_confidence(motion: Motion, threshold: float) -> Motion:
    """Turn joints with a confidence below `threshold` into missing ones, flagged REMOVED."""
    return _remove(motion, motion.observed & (motion.confidence < threshold))


def remove_outliers(motion: Motion, settings: CleaningSettings) -> Motion:
    """Turn single wrong joints into missing ones by Hampel's rule (Pearson 2002) on bone lengths and on positions.

    A bone length is an outlier if it differs from its running median (1 s) by more than `hampel_sigmas` robust standard
    deviations and by `min_bone_deviation`; the end that has more such bones is removed. A position is a spike if it
    differs so from its running median over 5 or 7 frames, and leaving and returning takes more than `max_acceleration`.
    Frames between two jumps faster than `max_speed`, out and back again within `max_gap_s`, are removed too.
    """
    if motion.num_frames < 7:
        return motion
    scale = body_scale(motion)
    if not scale > MIN_SCALE:
        return motion
    bad = _bone_outliers(motion, scale, settings) | _spikes(motion, scale, settings) | _jumps(motion, scale, settings)
    return _remove(motion, bad & motion.observed)


def trim(motion: Motion) -> Motion:
    """Cut frames before the first and after the last in which any joint is observed."""
    seen = np.flatnonzero(motion.observed.any(axis=1))
    if not len(seen):
        raise MotionError("no joint is left after cleaning; every confidence is too low.")
    return motion.crop(int(seen[0]), int(seen[-1]) + 1)


def fill_gaps(motion: Motion, max_gap_s: float, confidence_factor: float) -> Motion:
    """Fill gaps of up to `max_gap_s` (between the observed frames around them) by PCHIP (Fritsch and Carlson 1980).

    Filled samples get `confidence_factor` times the lower confidence of the gap's two neighbours, and INTERPOLATED.
    """
    from scipy.interpolate import PchipInterpolator

    observed, clock = motion.observed, motion.clock
    if observed.all() or max_gap_s <= 0:
        return motion
    positions, confidence = motion.positions.copy(), motion.confidence.copy()
    flags = motion.flags.copy()
    for j in range(motion.skeleton.num_joints):
        at = np.flatnonzero(observed[:, j])
        if len(at) < 2:
            continue
        gap = np.diff(at) > 1
        short = gap & (np.diff(clock[at]) - 1 / motion.fps <= max_gap_s + 1e-9)
        if not short.any():
            continue
        curve = PchipInterpolator(clock[at], motion.positions[at, j].astype(np.float64))
        for i in np.flatnonzero(short):
            inside = slice(at[i] + 1, at[i + 1])
            positions[inside, j] = curve(clock[inside])
            confidence[inside, j] = confidence_factor * min(confidence[at[i], j], confidence[at[i + 1], j])
            flags[inside, j] = INTERPOLATED
    return motion.replace(positions=positions, confidence=confidence, flags=flags)


def body_scale(motion: Motion) -> float:
    """Return the 90th percentile of a BODY_25 motion's neck–mid-hip length, else twice that of its longest bones."""
    trunk = np.linalg.norm(motion.joint("Neck") - motion.joint("MidHip"), axis=-1)
    if np.isfinite(trunk).any():
        return float(np.nanpercentile(trunk, 90))
    index = motion.skeleton.bones
    lengths = np.linalg.norm(
        motion.positions[:, [c for _, c in index]] - motion.positions[:, [p for p, _ in index]], axis=-1
    )
    lengths = lengths[np.isfinite(lengths)]
    return float(2 * np.percentile(lengths, 90)) if len(lengths) else float("nan")


def _remove(motion: Motion, bad: Array) -> Motion:
    if not bad.any():
        return motion
    flags = np.where(bad, REMOVED, motion.flags)
    return motion.replace(confidence=np.where(bad, 0, motion.confidence), flags=flags)


def _hampel(values: Array, size: int, wide: int, sigmas: float) -> tuple[Array, Array]:
    """Return |value − running median over `size`| (T, ...), and `sigmas` robust deviations of it over `wide` frames."""
    from scipy.ndimage import median_filter

    middle = median_filter(values, size=(size,) + (1,) * (values.ndim - 1), mode="nearest")
    deviation = np.abs(values - middle)
    spread = median_filter(deviation, size=(wide,) + (1,) * (values.ndim - 1), mode="nearest")
    return deviation, sigmas * 1.4826 * spread


def _bone_outliers(motion: Motion, scale: float, settings: CleaningSettings) -> Array:
    parents = np.array([p for p, _ in motion.skeleton.bones])
    children = np.array([c for _, c in motion.skeleton.bones])
    lengths = np.linalg.norm(motion.positions[:, children] - motion.positions[:, parents], axis=-1) / scale
    window = _odd(motion.fps, motion.num_frames)
    deviation, limit = _hampel(_held(lengths), window, window, settings.hampel_sigmas)
    bad = np.isfinite(lengths) & (deviation > np.maximum(limit, settings.min_bone_deviation))
    if not bad.any():
        return np.zeros(motion.confidence.shape, bool)
    count = np.zeros(motion.confidence.shape, int)
    for b in range(len(children)):
        count[:, parents[b]] += bad[:, b]
        count[:, children[b]] += bad[:, b]
    removed = np.zeros(motion.confidence.shape, bool)
    for b in range(len(children)):
        parent_wrong = count[:, parents[b]] > count[:, children[b]]
        removed[:, parents[b]] |= bad[:, b] & parent_wrong
        removed[:, children[b]] |= bad[:, b] & ~parent_wrong
    return removed


def _spikes(motion: Motion, scale: float, settings: CleaningSettings) -> Array:
    p = _held(motion.positions.astype(np.float64) / scale)
    size = 7 if motion.fps >= 50 else 5
    deviation, limit = _hampel(p, size, _odd(motion.fps, motion.num_frames), settings.hampel_sigmas)
    # |p − median| of a spike that leaves and returns within a frame is half its second difference
    acceleration = 2 * np.linalg.norm(deviation, axis=-1) * motion.fps**2
    return np.asarray(
        (deviation > limit).any(axis=-1)
        & (acceleration > settings.max_acceleration)
        & (np.linalg.norm(deviation, axis=-1) > 0.1)
    )


def _jumps(motion: Motion, scale: float, settings: CleaningSettings) -> Array:
    """Frames (T, J) in which a joint is elsewhere for a while: off by one impossible step, back by another."""
    bad = np.zeros(motion.confidence.shape, bool)
    p = motion.positions.astype(np.float64) / scale
    with np.errstate(invalid="ignore"):
        fast = np.linalg.norm(np.diff(p, axis=0), axis=-1) > settings.max_speed * np.diff(motion.clock)[:, None]
    for j in np.flatnonzero(fast.sum(axis=0) > 1):
        steps = np.flatnonzero(fast[:, j])
        for out, back in pairwise(steps):
            if motion.clock[back] - motion.clock[out] > settings.max_gap_s:
                continue
            before = np.median(p[max(0, out - 2) : out + 1, j], axis=0)
            after = np.median(p[back + 1 : back + 4, j], axis=0)
            away = np.linalg.norm(p[out + 1 : back + 1, j] - before, axis=-1).max()
            if np.linalg.norm(after - before) < 0.5 * away:
                bad[out + 1 : back + 1, j] = True
    return bad


def _odd(fps: float, frames: int) -> int:
    return int(min(max(7, 2 * round(fps / 2) + 1), 2 * (frames // 2) - 1, 121))


def _held(values: Array) -> Array:
    """Fill NaN along axis 0 with the last number before it (at the start the first after it; 0 if there is none)."""
    flat = values.reshape(len(values), -1)
    seen = np.isfinite(flat)
    index = np.where(seen, np.arange(len(flat))[:, None], -1)
    index = np.maximum.accumulate(index, axis=0)
    first = np.argmax(seen, axis=0)
    index = np.where(index < 0, first, index)
    return np.asarray(np.nan_to_num(np.take_along_axis(flat, index, axis=0)).reshape(values.shape))
