"""Joint angles of BODY_25 motions, in degrees, from places of joints alone.

In 3D, hips and shoulders are told in the planes of the trunk: its axes are lateral (right to left hip, or shoulder, for
the arms), up (mid-hip to neck, made perpendicular), and forward = lateral x up. Joint centres tell no rotation of a
segment about its own length, and markers' clusters do: these are not the Cardan angles of G. Wu et al., "ISB
recommendation on definitions of joint coordinate systems", 2002 and 2005, but project as they do in the sagittal and
frontal plane. In pictures (2D) only angles between segments are told, as they appear.

name              0 where                         positive
knee, elbow       the limb is straight            bent (always)
hip_flexion       the thigh hangs along the trunk knee to the front; trunk forward, too
hip_abduction     the thigh lies in that plane    knee outwards: the angle out of the plane of flexion
shoulder_flexion  the arm hangs along the trunk   elbow to the front
shoulder_abduction the arm lies in that plane     elbow outwards, likewise
shoulder_elevation likewise                       angle between arm and trunk (always)
ankle             foot perpendicular to the shank toes up (dorsiflexion); joints, not soles: less a constant
trunk_forward     the trunk is vertical           leaning to where the hips face
trunk_side        likewise                        leaning to the person's left
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import Motion
from lmm.skeletons import BODY_25

Array = NDArray[Any]
SIDES = {"right": "R", "left": "L"}
LEAST_SAGITTAL = 0.35  # of a segment's length in the plane of flexion: one that points sideways has none
UP = np.array([0.0, 1.0, 0.0])


def joint_angles(motion: Motion) -> dict[str, Array]:
    """Return name → degrees (T,), NaN where a joint that it needs is missing; see the module for the names.

    Sided ones are ``right_knee``, ``left_knee`` ... Angles whose joints the motion never shows are left out.
    Raises MotionError unless the motion is BODY_25.
    """
    if motion.skeleton.joints != BODY_25.joints:
        raise MotionError(f"angles are measured on BODY_25, not on {motion.skeleton.name}: convert it first.")
    at = {j: motion.positions[:, k].astype(np.float64) for j, k in BODY_25.index.items()}
    told = _in_space(at) if motion.num_dims == 3 else _in_pictures(at)
    return {name: values for name, values in told.items() if np.isfinite(values).any()}


def _in_space(at: dict[str, Array]) -> dict[str, Array]:
    trunk = at["Neck"] - at["MidHip"]
    hips = _frame(at["LHip"] - at["RHip"], trunk)
    chest = _frame(at["LShoulder"] - at["RShoulder"], trunk)
    out: dict[str, Array] = {}
    for side, s in SIDES.items():
        outwards = 1.0 if s == "L" else -1.0
        thigh, arm = at[s + "Knee"] - at[s + "Hip"], at[s + "Elbow"] - at[s + "Shoulder"]
        out |= _limbs(at, side, s)
        for name, segment, frame in (("hip", thigh, hips), ("shoulder", arm, chest)):
            lateral, up, forward = (_dot(segment, axis) for axis in frame)
            length = np.linalg.norm(segment, axis=1)
            level_enough = np.hypot(forward, up) > LEAST_SAGITTAL * length
            out[f"{side}_{name}_flexion"] = np.where(level_enough, _flexion(forward, -up), np.nan)
            out[f"{side}_{name}_abduction"] = np.degrees(np.arcsin(np.clip(outwards * lateral / length, -1, 1)))
        out[f"{side}_shoulder_elevation"] = angle(arm, -trunk)
    level = _unit((at["LHip"] - at["RHip"]) * [1, 0, 1])
    ahead = np.cross(level, UP)
    out["trunk_forward"] = np.degrees(np.arctan2(_dot(trunk, ahead), trunk[:, 1]))
    out["trunk_side"] = np.degrees(np.arcsin(np.clip(_dot(trunk, level) / np.linalg.norm(trunk, axis=1), -1, 1)))
    return out


def _in_pictures(at: dict[str, Array]) -> dict[str, Array]:
    trunk = at["Neck"] - at["MidHip"]
    out: dict[str, Array] = {}
    for side, s in SIDES.items():
        out |= _limbs(at, side, s)
        out[f"{side}_hip"] = angle(at[s + "Knee"] - at[s + "Hip"], -trunk)
        out[f"{side}_shoulder_elevation"] = angle(at[s + "Elbow"] - at[s + "Shoulder"], -trunk)
    out["trunk_lean"] = angle(trunk, np.broadcast_to([0.0, -1.0], trunk.shape))
    return out


def _limbs(at: dict[str, Array], side: str, s: str) -> dict[str, Array]:
    shank = at[s + "Ankle"] - at[s + "Knee"]
    return {
        f"{side}_knee": angle(shank, at[s + "Knee"] - at[s + "Hip"]),
        f"{side}_elbow": angle(at[s + "Wrist"] - at[s + "Elbow"], at[s + "Elbow"] - at[s + "Shoulder"]),
        f"{side}_ankle": 90 - angle(-shank, at[s + "BigToe"] - at[s + "Ankle"]),
    }


def angle(a: Array, b: Array) -> Array:
    """Return the angle (...) between vectors (..., D), degrees in 0 to 180; NaN where one of them has no length."""
    a, b = _unit(a), _unit(b)
    return np.asarray(np.degrees(2 * np.arctan2(np.linalg.norm(a - b, axis=-1), np.linalg.norm(a + b, axis=-1))))


def _flexion(forward: Array, down: Array) -> Array:
    """Return degrees in -90 to 270: an arm overhead has 180, however little it leans back."""
    return np.asarray((np.degrees(np.arctan2(forward, down)) + 90) % 360 - 90)


def _frame(lateral: Array, up: Array) -> tuple[Array, Array, Array]:
    """Return unit axes (T, 3): `lateral`, up as near as can be to `up`, and forward."""
    lateral = _unit(lateral)
    up = _unit(up - _dot(up, lateral)[:, None] * lateral)
    return lateral, up, np.cross(lateral, up)


def _unit(v: Array) -> Array:
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.asarray(v / np.where(length > 0, length, np.nan))


def _dot(a: Array, b: Array) -> Array:
    return np.asarray((a * b).sum(-1))
