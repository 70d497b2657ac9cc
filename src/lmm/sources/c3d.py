"""C3D (www.c3d.org): markers and model outputs of optical motion capture, read through ezc3d.

ezc3d trusts the counts in a file and indexes by them. So the header and the whole parameter section are walked here
first, every size against the file's length; ezc3d is called only when all that it will read is there.
"""

from __future__ import annotations

import re
import struct
import tempfile
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
from lmm.sources.reading import UNITS_M, Options, source

BLOCK = 512
MAX_SAMPLES = 20_000_000  # points and analog samples together: ezc3d needs about 150 bytes for each
UNIT_NAMES = {
    "millimeters": "mm",
    "millimetres": "mm",
    "centimeters": "cm",
    "meters": "m",
    "metres": "m",
    "inches": "in",
}
_OUTPUT = re.compile(r"(angles?|angular\w*|powers?|forces?|moments?|torques?|grf|scalars?)$", re.I)
_PREFIXED = re.compile(r"([^:]*):(.*)")


@dataclass(frozen=True)
class Header:
    """What the file says about itself, checked against its length. `parameters` maps (GROUP, NAME) to its values."""

    points: int
    frames: int
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
    return len(head) == BLOCK and head[0] >= 2 and head[1] == 0x50


@source("c3d", "C3D", sniff, extensions=(".c3d",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    data = given.bytes()
    header = parse_header(data, path)
    keep, labels = _positions(header)
    unit = options.units or _unit(header, path)
    points = read_points(data, header, path)[:, keep]
    rate = options.rate(path, header.rate if header.rate > 0 else None)
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
            meta |= {"subject": subject} | ({"person": subject} if len(people) > 1 else {})
        start = max(header.first_frame - 1, 0) / rate
        motions.append(make_motion(turned * unit, rate, skeleton, "world", start_s=start, meta=meta))
    return motions


def read_points(data: bytes, header: Header, path: Path) -> NDArray[Any]:
    """Return all points, float64 (T, N, 3) in file units, NaN in gaps (a negative residual, or exactly 0, 0, 0).

    ezc3d reads from a path: it gets a copy, so that it sees the very bytes that `parse_header` has checked (and no
    gzip). Raises InputError if ezc3d is not installed or cannot read what the header promises.
    """
    try:
        import ezc3d
    except ImportError:
        raise InputError(path, "needs the package ezc3d", "Run: pip install 'large-movement-model[mocap]'") from None
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "points.c3d"
        copy.write_bytes(data)
        try:
            raw = ezc3d.ezc3d.c3d(str(copy), ezc3d.ezc3d.Options())
            points = np.moveaxis(np.asarray(raw.get_points()), (2, 1, 0), (0, 1, 2))[..., :3]
        except Exception as e:  # ezc3d raises whatever its C++ side threw
            raise InputError(
                path, f"cannot be read by ezc3d ({e})", "The file may be damaged: export it again"
            ) from None
    if points.shape[1] != header.points or not 0 < len(points) <= header.frames:
        found = f"{points.shape[1]} points in {len(points)} frames"
        raise InputError(
            path, f"promises {header.points} points in {header.frames} frames, ezc3d finds {found}", "Export it again"
        )
    out = np.full((header.frames, header.points, 3), np.nan)
    out[: len(points)] = points  # ezc3d leaves out empty frames at the end
    out[(out == 0).all(axis=2) | ~np.isfinite(out).all(axis=2)] = np.nan
    return out


def parse_header(data: bytes, path: Path) -> Header:
    """Check header and parameters against the length of the file, without ezc3d.

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
    if processor == 86:
        raise fail(
            "was written on an SGI machine (big-endian), which is not read",
            "Convert it to the Intel format, for example with Mokka",
        )
    if processor not in (84, 85):
        raise fail(f"has an unknown processor type {processor}")
    parameters = _parameters(data, start, processor == 85, fail)

    def number(group: str, name: str, default: float) -> float:
        values = parameters.get((group, name), [])
        if not values or isinstance(values[0], str) or not np.isfinite(values[0]):
            return default
        return float(values[0])

    points, analog, first, last = struct.unpack_from("<4H", data, 2)
    scale = number("POINT", "SCALE", _floats(data[12:16], processor == 85)[0])
    data_block, per_frame = struct.unpack_from("<2H", data, 16)
    rate = number("POINT", "RATE", _floats(data[20:24], processor == 85)[0])
    used = int(number("POINT", "USED", points)) & 0xFFFF
    if used != points:
        raise fail(f"says {points} points in its header and {used} in its parameters")
    if not points:
        raise fail("holds no points (only analog channels)", "Give a recording with markers")
    if points > MAX_JOINTS:
        raise fail(f"claims {points} points", f"At most {MAX_JOINTS} can be read")
    if not (np.isfinite(scale) and scale != 0):
        raise fail("has no usable POINT:SCALE")
    channels = analog // per_frame if per_frame else 0
    if channels * per_frame != analog or (channels and int(number("ANALOG", "USED", channels)) & 0xFFFF != channels):
        raise fail(f"claims {analog} analog samples a frame of {per_frame} each, which does not agree with ANALOG:USED")
    for name in ("SCALE", "OFFSET"):
        if channels and len(parameters.get(("ANALOG", name), [])) < min(channels, 255):
            raise fail(f"lacks ANALOG:{name} for its {channels} channels")
    if ("ANALOG", "GEN_SCALE") in parameters and not parameters["ANALOG", "GEN_SCALE"]:
        raise fail("has an empty ANALOG:GEN_SCALE")
    if number("ROTATION", "USED", 0):
        raise fail(
            "holds segment rotations (a Theia or Visual3D export), which are not read",
            "Export markers or joint centres",
        )
    frame_bytes = (points * 4 + analog) * (4 if scale < 0 else 2)
    begin = (data_block - 1) * BLOCK
    room = (len(data) - begin) // frame_bytes if data_block >= 2 else 0
    frames = last - first + 1
    stated = int(number("POINT", "FRAMES", frames))
    stated = stated & 0xFFFF if stated < 0 else stated
    if last == 0xFFFF or stated == 0xFFFF:  # more frames than 16 bits can count
        frames = stated = _long_count(parameters) or room
    if not 0 < frames <= MAX_FRAMES or stated != frames:
        raise fail(f"says {frames} frames in its header and {stated} in its parameters")
    if frames > room:
        raise fail(f"says {frames} frames but holds {max(room, 0)}")
    if frames * (points + analog) > MAX_SAMPLES:
        raise fail(
            f"holds {frames} frames of {points} points and {analog} analog samples",
            f"At most {MAX_SAMPLES} samples can be read: split it",
        )
    return Header(points, frames, first, rate if np.isfinite(rate) else 0.0, parameters)


def _long_count(parameters: dict[tuple[str, str], list[Any]]) -> int:
    """Frames by TRIAL:ACTUAL_START_FIELD and ACTUAL_END_FIELD (two 16-bit words each), 0 if unknown."""
    ends = []
    for name in ("ACTUAL_START_FIELD", "ACTUAL_END_FIELD"):
        words = parameters.get(("TRIAL", name), [])
        if len(words) != 2 or not all(isinstance(w, int) for w in words):
            return 0
        ends.append((words[0] & 0xFFFF) + ((words[1] & 0xFFFF) << 16))
    return int(ends[1] - ends[0] + 1)


def _parameters(data: bytes, start: int, dec: bool, fail: Any) -> dict[tuple[str, str], list[Any]]:
    """Walk the chain of groups and parameters from `start` as ezc3d does: each record ends where the next begins."""
    groups: dict[int, str] = {}
    found: list[tuple[int, str, list[Any]]] = []
    offset_to_first, check = data[start], data[start + 1]
    if (offset_to_first, check) not in ((0, 0), (1, 0x50)):
        raise fail("has a damaged parameter section")
    at = start + 4
    try:
        while True:
            length, number = struct.unpack_from("<bb", data, at)
            if length == 0:
                break
            if number == 0:
                raise fail(f"has a parameter without a group at byte {at}")
            after_name = at + 2 + abs(length)
            name = data[at + 2 : after_name].decode("latin-1").strip().upper()
            (step,) = struct.unpack_from("<H", data, after_name)
            end = after_name + step
            body = after_name + 2
            if number < 0:
                groups[-number] = name
            else:
                values, body = _values(data, body, dec, fail, name)
                found.append((number, name, values))
            if data[body] > 127:
                raise fail(f"has a damaged description of {name[:40]}")
            if step and body + 1 + data[body] != end:
                raise fail(f"has a parameter {name[:40]} that does not end where the next begins")
            if not step:
                break
            at = end
    except (struct.error, IndexError):
        raise fail("ends within its parameters") from None
    return {(groups.get(g, ""), name): values for g, name, values in found}


def _values(data: bytes, at: int, dec: bool, fail: Any, name: str) -> tuple[list[Any], int]:
    """The values of one parameter, flat in file order (strings along the first dimension), and where they end."""
    kind, rank = struct.unpack_from("<bB", data, at)
    if kind not in (-1, 1, 2, 4) or rank > 7 or (kind == -1 and rank == 0):
        raise fail(f"has a parameter {name[:40]} of unknown type")
    shape = list(data[at + 2 : at + 2 + rank])
    count = prod(shape)
    at += 2 + rank
    end = at + count * abs(kind)
    if end >= len(data) or len(shape) != rank:
        raise fail("ends within its parameters")
    raw = data[at:end]
    if kind == -1:
        width = shape[0] or 1
        return [raw[i : i + width].decode("utf-8", "replace").rstrip("\0 ") for i in range(0, count, width)], end
    if kind == 4:
        return _floats(raw, dec), end
    return np.frombuffer(raw, "<i1" if kind == 1 else "<i2").astype(int).tolist(), end


def _floats(raw: bytes, dec: bool) -> list[float]:
    if not dec:
        return [float(x) for x in np.frombuffer(raw, "<f4")]
    words = np.frombuffer(raw, "<u2").reshape(-1, 2)[:, ::-1].copy()
    return [float(x) / 4 for x in words.view("<f4").ravel()]


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


def _unit(header: Header, path: Path) -> float:
    written = " ".join(header.strings("POINT", "UNITS")).strip()
    name = UNIT_NAMES.get(written.lower(), written.lower())
    if name not in UNITS_M:
        problem = f"gives an unknown unit {written!r}" if written else "does not say its unit"
        raise InputError(path, problem, "Give --units mm, cm, m or in")
    return UNITS_M[name]


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
    return {p: groups[p] for p in whole}, [p or "(no prefix)" for p in groups if p not in whole]


def _flat(lists: Iterable[list[int]]) -> list[int]:
    return [j for js in lists for j in js]
