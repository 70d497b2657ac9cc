"""report.html of rollouts: tables and curves by second, and strips in which one sees whether motion lives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.metrics import interval
from lmm.core.motion import Motion
from lmm.evaluation import sections
from lmm.evaluation.cases import FPS, Corpus
from lmm.evaluation.pictures import BURSTS, MOVERS, SHOWN_CONTEXT_S, as_forecast, drawn_strip
from lmm.evaluation.takes import Take
from lmm.rendering import plots
from lmm.rendering.report import Column, Picture, charts, gallery, named, note, page, section, table
from lmm.skeletons import BODY_25

Array = NDArray[Any]
EXAMPLES = 2
SHOWN_SAMPLES = 5

WHOLE = (
    Column("alive, s", ("alive_seconds",), ".1f"),
    Column("collapsed, %", ("collapsed",), ".0f", factor=100),
    Column("first step", ("first_step_ratio",), ".2f"),
    Column("block borders", ("border_step_ratio",), ".2f"),
    Column("bone length CV, %", ("bone_length_cv",), ".2f", factor=100),
    Column("s / rollout", ("seconds_per_window",), ".3f"),
)


def examples(takes: Sequence[Take], subjects: Sequence[str]) -> list[Take]:
    """Return up to two takes, of different subjects, view 0, whose truth goes on longest; the first of equals."""
    first = sorted((t for t in takes if t.case.view == 0), key=lambda t: -int(t.counts[t.context :].any(axis=1).sum()))
    chosen: dict[str, Take] = {}
    for take in first:
        chosen.setdefault(subjects[take.case.clip], take)
    return sorted(list(chosen.values())[:EXAMPLES], key=lambda t: takes.index(t))


def report(
    results: dict[str, Any], corpus: Corpus, found: Sequence[Take], shown: dict[str, list[list[Motion]]], scale: float
) -> str:
    """Return the page."""
    rows, truth = results["models"], results["truth"]
    seconds = range(results["seconds"])
    body = [
        section(
            "As a whole",
            note(
                "Alive: seconds until the joints move, for a second, at less than a tenth of the clip's usual speed "
                "(12 if they never do). First step: into the forecast, as a share of the clip's usual step. Block "
                "borders: steps there as a share of the forecast's own others; 1 is seamless. "
                f"Stochastic models: the mean over {results['draws']} single rollouts each."
            ),
            table([*rows, {"bone_length_cv": truth["bone_length_cv"], "ci95": truth["ci95"]}], WHOLE, _named),
        ),
        section(
            "Motion energy by second, about the root",
            note(
                "Mean joint speed as a share of the truth's, over the clips that go on so long. 1 is right, 0 frozen."
            ),
            table(rows, [Column(f"{s + 1} s", ("energy_ratio_local", s), ".2f") for s in seconds], named),
            table(_rests_on(truth), [Column(f"{s + 1} s", ("number", s), ",.0f") for s in seconds], lambda r: r["of"]),
        ),
        section("By second", charts(_curves(results))),
        section(
            "Displacement about the last pose",
            note(
                "Where the forecast lies about the last pose seen, against where the truth does: the correlation of "
                "the two, and the factor that would make the forecast fit best (1 is right; a large one is amplitude "
                "collapse)."
            ),
            table(rows, [Column(f"r, {s + 1} s", ("displacement_correlation", s), ".2f") for s in range(4)], named),
            table(rows, [Column(f"factor, {s + 1} s", ("displacement_gain", s), ".2f") for s in range(4)], named),
        ),
        gallery(_pictures(corpus, found, shown, scale)),
    ]
    return page("Rollouts of twelve seconds", sections.facts(results), body)


def _named(row: dict[str, Any]) -> str:
    return named(row) if "model" in row else "the truth"


def _rests_on(truth: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"of": f"{name} that go on", "number": truth[name]} for name in ("rollouts", "clips", "subjects")]


def _curves(results: dict[str, Any]) -> list[Picture]:
    rows = results["models"]
    hues = plots.colours([r["model"] for r in rows])
    unit = "m/s" if results["layout"] == "xyz" else "body lengths a second"
    out = []
    for name, title in (("energy_ratio_local", "Share of the truth's, about the root"), ("energy_ratio", "… in space")):
        lines = [sections.by_second(r, name, hues) for r in rows]
        out.append(Picture(title, "", plots.curves(lines, "second", "share", (1.0, "the truth"), 2.0, marked=True)))
    for name, title in (("energy_local", "Mean joint speed, about the root"), ("energy_root", "Speed of the root")):
        lines = [sections.by_second(r, name, hues) for r in rows]
        real = {**results["truth"], "model": "the truth", "samples": 1}
        lines.append(sections.by_second(real, name, {"the truth": plots.TRUTH}))
        out.append(Picture(title, "", plots.curves(lines, "second", unit, top=sections.ceiling(lines), marked=True)))
    return out


def _pictures(
    corpus: Corpus, found: Sequence[Take], shown: dict[str, list[list[Motion]]], scale: float
) -> list[Picture]:
    out = []
    for i, take in enumerate(found):
        name = f"{corpus.ids[take.case.clip]}, from {take.case.begin / FPS:.1f} s"
        futures = {label: f[i][:SHOWN_SAMPLES] for label, f in shown.items()}
        seen = (
            f"Top: what was recorded. Of the {take.context / FPS:.1f} s that were seen the last is shown. All in place."
        )
        out.append(Picture(f"Poses · {name}", seen, _strip(corpus, take, futures)))
        out.append(
            Picture(f"A joint over time · {name}", *_fan(corpus, take, {label: f[i] for label, f in shown.items()}))
        )
        if scale != 1:
            learned = {label: f for label, f in futures.items() if label not in plots.BASELINES}
            larger = {label: [amplified(take, f, scale) for f in fs[:1]] for label, fs in learned.items()}
            caption = (
                f"Each joint's displacement about the last pose seen, {scale:g} times as large, about the root. A "
                "frozen forecast that hides a faint movement shows it here; this is a diagnostic, not a forecast."
            )
            out.append(Picture(f"Amplitude times {scale:g} · {name}", caption, _strip(corpus, take, larger)))
    return out


def amplified(take: Take, future: Motion, scale: float) -> Motion:
    """Return a future whose joints are displaced, about the root and from the last pose, `scale` times as far."""
    root = future.positions[:, [take.centre]]
    start = (take.now - take.now[take.centre]) * take.unit
    return future.replace(positions=root + start + scale * (future.positions - root - start))


def _strip(corpus: Corpus, take: Take, futures: dict[str, list[Motion]]) -> bytes:
    past = take.past
    context = past.crop(max(0, past.num_frames - round(SHOWN_CONTEXT_S * FPS)), past.num_frames)
    lasts = int(np.flatnonzero(take.counts.any(axis=1))[-1]) + 1
    real = take.whole[take.context : lasts] * take.unit
    came = past.crop(0, 1).replace(positions=real, confidence=np.isfinite(real[..., 0]).astype(float), flags=None)
    rows = [as_forecast([_in_place(take, came)], context, f"recorded · {corpus.ids[take.case.clip]}")]
    drawn = {label: [_in_place(take, f) for f in fs] for label, fs in futures.items() if label != BURSTS}
    rows += [as_forecast(f, context, label) for label, f in drawn.items()]
    return drawn_strip(rows)


def _in_place(take: Take, future: Motion) -> Motion:
    """Return a future whose root stays where the context left it."""
    return future.replace(positions=take.local(future.positions) + take.now[take.centre] * take.unit)


def _fan(corpus: Corpus, take: Take, futures: dict[str, list[Motion]]) -> tuple[str, str]:
    up = 1 if corpus.layout == "xyz" else -1  # pixels count downwards
    limbs = take.limbs(take.counts)
    movers = [BODY_25.index[n] for n in MOVERS if limbs[:, BODY_25.index[n]].any()] or [int(limbs.sum(axis=0).argmax())]
    height = up * take.local(take.whole)[..., 1]
    joint = max(movers, key=lambda j: float(np.nanmax(height[:, j]) - np.nanmin(height[:, j])))
    forecasts = []
    for label, drawn in futures.items():
        y = np.stack([up * take.local(f.positions / take.unit)[:, joint, 1] for f in drawn])
        spread = len(y) > 1 and float(np.ptp(y, axis=0).max()) > 1e-6
        forecasts.append((label, y[0] if spread else y.mean(axis=0), np.stack(interval(y)) if spread else None))
    seconds = np.arange(1, len(height) - take.context + 1) / FPS
    past = height[max(0, take.context - 45) : take.context, joint]
    caption = (
        f"Height of {BODY_25.joints[joint]} above the root. Black: recorded. Colour: the forecast, or its first "
        "sample, with the band that should hold the truth 90 % of the time."
    )
    unit = "m" if corpus.layout == "xyz" else "body lengths"
    return caption, plots.fans(seconds, past, height[take.context :, joint], forecasts, f"height, {unit}")
