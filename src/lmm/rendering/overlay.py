"""Motions drawn on the video that they were estimated from, their forecasts ahead of them: MP4, or PNG of one moment.

The video keeps its size, its time stamps and its sound. Where a forecast goes on after the video's end, its last
picture stays, paler.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lmm.core.errors import MotionError
from lmm.core.motion import Motion
from lmm.rendering.draw import FAN, INK, MUTED, PAPER, SIDES, Canvas, mix
from lmm.rendering.scene import MAX_SAMPLES, MIDDLE, sides
from lmm.video.decoding import Video, clock

Array = NDArray[Any]

TIME_BASE = Fraction(1, 90_000)
THICKNESS = 0.005  # of the picture's longer side
PALE = 0.45
AHEAD_S = (0.5, 1.0, 1.5, 2.0)  # what of a forecast a still picture shows
RATE = 48_000  # of sound that is encoded again
SOUND = ("aac", "mp3")  # what MP4 carries as it is; other sound is encoded again


def write(motions: list[Motion], video: Path, out: Path) -> None:
    """Draw `motions` (in pixels of `video`, on its clock) on the video, as the extension of `out` says.

    A forecast, with its context, is drawn ahead of it: all samples thin, the first bold. A still picture shows the end
    of the context and the forecast's moments after AHEAD_S. Raises MotionError if a motion is not of this picture.
    """
    source = Video(video)
    for m in motions:
        if m.space != "image":
            raise MotionError(f"it is in {m.space} space: only motions in pixels can be drawn on a video.")
        if m.size not in (None, source.size):
            raise MotionError(f"it is of pictures of {m.size}, and the video's are {source.size}.")
    if out.suffix == ".png":
        _still(motions, source).save(out, "PNG")
        return
    from av import FFmpegError

    try:
        _film(motions, source, out)
    except FFmpegError as e:
        raise MotionError(f"FFmpeg cannot write it ({e.strerror}). Convert the video to MP4 first.") from None


def _film(motions: list[Motion], video: Video, out: Path) -> None:
    import av

    width, height = (n - n % 2 for n in video.size)  # H.264 in 4:2:0 needs even numbers
    with av.open(str(out), "w", format="mp4", options={"movflags": "faststart"}) as film:
        stream = film.add_stream("libx264", rate=round(video.rate or 30), options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = TIME_BASE
        first: float | None = None
        sound = _Sound(film, video)
        for time, picture in _lasting(video, max(m.clock[-1] for m in motions)):
            first = time if first is None else first
            drawn = _drawn(Image.fromarray(picture), motions, time)
            frame = av.VideoFrame.from_image(drawn.crop((0, 0, width, height)))
            frame.pts, frame.time_base = round((time - first) / TIME_BASE), TIME_BASE
            film.mux(stream.encode(frame))
            sound.copy_until(time, first)
        film.mux(stream.encode())
        sound.copy_until(np.inf, first or 0.0)
        sound.close()


class _Sound:
    """Copies the first sound of a video into a film, along with the pictures."""

    def __init__(self, film: Any, video: Video) -> None:
        self._film, self._given = film, video.open()
        streams = self._given.streams.audio
        self._packets: Iterator[Any] = iter(())
        self._next: Any = None
        if streams:
            again = streams[0].codec_context.name not in SOUND
            self._stream = film.add_stream("aac", rate=RATE) if again else film.add_stream_from_template(streams[0])
            self._packets = self._encoded(streams[0]) if again else self._copied(streams[0])
            self._next = next(self._packets, None)

    def copy_until(self, seconds: float, first: float) -> None:
        """Copy what sounds up to `seconds` of the video's clock, which the film begins at `first`."""
        while self._next is not None and float((self._next.dts or 0) * self._next.time_base) <= seconds:
            packet, self._next = self._next, next(self._packets, None)
            shift = round(first / packet.time_base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            if packet.pts >= 0:
                self._film.mux(packet)

    def close(self) -> None:
        self._given.close()

    def _copied(self, stream: Any) -> Iterator[Any]:
        for packet in self._given.demux(stream):
            if packet.dts is not None:
                packet.stream = self._stream
                yield packet

    def _encoded(self, stream: Any) -> Iterator[Any]:
        from av import AudioResampler

        resampler = AudioResampler(format="fltp", rate=RATE)  # AAC takes few rates
        for frame in self._given.decode(stream):
            for piece in resampler.resample(frame):
                yield from self._stream.encode(piece)
        yield from self._stream.encode()


def _lasting(video: Video, until: float) -> Iterator[tuple[float, Array]]:
    """Yield the video's frames, then its last one, paler, at its rate up to `until`."""
    times, picture = [], None
    for time, picture in video.frames():
        times.append(time)
        yield time, picture
    if picture is None:
        return
    pale = (picture * (1 - PALE) + np.float32(255 * PALE)).astype(np.uint8)
    step = 1 / clock(times, video.rate)[0]
    for k in range(1, int((until - times[-1]) / step + 1.001)):
        yield times[-1] + k * step, pale


def _still(motions: list[Motion], video: Video) -> Image.Image:
    """Return the picture at the end of the context (of a motion: in its middle), with the forecast after it."""
    m = motions[0]
    moment = m.clock[m.num_frames // 2] if m.context is None else m.context.clock[-1]
    best: tuple[float, Array] | None = None
    for time, picture in video.frames():
        if best is None or abs(time - moment) <= abs(best[0] - moment):
            best = time, picture
    assert best is not None
    image = Image.fromarray(best[1])
    ahead = [t for t in AHEAD_S if m.context is not None and moment + t <= m.clock[-1] + 0.5 / m.fps]
    for t in reversed(ahead):
        image = _drawn(image, motions, float(moment + t), fade=1 - 0.6 * t / AHEAD_S[-1], words=False)
    return _drawn(image, motions, float(moment))


def _drawn(
    picture: Image.Image, motions: list[Motion], time: float, fade: float = 1.0, words: bool = True
) -> Image.Image:
    """Return the picture with all that `motions` tell about this time."""
    thick = max(2.0, THICKNESS * max(picture.size))
    said = ""
    for motion in motions:
        for m in (motion.context, motion):
            if m is None or not m.clock[0] - 0.5 / m.fps <= time <= m.clock[-1] + 0.5 / m.fps:
                continue
            ahead = motion.context is not None and m is motion
            if ahead:
                said = f"forecast {time - motion.context.clock[-1]:+.2f} s"  # type: ignore[union-attr]
                for sample in [] if m.samples is None or len(m.samples) < 2 else m.samples[:MAX_SAMPLES]:
                    alpha = max(0.15, min(0.6, 3 / len(m.samples)))  # type: ignore[arg-type]
                    picture = _figure(picture, m, _at(m, sample, time), (FAN,) * 3, thick * 0.4, alpha * fade, False)
            colours = (mix(FAN, INK, 0.2),) * 3 if ahead and m.samples is not None else SIDES
            picture = _figure(picture, m, _at(m, m.positions, time), colours, thick, fade, True)
            if ahead:
                break
    return _label(picture, said) if words and said else picture


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
        canvas.line(moved[p], moved[j], colours[sided[j] if len(colours) > MIDDLE else 0], thick, alpha)
    for j in map(int, np.flatnonzero(seen)) if outlined else ():
        canvas.dot(moved[j], thick * 0.8, colours[sided[j]], alpha)
    out = picture.copy()
    out.paste(canvas.image, (int(low[0]), int(low[1])))
    return out


def _label(picture: Image.Image, words: str) -> Image.Image:
    size = max(12.0, picture.width / 60)
    box = (0, 0, min(picture.width, round(size * 12)), round(size * 2.2))
    canvas = Canvas.over(picture.crop(box))
    canvas.box((size * 0.4, size * 0.3, size * 11, size * 1.9), PAPER, MUTED, size * 0.3)
    canvas.text(size * 0.9, size * 1.1, words, size, INK, "lm")
    out = picture.copy()
    out.paste(canvas.image, (0, 0))
    return out
