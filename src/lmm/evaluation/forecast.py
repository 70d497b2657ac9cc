"""The protocol `forecast`: two seconds after up to eight, at every second of every clip (docs/evaluation.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError
from lmm.core.metrics import Parts
from lmm.evaluation import sections
from lmm.evaluation.bootstrap import Tally, resamples
from lmm.evaluation.cases import CONTEXT, FPS, HORIZON, Batches, Case, Corpus
from lmm.evaluation.contestants import Contestant, draw, is_stochastic
from lmm.evaluation.pictures import pictures
from lmm.evaluation.pinned import pinned
from lmm.evaluation.results import Run, comparisons, estimates, intervals, method, rows, truth_fields
from lmm.evaluation.scores import Judge, mean_of
from lmm.rendering.report import gallery, page

Array = NDArray[np.float64]
Scores = dict[str, Parts]
FIRST, STRIDE = 30, 15  # frames: at least 2 s of context, a window every second
Results = dict[str, Any]
Progress = Callable[[int, int], None]


def forecast(corpus: Corpus, models: Sequence[Contestant], samples: int, progress: Progress) -> tuple[Results, str]:
    """Return results.json's content and report.html.

    Raises LmmError if no clip is long enough or a model does not fit.
    """
    cases = corpus.cases(FIRST, STRIDE, HORIZON)
    batches = corpus.batches(cases, HORIZON)
    runs, truth = score(corpus, models, batches, samples, progress)
    kept = batches.kept
    results = {
        "protocol": "forecast",
        **described(corpus, kept, len(batches.refused)),
        "models": rows(runs, truth, corpus),
        "truth": truth_row(truth, corpus),
        "comparisons": comparisons(runs, truth, corpus),
    }
    shown = gallery(pictures(corpus, models, kept, samples, HORIZON))
    body = [*sections.scores(results), sections.graphs(results), shown]
    return results, page("Forecasts of two seconds", sections.facts(results), body)


def score(
    corpus: Corpus,
    models: Sequence[Contestant],
    batches: Batches,
    samples: int,
    progress: Progress,
    judged: Callable[[Judge, Array], Scores] = Judge.scores,
    of_truth: Callable[[Judge], Scores] = Judge.truth_scores,
) -> tuple[list[Run], Tally]:
    """Return what each model scored on the batches, and the truth's tally.

    Each batch is cut once and forecast by all; `judged` scores forecasts (B, S, H, 75). One sample's scores are the
    mean over all samples' own.
    """
    horizon, statistics = batches.horizon, pinned(corpus.layout)
    for model in models:
        if model.seeds[0].block_frames < horizon:
            raise LmmError(
                f"{model.label} forecasts {model.seeds[0].block_frames} frames; the protocol asks {horizon}."
            )
    truth, seconds, windows = Tally(len(corpus.motions)), [0.0] * len(models), 0
    tallies: list[dict[int, list[Tally]]] = [{} for _ in models]
    stochastic = [False] * len(models)
    for number, batch in enumerate(batches):
        judge = Judge(batch, statistics)
        truth.add(batch.clips, of_truth(judge))
        for m, model in enumerate(models):
            if not windows:
                stochastic[m] = is_stochastic(model.seeds[0], batch)
                budgets = {1, samples} if stochastic[m] else {1}
                tallies[m] = {b: [Tally(truth.num_clips) for _ in model.seeds] for b in sorted(budgets)}
            budget = max(tallies[m])
            for s, seed in enumerate(model.seeds):
                drawn, elapsed = draw(seed, batch, horizon, budget, (s, number))
                seconds[m] += elapsed / len(model.seeds)
                alone = mean_of([judged(judge, drawn[:, [i]]) for i in range(budget)])
                tallies[m][1][s].add(batch.clips, alone)
                if budget > 1:
                    tallies[m][budget][s].add(batch.clips, judged(judge, drawn))
        windows += len(batch.cases)
        progress(number + 1, len(batches))
    if not windows:
        raise LmmError("no window could be scored: in none does the context show the body's centre and size.")
    done = zip(models, tallies, seconds, stochastic, strict=True)
    return [Run(model, t, e, windows, moving) for model, t, e, moving in done], truth


def described(corpus: Corpus, cases: Sequence[Case], refused: int) -> dict[str, Any]:
    """Return what was tested, for the record."""
    statistics = pinned(corpus.layout)
    return {
        "store": corpus.name,
        "split": corpus.split,
        "layout": corpus.layout,
        "views": len(corpus.cameras),
        "fps": FPS,
        "units": {
            "mse": "squared standard deviations of the pinned statistics",
            "length": "metres" if corpus.layout == "xyz" else "body lengths (neck to mid-hip)",
        },
        "statistics": {"data": statistics.data, "joints": list(statistics.joints)},
        "windows": len(cases),
        "full_windows": sum(c.context == CONTEXT for c in cases),
        "refused_windows": refused,
        "clips": len({c.clip for c in cases}),
        "subjects": len({corpus.subjects[c.clip] for c in cases}),
        "intervals": method(corpus),
    }


def truth_row(truth: Tally, corpus: Corpus) -> dict[str, Any]:
    """Return the truth's own energy and bone lengths, with intervals."""
    tree = truth_fields(truth, resamples(corpus.subjects))
    return {**estimates(tree), "ci95": intervals(tree)}
