"""A collection of joint positions: npz files with one array a clip, `skeleton.json` and `index.jsonl` beside them.

skeleton.json: joints, parents, scale_m_per_unit, fps, and axes where stated. index.jsonl: a row a clip with `clip` or
`trial`, frames, fps, and what is known of it. The CMU and Bandai Namco folders are of this form.
"""

from __future__ import annotations

import json
import operator
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import Motion, make_motion
from lmm.sources import cmu
from lmm.sources.files import Input, decode
from lmm.sources.labels import HIERARCHIES, labelled_skeleton, turn_y_up
from lmm.sources.npz import NpzFile
from lmm.sources.reading import Options, source

BANDAI_LICENCE = "CC BY-NC 4.0, Bandai Namco Research Inc. (Kobayashi et al. 2023): non-commercial, attribution"
MAX_SKELETON, MAX_INDEX = 1 << 24, 1 << 26  # bytes


def sniff(given: Input) -> bool:
    return given.kind == "folder" and {"skeleton.json", "index.jsonl"} <= set(given.names)


def items(given: Input) -> list[str]:
    return list(_open(given.path).rows)


@source("collection", "npz collection with skeleton.json and index.jsonl", sniff, items=items)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    folder = _open(given.path)
    if item is None:
        names = list(folder.rows)
        if len(names) != 1:
            raise InputError(
                given.path, f"holds {len(names)} clips: {', '.join(names[:8])} ...", "Choose one with --person"
            )
        item = names[0]
    if item not in folder.rows:
        raise InputError(given.path, f"has no clip {item!r}", "See index.jsonl")
    row = folder.rows[item]
    positions = folder.positions(item)
    keep = folder.joints_with_length(positions)
    joints = [folder.joints[j] for j in keep]
    parents = tuple(keep.index(folder.parents[j]) if folder.parents[j] in keep else -1 for j in keep)
    skeleton, table = labelled_skeleton("collection", joints, parents, HIERARCHIES, given.path)
    unit = options.units or folder.unit_m
    if unit is None:
        raise InputError(given.path, "skeleton.json states no scale_m_per_unit", "Give --units")
    metres = positions[:, keep] * unit
    metres, how = turn_y_up(metres, skeleton.joints, table, options.up, folder.stated_up, given.path)
    fps = options.rate(given.path, _number(row.get("fps")) or _number(folder.fps))
    meta: dict[str, Any] = {"person": item, "trial": item, "up": how}
    if "subject" in row:
        meta["subject"] = f"{given.path.resolve().name}_{row['subject']}"
    if row.get("description"):
        meta["captions"] = [str(row["description"])]
    meta["labels"] = {k: row[k] for k in ("content", "style", "dataset", "retargeted") if k in row}
    if "style" in row and "content" in row:
        meta["licence"] = BANDAI_LICENCE
        meta["subject"] = f"{given.path.resolve().name}_{row['content']}_{row['style']}"  # the actors are not named
    elif "trial" in row:
        meta |= {"licence": cmu.LICENCE, **cmu.subject_of(item)}
    return [make_motion(metres, fps, skeleton, "world", meta=meta)]


class _Collection:
    def __init__(self, path: Path) -> None:
        given = Input(path)
        self.path = path
        try:
            skeleton = json.loads(decode(given.member("skeleton.json", MAX_SKELETON), path / "skeleton.json"))
            self.joints = [str(j) for j in skeleton["joints"]]
            self.parents = [operator.index(p) for p in skeleton["parents"]]
            self.unit_m, self.fps = skeleton.get("scale_m_per_unit"), skeleton.get("fps")
            axes = str(skeleton.get("axes", "")).lower()
            lines = decode(given.member("index.jsonl", MAX_INDEX), path / "index.jsonl").split("\n")
            rows = [json.loads(line) for line in lines if line.strip()]
            self.rows = {str(r.get("clip", r.get("trial"))): r for r in rows}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise InputError(
                path, f"skeleton.json or index.jsonl cannot be read ({e})", "They must be as docs/formats.md describes"
            ) from None
        if (
            len(self.joints) != len(self.parents)
            or not self.joints
            or not all(-1 <= p < len(self.joints) for p in self.parents)
        ):
            raise InputError(
                path, "skeleton.json has not one parent among its joints (or -1) for each joint", "Correct it"
            )
        if self.unit_m is not None and (_number(self.unit_m) or 0) <= 0:
            raise InputError(
                path, f"skeleton.json states an impossible scale {self.unit_m!r}", "Correct scale_m_per_unit"
            )
        shards = [NpzFile(path / n) for n in given.names if n.endswith(".npz")]
        self._where = {name: shard for shard in shards for name in shard.names}
        self.stated_up = axes[0] if axes[:4] in ("y up", "z up") else None
        if self.stated_up is None and self.rows:
            self.stated_up = self._judged_up()

    def positions(self, item: str) -> NDArray[Any]:
        if item not in self._where:
            raise InputError(self.path, f"index.jsonl names {item!r}, which no npz file holds", "Correct the index")
        p = self._where[item][item]
        if p.ndim != 3 or p.shape[1:] != (len(self.joints), 3) or not len(p) or p.dtype.kind not in "fiu":
            raise InputError(
                self.path,
                f"array {item!r} is {p.dtype} {p.shape}, expected numbers (frames, {len(self.joints)}, 3)",
                "Save it again",
            )
        stated = self.rows[item].get("frames")
        if stated is not None and stated != len(p):
            raise InputError(
                self.path, f"array {item!r} has {len(p)} frames, index.jsonl says {stated}", "Correct the index"
            )
        with np.errstate(all="ignore"):  # what is no number is told by Motion
            return p.astype(np.float64)

    def joints_with_length(self, positions: NDArray[Any]) -> list[int]:
        """Leaf joints that always lie on their parent (end nodes without length) carry no place of their own."""
        leaves = set(range(len(self.joints))) - set(self.parents)
        return [
            j
            for j, p in enumerate(self.parents)
            if not (j in leaves and p >= 0 and np.array_equal(positions[:, j], positions[:, p]))
        ]

    def _judged_up(self) -> str | None:
        """Judge the vertical once for the whole collection, on its first clip."""
        first = self.positions(next(iter(self.rows)))
        skeleton, table = labelled_skeleton("collection", self.joints, tuple(self.parents), HIERARCHIES, self.path)
        _, how = turn_y_up(first, skeleton.joints, table, None, None, self.path)
        return how.split(" ", 1)[0]


def _number(value: object) -> float | None:
    return (
        float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9 else None
    )


@lru_cache(maxsize=4)
def _opened(path: Path, _changed: tuple[int, ...], _process: int) -> _Collection:
    """Keep a collection's files open, one set a process: a forked child would share the parent's file offsets."""
    return _Collection(path)


def _open(path: Path) -> _Collection:
    return _opened(path, tuple(p.lstat().st_mtime_ns for p in sorted(path.iterdir())), os.getpid())
