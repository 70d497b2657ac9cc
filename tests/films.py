"""Small videos with known pictures, times, rotation and sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 30), (30, 30, 220)
SIZE = (160, 96)


def write_video(
    path: Path,
    times: list[float],
    pictures: list[Any] | None = None,
    sound: str | None = None,
    aspect: Fraction | None = None,
    lossless: bool = False,
) -> Path:
    """Write pictures (height, width, 3) shown at `times`; default: a bright column that moves a pixel a frame."""
    if pictures is None:
        pictures = [column(k) for k in range(len(times))]
    with av.open(str(path), "w") as film:
        name = "ffv1" if lossless else "libx264"
        stream = film.add_stream(name, rate=30, options={} if lossless else {"crf": "4", "bf": "2"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "bgr0" if lossless else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if sound:
            track = film.add_stream(sound, rate=48_000)
            for k in range(int(times[-1] * 48_000 / 960)):
                wave = np.sin(np.arange(k * 960, (k + 1) * 960) * 0.06)[None].astype(np.float32)
                frame = av.AudioFrame.from_ndarray(wave, "fltp", "mono")
                frame.rate, frame.pts = 48_000, k * 960
                film.mux(track.encode(frame))
            film.mux(track.encode())
        for time, picture in zip(times, pictures, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
            frame.pts, frame.time_base = round(time * 90_000), Fraction(1, 90_000)
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return path


def column(k: int) -> Any:
    picture = np.full((SIZE[1], SIZE[0], 3), 16, np.uint8)
    picture[:, 4 + k : 8 + k] = 235
    return picture


def rotated(path: Path, out: Path, degrees: int, mirrored: bool = False) -> Path:
    """Copy an MP4 whose picture players turn clockwise, and then mirror left to right, by its matrix (ISO/IEC 14496-12,
    8.3.2, tkhd)."""
    a, b, c, d = {0: (1, 0, 0, 1), 90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    if mirrored:
        a, c = -a, -c
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 4 * 5 + 8 + 8  # version and flags, times, ids, duration, reserved, layer ...
    matrix = [a, b, 0, c, d, 0, 0, 0, 1]
    units = [65536, 65536, 1 << 30] * 3
    for k, (value, unit) in enumerate(zip(matrix, units, strict=True)):
        data[at + 4 * k : at + 4 * k + 4] = (value * unit).to_bytes(4, "big", signed=True)
    out.write_bytes(data)
    return out
