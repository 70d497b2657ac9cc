"""Motion ↔ the 49 numbers a frame that the motion codec sees, and exactly back.

LAYOUT, at 30 FPS, in metres of a standard body (neck to mid-hip 0.50 m), y up, right-handed:

    turn      1   change of the heading about +y since the previous frame, rad/s
    velocity  2   of the root (mid-hip) over the ground, x and z in the frame's heading, m/s
    height    1   of the root above the floor
    joints   45   the other 15 of CODEC_JOINTS relative to the root's ground point, turned so that the frame faces +z

Frame t depends on frames t - 1 and t alone: `Encoder` and `Decoder` carry what is needed from chunk to chunk, and
`encode` and `decode` are one chunk. Where the first frame is, and how large the body, is its `Placement`; features
begin at the origin, facing +z.

Joint velocities, rotations and foot contacts are left out. Two frames of positions tell the first; positions tell the
second but for the twist of bones, which 16 joints do not show; heights and speeds of the feet tell the third. Each
would be one more number to disagree with the positions that are drawn.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation
from lmm.core.geometry import heading as heading_of
from lmm.core.motion import Motion, make_motion
from lmm.pipeline.resample import resample
from lmm.skeletons import BODY_25

Array = NDArray[Any]

FPS = 30
CODEC_JOINTS = (
    *("Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "MidHip"),
    *("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "LBigToe", "RBigToe"),
)
NUM_JOINTS = len(CODEC_JOINTS)
LAYOUT = {"turn": 1, "velocity": 2, "height": 1, "joints": 3 * (NUM_JOINTS - 1)}
SLICES = {
    name: slice(end - width, end)
    for (name, width), end in zip(LAYOUT.items(), accumulate(LAYOUT.values()), strict=True)
}
NUM_FEATURES = sum(LAYOUT.values())

TORSO_M = 0.50  # neck to mid-hip of the standard body
MAX_GAP = FPS // 2  # frames: longer gaps are not interpolated, as in `clean`
# The left-right axis of hips and shoulders tells the heading where at least this part of it is horizontal.
LEAST_HORIZONTAL = 0.25
# Feet farther than this from y = 0, in standard metres, stand on a floor of their own: depth cameras have the origin
# in themselves.
FLOOR_REACH_M = 0.4
STD_FLOOR = 0.01  # of features: 1 cm, 1 cm/s, 0.6 °/s

_INDEX = {name: i for i, name in enumerate(CODEC_JOINTS)}
_BODY = [BODY_25.index[name] for name in CODEC_JOINTS]
_ROOT = _INDEX["MidHip"]
_OTHERS = [i for i in range(NUM_JOINTS) if i != _ROOT]  # parents come before children
_PARENTS = {i: _INDEX[BODY_25.joints[BODY_25.parents[_BODY[i]]]] for i in _OTHERS}
_FEET = [_INDEX[name] for name in ("RAnkle", "LAnkle", "RBigToe", "LBigToe")]
_SWAPPED = [_OTHERS.index(CODEC_JOINTS.index(BODY_25.joints[BODY_25.mirrored[_BODY[i]]])) for i in _OTHERS]


class Placement(BaseModel):
    """Where a motion's first frame is; the default stands at the origin, faces +z and has the standard body.

    scale     metres of the motion in one metre of the standard body
    position  x and z of the root, metres
    heading   angle about +y that the body faces, radians; 0 is +z, π/2 is +x
    floor     y of the floor, metres
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scale: float = Field(default=1.0, gt=0)
    position: tuple[float, float] = (0.0, 0.0)
    heading: float = 0.0
    floor: float = 0.0


def encode(motion: Motion, placement: Placement | None = None) -> tuple[Array, Placement]:
    """Return the features (T, 49) float32 of a BODY_25 motion in the world, at 30 FPS, and its placement.

    With a `placement` given (that of what the motion continues), features go on from there. Missing joints are filled
    as `joint_positions` says. Raises MotionError as it and `place` do.
    """
    points = joint_positions(motion)
    placement = place(points) if placement is None else placement
    return Encoder(placement).push(points), placement


def decode(features: ArrayLike, placement: Placement | None = None) -> Motion:
    """Return the motion (BODY_25, world, 30 FPS) of `features` (T, 49); joints not in CODEC_JOINTS are missing.

    The inverse of `encode`, to 1e-4 of the clip's bounding-box diagonal. Raises MotionError if the shape does not fit
    or a number is not finite.
    """
    return make_motion(on_body25(Decoder(placement or Placement()).push(features)), FPS, BODY_25, "world")


def on_body25(points: Array) -> Array:
    """Return the places (T, 16, 3) of CODEC_JOINTS as those of BODY_25 (T, 25, 3), NaN for the others."""
    out = np.full((len(points), BODY_25.num_joints, 3), np.nan)
    out[:, _BODY] = points
    return out


def joint_positions(motion: Motion) -> Array:
    """Return the places (T, 16, 3) of CODEC_JOINTS at 30 FPS, metres, nothing missing.

    Gaps up to 0.5 s are interpolated. In longer ones, and before the first and after the last frame in which it is
    seen, a joint keeps its last offset from its parent (before the first: its first); the mid-hip stays.

    Raises MotionError if the motion is not BODY_25 in the world, or never shows one of the joints.
    """
    if motion.skeleton.joints != BODY_25.joints:
        raise MotionError(
            f"the codec takes BODY_25, this motion is of skeleton {motion.skeleton.name}: convert it first."
        )
    if motion.space != "world":
        raise MotionError(f"the codec takes motions in metres of the world, this one is in {motion.space} space.")
    motion = resample(motion, FPS)
    absent = [name for name, j in zip(CODEC_JOINTS, _BODY, strict=True) if not motion.observed[:, j].any()]
    if absent:
        raise MotionError(f"the codec needs joints that this motion never shows: {', '.join(absent)}.")
    points = motion.positions[:, _BODY].astype(np.float64)
    frames = np.arange(len(points))
    points[:, _ROOT] = _filled(points[:, _ROOT], np.zeros((len(points), 3)), frames)
    for joint, parent in _PARENTS.items():
        points[:, joint] = _filled(points[:, joint], points[:, parent], frames)
    return points


def place(points: Array) -> Placement:
    """Return the placement of `points` (T, 16, 3), metres; only the first second is looked at, for size and floor.

    The scale is the median distance of neck and mid-hip. The floor is y = 0, unless the lowest foot is FLOOR_REACH_M
    away from it: then the floor is there. Raises MotionError if neck and mid-hip are in one place.
    """
    first = points[:FPS]
    torso = float(np.median(np.linalg.norm(first[:, _INDEX["Neck"]] - first[:, _ROOT], axis=1)))
    scale = torso / TORSO_M
    if not scale > 0:
        raise MotionError("neck and mid-hip are in one place in the first second: the body's size is unknown.")
    lowest = float(first[:, _FEET, 1].min())
    return Placement(
        scale=scale,
        position=(float(first[0, _ROOT, 0]), float(first[0, _ROOT, 2])),
        heading=float(_headings(first[:1], 0.0)[0]),
        floor=lowest if abs(lowest) > FLOOR_REACH_M * scale else 0.0,
    )


class Encoder:
    """Places to features, chunk by chunk; the chunks' features are those of the whole."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._heading = placement.heading
        self._ground = np.array([placement.position[0], placement.floor, placement.position[1]])

    def push(self, points: Array) -> Array:
        """Return the features (T, 49) float32 of the next frames, `points` (T, 16, 3), metres; T may be 0."""
        points = np.asarray(points, np.float64)
        if not len(points):
            return np.zeros((0, NUM_FEATURES), np.float32)
        scale = self._placement.scale
        headings = _headings(points, self._heading)
        ground = points[:, _ROOT] * [1, 0, 1] + [0, self._placement.floor, 0]
        to_frame = axis_rotation("y", -headings)
        turn = np.diff(headings, prepend=self._heading)
        moved = np.diff(ground, axis=0, prepend=self._ground[None])
        out = np.empty((len(points), NUM_FEATURES))
        out[:, SLICES["turn"]] = (FPS * ((turn + np.pi) % (2 * np.pi) - np.pi))[:, None]
        out[:, SLICES["velocity"]] = np.einsum("tab,tb->ta", to_frame, moved)[:, [0, 2]] * FPS / scale
        out[:, SLICES["height"]] = (points[:, _ROOT, 1:2] - self._placement.floor) / scale
        local = (points[:, _OTHERS] - ground[:, None]) / scale
        out[:, SLICES["joints"]] = np.einsum("tab,tjb->tja", to_frame, local).reshape(len(points), -1)
        self._heading, self._ground = float(headings[-1]), ground[-1]
        return out.astype(np.float32)


class Decoder:
    """Features to places, chunk by chunk; the chunks' places are those of the whole."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement
        self._heading = placement.heading
        self._ground = np.array([placement.position[0], placement.floor, placement.position[1]])

    def push(self, features: ArrayLike) -> Array:
        """Return the places (T, 16, 3) of CODEC_JOINTS, metres, of the next frames, `features` (T, 49); T may be 0.

        Raises MotionError if the shape does not fit or a number is not finite.
        """
        values = np.asarray(features, np.float64)
        if values.ndim != 2 or values.shape[1] != NUM_FEATURES:
            raise MotionError(f"features must be (frames, {NUM_FEATURES}), got {values.shape}.")
        if not np.isfinite(values).all():
            raise MotionError(f"the features of frame {int(np.argwhere(~np.isfinite(values))[0, 0])} are not finite.")
        points = np.empty((len(values), NUM_JOINTS, 3))
        if not len(values):
            return points
        scale = self._placement.scale
        headings = np.cumsum(np.append(self._heading, values[:, SLICES["turn"]] / FPS))[1:]
        to_world = axis_rotation("y", headings)
        moved = np.zeros((len(values), 3))
        moved[:, [0, 2]] = values[:, SLICES["velocity"]] * scale / FPS
        moved = np.einsum("tab,tb->ta", to_world, moved)
        ground = np.cumsum(np.concatenate([self._ground[None], moved]), axis=0)[1:]
        local = values[:, SLICES["joints"]].reshape(len(values), NUM_JOINTS - 1, 3)
        points[:, _OTHERS] = np.einsum("tab,tjb->tja", to_world, local) * scale + ground[:, None]
        points[:, _ROOT] = ground
        points[:, _ROOT, 1:2] += values[:, SLICES["height"]] * scale
        self._heading, self._ground = float(headings[-1]), ground[-1]
        return points


def mirror(features: Array) -> Array:
    """Return `features` (..., 49) of the motion in a mirror: left and right exchanged. Twice gives them again."""
    out = features.copy()
    out[..., SLICES["turn"]] *= -1
    out[..., SLICES["velocity"].start] *= -1
    joints = features[..., SLICES["joints"]].reshape(*features.shape[:-1], NUM_JOINTS - 1, 3)
    out[..., SLICES["joints"]] = (joints[..., _SWAPPED, :] * [-1, 1, 1]).reshape(*features.shape[:-1], -1)
    return out


def statistics(features: Iterable[Array]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and std (raised to STD_FLOOR) of the frames of all `features` (T, 49), in one pass.

    Raises MotionError if there are none.
    """
    count, total, squares = 0, np.zeros(NUM_FEATURES), np.zeros(NUM_FEATURES)
    for values in features:
        x = values.astype(np.float64)
        count, total, squares = count + len(x), total + x.sum(axis=0), squares + (x**2).sum(axis=0)
    if not count:
        raise MotionError("there are no features to take statistics of.")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple(mean.tolist()), tuple(np.maximum(std, STD_FLOOR).tolist())


def _headings(points: Array, before: float) -> Array:
    """Return the heading of each frame (T,), radians; frames that do not tell it keep the last, at first `before`."""
    lateral = (
        points[:, _INDEX["LHip"]]
        - points[:, _INDEX["RHip"]]
        + points[:, _INDEX["LShoulder"]]
        - points[:, _INDEX["RShoulder"]]
    )
    size = sum(
        np.linalg.norm(points[:, _INDEX[f"L{name}"]] - points[:, _INDEX[f"R{name}"]], axis=1)
        for name in ("Hip", "Shoulder")
    )
    horizontal = np.hypot(lateral[:, 0], lateral[:, 2])
    tells = (horizontal > 0) & (horizontal >= LEAST_HORIZONTAL * size)
    last = np.maximum.accumulate(np.where(tells, np.arange(len(points)), -1))
    return np.where(last < 0, before, np.asarray(heading_of(lateral))[last])


def _filled(path: Array, parent: Array, frames: Array) -> Array:
    """Return `path` (T, 3) without its NaNs, as `joint_positions` says."""
    seen = np.isfinite(path[:, 0])
    if seen.all():
        return path
    known = np.flatnonzero(seen)
    after = np.clip(np.searchsorted(known, frames), 0, len(known) - 1)
    before = np.clip(np.searchsorted(known, frames, side="right") - 1, 0, None)
    gap = known[after] - known[before] - 1  # 0 outside the first and last that are seen
    short = (gap > 0) & (gap <= MAX_GAP)
    between = np.stack([np.interp(frames, known, x) for x in path[known].T], axis=1)
    held = parent + (path - parent)[known[before]]
    return np.where(seen[:, None], path, np.where(short[:, None], between, held))
