"""`.c3d`, the file of motion laboratories (Vicon, Mokka, Visual3D, OpenSim): joints of a world motion as points.

Format: "The C3D File Format User Guide", c3d.org. Intel byte order, float32 millimetres. The vertical is +Z, which
the guide calls typical and most laboratories use; X_SCREEN ``+X`` and Y_SCREEN ``+Z`` say so, as in Vicon's files:
(x, y, z) of lmm is (x, -z, y) of the file. A missing point is 0, 0, 0 with residual -1; every other one has residual 0,
which means "computed, not measured". Confidence is not kept: a residual is a length. Frames count from the motion's
start; a take that would end after frame 65535 counts from 1, since readers disagree on larger numbers. The file ends
with its last frame: of a longer take, ezc3d reads all that follows as frames.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lmm.core.errors import InputError
from lmm.core.geometry import Array
from lmm.core.motion import Motion
from lmm.exports import needs, one_motion

BLOCK = 512
INTEL = 84
MOST = 0xFFFF  # of an integer
ROW = 255  # texts in one parameter; more go on in LABELS2 ...
MOST_NAME = 127  # bytes: a parameter of 255 stays below 2^15 bytes, as some programs count them signed
MOST_NAMES = 129_000  # bytes with their descriptions: all parameters have room for 130 560
STEPS = 32_000  # of POINT:SCALE up to the largest coordinate
MM = 1000
BESIDE_ORIGIN = 1e-6  # millimetres

Value = int | float | bytes | tuple[int, int] | list[bytes]


@one_motion(".c3d")
def encode(motion: Motion, path: Path) -> bytes:
    """Return the file. Raises InputError for motions that are not in metres, an irregular clock, and long names."""
    needs(motion, path, "world")
    if motion.times is not None:
        raise InputError(path, "C3D has no time stamps, and this motion's clock is irregular", "Resample it with --fps")
    labels = [" ".join(j.split()).encode("utf-8", "replace") or b"_" for j in motion.skeleton.joints]
    longest = max(map(len, labels))
    if longest > MOST_NAME or len(labels) * (longest + 1) > MOST_NAMES:
        problem = f"C3D has no room for {len(labels)} joint names of up to {longest} bytes"
        raise InputError(path, problem, f"Names may have {MOST_NAME} bytes, and {MOST_NAMES} together")
    points = _points(motion)
    scale = -max(1.0, float(np.abs(points[..., :3]).max())) / STEPS
    first, last = _frames(motion)
    blocks = len(_parameters(motion, labels, scale, 0)) // BLOCK
    counts = struct.pack("<2B5H", 2, 0x50, len(labels), 0, first, min(last, MOST), 0)
    header = counts + struct.pack("<f2Hf", scale, 2 + blocks, 0, motion.fps)
    return _whole(header) + _parameters(motion, labels, scale, blocks) + points.tobytes()


def _points(motion: Motion) -> Array:
    """Return x, y, z in millimetres and the residual, float32 (T, J, 4).

    A joint exactly at the origin is put a nanometre above it: programs take 0, 0, 0 for a gap.
    """
    words = np.zeros((*motion.observed.shape, 4), "<f4")
    words[..., :3] = motion.positions[..., [0, 2, 1]] * np.array([MM, -MM, MM], np.float32)
    words[(words == 0).all(axis=-1), 2] = BESIDE_ORIGIN
    words[~motion.observed] = 0, 0, 0, -1
    return words


def _frames(motion: Motion) -> tuple[int, int]:
    """Return the numbers of the first and last frame."""
    first = max(0, round(motion.start_s * motion.fps)) + 1
    if first + motion.num_frames - 1 > MOST:
        first = 1
    return first, first + motion.num_frames - 1


def _parameters(motion: Motion, labels: list[bytes], scale: float, blocks: int) -> bytes:
    """Return the parameter section, which says of itself that it is `blocks` long.

    The count of frames stands wherever a program may look: FRAMES up to 65535, LONG_FRAMES (C-Motion), TRIAL (Vicon).
    """
    first, last = _frames(motion)
    point: dict[str, Value] = {
        "USED": len(labels),
        "SCALE": scale,
        "RATE": motion.fps,
        "DATA_START": 2 + blocks,
        "FRAMES": min(motion.num_frames, MOST),
        "LONG_FRAMES": float(motion.num_frames),
        "UNITS": b"mm",
        "X_SCREEN": b"+X",
        "Y_SCREEN": b"+Z",
    }
    for k in range(0, len(labels), ROW):
        number = str(k // ROW + 1) if k else ""
        point[f"LABELS{number}"] = row = labels[k : k + ROW]
        point[f"DESCRIPTIONS{number}"] = [b" "] * len(row)
    fields = (("ACTUAL_START_FIELD", first), ("ACTUAL_END_FIELD", last))
    records = _group(1, "POINT", point) + _group(2, "ANALOG", {"USED": 0}) + _group(3, "FORCE_PLATFORM", {"USED": 0})
    records += _group(4, "TRIAL", {name: (number & MOST, number >> 16) for name, number in fields})
    return _whole(bytes([1, 0x50, blocks, INTEL]) + records + bytes(2))


def _group(number: int, name: str, values: Mapping[str, Value]) -> bytes:
    return _record(name, -number, b"") + b"".join(_record(key, number, _value(value)) for key, value in values.items())


def _record(name: str, number: int, value: bytes) -> bytes:
    """Return a group or a parameter: its name, how far the next one is, its value, and a description of no length."""
    return struct.pack("<Bb", len(name), number) + name.encode() + struct.pack("<H", 2 + len(value) + 1) + value + b"\0"


def _value(value: Value) -> bytes:
    """Return type, number of dimensions, dimensions and values."""
    match value:
        case int():
            return struct.pack("<bBH", 2, 0, value)
        case float():
            return struct.pack("<bBf", 4, 0, value)
        case bytes():
            return struct.pack("<bBB", -1, 1, len(value)) + value
        case tuple():
            return struct.pack("<bBB2H", 2, 1, 2, *value)
    width = max(map(len, value))
    return struct.pack("<bBBB", -1, 2, width, len(value)) + b"".join(text.ljust(width) for text in value)


def _whole(data: bytes) -> bytes:
    """Return `data` with zeros up to a whole block."""
    return data + bytes(-len(data) % BLOCK)
