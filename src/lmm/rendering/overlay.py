"""Motions drawn on the video that they were estimated from, their forecasts ahead of them: MP4, or a still PNG.

A film keeps the video's size, time stamps and sound. Where a forecast goes on after the video's end, its last picture
stays, paler.
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
from lmm.rendering.on_picture import drawn
from lmm.rendering.still import still
from lmm.video.decoding import Video, clock

Array = NDArray[Any]

TIME_BASE = Fraction(1, 90_000)
PALE = 0.45
RATE = 48_000  # of sound that is encoded again
SOUND = ("aac", "mp3")  # what MP4 carries as it is; other sound is encoded again


def write(motions: list[Motion], video: Path, out: Path) -> None:
    """Draw `motions` (in pixels of `video`, on its clock) on the video, as the extension of `out` says.

    A forecast, with its context, is drawn ahead of it: all samples thin, the first bold. Several people have a hue and
    a number each. Raises MotionError if a motion is not of this picture.
    """
    source = Video(video)
    for m in motions:
        if m.space != "image":
            raise MotionError(f"it is in {m.space} space: only motions in pixels can be drawn on a video.")
        if m.size not in (None, source.size):
            raise MotionError(f"it is of pictures of {m.size}, and the video's are {source.size}.")
    if out.suffix == ".png":
        still(motions, source).save(out, "PNG")
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
            shown = drawn(Image.fromarray(picture), motions, time)
            frame = av.VideoFrame.from_image(shown.crop((0, 0, width, height)))
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
