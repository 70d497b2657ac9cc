"""Raw logs of the Kinect V2 sensor, as IntelliRehabDS (IRDS) publishes them: 25 joints, several bodies, uneven clock.

First line ``Version0.1``, then a line a body and frame: ``frame,body,milliseconds,`` and 25 groups
``(Joint,State,x,y,z,u,v)`` in metres. Data: A. Miron et al., "IntelliRehabDS (IRDS)", Data 2021, 6(5), 46.

Camera space has +x to the sensor's left, +y up and +z away from the sensor. It is turned by 180 degrees about y, so
that somebody who faces the sensor faces +z with the left side at +x. Confidence is 1 where a joint is Tracked and 0.5
where it is Inferred (a lower trust, no probability); NotTracked, or 0, 0, 0, is missing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import MAX_FRAMES, Motion, make_motion
from lmm.skeletons import table
from lmm.sources.files import Input
from lmm.sources.reading import Options, source

TO_WORLD = np.array([-1.0, 1.0, -1.0])  # camera space turned by 180 degrees about y
STATES = {"Tracked": 1.0, "Inferred": 0.5, "NotTracked": 0.0}
GESTURES = (
    *("elbow flexion left", "elbow flexion right", "shoulder flexion left", "shoulder flexion right"),
    *("shoulder abduction left", "shoulder abduction right", "shoulder forward elevation"),
    *("side tap left", "side tap right"),
)
QUALITY = {"1": "correct", "2": "incorrect", "3": "poorly executed"}
LICENCE = "CC BY 4.0, IntelliRehabDS (Miron et al. 2021)"
MAX_BODIES = 100
MAX_REFUSED = 0.1  # more frames than this share with a clock that does not go forward: the clock is no use


def sniff(given: Input) -> bool:
    return re.match(rb"(\xef\xbb\xbf)?Version\s*\d[\d.]*\s*\n\s*\d+,\d+,\d+,\(SpineBase,", given.head[:200]) is not None


@source("kinect-v2", "Kinect V2 joint log (IRDS)", sniff, extensions=(".txt",), settles=("source_fps",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    skeleton = table("kinect_v2").skeleton
    bodies, numbers = _parse(given.text(), skeleton.joints, path)
    begin_ms = min(ms[0] for ms, _ in bodies.values())
    motions = []
    for body, (stamps, rows) in bodies.items():
        ms = np.array(stamps, np.int64)
        forward = np.r_[True, ms[1:] > np.maximum.accumulate(ms)[:-1]]
        if (~forward).mean() > MAX_REFUSED and options.source_fps is None:
            raise InputError(
                path,
                f"the clock stands still or goes back in {int((~forward).sum())} of {len(ms)} frames",
                "Give the rate with --source-fps",
            )
        notes = []
        if options.source_fps is None and not forward.all():
            notes.append(f"{int((~forward).sum())} frames dropped whose time stamp did not go forward")
            ms, rows = ms[forward], rows[forward]
        times = (ms - begin_ms) / 1000
        step = float(np.median(np.diff(times))) if len(times) > 1 else None
        fps = options.rate(path, 1 / step if step else None, "holds one frame, which shows no rate")
        confidence = np.where((rows[..., :3] == 0).all(axis=-1), 0, rows[..., 3])
        meta: dict[str, Any] = {"person": body, "notes": notes, **_told_by_name(path)}
        even = options.source_fps is not None or len(times) == 1
        if even and numbers[body][-1] - numbers[body][0] + 1 != len(numbers[body]):
            notes.append("frame numbers have gaps, which the given rate closes")
        motions.append(
            make_motion(
                rows[..., :3] * TO_WORLD, fps, skeleton, "world", confidence,
                times=None if even else times, start_s=float(times[0]), meta=meta,
            )
        )  # fmt: skip
    return motions


def _parse(
    text: str, joints: tuple[str, ...], path: Path
) -> tuple[dict[str, tuple[list[int], NDArray[Any]]], dict[str, list[int]]]:
    """Return body id → (milliseconds, (T, 25, 4) x, y, z, confidence), and body id → frame numbers."""
    stamps: dict[str, list[int]] = {}
    numbers: dict[str, list[int]] = {}
    rows: dict[str, list[NDArray[Any]]] = {}
    width = 3 + 7 * len(joints)
    for number, line in enumerate(text.splitlines()[1:], start=2):
        if not line.strip():
            continue
        cells = line.replace("(", "").replace(")", "").strip().rstrip(",").split(",")
        if len(cells) != width:
            raise InputError(
                path,
                f"line {number} has {len(cells)} values, {width} were expected",
                "The file may be cut or damaged: copy it again",
            )
        try:
            frame, body, ms = int(cells[0]), str(int(cells[1])), int(cells[2])
            values = np.array(
                [[cells[i + 2], cells[i + 3], cells[i + 4], STATES[cells[i + 1]]] for i in range(3, width, 7)],
                np.float64,
            )
        except (ValueError, KeyError) as e:
            raise InputError(
                path, f"line {number} is not readable ({e})", "The file may be damaged: copy it again"
            ) from None
        names = tuple(cells[3::7])
        if names != joints:
            wrong = next(n for n, j in zip(names, joints, strict=True) if n != j)
            raise InputError(
                path,
                f"line {number} has joint {wrong!r} out of order",
                "The 25 joints of the Kinect V2 SDK are expected in their order",
            )
        if not np.isfinite(values).all() or abs(ms) > 1 << 53:
            raise InputError(
                path, f"line {number} has a number that is not finite", "The file may be damaged: copy it again"
            )
        stamps.setdefault(body, []).append(ms)
        numbers.setdefault(body, []).append(frame)
        rows.setdefault(body, []).append(values)
        if len(rows) > MAX_BODIES or len(rows[body]) > MAX_FRAMES:
            raise InputError(path, f"has over {MAX_BODIES} bodies or {MAX_FRAMES} frames", "Split it")
    if not rows:
        raise InputError(path, "has no frames after its first line", "Copy it again")
    return {body: (stamps[body], np.stack(rows[body])) for body in sorted(rows, key=int)}, numbers


def _told_by_name(path: Path) -> dict[str, Any]:
    """Read ``Subject_Date_Gesture_Repetition_Correct_Position`` from an IRDS file name.

    The sides in the published gesture names are the opposite of the joints that move, so captions leave them out.
    """
    match = re.match(r"(\d+)_(\d+)_([0-8])_(\d+)_([123])_([a-z]+)", path.name)
    if not match:
        return {}
    subject, date, gesture, repetition, correct, position = match.groups()
    name = GESTURES[int(gesture)]
    caption = re.sub(r" (left|right)$", "", name) + ("" if correct == "1" else f", {QUALITY[correct]}")
    return {
        "subject": f"irds_{subject}",
        "trial": match[0],
        "licence": LICENCE,
        "captions": [caption],
        "labels": {
            "gesture": int(gesture), "gesture_name": name, "session": int(date), "repetition": int(repetition),
            "quality": QUALITY[correct], "correct": correct == "1", "position": position,
        },
    }  # fmt: skip
