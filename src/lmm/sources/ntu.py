"""NTU RGB+D ``.skeleton`` files: Kinect V2 joints of up to several people, 30 frames per second.

Text: the number of frames; for each frame the number of bodies; for each body a line of ten numbers (its id first), the
number of joints (25), and a line a joint: x y z, depthX depthY, colorX colorY, orientation w x y z, tracking state.
Written from the specification (A. Shahroudy et al., "NTU RGB+D: A Large Scale Dataset for 3D Human Activity Analysis",
CVPR 2016, and the MATLAB reader published with it), which also gives the rate; not tried on the original files.

Axes and confidence are as in `lmm.sources.kinect`: state 2 (tracked) has confidence 1, 1 (inferred) 0.5, 0 is missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import MAX_FRAMES, Motion, make_motion
from lmm.skeletons import table
from lmm.sources.files import Input, is_text
from lmm.sources.kinect import TO_WORLD
from lmm.sources.reading import Options, source

FPS = 30.0
JOINTS = 25
BODY_NUMBERS = 10
JOINT_NUMBERS = 12
STATES = np.array([0.0, 0.5, 1.0])
MAX_BODIES = 100
LICENCE = "NTU RGB+D (ROSE Lab, Nanyang Technological University): academic research only, by agreement"


def sniff(given: Input) -> bool:
    """True if the head follows the layout as far as the first joint of the first body."""
    head = given.head
    if not is_text(head) or not re.match(rb"\s*\d{1,7}\s*\n\s*\d{1,3}\s*\n", head):
        return False
    lines = [line.split() for line in head.decode("utf-8", "replace").splitlines() if line.strip()]
    first = next((i for i, words in enumerate(lines[1:], start=1) if words != ["0"]), len(lines))
    shape = [len(words) for words in lines[first : first + 4]]
    return shape == [1, BODY_NUMBERS, 1, JOINT_NUMBERS] and lines[first + 2] == [str(JOINTS)]


@source(
    "ntu-rgbd",
    "NTU RGB+D skeleton",
    sniff,
    extensions=(".skeleton",),
    tried=False,
    note="30 frames per second by the data set's specification",
    settles=("source_fps",),
)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    bodies = _parse(given.text(), path)
    fps = options.rate(path, FPS)
    skeleton = table("kinect_v2").skeleton
    motions = []
    for body, seen in bodies.items():
        first, last = min(seen), max(seen)
        if last - first > 1000 + 100 * len(seen):
            raise InputError(
                path, f"body {body} is in {len(seen)} of {last - first + 1} frames only", "Copy the file again"
            )
        rows = np.zeros((last - first + 1, JOINTS, 4))
        for frame, values in seen.items():
            rows[frame - first] = values
        confidence = np.where((rows[..., :3] == 0).all(axis=-1), 0, rows[..., 3])
        meta = {"person": body, **_told_by_name(path)}
        motions.append(
            make_motion(rows[..., :3] * TO_WORLD, fps, skeleton, "world", confidence, start_s=first / fps, meta=meta)
        )
    return motions


def _parse(text: str, path: Path) -> dict[str, dict[int, NDArray[Any]]]:
    """Return body id → frame → (25, 4) x, y, z, confidence, in the order in which bodies appear."""
    lines = _lines(text, path)
    frames = _count(lines, "frames", MAX_FRAMES, path)
    bodies: dict[str, dict[int, NDArray[Any]]] = {}
    for frame in range(frames):
        for _ in range(_count(lines, "bodies", MAX_BODIES, path)):
            _, words = next(lines)
            number = _count(lines, "joints", JOINTS, path)
            if len(words) != BODY_NUMBERS or number != JOINTS:
                raise InputError(
                    path,
                    f"frame {frame} has a body of {len(words)} numbers and {number} joints",
                    f"{BODY_NUMBERS} and {JOINTS} are expected: copy the file again",
                )
            values = np.stack([_joint(lines, path) for _ in range(JOINTS)])
            body = bodies.setdefault(words[0], {})
            if len(bodies) > MAX_BODIES:
                raise InputError(path, f"has over {MAX_BODIES} bodies", "Copy the file again")
            body.setdefault(frame, values)
    return bodies


def _lines(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield number, line.split()
    raise InputError(path, "ends before the frames that it announces", "The file is cut: copy it again")


def _count(lines: Iterator[tuple[int, list[str]]], what: str, limit: int, path: Path) -> int:
    number, words = next(lines)
    if len(words) != 1 or not re.fullmatch(r"\d{1,7}", words[0]) or int(words[0]) > limit:
        raise InputError(
            path,
            f"line {number}: a number of {what} up to {limit} was expected, not {' '.join(words)[:40]!r}",
            "Copy the file again",
        )
    return int(words[0])


def _joint(lines: Iterator[tuple[int, list[str]]], path: Path) -> NDArray[Any]:
    number, words = next(lines)
    try:
        x, y, z, *_, state = (float(w) for w in words)
        if len(words) != JOINT_NUMBERS or state not in (0, 1, 2) or not np.isfinite([x, y, z]).all():
            raise ValueError(f"{JOINT_NUMBERS} finite numbers, the last 0, 1 or 2, were expected")
    except ValueError as e:
        raise InputError(path, f"line {number} is no joint ({e})", "Copy the file again") from None
    return np.array([x, y, z, STATES[int(state)]])


def _told_by_name(path: Path) -> dict[str, Any]:
    """Read setup, camera, performer, replication and action from ``S001C002P003R002A013``."""
    match = re.match(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})", path.name, re.I)
    if not match:
        return {"licence": LICENCE}
    setup, camera, performer, replication, action = (int(g) for g in match.groups())
    return {
        "subject": f"ntu_{performer:03d}",
        "trial": match[0],
        "camera": f"{camera}",
        "licence": LICENCE,
        "labels": {"setup": setup, "replication": replication, "action": action},
    }
