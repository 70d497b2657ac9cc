"""What a report says of forecasts of two seconds: the sections that `forecast` and `transfer` share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lmm.evaluation.cases import FPS
from lmm.rendering import plots
from lmm.rendering.report import Column, Picture, charts, find, named, note, section, table

Results = dict[str, Any]

ERRORS = (
    Column("MSE frame 1", ("mse", "frame_1"), best=min),
    Column("frame 15", ("mse", "frame_15"), best=min),
    Column("frame 30", ("mse", "frame_30"), best=min),
    Column("overall", ("mse", "overall"), best=min),
    Column("MSE root", ("mse_root", "overall"), best=min),
    Column("MSE all 75", ("mse_all", "overall"), best=min),
    Column("velocity MSE", ("velocity_mse",), ".4f", best=min),
    Column("parameters", ("parameters",), ",.0f"),
    Column("ms / window", ("seconds_per_window",), ".2f", factor=1e3),
)
SPREAD = (
    Column("ADE, joint", ("ade", "joint"), best=min),
    Column("FDE, joint", ("fde", "joint"), best=min),
    Column("ADE, flattened", ("ade", "flattened"), best=min),
    Column("FDE, flattened", ("fde", "flattened"), best=min),
    Column("energy score", ("energy_score",), best=min),
    Column("90 % coverage", ("coverage_90",), ".1f", factor=100),
    Column("APD", ("apd",), ".2f"),
)
MOTION = (
    Column("energy, second 1", ("energy_ratio", 0), ".2f"),
    Column("second 2", ("energy_ratio", 1), ".2f"),
    Column("about the root, 1", ("energy_ratio_local", 0), ".2f"),
    Column("2", ("energy_ratio_local", 1), ".2f"),
    Column("root's path, 1", ("energy_ratio_root", 0), ".2f"),
    Column("2", ("energy_ratio_root", 1), ".2f"),
    Column("first step", ("first_step_ratio",), ".2f"),
    Column("bone length CV, %", ("bone_length_cv",), ".2f", factor=100),
    Column("CMD", ("cmd",), ".2f"),
)


def scores(results: Results) -> list[str]:
    """Return the tables of results."""
    rows, length = results["models"], results["units"]["length"]
    truth = {**results["truth"], "model": "the truth", "samples": 1, "stochastic": False, "seeds": 1}
    out = [
        section(
            "Error",
            note(
                "Mean squared error of local joint coordinates, in squared standard deviations of the pinned "
                "statistics (predicting the mean scores about 1). Small print: 95 % cluster bootstrap. Bold: the "
                "least; with intervals that overlap this need not mean much, see the paired comparisons."
            ),
            table(rows, ERRORS, named),
        ),
        section(
            "Against the references, paired",
            note("Shares of the reference's score on the same resampled clips. Below 1 is better."),
            *[
                table(
                    [_paired(r) for r in results["comparisons"] if r["against"] == reference],
                    _against(reference),
                    _budget,
                )
                for reference in dict.fromkeys(r["against"] for r in results["comparisons"])
            ],
        ),
        section(
            "Distance and spread",
            note(
                f"Distances about the root, in {length}: the nearest of the samples. The energy score counts the whole "
                "spread. Coverage: how often the truth lies within the central 90 % interval, feature by feature."
            ),
            table(rows, SPREAD, named),
        ),
        section(
            "Motion",
            note(
                "Energy: mean joint speed as a share of the truth's, per second; 1 is right, 0 frozen. First step: "
                "the step from the context into the forecast as a share of the truth's usual step. Bone lengths: "
                "standard deviation over mean within a forecast; projections vary by themselves."
            ),
            table([*rows, _truth_motion(truth)], MOTION, lambda r: named(r) if "parameters" in r else "the truth"),
        ),
    ]
    if any("by_subject" in r for r in rows):
        out.append(by_subject(results))
    return out


def by_subject(results: Results) -> str:
    """Return a table of every subject alone, by overall MSE."""
    rows = results["models"]
    subjects = sorted(rows[0]["by_subject"])
    columns = [Column(s, ("by_subject", s, "mse", "overall"), best=min) for s in subjects]
    text = (
        f"There are only {len(subjects)} subjects: intervals over so few are fragile, so each is listed. MSE, overall."
    )
    return section("Each subject", note(text), table([{**r, "ci95": None} for r in rows], columns, named))


def graphs(results: Results) -> str:
    """Return the curves of error over the horizon and energy per second."""
    rows = results["models"]
    hues = plots.colours([r["model"] for r in rows])
    error = [_line(r, "mse", hues) for r in rows]
    drawn = [Picture("Error over the horizon", "", plots.curves(error, "seconds", "MSE", top=ceiling(error)))]
    for name, title in (("energy_ratio", "Motion energy per second"), ("energy_ratio_local", "… about the root")):
        lines = [by_second(r, name, hues) for r in rows]
        level = (1.0, "the truth")
        drawn.append(Picture(title, "", plots.curves(lines, "second", "share of the truth's", level, 2.0, marked=True)))
    sampled = [r for r in rows if find(r, ("curves", "coverage_90"))]
    if sampled:
        lines = [_line(r, "coverage_90", hues) for r in sampled]
        drawn.append(
            Picture("Coverage of 90 % intervals", "", plots.curves(lines, "seconds", "share", (0.9, "90 %"), 1.0))
        )
    lines = [_line(r, "energy_score", hues) for r in rows if r["samples"] > 1 or not r["stochastic"]]
    chart = plots.curves(lines, "seconds", "energy score", top=ceiling(lines))
    drawn.append(Picture("Energy score over the horizon", "", chart))
    return section("Over the horizon", charts(drawn))


def facts(results: Results) -> str:
    """Return one line on what was tested."""
    views = f" from {results['views']} cameras" if results["views"] > 1 else ""
    refused = f", {results['refused_windows']} windows refused" if results["refused_windows"] else ""
    return (
        f"{results['store']}, split {results['split']} · layout {results['layout']}{views} · {results['fps']:g} FPS · "
        f"{results['windows']} windows ({results['full_windows']} with the full 8 s of context{refused}), "
        f"{results['clips']} clips, {results['subjects']} subjects · "
        f"joints: {', '.join(results['statistics']['joints'])}"
    )


def summary(results: Results) -> list[str]:
    """Return a few lines for the terminal: MSE where there is one, and the energy ratio in each second."""
    rows = results["models"]
    errors = [k for k in ("frame_1", "frame_15", "frame_30", "overall") if find(rows[0], ("mse", k)) is not None]
    head = "".join(f"{'MSE ' + k.replace('_', ' '):>14}" for k in errors)
    energy = "   energy ratio by second" * ("energy_ratio" in rows[0])
    out = [f"{'':34}{head}{'95 % interval':>18}" * bool(errors) + energy]
    for r in rows:
        name = f"{r['model']}, {r['samples']} sample{'s' * (r['samples'] > 1)}"
        cells = "".join(f"{_shown(find(r, ('mse', k))):>14}" for k in errors)
        low, high = find(r, ("ci95", "mse", "overall")) or (None, None)
        cells += f"{_shown(low)} – {_shown(high)}".rjust(18) * bool(errors)
        out.append(f"{name:34}{cells}   {' '.join(_shown(e, '.2f') for e in r.get('energy_ratio', []))}")
    return out


def _shown(x: float | None, form: str = ".3f") -> str:
    return "–" if x is None else f"{x:{form}}"


def _against(reference: str) -> list[Column]:
    return [
        Column(f"overall / {reference}", ("mse", "overall"), ".2f"),
        Column("frame 1", ("mse", "frame_1"), ".2f"),
        Column("frame 15", ("mse", "frame_15"), ".2f"),
        Column("frame 30", ("mse", "frame_30"), ".2f"),
        Column("MSE root", ("mse_root", "overall"), ".2f"),
        Column("ADE, joint", ("ade", "joint"), ".2f"),
        Column("energy score", ("energy_score",), ".2f"),
    ]


def _budget(row: dict[str, Any]) -> str:
    return f"{row['model']}<small>{row['samples']} against {row['against_samples']}</small>"


def _paired(row: dict[str, Any]) -> dict[str, Any]:
    return {**row["ratio"], "ci95": row["ratio_ci95"], **{k: v for k, v in row.items() if "ratio" not in k}}


def _truth_motion(truth: dict[str, Any]) -> dict[str, Any]:
    return {"bone_length_cv": truth["bone_length_cv"], "ci95": truth["ci95"]}


def _line(row: dict[str, Any], name: str, hues: dict[str, str]) -> plots.Line:
    y = [_nan(v) for v in row["curves"][name]]
    around = [(None, None) if v is None else v for v in row["ci95"]["curves"][name]]
    low, high = ([_nan(v) for v in side] for side in zip(*around, strict=True))
    x = [(i + 1) / FPS for i in range(len(y))]
    return plots.Line(label(row), x, y, low, high, row["samples"] > 1, hues[row["model"]])


def by_second(row: dict[str, Any], name: str, hues: dict[str, str]) -> plots.Line:
    """Return the curve of a score that has a number for each second."""
    y = [_nan(v) for v in row[name]]
    low, high = ([_nan(v) for v in side] for side in zip(*row["ci95"][name], strict=True))
    return plots.Line(label(row), [i + 1 for i in range(len(y))], y, low, high, row["samples"] > 1, hues[row["model"]])


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def label(row: dict[str, Any]) -> str:
    """Return a model's name in a legend."""
    return row["model"] + (f", {row['samples']} samples" if row["samples"] > 1 else "")


def ceiling(lines: Sequence[plots.Line]) -> float | None:
    """Return the top of a chart that shows all lines whole but constant velocity's, which bursts."""
    shown = [np.nanmax(np.asarray(line.y, float)) for line in lines if line.label != "constant-velocity"]
    return 1.25 * float(max(shown)) or None if shown else None
