"""Answers → scores: one function a kind, of conversations, answers and weights (`bootstrap`).

Weights are (R, N): a row of ones for the estimate, resamples, or one subject alone; every score is (R,). An answer that
states nothing, or says that it cannot be told, is wrong; where numbers are wanted, it counts as if it had said 0.

exercise, side, direction, turn, sequence, compare, next
              accuracy: share of answers that state the truth (a sequence: all of it, in order)
              balanced: mean over the true values of the share that is right, so that always saying one of K scores 1/K
correct       accuracy; f1: mean over the two classes of F1 = 2 TP / (2 TP + FP + FN)
count         exact, off_by_one: |said - true| is 0, is 1 at most; mae
duration      within: 1 s, or a tenth of it; mae in seconds
angle         within: 10°; mae in degrees
caption       exact; bleu_4, rouge_l, cider (`caption_scores`), one reference each
unanswerable  of all conversations. refused: share of those that cannot be answered; false_refusals: of the others;
              balanced: the mean of the first, and of one less the second
moments       of key frames, where the answer rests on instants: hit: share of them within NEAR_S of an instant; found:
              share of instants with a key frame within NEAR_S; even_hit, even_found: of as many evenly spaced
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm.datasets.answers import QUESTIONS, parse_answer
from lmm.datasets.instructions import Conversation
from lmm.evaluation import caption_scores

Array = NDArray[Any]
REFUSES, NEAR_S = "unanswerable", 0.5
VALUE = {"duration": "seconds", "angle": "degrees", "count": "count"}  # the number in a truth
MAIN = dict.fromkeys(QUESTIONS, "accuracy") | {
    "correct": "f1", "count": "mae", "duration": "mae", "angle": "mae", "caption": "cider", REFUSES: "balanced",
}  # fmt: skip
LOWER = ("mae", "false_refusals")  # is better


def scores(kind: str, asked: Sequence[Conversation], answers: Sequence[str], weights: Array) -> dict[str, Array]:
    """Return the scores (R,) of a kind; NaN where nothing counts. `asked` are of that kind; of unanswerable: of all."""
    if kind == REFUSES:
        return _refusals([c.kind == REFUSES for c in asked], answers, weights)
    told = [parse_answer(kind, a) for a in answers]
    stated = {"stated": _mean(np.array([t is not None for t in told], float), weights)}
    if kind == "caption":
        return _captions([str(c.truth["caption"]) for c in asked], told, weights)
    if kind in VALUE:
        name = VALUE[kind]
        true = np.array([float(c.truth[name]) for c in asked])
        off = np.abs(np.array([float((t or {}).get(name, 0)) for t in told]) - true)
        known = np.array([t is not None for t in told])
        found = {"mae": _mean(off, weights)}
        if kind == "count":
            shares = {"exact": off == 0, "off_by_one": off <= 1}
        else:
            shares = {"within": off <= (10 if kind == "angle" else np.maximum(1, 0.1 * true))}
        return {k: _mean((v & known).astype(float), weights) for k, v in shares.items()} | found | stated
    right = np.array([t == c.truth for t, c in zip(told, asked, strict=True)], float)
    out = {"accuracy": _mean(right, weights)}
    if kind == "correct":
        said = np.array([{True: 1, False: 0}.get((t or {}).get("correct"), -1) for t in told])  # type: ignore[arg-type]
        true = np.array([int(c.truth["correct"]) for c in asked])
        return {"f1": np.mean([_f1(said == k, true == k, weights) for k in (0, 1)], axis=0)} | out | stated
    values = np.array([str(sorted(c.truth.items())) for c in asked])
    each = [_mean(right, weights * (values == v)) for v in np.unique(values)]
    return out | {"balanced": _nanmean(each)} | stated


def moments(asked: Sequence[Conversation], keys: Sequence[Sequence[ArrayLike]], seconds: Sequence[Sequence[float]],
            weights: Array) -> dict[str, Array]:  # fmt: skip
    """Return the scores of key frames: `keys` are seconds from each motion's beginning, `seconds` how long each is."""
    sums = np.zeros((len(asked), 6))
    for row, c, own, lengths in zip(sums, asked, keys, seconds, strict=True):
        for instants, at, length in zip(c.moments_s, own, lengths, strict=False):
            times = np.asarray(at, float)
            if instants and times.size:
                even = (np.arange(times.size) + 0.5) * length / times.size
                row[[0, 1]] += (np.abs(times[:, None] - instants).min(1) <= NEAR_S).sum(), times.size
                row[[2, 3]] += (np.abs(times[:, None] - instants).min(0) <= NEAR_S).sum(), len(instants)
                row[4] += (np.abs(even[:, None] - instants).min(1) <= NEAR_S).sum()
                row[5] += (np.abs(even[:, None] - instants).min(0) <= NEAR_S).sum()
    hit, frames, found, instants_, even_hit, even_found = (weights @ sums).T
    return {"hit": _ratio(hit, frames), "even_hit": _ratio(even_hit, frames), "found": _ratio(found, instants_),
            "even_found": _ratio(even_found, instants_)}  # fmt: skip


def _refusals(cannot: Sequence[bool], answers: Sequence[str], weights: Array) -> dict[str, Array]:
    refused = np.array([parse_answer(REFUSES, a) == {"answerable": False} for a in answers], float)
    hard = np.array(cannot, float)
    right, wrong = _mean(refused, weights * hard), _mean(refused, weights * (1 - hard))
    return {"balanced": (right + 1 - wrong) / 2, "refused": right, "false_refusals": wrong}


def _captions(true: Sequence[str], told: Sequence[dict[str, Any] | None], weights: Array) -> dict[str, Array]:
    said, references = [str((t or {}).get("caption", "")) for t in told], [[t] for t in true]
    counts = caption_scores.bleu_counts(said, references)
    return {
        "exact": _mean(np.array([a == b for a, b in zip(said, true, strict=True)], float), weights),
        "bleu_4": caption_scores.bleu_of(weights @ counts),
        "rouge_l": _mean(caption_scores.rouge_l(said, references), weights),
        "cider": _mean(caption_scores.cider(said, references), weights),
    }


def _f1(said: Array, true: Array, weights: Array) -> Array:
    return _ratio(2 * weights @ (said & true), weights @ said.astype(float) + weights @ true)


def _mean(values: Array, weights: Array) -> Array:
    return _ratio(weights @ values, weights.sum(1))


def _ratio(a: Array, b: Array) -> Array:
    return np.divide(a, b, out=np.full(np.shape(a), np.nan), where=b > 0)


def _nanmean(rows: Sequence[Array]) -> Array:
    """Return the mean over rows of what is there: a true value that no weight falls on does not count."""
    known = np.isfinite(rows)
    return _ratio(np.where(known, rows, 0).sum(0), known.sum(0))
