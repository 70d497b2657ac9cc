"""Joining clips: repetitions one after another, at other speeds, with pauses, as one motion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import Motion, make_motion
from lmm.pipeline.features import MIDHIP

Array = NDArray[Any]
LEAST_PAUSE_S = 0.2  # in which the pose goes from the end of one clip to the beginning of the next


def joined(clips: Sequence[Motion], speeds: Sequence[float], pauses_s: Sequence[float]) -> Motion:
    """Return clean BODY_25 clips in metres as one motion.

    Clip k is played `speeds[k]` times as fast (linear in time), `pauses_s[k]` after the one before it (the first one's
    is not used). Its mid-hip begins where the mid-hip was, over the ground; in the pause, LEAST_PAUSE_S at least, the
    pose goes along a smooth step (3 s² - 2 s³).
    Raises MotionError if clips have different rates, fewer than two frames, or are not in metres.
    """
    fps = clips[0].fps
    if any(c.fps != fps or c.num_frames < 2 or c.space != "world" for c in clips):
        raise MotionError("only clips in metres of one frame rate, of two frames or more, can be joined.")
    pieces: list[Array] = []
    begun = 0
    for clip, (begin, frames) in zip(clips, layout([c.num_frames for c in clips], fps, speeds, pauses_s), strict=True):
        piece = _paced(clip.positions.astype(np.float64), frames)
        if pieces:
            before = pieces[-1][-1]
            gap = before[MIDHIP] - piece[0, MIDHIP]
            piece = piece + np.where(np.isfinite(gap), gap, 0) * [1, 0, 1]
            s = np.linspace(0, 1, begin - begun + 2)[1:-1, None, None]
            s = 3 * s**2 - 2 * s**3
            pieces.append((1 - s) * before + s * piece[0])
        pieces.append(piece)
        begun = begin + frames
    meta = {"cleaning": clips[0].meta.get("cleaning", {}), "licence": clips[0].meta.get("licence", "")}
    return make_motion(np.concatenate(pieces), fps, clips[0].skeleton, clips[0].space, meta=meta)


def layout(
    frames: Sequence[int], fps: float, speeds: Sequence[float], pauses_s: Sequence[float]
) -> list[tuple[int, int]]:
    """Return where each clip of `frames` frames begins in the joined motion, and how many frames it has there."""
    out: list[tuple[int, int]] = []
    begin = 0
    for k, (count, speed, pause) in enumerate(zip(frames, speeds, pauses_s, strict=True)):
        begin += max(round(LEAST_PAUSE_S * fps), round(pause * fps)) if k else 0
        out.append((begin, max(3, round(count / speed))))
        begin += out[-1][1]
    return out


def _paced(p: Array, frames: int) -> Array:
    """Return positions (T, J, 3) at `frames` even times from the first to the last."""
    at = np.linspace(0, len(p) - 1, frames)
    low = np.minimum(at.astype(int), len(p) - 2)
    part = (at - low)[:, None, None]
    return np.asarray((1 - part) * p[low] + part * p[low + 1])
