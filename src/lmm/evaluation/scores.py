"""Forecasts of a batch of windows → the parts of all scores, per window: which joints count, and in which units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core import metrics
from lmm.core.metrics import Parts
from lmm.evaluation.cases import FPS, Batch
from lmm.evaluation.pinned import Statistics
from lmm.pipeline.features import MIDHIP, NECK, NUM_JOINTS
from lmm.skeletons import BODY_25

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pose:
    """Features (..., T, 25, 3) in body lengths, as positions (..., T, 25, C) in metres (xyz) or body lengths (xyc).

    local   about the centre, which lies at 0
    placed  with the path added up from its displacements; the centre of the first frame lies at 0
    path    (..., T, 1, C)
    """

    local: Array
    placed: Array
    path: Array


def pose(features: Array, on_hips: Array, dims: int, unit: Array) -> Pose:
    """Return the positions that `features` (B, ..., T, 25, 3) mean; `unit` (B,) is the length of a body length."""
    shape = (-1, *[1] * (features.ndim - 2))
    values = features[..., :dims] * unit.reshape(*shape, 1)
    slot = np.where(on_hips.reshape(shape), values[..., MIDHIP, :], values[..., NECK, :])
    path = np.cumsum(slot, axis=-2)
    path = (path - path[..., :1, :])[..., None, :]
    centre = np.where(on_hips[:, None], np.arange(NUM_JOINTS) == MIDHIP, np.arange(NUM_JOINTS) == NECK)
    local = np.where(centre.reshape(*shape[:-1], NUM_JOINTS, 1), 0, values)
    return Pose(local, local + path, path)


class Judge:
    """The truth of a batch, ready to be compared with; the first of its H + 1 frames is the last of the context."""

    def __init__(self, batch: Batch, pinned: Statistics) -> None:
        self.batch = b = batch
        known = pinned.scored
        self.dims = 2 if pinned.spec.layout == "xyc" else 3
        self.unit = b.scale if self.dims == 3 else np.ones(len(b.scale))
        self.std = pinned.std(b.on_hips)
        self.now = b.context[:, -1].reshape(-1, 1, NUM_JOINTS, 3).astype(np.float64)
        self.truth = self._joined(b.truth[:, None])[:, 0]
        self.counts = b.recorded & known
        slot = np.where(b.on_hips[:, None], np.arange(NUM_JOINTS) == MIDHIP, np.arange(NUM_JOINTS) == NECK)
        self.local = self.counts & ~slot[:, None] & (np.arange(NUM_JOINTS) != MIDHIP)
        rooted = np.take_along_axis(b.recorded, slot.argmax(axis=1)[:, None, None], axis=2)
        self.placed = self.counts & rooted
        self.root = rooted & b.on_hips[:, None, None]
        self.pose = pose(self.truth, b.on_hips, self.dims, self.unit)

    def _joined(self, values: Array) -> Array:
        """Return (B, S, H, 75) with the last frame of the context before it, (B, S, H + 1, 25, 3)."""
        future = values.reshape(*values.shape[:3], NUM_JOINTS, 3)
        now = np.broadcast_to(self.now[:, None], (*future.shape[:2], 1, NUM_JOINTS, 3))
        return np.concatenate([now, future], axis=2)

    def scores(self, samples: Array) -> dict[str, Parts]:
        """Return the parts (B, K) of every score of forecasts (B, S, H, 75) in body lengths.

        Scores of one forecast take the mean of the samples; ADE, FDE, the energy score and coverage take them all.
        """
        drawn = self._joined(samples)
        return self._of_one(drawn.mean(axis=1)) | self._of_all(drawn)

    def truth_scores(self) -> dict[str, Parts]:
        """Return what the truth itself scores where that is no error: its motion energy and bone lengths."""
        own = self._of_one(self.truth)
        return {name: own[name] for name in ("energy", "energy_local", "energy_root", "bone_length_cv", "moved")}

    def mse(self, samples: Array) -> Parts:
        """Return the parts (B, H) of the MSE of the mean of forecasts (B, S, H, 75), over local coordinates."""
        d, after = self.dims, np.s_[:, 1:]
        x, y = (self._flat(v, slice(None, d))[after] for v in (self._joined(samples).mean(axis=1), self.truth))
        return metrics.squared_error(x, y, self._counts(self.local, d)[after])

    def _of_one(self, forecast: Array) -> dict[str, Parts]:
        d, truth, local = self.dims, self.truth, self.local
        x, y = self._flat(forecast, slice(None, d)), self._flat(truth, slice(None, d))
        counts = self._counts(local, d)
        moved, both = metrics.steps(x, counts)
        root, root_truth = (v[..., MIDHIP, :d] / self.std[..., MIDHIP, :d] for v in (forecast, truth))
        one = pose(forecast, self.batch.on_hips, d, self.unit)
        after = np.s_[:, 1:]
        out = {
            "mse": metrics.squared_error(x[after], y[after], counts[after]),
            "mse_root": metrics.squared_error(root[after], root_truth[after], np.repeat(self.root, d, axis=2)[after]),
            "mse_all": metrics.squared_error(
                self._flat(forecast)[after], self._flat(truth)[after], self._counts(self.counts, 3)[after]
            ),
            "velocity_mse": metrics.squared_error(moved, np.diff(y, axis=1), both),
            "mpjpe": metrics.joint_error(one.local[after], self.pose.local[after], local[after]),
            "bone_length_cv": metrics.bone_length_cv(one.placed[after], self.counts[after], BODY_25.bones),
        }
        for name, seen, ours, theirs in (
            ("energy", self.placed, one.placed, self.pose.placed),
            ("energy_local", local, one.local, self.pose.local),
            ("energy_root", self.root, one.path, self.pose.path),
        ):
            # between frames of the horizon; the step into it is told apart, so that a jump is no motion
            speed, usual = (metrics.speed(p[after], seen[after], FPS) for p in (ours, theirs))
            seconds = metrics.per_second(speed, FPS, skipped=1)
            out[name] = seconds
            out[name.replace("energy", "energy_ratio")] = Parts(
                seconds.total, metrics.per_second(usual, FPS, skipped=1).total
            )
        first = metrics.speed(one.local[:, :2], local[:, :2], FPS)
        usual = metrics.speed(self.pose.local, local, FPS)
        level = usual.total.sum(axis=1, keepdims=True) / np.maximum(usual.number.sum(axis=1, keepdims=True), 1)
        out["first_step_ratio"] = Parts(first.total, first.number * level)
        out["moved"] = metrics.speed(one.local[after], local[after], FPS)
        return out

    def _of_all(self, drawn: Array) -> dict[str, Parts]:
        d, after = self.dims, np.s_[:, :, 1:]
        counts = self.local[:, 1:]
        places = pose(drawn, self.batch.on_hips, d, self.unit).local[after]
        truth = self.pose.local[:, 1:]
        out = {}
        for kind, flattened in (("joint", False), ("flattened", True)):
            whole = metrics.displacement(places, truth, counts, flattened)
            last = metrics.displacement(places[:, :, -1:], truth[:, -1:], counts[:, -1:], flattened)
            out[f"ade_{kind}"], out[f"fde_{kind}"] = (_known(e.min(axis=1)) for e in (whole, last))
        x = self._flat(drawn, slice(None, d))[after]
        y, flat = self._flat(self.truth, slice(None, d))[:, 1:], self._counts(counts, d)
        out["energy_score"] = metrics.energy_score(x, y, flat)
        if drawn.shape[1] > 1:
            out["coverage_90"] = metrics.coverage(x, y, flat)
            flat_places = places.reshape(*places.shape[:3], -1)
            out["apd"] = _known(metrics.apd(flat_places, self._counts(counts, d)))
        return out

    def _flat(self, values: Array, which: slice = slice(None)) -> Array:
        """Return standardised features (..., T, 25 × n); the mean is left out, since only differences are scored."""
        std = self.std if values.ndim == 4 else self.std[:, None]
        x = (values / std)[..., which]
        return np.asarray(x.reshape(*x.shape[:-2], -1))

    @staticmethod
    def _counts(joints: Array, width: int) -> Array:
        return np.repeat(joints, width, axis=-1)


def mean_of(scores: list[dict[str, Parts]]) -> dict[str, Parts]:
    """Return the mean of several forecasts' scores: what one of them is expected to score."""
    return {
        name: Parts(np.mean([s[name].total for s in scores], axis=0), np.mean([s[name].number for s in scores], axis=0))
        for name in scores[0]
    }


def _known(values: Array) -> Parts:
    seen = np.isfinite(values)
    return Parts(np.where(seen, values, 0)[:, None], seen[:, None].astype(float))
