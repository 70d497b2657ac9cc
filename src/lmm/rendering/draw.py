"""Figures, floor and legend on a Pillow canvas, shared by the strip and the films.

Colours are from M. Okabe and K. Ito, "Color Universal Design", 2008: told apart with any kind of colour vision.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lmm.core.motion import INTERPOLATED, SYNTHESISED
from lmm.rendering.scene import LEFT, MIDDLE, RIGHT, SIDE_NAMES, Panel, Segment, Track, View, missing, sides

Array = NDArray[Any]
Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

PAPER, INK, MUTED, RULE, GRID = (255, 255, 255), (28, 32, 40), (106, 113, 126), (214, 218, 226), (226, 229, 235)
FAN, FUTURE = (0, 158, 115), (239, 249, 245)
SIDES: tuple[Colour, Colour, Colour] = ((213, 94, 0), (0, 114, 178), (92, 99, 112))
HUES: tuple[Colour, ...] = ((0, 114, 178), (213, 94, 0), (204, 121, 167), (230, 159, 0), (86, 180, 233), (0, 158, 115))


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return `a` with `share` in [0, 1] of `b`."""
    r, g, bl = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return r, g, bl


def palette(place: int, of: int) -> tuple[Colour, Colour, Colour]:
    """Return the right, left and middle colours of track `place` of `of` in a panel.

    A track alone wears the colours of the sides; overlaid tracks have a hue each, darker at right, lighter at left.
    """
    if of == 1:
        return SIDES
    hue = HUES[place % len(HUES)]
    return mix(hue, (0, 0, 0), 0.35), mix(hue, PAPER, 0.4), hue


def opacity(confidence: float) -> float:
    """Return the opacity that shows a confidence in (0, 1]: never invisible."""
    return 0.2 + 0.8 * confidence


class Canvas:
    """A white picture of `width` x `height` pixels, drawn `fine` times larger and reduced at the end: smooth edges."""

    def __init__(self, width: int, height: int, fine: int = 2) -> None:
        self.width, self.height, self._fine = width, height, fine
        self._image = Image.new("RGB", (width * fine, height * fine), PAPER)
        self._draw = ImageDraw.Draw(self._image, "RGBA")

    @classmethod
    def over(cls, picture: Image.Image, fine: int = 2) -> Canvas:
        """Return a canvas that is this picture, to draw on."""
        canvas = cls(*picture.size, fine)
        canvas._image.paste(picture.resize(canvas._image.size, Image.Resampling.NEAREST))
        return canvas

    @property
    def image(self) -> Image.Image:
        return self._image.reduce(self._fine) if self._fine > 1 else self._image

    def paste(self, other: Canvas, x: int, y: int) -> None:
        """Put another canvas of the same fineness at (x, y)."""
        self._image.paste(other._image, (x * self._fine, y * self._fine))

    def line(self, a: Array, b: Array, colour: Colour, width: float, alpha: float = 1.0) -> None:
        ends = [
            (float(a[0] * self._fine), float(a[1] * self._fine)),
            (float(b[0] * self._fine), float(b[1] * self._fine)),
        ]
        self._draw.line(ends, (*colour, round(255 * alpha)), max(1, round(width * self._fine)))

    def path(self, points: Array, colour: Colour, width: float, alpha: float = 1.0) -> None:
        """Draw (N, 2) points joined up; NaN breaks the line."""
        for a, b in pairwise(points):
            if np.isfinite(a).all() and np.isfinite(b).all():
                self.line(a, b, colour, width, alpha)

    def dot(self, at: Array, radius: float, colour: Colour, alpha: float = 1.0, flag: int = 0) -> None:
        """Draw a joint: a full disc if recorded, a ring if interpolated, a hollow diamond if synthesised."""
        x, y, r = (float(v * self._fine) for v in (*at, radius))
        edge, ink = max(1, round(r * 0.45)), (*colour, round(255 * alpha))
        if flag == SYNTHESISED:
            r *= 1.25
            corners = [(x, y - r), (x + r, y), (x, y + r), (x - r, y)]
            self._draw.polygon(corners, (*PAPER, 255), ink, edge)
        elif flag == INTERPOLATED:
            self._draw.ellipse((x - r, y - r, x + r, y + r), (*PAPER, 255), ink, edge)
        else:
            self._draw.ellipse((x - r, y - r, x + r, y + r), ink)

    def box(self, box: Box, fill: Colour | None = None, edge: Colour | None = None, corner: float = 0) -> None:
        self._draw.rounded_rectangle([v * self._fine for v in box], corner * self._fine, fill, edge, self._fine)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 13,
        colour: Colour = INK,
        anchor: str = "la",
        room: float | None = None,
    ) -> float:
        """Write one line, shortened with an ellipsis to `room` pixels; return its width."""
        font = _font(round(size * self._fine))
        if room is not None and font.getlength(words) > room * self._fine:
            low, high = 0, len(words)
            while low < high:
                middle = (low + high + 1) // 2
                fits = font.getlength(words[:middle].rstrip() + "…") <= room * self._fine
                low, high = (middle, high) if fits else (low, middle - 1)
            words = words[:low].rstrip() + "…"
        self._draw.text((x * self._fine, y * self._fine), words, (*colour, 255), font, anchor)
        return float(font.getlength(words)) / self._fine


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def figure(
    canvas: Canvas,
    view: View,
    segment: Segment,
    frame: int,
    shift: Array,
    colours: tuple[Colour, ...],
    thick: float,
    fade: float = 1.0,
) -> None:
    """Draw one pose, far limbs first: bones `thick` pixels wide. Missing joints leave nothing."""
    motion, sided = segment.motion, sides(segment.motion.skeleton)
    pixels, depth = view.project(motion.positions[frame] - shift)
    alpha = [opacity(float(c)) * fade for c in motion.confidence[frame]]
    seen = motion.observed[frame]
    for p, j in sorted((b for b in motion.skeleton.bones if seen[list(b)].all()), key=lambda b: depth[list(b)].mean()):
        canvas.line(pixels[p], pixels[j], colours[sided[j]], thick, min(alpha[p], alpha[j]))
    for j in sorted(map(int, np.flatnonzero(seen)), key=lambda j: float(depth[j])):
        canvas.dot(pixels[j], thick * 0.95, colours[sided[j]], alpha[j], int(motion.flags[frame, j]))


def fan(canvas: Canvas, view: View, segment: Segment, frame: int, shift: Array, colour: Colour, thick: float) -> None:
    """Draw all draws of a forecast at one frame, thin and translucent."""
    if segment.samples is None:
        return
    bones = segment.motion.skeleton.bones
    alpha = max(0.12, min(0.5, 3 / len(segment.samples)))
    for draw in segment.samples[:, frame]:
        pixels, _ = view.project(draw - shift)
        for p, j in bones:
            if np.isfinite(pixels[[p, j]]).all():
                canvas.line(pixels[p], pixels[j], colour, max(1.0, thick * 0.3), alpha)
        if not bones:
            for at in pixels[np.isfinite(pixels).all(axis=1)]:
                canvas.dot(at, max(1.0, thick * 0.4), colour, alpha)


def floor(canvas: Canvas, view: View, panel: Panel, shift: Array) -> None:
    """Draw a round grid on the floor; it stays on the ground while the camera follows the body along `shift`."""
    if panel.floor is None:
        return
    middle, radius = panel.camera.target + shift, panel.camera.radius * 1.05
    step = grid_step(radius)
    for axis in (0, 2):
        other = 2 - axis
        for k in range(int(np.ceil((middle[axis] - radius) / step)), int((middle[axis] + radius) // step) + 1):
            reach = np.sqrt(max(radius**2 - (k * step - middle[axis]) ** 2, 0))
            ends = np.full((2, 3), panel.floor)
            ends[:, axis] = k * step
            ends[:, other] = middle[other] - reach, middle[other] + reach
            a, b = view.project(ends - shift)[0]
            canvas.line(a, b, GRID, 1)
    turn = np.linspace(0, 2 * np.pi, 73)
    ring = np.stack(
        [middle[0] + radius * np.cos(turn), np.full(73, panel.floor), middle[2] + radius * np.sin(turn)], axis=1
    )
    canvas.path(view.project(ring - shift)[0], GRID, 1)


def grid_step(radius: float) -> float:
    """Return a round distance between grid lines: 1, 2 or 5 times a power of ten, five to a dozen to each side."""
    power = 10.0 ** np.floor(np.log10(radius / 4))
    return float(next(power * n for n in (1, 2, 5, 10) if power * n >= radius / 10))


def ground_path(canvas: Canvas, view: View, panel: Panel, shift: Array, colours: list[tuple[Colour, ...]]) -> None:
    """Draw the way of each body on the floor, thin."""
    if panel.floor is None:
        return
    for track, colour in zip(panel.tracks, colours, strict=True):
        for s in track.segments:
            way = s.centre[:: max(1, len(s.centre) // 300)].copy()
            way[:, 1] = panel.floor
            canvas.path(view.project(way - shift)[0], FAN if s.forecast else colour[MIDDLE], 1.5, 0.35)


def thickness(view: View, size: float) -> float:
    """Return the width of bones, pixels, for a body of `size` units."""
    return float(np.clip(view.scale * size * 0.016, 1.6, 7))


def legend(canvas: Canvas, x: float, y: float, tracks: list[Track], hues: bool, room: float) -> None:
    """Draw one line that explains the colours and marks in use; `hues` says that each track has its own."""
    end, motions = x + room, [s.motion for t in tracks for s in t.segments]

    def entry(words: str, mark: Any) -> None:
        nonlocal x
        if end - x > 40:
            mark(np.array([x + 7, y + 7]))
            x += 17
            x += canvas.text(x, y + 7, words, 12, MUTED, "lm", end - x) + 16

    def swatch(*shades: Colour) -> Any:
        def mark(at: Array) -> None:
            for i, shade in enumerate(shades):
                half = np.array([-6 + 12 * i / len(shades), 0]), np.array([-6 + 12 * (i + 1) / len(shades), 0])
                canvas.line(at + half[0], at + half[1], shade, 5)

        return mark

    used = {s for m in motions for s in sides(m.skeleton)}
    if hues:
        for i, t in enumerate(tracks):
            right, left, middle = palette(i, len(tracks))
            entry(t.title, swatch(right, left) if used != {MIDDLE} else swatch(middle))
        if used != {MIDDLE}:
            entry("right", swatch((80, 80, 80)))
            entry("left", swatch((190, 190, 190)))
    elif used != {MIDDLE}:
        for side in (s for s in (RIGHT, LEFT, MIDDLE) if s in used):
            entry(SIDE_NAMES[side], swatch(SIDES[side]))
    flags = {int(f) for m in motions for f in np.unique(m.flags)}
    for flag, words in ((INTERPOLATED, "interpolated"), (SYNTHESISED, "synthesised")):
        if flag in flags:
            entry(words, lambda at, flag=flag: canvas.dot(at, 4, MUTED, flag=flag))
    draws = max((len(s.samples) for t in tracks for s in t.segments if s.samples is not None), default=0)
    if draws:
        entry(f"{draws} forecast samples, the first bold", swatch(FAN))
    if any((m.confidence[m.observed] < 0.95).any() for m in motions):
        entry("fainter: less confident", swatch(mix(MUTED, PAPER, 0.6)))


def missing_line(segment: Segment, frame: int) -> str:
    """Say which joints are missing in a frame, empty if none is."""
    names = missing(segment, frame)
    return f"missing {len(names)} of {segment.motion.skeleton.num_joints}: {', '.join(names)}" if names else ""
