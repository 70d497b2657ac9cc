"""Scores of forecasts: functions of arrays that know no files, models or units.

A score over many windows is a ratio of two sums. So each function here returns `Parts`, a numerator and a denominator
for each window, which may be added over windows, weighed and resampled before they are divided (`ratio`). Leading axes
"..." are kept; S samples, T frames, J joints, C coordinates, F features. Masks are True where a number counts; what
does not count may hold anything, NaN included. Which joints count, units and standardisation are the caller's
(``lmm.evaluation``); the definitions are those of REFERENCES §5 in the project's notes, repeated in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


class Parts(NamedTuple):
    """Numerators and denominators of a score, of one shape."""

    total: Array
    number: Array


def ratio(parts: Parts) -> Array:
    """Return total / number, NaN where nothing counted."""
    return np.asarray(
        np.divide(parts.total, parts.number, out=np.full(np.shape(parts.total), np.nan), where=parts.number > 0)
    )


def squared_error(forecast: ArrayLike, truth: ArrayLike, counts: Array) -> Parts:
    """Return the squared errors of (..., T, F) and how many numbers counted, per frame (..., T): MSE by `ratio`."""
    error = _where(counts, np.subtract(forecast, truth))
    return Parts((error**2).sum(axis=-1), counts.sum(axis=-1, dtype=float))


def steps(values: ArrayLike, counts: Array) -> tuple[Array, Array]:
    """Return the differences between neighbouring frames (..., T - 1, F) of (..., T, F), and which count: both did."""
    return np.diff(np.asarray(values), axis=-2), counts[..., 1:, :] & counts[..., :-1, :]


def joint_error(forecast: ArrayLike, truth: ArrayLike, counts: Array) -> Parts:
    """Return the summed distances of the joints (..., T, J, C), and how many counted, per frame: MPJPE by `ratio`."""
    error = np.linalg.norm(_where(counts[..., None], np.subtract(forecast, truth)), axis=-1)
    return Parts(error.sum(axis=-1), counts.sum(axis=-1, dtype=float))


def displacement(samples: Array, truth: Array, counts: Array, flattened: bool) -> Array:
    """Return the mean over frames of each sample's (..., S, T, J, C) distance from the truth (..., T, J, C): (..., S).

    ADE is the least of these, FDE the least of the last frame's alone. The distance in a frame is the norm of the whole
    flattened pose (as in the tables of BeLFusion, HumanMAC and others; about √J times larger), or the mean over joints.
    Frames in which nothing counts are passed over; NaN if all are.
    """
    per_joint = np.linalg.norm(_where(counts[..., None, :, :, None], samples - truth[..., None, :, :, :]), axis=-1)
    joints = counts.sum(axis=-1, dtype=float)
    if flattened:
        per_frame = np.sqrt((per_joint**2).sum(axis=-1))
    else:
        per_frame = per_joint.sum(axis=-1) / np.maximum(joints, 1)[..., None, :]
    frames = (joints > 0).sum(axis=-1)[..., None]
    return ratio(Parts(per_frame.sum(axis=-1), np.broadcast_to(frames, per_frame.shape[:-1])))


def speed(positions: ArrayLike, counts: Array, fps: float) -> Parts:
    """Return the summed speeds (..., T - 1) of joints between frames of (..., T, J, C), in units a second."""
    counts = counts[..., 1:, :] & counts[..., :-1, :]
    step = np.linalg.norm(_where(counts[..., None], np.diff(np.asarray(positions), axis=-3)), axis=-1)
    return Parts(fps * step.sum(axis=-1), counts.sum(axis=-1, dtype=float))


def per_second(parts: Parts, fps: float, skipped: int = 0) -> Parts:
    """Return `parts` of frames (..., T) summed over seconds of the horizon, (..., ceil).

    The first of the frames given is frame `skipped` of the horizon: steps between its frames begin with 1.
    """
    frames = np.arange(skipped, skipped + parts.total.shape[-1])
    edges = np.flatnonzero(np.diff(np.floor(frames / fps), prepend=-1))
    return Parts(np.add.reduceat(parts.total, edges, axis=-1), np.add.reduceat(parts.number, edges, axis=-1))


def bone_length_cv(positions: Array, counts: Array, bones: Sequence[tuple[int, int]]) -> Parts:
    """Return the sum over bones of std / mean of their length over the frames of (..., T, J, C), and how many counted.

    A bone counts in frames where both its ends do, if there are two such frames or more: a skeleton that keeps its
    shape scores 0 in 3D. Projections of a turning body change length by themselves: compare with the truth's.
    """
    parent, child = (np.array(side) for side in zip(*bones, strict=True))
    seen = counts[..., parent] & counts[..., child]
    ends = _where(seen[..., None], positions[..., parent, :] - positions[..., child, :])
    length = np.linalg.norm(ends, axis=-1)
    frames = seen.sum(axis=-2)
    mean = length.sum(axis=-2) / np.maximum(frames, 1)
    variance = _where(seen, (length - mean[..., None, :]) ** 2).sum(axis=-2) / np.maximum(frames, 1)
    valid = (frames > 1) & (mean > 0)
    cv = np.sqrt(variance) / np.where(valid, mean, 1)
    return Parts(_where(valid, cv).sum(axis=-1), valid.sum(axis=-1, dtype=float))


def energy_score(samples: Array, truth: Array, counts: Array) -> Parts:
    """Return the energy score of `samples` (..., S, T, F) for `truth` (..., T, F), per frame (..., T); less is better.

    mean_s |X_s − y| − ½ mean_{s ≠ s'} |X_s − X_s'|, with |·| the norm of the frame's counted features divided by the
    root of their number, so that it compares with a root mean square error. T. Gneiting and A. Raftery, "Strictly
    Proper Scoring Rules, Prediction, and Estimation", 2007, equation 22; over pairs s ≠ s', which makes its expectation
    that of infinitely many samples (C. Ferro, "Fair scores for ensemble forecasts", 2014). One sample is a forecast of
    one point: there is no second term.
    """
    features = counts.sum(axis=-1)
    size = np.sqrt(np.maximum(features, 1))
    error = np.linalg.norm(_where(counts[..., None, :, :], samples - truth[..., None, :, :]), axis=-1).mean(axis=-2)
    number = samples.shape[-3]
    spread = np.zeros_like(error)
    for first in range(number - 1):
        apart = samples[..., first + 1 :, :, :] - samples[..., first : first + 1, :, :]
        spread += np.linalg.norm(_where(counts[..., None, :, :], apart), axis=-1).sum(axis=-2)
    spread /= max(number * (number - 1), 1)
    return Parts(_where(features > 0, (error - spread) / size), (features > 0).astype(float))


def interval(samples: Array, level: float = 0.9) -> tuple[Array, Array]:
    """Return the central interval (..., ) of `samples` (S, ...) in which one more sample lies with probability `level`.

    A new value falls below the k-th of S sorted samples with probability k / (S + 1). Each end is at position
    h = (S + 1)(1 − level) / 2: interpolated between samples if h ≥ 1, without bias where it is whole. With fewer
    samples (h < 1; under 19 for 90 %) it lies beyond the outermost sample by (2 / h − 2) times its distance from the
    next: exact where tails fall exponentially (then the gap is exponential too, and independent; A. Rényi, "On the
    theory of order statistics", 1953). With 10 samples, one more lies within in 90 to 93 % of cases whether these are
    Laplace, normal or uniform; plain quantiles of 10 samples would hold 75 %. Raises ValueError with one sample.
    """
    number = len(samples)
    if number < 2:
        raise ValueError("an interval needs two samples or more.")
    ordered = np.sort(samples, axis=0)
    h = (number + 1) * (1 - level) / 2
    if h < 1:
        beyond = 2 / h - 2
        low = ordered[0] - beyond * (ordered[1] - ordered[0])
        return low, ordered[-1] + beyond * (ordered[-1] - ordered[-2])
    k, part = int(h), h - int(h)
    low = ordered[k - 1] * (1 - part) + ordered[min(k, number - 1)] * part
    return low, ordered[number - k] * (1 - part) + ordered[max(number - k - 1, 0)] * part


def coverage(samples: Array, truth: Array, counts: Array, level: float = 0.9) -> Parts:
    """Return in how many features of each frame (..., T), and of how many, the truth (..., T, F) lies within the
    `interval` of the samples (..., S, T, F). Calibrated forecasts score `level`; more is not better."""
    low, high = interval(np.moveaxis(samples, -3, 0), level)
    inside = counts & (low <= truth) & (truth <= high)
    return Parts(inside.sum(axis=-1, dtype=float), counts.sum(axis=-1, dtype=float))


def apd(samples: Array, counts: Array) -> Array:
    """Return the mean distance (...) between pairs of whole flattened futures (..., S, T, F). Not to be maximised."""
    number = samples.shape[-3]
    total = np.zeros(samples.shape[:-3])
    for first in range(number - 1):
        apart = _where(counts[..., None, :, :], samples[..., first + 1 :, :, :] - samples[..., first : first + 1, :, :])
        total += np.sqrt((apart**2).sum(axis=(-2, -1))).sum(axis=-1)
    return np.asarray(total / max(number * (number - 1) / 2, 1))


def cmd(moved: ArrayLike, usual: ArrayLike) -> Array:
    """Return the cumulative motion difference of (..., T): Σ_t (T − t) |M̄ − M_t|, t = 1 ... T.

    `moved` is M_t, the mean displacement of the forecasts' joints at each step; `usual` (...) M̄, that of the test set's
    truth over all steps. G. Barquero, S. Escalera and C. Palmero, "BeLFusion", 2023, section 4.
    """
    m = np.asarray(moved)
    last = m.shape[-1]
    return np.asarray((np.arange(last - 1, -1, -1) * np.abs(np.asarray(usual)[..., None] - m)).sum(axis=-1))


def _where(counts: Array, values: Array) -> Array:
    return np.where(counts, values, 0)
