"""`.bvh`, the animation file that every animator's program reads: a hierarchy at rest, and joint angles frame by frame.

Centimetres, y up, +z forward at rest. The first joint has a position and angles, all others angles, in the order
Z, X, Y (R = Rz Rx Ry). Joints whose names have ``_to_`` are the rig's own (`lmm.pipeline.rig`). Format: M. Meredith and
S. Maddock, "Motion Capture File Formats Explained", University of Sheffield, 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lmm.core.errors import InputError, MotionError
from lmm.core.geometry import Array
from lmm.core.motion import Motion
from lmm.exports import needs, one_motion
from lmm.pipeline.rig import Rig, rig

CM = 100.0
ANGLES = "Zrotation Xrotation Yrotation"
MIN_FPS, MAX_FPS = 0.1, 10_000.0  # so far do frame times go that are read
MOST_JOINTS, MOST_DEEP = 1_000, 190  # likewise
POLE = 1 - 1e-9  # of a sine: beyond it, two of the three angles turn about one axis


@one_motion(".bvh")
def encode(motion: Motion, path: Path) -> bytes:
    """Return the file. Raises InputError for motions that are not in metres, have no bones, or an irregular clock."""
    needs(motion, path, "world")
    if motion.times is not None:
        raise InputError(path, "BVH has no time stamps, and this motion's clock is irregular", "Resample it with --fps")
    if not MIN_FPS <= motion.fps <= MAX_FPS:
        raise InputError(path, f"BVH holds {MIN_FPS:g} to {MAX_FPS:g} frames a second, this motion has {motion.fps:g}")
    try:
        made = rig(motion)
    except MotionError as e:
        raise InputError(path, f"cannot be written: {e}") from None
    if len(made.joints) > MOST_JOINTS or max(map(made.depth, range(len(made.joints)))) > MOST_DEEP:
        raise InputError(
            path, f"BVH is read with up to {MOST_JOINTS} joints, {MOST_DEEP} deep; this rig has {len(made.joints)}"
        )
    values = [CM * made.root]
    for j in _depth_first(made, 0):
        values.append(np.rad2deg(zxy_angles(made.rotations[:, j])))
    rows = "\n".join(" ".join(f"{v:.5f}" for v in row) for row in np.concatenate(values, axis=1).tolist())
    hierarchy = _joint(made, plain_names(made.joints), 0, "")
    head = f"HIERARCHY\n{hierarchy}MOTION\nFrames: {motion.num_frames}\nFrame Time: {1 / motion.fps:.10f}\n"
    return f"{head}{rows}\n".encode()


def zxy_angles(rotations: Array) -> Array:
    """Return angles (T, 3) about z, x and y with R = Rz Rx Ry of rotations (T, 3, 3), without leaps of whole turns."""
    r = rotations
    x = np.arcsin(np.clip(r[:, 2, 1], -1, 1))
    pole = np.abs(r[:, 2, 1]) > POLE
    y = np.where(pole, 0, np.arctan2(-r[:, 2, 0], r[:, 2, 2]))
    z = np.where(pole, np.arctan2(r[:, 1, 0], r[:, 0, 0]), np.arctan2(-r[:, 0, 1], r[:, 1, 1]))
    return np.unwrap(np.stack([z, x, y], axis=-1), axis=0)


def _depth_first(made: Rig, joint: int) -> list[int]:
    out = [joint]
    for child, parent in enumerate(made.parents):
        if parent == joint:
            out += _depth_first(made, child)
    return out


def plain_names(names: Sequence[str]) -> list[str]:
    """Return names for joints without blanks and control characters, none of them empty, and no two alike."""
    out: list[str] = []
    for name in names:
        kept = "".join(c if c.isprintable() and not c.isspace() else "_" for c in name) or "_"
        while kept in out:
            kept += "_"
        out.append(kept)
    return out


def _joint(made: Rig, names: list[str], joint: int, indent: str) -> str:
    children = [c for c, p in enumerate(made.parents) if p == joint]
    head = f"{indent}{'JOINT' if indent else 'ROOT'} {names[joint]}\n{indent}{{\n"
    inner = indent + "  "
    offset = " ".join(f"{v:.6f}" for v in CM * made.offsets[joint])
    channels = ANGLES if indent else f"Xposition Yposition Zposition {ANGLES}"
    body = f"{inner}OFFSET {offset}\n{inner}CHANNELS {len(channels.split())} {channels}\n"
    body += "".join(_joint(made, names, c, inner) for c in children)
    if not children:
        body += f"{inner}End Site\n{inner}{{\n{inner}  OFFSET 0.000000 0.000000 0.000000\n{inner}}}\n"
    return f"{head}{body}{indent}}}\n"
