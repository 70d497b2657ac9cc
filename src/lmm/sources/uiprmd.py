"""UI-PRMD repetitions: Vicon markers (117 columns) and Kinect joints (66 columns, with their angles file).

Vicon: 39 Plug-in-Gait markers, millimetres, z up, 100 Hz, gaps written 0,0,0. Kinect: 22 joints, centimetres, 30 Hz;
the first triplet is the root's place, every other the offset in its parent's frame, to be chained with the Euler angles
of the angles file: L = Rz Rx Ry, established on the data itself (its README), +x the subject's left, +z to the camera.
A. Vakanski et al., Data 2018, 3(1), 2.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.geometry import euler_rotation, forward_kinematics, y_up_from
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton, left_right_pairs
from lmm.skeletons import table
from lmm.sources.files import Input, is_text
from lmm.sources.numbers import parse_block
from lmm.sources.reading import Options, source

MARKERS = (
    "LFHD RFHD LBHD RBHD C7 T10 CLAV STRN RBAK LSHO LUPA LELB LFRM LWRA LWRB LFIN RSHO RUPA RELB RFRM RWRA RWRB RFIN "
    "LASI RASI LPSI RPSI LTHI LKNE LTIB LANK LHEE LTOE RTHI RKNE RTIB RANK RHEE RTOE"
).split()
MOVEMENTS = (
    "deep squat, hurdle step, inline lunge, side lunge, sit to stand, standing active straight leg raise, "
    "standing shoulder abduction, standing shoulder extension, standing shoulder internal-external rotation, "
    "standing shoulder scaption"
).split(", ")
_NAME = re.compile(r"m(\d\d)_s(\d\d)_e(\d\d)_(positions|angles)(_inc)?\.txt(\.gz)?$", re.I)
LICENCE = "PDDL 1.0; cite Vakanski et al., Data 2018, 3(1), 2"


def _columns(given: Input) -> int:
    line = given.head.split(b"\n", 1)[0]
    return line.count(b",") + 1


def sniff(given: Input) -> bool:
    head = given.head
    return (
        given.kind == "file"
        and is_text(head)
        and re.match(rb"^[-+0-9.eE,\s]+$", head[:2000]) is not None
        and _columns(given) in (66, 117)
        and "_positions" in given.name
        and _NAME.search(given.path.name) is not None
    )


def companions(path: Path) -> list[Path]:
    """The angles file of a Kinect positions file."""
    other = _angles_path(path)
    return [other] if other is not None else []


@source("uiprmd", "UI-PRMD text (Vicon markers or Kinect joints)", sniff, companions=companions)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    columns = _columns(given)
    if columns == 117:
        values = _table(given, 117).reshape(-1, 39, 3)
        values[(values == 0).all(axis=-1)] = np.nan
        positions = y_up_from(options.up or "z", values) * (options.units or 0.001)
        skeleton = Skeleton("uiprmd_vicon", tuple(MARKERS), (-1,) * 39, left_right_pairs(MARKERS), "markers")
        fps = options.rate(given.path, 100.0)
    elif columns == 66:
        positions = _kinect(given) * (options.units or 0.01)
        skeleton = table("uiprmd_kinect").skeleton
        fps = options.rate(given.path, 30.0)
    else:
        raise InputError(
            given.path, f"has {columns} columns; UI-PRMD files have 66 (Kinect) or 117 (Vicon)", "Check the file"
        )
    return [make_motion(positions, fps, skeleton, "world", meta=_meta(given.path))]


def _kinect(given: Input) -> NDArray[Any]:
    angles_path = _angles_path(given.path)
    if angles_path is None:
        raise InputError(
            given.path,
            "has relative positions, and its angles file is not at hand",
            "Put it beside, named like this file with 'angles' for 'positions'",
        )
    offsets = _table(given, 66).reshape(-1, 22, 3)
    angles = _table(Input(angles_path), 66).reshape(-1, 22, 3)
    if len(angles) != len(offsets):
        raise InputError(
            given.path, f"has {len(offsets)} frames, its angles file {len(angles)}", "They must be of one recording"
        )
    rotations = euler_rotation("zxy", np.deg2rad(angles[..., [2, 0, 1]]))
    return forward_kinematics(table("uiprmd_kinect").skeleton.parents, rotations, offsets, offsets[:, 0])


def _table(given: Input, columns: int) -> NDArray[Any]:
    values = parse_block(given.text(), columns, given.path, separator=",")
    if not len(values) or not np.isfinite(values).all() or np.abs(values).max() > 1e6:
        raise InputError(
            given.path,
            "has no rows, or numbers that are not finite or absurdly large",
            "The file is damaged: copy it again",
        )
    return values


def _angles_path(path: Path) -> Path | None:
    if "positions" not in path.name:
        return None
    name = path.name.replace("positions", "angles")
    found = [p for p in (path.with_name(name), path.parent.parent / "angles" / name) if p.is_file()]
    return found[0] if found and "vicon" not in path.parts[-3:-1] else None


def _meta(path: Path) -> dict[str, Any]:
    match = _NAME.match(path.name)
    if not match:
        return {"licence": LICENCE}
    movement = int(match[1])
    correct = not match[5] and "incorrect" not in path.parts
    labels: dict[str, Any] = {"movement": match[1], "repetition": match[3], "correct": correct}
    meta: dict[str, Any] = {
        "subject": f"uiprmd_s{match[2]}",
        "trial": path.name.split(".")[0].replace("_positions", ""),
        "licence": LICENCE,
        "labels": labels,
    }
    if 1 <= movement <= 10:
        meta["captions"] = [MOVEMENTS[movement - 1] + ("" if correct else ", done incorrectly")]
    return meta
