"""report.html of `probe`: R² of every set of features, tables, and what HTT looks at in a few windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from lmm.analysis.gait import TARGETS, separation
from lmm.evaluation.cases import FPS, Case, Corpus
from lmm.evaluation.streams import Glance
from lmm.rendering import plots
from lmm.rendering.report import Column, Picture, charts, find, gallery, note, page, section, table
from lmm.tokens import PARTS

Row = dict[str, Any]
ABOUT = (
    "A ridge regression reads each number off frozen features. Its penalty is chosen by leaving one person of the "
    "training windows out at a time. R² is about the mean of the tested windows: 1 is right, 0 is no better than one "
    "number for all, below 0 is worse; for angles, of cosine and sine together. Small print: 95 % cluster bootstrap "
    "over people, then clips."
)
CHARTS = (
    "Filled: trained. Hollow: networks of the same make with random weights, mean of three. Dotted: the last 15 frames "
    "themselves, without an encoder."
)
ATTENTION = (
    "Attention of the last frame of the context, in multiples of an even one (1: as if all tokens counted alike), mean "
    "over heads and over all windows that reach so far back. The gate is 1 where the frame stream alone passes, 0 "
    "where the mean of windows and parts does. Attention tells where a layer looks, not what it needs."
)
EXAMPLE = (
    "Top: how far the right ankle is ahead of the left. Below: the gate, mean over widths and the range of the middle "
    "80 % of them; attention of the last frame to windows, by layer, and to body parts, mean over layers, in multiples "
    "of an even one. The window is the middle one of a person's longest contexts, whatever it shows."
)


def report(results: Row, corpus: Corpus, shown: Sequence[Case], close: Mapping[str, Sequence[Glance]]) -> str:
    """Return the page; `close` are each HTT's glances at the `shown` cases, one by one."""
    rows = results["models"]
    body = [
        section("What gait is asked for", note(LABELS), _targets(results)),
        section("R² of linear probes", note(ABOUT), note(CHARTS), charts([_chart(rows, name) for name in TARGETS])),
        section("R²", table(rows, [Column(t.title, (n, "r2"), ".2f", max) for n, t in TARGETS.items()], _named)),
        section("Mean absolute error", table(rows, [_error(n) for n in TARGETS], _named)),
        *[
            _against(results["comparisons"], other)
            for other in dict.fromkeys(c["against"] for c in results["comparisons"])
        ],
    ]
    for label, told in results["htt"].items():
        pictures = [
            Picture(f"{corpus.ids[c.clip]}, {c.begin / FPS:.1f} s", EXAMPLE, _close(corpus, c, g))
            for c, g in zip(shown, close[label], strict=True)
        ]
        body += [section(f"What {label} looks at", note(ATTENTION), charts(_means(told))), gallery(pictures)]
    return page("What encoders know of gait", facts(results), body)


LABELS = (
    "Labels are computed from 3D joints, a second and a half on both sides of the last frame of the context; only "
    "windows that look like walking or running have them (docs/evaluation.md). Phase is 0 where the right foot is "
    "furthest ahead; arm–leg phase is 0 where right wrist and left ankle swing together; symmetries are (right − left) "
    "/ mean of amplitudes of ankles and wrists."
)


def facts(results: Row) -> str:
    """Return one line on what was tested."""
    views = f" from {results['views']} cameras" if results["views"] > 1 else ""
    return (
        f"{results['store']}, split {results['split']} · layout {results['layout']}{views} · walking: "
        f"{results['windows']} windows, {results['clips']} clips, {results['subjects']} people · tested: "
        f"{results['tested']}: {results['tested_windows']} windows, {results['tested_clips']} clips, "
        f"{results['tested_subjects']} people"
    )


def summary(results: Row) -> list[str]:
    """Return R² for the terminal."""
    out = [facts(results), f"{'R²':44}" + "".join(f"{t.title:>16}" for t in TARGETS.values())]
    for row in results["models"]:
        cells = (find(row, (name, "r2")) for name in TARGETS)
        out.append(f"{_label(row):44}" + "".join(f"{'–' if v is None else f'{v:.2f}':>16}" for v in cells))
    return out


def _features(row: Row) -> str:
    return f"{row['stream']}, {row['pooling']}" if row["pooling"] else str(row["stream"])


def _label(row: Row) -> str:
    return f"{row['model']}: {_features(row)}{'' if row['trained'] else ', untrained'}"


def _named(row: Row) -> str:
    seeds = f", {row['seeds']} seeds" if row["seeds"] > 1 else ""
    what = f"{_features(row)}{'' if row['trained'] else ', untrained'}, {row['width']} numbers{seeds}"
    return f"{escape(row['model'])}<small>{escape(what)}</small>"


def _error(name: str) -> Column:
    target = TARGETS[name]
    return Column(f"{target.title}, {target.unit}", (name, "error"), target.form, min)


def _targets(results: Row) -> str:
    rows = [{**told, "title": TARGETS[name].title} for name, told in results["targets"].items()]
    columns = [Column(n, (n,), ".0f") for n in ("windows", "clips", "subjects")]
    columns += [Column("mean", ("mean",), ".2f"), Column("standard deviation", ("deviation",), ".2f")]
    return table(rows, columns, lambda r: f"{r['title']}<small>{r['unit']}</small>")


def _chart(rows: Sequence[Row], name: str) -> Picture:
    hues = plots.colours([r["model"] for r in rows if "kind" in r])
    points: dict[str, list[tuple[float, float, float, str, bool]]] = {}
    level = None
    for row in rows:
        value, around = find(row, (name, "r2")), find(row["ci95"], (name, "r2"))
        if row["pooling"] == "last 15":
            level = value
        if value is not None:
            low, high = (np.nan if v is None else v for v in around)
            label = f"{row['model']}: {_features(row)}" if "kind" in row else _features(row)
            points.setdefault(label, []).append((value, low, high, hues.get(row["model"], plots.MUTED), row["trained"]))
    return Picture(TARGETS[name].title, "", plots.dots(list(points.items()), "R²", level))


def _against(comparisons: Sequence[Row], other: str) -> str:
    rows = [
        {**c["r2_difference"], "ci95": c["ci95"], "name": f"{c['model']}<small>{c['stream']}, {c['pooling']}</small>"}
        for c in comparisons
        if c["against"] == other
    ]
    columns = [Column(t.title, (n,), "+.2f") for n, t in TARGETS.items()]
    says = "R² less that of the other, on the same resampled people and clips. Above 0: the trained features know more."
    if other == "untrained":
        says += " Intervals are over people, not over random weights: see how far these differ (per_seed)."
    title = {"flat": "Against flat's memory", "untrained": "Against random weights"}.get(other, f"Against the {other}")
    return section(f"{title}, paired", note(says), table(rows, columns, lambda r: str(r["name"])))


def _means(told: Row) -> list[Picture]:
    at = told["seconds"]
    gate = plots.Line("gate", at, _line(told["gate"]["by_frame"]), colour=plots.PALETTE[0])
    out = [Picture("Gate by frame", "", plots.curves([gate], "seconds", "gate", (0.5, "even"), 1.0))]
    if "frame_to_window" in told:
        lines = [
            plots.Line(f"layer {i + 1}", at, _line(layer), colour=plots.PALETTE[i])
            for i, layer in enumerate(told["frame_to_window"])
        ]
        out.append(Picture("Last frame to windows", "", plots.curves(lines, "seconds", "times even", (1, "even"))))
    for i, layer in enumerate(told.get("frame_to_part", [])):
        lines = [
            plots.Line(part, at, _line(layer[part]["by_frame"]), colour=plots.PALETTE[j])
            for j, part in enumerate(PARTS)
        ]
        title = f"Last frame to body parts, layer {i + 1}"
        out.append(Picture(title, "", plots.curves(lines, "seconds", "times even", (1, "even"))))
    return out


def _close(corpus: Corpus, case: Case, seen: Glance) -> str:
    count = min(case.context, seen.gate.shape[1])
    at = [(i - count + 1) / FPS for i in range(count)]
    blue = plots.PALETTE[0]
    apart = separation(corpus.motions[case.clip])[case.begin - count : case.begin]
    mean, low, high = (seen.gate[0, -count:, i].tolist() for i in range(3))
    panels: list[Any] = [
        ("right ankle ahead of left, metres", [plots.Line("", at, apart.tolist(), colour=plots.INK)]),
        ("gate", [plots.Line("", at, mean, low, high, colour=blue)]),
    ]
    if seen.windows is not None:
        layers = seen.windows[0, :, -count:]
        lines = [plots.Line(f"layer {i + 1}", at, y.tolist(), colour=plots.PALETTE[i]) for i, y in enumerate(layers)]
        panels.append(("attention to windows, times even", lines))
    if seen.parts is not None:
        raster = seen.parts[0, :, -count:].mean(axis=0).T
        panels.append(("attention to body parts, times even", (at, raster, list(PARTS))))
    return plots.tracks(panels, "seconds before the last frame")


def _line(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if v is None else v for v in values]
