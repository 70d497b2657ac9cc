"""Baselines that could win: hold the last pose, or go on as before. No parameters, no training, all samples equal."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.registry import models
from lmm.models.forecaster import ModelInfo
from lmm.pipeline.features import MIDHIP, NECK, NUM_FEATURES, NUM_JOINTS, FeatureSpec, Layout

Array = NDArray[Any]


class _Baseline:
    """A forecast from the last place and velocity of each joint; features are in body lengths, not standardised.

    Velocities are differences between the last two frames in which a joint was observed, per frame between them. The
    slot of the root (mid-hip; neck where the mid-hip is never observed) holds displacements, which are velocities.
    """

    context_frames = 120
    block_frames = 30

    def __init__(self, name: str, layout: Layout, speed: float) -> None:
        self.info = ModelInfo(name, "baseline", "none", 0, "any", "Apache-2.0", "nothing")
        self.features = FeatureSpec(layout=layout)
        self._speed = speed

    def forecast(
        self, context: Any, valid: Any, observed: Any, horizon_frames: int, samples: int = 1, generator: Any = None
    ) -> Any:
        """See `Forecaster.forecast`; a joint that is never observed is forecast as 0."""
        x = _numpy(context)
        seen = _numpy(observed).astype(bool) & _numpy(valid).astype(bool)[..., None]
        x = x.reshape(*x.shape[:2], NUM_JOINTS, 3)
        last, before = _last_two(seen)
        gap = np.maximum(last - before, 1)[..., None]
        place = np.where((last >= 0)[..., None], _take(x, last), 0)
        velocity = np.where((before >= 0)[..., None], (place - _take(x, before)) / gap, 0)
        root = np.zeros((len(x), NUM_JOINTS, 1), bool)
        root[np.arange(len(x)), np.where(seen[:, :, MIDHIP].any(axis=1), MIDHIP, NECK)] = True
        displacement = np.where((before >= 0)[..., None], place / gap, 0)
        coordinate = np.ones(3, bool) if self.features.layout == "xyz" else np.array([True, True, False])
        steps = self._speed * np.arange(1, horizon_frames + 1)[:, None, None]
        local = place[:, None] + steps * np.where(coordinate, velocity, 0)[:, None]
        path = np.where(coordinate, self._speed * displacement, place)[:, None]
        future = np.where(root[:, None], path, local).astype(x.dtype)
        out = np.repeat(future.reshape(len(x), 1, horizon_frames, NUM_FEATURES), samples, axis=1)
        return context.new_tensor(out) if hasattr(context, "new_tensor") else out


@models.register("zero-velocity")
def zero_velocity(layout: Layout) -> _Baseline:
    """Hold the last observed pose, with displacement 0."""
    return _Baseline("zero-velocity", layout, speed=0.0)


@models.register("constant-velocity")
def constant_velocity(layout: Layout) -> _Baseline:
    """Continue the last velocity of every joint and of the root; confidences are held."""
    return _Baseline("constant-velocity", layout, speed=1.0)


def _last_two(seen: Array) -> tuple[Array, Array]:
    """Return the last and second last frame at which each joint is seen, (B, J), −1 where there is none."""
    order = np.where(seen, np.arange(seen.shape[1])[:, None], -1)
    last = order.max(axis=1)
    return last, np.where(order == last[:, None], -1, order).max(axis=1)


def _take(x: Array, frame: Array) -> Array:
    """Return x (B, T, J, 3) at `frame` (B, J), as (B, J, 3)."""
    return np.take_along_axis(x, np.maximum(frame, 0)[:, None, :, None], axis=1)[:, 0]


def _numpy(x: Any) -> Array:
    return np.asarray(x.detach().cpu().numpy() if hasattr(x, "detach") else x)
