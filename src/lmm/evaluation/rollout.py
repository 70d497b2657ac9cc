"""The protocol `rollout`: twelve seconds, block after block, each forecast becoming the context of the next.

Does motion go on or freeze, do limbs keep their lengths, does the body jump where blocks meet? Few clips go on for
twelve seconds, so every second tells how many clips and subjects it rests on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError, MotionError
from lmm.core.motion import Motion
from lmm.evaluation import rollout_report
from lmm.evaluation.bootstrap import Tally, pooled, resamples
from lmm.evaluation.cases import BATCH, CONTEXT, FPS, Case, Corpus
from lmm.evaluation.contestants import SEED, Contestant
from lmm.evaluation.forecast import Progress, Results, described
from lmm.evaluation.pinned import pinned
from lmm.evaluation.results import Run, Tree, comparisons, estimates, intervals, rows
from lmm.evaluation.scores import mean_of
from lmm.evaluation.takes import Take, scores, takes, truth_scores
from lmm.inference.rollout import roll_out
from lmm.models.forecaster import Forecaster

Array = NDArray[Any]
SECONDS = 12
FRAMES = SECONDS * int(FPS)
LEAST_CONTEXT, LEAST_FUTURE = 45, 15  # frames: 3 s and 1 s
STILL_SHARE = 1e-6  # of the truth's squared displacement
ENERGIES = ("energy", "energy_local", "energy_root")


def rollout(
    corpus: Corpus, models: Sequence[Contestant], samples: int, progress: Progress, scale: float = 1.0
) -> tuple[Results, str]:
    """Return results.json's content and report.html; with `scale`, also pictures of displacements that much larger.

    Raises LmmError if no clip is long enough, a model does not fit, or a rollout bursts.
    """
    cases = cuts(corpus)
    found = takes(corpus, cases, FRAMES, pinned(corpus.layout).scored)
    truth, runs = Tally(len(corpus.motions)), []
    for take in found:
        truth.add(np.array([take.case.clip]), truth_scores(take))
    examples = rollout_report.examples(found, corpus.subjects)
    shown: dict[str, list[list[Motion]]] = {}
    total = sum(len(m.seeds) for m in models) * -(-len(found) // BATCH)
    done = 0
    for model in models:
        moving = _is_stochastic(model.seeds[0], found[0])
        tallies = [Tally(truth.num_clips) for _ in model.seeds]
        start = time.perf_counter()
        for s, seed in enumerate(model.seeds):
            for first in range(0, len(found), BATCH):
                part = found[first : first + BATCH]
                futures = _futures(model.label, seed, part, samples if moving else 1, (s, first))
                for take, drawn in zip(part, futures, strict=True):
                    parts = mean_of([scores(take, f, seed.block_frames) for f in drawn])
                    tallies[s].add(np.array([take.case.clip]), parts)
                if not s:
                    shown.setdefault(model.label, []).extend(
                        f for take, f in zip(part, futures, strict=True) if take in examples
                    )
                done += 1
                progress(done, total)
        seconds = (time.perf_counter() - start) / len(model.seeds)
        runs.append(Run(model, {1: tallies}, seconds, len(found), moving))
    results = {
        "protocol": "rollout",
        **described(corpus, [t.case for t in found], len(cases) - len(found)),
        "seconds": SECONDS,
        "draws": samples,
        "truth": _truth(truth, corpus, found),
        "models": rows(runs, truth, corpus, fields, "energy"),
        "comparisons": comparisons(runs, truth, corpus, fields),
    }
    return results, rollout_report.report(results, corpus, examples, shown, scale)


def cuts(corpus: Corpus) -> list[Case]:
    """Return where rollouts begin: at 8 s, or as far as needed earlier (3 s at least) for the clip to go on for 12 s;
    then every 12 s. Raises InputError if no clip lasts 4 s."""
    corpus.cases(LEAST_CONTEXT, LEAST_FUTURE, LEAST_FUTURE)
    out = []
    for clip, motion in enumerate(corpus.motions):
        first = int(np.clip(motion.num_frames - FRAMES, LEAST_CONTEXT, CONTEXT))
        for begin in range(first, motion.num_frames - LEAST_FUTURE + 1, FRAMES):
            out += [Case(clip, begin, v) for v in range(len(corpus.cameras) if motion.space == "world" else 1)]
    return out


def fields(tally: Tally, truth: Tally, weights: Array) -> Tree:
    """Return the scores of rollouts, a tree with arrays (R,): lists have a number for each second.

    ``energy...`` are mean joint speeds of all rollouts, ``energy_ratio...`` shares of the truth's while it lasts.
    """
    out: Tree = {n: list(pooled(tally, n, weights).T) for n in ENERGIES}
    out |= {n: list(pooled(tally, n, weights).T) for n in (e.replace("energy", "energy_ratio") for e in ENERGIES)}
    for name in ("alive_seconds", "collapsed", "first_step_ratio", "border_step_ratio", "bone_length_cv"):
        out[name] = pooled(tally, name, weights)[:, 0]
    ff, ft, tt = (tally.sums(f"product_{n}", weights).total for n in ("ff", "ft", "tt"))
    moved = (ff > STILL_SHARE * tt) & (tt > 0)  # a pose that is held has no direction, but rounding errors do
    out["displacement_gain"] = list(np.where(moved, ft / np.where(moved, ff, 1), np.nan).T)
    out["displacement_correlation"] = list(np.where(moved, ft / np.sqrt(np.where(moved, ff * tt, 1)), np.nan).T)
    return out


def _truth(truth: Tally, corpus: Corpus, found: Sequence[Take]) -> dict[str, Any]:
    """Return the truth's energy in each second, and on how many rollouts, clips and subjects it rests."""
    weights = resamples(corpus.subjects)
    tree: Tree = {n: list(pooled(truth, n, weights).T) for n in ENERGIES}
    tree["bone_length_cv"] = pooled(truth, "bone_length_cv", weights)[:, 0]
    clips = truth.clips_of("energy")
    lasts = np.array([t.counts[t.context :].any(axis=1).reshape(SECONDS, -1).any(axis=1) for t in found])
    owners = np.array(corpus.subjects)
    return {
        **estimates(tree),
        "ci95": intervals(tree),
        "rollouts": lasts.sum(axis=0).tolist(),
        "clips": clips.sum(axis=0).tolist(),
        "subjects": [len(set(owners[second])) for second in clips.T],
    }


def _futures(
    label: str, model: Forecaster, part: Sequence[Take], samples: int, key: Sequence[int]
) -> list[list[Motion]]:
    try:
        return roll_out([t.past for t in part], model, FRAMES, samples, np.random.default_rng((SEED, *key)))
    except MotionError as e:
        raise LmmError(f"a rollout of {label} came apart: {e}") from None


def _is_stochastic(model: Forecaster, take: Take) -> bool:
    a, b = roll_out([take.past], model, 2, 2, np.random.default_rng(SEED))[0]
    return not np.allclose(a.positions, b.positions, atol=1e-5 * take.unit, equal_nan=True)
