"""What motions show at one moment, drawn on a picture of their video: figures, forecasts ahead, who and when."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lmm.core.motion import Motion
from lmm.rendering.draw import FAN, INK, MUTED, PAPER, Box, Canvas, Colour, mix, palette
from lmm.rendering.scene import MAX_SAMPLES, MIDDLE, sides

Array = NDArray[Any]

THICKNESS = 0.005  # of the picture's longer side
AHEAD = mix(FAN, INK, 0.2)  # the bold sample of a forecast


def drawn(picture: Image.Image, motions: list[Motion], time: float) -> Image.Image:
    """Return the picture with all that `motions`, in its pixels, tell about this time of their clock."""
    picture = figures(picture, motions, time)
    if len(motions) > 1:
        picture = numbered(picture, motions, time)
    ahead = [m for m in motions if m.context is not None and not _lasts(m.context, time) and _lasts(m, time)]
    if not ahead:
        return picture
    return _corner(picture, f"forecast {time - ahead[-1].context.clock[-1]:+.2f} s")  # type: ignore[union-attr]


def figures(picture: Image.Image, motions: list[Motion], time: float, fade: float = 1.0) -> Image.Image:
    """Return the picture with the figures of this time; of a forecast all samples, thin, and the first bold."""
    thick = max(2.0, THICKNESS * max(picture.size))
    for i, motion in enumerate(motions):
        for m in (motion.context, motion):
            if m is None or not _lasts(m, time):
                continue
            ahead = motion.context is not None and m is motion
            samples = m.samples[:MAX_SAMPLES] if ahead and m.samples is not None and len(m.samples) > 1 else ()
            for sample in samples:
                alpha = max(0.15, min(0.6, 3 / len(samples)))
                picture = _figure(picture, m, _at(m, sample, time), (FAN,) * 3, thick * 0.4, alpha * fade, False)
            colours = (AHEAD,) * 3 if ahead else palette(i, len(motions))
            picture = _figure(picture, m, _at(m, m.positions, time), colours, thick, fade, True)
            if ahead:
                break
    return picture


def numbered(picture: Image.Image, motions: list[Motion], time: float, size: float | None = None) -> Image.Image:
    """Return the picture with ``person ID`` above everybody who is seen at this time, in their hue, `size` high."""
    size = size or text_size(picture)
    taken: list[Box] = []
    for i, motion in enumerate(motions):
        for m in (motion.context, motion):
            if m is not None and _lasts(m, time):
                hue = palette(i, len(motions))[MIDDLE]
                picture = tagged(picture, m, time, name(motion, i), hue, size, taken)
                break
    return picture


def name(motion: Motion, place: int) -> str:
    """Return how the motion at `place` of a list is called: by its number, which --person takes."""
    return f"person {motion.meta.get('person', place)}"


def tagged(
    picture: Image.Image, motion: Motion, time: float, words: str, colour: Colour, size: float, taken: list[Box]
) -> Image.Image:
    """Return the picture with `words` above the figure of this time, clear of the boxes in `taken`, which it joins."""
    at = _at(motion, motion.positions, time)
    at = at[np.isfinite(at).all(1)]
    if not len(at):
        return picture
    x, y = at[:, 0].mean(), at[:, 1].min() - 0.8 * size
    wide, high = size * (0.55 * len(words) + 0.8), 1.5 * size
    x = float(np.clip(x, wide / 2, max(wide / 2, picture.width - wide / 2)))
    y = float(np.clip(y, high, max(high, picture.height)))
    places = [y - k * high for k in range(int(y // high))] + [y + k * high for k in range(1, 40)]
    boxes = [(x - wide / 2, b - high, x + wide / 2, b) for b in places]
    box = next((b for b in boxes if not any(_overlap(b, t) for t in taken)), boxes[0])
    taken.append(box)
    return _boxed(picture, box, words, size, colour)


def text_size(picture: Image.Image) -> float:
    return max(12.0, picture.width / 80)


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _corner(picture: Image.Image, words: str) -> Image.Image:
    size = max(12.0, picture.width / 60)
    return _boxed(picture, (size * 0.4, size * 0.3, size * 11, size * 1.9), words, size, MUTED)


def _boxed(picture: Image.Image, box: Box, words: str, size: float, edge: Colour) -> Image.Image:
    """Return the picture with words in a white box with an edge of this colour."""
    left, top = max(0, int(box[0]) - 2), max(0, int(box[1]) - 2)
    right, bottom = min(picture.width, int(box[2]) + 3), min(picture.height, int(box[3]) + 3)
    if right <= left or bottom <= top:
        return picture
    canvas = Canvas.over(picture.crop((left, top, right, bottom)))
    inner = (box[0] - left, box[1] - top, box[2] - left, box[3] - top)
    canvas.box(inner, PAPER, edge, size * 0.3)
    canvas.text((inner[0] + inner[2]) / 2, (inner[1] + inner[3]) / 2, words, size, mix(edge, INK, 0.5), "mm")
    out = picture.copy()
    out.paste(canvas.image, (left, top))
    return out


def _lasts(motion: Motion, time: float) -> bool:
    slack = 0.5 / motion.fps
    return bool(motion.clock[0] - slack <= time <= motion.clock[-1] + slack)


def _at(motion: Motion, positions: Array, time: float) -> Array:
    """Return positions (J, 2) at a time: between two frames that both show a joint, else of the nearer one."""
    x = np.interp(time, motion.clock, np.arange(motion.num_frames))
    low, part = int(x), x - int(x)
    a, b = positions[low], positions[min(low + 1, motion.num_frames - 1)]
    between = (1 - part) * a + part * b
    return np.asarray(np.where(np.isfinite(between), between, a if part < 0.5 else b))


def _figure(
    picture: Image.Image, motion: Motion, at: Array, colours: Any, thick: float, alpha: float, outlined: bool
) -> Image.Image:
    """Return the picture with one figure drawn within its box, with smooth edges."""
    seen = np.asarray(np.isfinite(at).all(1))
    if not seen.any():
        return picture
    low = np.clip(np.floor(at[seen].min(0) - 2 * thick), 0, picture.size).astype(int)
    high = np.clip(np.ceil(at[seen].max(0) + 2 * thick), 0, picture.size).astype(int)
    if (high <= low).any():
        return picture
    canvas = Canvas.over(picture.crop((int(low[0]), int(low[1]), int(high[0]), int(high[1]))))
    sided, moved = sides(motion.skeleton), at - low
    bones = [(p, j) for p, j in motion.skeleton.bones if seen[p] and seen[j]]
    for p, j in bones if outlined else ():
        canvas.line(moved[p], moved[j], PAPER, thick * 1.8, 0.7 * alpha)
    for p, j in bones:
        canvas.line(moved[p], moved[j], colours[sided[j]], thick, alpha)
    for j in map(int, np.flatnonzero(seen)) if outlined else ():
        canvas.dot(moved[j], thick * 0.8, colours[sided[j]], alpha)
    out = picture.copy()
    out.paste(canvas.image, (int(low[0]), int(low[1])))
    return out
