"""A still picture of motions on their video: a forecast's moments ahead of its start, or everybody with their numbers.

Beneath it stands what its colours mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lmm.core.motion import Motion
from lmm.rendering.draw import FAN, INK, MUTED, PAPER, SIDES, Box, Canvas, Colour, palette
from lmm.rendering.on_picture import AHEAD, drawn, figures, name, numbered, tagged, text_size
from lmm.rendering.scene import MAX_SAMPLES, MIDDLE, SIDE_NAMES
from lmm.video.decoding import Video

Array = NDArray[Any]

AHEAD_S = (0.5, 1.0, 1.5, 2.0)  # what of a forecast is shown
LOOKED_AT = 600  # moments among which those are sought that show everybody
SEEN = 0.5  # of the confidence that a person has at best, from which on they count as seen
MOST = 12  # pictures in one


def still(motions: list[Motion], video: Video) -> Image.Image:
    """Return one picture: of forecasts the end of the context and the moments AHEAD_S after it, else as few moments of
    the video as show everybody, beside each other."""
    moments = _ends(motions) or _showing_all(motions)
    pictures = [Image.fromarray(p) for p in _nearest(video, moments)]
    if _ends(motions):
        shown = _forecast(pictures[0], motions, moments[0])
    elif len(moments) == 1:
        shown = drawn(pictures[0], motions, moments[0])
    else:
        shown = _sheet(pictures, motions, moments)
    return _explained(shown, _entries(motions))


def _ends(motions: list[Motion]) -> list[float]:
    """Return where the context of the first forecast ends; nothing if there is none."""
    return [float(m.context.clock[-1]) for m in motions if m.context is not None][:1]


def _showing_all(motions: list[Motion]) -> list[float]:
    """Return the fewest times, greedily, at which everybody is seen well at least once; at most MOST."""
    times = np.unique(np.concatenate([m.clock for m in motions]))
    times = times[:: max(1, -(-len(times) // LOOKED_AT))]
    seen = np.zeros((len(motions), len(times)))
    for row, m in zip(seen, motions, strict=True):
        row[:] = np.interp(times, m.clock, m.confidence.mean(1), left=0, right=0)
        row /= max(row.max(), 1e-9)
    seen *= seen > SEEN
    chosen: list[float] = []
    left = np.ones(len(motions), bool)
    while left.any() and len(chosen) < MOST:
        best = int(seen[left].sum(0).argmax())
        left &= seen[:, best] == 0
        chosen.append(float(times[best]))
    return sorted(chosen)


def _nearest(video: Video, moments: list[float]) -> list[Array]:
    """Return the pictures of a video that are shown nearest to some moments."""
    away, found = [np.inf] * len(moments), [np.zeros((0, 0, 3), np.uint8)] * len(moments)
    for time, picture in video.frames():
        for i, moment in enumerate(moments):
            if abs(time - moment) <= away[i]:
                away[i], found[i] = abs(time - moment), picture
    return found


def _forecast(picture: Image.Image, motions: list[Motion], moment: float) -> Image.Image:
    taken: list[Box] = []
    ahead = [
        t for t in AHEAD_S if any(m.context is not None and moment + t <= m.clock[-1] + 0.5 / m.fps for m in motions)
    ]
    for t in reversed(ahead):
        picture = figures(picture, motions, moment + t, fade=1 - 0.6 * t / AHEAD_S[-1])
    picture = drawn(picture, motions, moment)
    for t in ahead:
        for m in motions:
            if m.context is not None and moment + t <= m.clock[-1] + 0.5 / m.fps:
                picture = tagged(picture, m, moment + t, f"{t:+g} s", AHEAD, text_size(picture), taken)
    return picture


def _sheet(pictures: list[Image.Image], motions: list[Motion], moments: list[float]) -> Image.Image:
    """Return what is drawn on pictures of one size beside each other, each with its time, about as wide as one."""
    columns = int(np.ceil(np.sqrt(len(pictures))))
    width, height = pictures[0].width // columns, pictures[0].height // columns
    size = text_size(pictures[0])
    out = Image.new("RGB", (width * columns, height * -(-len(pictures) // columns)), PAPER)
    for k, (picture, moment) in enumerate(zip(pictures, moments, strict=True)):
        shown = numbered(figures(picture, motions, moment), motions, moment, size * columns**0.7)
        canvas = Canvas.over(shown.resize((width, height), Image.Resampling.LANCZOS), 1)
        canvas.box((4, 4, 4 + size * 4.4, 4 + size * 1.6), PAPER, MUTED, size * 0.3)
        canvas.text(4 + size * 2.2, 4 + size * 0.8, f"{moment:.2f} s", size, INK, "mm")
        out.paste(canvas.image, (k % columns * width, k // columns * height))
    return out


def _entries(motions: list[Motion]) -> list[tuple[str, Colour]]:
    """Return what each colour means."""
    out: list[tuple[str, Colour]] = []
    if len(motions) > 1:
        for i, m in enumerate(motions):
            whole = m if m.context is None else m.context
            told = f"{name(m, i)}: {whole.clock[0]:.1f} to {whole.clock[-1]:.1f} s"
            out.append((told, palette(i, len(motions))[MIDDLE]))
        out.append(("right is darker, left lighter", MUTED))
    else:
        out += zip(SIDE_NAMES, SIDES, strict=True)
    draws = max((len(m.samples) for m in motions if m.samples is not None), default=0)
    if any(m.context is not None for m in motions):
        out.append(("forecast", AHEAD))
    if draws > 1:
        out.append((f"{min(draws, MAX_SAMPLES)} samples of it, the first bold", FAN))
    return out


def _explained(picture: Image.Image, entries: list[tuple[str, Colour]]) -> Image.Image:
    """Return the picture with a band beneath it that says what the colours mean."""
    size = text_size(picture)
    places, x, row = [], size * 0.6, 0
    for words, _ in entries:
        wide = size * (0.52 * len(words) + 2.6)
        if x + wide > picture.width and x > size:
            x, row = size * 0.6, row + 1
        places.append((x, row))
        x += wide
    band = Canvas(picture.width, round(size * (1.7 * (row + 1) + 0.4)))
    for (words, colour), (x, row) in zip(entries, places, strict=True):
        y = size * (1.05 + 1.7 * row)
        band.line(np.array([x, y]), np.array([x + size, y]), colour, size * 0.4)
        band.text(x + size * 1.4, y, words, size, INK, "lm", picture.width - x - size * 1.4)
    out = Image.new("RGB", (picture.width, picture.height + band.height), PAPER)
    out.paste(picture, (0, 0))
    out.paste(band.image, (0, picture.height))
    return out
