"""Forecasters: what is set, which windows they learn from and are chosen by, and how a run of one is prepared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from lmm.core.errors import InputError, MotionError
from lmm.core.motion import Motion
from lmm.core.registry import architectures
from lmm.datasets.store import Store
from lmm.datasets.windows import Augmentation, Batch, Clips, Sampler
from lmm.models.config import NetworkConfig, read_config
from lmm.models.network import Network
from lmm.pipeline.features import FeatureSpec, Layout, statistics
from lmm.skeletons import BODY_25
from lmm.training.card import card, weights_licence
from lmm.training.config import RunConfig
from lmm.training.corpora import read_corpora
from lmm.training.kinds import Kind, Run, kinds

FPS = 15.0
STATISTICS_SEED, VAL_SEED = 1 << 31, 1 << 30  # in place of a step, and of a run's seed


class ForecasterConfig(RunConfig):
    """The settings of `RunConfig`, and:

    layout               of the features
    options              the architecture's own (see its module)
    start_from           keeps that model's statistics and joints too, and adds its licence to that of the data
    data                 clips of split train are trained on, those of split val choose the weights
    val_subjects         subjects of split train that are used for validation instead
    split_by             ``subject`` · ``clip``: 90 % of all clips train and 10 % validate, whoever moves in them. It
                         leaks, and is there to show what that is worth
    views                virtual cameras, evenly in azimuth, that 3D clips are seen by if the layout is 2D
    statistics_windows   windows of the training clips that the features' statistics are taken from
    """

    layout: Layout
    options: dict[str, bool | int | float | str] = Field(default={})
    dropout: float = Field(default=0.1, ge=0, lt=1)
    val_subjects: tuple[str, ...] = ()
    split_by: Literal["subject", "clip"] = "subject"
    views: int = Field(default=9, ge=1, le=360)
    augmentation: Augmentation | None = Augmentation()
    statistics_windows: int = Field(default=2048, ge=1)


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
    config: ForecasterConfig, context_frames: int, horizon_frames: int, before: NetworkConfig | None = None
) -> RunData:
    """Read the stores of `config`; statistics and joints are those of the model `before`, if there is one.

    Raises LmmError if a store does not fit, or nothing is left to train or validate on.
    """
    for corpus in config.data:
        _check(Store(corpus.store), config)
    found = read_corpora(config.data, lambda m: _side(m, config), lambda motions: Clips(motions, FPS))
    train, weights, licences, names = found.train, found.weights, found.licences, found.names
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
        "val_clips": sum(len(c.motions) for c in found.val),
    }
    return RunData(
        Sampler(train, weights, spec, context_frames, horizon_frames, config.views, config.augmentation),
        Sampler(found.val, found.val_weights, spec, context_frames, horizon_frames, config.views),
        spec,
        joints,
        weights_licence(licences),
        "; ".join(names),
        told,
    )


def _check(store: Store, config: ForecasterConfig) -> None:
    clips = store.clips()
    spaces, rates = set(clips["space"].to_pylist()), clips["fps"].to_pylist()
    if config.layout == "xyz" and "image" in spaces:
        raise MotionError(f"{store.path}: layout xyz needs motions in metres, this store has motions in images.")
    if rates and min(rates) < FPS:
        raise MotionError(f"{store.path}: has clips at {min(rates):g} frames a second, training needs {FPS:g} or more.")


def _side(motion: Motion, config: ForecasterConfig) -> str:
    if config.split_by == "clip":
        digest = hashlib.sha256(str(motion.meta["id"]).encode()).digest()
        return "train" if digest[0] < 0.9 * 256 else "val"
    split = str(motion.meta["split"])
    return "val" if split == "train" and motion.meta["subject"] in config.val_subjects else split


def prepare(config: ForecasterConfig, device: torch.device) -> Run:
    """Return the run of a config: its network, begun with a regression on training windows or from another model."""
    architecture = architectures.get(config.model)
    before = _begun_from(config, architecture)
    plain = before or architecture.of_size(config.size, FeatureSpec(layout=config.layout))
    data = load_data(config, plain.context_frames, plain.block_frames, before and before.config)
    torch.manual_seed(config.seed)
    network: Network = architecture.of_size(
        config.size,
        data.spec,
        joints=data.joints,
        options=config.options,
        dropout=config.dropout,
        licence=data.licence,
        trained_on=data.trained_on,
    ).to(device)
    if before is None:
        batches = max(1, config.statistics_windows // config.batch)
        network.fit(network.example(data.train.batch(config.seed, i, config.batch)) for i in range(batches))
    else:
        network.load_state_dict(before.state_dict())
    val = [network.example(b) for b in val_batches(data.val, config)]

    def batch(step: int, part: slice) -> Batch:
        return data.train.batch(config.seed, step, config.batch, part=part)

    def save(average: Network, folder: Path, state: dict[str, Any]) -> None:
        average.calibrate(val)
        average.save_pretrained(folder)
        (folder / "README.md").write_text(_card(average, config, data, state), "utf-8")

    return Run(network, batch, network.example, val, save)


def val_batches(sampler: Sampler, config: ForecasterConfig) -> Iterator[Batch]:
    """Return the fixed windows by which a run chooses its weights."""
    size = min(config.batch, config.val_windows)
    for i in range(max(1, config.val_windows // size)):
        yield sampler.batch(VAL_SEED, i, size)


def _begun_from(config: ForecasterConfig, architecture: Any) -> Network | None:
    """Return the network that the run starts from. Raises InputError if it is of another kind than the config's."""
    if config.start_from is None:
        return None
    found = read_config(Path(config.start_from), NetworkConfig)
    wanted = (config.model, config.size, config.layout)
    if (found.architecture, found.size, found.spec.layout) != wanted:
        raise InputError(config.start_from, f"is a {found.name}", f"Set model, size and layout so, not {wanted}")
    network: Network = architecture.from_pretrained(config.start_from)
    return network


def _card(network: Network, config: ForecasterConfig, data: RunData, state: dict[str, Any]) -> str:
    c, told = network.config, data.told
    seen = "2D keypoints (x, y, confidence)" if c.spec.layout == "xyc" else "3D joints (x, y, z)"
    views = f" through {config.views} virtual cameras" if c.spec.layout == "xyc" else ""
    lacking = [j for j, known in zip(BODY_25.joints, c.joints, strict=True) if not known]
    seconds, before = c.block_frames / c.spec.fps, c.context_frames / c.spec.fps
    text = f"""Forecasts {seconds:g} s of human movement from up to {before:g} s of {seen},
at {c.spec.fps:g} frames a second: `lmm forecast MOTION --model FOLDER -o OUT.html`.
{network.info.parameters:,} parameters.

- **Data**: {c.trained_on}{views}; {told["frames_of_all_views"]:,} frames with all views, {told["full_windows"]:,}
  windows of full length (at every frame, one view), {told["cuts"]:,} with shorter contexts.
- **Split**: by {config.split_by}. Validation (which chose these weights): {told["val_clips"]} clips.
- **Licence of the weights**: {c.licence}
- **Training**: {state["step"]} steps of {config.batch} windows, {state["step"] * config.batch:,} windows in all;
  seed {config.seed}; validation loss {state["best"]:.5f}. Made again by `lmm train` from the run's config.json.
- **Limits**: joints that the data do not record ({", ".join(lacking) or "none"}) are not seen;
  they go along with the nearest joint that is. Movement that is unlike the data is forecast as if it were like it.
  A forecast is no measurement: not for diagnosis.
"""
    return card(c.name, c.licence, ["forecasting", c.architecture, c.spec.layout], text)


for _name in architectures:
    kinds.register(_name)(Kind(ForecasterConfig, prepare))
