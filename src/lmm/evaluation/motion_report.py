"""The page of `lmm analyse`: what a physiotherapist reads of one motion."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from lmm.analysis.analyse import Analysis
from lmm.analysis.angles import SIDES
from lmm.inference.surprise import Surprise
from lmm.rendering import plots
from lmm.rendering.plots import Line
from lmm.rendering.report import note, page, section
from lmm.rendering.scene import title

CHARTS = ("knee", "hip_flexion", "hip", "ankle", "elbow", "shoulder_elevation", "hip_abduction", "trunk_forward")
COLOURS = {"right": "#D55E00", "left": "#0072B2"}
UNEVEN = (
    0.2  # asymmetry worth a look, as clinics take it: a tenth more on one side than the mean, and less on the other
)
NAMES = {"spm": "steps/min", "mps": "m/s", "s": "s", "m": "m"}


def motion_page(analysis: Analysis, surprise: Surprise | None = None) -> str:
    """Return the HTML page of an analysis, with the surprise under a forecaster if there is one."""
    m = analysis.motion
    facts = f"{m.num_frames} frames at {m.fps:g} fps, {m.seconds:.2f} s, {m.space}; {m.missing_fraction:.0%} missing"
    body = [section("At a glance", _glance(analysis)), section("Ranges of motion", _ranges(analysis))]
    body += [section("Joint angles over time", _angles(analysis))]
    if analysis.repetitions and not analysis.gait:
        body += [section(f"Repetitions: {len(analysis.repetitions)}", _repetitions(analysis))]
    if analysis.gait:
        body += [section("Walking", _table(("", "value"), [(_unit(k), f"{v:.3g}") for k, v in analysis.gait.items()]))]
    if surprise is not None:
        body += [section("How unexpected", _surprise(surprise))]
    words = (
        "Angles between joints as lmm.analysis.angles defines them, not those of a marker model. This is no diagnosis."
    )
    return page(f"Movement of {title(m)}", facts, [*body, section("Note", note(words))])


def _glance(analysis: Analysis) -> str:
    lines = []
    if analysis.gait:
        g = analysis.gait
        lines.append(f"walking at {g['speed_mps']:.2f} m/s, {g['cadence_spm']:.0f} steps a minute")
    elif analysis.repetitions:
        lines.append(f"{len(analysis.repetitions)} repetition(s)")
    elif analysis.steps:
        lines.append(f"{len(analysis.steps)} step(s): too few for a rhythm")
    flat = analysis.motion.num_dims == 2
    if flat:
        lines.append("angles are those in the picture: anatomical only for what is filmed from the side")
    uneven = (
        [] if flat else sorted(((abs(v), k, v) for k, v in analysis.symmetry.items() if abs(v) >= UNEVEN), reverse=True)
    )
    for share, name, value in uneven:
        lines.append(f"{name.replace('_', ' ')}: more on the {'right' if value > 0 else 'left'} side ({share:.0%})")
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _ranges(analysis: Analysis) -> str:
    right, left = SIDES
    names = dict.fromkeys(n.removeprefix(f"{right}_").removeprefix(f"{left}_") for n in analysis.ranges)
    rows = []
    for name in names:
        cells = [name.replace("_", " ")]
        for key in (f"{right}_{name}", f"{left}_{name}") if f"{right}_{name}" in analysis.ranges else (name, ""):
            r = analysis.ranges.get(key)
            cells.append(f"{round(r['min'])} to {round(r['max'])} ({round(r['range'])})" if r else "–")
        uneven = analysis.symmetry.get(name)
        rows.append((*cells, "–" if uneven is None else f"{round(uneven, 2) + 0.0:+.2f}"))
    words = "Degrees, from the least to the greatest, and the range. Asymmetry is (right − left) / mean of the ranges."
    return _table(("", "right, or whole", "left", "asymmetry"), rows) + note(words)


def _angles(analysis: Analysis) -> str:
    out = []
    for name in CHARTS:
        keys = [k for k in (*(f"{side}_{name}" for side in SIDES), name) if k in analysis.angles]
        if keys:
            sides = [k.split("_")[0] for k in keys]
            lines = [
                Line(side, analysis.clock.tolist(), analysis.angles[k].tolist(), colour=COLOURS.get(side, plots.INK))
                for side, k in zip(sides, keys, strict=True)
            ]
            spans = [] if analysis.gait else [(r.start_s, r.end_s) for r in analysis.repetitions]
            out.append(f"<figure><h3>{escape(name.replace('_', ' '))}</h3>{plots.angles(lines, spans)}</figure>")
    return f'<div class="charts">{"".join(out)}</div>'


def _repetitions(analysis: Analysis) -> str:
    rows = [
        (str(i), f"{r.start_s:.2f}", f"{r.end_s:.2f}", f"{r.end_s - r.start_s:.2f}", f"{r.reach:.2f}")
        for i, r in enumerate(analysis.repetitions, 1)
    ]
    return _table(("", "begins, s", "ends, s", "lasts, s", "reach, body lengths"), rows)


def _surprise(found: Surprise) -> str:
    lines = [
        Line(name.replace("_", " "), found.times.tolist(), values.tolist(), colour=plots.PALETTE[i])
        for i, (name, values) in enumerate(found.regions.items())
        if np.isfinite(values).any()
    ]
    words = (
        f"How far each region's next half second was from what {found.model} expected, in its own standard deviations. "
        "About 1 is usual. It tells what was rare in the data that the model learned from, not what is wrong."
    )
    return plots.curves(lines, "seconds", "surprise", level=(1.0, "as expected")) + note(words)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(h)}</th>" for h in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _unit(name: str) -> str:
    words = name.split("_")
    unit = next((NAMES[w] for w in words if w in NAMES), "")
    return " ".join(w for w in words if w not in NAMES) + (f", {unit}" if unit else "")
