"""`Motion`: the one type that travels through lmm."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm.core.errors import MotionError
from lmm.core.skeleton import MAX_JOINTS as MAX_JOINTS
from lmm.core.skeleton import Skeleton

Array = NDArray[Any]
Space = Literal["image", "world", "body"]

# What a sample of `Motion.flags` is. RECORDED includes exact midpoints of recorded joints.
RECORDED, INTERPOLATED, SYNTHESISED, REMOVED, MISSING = range(5)
FLAG_NAMES = ("recorded", "interpolated", "synthesised", "removed", "missing")

MAX_FRAMES = 2_000_000
MAX_COORDINATE = 1e9  # metres or pixels; squares of it are still far from float32's end
MAX_TIME_S = 1e10  # seconds on the clock either way: float64 still tells frames apart
MIN_FPS, MAX_FPS = 1e-3, 100_000.0


@dataclass(frozen=True, eq=False, repr=False)
class Motion:
    """One person (or one set of markers), one take, one frame rate. Arrays are read-only.

    positions   float32 (T, J, D), D = 2 or 3, NaN where missing (all coordinates of a joint or none)
    confidence  float32 (T, J) in [0, 1], 0 where missing
    fps         frames per second, 0.001 to 100 000; the nominal rate if `times` is given
    skeleton    the J joints
    space       ``image``: pixels, origin top left, y down · ``world``: metres, right-handed, y up ·
                ``body``: normalised, y up
    size        image width and height in pixels, when known
    times       float64 (T,) seconds, increasing, only where the source's clock is irregular
    start_s     time of the first frame in the source's clock, seconds
    flags       uint8 (T, J), one of RECORDED, INTERPOLATED, SYNTHESISED, REMOVED, MISSING
    samples     float32 (S, T, J, D) or None: the draws of a forecast; `positions` is the first
    context     the motion that a forecast continues, or None
    meta        plain JSON values: source, format, subject, trial, person, camera, licence, captions, notes ...

    Raises MotionError if shapes disagree, there are no frames or joints, or a number is infinite or out of bounds.
    """

    positions: Array
    confidence: Array
    fps: float
    skeleton: Skeleton
    space: Space
    size: tuple[int, int] | None = None
    times: Array | None = None
    start_s: float = 0.0
    flags: Array = None  # type: ignore[assignment]  # filled in on creation
    samples: Array | None = None
    context: Motion | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        p = _numbers(self.positions, np.float32, "positions")
        if p.ndim != 3 or p.shape[2] not in (2, 3) or 0 in p.shape:
            raise MotionError(f"positions must be (frames, joints, 2 or 3) and not empty, got shape {p.shape}.")
        if p.shape[0] > MAX_FRAMES or p.shape[1] > MAX_JOINTS:
            raise MotionError(
                f"{p.shape[0]} frames of {p.shape[1]} joints: over {MAX_FRAMES} frames or {MAX_JOINTS} joints."
            )
        if p.shape[1] != self.skeleton.num_joints:
            raise MotionError(f"{p.shape[1]} joints, but skeleton {self.skeleton.name} has {self.skeleton.num_joints}.")
        if self.space not in ("image", "world", "body"):
            raise MotionError(f"space must be image, world or body, got {self.space!r}.")
        if self.space == "world" and p.shape[2] != 3:
            raise MotionError("a motion in metres of the world has three coordinates, this one has two.")
        if not MIN_FPS <= self.fps <= MAX_FPS:
            raise MotionError(
                f"the frame rate must be between {MIN_FPS:g} and {MAX_FPS:g} frames per second, got {self.fps:g}."
            )
        if not abs(self.start_s) <= MAX_TIME_S:
            raise MotionError(f"the motion starts at {self.start_s:g} s, over the limit of {MAX_TIME_S:g} s.")
        if self.size is not None and not (len(self.size) == 2 and all(0 < n < 1 << 31 for n in self.size)):
            raise MotionError(f"size must be an image's width and height, got {self.size}.")
        if (np.abs(p) > MAX_COORDINATE).any():
            raise MotionError(f"positions hold numbers that are infinite or beyond {MAX_COORDINATE:g}.")
        c = _numbers(self.confidence, np.float32, "confidence")
        if c.shape != p.shape[:2]:
            raise MotionError(f"confidence must have shape {p.shape[:2]}, got {c.shape}.")
        missing = np.isnan(p).any(axis=2) | ~(c > 0)
        p[missing] = np.nan
        c[missing] = 0
        if (c > 1).any():
            raise MotionError(f"confidence must lie in [0, 1], got {float(c.max()):.3g}.")
        f = np.zeros(p.shape[:2], np.uint8) if self.flags is None else _numbers(self.flags, np.uint8, "flags")
        if f.shape != p.shape[:2] or (f >= len(FLAG_NAMES)).any():
            raise MotionError(f"flags must have shape {p.shape[:2]} and lie in 0 to {len(FLAG_NAMES) - 1}.")
        f[missing & (f != REMOVED)] = MISSING
        for name, value in (("positions", p), ("confidence", c), ("flags", f)):
            value.flags.writeable = False
            object.__setattr__(self, name, value)
        if self.times is not None:
            t = _numbers(self.times, np.float64, "times")
            if t.shape != p.shape[:1] or not (np.abs(t) <= MAX_TIME_S).all() or (np.diff(t) < 0.5 / MAX_FPS).any():
                raise MotionError("times must be one increasing number per frame, in seconds.")
            t.flags.writeable = False
            object.__setattr__(self, "times", t)
        if self.samples is not None:
            s = _numbers(self.samples, np.float32, "samples")
            if (np.abs(s) > MAX_COORDINATE).any():
                raise MotionError(f"samples hold numbers that are infinite or beyond {MAX_COORDINATE:g}.")
            if s.shape[1:] != p.shape or s.ndim != 4 or not len(s):
                raise MotionError(f"samples must have shape (samples, {', '.join(map(str, p.shape))}), got {s.shape}.")
            s.flags.writeable = False
            object.__setattr__(self, "samples", s)
        object.__setattr__(self, "fps", float(self.fps))
        object.__setattr__(self, "start_s", float(self.start_s))

    def __repr__(self) -> str:
        drawn = "" if self.samples is None else f", {len(self.samples)} samples"
        return (
            f"Motion({self.num_frames} frames of {self.skeleton.name} ({self.skeleton.num_joints} joints) at "
            f"{self.fps:g} FPS, {self.space}, {self.missing_fraction:.0%} missing{drawn})"
        )

    @property
    def num_frames(self) -> int:
        return int(self.positions.shape[0])

    @property
    def num_dims(self) -> int:
        return int(self.positions.shape[2])

    @property
    def seconds(self) -> float:
        """Duration in seconds: frames / fps, or the span of `times` plus one frame."""
        if self.times is None:
            return self.num_frames / self.fps
        return float(self.times[-1] - self.times[0]) + 1 / self.fps

    @property
    def clock(self) -> Array:
        """float64 (T,) seconds of each frame: `times`, or start_s + frame / fps."""
        if self.times is not None:
            return self.times
        return self.start_s + np.arange(self.num_frames) / self.fps

    @property
    def observed(self) -> Array:
        """bool (T, J): True where the joint has a position."""
        return np.asarray(self.confidence > 0)

    @property
    def missing_fraction(self) -> float:
        return float(1 - self.observed.mean())

    def joint(self, name: str) -> Array:
        """Return one joint's positions, (T, D). Raises MotionError on an unknown name."""
        if name not in self.skeleton.index:
            raise MotionError(
                f"skeleton {self.skeleton.name} has no joint {name!r}; it has {', '.join(self.skeleton.joints)}."
            )
        return np.asarray(self.positions[:, self.skeleton.index[name]])

    def replace(self, **changes: Any) -> Motion:
        """Return a copy with some fields changed."""
        if changes.keys() == {"meta"}:  # nothing to check, and the arrays are read-only: they can be shared
            same = copy.copy(self)
            object.__setattr__(same, "meta", changes["meta"])
            return same
        return dataclasses.replace(self, **changes)

    def crop(self, start: int, stop: int) -> Motion:
        """Return frames [start, stop) with their time stamps."""
        if not 0 <= start < stop <= self.num_frames:
            raise MotionError(f"cannot take frames {start} to {stop} of {self.num_frames}.")
        cut = slice(start, stop)
        return self.replace(
            positions=self.positions[cut],
            confidence=self.confidence[cut],
            flags=self.flags[cut],
            times=None if self.times is None else self.times[cut],
            samples=None if self.samples is None else self.samples[:, cut],
            start_s=float(self.clock[start]),
        )

    def save(self, path: str | Path) -> list[Path]:
        """Write the motion in the format that the extension of `path` names; return the files written.

        Raises InputError if no writer has the extension, or the format cannot hold this motion.
        """
        from lmm.core.registry import writer_for

        return writer_for(Path(path))(self, Path(path))


def _numbers(values: ArrayLike, dtype: type, what: str) -> Array:
    """Return a copy of `values` as `dtype`; what it cannot hold becomes infinite or NaN, for the checks that follow."""
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise MotionError(f"{what} must be numbers, got {given.dtype}.")
    with np.errstate(over="ignore", invalid="ignore"):
        return given.astype(dtype)


def make_motion(
    positions: ArrayLike,
    fps: float,
    skeleton: Skeleton,
    space: Space,
    confidence: ArrayLike | None = None,
    **fields: Any,
) -> Motion:
    """Build a Motion; confidence defaults to 1 where every coordinate is a number, else 0."""
    p = np.asarray(positions)
    if confidence is None:
        confidence = np.isfinite(p).all(axis=-1).astype(np.float32)
    return Motion(p, np.asarray(confidence), fps, skeleton, space, **fields)
