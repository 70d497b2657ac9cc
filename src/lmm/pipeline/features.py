"""Motion ↔ the 75 features that forecasters see, and exactly back: the second half of the pipeline.

A BODY_25 motion at the model's rate (``pipeline.resample``) is measured in one unit (the torso of the context), about
one joint (the mid-hip, whose own slot holds the path), facing one way (3D), then standardised. All that the inverse
needs is a `FeatureTransform`, which only the context determines: the features of the context never depend on what
comes after it, and `FeatureTransform.after_context` decodes a forecast in the source's own pixels or metres.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation, heading
from lmm.core.motion import Motion, Space
from lmm.skeletons import BODY_25

Array = NDArray[Any]
Layout = Literal["xyc", "xyz"]
Centre = Literal["MidHip", "Neck"]

NUM_JOINTS = 25
NUM_FEATURES = 75
MIDHIP, NECK = BODY_25.index["MidHip"], BODY_25.index["Neck"]

# The least standard deviations: 1 % of the torso is below what cameras and markers measure, and a corpus whose
# confidences hardly vary (projected motion capture) must not make the first blurred joint an outlier.
STD_FLOOR = 0.01
CONFIDENCE_STD_FLOOR = 0.1
# A joint whose mask says observed keeps a confidence above 0, whatever a model predicts.
LEAST_CONFIDENCE = 1e-6
# A torso shorter than this part of the visible limb is foreshortened or false, and gives no unit.
LEAST_TORSO = 0.2
# The left-right axis tells the heading where at least this part of it is horizontal.
LEAST_HORIZONTAL = 0.1

# Segment lengths in body heights: R. Drillis and R. Contini, "Body Segment Parameters", 1966, as drawn in D. Winter,
# "Biomechanics and Motor Control of Human Movement", 4th edition 2009, figure 4.1.
TORSO = 0.288
LIMBS = {
    "right leg": (("RHip", "RKnee", "RAnkle"), 0.245 + 0.246),
    "left leg": (("LHip", "LKnee", "LAnkle"), 0.245 + 0.246),
    "right arm": (("RShoulder", "RElbow", "RWrist"), 0.186 + 0.146),
    "left arm": (("LShoulder", "LElbow", "LWrist"), 0.186 + 0.146),
}
SHOULDERS = (("RShoulder", "LShoulder"), 0.259)


class FeatureSpec(BaseModel):
    """What the 75 numbers mean and how they are standardised. It lives with a model's weights.

    layout  ``xyc``: x, y, confidence of 2D motions · ``xyz``: 3D motions
    fps     the rate at which motions must come
    mean    of each feature, in body lengths (confidences in [0, 1])
    std     likewise, raised to STD_FLOOR (confidences: CONFIDENCE_STD_FLOOR)

    The defaults standardise nothing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layout: Layout
    fps: float = Field(default=15.0, gt=0)
    mean: tuple[float, ...] = Field(default=(0.0,) * NUM_FEATURES, min_length=NUM_FEATURES, max_length=NUM_FEATURES)
    std: tuple[float, ...] = Field(default=(1.0,) * NUM_FEATURES, min_length=NUM_FEATURES, max_length=NUM_FEATURES)

    @field_validator("std")
    @classmethod
    def _floored(cls, std: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        last = CONFIDENCE_STD_FLOOR if info.data.get("layout") == "xyc" else STD_FLOOR
        return tuple(max(s, last if i % 3 == 2 else STD_FLOOR) for i, s in enumerate(std))


class FeatureTransform(BaseModel):
    """How one motion's features lie in its own space: plain JSON values, in pixels or metres and frames.

    layout, space, size, fps, start_s   of the motion, as in Motion
    context_frames  the frames that determined all below; 0 in a transform of what follows a context
    centre          the joint on which each frame is centred, and whose slot holds its displacement
    scale           one body length: the unit of the features
    scale_from      ``torso``, a limb of LIMBS, or ``shoulders``
    heading         angle about +y that was turned to +z, radians; 0 in 2D and where never known
    heading_from    ``hips``, ``shoulders`` or ``none``
    start           place of the centre at frame `start_frame`, from which displacements add up; that frame is the
                    first observed one, or a negative one (before the first) in a transform of what follows a context
    end, end_frame  place of the centre at the last observed frame of the context
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    layout: Layout
    space: Space
    size: tuple[int, int] | None
    fps: float = Field(gt=0)
    start_s: float
    context_frames: int = Field(ge=0)
    centre: Centre
    scale: float = Field(gt=0)
    scale_from: str
    heading: float
    heading_from: Literal["hips", "shoulders", "none"]
    start: tuple[float, ...] = Field(min_length=2, max_length=3)
    start_frame: int
    end: tuple[float, ...] = Field(min_length=2, max_length=3)
    end_frame: int

    @property
    def axes(self) -> Array:
        """Orthogonal (C, C): a column vector of the motion's space, times this, lies along the features' axes."""
        if len(self.start) == 3:
            return axis_rotation("y", np.array(-self.heading))
        return np.diag([1.0, -1.0 if self.space == "image" else 1.0])

    def after_context(self) -> FeatureTransform:
        """Return the transform of the frames that follow the context.

        Their first observed displacement counts from the last observed place of the centre in the context.
        """
        return self.model_copy(
            update={
                "start": self.end,
                "start_frame": self.end_frame - self.context_frames,
                "end_frame": self.end_frame - self.context_frames,
                "start_s": self.start_s + self.context_frames / self.fps,
                "context_frames": 0,
            }
        )


@dataclass(frozen=True, eq=False)
class Features:
    """Model input: values float32 (T, 75), 0 where missing; observed bool (T, 25); and the way back."""

    values: Array
    observed: Array
    transform: FeatureTransform


def feature_names(layout: Layout) -> list[str]:
    """Return the 75 names, joint-major: ``Nose.x``, ``Nose.y``, ``Nose.confidence`` ...; ``MidHip.dx`` is the path."""
    last = "confidence" if layout == "xyc" else "z"
    names = [f"{joint}.{feature}" for joint in BODY_25.joints for feature in ("x", "y", last)]
    return [n.replace("MidHip.", "MidHip.d") if n != "MidHip.confidence" else n for n in names]


def encode(
    motion: Motion, spec: FeatureSpec, context_frames: int | None = None, of: FeatureTransform | None = None
) -> Features:
    """Return the features of a BODY_25 motion; the first `context_frames` (default: all) determine the transform.

    Of one that goes on after another, `of` is the other's transform: its body length holds.

    The MidHip slot holds the displacement since the previous frame in which it was observed, 0 at the first; every
    other slot the place relative to the mid-hip of that frame, in body lengths, y up, the heading of the last context
    frame turned to +z. Where the mid-hip is missing it is interpolated, or held, for centring only, and stays masked.
    If the context never shows it, frames are centred on the neck: then the Neck slot holds the displacement, a mid-hip
    that appears later its place relative to the neck, and `spec`'s statistics are moved likewise (see `moments`).

    Raises MotionError if the skeleton, rate or space does not fit `spec`, if the context shows neither mid-hip nor
    neck, or nothing from which a body length follows.
    """
    frames = motion.num_frames
    context = frames if context_frames is None else context_frames
    _check_fit(motion, spec)
    if not 1 <= context <= frames:
        raise MotionError(f"the context must have 1 to {frames} frames, all that the motion has; got {context}.")
    points, seen = motion.positions.astype(np.float64), motion.observed
    centre = _choose_centre(seen[:context])
    scale, scale_from = _body_length(points[:context]) if of is None else (of.scale, of.scale_from)
    angle, heading_from = _last_heading(points[:context])
    c = BODY_25.index[centre]
    known = np.flatnonzero(seen[:, c])
    last = known[known < context][-1]
    transform = FeatureTransform(
        layout=spec.layout,
        space=motion.space,
        size=motion.size,
        fps=motion.fps,
        start_s=motion.start_s,
        context_frames=context,
        centre=centre,
        scale=scale,
        scale_from=scale_from,
        heading=angle,
        heading_from=heading_from,
        start=tuple(points[known[0], c].tolist()),
        start_frame=int(known[0]),
        end=tuple(points[last, c].tolist()),
        end_frame=int(last),
    )
    root = _fill(points[known, c], known, frames, context)
    local = points - root[:, None]
    local[:, c] = 0
    local[known[1:], c] = np.diff(points[known, c], axis=0)
    features = np.empty((frames, NUM_JOINTS, 3))
    features[..., : motion.num_dims] = local @ transform.axes.T / scale
    if spec.layout == "xyc":
        features[..., 2] = motion.confidence
    mean, std = moments(spec, centre)
    values = np.where(seen[..., None], (features - mean) / std, 0)
    if np.abs(values).max() > np.finfo(np.float32).max:
        raise MotionError(
            f"the body length ({scale:.3g}) is too small for the places of the joints to be measured in it."
        )
    return Features(values.reshape(frames, NUM_FEATURES).astype(np.float32), seen, transform)


def decode(values: ArrayLike, observed: ArrayLike, spec: FeatureSpec, transform: FeatureTransform) -> Motion:
    """Return the motion, in the space, pixels or metres of its source, of `values` (T, 75) and `observed` (T, 25).

    The inverse of `encode`, to 1e-4 of the clip's bounding-box diagonal, given the same mask; for a forecast give
    ``transform.after_context()``. Coordinates are NaN where `observed` is False, whatever the value. With ``xyz`` the
    confidence is 1 where observed. Flags, irregular clocks and meta do not pass through features.

    Raises MotionError if shapes or layouts disagree, or an observed value is not finite.
    """
    flat, seen = np.asarray(values, np.float64), np.asarray(observed, np.bool_)
    frames = len(flat) if flat.ndim else 0
    if flat.shape != (frames, NUM_FEATURES) or seen.shape != (frames, NUM_JOINTS) or not frames:
        raise MotionError(
            f"values must be (frames, {NUM_FEATURES}) and observed (frames, {NUM_JOINTS}), with one frame or more, "
            f"got {flat.shape} and {seen.shape}."
        )
    if spec.layout != transform.layout or not _same_rate(spec.fps, transform.fps):
        raise MotionError(
            f"features of {transform.layout} at {transform.fps:g} frames per second do not fit a model of "
            f"{spec.layout} at {spec.fps:g}."
        )
    mean, std = moments(spec, transform.centre)
    features = np.where(seen[..., None], flat.reshape(frames, NUM_JOINTS, 3) * std + mean, 0)
    if not np.isfinite(features).all():
        frame, joint = np.argwhere(~np.isfinite(features).all(axis=2))[0]
        raise MotionError(f"the features of {BODY_25.joints[joint]} in frame {frame} are not finite, though observed.")
    c, dims = BODY_25.index[transform.centre], len(transform.start)
    places = transform.scale * features[..., :dims] @ transform.axes
    known = np.flatnonzero(seen[:, c])
    path = np.array(transform.start) + np.cumsum(places[known, c], axis=0)
    if transform.start_frame < 0 or not known.size:
        known = np.concatenate([[transform.start_frame], known])
        path = np.concatenate([[transform.start], path])
    root = _fill(path, known, frames, transform.context_frames)
    places[:, c] = 0
    confidence = np.clip(features[..., 2], LEAST_CONFIDENCE, 1) if spec.layout == "xyc" else np.ones(seen.shape)
    return Motion(
        positions=np.where(seen[..., None], root[:, None] + places, np.nan),
        confidence=np.where(seen, confidence, 0),
        fps=transform.fps,
        skeleton=BODY_25,
        space=transform.space,
        size=transform.size,
        start_s=transform.start_s,
    )


def moments(spec: FeatureSpec, centre: Centre) -> tuple[Array, Array]:
    """Return the mean and std, (25, 3) each, of features centred on `centre`.

    Statistics are taken about the mid-hip. About the neck, places have their mean less the neck's, the path's
    statistics move from the MidHip slot to the Neck slot, and the mid-hip lies where the neck lay, mirrored.
    """
    mean, std = np.reshape(spec.mean, (NUM_JOINTS, 3)), np.reshape(spec.std, (NUM_JOINTS, 3))
    if centre == "MidHip":
        return mean, std
    place = slice(0, 2 if spec.layout == "xyc" else 3)
    moved, spread = mean.copy(), std.copy()
    moved[:, place] -= mean[NECK, place]
    moved[NECK, place], moved[MIDHIP, place] = mean[MIDHIP, place], -mean[NECK, place]
    spread[NECK, place], spread[MIDHIP, place] = std[MIDHIP, place], std[NECK, place]
    return moved, spread


def statistics(features: Iterable[Features]) -> FeatureSpec:
    """Return the spec that standardises features made with an identity spec: mean and std of the observed values.

    One pass, in constant memory (T. Chan, G. Golub and R. LeVeque, "Updating Formulae and a Pairwise Algorithm for
    Computing Sample Variances", 1979). Motions centred on the neck count only if all are. A feature never observed has
    mean 0 and std 1. Raises MotionError if there are none, or their layouts or rates differ.
    """
    kinds: set[tuple[Layout, float]] = set()
    totals: dict[Centre, Array] = {c: np.zeros((3, NUM_JOINTS, 3)) for c in ("MidHip", "Neck")}
    for item in features:
        kinds.add((item.transform.layout, item.transform.fps))
        if len(kinds) > 1:
            raise MotionError(f"features of different layouts or rates cannot share statistics: {sorted(kinds)}.")
        values = item.values.reshape(-1, NUM_JOINTS, 3).astype(np.float64)
        count, mean, squares = totals[item.transform.centre]
        seen = item.observed[..., None]
        new = np.broadcast_to(seen.sum(axis=0), count.shape)
        new_mean = np.where(seen, values, 0).sum(axis=0) / np.maximum(new, 1)
        total, step = np.maximum(count + new, 1), new_mean - mean
        squares += (np.where(seen, values - new_mean, 0) ** 2).sum(axis=0) + step**2 * count * new / total
        mean += step * new / total
        count += new
    if not kinds:
        raise MotionError("there are no features to take statistics of.")
    count, mean, squares = totals["MidHip"]
    if not count.any():
        count, mean, squares = totals["Neck"]
        place = slice(0, 2 if next(iter(kinds))[0] == "xyc" else 3)
        for total in (count, mean, squares):
            total[MIDHIP, place], total[NECK, place] = total[NECK, place], 0
    std = np.where(count > 0, np.sqrt(squares / np.maximum(count, 1)), 1)
    layout, fps = kinds.pop()
    return FeatureSpec(layout=layout, fps=fps, mean=tuple(mean.ravel().tolist()), std=tuple(std.ravel().tolist()))


def _check_fit(motion: Motion, spec: FeatureSpec) -> None:
    if motion.skeleton.joints != BODY_25.joints:
        raise MotionError(f"features are made of BODY_25, not {motion.skeleton.name}: convert the motion first.")
    if motion.times is not None or not _same_rate(motion.fps, spec.fps):
        got = "an irregular clock" if motion.times is not None else f"{motion.fps:g}"
        raise MotionError(f"features need {spec.fps:g} frames per second, the motion has {got}: resample it first.")
    if spec.layout == "xyc" and motion.num_dims == 3:
        raise MotionError("layout xyc is two-dimensional and the motion is not: project it through a camera first.")
    if spec.layout == "xyz" and (motion.num_dims == 2 or motion.space == "image"):
        raise MotionError(
            "layout xyz needs a motion in metres and the motion lies in an image: use a model of layout xyc."
        )


def _same_rate(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)


def _choose_centre(seen: Array) -> Centre:
    if seen[:, MIDHIP].any():
        return "MidHip"
    if seen[:, NECK].any():
        return "Neck"
    raise MotionError(
        f"neither mid-hip nor neck is seen in the {len(seen)} frames of the context: the person cannot be centred."
    )


def _fill(path: Array, known: Array, frames: int, context: int) -> Array:
    """Return the centre in every frame (T, C) from its `path` (N, C) at frames `known` (N,).

    Interpolated between, held at both ends, and held at the end of the context, which must not know what follows.
    """
    times = np.arange(frames)
    root = np.stack([np.interp(times, known, x) for x in path.T], axis=1)
    inside = int(np.searchsorted(known, context))
    if inside:
        root[known[inside - 1] + 1 : context] = path[inside - 1]
    return root


def _body_length(points: Array) -> tuple[float, str]:
    """Return one body length, in the motion's unit, and what it was measured on."""
    torso = _usual_length(points, ("MidHip", "Neck"))
    limbs = {name: (_usual_length(points, joints), ratio) for name, (joints, ratio) in LIMBS.items()}
    seen = {name: (length, ratio) for name, (length, ratio) in limbs.items() if length > 0}
    if not seen and (width := _usual_length(points, SHOULDERS[0])) > 0:
        seen = {"shoulders": (width, SHOULDERS[1])}
    if not seen:
        if torso > 0:
            return torso, "torso"
        raise MotionError(
            "the body's size is unknown: neck and mid-hip are never seen apart in one frame of the context, nor is a "
            "whole arm, a whole leg or both shoulders."
        )
    # foreshortening only shortens: the limb that implies the longest torso is the least affected
    name = max(seen, key=lambda n: seen[n][0] / seen[n][1])
    length, ratio = seen[name]
    return (torso, "torso") if torso >= LEAST_TORSO * length else (length * TORSO / ratio, name)


def _usual_length(points: Array, chain: tuple[str, ...]) -> float:
    """Return the 90th percentile over frames of the length along `chain`, 0 if it is never wholly seen."""
    joints = points[:, [BODY_25.index[name] for name in chain]]
    lengths = np.linalg.norm(np.diff(joints, axis=1), axis=2).sum(axis=1)
    lengths = lengths[np.isfinite(lengths)]
    return float(np.percentile(lengths, 90)) if lengths.size else 0.0


def _last_heading(points: Array) -> tuple[float, Literal["hips", "shoulders", "none"]]:
    """Return the heading (radians about +y) in the last frame of `points` that tells it, from hips or shoulders."""
    if points.shape[2] == 2:
        return 0.0, "none"
    index = BODY_25.index
    hips = points[:, index["LHip"]] - points[:, index["RHip"]]
    shoulders = points[:, index["LShoulder"]] - points[:, index["RShoulder"]]
    hips_tell, shoulders_tell = _tells_heading(hips), _tells_heading(shoulders)
    telling = np.flatnonzero(hips_tell | shoulders_tell)
    if not telling.size:
        return 0.0, "none"
    last = telling[-1]
    if hips_tell[last]:
        return float(heading(hips[last])), "hips"
    return float(heading(shoulders[last])), "shoulders"


def _tells_heading(lateral: Array) -> Array:
    length, horizontal = np.linalg.norm(lateral, axis=1), np.hypot(lateral[:, 0], lateral[:, 2])
    return np.asarray((horizontal > 0) & (horizontal >= LEAST_HORIZONTAL * length))
