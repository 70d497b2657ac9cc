"""What a picture of motions shows, before any pixel: tracks on one clock, grouped in panels, each with its cameras.

``render`` builds a `Scene`; ``strip``, ``animation`` and ``html`` draw it. A forecast becomes a track of two segments,
its context and its future, on a clock whose zero is the last frame of the context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError, one_line
from lmm.core.geometry import heading
from lmm.core.motion import Motion
from lmm.core.skeleton import Skeleton

Array = NDArray[Any]

MAX_MOTIONS = 24
MAX_SAMPLES = 50  # draws of a forecast that a picture shows
THREE_QUARTER = np.deg2rad(35.0)  # the camera stands this far to the side of straight ahead of the person
ELEVATION = np.deg2rad(12.0)
LONG_PATH = 2.0  # a person who strays this many body sizes from the middle of the path is followed
FRAMES_JUDGED = 1_500  # framing looks at no more frames than this, evenly spread

RIGHT, LEFT, MIDDLE = range(3)
SIDE_NAMES = ("right", "left", "middle")
REACH = 0.8  # of the body's size: how far from its centre a forecast counts when the picture is framed


@dataclass(frozen=True)
class Segment:
    """A motion on the scene's clock: `times` (T,) seconds, and `centre` (T, D), where its body is, smoothed."""

    motion: Motion
    times: Array
    centre: Array
    forecast: bool = False

    @property
    def samples(self) -> Array | None:
        """The draws to show, (S, T, J, D) with S at most MAX_SAMPLES, or None if there is only one."""
        s = self.motion.samples
        return s[:MAX_SAMPLES] if s is not None and len(s) > 1 else None


@dataclass(frozen=True)
class Track:
    """What one motion shows over time: one segment, or the context and future of a forecast."""

    title: str
    segments: tuple[Segment, ...]
    size: float

    @property
    def start(self) -> float:
        return float(self.segments[0].times[0])

    @property
    def end(self) -> float:
        return float(self.segments[-1].times[-1])

    @property
    def forecast(self) -> bool:
        return self.segments[-1].forecast

    @property
    def facts(self) -> str:
        """Skeleton, joints, rate, frames, duration and space, on one line."""
        m, seconds = self.segments[-1].motion, self.end - self.start + 1 / self.segments[-1].motion.fps
        frames = " + ".join(str(s.motion.num_frames) for s in self.segments)
        space = f"{m.num_dims}D {m.space}"
        words = [
            one_line(m.skeleton.name, 40),
            f"{m.skeleton.num_joints} joints",
            f"{m.fps:.4g} fps",
            f"{frames} frames",
        ]
        return " · ".join([*words, f"{seconds:.2f} s", space])

    def at(self, t: float) -> tuple[Segment, int, bool]:
        """Return the segment and frame nearest to time `t`, and whether the track lasts at `t` (else it is held)."""
        best = min(
            ((abs(s.times[f] - t), s, f) for s in self.segments for f in [_nearest(s.times, t)]), key=lambda b: b[0]
        )
        slack = 0.51 / best[1].motion.fps
        return best[1], best[2], self.start - slack <= t <= self.end + slack


@dataclass(frozen=True)
class View:
    """A camera set on a box of pixels. `axes` rows: right, down and, in 3D, towards the viewer."""

    axes: Array
    target: Array
    distance: float
    scale: float
    centre: tuple[float, float]

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return pixels (..., 2) and depth (...), nearer is greater, of `points` (..., D); NaN stays NaN."""
        seen = (np.asarray(points, np.float64) - self.target) @ self.axes.T
        depth = seen[..., 2] if seen.shape[-1] == 3 else np.zeros(seen.shape[:-1])
        near = _perspective(depth, self.distance)
        return seen[..., :2] * (near * self.scale)[..., None] + self.centre, depth


@dataclass(frozen=True)
class Camera:
    """Where a panel is looked at from, and what it frames: `extent` (left, top, right, bottom) at scale 1.

    `azimuth` is the direction from the target to the camera, about +y from +z towards +x; radians. Seen from the
    azimuth of a person's heading, that person's left is at the picture's right.
    """

    azimuth: float
    elevation: float
    axes: Array
    target: Array
    distance: float
    radius: float
    extent: tuple[float, float, float, float]

    def view(self, box: tuple[float, float, float, float]) -> View:
        """Fit what the camera frames into `box` (left, top, right, bottom), pixels."""
        l, t, r, b = self.extent
        scale = min((box[2] - box[0]) / (r - l), (box[3] - box[1]) / (b - t))
        centre = ((box[0] + box[2] - scale * (l + r)) / 2, (box[1] + box[3] - scale * (t + b)) / 2)
        return View(self.axes, self.target, self.distance, scale, centre)


@dataclass(frozen=True)
class Panel:
    """Tracks in one space under one camera: `whole` frames all that happens, `near` the body where it goes."""

    tracks: tuple[Track, ...]
    whole: Camera
    near: Camera
    follow: bool
    floor: float | None

    @property
    def camera(self) -> Camera:
        return self.near if self.follow else self.whole

    @property
    def num_dims(self) -> int:
        return self.tracks[0].segments[0].motion.num_dims

    @property
    def size(self) -> float:
        """Height or breadth of a body, in the motions' units."""
        return max(t.size for t in self.tracks)

    def shift(self, t: float) -> Array:
        """What to subtract from positions at time `t` to keep the body in place, (D,): zeros if nothing is followed."""
        segment, frame, _ = self.tracks[0].at(t)
        return along_ground(segment.centre[frame]) * self.follow


@dataclass(frozen=True)
class Scene:
    """Panels on one clock from `start` to `end`, seconds; `rate` is the finest frame rate in it."""

    panels: tuple[Panel, ...]
    start: float
    end: float
    rate: float

    @property
    def tracks(self) -> list[Track]:
        return [t for p in self.panels for t in p.tracks]

    def times(self, rate: float) -> Array:
        """Return the times of a film at `rate` frames per second, from start to end."""
        return self.start + np.arange(int((self.end - self.start) * rate + 1e-6) + 1) / rate


def build(motions: list[Motion], compare: bool = False) -> Scene:
    """Return the scene of `motions`: overlaid if they share a space, else (or with `compare`) a panel each.

    Time starts at 0 with each motion. Motions of one source keep that source's clock; a forecast puts 0 at the last
    frame of its context, also for a motion of the same clock beside it. Raises MotionError if there is nothing to show.
    """
    if not motions:
        raise MotionError("there is no motion to show.")
    if len(motions) > MAX_MOTIONS:
        raise MotionError(f"{len(motions)} motions are too many for one picture; at most {MAX_MOTIONS} are shown.")
    tracks = [_track(m, origin) for m, origin in zip(motions, _origins(motions), strict=True)]
    names = [t.title for t in tracks]
    tracks = [
        replace(t, title=f"{t.title} · {m.meta.get('skeleton', m.skeleton.name)}") if names.count(t.title) > 1 else t
        for t, m in zip(tracks, motions, strict=True)
    ]
    spaces = {(m.space, m.num_dims, m.size) for m in motions}
    groups = [tracks] if len(spaces) == 1 and not compare else [[t] for t in tracks]
    rate = max(s.motion.fps for t in tracks for s in t.segments)
    panels = _one_scale([_panel(g) for g in groups]) if len(spaces) == 1 else [_panel(g) for g in groups]
    return Scene(tuple(panels), min(t.start for t in tracks), max(t.end for t in tracks), rate)


def title(motion: Motion) -> str:
    """Name a motion by its metadata, on one line: its title, or source, clip, person and, for a forecast, the model."""
    meta = motion.meta
    if meta.get("title"):
        return one_line(meta["title"], 120)
    name = [str(meta.get("source") or meta.get("trial") or motion.skeleton.name)]
    name += [str(meta["item"])] if meta.get("item") else []
    name += (
        [f"person {meta['person']}"] if str(meta.get("person", "0")) not in ("0", "") and not meta.get("item") else []
    )
    if motion.samples is not None or motion.context is not None:
        name.append(f"forecast by {meta['model']}" if meta.get("model") else "forecast")
    return one_line(" · ".join(name), 120)


def sides(skeleton: Skeleton) -> tuple[int, ...]:
    """Return RIGHT, LEFT or MIDDLE for each joint, from `skeleton.pairs`."""
    out = [MIDDLE] * skeleton.num_joints
    for right, left in skeleton.pairs:
        out[skeleton.index[right]], out[skeleton.index[left]] = RIGHT, LEFT
    return tuple(out)


def missing(segment: Segment, frame: int) -> list[str]:
    """Return the names of the joints that have no position in a frame."""
    return [
        n for n, seen in zip(segment.motion.skeleton.joints, segment.motion.observed[frame], strict=True) if not seen
    ]


def along_ground(point: Array) -> Array:
    """Return `point` (..., D) without its vertical coordinate: what a camera on the ground follows."""
    out = np.array(point, np.float64)
    out[..., 1] = 0
    return out


def orbit_axes(azimuth: float, elevation: float) -> Array:
    """Return the axes (3, 3) of a camera: rows right, down, towards the viewer."""
    ca, sa, ce, se = np.cos(azimuth), np.sin(azimuth), np.cos(elevation), np.sin(elevation)
    right, towards = np.array([ca, 0, -sa]), np.array([sa * ce, se, ca * ce])
    return np.stack([right, -np.cross(towards, right), towards])


def facing(motions: list[Motion]) -> float:
    """Return the mean heading of 3D motions, radians about +y from +z; 0 where left and right are unknown."""
    total = np.zeros(3)
    for m in motions:
        for right, left in m.skeleton.pairs:
            lateral = _few(m.joint(left) - m.joint(right))
            lateral = lateral[np.isfinite(lateral).all(axis=1)]
            total += np.median(lateral, axis=0) if len(lateral) else 0
    return float(heading(total)) if np.hypot(total[0], total[2]) > 0 else 0.0


def frame(points: Array, upright: bool, azimuth: float = 0.0) -> Camera:
    """Return the camera that frames `points` (N, D); `upright` says whether y points up (else down, as in images).

    A few far outliers (under one per cent) do not shrink the picture.
    """
    p = points[np.isfinite(points).all(axis=1)].astype(np.float64)
    p = p if len(p) else np.zeros((1, points.shape[1]))
    flat = points.shape[1] == 2
    axes = np.array([[1, 0], [0, -1.0 if upright else 1.0]]) if flat else orbit_axes(azimuth, ELEVATION)
    low, high = _bounds(p)
    target = (low + high) / 2
    radius = float(np.linalg.norm(high - low)) / 2 or 1.0
    distance = np.inf if flat else 4 * radius
    seen = (p - target) @ axes.T
    near = np.ones(len(p)) if flat else _perspective(seen[:, 2], distance)
    (l, t), (r, b) = _bounds(seen[:, :2] * near[:, None])
    pad = 0.04 * max(r - l, b - t) or 1.0
    return Camera(
        azimuth, 0.0 if flat else float(ELEVATION), axes, target, distance, radius, (l - pad, t - pad, r + pad, b + pad)
    )


def body_points(tracks: list[Track], following: bool, ground: float | None = None) -> Array:
    """Return all positions of `tracks`, (N, D), of a spread of frames; `following` takes the way they go out of them.

    With a `ground`, the place below each body is among them, so that a frame around them shows where it stands. A
    forecast counts no farther from its centre than a body reaches, or one that bursts would shrink all others.
    """
    out = []
    for track, s in [(t, s) for t in tracks for s in t.segments]:
        way = along_ground(s.centre)[:, None] * following
        draws = [s.motion.positions] if s.samples is None else list(s.samples)
        if s.forecast:
            draws = [_within(d, s.centre[:, None], REACH * track.size) for d in draws]
        out += [_few(d - way).reshape(-1, d.shape[-1]) for d in draws]
        if ground is not None:
            feet = _few(along_ground(s.centre) - way[:, 0])
            feet[:, 1] = ground
            out.append(feet)
    return np.concatenate(out)


def _panel(tracks: list[Track]) -> Panel:
    motions = [s.motion for t in tracks for s in t.segments]
    flat = motions[0].num_dims == 2
    upright = motions[0].space != "image"
    azimuth = 0.0 if flat else facing([t.segments[0].motion for t in tracks]) + THREE_QUARTER
    floor = None if flat else _floor(motions)
    whole = frame(body_points(tracks, following=False, ground=floor), upright, azimuth)
    near = frame(body_points(tracks, following=True, ground=floor), upright, azimuth)
    path = np.concatenate([along_ground(s.centre) for t in tracks for s in t.segments])
    strays = np.linalg.norm(path - (path.min(axis=0) + path.max(axis=0)) / 2, axis=1).max()
    follow = not flat and len(tracks) == 1 and strays > LONG_PATH * tracks[0].size
    return Panel(tuple(tracks), whole, near, bool(follow), floor)


def _one_scale(panels: list[Panel]) -> list[Panel]:
    """Return panels of one space that frame as much of it each, and follow all or none: bodies are as large as they
    are."""
    follow = any(p.follow for p in panels)
    wholes, nears = _as_wide([p.whole for p in panels]), _as_wide([p.near for p in panels])
    return [replace(p, whole=w, near=n, follow=follow) for p, w, n in zip(panels, wholes, nears, strict=True)]


def _as_wide(cameras: list[Camera]) -> list[Camera]:
    """Return cameras with frames as wide and as high as the widest and highest, about the middle of their own."""
    extents = np.array([c.extent for c in cameras])
    middles, half = (extents[:, :2] + extents[:, 2:]) / 2, (extents[:, 2:] - extents[:, :2]).max(0) / 2
    boxes = np.concatenate([middles - half, middles + half], axis=1).tolist()
    return [replace(c, extent=tuple(box)) for c, box in zip(cameras, boxes, strict=True)]


def _track(motion: Motion, origin: float) -> Track:
    forecast = motion.context is not None or motion.samples is not None
    times = motion.clock - origin
    if forecast and not 0 < times[0] <= 1:
        times = (np.arange(motion.num_frames) + 1) / motion.fps
    segments = [Segment(motion, times, _centre(motion), forecast)]
    if motion.context is not None:
        if motion.context.num_dims != motion.num_dims or motion.context.space != motion.space:
            raise MotionError("a forecast and its context must share the same space.")
        segments.insert(0, Segment(motion.context, motion.context.clock - origin, _centre(motion.context)))
    return Track(title(motion), tuple(segments), _body_size(segments[0].motion))


def _origins(motions: list[Motion]) -> list[float]:
    """Return, for each motion, the second of its own clock that the scene calls 0."""
    source = [str(m.meta.get("source", i)) for i, m in enumerate(motions)]
    zero: dict[str, float] = {}
    for s, m in zip(source, motions, strict=True):
        zero[s] = min(zero.get(s, np.inf), float(m.clock[0]))
    zero |= {s: float(m.context.clock[-1]) for s, m in zip(source, motions, strict=True) if m.context is not None}
    out = []
    for s, m in zip(source, motions, strict=True):
        if m.context is not None:
            out.append(float(m.context.clock[-1]))
        else:
            out.append(zero[s] if m.samples is None else float(m.clock[0]) - 1 / m.fps)
    return out


def _centre(motion: Motion) -> Array:
    """Return where the body is, (T, D): the median of its joints, over half a second (less near the ends), held where
    nothing is seen."""
    seen = motion.observed.any(axis=1)
    if not seen.any():
        return np.zeros((motion.num_frames, motion.num_dims))
    middle = np.nanmedian(motion.positions[seen].astype(np.float64), axis=1)
    t = np.arange(motion.num_frames)
    full = np.stack([np.interp(t, t[seen], middle[:, d]) for d in range(motion.num_dims)], axis=1)
    half = np.minimum(int(motion.fps / 4), np.minimum(t, t[::-1]))
    total = np.concatenate([np.zeros((1, motion.num_dims)), np.cumsum(full, axis=0)])
    return np.asarray((total[t + half + 1] - total[t - half]) / (2 * half + 1)[:, None])


def _within(points: Array, centre: Array, reach: float) -> Array:
    """Draw `points` (T, J, D) towards `centre` (T, 1, D) until none is farther from it than `reach`."""
    away = points - centre
    distance = np.linalg.norm(away, axis=-1, keepdims=True)
    return np.asarray(centre + away * np.minimum(1, reach / np.maximum(distance, 1e-12)))


def _body_size(motion: Motion) -> float:
    p = _few(motion.positions)
    p = p[np.isfinite(p[..., 0]).any(axis=1)]
    if not len(p):
        return 1.0
    return float(np.median((np.nanmax(p, axis=1) - np.nanmin(p, axis=1)).max(axis=1))) or 1.0


def _floor(motions: list[Motion]) -> float:
    """Return the height of the floor: 0 if the feet come down near it, else the lowest joint's usual lowest place."""
    heights = np.concatenate([_few(m.positions[m.observed.any(axis=1)])[..., 1].ravel() for m in motions])
    heights = heights[np.isfinite(heights)]
    if not len(heights):
        return 0.0
    low, size = float(np.percentile(heights, 0.5)), float(np.percentile(heights, 99) - np.percentile(heights, 1))
    return 0.0 if abs(low) < 0.12 * size else low


def _few(values: Array) -> Array:
    return values[:: max(1, -(-len(values) // FRAMES_JUDGED))].astype(np.float64)


def _bounds(p: Array) -> tuple[Array, Array]:
    low, high = np.percentile(p, 1, axis=0), np.percentile(p, 99, axis=0)
    slack = 0.5 * (high - low).max() + 1e-9
    return np.maximum(p.min(axis=0), low - slack), np.minimum(p.max(axis=0), high + slack)


def _perspective(depth: Array, distance: float) -> Array:
    if np.isinf(distance):
        return np.ones(np.shape(depth))
    return np.asarray(distance / np.maximum(distance - depth, 0.05 * distance))


def _nearest(times: Array, t: float) -> int:
    i = int(np.searchsorted(times, t))
    return i if i == 0 else i - 1 if i == len(times) or t - times[i - 1] <= times[i] - t else i
