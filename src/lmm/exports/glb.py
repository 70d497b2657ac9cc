"""`.glb`, binary glTF 2.0: an animated skeleton with a simple figure on it, for browsers, Blender and game engines.

Metres, y up, +z forward at rest, which is what glTF means by them. Every joint of the rig (`lmm.pipeline.rig`) is a
node; the first has a translation and a rotation in every frame, all others a rotation. The figure is one mesh, skinned
to the nodes, with a double pyramid for every bone: right limbs orange, left ones blue. Format: Khronos Group, "glTF 2.0
Specification", 2021, chapters 3 and 4.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from lmm.core.errors import InputError, MotionError
from lmm.core.geometry import Array
from lmm.core.motion import Motion
from lmm.core.skeleton import left_right_pairs
from lmm.exports import needs, one_motion
from lmm.pipeline.rig import Rig, rig

FLOAT, SHORT = 5126, 5123  # component types
VERTICES, INDICES = 34962, 34963  # what a buffer view is for
COLOURS = {"right": (0.85, 0.37, 0.01), "left": (0.0, 0.45, 0.74), "middle": (0.35, 0.38, 0.45)}  # linear-ish RGB
THICK, MOST_THICK_M = 0.16, 0.05  # of a bone's length, and at most
LEAST_BONE_M = 1e-4


@one_motion(".glb")
def encode(motion: Motion, path: Path) -> bytes:
    """Return the file. Raises InputError for motions that are not in metres or have no bones."""
    needs(motion, path, "world")
    try:
        made = rig(motion)
    except MotionError as e:
        raise InputError(path, f"cannot be written: {e}") from None
    clock = (motion.clock - motion.clock[0]).astype(np.float32)
    if (np.diff(clock) <= 0).any():
        raise InputError(
            path, "glTF's clock cannot tell this motion's frames apart", "Cut long gaps out, or resample it with --fps"
        )
    out = _Buffer()
    count = len(made.joints)
    rest = np.zeros((count, 3))
    for j in range(1, count):
        rest[j] = rest[made.parents[j]] + made.offsets[j]
    nodes: list[dict[str, Any]] = []
    for j in range(count):
        children = [c for c, p in enumerate(made.parents) if p == j]
        node: dict[str, Any] = {"name": made.joints[j], "translation": made.offsets[j].tolist()}
        nodes.append(node | ({"children": children} if children else {}))
    nodes[0]["translation"] = made.root[0].tolist()
    bind = np.tile(np.eye(4), (count, 1, 1))
    bind[:, 3, :3] = -rest  # column-major
    primitives, materials = _figure(made, rest, out)
    if not primitives:
        raise InputError(path, f"cannot be written: no bone is longer than {LEAST_BONE_M:g} m", "Check its --units")
    nodes.append({"name": "figure", "mesh": 0, "skin": 0})
    times = out.add(clock, "SCALAR", bounds=True)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []
    tracks = [(0, "translation", made.root, "VEC3")]
    tracks += [(j, "rotation", _quaternions(made.rotations[:, j]), "VEC4") for j in range(count) if j in made.parents]
    for joint, target, values, kind in tracks:
        channels.append({"sampler": len(samplers), "target": {"node": joint, "path": target}})
        samplers.append({"input": times, "output": out.add(values, kind), "interpolation": "LINEAR"})
    document = {
        "asset": {"version": "2.0", "generator": "lmm"},
        "scene": 0,
        "scenes": [{"nodes": [0, count]}],
        "nodes": nodes,
        "meshes": [{"name": "figure", "primitives": primitives}],
        "materials": materials,
        "skins": [
            {
                "joints": list(range(count)),
                "skeleton": 0,
                "inverseBindMatrices": out.add(bind.reshape(count, 16), "MAT4"),
            }
        ],
        "animations": [{"name": "motion", "samplers": samplers, "channels": channels}],
        "accessors": out.accessors,
        "bufferViews": out.views,
        "buffers": [{"byteLength": len(out.data)}],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(out.data), 0x004E4942) + out.data
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


class _Buffer:
    """The binary part, and what lies where in it."""

    def __init__(self) -> None:
        self.data = b""
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, values: Array, kind: str, target: int | None = None, bounds: bool = False) -> int:
        """Append values (N,) or (N, K), floats, or integers as 16 bits, and return the number of their accessor."""
        whole = values.dtype.kind in "iu"
        packed = np.ascontiguousarray(values, "<u2" if whole else "<f4")
        raw = packed.tobytes()
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(raw)}
        self.views.append(view | ({"target": target} if target else {}))
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": SHORT if whole else FLOAT,
            "count": len(packed),
            "type": kind,
        }
        if bounds:
            rows = packed.reshape(len(packed), -1)
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.accessors.append(accessor)
        self.data += raw + b"\0" * (-len(raw) % 4)
        return len(self.accessors) - 1


def _quaternions(rotations: Array) -> Array:
    """Return unit quaternions (T, 4), x y z w, each on the side of the one before."""
    q = Rotation.from_matrix(rotations).as_quat()
    flips = np.cumprod(np.where((q[1:] * q[:-1]).sum(axis=-1) < 0, -1.0, 1.0))
    q[1:] *= flips[:, None]
    return np.asarray(q)


def _figure(made: Rig, rest: Array, out: _Buffer) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the primitives of the figure at rest, one for each colour, and their materials."""
    sides = {n: side for right, left in left_right_pairs(made.joints) for n, side in ((right, "right"), (left, "left"))}
    primitives: list[dict[str, Any]] = []
    materials: list[dict[str, Any]] = []
    for side, colour in COLOURS.items():
        corners, normals, owners = [], [], []
        for j in range(1, len(made.joints)):
            if sides.get(made.joints[j], "middle") == side and np.linalg.norm(made.offsets[j]) > LEAST_BONE_M:
                parent = made.parents[j]
                triangles = _bone(rest[parent], rest[j])
                facing = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
                facing /= np.linalg.norm(facing, axis=-1, keepdims=True)
                corners.append(triangles.reshape(-1, 3))
                normals.append(facing.repeat(3, axis=0))
                owners.append(np.full(len(triangles) * 3, parent))
        if not corners:
            continue
        owner = np.concatenate(owners)
        bound = np.stack([owner, 0 * owner, 0 * owner, 0 * owner], axis=-1).astype(np.uint16)
        attributes = {
            "POSITION": out.add(np.concatenate(corners), "VEC3", VERTICES, bounds=True),
            "NORMAL": out.add(np.concatenate(normals), "VEC3", VERTICES),
            "JOINTS_0": out.add(bound, "VEC4", VERTICES),
            "WEIGHTS_0": out.add(np.tile([1.0, 0, 0, 0], (len(owner), 1)), "VEC4", VERTICES),
        }
        primitives.append({"attributes": attributes, "material": len(materials)})
        surface = {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.7}
        materials.append({"name": side, "pbrMetallicRoughness": surface})
    return primitives, materials


def _bone(start: Array, end: Array) -> Array:
    """Return the eight triangles (8, 3, 3) of a double pyramid, facing outwards."""
    along = end - start
    length = float(np.linalg.norm(along))
    along = along / length
    across = np.cross(along, np.eye(3)[int(np.argmin(np.abs(along)))])
    across /= np.linalg.norm(across)
    other = np.cross(along, across)
    radius = min(THICK * length, MOST_THICK_M)
    middle = start + along * min(0.2 * length, 2 * radius)
    ring = [middle + radius * v for v in (across, other, -across, -other)]
    pairs = [(ring[i], ring[(i + 1) % 4]) for i in range(4)]
    return np.array([[start, b, a] for a, b in pairs] + [[end, a, b] for a, b in pairs])
