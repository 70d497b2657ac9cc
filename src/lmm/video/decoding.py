"""Frames of a video file, upright, in square pixels, each with its time stamp: by PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import MAX_FRAMES
from lmm.sources.files import Input

Array = NDArray[Any]

MAX_PIXELS = 40_000_000  # of one frame: 8K
REGULAR_S = 0.002  # time stamps this near to a regular clock are those of one: containers round them to 1 ms
CONTAINERS = ("mov", "mp4", "matroska", "webm", "avi", "mpeg", "mpegts", "flv", "asf")
MAGIC = (b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"FLV\x01", b"0&\xb2u\x8ef\xcf\x11")  # Matroska, MPEG, Flash, ASF


def is_video(head: bytes) -> bool:
    """True if a file that begins with `head` is of a container of video."""
    riff = head.startswith(b"RIFF") and head[8:12] == b"AVI "
    return head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide") or riff or head.startswith(MAGIC)


class Video:
    """The first video stream of a file.

    size      width and height of the picture as players show it: rotated, in square pixels
    rate      nominal frames per second, or None where the file tells none
    expected  how many frames the file says that it has, 0 if it does not say
    damaged   packets that could not be decoded, so far

    Raises InputError if the file is no video that FFmpeg reads, has no picture, or one over 40 megapixels.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Input(path).path  # which refuses pipes and devices
        self.damaged = 0
        with self.open() as container:
            stream = container.streams.video[0]
            self.rate = float(stream.average_rate) if stream.average_rate else None
            seconds = float(stream.duration * stream.time_base) if stream.duration else 0.0
            self.expected = stream.frames or round(seconds * (self.rate or 0))
            _, first = next(self._decode(container), (0.0, None))
            if first is None:
                raise InputError(path, "has no picture that can be decoded", "Export it again, as MP4 (H.264)")
            self.size = _shown(first, stream.sample_aspect_ratio)

    def frames(self) -> Iterator[tuple[float, Array]]:
        """Yield (seconds, RGB picture uint8 (height, width, 3)) of every frame, in the order of showing."""
        with self.open() as container:
            for time, frame in self._decode(container):
                try:
                    picture = self._picture(frame)
                except (OSError, ValueError):  # a frame whose own header is damaged; FFmpeg's errors are among them
                    self.damaged += 1
                    continue
                yield time, picture

    def times(self) -> list[float]:
        """Return the seconds of every frame, without making pictures of them."""
        with self.open() as container:
            return [time for time, _ in self._decode(container)]

    def open(self) -> Any:
        """Return the container, to be closed by the caller. Raises InputError if FFmpeg cannot read it."""
        try:
            import av
        except ImportError:
            raise InputError(
                self.path, "is a video, and the package av is missing", "pip install 'large-movement-model[video]'"
            ) from None
        try:
            # containers alone: a playlist would make FFmpeg open what it names; absolute, or a colon makes it a URL
            allowed = {"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
            container = av.open(str(self.path.resolve()), options=allowed)
        except (av.FFmpegError, OSError, ValueError) as e:
            raise InputError(
                self.path, f"is no video that can be read ({getattr(e, 'strerror', None) or e})", "Export it again"
            ) from None
        if not container.streams.video:
            container.close()
            raise InputError(self.path, "has no picture, only sound or text", "Give a video")
        container.streams.video[0].thread_type = "AUTO"
        return container

    def _decode(self, container: Any) -> Iterator[tuple[float, Any]]:
        """Yield the times and frames, less what is damaged, and what does not come later than the one before.

        AVI tells when frames are decoded, not when they are shown, which in its order is the same but for a delay.
        """
        import av

        stream = container.streams.video[0]
        in_order, step = container.format.name == "avi", 1 / (stream.base_rate or 30)
        last, count = -np.inf, 0
        packets = iter(container.demux(stream))
        while True:
            try:
                packet = next(packets, None)
                decoded = packet.decode() if packet else []
            except av.FFmpegError:
                self.damaged += 1
                continue
            if packet is None:
                return
            for frame in decoded:
                if frame.width * frame.height > MAX_PIXELS:
                    raise InputError(
                        self.path, f"has pictures of {frame.width} x {frame.height} pixels", "Scale it down to 4K"
                    )
                time = frame.time
                if in_order:
                    time = float(last + step if frame.dts is None else frame.dts * stream.time_base)
                if time is None or not time > last:
                    continue
                last, count = time, count + 1
                if count > MAX_FRAMES:
                    raise InputError(self.path, f"has over {MAX_FRAMES} frames", "Split it into shorter takes")
                yield time, frame

    def _picture(self, frame: Any) -> Array:
        width, height = self.size
        right, down = _display(frame)
        sideways = bool(right[1])
        stored = (height, width) if sideways else (width, height)
        picture: Array = frame.to_ndarray(format="rgb24", width=stored[0], height=stored[1])
        picture = picture.transpose(1, 0, 2) if sideways else picture
        return picture[:: -1 if down.sum() < 0 else 1, :: -1 if right.sum() < 0 else 1]


def clock(times: list[float], nominal: float | None) -> tuple[float, Array | None]:
    """Return (frames per second, time stamps or None) of a clock: None where it is as good as regular."""
    given = np.array(times)
    if len(given) < 2:
        return nominal or 30.0, None
    step = (given[-1] - given[0]) / (len(given) - 1)
    away = np.abs(given - given[0] - step * np.arange(len(given))).max()
    if away <= REGULAR_S:
        fps = 1 / step
        return (nominal if nominal and abs(nominal - fps) * len(given) < 0.5 * fps else fps), None
    return float(1 / np.median(np.diff(given))), given


def _display(frame: Any) -> Array:
    """Return (2, 2): the axes right and down of the picture as shown, in stored x and y; any turn or mirroring.

    The display matrix (ISO/IEC 14496-12, 8.3.2) maps stored places to shown ones; other turns are taken to the nearest
    quarter.
    """
    given = frame.side_data.get("DISPLAYMATRIX")
    if given is None:
        return np.eye(2)
    a, b, _, c, d = np.frombuffer(bytes(given), np.int32)[:5].astype(np.float64)
    sideways = abs(b) + abs(c) > abs(a) + abs(d)
    return np.array([[0, c], [b, 0]] if sideways else [[a, 0], [0, d]])


def _shown(frame: Any, aspect: Any) -> tuple[int, int]:
    """Return width and height as shown, of pixels that are `aspect` times as wide as high."""
    width = max(1, round(frame.width * float(aspect))) if aspect else frame.width
    return (frame.height, width) if _display(frame)[0, 1] else (width, int(frame.height))
