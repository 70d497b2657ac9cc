"""TRC (Motion Analysis; OpenSim, Pose2Sim): markers or keypoints as tab or comma separated text.

Programs disagree on the details: padded header values, doubled tabs between names, empty cells or NaN for gaps, rows
cut short, frame counts of the take that was cut. Rows and names are counted; the header gives only unit and rate.
Format: OpenSim documentation, "Marker (.trc) Files". It states no vertical axis.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import MAX_FRAMES, MAX_JOINTS, Motion, make_motion
from lmm.sources.files import Input, is_text
from lmm.sources.labels import POINTS, labelled_skeleton, turn_y_up
from lmm.sources.reading import Options, source, stated_unit

_MISSING = re.compile(r"[-+]?(nan(\(.*\))?|na|n/a|null|none|-|1\.#(qnan|ind|snan)\d*)?", re.I)
HEADER_LINES = 5
MAX_CELLS = 50_000_000  # rows may be cut short, so a small file could claim a large table


def sniff(given: Input) -> bool:
    return is_text(given.head) and given.head.removeprefix(b"\xef\xbb\xbf").lstrip()[:12].lower() == b"pathfiletype"


@source("trc", "TRC markers", sniff, extensions=(".trc",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    header, names, times, points = parse(given.text(), path)
    unit = options.units or stated_unit(header.get("units", ""), path)
    skeleton, table = labelled_skeleton("trc", names, (-1,) * len(names), POINTS, path)
    points, how = turn_y_up(points, skeleton.joints, table, options.up, None, path)
    notes: list[str] = []
    clock = None
    if options.source_fps is None:
        rate, irregular = _rate(times, header.get("datarate", ""), notes)
        fps = options.rate(path, rate)
        clock = times if irregular else None
    else:
        fps = options.source_fps
    start = float(times[0]) if np.isfinite(times[0]) else 0.0
    meta: dict[str, Any] = {"up": how, "unit_m": unit, "notes": notes}
    return [make_motion(points * unit, fps, skeleton, "world", times=clock, start_s=start, meta=meta)]


def parse(text: str, path: Path) -> tuple[dict[str, str], list[str], NDArray[Any], NDArray[Any]]:
    """Return header values (by lower-case name), marker names, times (T,) in seconds, and points (T, N, 3).

    Points are in file units, NaN in gaps (an empty cell, a NaN, or exactly 0, 0, 0). Raises InputError that names the
    line at fault.
    """
    lines = text.splitlines()
    if len(lines) <= HEADER_LINES:
        raise InputError(path, "ends within its header", "The file may be cut: export it again")
    separator = "\t" if "\t" in lines[3] else ","
    cells = [[c.strip() for c in line.split(separator)] for line in lines[1:4]]
    header = dict(zip((c.lower() for c in cells[0] if c), (c for c in cells[1] if c), strict=False))
    if [c.lower() for c in cells[2][:2]] != ["frame#", "time"]:
        raise InputError(path, "line 4 does not begin with Frame# and Time", "Export it again as TRC")
    names = [c for c in cells[2][2:] if c]
    if not 0 < len(names) <= MAX_JOINTS:
        raise InputError(path, f"line 4 names {len(names)} markers", f"Between 1 and {MAX_JOINTS} can be read")
    width = 2 + 3 * len(names)
    if len(lines) > MAX_FRAMES or len(lines) * width > MAX_CELLS:
        raise InputError(path, f"holds {len(lines)} rows of {len(names)} markers", "Split it into shorter takes")
    rows = []
    for number, line in enumerate(lines[HEADER_LINES:], start=HEADER_LINES + 1):
        row = line.split(separator)
        if not line.strip() or not any(c.strip() for c in row):
            continue
        if len(row) > width and any(c.strip() for c in row[width:]):
            raise InputError(
                path,
                f"line {number} has {len(row)} cells, {width} at most were expected for {len(names)} markers",
                "Every marker needs one name in line 4",
            )
        row = row[:width] + [""] * (width - len(row))
        try:
            rows.append(np.array([float(c) if c else np.nan for c in row]))
        except ValueError:
            rows.append(np.array([_number(c.strip(), number, path) for c in row]))
    if not rows:
        raise InputError(path, "has no rows of numbers", "The file may be cut: export it again")
    values = np.stack(rows)
    if np.isinf(values).any():
        raise InputError(
            path, f"has an infinite number in row {int(np.argwhere(np.isinf(values))[0][0]) + 1}", "Export it again"
        )
    points = values[:, 2:].reshape(len(values), -1, 3)
    points[(points == 0).all(axis=2) | np.isnan(points).any(axis=2)] = np.nan
    return header, names, values[:, 1], points


def _number(cell: str, line: int, path: Path) -> float:
    if _MISSING.fullmatch(cell):
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        raise InputError(
            path, f"line {line}: {cell[:40]!r} is not a number", "The file may be damaged: export it again"
        ) from None


def _rate(times: NDArray[Any], written: str, notes: list[str]) -> tuple[float | None, bool]:
    """Return frames per second (None if unknown) and whether the clock is irregular.

    The Time column decides; the header's rate serves where it agrees with it but for rounding, or where the column is
    empty or does not increase.
    """
    try:
        stated = float(written)
    except ValueError:
        stated = 0.0
    stated = stated if np.isfinite(stated) and 0 < stated <= 100_000 else 0.0
    steps = np.diff(times)
    if len(times) < 2 or not np.isfinite(times).all() or (steps <= 0).any():
        if len(times) > 1:
            notes.append("the Time column is not increasing; the rate is the header's")
        return stated or None, False
    step, span = float(np.median(steps)), float(times[-1] - times[0])
    measured = (len(times) - 1) / span
    even = times[0] + span * np.linspace(0, 1, len(times))
    uneven = bool(np.abs(times - even).max() > 0.25 * step + 1e-9)
    if uneven:
        notes.append("the times in the Time column are uneven; they are kept as time stamps")
        measured = round(1 / step, 6)
    elif stated and abs((len(times) - 1) / stated - span) <= 0.0011 + 1e-4 * span:  # times may be rounded to 1 ms
        return stated, False
    if stated and abs(stated - measured) > 0.001 * measured:
        notes.append(f"the header says {stated:g} frames per second, the Time column {measured:g}; the latter is used")
    return measured, uneven
