"""The source ``video``: everybody in a video, in pixels, by a pose estimator."""

from __future__ import annotations

import numpy as np

from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion, make_motion
from lmm.core.progress import advance
from lmm.skeletons import table
from lmm.sources.files import Input
from lmm.sources.reading import Options, source
from lmm.sources.tracking import people
from lmm.video.decoding import Video, clock, is_video
from lmm.video.estimators import choose


@source(
    "video",
    "Video (MP4, MOV, MKV, WebM, AVI), by a pose estimator",
    lambda given: given.kind == "file" and is_video(given.head),
    extensions=(".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v"),
    chooses="a pose estimator: mediapipe, openpose, POSE.onnx or POSE.onnx,DETECTOR.onnx",
    settles=("source_fps",),
)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    """Return a motion a person. Frames in which nobody is seen are gaps.

    Time stamps are the video's own, and `times` holds them where its clock is irregular. `options.variant` names the
    estimator; `options.source_fps` overrules the clock (slow motion that was filmed at a higher rate).
    """
    video = Video(given.path)
    try:
        estimator = choose(options.variant)
        frames = []
        for found in estimator.people(video):
            frames.append(found)
            advance(len(frames), video.expected)
    except InputError:
        raise
    except LmmError as e:
        raise InputError(given.path, str(e)) from None
    fps, times = clock([f.time for f in frames], video.rate)
    if options.source_fps is not None:
        fps, times = options.source_fps, None
    start = frames[0].time if frames else 0.0
    skeleton = table(estimator.skeleton).skeleton
    tracks, notes = people([f.points for f in frames], fps)
    notes = [f"poses estimated by {estimator.name}", *notes]
    if video.damaged:
        notes.append(f"{video.damaged} packets of the video are damaged: their frames are missing")
    motions = []
    for i, (first, points) in enumerate(tracks):
        motions.append(
            make_motion(
                points[..., :2],
                fps,
                skeleton,
                "image",
                np.clip(np.nan_to_num(points[..., 2]), 0, 1),
                size=video.size,
                times=None if times is None else times[first : first + len(points)],
                start_s=start + first / fps,
                meta={"person": str(i), "notes": notes},
            )
        )
    return motions
