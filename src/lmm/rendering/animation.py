"""Films of a scene: GIF with Pillow, MP4 (H.264) with PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image

from lmm.core.errors import MotionError
from lmm.rendering.draw import (
    FAN,
    INK,
    MUTED,
    PAPER,
    RULE,
    Canvas,
    fan,
    figure,
    floor,
    ground_path,
    legend,
    missing_line,
    mix,
    palette,
    thickness,
)
from lmm.rendering.scene import MIDDLE, Panel, Scene

GIF_RATES = (25.0, 20.0, 12.5, 10.0, 5.0)  # a GIF counts time in hundredths of a second
MAX_GIF_FRAMES, MAX_MP4_FRAMES = 600, 54_000
MP4_RATE = 30.0
WIDTHS = {".gif": (560, 840), ".mp4": (960, 1280)}  # for one panel, for several
HEAD, FOOT, EDGE = 62, 62, 16


def write(scene: Scene, out: Path, width: int | None) -> None:
    """Write the film in real time, `width` pixels wide, as the extension of `out` says.

    Raises MotionError if it would be longer than MAX_GIF_FRAMES at the slowest rate, or MAX_MP4_FRAMES.
    """
    kind = out.suffix.lower()
    size = _size(scene, width or WIDTHS[kind][len(scene.panels) > 1])
    seconds = scene.end - scene.start
    if kind == ".gif":
        rates = [r for r in GIF_RATES if seconds * r < MAX_GIF_FRAMES]
        if not rates:
            raise MotionError(f"it would last {seconds:.0f} s, too long for a GIF. Name it .mp4 or .html, or crop it.")
        _gif(scene, out, size, next((r for r in rates if r <= scene.rate * 1.001), rates[-1]))
    else:
        rate = min(MP4_RATE, scene.rate)
        if seconds * rate >= MAX_MP4_FRAMES:
            raise MotionError(f"it would last {seconds / 60:.0f} minutes, too long for a film. Crop the motion.")
        _mp4(scene, out, size, rate)


def frames(scene: Scene, size: tuple[int, int], rate: float) -> Iterator[Image.Image]:
    """Yield the pictures of the film, RGB, at `rate` frames per second."""
    for t in scene.times(rate):
        yield _picture(scene, size, float(t))


def _gif(scene: Scene, out: Path, size: tuple[int, int], rate: float) -> None:
    tints = _palette(scene)
    pictures = (p.quantize(palette=tints, dither=Image.Dither.NONE) for p in frames(scene, size, rate))
    first = next(pictures)
    first.save(out, "GIF", save_all=True, append_images=pictures, duration=round(1000 / rate), loop=0, disposal=1)


def _palette(scene: Scene) -> Image.Image:
    """Return one palette for all frames, so that nothing flickers: the colours in use, and their way to the paper."""
    bases = {INK, MUTED, FAN}
    for panel in scene.panels:
        bases.update(c for i in range(len(panel.tracks)) for c in palette(i, len(panel.tracks)))
    steps = max(255 // len(bases), 2)
    tints = [PAPER] + [mix(c, PAPER, 0.94 * k / steps) for c in sorted(bases) for k in range(steps)]
    image = Image.new("P", (1, 1))
    image.putpalette([v for c in tints[:256] for v in c])
    return image


def _mp4(scene: Scene, out: Path, size: tuple[int, int], rate: float) -> None:
    try:
        import av
    except ImportError:
        raise MotionError("it needs the package av: pip install 'large-movement-model[video]'.") from None
    with av.open(str(out), "w", options={"movflags": "faststart"}) as film:
        stream = film.add_stream(
            "libx264", rate=Fraction(rate).limit_denominator(1001), options={"crf": "20", "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for picture in frames(scene, size, rate):
            film.mux(stream.encode(av.VideoFrame.from_image(picture)))
        film.mux(stream.encode())


def _grid(scene: Scene) -> tuple[int, int]:
    count = len(scene.panels)
    columns = min(count, 3 if count != 4 else 2)
    return columns, -(-count // columns)


def _size(scene: Scene, width: int) -> tuple[int, int]:
    """Return even width and height, as H.264 in 4:2:0 needs."""
    columns, rows = _grid(scene)
    height = rows * (width / columns * (0.72 if columns == 1 else 1.0) + HEAD) + FOOT
    return width - width % 2, round(height / 2) * 2


def _picture(scene: Scene, size: tuple[int, int], t: float) -> Image.Image:
    canvas = Canvas(*size)
    columns, rows = _grid(scene)
    width, height = size[0] // columns, (size[1] - FOOT) // rows
    for i, panel in enumerate(scene.panels):
        left, top = i % columns * width, i // columns * height
        canvas.paste(_panel((width, height), panel, t), left, top)
        if i % columns:
            canvas.line(np.array([left, top + 12]), np.array([left, top + height - 8]), RULE, 1)
    _clock(canvas, scene, t)
    hues = any(len(p.tracks) > 1 for p in scene.panels)
    legend(canvas, EDGE, size[1] - 24, scene.tracks, hues, size[0] - 2 * EDGE)
    return canvas.image


def _panel(size: tuple[int, int], panel: Panel, t: float) -> Canvas:
    canvas = Canvas(*size)
    left, top, right = float(EDGE), 10.0, float(size[0] - EDGE)
    view = panel.camera.view((left, top + HEAD, right, size[1] - 4))
    shift = panel.shift(t)
    colours = [palette(i, len(panel.tracks)) for i in range(len(panel.tracks))]
    floor(canvas, view, panel, shift)
    ground_path(canvas, view, panel, shift, list(colours))
    for track, colour in zip(panel.tracks, colours, strict=True):
        segment, frame, lasts = track.at(t)
        thick = thickness(view, track.size)
        if lasts:
            fan(canvas, view, segment, frame, shift, FAN if len(panel.tracks) == 1 else colour[MIDDLE], thick)
        if t >= track.start - 1e-6:
            figure(canvas, view, segment, frame, shift, colour, thick, 1.0 if lasts else 0.3)
    if len(panel.tracks) > 1:
        canvas.text(left, top, f"{len(panel.tracks)} motions", 16, INK)
        return canvas
    track = panel.tracks[0]
    segment, frame, lasts = track.at(t)
    ended = "" if lasts else f"ended at {track.end:.2f} s" if t > track.end else f"starts at {track.start:.2f} s"
    canvas.text(left, top, track.title, 16, INK, room=right - left)
    canvas.text(left, top + 21, track.facts, 12, MUTED, room=right - left)
    canvas.text(left, top + 37, ended or missing_line(segment, frame), 12, MUTED, room=right - left)
    return canvas


def _clock(canvas: Canvas, scene: Scene, t: float) -> None:
    """Draw the time and how far the film is, with the start of the forecast."""
    forecast = any(track.forecast for track in scene.tracks)
    now = forecast and t > 1e-6
    y, left, right = canvas.height - FOOT + 16.0, EDGE + 118.0, canvas.width - EDGE * 1.0
    span = max(scene.end - scene.start, 1e-9)

    def at(time: float) -> float:
        return left + (right - left) * (time - scene.start) / span

    canvas.text(EDGE, y, f"{t:+.2f} s" if forecast else f"{t:.2f} s", 15, INK, "lm")
    if forecast:
        canvas.text(left - 10, y, "forecast" if now else "context", 12, mix(FAN, INK, 0.35) if now else MUTED, "rm")
    canvas.line(np.array([left, y]), np.array([right, y]), RULE, 3)
    canvas.line(np.array([left, y]), np.array([at(min(t, 0) if forecast else t), y]), MUTED, 3)
    if forecast:
        canvas.line(np.array([at(max(scene.start, 0)), y]), np.array([at(max(t, scene.start, 0)), y]), FAN, 3)
        canvas.line(np.array([at(max(scene.start, 0)), y - 6]), np.array([at(max(scene.start, 0)), y + 6]), FAN, 1.6)
