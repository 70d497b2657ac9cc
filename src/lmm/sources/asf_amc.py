"""Acclaim skeleton (ASF) and motion (AMC). The ASF lies beside: `07.asf` for `07_01.amc`, or the only one there.

A joint is named by the bone that *ends* in it. Each bone's rotation lives in its own axes: with C from ``axis`` and M
from the motion's degrees, the bone turns by C M C⁻¹ under its parent, and its end lies at direction x length.
Format: Acclaim; J. Lander, "Working with Motion Capture File Formats", Game Developer 1998.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.geometry import euler_rotation, forward_kinematics
from lmm.core.motion import MAX_FRAMES, Motion, make_motion
from lmm.sources import cmu
from lmm.sources.files import Input, is_text
from lmm.sources.labels import labelled_skeleton, turn_y_up
from lmm.sources.numbers import MAX_NUMBER, bounded
from lmm.sources.reading import Options, source

MAX_BONES = 1_000


@dataclass
class Bone:
    """A segment of the skeleton: direction and length in file units, axes (radians) and order of its own rotation."""

    name: str
    direction: NDArray[Any] = field(default_factory=lambda: np.zeros(3))
    length: float = 0.0
    axis: NDArray[Any] = field(default_factory=lambda: np.zeros(3))
    axis_order: str = "xyz"
    dof: tuple[str, ...] = ()
    parent: int = -1


def sniff(given: Input) -> bool:
    return (
        given.kind == "file"
        and is_text(given.head)
        and re.search(rb"^:(FULLY-SPECIFIED|DEGREES|RADIANS)\b", given.head[:4000], re.M) is not None
        and b":bonedata" not in given.head
    )


def companions(path: Path) -> list[Path]:
    found = _asf_path(path)
    return [found] if found else []


@source("amc", "Acclaim ASF/AMC", sniff, extensions=(".amc",), companions=companions)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    asf = _asf_path(path)
    if asf is None:
        raise InputError(path, "has no skeleton at hand", "Put its ASF file beside it (07.asf for 07_01.amc)")
    bones, unit_m, degrees = parse_asf(Input(asf).text(), asf)
    values, in_degrees = parse_amc(given.text(), bones, degrees, path)
    fps = options.rate(path, None, "AMC files do not state their frame rate")
    positions = joint_positions(bones, values, in_degrees)
    skeleton, table = labelled_skeleton("asf", [b.name for b in bones], tuple(b.parent for b in bones), ("asf",), path)
    positions, how = turn_y_up(positions, skeleton.joints, table, options.up, None, path)
    unit = options.units or unit_m
    if unit is None:
        raise InputError(asf, "does not state its unit of length", "Give --units")
    meta: dict[str, Any] = {"up": how, "unit_m": unit}
    if "lhipjoint" in skeleton.index and unit_m == cmu.ASF_UNIT_M:
        meta |= {"licence": cmu.LICENCE, **cmu.subject_of(path.name)}
    return [make_motion(positions * unit, fps, skeleton, "world", meta=meta)]


def parse_asf(text: str, path: Path) -> tuple[list[Bone], float | None, bool]:
    """Return the bones (root first, parents before children), metres a unit where stated, and whether in degrees."""
    sections: dict[str, list[list[str]]] = {}
    current = ""
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if words and words[0].startswith(":"):
            current = words[0].lower()
            sections.setdefault(current, []).extend([words[1:]] if words[1:] else [])
        elif words:
            sections.setdefault(current, []).append(words)
    try:
        units = {w[0].lower(): w[1] for w in sections.get(":units", []) if len(w) > 1}
        root = Bone("root", dof=("tx", "ty", "tz", "rx", "ry", "rz"))
        for words in sections[":root"]:
            key = words[0].lower()
            if key == "order":
                root.dof = tuple(w.lower() for w in words[1:])
            elif key == "axis":
                root.axis_order = words[1].lower()
            elif key == "orientation":
                root.axis = np.array([float(w) for w in words[1:4]])
        bones = {"root": root}
        bone: Bone | None = None
        for words in sections[":bonedata"]:
            key = words[0].lower()
            if key == "begin":
                bone = Bone("")
            elif key == "end" and bone is not None:
                if not bone.name or bone.name in bones or len(bones) > MAX_BONES:
                    raise ValueError(f"a bone without a name of its own: {bone.name!r}")
                bones[bone.name], bone = bone, None
            elif bone is None:
                raise ValueError(f"{words[0]!r} outside of a bone")
            elif key == "name":
                bone.name = words[1]
            elif key == "direction":
                bone.direction = np.array([float(w) for w in words[1:4]])
            elif key == "length":
                bone.length = float(words[1])
            elif key == "axis":
                bone.axis = np.array([float(w) for w in words[1:4]])
                bone.axis_order = words[4].lower()
            elif key == "dof":
                bone.dof = tuple(w.lower() for w in words[1:])
        order = ["root"]
        for words in sections[":hierarchy"]:
            if words[0].lower() in ("begin", "end"):
                continue
            for child in words[1:]:
                if child in order or words[0] not in order:
                    raise ValueError(f"the hierarchy names {child!r} twice, or before its parent")
                bones[child].parent = order.index(words[0])
                order.append(child)
        listed = [bones[n] for n in order]
        for b in listed:
            if b.direction.shape != (3,) or b.axis.shape != (3,) or sorted(b.axis_order) != ["x", "y", "z"]:
                raise ValueError(f"bone {b.name}: direction and axis need three numbers and an order such as XYZ")
            if not (np.abs([*b.direction, *b.axis, b.length]) < MAX_NUMBER).all() or any(
                d not in ("tx", "ty", "tz", "rx", "ry", "rz") for d in b.dof
            ):
                raise ValueError(f"bone {b.name}: a number is not finite or huge, or a dof is not one of rx ry rz")
        degrees = not units.get("angle", "deg").lower().startswith("rad")
        for b in listed:
            b.axis = np.deg2rad(b.axis) if degrees else b.axis
        scale = float(units["length"]) if "length" in units else None
        if scale is not None and not 1e-6 < scale < 1e6:
            raise ValueError(f"the unit of length is {scale}")
    except (KeyError, ValueError, IndexError) as e:
        raise InputError(path, f"is not a readable ASF skeleton ({e})", "Export it again") from None
    return listed, 0.0254 / scale if scale else None, degrees


def parse_amc(text: str, bones: list[Bone], degrees: bool, path: Path) -> tuple[NDArray[Any], bool]:
    """Return (T, degrees of freedom) in the order of `bones` and their dof, and whether angles are in degrees."""
    width = {b.name: len(b.dof) for b in bones}
    start = dict(zip(width, np.cumsum([0, *list(width.values())[:-1]]).tolist(), strict=True))
    total = sum(width.values())
    rows: list[list[float]] = []
    row: list[float] = []
    seen = 0
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0][0] in "#:":
            if words and words[0].upper() == ":RADIANS":
                degrees = False
            continue
        if len(words) == 1 and words[0].isdecimal():
            if rows and seen != total:
                raise InputError(
                    path,
                    f"frame {len(rows)} (before line {number}) lacks bones",
                    "The file is cut or damaged: export it again",
                )
            if len(rows) >= MAX_FRAMES:
                raise InputError(path, f"has more than {MAX_FRAMES} frames", "Split it")
            row, seen = [0.0] * total, 0
            rows.append(row)
            continue
        try:
            at, n = start[words[0]], width[words[0]]
            if len(words) != n + 1 or not rows:
                raise ValueError(f"{len(words) - 1} numbers, {n} were expected")
            row[at : at + n] = map(float, words[1:])
            seen += n
        except (KeyError, ValueError) as e:
            what = f"unknown bone {words[0]!r}" if isinstance(e, KeyError) else str(e)
            raise InputError(
                path, f"line {number}: {what}", "The file is damaged, or its ASF is of another actor"
            ) from None
    if not rows or seen != total:
        raise InputError(path, "has no frames, or the last one lacks bones", "The file is cut: export it again")
    values = np.array(rows)
    bounded(values, "a channel value", path)
    return values, degrees


def joint_positions(bones: list[Bone], values: NDArray[Any], degrees: bool) -> NDArray[Any]:
    """Return the end of each bone, (T, bones, 3), in file units; the first is the root itself."""
    frames = len(values)
    rotations = np.empty((frames, len(bones), 3, 3))
    root = np.zeros((frames, 3))
    at = 0
    for j, bone in enumerate(bones):
        # ASF orders are about fixed axes, the first named applied first: the matrices multiply in reverse
        own = euler_rotation(bone.axis_order[::-1], bone.axis[::-1])
        order = ""
        columns: list[int] = []
        for i, name in enumerate(bone.dof):
            if name[0] == "r":
                order, columns = name[1] + order, [at + i, *columns]
            else:
                root[:, "xyz".index(name[1])] = values[:, at + i]
        angles = values[:, columns]
        rotations[:, j] = own @ euler_rotation(order, np.deg2rad(angles) if degrees else angles) @ own.T
        at += len(bone.dof)
    # the rotation of a bone moves its own end: shift rotations one down by turning each bone's offset by itself
    offsets = np.einsum("tjab,jb->tja", rotations, np.array([b.direction * b.length for b in bones]))
    return forward_kinematics(tuple(b.parent for b in bones), rotations, offsets, root)


def _asf_path(path: Path) -> Path | None:
    beside = sorted(p for p in path.parent.iterdir() if p.suffix.lower() == ".asf" and p.is_file())
    stem = path.name.split(".")[0]
    named = [p for p in beside if stem == p.stem or stem.split("_")[0] == p.stem]
    return named[0] if named else beside[0] if len(beside) == 1 else None
