"""The pairs that text-to-motion and motion-to-text are tested on: held out, by where their texts come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.datasets.pairs import EVALUATION, TRAIN, ZERO, Pair, read_pairs
from lmm.evaluation.bootstrap import SEED, Tally, confidence, pooled, resamples
from lmm.evaluation.text_motion_scores import estimate

Array = NDArray[Any]
HELD_OUT = "held-out"
SPLITS: dict[str, tuple[str, ...]] = {
    HELD_OUT: ("val", "test", ZERO, EVALUATION),
    "train": (TRAIN,),
    "val": ("val",),
    "test": ("test",),
    ZERO: (ZERO,),
}
MOST = 384  # pairs of a slice: twelve groups of 32


@dataclass(frozen=True, eq=False)
class Slice:
    """Pairs of one origin, of combinations of content and style that were trained on or were not."""

    origin: str
    zero_shot: bool
    pairs: Sequence[Pair]

    @property
    def name(self) -> str:
        return f"{self.origin}, {ZERO}" if self.zero_shot else self.origin

    @property
    def record(self) -> dict[str, Any]:
        """What the results tell of it."""
        return {
            "slice": self.name,
            "origin": self.origin,
            "zero_shot": self.zero_shot,
            "pairs": len(self.pairs),
            "texts": len({p.text for p in self.pairs}),
            "subjects": len({p.subject for p in self.pairs}),
        }


@dataclass(frozen=True, eq=False)
class Cases:
    """What is tested, and the pairs of split train, which baselines may use."""

    store: str
    split: str
    slices: Sequence[Slice]
    train: Sequence[Pair]


def language_cases(
    stores: Sequence[str | Path], split: str | None = None, most: int = MOST, kit: str | Path | None = None
) -> Cases:
    """Return the slices of the pairs of stores, label, description, measured and sentence; at most `most` pairs each,
    drawn by a fixed seed. `split` is one of SPLITS, by default all that is held out.

    Raises InputError if the split is unknown, or holds no pairs, or there is nothing to train on.
    """
    split = split or HELD_OUT
    if split not in SPLITS:
        raise InputError(f"--split {split}", "is not known", f"Choose one of {', '.join(SPLITS)}")
    pairs = read_pairs(stores, kit=kit)
    found: dict[tuple[str, bool], list[Pair]] = defaultdict(list)
    for p in pairs:
        if p.split in SPLITS[split]:
            found[p.origin, p.split == ZERO].append(p)
    train = [p for p in pairs if p.split == TRAIN]
    name = ", ".join(Path(s).name for s in stores)
    if not found or not train:
        raise InputError(name, f"has no texts in split {split if train else TRAIN}", "Ingest captions or labels too")
    order = ("label", "description", "measured", "sentence")
    slices = [
        Slice(origin, zero, _some(found[origin, zero], most))
        for origin, zero in sorted(found, key=lambda k: (order.index(k[0]), k[1]))
    ]
    return Cases(name, split, slices, train)


def _some(pairs: Sequence[Pair], most: int) -> list[Pair]:
    if len(pairs) <= most:
        return list(pairs)
    kept = np.random.default_rng(SEED).permutation(len(pairs))[:most]
    return [pairs[i] for i in sorted(kept)]


def shares(tally: Tally, names: Sequence[str], subjects: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return scores of a tally of pairs, and their 95 % intervals by cluster bootstrap: subjects, then pairs within."""
    weights = resamples(subjects)
    values = {n: pooled(tally, n, weights)[:, 0] for n in names if n in tally}
    around = {n: [number(x) for x in confidence(v)] for n, v in values.items()}
    return {n: number(v[0]) for n, v in values.items()}, around


def repeated(values: Mapping[str, Sequence[float]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return means and 95 % intervals of scores over repetitions (`text_motion_scores.estimate`)."""
    found = {n: estimate(v) for n, v in values.items()}
    means = {n: number(e.mean) for n, e in found.items()}
    return means, {n: [number(e.mean - e.margin), number(e.mean + e.margin)] for n, e in found.items()}


def number(x: Any) -> float | None:
    """Return a number for results.json, None where it is undefined."""
    return float(x) if np.isfinite(x) else None
