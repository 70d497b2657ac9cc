"""A page that plays motions in any browser, in one file and without a network.

The page is the template ``viewer.html`` with the scene as JSON. Positions are 16-bit steps of the clip's extent, so a
page takes about 11 bytes a joint and frame in 3D (a minute of BODY_25 at 60 fps: 0.8 MB), and the same for each sample
of a forecast. All text from motions reaches the page as JSON data and is shown as text, never as markup.
"""

from __future__ import annotations

import base64
import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError, one_line
from lmm.rendering.draw import PAPER, Colour, mix, palette
from lmm.rendering.scene import Camera, Panel, Scene, Segment, Track, sides

Array = NDArray[Any]

MAX_RATE = 60.0  # frames per second in the page; faster clips keep every n-th frame
MIN_RATE = 10.0
MAX_BYTES = 32_000_000  # of motion in a page; longer clips keep fewer frames
STEPS = 65_534  # of 16-bit positions; one more value says missing
MISSING_VALUE = 65_535
MAX_TEXT = 300
_SHOWN_META = ("subject", "trial", "item", "person", "camera", "format", "model", "licence", "captions", "notes")


def write(scene: Scene, out: Path) -> None:
    """Write the page of `scene`. Raises MotionError if the motion is too long for a page."""
    out.write_text(page(scene), "utf-8")


def page(scene: Scene) -> str:
    """Return the page as text."""
    template = (resources.files("lmm.rendering") / "viewer.html").read_text("utf-8")
    titles = list(dict.fromkeys(t.title for t in scene.tracks))
    title = titles[0] if len(titles) == 1 else f"{titles[0]} and {len(titles) - 1} more"
    data = json.dumps(_scene(scene, title), allow_nan=False, separators=(",", ":"))
    # no "</script>" or "<!--" can arise from data; the browser's JSON parser reads the escapes back
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    head, rest = template.split("{{title}}")
    body, tail = rest.split("{{scene}}")
    return head + html.escape(title) + body + data + tail


def quantise(values: Array) -> dict[str, Any]:
    """Return positions (..., D) as base64 of little-endian 16-bit steps above `low`; NaN is MISSING_VALUE.

    The value is ``low[d] + step * n``; it is off by at most half a `step`.
    """
    finite = np.asarray(np.isfinite(values).all(axis=-1))
    seen = values[finite].astype(np.float64)
    if not len(seen):
        seen = np.zeros((1, values.shape[-1]))
    low = seen.min(axis=0)
    step = float((seen.max(axis=0) - low).max()) / STEPS or 1.0
    n = np.where(finite[..., None], np.rint((np.where(finite[..., None], values, low) - low) / step), MISSING_VALUE)
    return {"data": _base64(n.astype("<u2")), "low": low.tolist(), "step": step}


def dequantise(packed: dict[str, Any], shape: tuple[int, ...]) -> Array:
    """Return the positions that `quantise` packed, float64 of `shape`."""
    n = np.frombuffer(base64.b64decode(packed["data"]), "<u2").reshape(shape)
    values = np.array(packed["low"]) + packed["step"] * n
    return np.where(n == MISSING_VALUE, np.nan, values)


def _base64(values: Array) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _scene(scene: Scene, title: str) -> dict[str, Any]:
    rate = _page_rate(scene)
    return {
        "title": title,
        "start": scene.start,
        "end": scene.end,
        "rate": min(scene.rate, rate),
        "panels": [_panel(p, rate) for p in scene.panels],
    }


def _page_rate(scene: Scene) -> float:
    """Return the frame rate, at most, at which the scene fits in MAX_BYTES."""
    rate = MAX_RATE
    while rate >= MIN_RATE:
        if sum(_bytes(s, rate) for t in scene.tracks for s in t.segments) <= MAX_BYTES:
            return rate
        rate /= 2
    raise MotionError(
        f"it would be over {MAX_BYTES // 1_000_000} MB even at {rate * 2:.3g} frames per second; crop the motion."
    )


def _bytes(segment: Segment, rate: float) -> float:
    m = segment.motion
    draws = 1 + (len(segment.samples) if segment.samples is not None else 0)
    return m.num_frames / _stride(segment, rate) * m.skeleton.num_joints * (2 * m.num_dims * draws + 2) * 4 / 3


def _stride(segment: Segment, rate: float) -> int:
    return max(1, int(np.ceil(segment.motion.fps / rate - 0.05)))


def _panel(panel: Panel, rate: float) -> dict[str, Any]:
    count = len(panel.tracks)
    motion = panel.tracks[0].segments[0].motion
    return {
        "dims": panel.num_dims,
        "space": motion.space,
        "picture": motion.size,
        "floor": panel.floor,
        "follow": panel.follow,
        "size": panel.size,
        "whole": _camera(panel.whole),
        "near": _camera(panel.near),
        "tracks": [_track(t, palette(i, count), count > 1, rate) for i, t in enumerate(panel.tracks)],
    }


def _camera(camera: Camera) -> dict[str, Any]:
    return {
        "azimuth": camera.azimuth,
        "elevation": camera.elevation,
        "up": bool(camera.axes[1, 1] < 0),
        "target": camera.target.tolist(),
        "distance": camera.distance if np.isfinite(camera.distance) else None,
        "radius": camera.radius,
        "extent": list(camera.extent),
    }


def _track(track: Track, colours: tuple[Colour, ...], hue: bool, rate: float) -> dict[str, Any]:
    motion = track.segments[-1].motion
    known = [(k, motion.meta[k]) for k in _SHOWN_META if motion.meta.get(k) not in (None, "", [])]
    facts = [(k, one_line(", ".join(map(str, v)) if isinstance(v, list) else v, MAX_TEXT)) for k, v in known]
    return {
        "title": track.title,
        "facts": track.facts,
        "meta": facts,
        "hue": hue,
        "light": [_css(c) for c in colours],
        "dark": [_css(mix(c, PAPER, 0.3)) for c in colours],
        "start": track.start,
        "end": track.end,
        "segments": [_segment(s, rate) for s in track.segments],
    }


def _css(colour: Colour) -> str:
    return f"rgb({colour[0]},{colour[1]},{colour[2]})"


def _segment(segment: Segment, rate: float) -> dict[str, Any]:
    """Pack a segment. Where frames are left out, those that stay count back from the end of a context, and from the
    first of all else."""
    m, stride = segment.motion, _stride(segment, rate)
    first = (m.num_frames - 1) % stride if segment.times[-1] == 0 else 0
    keep = slice(first, None, stride)
    return {
        "forecast": segment.forecast,
        "fps": m.fps,
        "frames": m.num_frames,
        "kept": len(m.positions[keep]),
        "first": first,
        "stride": stride,
        "joints": [one_line(j, 60) for j in m.skeleton.joints],
        "bones": m.skeleton.bones,
        "sides": sides(m.skeleton),
        "times": _base64(segment.times[keep].astype("<f4")),
        "centre": _base64(segment.centre[keep].astype("<f4")),
        "positions": quantise(m.positions[keep]),
        "confidence": _base64(np.rint(m.confidence[keep] * 255).clip(m.observed[keep], 255).astype(np.uint8)),
        "flags": _base64(m.flags[keep]),
        "samples": None
        if segment.samples is None
        else quantise(segment.samples[:, keep]) | {"count": len(segment.samples)},
        "drawn": 0 if m.samples is None else len(m.samples),
    }
