"""OpenPose JSON: a folder, tar or zip of frames, or a single frame; BODY_25, BODY_25B or COCO-18, several people.

`--write_json` writes one file a frame, numbered in its name; names differ between writers, so frames are ordered by the
last integer, and a number left out is a frame in which nobody was written. 0,0,0 is a missing point. People have no
identity in these files: they are linked into tracks. The files state no frame rate.
Format: OpenPose documentation, "Output", JSON versions 1.1 to 1.3.
"""

from __future__ import annotations

import re
from functools import lru_cache
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
from lmm.sources.tracking import people as people_in

_FRAME = re.compile(r"^(.*?)(\d+)(?:_keypoints)?\.json$", re.I)
MAX_PEOPLE = 200
TELLING = 40  # people, spread over the recording, from whose geometry the layout is told
MAX_FRAME_BYTES = 1 << 24  # of one frame's JSON: far more than 200 people with hands and face take
BY_LENGTH = {75: "body_25", 54: "coco_18", 51: "coco_17"}
VARIANTS = {"body25": "body_25", "body25b": "body_25b", "coco18": "coco_18", "coco17": "coco_17"}


def sniff(given: Input) -> bool:
    if given.kind == "file":
        return _is_frame(given.head)
    frames = [n for n in given.names if _FRAME.match(n)]
    return bool(frames) and any(_is_frame(given.member(n, 4096, cut=True)) for n in (frames[0], frames[-1]))


def items(given: Input) -> list[str] | None:
    """Clips in one folder or archive: frames whose names differ before the number."""
    clips = _clips(given)
    return sorted(clips) if len(clips) > 1 else None


@source(
    "openpose",
    "OpenPose JSON (folder, file, tar or zip)",
    sniff,
    extensions=(".json",),
    variants=tuple(VARIANTS),
    items=items,
    settles=("source_fps",),
)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    if given.kind == "file":
        numbers, people = [0], [frame_people(given.data(), path)]
    else:
        clips = _clips(given)
        if not clips or (item is not None and item not in clips):
            raise InputError(
                path,
                f"has no {item or 'frames'} named like clip_000000000012_keypoints.json",
                "Give the folder that --write_json wrote",
            )
        names = next(iter(clips.values())) if item is None else clips[item]
        numbers = [number for number, _ in names]
        if len(set(numbers)) < len(numbers):
            raise InputError(
                path, "has several files of one frame number", "Keep one file a frame, or one clip a folder"
            )
        people = [frame_people(given.member(name, MAX_FRAME_BYTES), f"{path}/{name}") for _, name in names]
    points = _array([p for frame in people for p in frame], path)
    skeleton = table(_layout(points, options.variant, path)).skeleton
    x, y, score = np.moveaxis(points, -1, 0)
    points[~(score > 0) | ((x == 0) & (y == 0))] = np.nan
    fps = options.rate(path, None, "OpenPose files do not state their frame rate")
    span = numbers[-1] - numbers[0] + 1
    if span > min(MAX_FRAMES, 1000 + 100 * len(numbers)):
        raise InputError(
            path,
            f"frame numbers run from {numbers[0]} to {numbers[-1]} in {len(numbers)} files",
            "Give the frames of one recording",
        )
    detections = [points[:0]] * span
    row = 0
    for number, frame in zip(numbers, people, strict=True):
        detections[number - numbers[0]] = points[row : row + len(frame)]
        row += len(frame)
    tracks, notes = people_in(detections, fps)
    motions = []
    for i, (first, track) in enumerate(tracks):
        confidence = np.clip(np.nan_to_num(track[..., 2]), 0, 1)
        meta: dict[str, Any] = {"person": str(i), "notes": notes, **({"trial": item} if item else {})}
        start = (numbers[0] + first) / fps
        motions.append(make_motion(track[..., :2], fps, skeleton, "image", confidence, start_s=start, meta=meta))
    return motions


def _clips(given: Input) -> dict[str, list[tuple[int, str]]]:
    return _clips_of(tuple(given.names))


@lru_cache(maxsize=8)
def _clips_of(names: tuple[str, ...]) -> dict[str, list[tuple[int, str]]]:
    """Clip name → (frame number, file name), ordered by number."""
    clips: dict[str, list[tuple[int, str]]] = {}
    for name in names:
        folder, _, base = name.rpartition("/")
        match = _FRAME.match(base)
        if match and len(match[2]) <= 15 and not base.startswith("._"):
            clip = match[1].removesuffix("_")
            if folder:
                clip = "/".join((*Path(folder).parts, clip)).strip("/")
            clips.setdefault(clip, []).append((int(match[2]), name))
    return {clip: sorted(frames) for clip, frames in sorted(clips.items())}


def _is_frame(head: bytes) -> bool:
    return (
        head.lstrip()[:1] == b"{"
        and b'"people"' in head
        and (b"pose_keypoints" in head or b'"people": []' in head or b'"people":[]' in head)
    )


def frame_people(data: bytes, source_name: str | Path) -> list[list[float]]:
    """Return each person's flat numbers; an empty list where the frame shows nobody."""
    if len(data) > MAX_FRAME_BYTES:
        raise InputError(
            source_name,
            f"has {len(data)} bytes, over the limit of {MAX_FRAME_BYTES} for a frame",
            "Give one frame a file",
        )
    try:
        frame = from_json(data, allow_inf_nan=False)
        people = frame["people"]
        found = [p.get("pose_keypoints_2d", p.get("pose_keypoints")) for p in people]
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise InputError(
            source_name,
            f"is not a readable OpenPose frame ({e or type(e).__name__})",
            "Write it again, or remove the file",
        ) from None
    if len(found) > MAX_PEOPLE:
        raise InputError(source_name, f"claims {len(found)} people, over the limit of {MAX_PEOPLE}", "Write it again")
    if not all(isinstance(f, list) for f in found):
        raise InputError(source_name, "has a person without pose_keypoints_2d", "Write it again with body keypoints")
    return [f for f in found if f]


def _array(people: list[list[float]], path: Path) -> NDArray[Any]:
    """Return the people of all frames as float32 (P, joints, 3)."""
    lengths = {len(p) for p in people}
    if not lengths:
        raise InputError(path, "has nobody in any frame", "Check that the pose estimation found people")
    if len(lengths) > 1 or not lengths <= set(BY_LENGTH):
        shown = ", ".join(str(n) for n in sorted(lengths))
        raise InputError(
            path,
            f"has {shown} numbers a person; 75 (BODY_25, BODY_25B), 54 (COCO-18) or 51 (COCO-17) were expected",
            "Write it again with one of these models",
        )
    try:
        with np.errstate(over="ignore"):
            points = np.array(people, np.float32).reshape(len(people), lengths.pop() // 3, 3)
    except (ValueError, TypeError, OverflowError):
        raise InputError(path, "has points that are not numbers", "Write the JSON again with one model") from None
    if not np.isfinite(points).all():
        raise InputError(path, "has a coordinate that is not finite", "Write it again")
    return points


def _layout(points: NDArray[Any], variant: str, path: Path) -> str:
    """Return the table of people (P, J, 3): the variant asked for, or what their number of joints and geometry say."""
    joints = points.shape[1]
    if variant:
        layout = VARIANTS[variant]
        if table(layout).skeleton.num_joints != joints:
            raise InputError(
                path, f"has {joints * 3} numbers a person, which is not {variant}", "Leave out the variant in --format"
            )
    else:
        layout = BY_LENGTH[joints * 3] if joints != 25 else _body25_or_25b(points[:: 1 + len(points) // TELLING])
        if not layout:
            raise InputError(
                path,
                "may be BODY_25 or BODY_25B, too few points are seen to tell",
                "Give --format openpose-body25 or openpose-body25b",
            )
    if np.abs(points[:100, :, :2]).max() <= 1.5:
        raise InputError(
            path, "has coordinates scaled to about 0..1, not pixels", "Write it again with --keypoint_scale 0"
        )
    return layout


def _body25_or_25b(points: NDArray[Any]) -> str:
    """Tell the two 25-point orders of people (P, 25, 3) apart by geometry; empty if the data cannot tell.

    In BODY_25 point 8 (mid-hip) lies midway between 9 and 12 and point 1 (neck) between 2 and 5; read as BODY_25B they
    are an elbow and an eye. In BODY_25B points 5 and 6 (shoulders) lie around 17 (upper neck), 1 and 2 (eyes) close to
    0 (nose). Each is measured in units of the person's extent, where all three points are seen.
    """
    points = points[(points[..., 2] > 0.05).sum(axis=1) >= 4]
    x, y, score = points.T.astype(np.float64)
    seen, at = score > 0.05, x + 1j * y
    spans = [np.where(seen, v, -np.inf).max(axis=0) - np.where(seen, v, np.inf).min(axis=0) for v in (x, y)]
    extent = np.maximum(*spans)

    def distance(*ends_and_middle: tuple[int, int, int]) -> NDArray[Any]:
        """Mean distance (P,) of the middles from the midpoints of their ends, over the extent; NaN if none is seen."""
        a, b, middle = np.array(ends_and_middle).T
        away = np.abs((at[a] + at[b]) / 2 - at[middle]) / np.where(extent > 0, extent, 1)
        valid = seen[a] & seen[b] & seen[middle]
        return np.asarray(np.where(valid, away, 0).sum(axis=0) / np.where(valid.any(axis=0), valid.sum(axis=0), np.nan))

    as_25 = distance((9, 12, 8), (2, 5, 1), (15, 16, 0))
    as_25b = distance((1, 2, 0), (5, 6, 17), (3, 4, 0))
    told = np.isfinite(as_25) & np.isfinite(as_25b)
    for_25, total = int((as_25 < as_25b)[told].sum()), int(told.sum())
    if total and for_25 >= 0.7 * total:
        return "body_25"
    return "body_25b" if total and total - for_25 >= 0.7 * total else ""
