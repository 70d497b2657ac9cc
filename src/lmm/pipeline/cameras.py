"""Virtual cameras: world motion → image motion, so that motion capture can train models of pictures.

A pinhole camera without distortion that looks at a fixed point, level at its horizon. Points outside the picture keep
their pixels; points behind the camera are missing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation
from lmm.core.motion import Motion

Array = NDArray[Any]
NEAR_M = 0.05  # points nearer to the camera's plane than this, or behind it, are not seen


class Camera(BaseModel):
    """Where a camera stands, as seen from its target, and its picture.

    azimuth_deg    about the vertical: 0 stands on the target's +z side, 90 on its +x side. It is an angle of the world,
                   with the sign of `lmm.core.geometry.heading`: a person of that heading faces the camera
    elevation_deg  above the target's level, between -90 and 90
    distance_m     from the target
    focal_px       focal length; the default shows 6.4 m by 3.6 m at the default distance
    width, height  of the picture, in pixels; the target is at its middle
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    azimuth_deg: float = 0.0
    elevation_deg: float = Field(default=0.0, ge=-90, le=90)
    distance_m: float = Field(default=5.0, gt=NEAR_M)
    focal_px: float = Field(default=1500.0, gt=0)
    width: int = Field(default=1920, gt=0)
    height: int = Field(default=1080, gt=0)


def views(count: int, camera: Camera | None = None) -> tuple[Camera, ...]:
    """Return `count` cameras evenly in azimuth, the first being `camera` (default: in front, level).

    The reference's corpus of dance was filmed from nine sides.
    """
    if count < 1:
        raise MotionError(f"at least one view is needed, got {count}.")
    first = camera or Camera()
    step = 360 / count
    return tuple(first.model_copy(update={"azimuth_deg": first.azimuth_deg + i * step}) for i in range(count))


def project(motion: Motion, camera: Camera, context_frames: int | None = None) -> Motion:
    """Return the motion as `camera` sees it: space ``image``, pixels, y down, with the picture's size.

    The camera looks at the mean place of the mid-hip (else of the neck, else of all joints) over the first
    `context_frames` (default: all) of the motion, or of the context that it continues. Confidence, flags, clock,
    samples and that context come along. Raises MotionError unless the motion is 3D and in metres.
    """
    if motion.space != "world" or motion.num_dims != 3:
        raise MotionError(f"only a motion in metres can be projected; this one is in {motion.space} space.")
    seen = motion.context or motion
    frames = seen.num_frames if context_frames is None else context_frames
    if not 1 <= frames <= seen.num_frames:
        raise MotionError(f"the context must have 1 to {seen.num_frames} frames, got {frames}.")
    return _project(motion, camera, _target(seen, frames))


def _target(motion: Motion, frames: int) -> Array:
    places = motion.positions[:frames].astype(np.float64)
    groups = [[motion.skeleton.index[n]] for n in ("MidHip", "Neck") if n in motion.skeleton.index]
    for joints in [*groups, list(range(motion.skeleton.num_joints))]:
        chosen = places[:, joints].reshape(-1, 3)
        chosen = chosen[np.isfinite(chosen).all(axis=1)]
        if len(chosen):
            return np.asarray(chosen.mean(axis=0))
    raise MotionError("no joint is seen in the context: there is nothing for the camera to look at.")


def _project(motion: Motion, camera: Camera, target: Array) -> Motion:
    positions = _pixels(motion.positions, camera, target)
    return motion.replace(
        positions=positions,
        confidence=np.where(np.isfinite(positions).all(axis=2), motion.confidence, 0),
        space="image",
        size=(camera.width, camera.height),
        samples=None if motion.samples is None else _pixels(motion.samples, camera, target),
        context=None if motion.context is None else _project(motion.context, camera, target),
        meta={**motion.meta, "camera": {**camera.model_dump(), "target_m": target.tolist()}},
    )


def _pixels(points: Array, camera: Camera, target: Array) -> Array:
    """Return pixels (..., 2) of `points` (..., 3) in metres; NaN where they are not in front of the camera."""
    azimuth, elevation = np.radians(camera.azimuth_deg), np.radians(camera.elevation_deg)
    # columns: the picture's right, its up, and from target to camera
    axes = axis_rotation("y", azimuth) @ axis_rotation("x", -elevation)
    right, up, towards = np.moveaxis((points - target) @ axes, -1, 0)
    depth = camera.distance_m - towards
    magnification = camera.focal_px / np.where(depth >= NEAR_M, depth, np.nan)
    return np.stack([camera.width / 2 + right * magnification, camera.height / 2 - up * magnification], axis=-1)
