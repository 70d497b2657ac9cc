"""C3D (www.c3d.org, "The C3D File Format User Guide"): markers and model outputs of optical motion capture.

Read here and not through ezc3d: only the points are wanted, and ezc3d makes an object of every analog sample (5 to 13
times slower on the files tried) and crashes on damaged files, since it indexes by the counts that they state. All sizes
are checked against the length of the file before anything is made of them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import MAX_FRAMES, MAX_JOINTS, Motion, make_motion
from lmm.skeletons import best_table
from lmm.sources.files import Input
from lmm.sources.labels import POINTS, labelled_skeleton, turn_y_up
from lmm.sources.reading import Options, source, stated_unit

BLOCK = 512
MAX_PARAMETERS = 1 << 22  # bytes; the format itself counts to 128 KiB
MAX_POINTS = 50_000_000  # in all frames: 1.6 GB as float64
_OUTPUT = re.compile(r"(angles?|angular\w*|powers?|forces?|moments?|torques?|grf|scalars?)$", re.I)
_PREFIXED = re.compile(r"([^:]*):(.*)")


@dataclass(frozen=True)
class Header:
    """What the file says about itself, checked against its length.

    processor   84 Intel, 85 DEC, 86 SGI: the order of bytes
    points      points a frame, of four words each, followed by `analog` words
    begin       where the data begin, bytes
    scale       file units of one integer step; negative where the data are floats
    parameters  (GROUP, NAME) → values, flat in file order
    """

    processor: int
    points: int
    analog: int
    frames: int
    begin: int
    scale: float
    first_frame: int
    rate: float
    parameters: dict[tuple[str, str], list[Any]]

    def strings(self, group: str, name: str) -> list[str]:
        return [v for v in self.parameters.get((group, name), []) if isinstance(v, str)]

    def all_strings(self, group: str, name: str) -> list[str]:
        """Values of NAME, NAME2, NAME3 ..., as files with more than 255 points split them."""
        out, k = self.strings(group, name), 2
        while (group, f"{name}{k}") in self.parameters:
            out, k = out + self.strings(group, f"{name}{k}"), k + 1
        return out


def sniff(given: Input) -> bool:
    head = given.head[:BLOCK]
    return len(head) == BLOCK and head[0] >= 2 and head[1] == 0x50 and not head.startswith(b"\x89PNG")


@source("c3d", "C3D", sniff, extensions=(".c3d",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    data = given.data()
    header = parse_header(data, path)
    keep, labels = _positions(header)
    unit = options.units or stated_unit(" ".join(header.strings("POINT", "UNITS")), path)
    points = read_points(data, header)[:, keep]
    rate = options.rate(path, header.rate if 0 < header.rate <= 100_000 else None)
    motions = []
    notes = []
    people, dropped = _people(labels)
    if dropped:
        notes.append(f"points that are no body markers were dropped: {', '.join(dropped)}")
    for subject, members in people.items():
        names = [_PREFIXED.sub(r"\2", labels[j]) for j in members]
        skeleton, table = labelled_skeleton("markers", names, (-1,) * len(names), POINTS, path)
        turned, how = turn_y_up(points[:, members], skeleton.joints, table, options.up, _stated_up(header), path)
        meta: dict[str, Any] = {"up": how, "unit_m": unit, "notes": notes}
        if subject:
            meta |= {"subject": f"{path.resolve().parent.name}_{subject}"} | (
                {"person": subject} if len(people) > 1 else {}
            )
        start = max(header.first_frame - 1, 0) / rate
        motions.append(make_motion(turned * unit, rate, skeleton, "world", start_s=start, meta=meta))
    return motions


def read_points(data: bytes, header: Header) -> NDArray[Any]:
    """Return all points, float64 (T, N, 3) in file units, NaN in gaps (a negative residual, or exactly 0, 0, 0)."""
    words = header.points * 4 + header.analog
    size = 4 if header.scale < 0 else 2
    raw = np.frombuffer(data, np.uint8, header.frames * words * size, header.begin).reshape(header.frames, -1)
    raw = np.ascontiguousarray(raw[:, : header.points * 4 * size])
    if size == 4:
        values = _floats(raw, header.processor).astype(np.float64)
    else:
        values = raw.view(_order(header.processor) + "i2").astype(np.float64)
    values = values.reshape(header.frames, header.points, 4)
    points = values[..., :3] if size == 4 else values[..., :3] * header.scale
    gap = (values[..., 3] < 0) | (points == 0).all(axis=2) | ~np.isfinite(points).all(axis=2)
    points[gap] = np.nan
    return points


def parse_header(data: bytes, path: Path) -> Header:
    """Check header and parameters against the length of the file.

    Raises InputError that says what is missing or impossible.
    """

    def fail(problem: str, remedy: str = "The file is cut or damaged: export it again") -> InputError:
        return InputError(path, problem, remedy)

    if len(data) < 2 * BLOCK or data[1] != 0x50:
        raise fail("is too short for a C3D file, or is none")
    start = (data[0] - 1) * BLOCK
    if data[0] < 2 or start + 4 > len(data):
        raise fail("points to parameters beyond its end")
    processor = data[start + 3]
    if processor not in (84, 85, 86):
        raise fail(f"has an unknown processor type {processor}")
    parameters = _parameters(data, start, processor, fail)

    def number(name: str, default: float) -> float:
        values = parameters.get(("POINT", name), [])
        return default if not values or isinstance(values[0], str) else float(values[0])

    order = _order(processor)
    points, analog, first, last = struct.unpack_from(order + "4H", data, 2)
    (block,) = struct.unpack_from(order + "H", data, 16)
    scale = number("SCALE", float(_floats(data[12:16], processor)[0]))
    rate = number("RATE", float(_floats(data[20:24], processor)[0]))
    used = number("USED", points)
    if used % 65536 != points:
        raise fail(f"says {points} points in its header and {used:g} in its parameters")
    if not points:
        raise fail("holds no points (only analog channels)", "Give a recording with markers")
    if points > MAX_JOINTS:
        raise fail(f"claims {points} points", f"At most {MAX_JOINTS} can be read")
    if not (np.isfinite(scale) and scale != 0):
        raise fail("has no usable POINT:SCALE")
    begin = (block - 1) * BLOCK
    room = (len(data) - begin) // ((points * 4 + analog) * (4 if scale < 0 else 2)) if block >= 2 else 0
    frames = last - first + 1
    stated = number("FRAMES", frames) % 65536
    if last == 65535 or stated == 65535:  # more frames than 16 bits can count
        frames = _long_count(parameters) or room
    elif stated != frames:
        raise fail(f"says {frames} frames in its header and {stated:g} in its parameters")
    if not 0 < frames <= min(room, MAX_FRAMES):
        raise fail(f"says {frames} frames but holds {max(room, 0)}")
    if frames * points > MAX_POINTS:
        raise fail(f"holds {frames} frames of {points} points", "Split it into shorter takes")
    return Header(processor, points, analog, frames, begin, scale, first, rate, parameters)


def _long_count(parameters: dict[tuple[str, str], list[Any]]) -> int:
    """Frames by TRIAL:ACTUAL_START_FIELD and ACTUAL_END_FIELD (two 16-bit words each), 0 if unknown."""
    ends = []
    for name in ("ACTUAL_START_FIELD", "ACTUAL_END_FIELD"):
        words = parameters.get(("TRIAL", name), [])
        if len(words) != 2 or not all(isinstance(w, int) for w in words):
            return 0
        ends.append((words[0] & 0xFFFF) + ((words[1] & 0xFFFF) << 16))
    return int(ends[1] - ends[0] + 1)


def _parameters(data: bytes, start: int, processor: int, fail: Any) -> dict[tuple[str, str], list[Any]]:
    """Follow the chain of groups and parameters from `start`; it only runs forward, so that it ends."""
    groups: dict[int, str] = {}
    found: list[tuple[int, str, list[Any]]] = []
    at = start + 4
    data = data[: start + MAX_PARAMETERS]
    try:
        while True:
            length, number = struct.unpack_from("<bb", data, at)
            if length == 0:
                break
            after_name = at + 2 + abs(length)
            name = data[at + 2 : after_name].decode("latin-1").strip().upper()
            (step,) = struct.unpack_from(_order(processor) + "H", data, after_name)
            if number < 0:
                groups[-number] = name
            else:
                record = data[after_name + 2 : after_name + step if step else None]
                found.append((number, name, _values(record, processor)))
            if step == 0:
                break
            at = after_name + step
    except (struct.error, IndexError, ValueError):
        raise fail(f"has a damaged parameter section at byte {at}") from None
    return {(groups.get(g, ""), name): values for g, name, values in found}


def _values(record: bytes, processor: int) -> list[Any]:
    """The values of one parameter, flat in file order; strings along the first dimension. ValueError if damaged."""
    kind, rank = struct.unpack_from("<bB", record)
    if kind not in (-1, 1, 2, 4) or rank > 7:
        raise ValueError
    shape = record[2 : 2 + rank]
    count = prod(shape)
    raw = record[2 + rank : 2 + rank + count * abs(kind)]
    if len(raw) != count * abs(kind) or len(shape) != rank:
        raise ValueError
    if kind == -1:
        width = (shape[0] if rank else 1) or 1
        return [raw[i : i + width].decode("utf-8", "replace").rstrip("\0 ") for i in range(0, count, width)]
    if kind == 4:
        return list(map(float, _floats(raw, processor)))
    return list(map(int, np.frombuffer(raw, "i1" if kind == 1 else _order(processor) + "i2")))


def _order(processor: int) -> str:
    return ">" if processor == 86 else "<"


def _floats(raw: bytes | NDArray[Any], processor: int) -> NDArray[Any]:
    """Floats, flat, of four bytes each. DEC's have their halves exchanged, and an exponent two higher."""
    if processor != 85:
        return np.frombuffer(raw, _order(processor) + "f4")
    words = np.frombuffer(raw, "<u2").reshape(-1, 2)[:, ::-1]
    return np.asarray(np.ascontiguousarray(words).view("<f4").ravel() / 4)


def _positions(header: Header) -> tuple[list[int], list[str]]:
    """Indices and labels of the points that are positions: neither outputs of other units, nor unlabelled."""
    labels = [x.strip() for x in header.all_strings("POINT", "LABELS")]
    kinds = set(header.strings("POINT", "TYPE_GROUPS")[::2]) | {"ANGLES", "FORCES", "MOMENTS", "POWERS", "SCALARS"}
    outputs = {
        x.strip() for kind in kinds - {"MODELED_MARKERS"} for x in header.all_strings("POINT", kind.strip().upper())
    }
    keep = [
        j
        for j, label in enumerate(labels[: header.points])
        if label and not label.startswith("*") and label not in outputs and not _OUTPUT.search(label)
    ]
    return keep, [labels[j] for j in keep]


def _stated_up(header: Header) -> str | None:
    """The axis that POINT:Y_SCREEN shows upwards, if X_SCREEN names another one."""
    across, up = ("".join(header.strings("POINT", f"{a}_SCREEN")).strip().lower().lstrip("+") for a in "XY")
    axes = ("x", "y", "z", "-x", "-y", "-z")
    return up if up in axes and across in axes and up[-1] != across[-1] else None


def _people(labels: list[str]) -> tuple[dict[str, list[int]], list[str]]:
    """Return subject → its points, and the prefixes dropped.

    Prefixes that share body markers are several people; those that share none (``BodyL:``, ``BodyR:``) are parts of
    one. A prefix without any body marker is an object.
    """
    groups: dict[str, list[int]] = {}
    for j, label in enumerate(labels):
        match = _PREFIXED.fullmatch(label)
        groups.setdefault(match[1].strip() if match else "", []).append(j)
    table = best_table([_PREFIXED.sub(r"\2", x) for x in labels], POINTS)
    if table is None or len(groups) == 1:
        return {next(iter(groups), ""): list(range(len(labels)))}, []
    parts = {p: {c for j in js for c in table.resolve([labels[j]])} for p, js in groups.items()}
    bodies = {p: c for p, c in parts.items() if c}
    if sum(map(len, bodies.values())) == len(set().union(*bodies.values())):
        chosen = {next(iter(bodies)) if len(bodies) == 1 else "": _flat(groups[p] for p in bodies)}
        return chosen, [p or "(no prefix)" for p in groups if p not in bodies]
    whole = [p for p in bodies if best_table([_PREFIXED.sub(r"\2", labels[j]) for j in groups[p]], POINTS)]
    if not whole:
        return {"": list(range(len(labels)))}, []
    return {p: groups[p] for p in whole}, [p or "(no prefix)" for p in groups if p not in whole]


def _flat(lists: Iterable[list[int]]) -> list[int]:
    return [j for js in lists for j in js]
