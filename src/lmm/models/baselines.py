"""Baselines that could win: hold the last pose, or go on as before. No parameters, no training, all samples equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.models.forecaster import ModelInfo
from lmm.pipeline.features import MIDHIP, NECK, NUM_FEATURES, NUM_JOINTS, FeatureSpec, Layout

Array = NDArray[Any]


# (values (B, T, 25, 3), seen (B, T, 25), root slot (B,), which of the 3 are coordinates, horizon) → (B, horizon, 25, 3)
Continue = Callable[[Array, Array, Array, Array, int], Array]


class Baseline:
    """A forecast by the rule of this name in RULES; features are in body lengths, not standardised."""

    context_frames = 120
    block_frames = 30
    fewest_draws = 1

    def __init__(self, name: str, layout: Layout) -> None:
        self.info = ModelInfo(name, "baseline", "none", 0, "any", "Apache-2.0", "nothing")
        self.features = FeatureSpec(layout=layout)
        self._rule = RULES[name]

    def forecast(
        self, context: Any, valid: Any, observed: Any, horizon_frames: int, samples: int = 1, generator: Any = None
    ) -> Any:
        """See `Forecaster.forecast`; a joint that is never observed is forecast as 0."""
        x = _numpy(context)
        seen = _numpy(observed).astype(bool) & _numpy(valid).astype(bool)[..., None]
        values = x.reshape(*x.shape[:2], NUM_JOINTS, 3)
        root = np.where(seen[:, :, MIDHIP].any(axis=1), MIDHIP, NECK)
        coordinate = np.array([True, True, self.features.layout == "xyz"])
        future = self._rule(values, seen, root, coordinate, horizon_frames).astype(x.dtype)
        out = np.repeat(future.reshape(len(x), 1, horizon_frames, NUM_FEATURES), samples, axis=1)
        return context.new_tensor(out) if hasattr(context, "new_tensor") else out


def _hold(values: Array, seen: Array, root: Array, coordinate: Array, horizon: int) -> Array:
    """Hold the last observed pose, with displacement 0."""
    last, _ = _last_two(seen)
    pose = np.where((last >= 0)[..., None], _take(values, last), 0)
    pose[np.arange(len(pose)), root] *= ~coordinate
    return np.repeat(pose[:, None], horizon, axis=1)


def _go_on(values: Array, seen: Array, root: Array, coordinate: Array, horizon: int) -> Array:
    """Continue the last velocity of every joint and of the root; confidences are held.

    In space, not about the root: a root that was lost for a while is then where the others expect it.

    Velocities are differences between the last two frames in which a joint was observed, per frame between them.
    """
    rows = np.arange(len(values))
    frames = values.shape[1]
    path = _path(values[rows, :, root], seen[rows, :, root])
    places = values + path[:, :, None]
    places[rows, :, root] = path
    places = np.where(coordinate, places, values)
    last, before = _last_two(seen)
    now = np.where((last >= 0)[..., None], _take(places, last), 0)
    velocity = (now - _take(places, before)) / np.maximum(last - before, 1)[..., None]
    velocity = np.where((before >= 0)[..., None] & coordinate, velocity, 0)
    steps = np.arange(1, horizon + 1)[:, None] + np.where(last >= 0, frames - 1 - last, 0)[:, None]
    future = now[:, None] + steps[..., None] * velocity[:, None]
    way = np.concatenate([path[:, None, -1], future[rows, :, root]], axis=1)
    local = np.where(coordinate, future - way[:, 1:, None], future)
    local[rows, :, root] = np.where(coordinate, np.diff(way, axis=1), future[rows, :, root])
    return np.where((last >= 0)[:, None, :, None], local, 0)


def _path(displacement: Array, seen: Array) -> Array:
    """Return the root's places (B, T, 3) from its displacements: interpolated where unseen, held at both ends."""
    total = np.cumsum(np.where(seen[..., None], displacement, 0), axis=1)
    frames = np.arange(total.shape[1])
    for row, known in zip(total, seen, strict=True):
        if known.any():
            for k in range(3):
                row[:, k] = np.interp(frames, frames[known], row[known, k])
    return total


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


RULES: dict[str, Continue] = {"zero-velocity": _hold, "constant-velocity": _go_on}
