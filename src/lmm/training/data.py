"""The windows of a run: stores → samplers for training and validation, and the statistics of the features."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmm.core.errors import LmmError, MotionError
from lmm.core.motion import Motion
from lmm.datasets.store import Store
from lmm.datasets.windows import Clips, Sampler
from lmm.models.config import NetworkConfig
from lmm.pipeline.features import FeatureSpec, statistics
from lmm.training.config import TrainConfig

FPS = 15.0
STATISTICS_SEED, VAL_SEED = 1 << 31, 1 << 30  # in place of a step, and of a run's seed


@dataclass(frozen=True, eq=False)
class RunData:
    """What a run trains and validates on. `told` are plain numbers about it, for logs and the model card."""

    train: Sampler
    val: Sampler
    spec: FeatureSpec
    joints: tuple[bool, ...]
    licence: str
    trained_on: str
    told: dict[str, Any]


def load_data(
    config: TrainConfig, context_frames: int, horizon_frames: int, before: NetworkConfig | None = None
) -> RunData:
    """Read the stores of `config`; statistics and joints are those of the model `before`, if there is one.

    Raises LmmError if a store does not fit, or nothing is left to train or validate on.
    """
    train, val, weights, val_weights, licences, names = [], [], [], [], set(), []
    for corpus in config.data:
        store = Store(corpus.store)
        _check(store, config)
        sides: dict[str, list[Motion]] = {"train": [], "val": []}
        for motion in store.motions():
            side = _side(motion, config)
            if side in sides:
                sides[side].append(motion)
        if not sides["train"]:
            raise LmmError(f"{corpus.store}: no clip of this store is in split train.")
        train.append(Clips(sides["train"], FPS))
        weights.append(corpus.weight)
        if sides["val"] and corpus.val:
            val.append(Clips(sides["val"], FPS))
            val_weights.append(corpus.weight)
        licences |= {str(m.meta["licence"]) for m in sides["train"]}
        names.append(f"{store.path.name} ({len(sides['train'])} clips, {train[-1].num_frames} frames)")
    if not val:
        raise LmmError("no store has clips of split val: name some with val_subjects, to choose the weights by.")
    if before is None:
        identity = FeatureSpec(layout=config.layout, fps=FPS)
        sampler = Sampler(train, weights, identity, context_frames, horizon_frames, config.views, config.augmentation)
        windows = [sampler.draw((config.seed, STATISTICS_SEED, i)) for i in range(config.statistics_windows)]
        spec = statistics(w.features for w in windows)
        joints = tuple(bool(r) for r in np.any([w.recorded.any(axis=0) for w in windows], axis=0))
    else:
        spec, joints = before.spec, before.joints
        licences.add(before.licence)
        names.append(f"on top of {before.trained_on}")
    told = {
        "clips": sum(len(c.motions) for c in train),
        "frames": sum(c.num_frames for c in train),
        "frames_of_all_views": sum(c.num_frames for c in train) * (config.views if config.layout == "xyc" else 1),
        "full_windows": sum(c.full_windows(context_frames, horizon_frames) for c in train),
        "cuts": sum(c.num_cuts for c in train),
        "val_clips": sum(len(c.motions) for c in val),
    }
    return RunData(
        Sampler(train, weights, spec, context_frames, horizon_frames, config.views, config.augmentation),
        Sampler(val, val_weights, spec, context_frames, horizon_frames, config.views),
        spec,
        joints,
        _licence(licences),
        "; ".join(names),
        told,
    )


def _check(store: Store, config: TrainConfig) -> None:
    clips = store.clips()
    spaces, rates = set(clips["space"].to_pylist()), clips["fps"].to_pylist()
    if config.layout == "xyz" and "image" in spaces:
        raise MotionError(f"{store.path}: layout xyz needs motions in metres, this store has motions in images.")
    if rates and min(rates) < FPS:
        raise MotionError(f"{store.path}: has clips at {min(rates):g} frames a second, training needs {FPS:g} or more.")


def _side(motion: Motion, config: TrainConfig) -> str:
    if config.split_by == "clip":
        digest = hashlib.sha256(str(motion.meta["id"]).encode()).digest()
        return "train" if digest[0] < 0.9 * 256 else "val"
    split = str(motion.meta["split"])
    return "val" if split == "train" and motion.meta["subject"] in config.val_subjects else split


def _licence(licences: set[str]) -> str:
    """Return the licence of weights trained on data of `licences`."""
    closed = sorted(x for x in licences if "NC" in x)
    return closed[0] if closed else "Apache-2.0"
