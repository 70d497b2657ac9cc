"""A picture of poses side by side in time: one row a motion, for papers, reports and README files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.rendering.draw import (
    FAN,
    FUTURE,
    INK,
    MUTED,
    PAPER,
    RULE,
    SIDES,
    Canvas,
    fan,
    figure,
    legend,
    mix,
    thickness,
)
from lmm.rendering.scene import Camera, Scene, Track, along_ground, body_points, facing, frame, missing

Array = NDArray[Any]

WIDTH = 1600
POSE_HEIGHT = 250
HEAD, FOOT, EDGE = 46, 52, 24
MAX_COLUMNS, MIN_COLUMNS = 14, 6


def write(scene: Scene, out: Path, width: int | None, common_clock: bool) -> None:
    """Write the strip as PNG, `width` pixels wide. With `common_clock`, all rows show the same times."""
    width = width or WIDTH
    cameras = [_camera(t) for t in scene.tracks]
    if common_clock and len({t.segments[0].motion.space for t in scene.tracks}) == 1:
        left, top_, right, bottom = zip(*(c.extent for c in cameras), strict=True)
        cameras = [replace(c, extent=(min(left), min(top_), max(right), max(bottom))) for c in cameras]  # one scale
    columns = min(_columns(c, width) for c in cameras)
    rows = []
    for track in scene.tracks:
        start, end = (scene.start, scene.end) if common_clock else (track.start, track.end)
        split = any(t.forecast for t in scene.tracks) if common_clock else track.forecast
        rows.append(_times(start, end, columns, split, track))
    heights = [_pose_height(c, (width - 2 * EDGE) / len(r)) for c, r in zip(cameras, rows, strict=True)]
    canvas = Canvas(width, round(sum(heights)) + len(rows) * (HEAD + FOOT) + 44, fine=3)
    top = 10
    for track, camera, times, height in zip(scene.tracks, cameras, rows, heights, strict=True):
        row = Canvas(width, round(HEAD + height + FOOT), fine=3)  # of its own: what bursts stays in its row
        _row(row, 0, height, track, camera, times)
        canvas.paste(row, 0, top)
        top += row.height
    legend(canvas, EDGE, canvas.height - 28, scene.tracks, False, width - 2 * EDGE)
    canvas.image.save(out, "PNG")


def _camera(track: Track) -> Camera:
    first = track.segments[0].motion
    azimuth = 0.0 if first.num_dims == 2 else facing([first]) + np.deg2rad(35)
    return frame(body_points([track], following=True), first.space != "image", azimuth)


def _columns(camera: Camera, width: int) -> int:
    l, t, r, b = camera.extent
    return int(np.clip((width - 2 * EDGE) / (POSE_HEIGHT * (r - l) / (b - t)), MIN_COLUMNS, MAX_COLUMNS))


def _pose_height(camera: Camera, cell: float) -> float:
    l, t, r, b = camera.extent
    return float(min(POSE_HEIGHT, cell * (b - t) / (r - l)))


def _times(start: float, end: float, columns: int, split: bool, track: Track) -> Array:
    """Return the times of the poses; a forecast has its 0 among them, and the first thereafter is forecast."""
    if split and start < 0 < end:
        past = int(np.clip(round(columns * -start / (end - start)), 2, columns - 3))
        return np.concatenate([np.linspace(start, 0, past), np.linspace(0, end, columns - past + 1)[1:]])
    frames = sum(s.motion.num_frames for s in track.segments)
    return np.linspace(start, end, min(columns, max(frames, 1)))


def _row(canvas: Canvas, top: float, height: float, track: Track, camera: Camera, times: Array) -> None:
    width = canvas.width - 2 * EDGE
    cell = width / len(times)
    base = top + HEAD + height
    after = int((times <= 1e-9).sum())
    split = track.forecast and after < len(times)
    if split:
        x = EDGE + after * cell
        canvas.box((x, top + HEAD - 8, EDGE + width, base + FOOT - 14), FUTURE, corner=6)
    used = canvas.text(EDGE, top, track.title, 17, INK, room=width * 0.6)
    canvas.text(EDGE + used + 14, top + 4, track.facts, 12.5, MUTED, room=width - used - 14)
    always = [n for s in track.segments for n in _never(s.motion)]
    always = list(dict.fromkeys(always))
    if always:
        canvas.text(
            EDGE,
            top + 22,
            f"never observed ({len(always)}): {', '.join(always)}",
            11.5,
            MUTED,
            room=width * (after / len(times) if split and after else 1) - 80,
        )
    canvas.line(np.array([EDGE, base + 4]), np.array([EDGE + width, base + 4]), RULE, 1)
    for i, t in enumerate(times):
        segment, f, lasts = track.at(float(t))
        x = EDGE + i * cell
        view = camera.view((x, top + HEAD, x + cell, base))
        shift = along_ground(segment.centre[f])
        thick = thickness(view, track.size)
        if lasts:
            fan(canvas, view, segment, f, shift, FAN, thick)
            figure(canvas, view, segment, f, shift, SIDES, thick)
        label = f"{t:+.2f} s" if track.forecast and abs(t) > 1e-9 else f"{t:.2f} s"
        canvas.text(x + cell / 2, base + 11, label, 12.5, INK if lasts else mix(MUTED, PAPER, 0.4), "ma")
        gone = [n for n in missing(segment, f) if n not in always]
        note = (
            ("ended" if t > track.end else "not yet")
            if not lasts
            else f"{len(gone)}{' more' * bool(always)} missing"
            if gone
            else ""
        )
        canvas.text(x + cell / 2, base + 25, note, 10.5, MUTED, "ma", cell - 6)
    if split:
        x = EDGE + after * cell
        for y in np.arange(top + HEAD - 8, base + FOOT - 14, 9):
            canvas.line(np.array([x, y]), np.array([x, y + 5]), FAN, 1.6)
        if after:
            canvas.text(x - 8, top + HEAD - 22, "context", 12.5, MUTED, "ra")
        canvas.text(x + 8, top + HEAD - 22, "forecast", 12.5, mix(FAN, INK, 0.35), "la")


def _never(motion: Any) -> list[str]:
    return [n for n, seen in zip(motion.skeleton.joints, motion.observed.any(axis=0), strict=True) if not seen]
