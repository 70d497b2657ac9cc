"""OpenPose JSON: a folder, tar or zip of frames, or a single frame; BODY_25, BODY_25B or COCO-18, several people.

`--write_json` writes one file a frame, numbered in its name; names differ between writers, so frames are ordered by the
last integer, and a number left out is a frame in which nobody was written. 0,0,0 is a missing point. People have no
identity in these files: they are linked into tracks. The files state no frame rate.
Format: OpenPose documentation, "Output", JSON versions 1.1 to 1.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from lmm.core.errors import InputError
from lmm.core.motion import MAX_FRAMES, Motion, make_motion
from lmm.skeletons import table
from lmm.sources.files import Input
from lmm.sources.reading import Options, source
from lmm.sources.tracking import link

_FRAME = re.compile(r"^(.*?)(\d+)(?:_keypoints)?\.json$", re.I)
MAX_PEOPLE = 200
BY_LENGTH = {75: "body_25", 54: "coco_18", 51: "coco_17"}
VARIANTS = {"body25": "body_25", "body25b": "body_25b", "coco18": "coco_18", "coco17": "coco_17"}


def sniff(given: Input) -> bool:
    if given.kind == "file":
        return _is_frame(given.head)
    frames = [n for n in given.names if _FRAME.match(n)]
    return bool(frames) and any(_is_frame(given.member(n)[:4096]) for n in (frames[0], frames[-1]))


def items(given: Input) -> list[str] | None:
    """Clips in one folder or archive: frames whose names differ before the number."""
    clips = _clips(given)
    return sorted(clips) if len(clips) > 1 else None


@source("openpose", "OpenPose JSON (folder, file, tar or zip)", sniff, extensions=(".json",), variants=tuple(VARIANTS), items=items)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    if given.kind == "file":
        numbers, frames = [0], [_people(given.bytes(), path)]
    else:
        clips = _clips(given)
        names = clips[item] if item is not None and item in clips else next(iter(clips.values()), [])
        if not names:
            raise InputError(path, "has no frames named like clip_000000000012_keypoints.json", "Give the folder that --write_json wrote")
        numbers = [number for number, _ in names]
        frames = [_people(given.member(name), f"{path}/{name}") for _, name in names]
    layout = _layout(frames, options.variant, path)
    skeleton = table(layout).skeleton
    fps = options.rate(path, None, "OpenPose files do not state their frame rate")
    span = numbers[-1] - numbers[0] + 1
    if span > min(MAX_FRAMES, 1000 + 100 * len(numbers)):
        raise InputError(path, f"frame numbers run from {numbers[0]} to {numbers[-1]} in {len(numbers)} files", "Give the frames of one recording")
    detections = [np.zeros((0, skeleton.num_joints, 3), np.float32)] * span
    for number, people in zip(numbers, frames, strict=True):
        detections[number - numbers[0]] = _array(people, skeleton.num_joints, path)
    motions = []
    for i, (at, which) in enumerate(link(detections, fps)):
        points = np.full((span, skeleton.num_joints, 3), np.nan, np.float32)
        for t, k in zip(at, which, strict=True):
            points[t] = detections[t][k]
        first, last = int(at[0]), int(at[-1]) + 1
        points = points[first:last]
        confidence = np.clip(np.nan_to_num(points[..., 2]), 0, 1)
        meta = {"person": str(i), **({"trial": item} if item else {})}
        start = (numbers[0] + first) / fps
        motions.append(make_motion(points[..., :2], fps, skeleton, "image", confidence, start_s=start, meta=meta))
    return motions


def _clips(given: Input) -> dict[str, list[tuple[int, str]]]:
    """Clip name → (frame number, file name), ordered by number."""
    clips: dict[str, list[tuple[int, str]]] = {}
    for name in given.names:
        match = _FRAME.match(name)
        if match and len(match[2]) <= 15 and not Path(name).name.startswith("._"):
            clip = Path(match[1] + "_").name.strip("_.- ") or Path(match[1]).name
            folder = "/".join(Path(name).parts[:-1])
            clips.setdefault(f"{folder}/{clip}".strip("/"), []).append((int(match[2]), name))
    return {clip: sorted(frames) for clip, frames in sorted(clips.items())}


def _is_frame(head: bytes) -> bool:
    return head.lstrip()[:1] == b"{" and b'"people"' in head and (b"pose_keypoints" in head or b'"people": []' in head or b'"people":[]' in head)


def _people(data: bytes, source_name: str | Path) -> list[list[float]]:
    """Return each person's flat numbers; an empty list where the frame shows nobody."""
    try:
        frame = from_json(data, allow_inf_nan=False)
        people = frame["people"]
        found = [p.get("pose_keypoints_2d", p.get("pose_keypoints")) for p in people]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InputError(source_name, f"is not a readable OpenPose frame ({e or type(e).__name__})", "Write it again, or remove the file") from None
    if len(found) > MAX_PEOPLE:
        raise InputError(source_name, f"claims {len(found)} people, over the limit of {MAX_PEOPLE}", "Write it again")
    if not all(isinstance(f, list) for f in found):
        raise InputError(source_name, "has a person without pose_keypoints_2d", "Write it again with body keypoints")
    return [f for f in found if f]


def _array(people: list[list[float]], joints: int, path: Path) -> NDArray[Any]:
    try:
        points = np.array(people, np.float32).reshape(-1, joints, 3)
    except (ValueError, TypeError, OverflowError):
        raise InputError(path, "has people with different numbers of points, or points that are not numbers", "Write the JSON again with one model") from None
    if not np.isfinite(points).all():
        raise InputError(path, "has a coordinate that is not finite", "Write it again")
    points[~(points[..., 2] > 0) | (points[..., :2] == 0).all(axis=-1)] = np.nan
    return points


def _layout(frames: list[list[list[float]]], variant: str, path: Path) -> str:
    lengths = {len(p) for people in frames for p in people}
    if not lengths:
        raise InputError(path, "has nobody in any frame", "Check that the pose estimation found people")
    if len(lengths) > 1 or not lengths <= set(BY_LENGTH):
        shown = ", ".join(str(n) for n in sorted(lengths))
        raise InputError(path, f"has {shown} numbers a person; 75 (BODY_25, BODY_25B), 54 (COCO-18) or 51 (COCO-17) were expected", "Write it again with one of these models")
    length = lengths.pop()
    if variant:
        if table(VARIANTS[variant]).skeleton.num_joints * 3 != length:
            raise InputError(path, f"has {length} numbers a person, which is not {variant}", "Leave out the variant in --format")
        layout = VARIANTS[variant]
    else:
        layout = BY_LENGTH[length] if length != 75 else _body25_or_25b(p for people in frames for p in people)
        if not layout:
            raise InputError(path, "may be BODY_25 or BODY_25B, too few points are seen to tell", "Give --format openpose-body25 or openpose-body25b")
    points = np.array([p for people in frames for p in people][:100], float).reshape(-1, length // 3, 3)
    if np.abs(points[..., :2]).max() <= 1.5:
        raise InputError(path, "has coordinates scaled to about 0..1, not pixels", "Write it again with --keypoint_scale 0")
    return layout


def _body25_or_25b(people: Iterable[list[float]]) -> str:
    """Tell the two 25-point orders apart by geometry; empty if the data cannot tell.

    In BODY_25 point 8 (mid-hip) lies midway between 9 and 12 and point 1 (neck) between 2 and 5; read as BODY_25B they
    are an elbow and an eye. In BODY_25B points 5 and 6 (shoulders) lie around 17 (upper neck), 1 and 2 (eyes) close to
    0 (nose). Each is measured in units of the person's extent.
    """
    votes = {"body_25": 0, "body_25b": 0}
    for numbers in people:
        p = np.array(numbers, float).reshape(25, 3)
        seen = p[:, 2] > 0.05
        if seen.sum() < 4:
            continue
        xy = p[:, :2]
        extent = float(np.ptp(xy[seen], axis=0).max()) or 1.0

        def error(a: int, b: int, middle: int, xy: NDArray[Any] = xy, seen: NDArray[Any] = seen, extent: float = extent) -> float:
            """Distance of `middle` from the midpoint of a and b, over the extent; NaN if not all are seen."""
            if not seen[[a, b, middle]].all():
                return float("nan")
            return float(np.linalg.norm((xy[a] + xy[b]) / 2 - xy[middle]) / extent)

        as_25 = np.array([error(9, 12, 8), error(2, 5, 1), error(15, 16, 0)])
        as_25b = np.array([error(1, 2, 0), error(5, 6, 17), error(3, 4, 0)])
        if np.isfinite(as_25).any() and np.isfinite(as_25b).any():
            votes["body_25" if np.nanmean(as_25) < np.nanmean(as_25b) else "body_25b"] += 1
    total = sum(votes.values())
    winner = max(votes, key=lambda k: votes[k])
    return winner if total and votes[winner] >= 0.7 * total else ""
