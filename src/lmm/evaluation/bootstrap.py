"""Sums per clip, and how far they can be trusted: pooled ratios with intervals by cluster bootstrap.

All windows and camera views of a clip stay together, and so do all clips of a subject: neighbouring windows share most
of their frames, so that windows drawn one by one would give intervals many times too narrow. Every set of weights of
the clips is a row of a matrix: all ones for the estimate, counts of draws for a resample, one subject alone. One
product with the sums per clip gives a score for all of them, and since models share the rows, differences are paired.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.metrics import Parts, ratio

Array = NDArray[Any]
RESAMPLES, SEED = 1000, 20260


class Tally:
    """Sums of `Parts` per clip, by name: what remains of windows once they are scored."""

    def __init__(self, num_clips: int) -> None:
        self.num_clips = num_clips
        self._sums: dict[str, Parts] = {}

    def add(self, clips: Array, scores: Mapping[str, Parts]) -> None:
        """Add the scores, (B,) or (B, K), of windows of the clips numbered `clips` (B,)."""
        for name, parts in scores.items():
            total, count = (np.reshape(part, (len(clips), -1)) for part in parts)
            if name not in self._sums:
                self._sums[name] = Parts(*(np.zeros((self.num_clips, total.shape[1])) for _ in parts))
            np.add.at(self._sums[name].total, clips, total)
            np.add.at(self._sums[name].number, clips, count)

    def update(self, other: Tally) -> None:
        """Take over the scores of another tally of the same clips."""
        self._sums |= other._sums

    def __iter__(self) -> Iterator[str]:
        return iter(self._sums)

    def __contains__(self, name: str) -> bool:
        return name in self._sums

    def sums(self, name: str, weights: Array) -> Parts:
        """Return the weighed sums (R, K) of a score, for `weights` (R, clips)."""
        total, count = self._sums[name]
        return Parts(weights @ total, weights @ count)

    def clips_of(self, name: str) -> Array:
        """Return bool (clips, K): where the score counted anything."""
        return np.asarray(self._sums[name].number > 0)


def mean_tally(tallies: Sequence[Tally]) -> Tally:
    """Return the mean of several seeds' tallies of the same windows: each sum is the mean over the seeds."""
    out = Tally(tallies[0].num_clips)
    for name in tallies[0]:
        parts = [t._sums[name] for t in tallies]
        out._sums[name] = Parts(*(np.mean(side, axis=0) for side in zip(*parts, strict=True)))
    return out


def resamples(subjects: Sequence[str], count: int = RESAMPLES, seed: int = SEED) -> Array:
    """Return weights (1 + count, clips) of clips that belong to `subjects`: ones, then how often each was drawn.

    Subjects are drawn with replacement, then, for each subject drawn, as many of its clips as it has. With clips as
    their own subjects this is the plain bootstrap over clips.
    """
    names, owner = np.unique(np.asarray(subjects), return_inverse=True)
    rng = np.random.default_rng(seed)
    weights = np.ones((1 + count, len(owner)))
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=count)
    for i in range(len(names)):
        clips = np.flatnonzero(owner == i)
        # a subject drawn k times has its n clips drawn k times n, at one go
        weights[1:, clips] = rng.multinomial(times[:, i] * len(clips), np.full(len(clips), 1 / len(clips)))
    return weights


def confidence(values: Array, level: float = 0.95) -> Array:
    """Return the percentile interval (2, ...) of `values` (1 + R, ...), whose first row is the estimate.

    Resamples in which nothing counted are passed over; NaN where fewer than half are left.
    """
    drawn = values[1:]
    enough = np.isfinite(drawn).mean(axis=0) >= 0.5
    filled = np.where(enough, drawn, 0.0)
    ends = np.nanpercentile(filled, [50 * (1 - level), 50 * (1 + level)], axis=0)
    return np.where(enough, ends, np.nan)


def pooled(tally: Tally, name: str, weights: Array) -> Array:
    """Return the score (R, K) for each row of `weights`: sum of numerators over sum of denominators."""
    return ratio(tally.sums(name, weights))
