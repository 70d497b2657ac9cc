"""A few cases to look at: what was seen, what came, what each model said; as strips of skeletons and as fans."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.metrics import interval
from lmm.core.motion import Motion
from lmm.evaluation.cases import FPS, Batch, Case, Corpus, batch_of
from lmm.evaluation.contestants import Contestant, draw
from lmm.evaluation.scores import pose
from lmm.pipeline.features import NUM_JOINTS, FeatureSpec, decode
from lmm.rendering import plots
from lmm.rendering.render import render
from lmm.rendering.report import Picture
from lmm.skeletons import BODY_25

Array = NDArray[Any]
EXAMPLES, MAX_MODELS = 3, 8
SHOWN_CONTEXT_S, FAN_CONTEXT_S = 1.0, 2.0
BURSTS = "constant-velocity"  # it leaves every picture within seconds, and would shrink all others
MOVERS = ("RWrist", "LWrist", "RAnkle", "LAnkle")


def examples(corpus: Corpus, cases: Sequence[Case], horizon: int) -> list[Case]:
    """Return one case of each of up to three subjects: the middle one of those with the longest context, view 0, and
    with a whole horizon, where the subject has one."""
    of: dict[str, list[Case]] = defaultdict(list)
    front = [c for c in cases if c.view == 0]
    whole = {corpus.subjects[c.clip] for c in front if corpus.motions[c.clip].num_frames >= c.begin + horizon}
    for case in front:
        ends = corpus.motions[case.clip].num_frames < case.begin + horizon
        if not (ends and corpus.subjects[case.clip] in whole):
            of[corpus.subjects[case.clip]].append(case)
    longest = [[c for c in group if c.context == max(o.context for o in group)] for _, group in sorted(of.items())]
    chosen = sorted((g[len(g) // 2] for g in longest), key=lambda c: -c.context)
    return chosen[:EXAMPLES]


def pictures(
    corpus: Corpus, models: Sequence[Contestant], cases: Sequence[Case], samples: int, horizon: int
) -> list[Picture]:
    """Return a strip and a fan chart of each example."""
    out = []
    for number, case in enumerate(examples(corpus, cases, horizon)):
        batch = batch_of([case], [corpus.cut(case, horizon)], horizon)
        drawn = {
            m.label: draw(m.seeds[0], batch, horizon, samples, (0, 10_000 + number))[0][0] for m in models[:MAX_MODELS]
        }
        name = f"{corpus.ids[case.clip]}, from {case.begin / FPS:.1f} s"
        out += [
            Picture(f"Poses · {name}", STRIP, strip(corpus, case, batch, drawn)),
            Picture(f"A joint over time · {name}", *fan(corpus, batch, drawn)),
        ]
    return out


STRIP = (
    "Top: what was recorded; below, the forecasts after one second of the context that was seen. The fans are samples. "
    "Cases are chosen without regard to the outcome: the middle window of a subject's longest contexts."
)


def strip(corpus: Corpus, case: Case, batch: Batch, drawn: dict[str, Array]) -> bytes:
    """Return a PNG of the truth and of each model's forecasts (S, H, 75), in the motion's own space."""
    window, spec = batch.windows[0], FeatureSpec(layout=corpus.layout)
    features, c = window.features, window.context_frames
    whole = decode(features.values, features.observed, spec, features.transform)
    shown = max(0, c - round(SHOWN_CONTEXT_S * FPS))
    name = corpus.ids[case.clip]
    context = whole.crop(shown, c).replace(meta={"source": name})
    rows = [as_forecast([whole.crop(c, whole.num_frames)], context, f"recorded · {name}")]
    seen = features.observed[:c].any(axis=0)
    for label, samples in drawn.items():
        if label == BURSTS:
            continue
        after = features.transform.after_context()
        futures = [decode(s, np.broadcast_to(seen, (len(s), NUM_JOINTS)), spec, after) for s in samples]
        rows.append(as_forecast(futures, context, label))
    return drawn_strip(rows)


def as_forecast(futures: Sequence[Motion], context: Motion, title: str) -> Motion:
    """Return motions that follow one context as the samples of a forecast; equal ones are shown once."""
    positions = np.stack([f.positions for f in futures])
    same = np.allclose(positions, positions[:1], equal_nan=True)
    return futures[0].replace(samples=positions[:1] if same else positions, context=context, meta={"title": title})


def drawn_strip(rows: list[Motion]) -> bytes:
    """Return the PNG of motions, a row each, on one clock."""
    with tempfile.TemporaryDirectory() as folder:
        return render(rows, Path(folder) / "strip.png", compare=len(rows) > 1).read_bytes()


def fan(corpus: Corpus, batch: Batch, drawn: dict[str, Array]) -> tuple[str, str]:
    """Return caption and chart of the height of the hand or foot that moves most in the truth."""
    dims = 2 if corpus.layout == "xyc" else 3
    unit = batch.scale if dims == 3 else np.ones(1)

    def heights(features: Array) -> Array:
        """(S, T, 75) → (S, T, 25)"""
        x = features.reshape(1, *features.shape[:-1], NUM_JOINTS, 3)
        return np.asarray(pose(x, batch.on_hips, dims, unit).local[0, ..., 1])

    past = heights(batch.context[:, -round(FAN_CONTEXT_S * FPS) :])[0]
    recorded = batch.recorded[0, 1:]
    truth = np.where(recorded, heights(batch.truth)[0], np.nan)
    movers = [j for n in MOVERS if recorded[:, j := BODY_25.index[n]].any()] or [int(recorded.sum(axis=0).argmax())]
    joint = max(movers, key=lambda j: float(np.nanmax(truth[:, j]) - np.nanmin(truth[:, j])))
    forecasts = []
    for label, samples in drawn.items():
        y = heights(samples)[..., joint]
        spread = len(y) > 1 and float(np.ptp(y, axis=0).max()) > 1e-6
        forecasts.append((label, y.mean(axis=0), np.stack(interval(y)) if spread else None))
    seconds = np.arange(1, len(truth) + 1) / FPS
    unit_name = "m" if dims == 3 else "body lengths"
    caption = (
        f"Height of {BODY_25.joints[joint]} above the root. Black: recorded. Colour: the forecast, or the mean of its "
        "samples, with the band that should hold the truth 90 % of the time."
    )
    return caption, plots.fans(seconds, past[:, joint], truth[:, joint], forecasts, f"height, {unit_name}")
