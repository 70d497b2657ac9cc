"""The protocol `transfer`: clips of a source that no model was trained on, mostly too short for whole windows.

Two tests, on segmented repetitions as they are, with nothing joined: one step ahead wherever half a second was seen,
which is the main figure since it uses whole clips; and up to two seconds, as far as the clip goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmm.core.metrics import Parts
from lmm.evaluation import sections
from lmm.evaluation.cases import FPS, HORIZON, Case, Corpus
from lmm.evaluation.contestants import Contestant
from lmm.evaluation.forecast import Array, Progress, Results, described, score, truth_row
from lmm.evaluation.pictures import pictures
from lmm.evaluation.results import Run, comparisons, rows
from lmm.evaluation.scores import Judge
from lmm.rendering.report import Column, gallery, named, note, page, section, table

FIRST = 8  # frames: the least context, half a second
STEP_STRIDE = 3  # frames between the cuts of the one-step test
STRIDE, LEAST = 15, 8  # frames between the cuts of the forecasts, and the least that must remain

ONE_STEP = (
    Column("one-step velocity MSE", ("one_step_velocity_mse",), ".5f", best=min),
    Column("MSE frame 1", ("mse", "frame_1"), best=min),
)


def transfer(corpus: Corpus, models: Sequence[Contestant], samples: int, progress: Progress) -> tuple[Results, str]:
    """Return results.json's content and report.html.

    Raises LmmError if no clip is long enough or a model does not fit.
    """
    batches = corpus.batches(corpus.cases(FIRST, STRIDE, LEAST), HORIZON)
    single = corpus.batches(corpus.cases(FIRST, STEP_STRIDE, 1), 1)
    total = len(batches) + len(single)
    runs, truth = score(corpus, models, batches, samples, lambda done, _: progress(done, total))
    steps, _ = score(
        corpus,
        models,
        single,
        samples,
        lambda done, _: progress(len(batches) + done, total),
        one_step,
        lambda judge: {},
    )
    runs = [_joined(run, step) for run, step in zip(runs, steps, strict=True)]
    results = {
        "protocol": "transfer",
        **described(corpus, batches.kept, len(batches.refused)),
        "windows_that_reach": {f"frame_{f}": _reach(corpus, batches.kept, f) for f in (1, 15, 30)},
        "one_step": {"frames": len(single.kept), "stride_frames": STEP_STRIDE, "least_context_frames": FIRST},
        "models": rows(runs, truth, corpus),
        "truth": truth_row(truth, corpus),
        "comparisons": comparisons(runs, truth, corpus),
    }
    told = section(
        "One step ahead",
        note(
            f"The main figure: from what was seen up to a frame, the next frame is forecast, at every {STEP_STRIDE}rd "
            f"frame of whole clips from {FIRST / FPS:.2g} s on ({len(single.kept):,} frames). The velocity is the "
            "difference to the last frame seen, so its error is that of the place."
        ),
        table(results["models"], ONE_STEP, named),
    )
    reach = results["windows_that_reach"]
    windows = note(
        f"Below, forecasts of up to 2 s from {FIRST / FPS:.2g} s of context or more, as far as the clip goes: "
        f"{reach['frame_1']:,} windows, of which {reach['frame_15']:,} reach 1 s and {reach['frame_30']:,} reach 2 s. "
        "Every frame counts once."
    )
    shown = gallery(pictures(corpus, models, batches.kept, samples, HORIZON))
    body = [told, windows, *sections.scores(results), sections.graphs(results), shown]
    return results, page("Transfer to a source that was not trained on", sections.facts(results), body)


def one_step(judge: Judge, samples: Array) -> dict[str, Parts]:
    """Return the velocity MSE of one frame's forecasts (B, S, 1, 75).

    Teacher-forced: both velocities start from the true last frame, so the difference is that of the new places.
    """
    return {"one_step_velocity_mse": judge.mse(samples)}


def _joined(run: Run, step: Run) -> Run:
    for budget, seeds in step.tallies.items():
        for seed, tally in enumerate(seeds):
            run.tallies[budget][seed].update(tally)
    return run


def _reach(corpus: Corpus, cases: Sequence[Case], frames: int) -> int:
    return sum(corpus.motions[c.clip].num_frames - c.begin >= frames for c in cases)
