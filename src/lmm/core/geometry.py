"""The only rotations in lmm. Matrices act on column vectors; angles are radians; y is up, right-handed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def axis_rotation(axis: str, angle: Array) -> Array:
    """Return rotation matrices (..., 3, 3) about the axis ``x``, ``y`` or ``z`` by `angle` (...)."""
    c, s = np.cos(angle), np.sin(angle)
    out = np.zeros((*np.shape(angle), 3, 3))
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    out[..., i, i] = 1
    out[..., j, j] = out[..., k, k] = c
    out[..., j, k], out[..., k, j] = -s, s
    return out


def euler_rotation(order: str, angles: Array) -> Array:
    """Return R = R_order[0] @ R_order[1] @ ... (intrinsic), (..., 3, 3), from `angles` (..., len(order))."""
    if not order:
        return np.broadcast_to(np.eye(3), (*np.shape(angles)[:-1], 3, 3))
    out = axis_rotation(order[0], angles[..., 0])
    for i, axis in enumerate(order[1:], start=1):
        out = out @ axis_rotation(axis, angles[..., i])
    return out


def forward_kinematics(parents: tuple[int, ...], rotations: Array, offsets: Array, root: Array) -> Array:
    """Return joint positions (T, J, 3) of a skeleton whose parents come before their children.

    `rotations` (T, J, 3, 3) are local, `offsets` (J, 3) or (T, J, 3) lie in the parent's frame, `root` (T, 3) places
    every joint without a parent (its own offset is not added).
    """
    frames, joints = rotations.shape[:2]
    positions = np.empty((frames, joints, 3))
    world = np.empty_like(rotations)
    for j, p in enumerate(parents):
        if p < 0:
            positions[:, j], world[:, j] = root, rotations[:, j]
        else:
            offset = offsets[..., j, :]
            moved = world[:, p] @ offset if offset.ndim == 1 else np.einsum("tab,tb->ta", world[:, p], offset)
            positions[:, j] = positions[:, p] + moved
            world[:, j] = world[:, p] @ rotations[:, j]
    return positions


def y_up_from(up: str, positions: Array) -> Array:
    """Turn right-handed positions (..., 3) whose vertical axis is `up` (``x``, ``y``, ``z``, or ``-y`` ...) to y up."""
    maps = {
        "y": ((0, 1, 2), (1, 1, 1)),
        "z": ((0, 2, 1), (1, 1, -1)),
        "x": ((1, 0, 2), (-1, 1, 1)),
        "-y": ((0, 1, 2), (1, -1, -1)),
        "-z": ((0, 2, 1), (1, -1, 1)),
        "-x": ((1, 0, 2), (1, -1, 1)),
    }
    if up == "y":
        return np.asarray(positions)
    order, sign = maps[up]
    return np.asarray(positions[..., list(order)] * np.array(sign))


def heading(lateral: Array) -> Array:
    """Return the heading angle about +y (0 faces +z, positive turns towards +x) of people whose
    right-to-left vectors are `lateral` (..., 3): forward = lateral × up."""
    # lateral x (0, 1, 0) = (-z, 0, x)
    return np.asarray(np.arctan2(-lateral[..., 2], lateral[..., 0]))
