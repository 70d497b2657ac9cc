"""COCO keypoint files of a video: annotations (`images`, `annotations`, `categories`) and lists of results.

Images are the frames, ordered by `frame_id`, the last number in the file name, or (results) the image id; images that
are no video (of several sizes, or with scattered numbers) are refused. People are told apart by `track_id`, or linked
from frame to frame. The files state no frame rate. Format: COCO, "Data format, keypoint detection" and "results".

The third number of a point is a visibility flag in annotations: 0 missing (its x and y mean nothing), 1 labelled but
hidden: confidence 0.5, 2 visible: confidence 1. In results it is a score from 0 to 1, or the same flag if the file
holds a 2 and nothing but 0, 1 and 2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from lmm.core.errors import InputError, NotMotionError
from lmm.core.motion import MAX_FRAMES, Motion, make_motion
from lmm.skeletons import table
from lmm.sources.files import Input
from lmm.sources.reading import Options, source
from lmm.sources.tracking import link

JOINTS = 17
HIDDEN_CONFIDENCE = 0.5
MAX_PEOPLE = 200
MAX_SPREAD = 4  # frame numbers may span this many times the number of images


@dataclass
class _Video:
    """Frame number → people as (track id or None, (17, 3) numbers); frames without people have an empty list."""

    frames: dict[int, list[tuple[str | None, NDArray[Any]]]] = field(default_factory=dict)
    sizes: set[tuple[int, int]] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    is_flag: bool = False


NOTE = "Tried on real annotation and result files; they hold single images, so videos only as made from other motions"


def sniff(given: Input) -> bool:
    head = given.head
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if start == b"[":
        return b'"image_id"' in head and b'"keypoints"' in head
    if start != b"{" or b'"people"' in head or not any(k in head for k in (b'"images"', b'"annotations"')):
        return False
    return b'"keypoints"' in head or b'"keypoints"' in given.data()


def items(given: Input) -> list[str] | None:
    """The videos in one file, told apart by `video_id` or by file names that differ before the frame number."""
    names = list(_open(given))
    return names if len(names) > 1 else None


@source(
    "coco", "COCO keypoints of a video", sniff, extensions=(".json",), items=items, note=NOTE, settles=("source_fps",)
)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    videos = _open(given)
    if item is not None and item not in videos:
        raise InputError(path, f"has no video {item!r}; it has {', '.join(list(videos)[:8])}", "Choose one of these")
    video = videos[item] if item is not None else next(iter(videos.values()))
    numbers, step = _frame_numbers(video, path)
    recording_fps = options.rate(path, None, "COCO files do not state their frame rate")
    fps = recording_fps / step
    skeleton = table("coco_17").skeleton
    points = [np.array([_scored(p, video.is_flag) for _, p in video.frames[n]]).reshape(-1, JOINTS, 3) for n in numbers]
    detections = [np.zeros((0, JOINTS, 3))] * ((numbers[-1] - numbers[0]) // step + 1)
    for n, people in zip(numbers, points, strict=True):
        detections[(n - numbers[0]) // step] = people
    notes = [*video.notes, *([f"one frame in {step} is annotated"] if step > 1 else [])]
    size = next(iter(video.sizes), None)
    motions = []
    for person, at, which in _people(video, numbers, step, detections, fps):
        first, last = int(at.min()), int(at.max()) + 1
        track = np.full((last - first, JOINTS, 3), np.nan)
        track[at - first] = [detections[t][k] for t, k in zip(at, which, strict=True)]
        meta = {"person": person, "notes": notes, **({"trial": item} if item else {})}
        motions.append(
            make_motion(
                track[..., :2],
                fps,
                skeleton,
                "image",
                np.nan_to_num(track[..., 2]),
                size=size,
                start_s=(numbers[0] + first * step) / recording_fps,
                meta=meta,
            )
        )
    return motions


def _people(
    video: _Video, numbers: list[int], step: int, detections: list[NDArray[Any]], fps: float
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    """Yield person, frame indices and detection indices: by track id where every person has one, else linked."""
    ids = [track for people in video.frames.values() for track, _ in people]
    if any(track is None for track in ids):
        for i, (at, which) in enumerate(link(detections, fps)):
            yield str(i), at, which
        return
    found: dict[str, dict[int, int]] = {}
    for n in numbers:
        for k, (track, _) in enumerate(video.frames[n]):
            found.setdefault(str(track), {}).setdefault((n - numbers[0]) // step, k)
    for track_id, where in found.items():
        yield track_id, np.array(list(where)), np.array(list(where.values()))


def _frame_numbers(video: _Video, path: Path) -> tuple[list[int], int]:
    """Return the frames' numbers in order and their common step. Raises NotMotionError for images that are no video."""
    if len(video.sizes) > 1:
        shown = ", ".join(f"{w} x {h}" for w, h in sorted(video.sizes)[:3])
        raise NotMotionError(
            path, f"holds single images of several sizes ({shown}), not a video", "Give the keypoints of one video"
        )
    numbers = sorted(video.frames)
    if len(numbers) < 2:
        raise NotMotionError(path, "holds a single image with people, not a video", "Give the keypoints of one video")
    step = math.gcd(*(b - a for a, b in pairwise(numbers)))
    span = (numbers[-1] - numbers[0]) // step + 1
    if span > MAX_SPREAD * len(numbers) or span > MAX_FRAMES:
        raise NotMotionError(
            path,
            f"holds {len(numbers)} images numbered from {numbers[0]} to {numbers[-1]}: scattered images, not a video",
            "Give the keypoints of one video, with consecutive frame numbers",
        )
    return numbers, step


def _scored(points: NDArray[Any], is_flag: bool) -> NDArray[Any]:
    """Return (17, 3) with the third number as a confidence, and 0 for points at 0, 0."""
    out = points.copy()
    out[:, 2] = (
        np.select([out[:, 2] >= 2, out[:, 2] == 1], [1.0, HIDDEN_CONFIDENCE], 0)
        if is_flag
        else np.clip(out[:, 2], 0, 1)
    )
    out[(out[:, :2] == 0).all(axis=1), 2] = 0
    return out


@lru_cache(maxsize=2)
def _opened(path: Path, _changed: int) -> dict[str, _Video]:
    try:
        data = from_json(Input(path).data(), allow_inf_nan=False)
        return _results(data, path) if isinstance(data, list) else _annotations(data, path)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as e:
        raise InputError(
            path, f"is not a readable COCO keypoint file ({type(e).__name__}: {e})", "Export it again"
        ) from None


def _open(given: Input) -> dict[str, _Video]:
    return _opened(given.path, given.path.stat().st_mtime_ns)


def _annotations(data: dict[str, Any], path: Path) -> dict[str, _Video]:
    """Return the videos of an annotation file; each listed image is a frame, with or without people."""
    people = {c["id"]: _first_17(c, path) for c in data.get("categories", []) if "keypoints" in c}
    if not people:
        raise InputError(
            path,
            "has no category with the names of its keypoints",
            "The list 'categories' must name the 17 COCO keypoints",
        )
    videos: dict[str, _Video] = {}
    where: dict[Any, list[tuple[str | None, NDArray[Any]]]] = {}
    for image in data["images"]:
        clip, number = _place(image)
        video = videos.setdefault(clip, _Video(is_flag=True))
        if "width" in image and "height" in image:
            video.sizes.add((int(image["width"]), int(image["height"])))
        if number in video.frames:
            raise NotMotionError(
                path, f"has two images of number {number}: no video has", "Give the keypoints of one video"
            )
        where[image["id"]] = video.frames.setdefault(number, [])
    if any(people.values()):
        for video in videos.values():
            video.notes.append("the first 17 of more keypoints are read")
    for a in data["annotations"]:
        if a.get("category_id") in people and a.get("num_keypoints") != 0 and "keypoints" in a:
            _add(where[a["image_id"]], a, path, more=people[a["category_id"]])
    return videos


def _results(data: list[Any], path: Path) -> dict[str, _Video]:
    """Return the one video of a results list; image ids are the frame numbers."""
    video = _Video()
    for result in data:
        number = result["image_id"]
        if not isinstance(number, int) or isinstance(number, bool):
            raise InputError(
                path, f"has an image_id {str(number)[:40]!r} that is no number", "Number the images as frames"
            )
        _add(video.frames.setdefault(number, []), result, path, more=False)
    if not video.frames:
        raise InputError(path, "is an empty list", "Check that the pose estimation found people")
    thirds = np.concatenate([p[:, 2] for people in video.frames.values() for _, p in people])
    video.is_flag = bool((thirds == 2).any() and np.isin(thirds, (0, 1, 2)).all())
    if not video.is_flag and (thirds > 1).any():
        video.notes.append(f"{int((thirds > 1).sum())} scores above 1 (up to {thirds.max():.3g}) are read as 1")
    return {"": video}


def _add(people: list[tuple[str | None, NDArray[Any]]], entry: dict[str, Any], path: Path, more: bool) -> None:
    points = np.array(entry["keypoints"], np.float64)
    if points.ndim != 1 or points.size % 3 or not (points.size > 3 * JOINTS if more else points.size == 3 * JOINTS):
        raise InputError(
            path,
            f"has a person of {points.size} numbers; 17 points of 3 numbers were expected",
            "Only COCO's 17 body keypoints are read from such a file",
        )
    if not np.isfinite(points).all() or np.abs(points).max() > 1e9:
        raise InputError(path, "has a coordinate that is not finite or is huge", "Export it again")
    if len(people) >= MAX_PEOPLE:
        raise InputError(path, f"has over {MAX_PEOPLE} people in one image", "Export it again")
    track = entry.get("track_id")
    people.append((None if track is None else str(track), points.reshape(-1, 3)[:JOINTS]))


def _first_17(category: dict[str, Any], path: Path) -> bool:
    """Return True if the category has more points than the 17; raises InputError if its first 17 are not COCO's."""
    names = tuple(re.sub(r"\W+", "_", str(n).lower()) for n in category["keypoints"])
    if names[:JOINTS] != table("coco_17").joints:
        raise InputError(
            path,
            f"has keypoints that are not COCO's 17 ({', '.join(names[:5])} ...)",
            "Only COCO's body keypoints are read",
        )
    return len(names) > JOINTS


def _place(image: dict[str, Any]) -> tuple[str, int]:
    """Return the video that an image belongs to, and its frame number."""
    name = str(image.get("file_name", ""))
    match = re.search(r"^(.*?)(\d{1,15})\D*$", name)
    clip = image.get("video_id", image.get("vid_id"))
    number: Any = image.get("frame_id", match[2] if match else image["id"])
    return (match[1].rstrip("/_.- ") if match else "") if clip is None else str(clip), int(number)
