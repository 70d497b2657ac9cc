"""The protocol `robustness`: the same windows, with contexts as bad as real ones.

Only the context suffers; the truth stays as it was recorded, and errors are counted in the clean context's body
lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lmm.core.errors import MotionError
from lmm.core.metrics import Parts
from lmm.core.motion import RECORDED, Motion
from lmm.datasets.windows import Window, mirror
from lmm.evaluation import sections
from lmm.evaluation.bootstrap import Tally
from lmm.evaluation.cases import CONTEXT, HORIZON, Batches, Case, Corpus
from lmm.evaluation.contestants import Contestant
from lmm.evaluation.forecast import FIRST, Array, Progress, Results, described, score
from lmm.evaluation.results import Tree, overall, rows
from lmm.evaluation.scores import Judge
from lmm.pipeline.cameras import project
from lmm.pipeline.features import MIDHIP, NECK, FeatureSpec, encode
from lmm.rendering import plots
from lmm.rendering.report import Column, Picture, charts, named, note, page, section, table

STRIDE = 30  # frames between windows
SEED = 20262
Perturb = Callable[[Motion, int, float, float, Any], tuple[Motion, int]]


def jitter(piece: Motion, context: int, level: float, scale: float, rng: Any) -> tuple[Motion, int]:
    """Move every joint of every context frame by normal noise; `level` is its deviation in body lengths."""
    noise = level * scale * rng.normal(size=piece.positions.shape)
    noise[context:] = 0
    return piece.replace(positions=piece.positions + noise), context


def drop_joints(piece: Motion, context: int, level: float, scale: float, rng: Any) -> tuple[Motion, int]:
    """Hide `level` of the seen joints throughout the context; never the mid-hip and the neck."""
    seen = np.setdiff1d(np.flatnonzero(piece.observed[:context].any(axis=0)), (MIDHIP, NECK))
    gone = np.zeros(piece.observed.shape, bool)
    gone[:context, rng.permutation(seen)[: int(level)]] = True
    return _without(piece, gone), context


def drop_frames(piece: Motion, context: int, level: float, scale: float, rng: Any) -> tuple[Motion, int]:
    """Hide whole frames of the context, each with probability `level`, but not the first and the last."""
    gone = np.zeros(piece.observed.shape, bool)
    gone[1 : context - 1] = (rng.random(max(context - 2, 0)) < level)[:, None]
    return _without(piece, gone), context


def mirrored(piece: Motion, context: int, level: float, scale: float, rng: Any) -> tuple[Motion, int]:
    """Exchange left and right, in context and truth: a fair model does as well."""
    return (mirror(piece) if level else piece), context


def shorten(piece: Motion, context: int, level: float, scale: float, rng: Any) -> tuple[Motion, int]:
    """Keep only the last `level` frames of the context."""
    kept = min(context, int(level))
    return piece.crop(context - kept, piece.num_frames), kept


# name → (what it does, levels, the level that changes nothing, what the levels are)
PERTURBATIONS: dict[str, tuple[Perturb, tuple[float, ...], float, str]] = {
    "jitter": (jitter, (0.01, 0.02, 0.05, 0.1), 0, "noise, standard deviation in body lengths"),
    "dropped_joints": (drop_joints, (1, 3, 6), 0, "joints missing throughout"),
    "dropped_frames": (drop_frames, (0.1, 0.3, 0.5), 0, "share of frames missing"),
    "mirrored": (mirrored, (1,), 0, "1 where left and right are exchanged"),
    "context_frames": (shorten, (8, 15, 30, 60), CONTEXT, "frames of context kept"),
}


@dataclass(frozen=True, eq=False)
class Worse:
    """A corpus whose contexts are changed in one way; `scales` are its windows' body lengths in those of clean ones."""

    corpus: Corpus
    perturb: Perturb
    level: float
    scales: dict[Case, float] = field(default_factory=dict)

    def cut(self, case: Case) -> Window:
        """Return the window of a case. Raises MotionError if the context no longer shows what it showed clean."""
        spec, motion = FeatureSpec(layout=self.corpus.layout), self.corpus.motions[case.clip]
        piece = motion.crop(case.begin - case.context, case.begin + HORIZON)
        if spec.layout == "xyc" and piece.space == "world":
            piece = project(piece, self.corpus.cameras[case.view], case.context)
        clean = self.corpus.cut(case, HORIZON).features.transform
        rng = np.random.default_rng((SEED, case.clip, case.begin, case.view))
        bad, kept = self.perturb(piece, case.context, self.level, clean.scale, rng)
        features = encode(bad, spec, kept)
        if features.transform.centre != clean.centre:
            raise MotionError("the context shows another centre once it is changed.")
        self.scales[case] = features.transform.scale / clean.scale
        return Window(features, bad.observed & (bad.flags == RECORDED) & bad.observed[:kept].any(axis=0), kept)

    def mse(self, judge: Judge, samples: Array) -> dict[str, Parts]:
        """Return the parts of the MSE, in the clean contexts' body lengths."""
        parts = judge.mse(samples)
        factor = np.array([self.scales[c] for c in judge.batch.cases])[:, None] ** 2
        return {"mse": Parts(parts.total * factor, parts.number)}


def robustness(corpus: Corpus, models: Sequence[Contestant], samples: int, progress: Progress) -> tuple[Results, str]:
    """Return results.json's content and report.html: each model's row tells the MSE at every level of every change.

    Raises LmmError if no clip is long enough or a model does not fit.
    """
    cases = corpus.cases(FIRST, STRIDE, HORIZON)
    levels = [(name, level) for name, (_, known, _, _) in PERTURBATIONS.items() for level in known]

    def tested(perturb: Perturb, level: float) -> tuple[list[dict[str, Any]], Batches]:
        worse = Worse(corpus, perturb, level)
        batches = Batches(cases, worse.cut, HORIZON, [])
        runs, truth = score(corpus, models, batches, samples, lambda *_: None, worse.mse, lambda judge: {})
        return rows(runs, truth, corpus, _overall), batches

    clean, batches = tested(jitter, 0)
    for row in clean:
        same = {"mse": row["mse"]["overall"], "ci95": row["ci95"]["mse"]["overall"]}
        row["robustness"] = {name: {f"{none:g}": same} for name, (_, _, none, _) in PERTURBATIONS.items()}
    for done, (name, level) in enumerate(levels, 1):
        progress(done, len(levels) + 1)
        changed, _ = tested(PERTURBATIONS[name][0], level)
        for row, other in zip(clean, changed, strict=True):
            told = {"mse": other["mse"]["overall"], "ci95": other["ci95"]["mse"]["overall"]}
            row["robustness"][name][f"{level:g}"] = told
    results = {
        "protocol": "robustness",
        **described(corpus, batches.kept, len(batches.refused)),
        "changes": {name: what for name, (_, _, _, what) in PERTURBATIONS.items()},
        "models": clean,
    }
    body = [
        section(
            "Error with worse contexts",
            note(
                "MSE over two seconds of local coordinates that the context still shows, for the same windows. Only "
                "the context is changed, and it is not cleaned again, as a user's file would be. In the tables, one "
                "column is the clean context."
            ),
            charts([_chart(clean, name, what) for name, (_, _, _, what) in PERTURBATIONS.items()]),
        ),
        *[_table(clean, name, what) for name, (_, _, _, what) in PERTURBATIONS.items()],
    ]
    return results, page("Robustness of forecasts", sections.facts(results), body)


def _without(piece: Motion, gone: Array) -> Motion:
    positions = np.where(gone[..., None], np.nan, piece.positions)
    return piece.replace(positions=positions, confidence=np.where(gone, 0, piece.confidence))


def _overall(tally: Tally, truth: Tally, weights: Array) -> Tree:
    return {"mse": {"overall": overall(tally, "mse", weights)}}


def _levels(rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    return sorted(rows[0]["robustness"][name], key=float)


def _chart(rows: Sequence[dict[str, Any]], name: str, what: str) -> Picture:
    hues = plots.colours([r["model"] for r in rows])
    x = [float(level) for level in _levels(rows, name)]
    lines = []
    for row in rows:
        cells = [row["robustness"][name][level] for level in _levels(rows, name)]
        low, high = zip(*(cell["ci95"] for cell in cells), strict=True)
        y = [cell["mse"] for cell in cells]
        lines.append(plots.Line(sections.label(row), x, y, low, high, row["samples"] > 1, hues[row["model"]]))
    chart = plots.curves(lines, what, "MSE", top=sections.ceiling(lines), marked=True)
    return Picture(name.replace("_", " "), "", chart)


def _table(rows: Sequence[dict[str, Any]], name: str, what: str) -> str:
    flat = [
        {
            **row,
            "at": {level: cell["mse"] for level, cell in row["robustness"][name].items()},
            "ci95": {"at": {level: cell["ci95"] for level, cell in row["robustness"][name].items()}},
        }
        for row in rows
    ]
    columns = [Column(level, ("at", level)) for level in _levels(rows, name)]
    return section(f"{name.replace('_', ' ')}: {what}", table(flat, columns, named))
