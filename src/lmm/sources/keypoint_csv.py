"""Keypoints in CSV tables, a row a frame: the one that OpenPoseR makes, and the one that lmm writes.

OpenPoseR (P. Trettenbrein and E. Zaccarella, Frontiers in Psychology 12, 628728, 2021): columns ``x0,y0,c0,x1,...`` of
25 (BODY_25), 18 (COCO) or 17 (COCO-17) points, in pixels, without a frame rate. lmm (`lmm.exports.csv`): ``time_s`` and
``<joint>_x, <joint>_y[, <joint>_z], <joint>_confidence``; two coordinates are pixels, three are lengths whose unit and
vertical the user gives. An empty cell, NA or NaN is a missing value.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np

from lmm.core.errors import InputError
from lmm.core.geometry import y_up_from
from lmm.core.motion import MAX_JOINTS, Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.skeletons import table, table_names
from lmm.sources.files import Input, is_text
from lmm.sources.labels import labelled_skeleton
from lmm.sources.numbers import parse_block
from lmm.sources.reading import Options, source

BY_POINTS = {25: "body_25", 18: "coco_18", 17: "coco_17"}
UNEVEN = 1e-4  # time steps that differ by more than this share of the median are an irregular clock
_MISSING = re.compile(r"(?<=,)(?:[ \t]*|NA)(?=,|$)|^(?:NA)?(?=,)", re.M | re.I)


def sniff(given: Input) -> bool:
    if given.kind != "file" or not is_text(given.head):
        return False
    names = _columns(given.head.decode("utf-8-sig", "replace"))
    return names[:3] == ["x0", "y0", "c0"] or (names[:1] == ["time_s"] and names[1:2] != [] and names[1].endswith("_x"))


@source("keypoint-csv", "CSV of keypoints (OpenPoseR, lmm)", sniff, extensions=(".csv",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path, text = given.path, given.text()
    names = _columns(text)
    if not 3 <= len(names) <= 4 * MAX_JOINTS + 1:
        raise InputError(path, f"has {len(names)} columns", "Expected x0,y0,c0,x1,... or time_s,<joint>_x,...")
    body = text.partition("\n")[2].replace("\r", "").replace('"', "").replace(";", ",")
    values = parse_block(_MISSING.sub("nan", body), len(names), path, first_line=2, separator=",")
    if not len(values):
        raise InputError(path, "has a header and no rows", "Export it again")
    return [_openposer(names, values, options, path) if names[0] == "x0" else _lmm(names, values, options, path)]


def _openposer(names: list[str], values: np.ndarray, options: Options, path: Path) -> Motion:
    points = len(names) // 3
    if names != [f"{k}{i}" for i in range(points) for k in "xyc"] or points not in BY_POINTS:
        raise InputError(
            path, "has columns other than x, y and c of 25, 18 or 17 points", "Expected x0,y0,c0,...,x24,y24,c24"
        )
    fps = options.rate(path, None, "a table of keypoints does not state its frame rate")
    xyc = values.reshape(-1, points, 3)
    missing = np.isnan(xyc).any(axis=-1) | (xyc[..., :2] == 0).all(axis=-1)
    return make_motion(
        xyc[..., :2], fps, table(BY_POINTS[points]).skeleton, "image", np.where(missing, 0, np.clip(xyc[..., 2], 0, 1))
    )


def _lmm(names: list[str], values: np.ndarray, options: Options, path: Path) -> Motion:
    parts = ["x", "y", "z", "confidence"] if any(n.endswith("_z") for n in names) else ["x", "y", "confidence"]
    joints = [n.removesuffix("_x") for n in names[1 :: len(parts)]]
    if names != ["time_s", *(f"{j}_{p}" for j in joints for p in parts)] or len(set(joints)) != len(joints):
        raise InputError(path, f"has other columns than time_s and {', '.join(parts)} of each joint", "Export it again")
    times = values[:, 0]
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InputError(path, "has a column time_s that does not increase", "Correct it, or export it again")
    steps = np.diff(times)
    step = float(np.median(steps)) if len(steps) else None
    even = step is None or bool((np.abs(steps - step) <= UNEVEN * step).all())
    if step and even:
        step = float(times[-1] - times[0]) / len(steps)
    fps = options.rate(path, float(f"{1 / step:.9g}") if step else None, "holds one frame, which shows no rate")
    known = [n for n in table_names() if table(n).joints == tuple(joints)]
    skeleton: Skeleton = (
        table(known[0]).skeleton
        if known
        else labelled_skeleton(path.stem, joints, (-1,) * len(joints), ("keypoints", "mocap", "bandai"), path)[0]
    )
    rows = values[:, 1:].reshape(len(values), len(joints), len(parts))
    positions, confidence = rows[..., :-1], np.nan_to_num(rows[..., -1])
    if len(parts) == 4:
        if options.units is None or options.up is None:
            wanted = [
                o
                for o, v in (("--units (lmm writes m)", options.units), ("--up (lmm writes y)", options.up))
                if v is None
            ]
            raise InputError(path, "does not state its unit and vertical axis", f"Give {' and '.join(wanted)}")
        positions = y_up_from(options.up, positions) * options.units
    clock = None if even or options.source_fps else times
    return make_motion(
        positions,
        fps,
        skeleton,
        "world" if len(parts) == 4 else "image",
        confidence,
        times=clock,
        start_s=float(times[0]),
    )


def _columns(text: str) -> list[str]:
    line = text.partition("\n")[0].strip()
    try:
        return [c.strip() for c in next(csv.reader([line.replace(";", ",")]), [])]
    except csv.Error:
        return []
