"""Tallies → results.json: scores by their names in the contract, each with its intervals, and paired comparisons.

A score is computed once for every row of a matrix of clip weights (`bootstrap`), so what follows works on trees of
arrays (R,): the first number is the estimate, the others are resamples, or subjects.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core import metrics
from lmm.core.metrics import Parts, ratio
from lmm.evaluation.bootstrap import RESAMPLES, SEED, Tally, confidence, mean_tally, pooled, resamples
from lmm.evaluation.cases import FPS, Corpus
from lmm.evaluation.contestants import Contestant

Array = NDArray[Any]
Tree = Any  # dicts and lists of arrays (R,)
FEW_SUBJECTS = 5
REFERENCES = ("flat", "zero-velocity")  # every model is compared with these, where they take part
COMPARED = ("mse", "mse_root", "mse_all", "velocity_mse", "mpjpe", "ade", "fde", "energy_ratio", "energy_ratio_local",
            "energy_score", "one_step_velocity_mse")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Run:
    """What one model did: tallies by sample budget and seed, and the time it took on how many windows."""

    contestant: Contestant
    tallies: Mapping[int, Sequence[Tally]]
    seconds: float
    windows: int
    stochastic: bool


def fields(tally: Tally, truth: Tally, weights: Array) -> Tree:
    """Return the scores of DESIGN §7 of one model and budget, a tree with arrays (R,)."""
    out: Tree = {}
    for name in ("mse", "mse_root", "mse_all"):
        out[name] = at_frames(tally, name, weights)
    for name in ("one_step_velocity_mse", "velocity_mse", "mpjpe"):
        if name in tally:
            out[name] = overall(tally, name, weights)
    for name in ("ade", "fde"):
        out[name] = {k: pooled(tally, f"{name}_{k}", weights)[:, 0] for k in ("joint", "flattened")}
    for name in ("energy_ratio", "energy_ratio_local", "energy_ratio_root"):
        out[name] = list(pooled(tally, name, weights).T)
    for name in ("first_step_ratio", "bone_length_cv", "apd"):
        if name in tally:
            out[name] = pooled(tally, name, weights)[:, 0]
    usual = overall(truth, "moved", weights)
    out["cmd"] = metrics.cmd(pooled(tally, "moved", weights) / FPS, usual / FPS)
    out["energy_score"] = overall(tally, "energy_score", weights)
    out["coverage_90"] = overall(tally, "coverage_90", weights) if "coverage_90" in tally else None
    out["curves"] = {
        name: list(pooled(tally, name, weights).T)
        for name in ("mse", "mse_root", "energy_score", "coverage_90")
        if name in tally
    }
    return out


def truth_fields(truth: Tally, weights: Array) -> Tree:
    """Return what is known of the truth: its energy in each second, and how much its bones' lengths vary."""
    out: Tree = {n: list(pooled(truth, n, weights).T) for n in ("energy", "energy_local", "energy_root")}
    return out | {"bone_length_cv": pooled(truth, "bone_length_cv", weights)[:, 0]}


def at_frames(tally: Tally, name: str, weights: Array) -> Tree:
    """Return {frame_1, frame_15, frame_30, overall} of a score that has parts per frame."""
    curve = pooled(tally, name, weights)
    return {f"frame_{f}": curve[:, f - 1] for f in (1, 15, 30) if f <= curve.shape[1]} | {
        "overall": overall(tally, name, weights)
    }


def overall(tally: Tally, name: str, weights: Array) -> Array:
    """Return a score over all frames (R,)."""
    return ratio(Parts(*(side.sum(axis=1) for side in tally.sums(name, weights))))


Fields = Callable[[Tally, Tally, Array], Tree]


def rows(
    runs: Sequence[Run], truth: Tally, corpus: Corpus, of: Fields = fields, counted: str = "mse"
) -> list[dict[str, Any]]:
    """Return a row for each model and sample budget: values, then the same tree of 95 % intervals, twice.

    `counted` is the score by which clips and subjects are counted. ``ci95`` resamples subjects, then clips;
    ``ci95_clips`` clips alone. With few subjects, each is listed.
    """
    subjects = corpus.subjects
    by_subject, by_clip = resamples(subjects), resamples(corpus.ids)
    out = []
    for run in runs:
        for budget, seeds in run.tallies.items():
            tally = mean_tally(seeds)
            tree = of(tally, truth, by_subject)
            row = {"model": run.contestant.label, "samples": budget, "stochastic": run.stochastic}
            row |= run.contestant.record | counts(tally, corpus, counted)
            row["seconds_per_window"] = run.seconds / max(run.windows, 1)
            row |= estimates(tree)
            row["ci95"], row["ci95_clips"] = intervals(tree), intervals(of(tally, truth, by_clip))
            if len(seeds) > 1:
                row["per_seed"] = [estimates(of(t, truth, by_subject[:1])) for t in seeds]
            if len(set(subjects)) < FEW_SUBJECTS:
                row["by_subject"] = each_subject(tally, truth, corpus, of)
            out.append(row)
    return out


def each_subject(tally: Tally, truth: Tally, corpus: Corpus, of: Fields) -> dict[str, Any]:
    """Return the scores of every subject alone, by name."""
    names = sorted(set(corpus.subjects))
    weights = np.array([[float(s == name) for s in corpus.subjects] for name in names])
    tree = of(tally, truth, weights)
    return {name: _map(tree, lambda v, i=i: _number(v[i])) for i, name in enumerate(names)}


def comparisons(runs: Sequence[Run], truth: Tally, corpus: Corpus, of: Fields = fields) -> list[dict[str, Any]]:
    """Return, for each model and budget against each reference and budget: paired differences and ratios.

    References are the first model given and those of REFERENCES.
    """
    weights = resamples(corpus.subjects)
    trees = {
        (run.contestant.label, budget): {k: v for k, v in of(mean_tally(t), truth, weights).items() if k in COMPARED}
        for run in runs
        for budget, t in run.tallies.items()
    }
    labels = [runs[0].contestant.label]
    labels += [r.contestant.label for r in runs if REFERENCES[0] in (r.contestant.label, r.contestant.kind)][:1]
    labels += [r.contestant.label for r in runs if r.contestant.label == REFERENCES[1]]
    out = []
    for (label, budget), ours in trees.items():
        for (reference, other), theirs in trees.items():
            if reference in labels and reference != label:
                row: dict[str, Any] = {
                    "model": label,
                    "samples": budget,
                    "against": reference,
                    "against_samples": other,
                }
                for name, tree in (
                    ("difference", _map(ours, operator.sub, theirs)),
                    ("ratio", _map(ours, _divided, theirs)),
                ):
                    row[name], row[f"{name}_ci95"] = estimates(tree), intervals(tree)
                out.append(row)
    return out


def counts(tally: Tally, corpus: Corpus, name: str) -> dict[str, int]:
    """Return how many clips and subjects counted in a score."""
    clips = np.flatnonzero(tally.clips_of(name).any(axis=1))
    return {"clips": len(clips), "subjects": len({corpus.subjects[c] for c in clips})}


def method(corpus: Corpus) -> dict[str, Any]:
    """Return how the intervals were made, for the record."""
    return {
        "level": 0.95,
        "resamples": RESAMPLES,
        "seed": SEED,
        "ci95": "cluster bootstrap: subjects, then clips within; windows and views of a clip together",
        "ci95_clips": "bootstrap over clips",
        "subjects": len(set(corpus.subjects)),
    }


def estimates(tree: Tree) -> Any:
    """Return the tree's first numbers, None where undefined."""
    return _map(tree, lambda v: _number(v[0]))


def intervals(tree: Tree) -> Any:
    """Return the tree's 95 % intervals, [low, high]."""
    return _map(tree, lambda v: [_number(x) for x in confidence(v)])


def _map(tree: Tree, function: Callable[..., Any], *others: Tree) -> Any:
    if isinstance(tree, dict):
        return {k: _map(v, function, *(o[k] for o in others)) for k, v in tree.items()}
    if isinstance(tree, list):
        return [_map(v, function, *(o[i] for o in others)) for i, v in enumerate(tree)]
    return None if tree is None else function(tree, *others)


def _divided(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=np.abs(b) > 0)


def _number(x: Any) -> float | None:
    return float(x) if np.isfinite(x) else None
