"""Windows: clips → what forecasters learn from and are tested on. Context, then horizon, in features.

Windows are cut when they are asked for, by the same `pipeline` functions that serve a user's file: nothing is stored
twice, and a window is a pure function of its seed, so that training resumes exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lmm.core.errors import MotionError
from lmm.core.motion import RECORDED, Motion
from lmm.pipeline.cameras import Camera, project, views
from lmm.pipeline.features import NUM_FEATURES, NUM_JOINTS, Features, FeatureSpec, encode
from lmm.pipeline.resample import resample
from lmm.skeletons import BODY_25
from lmm.tokens import PARTS

Array = NDArray[Any]
MIN_CONTEXT, MIN_HORIZON = 8, 8  # frames: about half a second each
MAX_TRIES = 100
LEAST_DEPTH_M = 1.0


class Augmentation(BaseModel):
    """What a training window may undergo; probabilities and ranges. All zero: nothing.

    mirror        left and right exchanged
    speed         the clock runs faster or slower by up to this share
    short         the context is cut to a random length, as a user's short clip is
    drop_joints   each joint of the context is missing throughout with this probability, in half of the windows
    drop_regions  one body part is missing throughout
    drop_frames   a stretch of the context is missing
    noise         2D: keypoints get confidences and errors like those of a pose estimator
    tilt_deg      2D: cameras are turned by up to this much in azimuth and elevation
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mirror: float = Field(default=0.5, ge=0, le=1)
    speed: float = Field(default=0.15, ge=0, lt=0.5)
    short: float = Field(default=0.75, ge=0, le=1)
    drop_joints: float = Field(default=0.1, ge=0, le=1)
    drop_regions: float = Field(default=0.1, ge=0, le=1)
    drop_frames: float = Field(default=0.15, ge=0, le=1)
    noise: float = Field(default=0.3, ge=0, le=1)
    tilt_deg: float = Field(default=10.0, ge=0, le=45)


@dataclass(frozen=True, eq=False)
class Window:
    """One context with what followed.

    features  of context and horizon together, (C + H, 75); the context alone determined the transform
    recorded  (C + H, 25): the joint was recorded there, neither interpolated nor synthesised, and the context shows it:
              what losses and scores count
    context_frames  C
    """

    features: Features
    recorded: Array
    context_frames: int


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows side by side: contexts end together (padded on the left), horizons begin together.

    context (B, T, 75), valid (B, T), observed (B, T, 25), T a multiple of 5; target (B, H, 75), present (B, H, 25): the
    joints that it and the context show; recorded (B, H, 25): those of them that count.
    """

    context: Array
    valid: Array
    observed: Array
    target: Array
    present: Array
    recorded: Array


class Clips:
    """Motions at one rate, of one split, ready to be cut.

    Raises MotionError if none is as long as one short window.
    """

    def __init__(self, motions: Iterable[Motion], fps: float) -> None:
        self.fps = fps
        self.motions = [resample(m, fps) for m in motions]
        cuts = [max(0, m.num_frames - MIN_CONTEXT - MIN_HORIZON + 1) for m in self.motions]
        self._ends = np.cumsum(cuts)
        if not cuts or not self._ends[-1]:
            raise MotionError(
                f"no clip has {MIN_CONTEXT + MIN_HORIZON} frames at {fps:g} a second: there is nothing to forecast."
            )

    @property
    def num_cuts(self) -> int:
        """How many places there are between MIN_CONTEXT frames of past and MIN_HORIZON of future."""
        return int(self._ends[-1])

    @property
    def num_frames(self) -> int:
        return sum(m.num_frames for m in self.motions)

    def full_windows(self, context_frames: int, horizon_frames: int) -> int:
        """How many windows (at every frame, of one view) have the whole context and the whole horizon."""
        return sum(max(0, m.num_frames - context_frames - horizon_frames + 1) for m in self.motions)

    def cut(self, index: int) -> tuple[Motion, int]:
        """Return the clip of cut number `index`, and the frame at which its horizon begins."""
        clip = int(np.searchsorted(self._ends, index, side="right"))
        before = self._ends[clip - 1] if clip else 0
        return self.motions[clip], MIN_CONTEXT + index - int(before)


@dataclass(frozen=True, eq=False)
class Sampler:
    """Draws training windows: corpora by weight, then any cut of their clips alike, then a view and an augmentation."""

    corpora: Sequence[Clips]
    weights: Sequence[float]
    spec: FeatureSpec
    context_frames: int = 120
    horizon_frames: int = 30
    num_views: int = 9
    augmentation: Augmentation | None = None

    def draw(self, seed: Sequence[int]) -> Window:
        """Return the window that `seed` names: the same seed, the same window, in any process.

        Raises MotionError if none of MAX_TRIES windows can be made: the clips do not fit `spec`.
        """
        rng = np.random.default_rng(seed)
        for _ in range(MAX_TRIES - 1):
            try:
                return self._tried(rng)
            except MotionError:  # an edge-on view, or dropped joints that leave nothing to centre or measure
                continue
        return self._tried(rng)

    def batch(self, seed: int, step: int, size: int, pool: int = 8, part: slice = slice(None)) -> Batch:
        """Return batch number `step` (or the `part` of it that one of several processes trains on).

        Windows of like length are put side by side, within pools of `pool` batches, so that little is padding.
        """
        cycle, place = divmod(step, pool)
        lengths = np.array([self._length((seed, cycle, i)) for i in range(size * pool)])
        order = np.random.default_rng((seed, cycle)).permutation(pool)
        chosen = np.argsort(lengths, kind="stable").reshape(pool, size)[order[place]]
        return collate([self.draw((seed, cycle, int(i))) for i in chosen[part]], self.horizon_frames)

    def _length(self, seed: Sequence[int]) -> int:
        """Return about how many frames of context `draw(seed)` has, without cutting it."""
        return self._cut(np.random.default_rng(seed))[2]

    def _cut(self, rng: Any) -> tuple[Motion, int, int]:
        """Return a clip, the frame at which the horizon begins, and how many frames of context there are to be."""
        share = np.asarray(self.weights, np.float64)
        clips = self.corpora[int(rng.choice(len(share), p=share / share.sum()))]
        motion, begin = clips.cut(int(rng.integers(clips.num_cuts)))
        context = min(begin, self.context_frames)
        if self.augmentation and rng.random() < self.augmentation.short:
            context = int(rng.integers(min(MIN_CONTEXT, context), context + 1))
        return motion, begin, context

    def _tried(self, rng: Any) -> Window:
        motion, begin, context = self._cut(rng)
        camera = views(self.num_views)[int(rng.integers(self.num_views))]
        if self.augmentation is None:
            return cut_window(motion, begin, self.spec, context, self.horizon_frames, camera)
        return self._augmented(motion, begin, context, camera, self.augmentation, rng)

    def _augmented(self, motion: Motion, begin: int, context: int, camera: Camera, a: Augmentation, rng: Any) -> Window:
        pace = 1 + a.speed * rng.uniform(-1, 1)
        piece, context = _paced(motion, begin, context, self.horizon_frames, pace)
        if rng.random() < a.mirror:
            piece = mirror(piece)
        if self.spec.layout == "xyc" and piece.space == "world":
            turn = rng.uniform(-a.tilt_deg, a.tilt_deg, 2)
            at = {"azimuth_deg": camera.azimuth_deg + turn[0], "elevation_deg": camera.elevation_deg + turn[1]}
            piece = _filmed(piece, camera.model_copy(update=at), context)
        if self.spec.layout == "xyc" and rng.random() < a.noise:
            piece = _as_estimated(piece, context, rng)
        missing = np.zeros(NUM_JOINTS, bool)
        if rng.random() < 0.5:
            missing |= rng.random(NUM_JOINTS) < a.drop_joints
        if missing[BODY_25.index["MidHip"]]:  # which lies between the hips: sources have it where they have these
            missing[[BODY_25.index["RHip"], BODY_25.index["LHip"]]] = True
        if rng.random() < a.drop_regions:
            part = list(PARTS)[int(rng.integers(len(PARTS)))]
            missing[[BODY_25.index[joint] for joint in PARTS[part] if joint != "MidHip"]] = True
        gone = np.zeros(piece.observed.shape, bool)
        gone[:context] = missing
        if rng.random() < a.drop_frames:
            length = int(rng.integers(1, max(2, context // 2)))
            start = int(rng.integers(0, context - length + 1))
            gone[start : start + length] = True
        return _window(_without(piece, gone), context, self.spec)


def cut_window(
    motion: Motion, begin: int, spec: FeatureSpec, context_frames: int, horizon_frames: int, camera: Camera
) -> Window:
    """Return the window whose horizon begins at frame `begin` of `motion`, seen by `camera` if `spec` is 2D.

    Raises MotionError if nothing in the context tells the body's place or size, or the person leaves the camera.
    """
    first = max(0, begin - context_frames)
    piece = motion.crop(first, min(motion.num_frames, begin + horizon_frames))
    if spec.layout == "xyc" and piece.space == "world":
        piece = _filmed(piece, camera, begin - first)
    return _window(piece, begin - first, spec)


def collate(windows: Sequence[Window], horizon_frames: int, context_frames: int | None = None) -> Batch:
    """Return the windows side by side; `context_frames` (default: the longest) is raised to a multiple of 5."""
    longest = max(w.context_frames for w in windows) if context_frames is None else context_frames
    frames = -(-longest // 5) * 5
    size = len(windows)
    batch = Batch(
        np.zeros((size, frames, NUM_FEATURES), np.float32),
        np.zeros((size, frames), bool),
        np.zeros((size, frames, NUM_JOINTS), bool),
        np.zeros((size, horizon_frames, NUM_FEATURES), np.float32),
        np.zeros((size, horizon_frames, NUM_JOINTS), bool),
        np.zeros((size, horizon_frames, NUM_JOINTS), bool),
    )
    for i, w in enumerate(windows):
        c = w.context_frames
        batch.context[i, frames - c :] = w.features.values[:c]
        batch.valid[i, frames - c :] = True
        batch.observed[i, frames - c :] = w.features.observed[:c]
        h = min(horizon_frames, len(w.features.values) - c)
        batch.target[i, :h] = w.features.values[c : c + h]
        batch.present[i, :h] = w.features.observed[c : c + h] & w.features.observed[:c].any(axis=0)
        batch.recorded[i, :h] = w.recorded[c : c + h]
    return batch


def mirror(motion: Motion) -> Motion:
    """Return the motion in a mirror: x reversed, left and right joints exchanged. Twice gives the motion again."""
    order = list(motion.skeleton.mirrored)
    flip = np.array([-1.0, *[1.0] * (motion.num_dims - 1)], np.float32)
    width = motion.size[0] if motion.size else 0
    shift = np.array([width, *[0.0] * (motion.num_dims - 1)], np.float32)
    return motion.replace(
        positions=motion.positions[:, order] * flip + shift,
        confidence=motion.confidence[:, order],
        flags=motion.flags[:, order],
    )


def _window(piece: Motion, context: int, spec: FeatureSpec) -> Window:
    recorded = piece.observed & (piece.flags == RECORDED) & piece.observed[:context].any(axis=0)
    return Window(encode(piece, spec, context), recorded, context)


def _paced(motion: Motion, begin: int, context: int, horizon: int, pace: float) -> tuple[Motion, int]:
    """Return context and horizon around frame `begin`, played `pace` times as fast, and the context's length.

    Cubic splines through the joints that are seen throughout; a joint with a gap in the stretch is missing.
    """
    last = motion.num_frames - 1
    before = min(context - 1, int((begin - 1) / pace))
    after = min(horizon, int((last - (begin - 1)) / pace))
    if before + 1 < min(MIN_CONTEXT, context) or after < 1:
        first = begin - context
        return motion.crop(first, min(motion.num_frames, begin + horizon)), context
    at = begin - 1 + pace * np.arange(-before, after + 1)
    low, high = max(0, int(at[0]) - 2), min(last, int(np.ceil(at[-1])) + 2)
    piece = motion.crop(low, high + 1)
    nearest = np.clip(np.rint(at - low).astype(int), 0, high - low)
    whole = piece.observed.all(axis=0)
    from scipy.interpolate import CubicSpline

    positions = np.full((len(at), *piece.positions.shape[1:]), np.nan, np.float32)
    positions[:, whole] = CubicSpline(np.arange(high - low + 1), piece.positions[:, whole])(at - low)
    confidence = np.where(whole, piece.confidence[nearest], 0)
    paced = piece.replace(positions=positions, confidence=confidence, flags=piece.flags[nearest])
    return paced, before + 1


def _as_estimated(piece: Motion, context: int, rng: Any) -> Motion:
    """Return a 2D motion with confidences below 1 and, in its context, errors that grow as confidence falls.

    Each joint has a usual confidence for the clip, and wanders about it; errors have a standard deviation of up to
    5 % of the picture's visible body height, correlated over some frames as those of pose estimators are.
    """
    frames, joints = piece.confidence.shape
    wander = rng.normal(size=(frames, joints, 3))
    for i in range(1, frames):  # first-order autoregression: errors that last for some frames
        wander[i] = 0.7 * wander[i - 1] + np.sqrt(1 - 0.7**2) * wander[i]
    usual = rng.uniform(0.4, 1.0, joints)
    confidence = np.clip(usual + 0.1 * wander[..., 2], 0.05, 1.0)
    height = float(np.nanmax(piece.positions[..., 1]) - np.nanmin(piece.positions[..., 1]))
    wander[context:, :, :2] = 0  # what is to be forecast is the movement, not the estimator's errors
    error = 0.05 * height * rng.uniform(0, 1) * (1 - confidence[..., None]) * wander[..., :2]
    return piece.replace(
        positions=(piece.positions + error).astype(np.float32),
        confidence=np.where(piece.observed, piece.confidence * confidence, 0),
    )


def _filmed(piece: Motion, camera: Camera, context: int) -> Motion:
    """Return the 3D motion as `camera` sees it.

    Raises MotionError if a joint comes nearer than LEAST_DEPTH_M to the plane of the camera, or as far behind it: a
    lens would show a giant, and outside its picture nothing.
    """
    film = project(piece, camera, context)
    reach = camera.distance_m - LEAST_DEPTH_M
    away = piece.positions[..., [0, 2]] - np.asarray(film.meta["camera"]["target_m"])[[0, 2]]
    if np.nanmax(np.hypot(away[..., 0], away[..., 1])) > reach:
        raise MotionError(f"the person moves more than {reach:g} m away from where the camera looks.")
    return film


def _without(piece: Motion, gone: Array) -> Motion:
    """Return the motion without what is `gone` (T, 25)."""
    if not gone.any():
        return piece
    positions = np.where(gone[..., None], np.nan, piece.positions)
    return piece.replace(positions=positions, confidence=np.where(gone, 0, piece.confidence))
