"""Clips of codec features of one length, for the training of models that see motion at 30 FPS.

Frame t of the features depends on frames t - 1 and t alone, so that a part of a clip's features is the features of the
part: motions are encoded once, and cutting, mirroring and a change of speed work on features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import RECORDED, SYNTHESISED, Motion
from lmm.pipeline.codec_features import CODEC_JOINTS, FPS, NUM_FEATURES, SLICES, encode, mirror
from lmm.pipeline.resample import resample
from lmm.skeletons import BODY_25

Array = NDArray[Any]
_JOINTS = [BODY_25.index[name] for name in CODEC_JOINTS]


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """features (B, T, 49) float32, after a clip's end its last frame; counts (B, T) bool: frames that losses count.

    A frame counts if each of its joints was recorded (or made of recorded markers), none interpolated or filled in.
    """

    features: Any
    counts: Any


class FeatureClips:
    """The features and counted frames of motions. Raises MotionError if there are none, or as `encode` does."""

    def __init__(self, motions: Iterable[Motion]) -> None:
        self.features: list[Array] = []
        self.counts: list[Array] = []
        for motion in motions:
            self.features.append(encode(motion)[0])
            flags = resample(motion, FPS).flags[:, _JOINTS]
            self.counts.append(np.asarray(np.isin(flags, (RECORDED, SYNTHESISED)).all(axis=1)))
        if not self.features:
            raise MotionError("there are no motions to cut clips from.")
        self._ends = np.cumsum([len(f) for f in self.features])

    @property
    def num_frames(self) -> int:
        return int(self._ends[-1])

    def at(self, frame: int) -> int:
        """Return the motion that holds frame number `frame` of all frames in a row."""
        return int(np.searchsorted(self._ends, frame, side="right"))


@dataclass(frozen=True, eq=False)
class ClipSampler:
    """Draws clips of `frames` frames: corpora by weight, motions by length, then any part of them alike.

    `speed` is the share by which the clock may run faster or slower, `mirrored` the probability of a mirror.
    """

    corpora: Sequence[FeatureClips]
    weights: Sequence[float]
    frames: int = 128
    speed: float = 0.1
    mirrored: float = 0.5

    def draw(self, seed: Sequence[int]) -> tuple[Array, Array]:
        """Return the clip (features (T, 49), counts (T,), T ≤ frames) that `seed` names: the same in any process."""
        rng = np.random.default_rng(seed)
        share = np.asarray(self.weights, np.float64)
        clips = self.corpora[int(rng.choice(len(share), p=share / share.sum()))]
        motion = clips.at(int(rng.integers(clips.num_frames)))
        features, counts = clips.features[motion], clips.counts[motion]
        pace = 1 + self.speed * rng.uniform(-1, 1)
        needed = int(np.ceil((self.frames - 1) * pace)) + 1
        start = int(rng.integers(max(0, len(features) - needed) + 1))
        features, counts = features[start : start + needed].copy(), counts[start : start + needed]
        features[0, SLICES["turn"]], features[0, SLICES["velocity"]] = 0, 0  # as the first frame of a motion has
        if pace != 1:
            features, counts = paced(features, counts, pace)
        if rng.random() < self.mirrored:
            features = mirror(features)
        return features[: self.frames], counts[: self.frames]

    def batch(self, seed: int, step: int, size: int, part: slice = slice(None)) -> ClipBatch:
        """Return batch number `step` (or the `part` of it that one of several processes trains on)."""
        drawn = [self.draw((seed, step, i)) for i in range(size)[part]]
        batch = ClipBatch(
            np.zeros((len(drawn), self.frames, NUM_FEATURES), np.float32), np.zeros((len(drawn), self.frames), bool)
        )
        for i, (features, counts) in enumerate(drawn):
            batch.features[i, : len(features)], batch.features[i, len(features) :] = features, features[-1]
            batch.counts[i, : len(features)] = counts
        return batch


def paced(features: Array, counts: Array, pace: float) -> tuple[Array, Array]:
    """Return the clip played `pace` times as fast, by Catmull-Rom splines through its features.

    Rates of the root are multiplied by `pace`. A frame counts if the two around it do.
    """
    last = len(features) - 1
    at = np.arange(int(last / pace + 1e-9) + 1) * pace
    i = np.minimum(at.astype(int), max(last - 1, 0))
    u = (at - i)[:, None].astype(np.float32)
    p0, p1, p2, p3 = (features[np.clip(i + k, 0, last)] for k in (-1, 0, 1, 2))
    out = p1 + 0.5 * u * (p2 - p0 + u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0)))
    out[:, SLICES["turn"]] *= pace
    out[:, SLICES["velocity"]] *= pace
    return out, counts[i] & counts[np.minimum(i + 1, last)]
