"""The motion codec: what is set, which clips it learns from, and how a run of it is prepared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from pydantic import Field, ValidationError

from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion
from lmm.datasets.clips import ClipBatch, ClipSampler, FeatureClips
from lmm.datasets.pairs import pair_split
from lmm.models.codec import Codec, CodecConfig
from lmm.pipeline.codec_features import FPS, statistics
from lmm.training.card import card, weights_licence
from lmm.training.config import RunConfig, check_options, wrong_option
from lmm.training.corpora import read_corpora
from lmm.training.forecaster import VAL_SEED
from lmm.training.kinds import Kind, Run, kinds


class CodecRunConfig(RunConfig):
    """The settings of `RunConfig`, and:

    options        fields of `models.codec.CodecConfig`: bottleneck, width, latent, levels, sigma ...
    data           clips of split train are trained on, those of split val choose the weights: as `pair_split` says
    val_subjects   subjects of split train that are used for validation instead
    frames         of a clip, a multiple of 4; an epoch's windows are clips
    speed          the clock of a clip runs faster or slower by up to this share
    start_from     keeps that codec's options and statistics, and adds its licence to that of the data
    """

    options: dict[str, bool | int | float | str | list[int]] = Field(default={})
    val_subjects: tuple[str, ...] = ()
    frames: int = Field(default=128, ge=8, le=4096, multiple_of=4)
    speed: float = Field(default=0.1, ge=0, lt=0.5)


def prepare(config: CodecRunConfig, device: torch.device) -> Run:
    """Return the run of a config. Raises LmmError if a store or an option does not fit, or nothing is left to learn."""
    check_options(config.options, CodecConfig.model_fields, ["mean", "std"])
    if config.start_from is not None and config.options:
        raise LmmError(f"options: {config.start_from} keeps its own. Leave them out.")
    before = None if config.start_from is None else Codec.from_pretrained(config.start_from)
    found = read_corpora(config.data, lambda m: _side(m, config), FeatureClips)
    licences, names = found.licences, found.names
    if before is None:
        mean, std = statistics(f for clips in found.train for f in clips.features)
        fields: dict[str, Any] = {"mean": mean, "std": std, **config.options}
    else:
        licences.add(before.config.licence)
        names.append(f"on top of {before.config.trained_on}")
        fields = before.config.model_dump(exclude={"architecture", "size", "parameters"})
    fields |= {"licence": weights_licence(licences), "trained_on": "; ".join(names)}
    torch.manual_seed(config.seed)
    try:
        codec = Codec.of_size(config.size, **fields)
    except ValidationError as e:
        raise wrong_option(e) from None
    if before is not None:
        if before.config.size != config.size:
            raise InputError(config.start_from or "", f"is of size {before.config.size}", "Set size so")
        codec.load_state_dict(before.state_dict())
    codec = codec.to(device)
    sampler = ClipSampler(found.train, found.weights, config.frames, config.speed)
    held_out = ClipSampler(found.val, found.val_weights, config.frames, speed=0.0, mirrored=0.0)
    size = min(config.batch, config.val_windows)

    def batch(step: int, part: slice) -> ClipBatch:
        return sampler.batch(config.seed, step, config.batch, part)

    def place(given: ClipBatch) -> ClipBatch:
        return ClipBatch(torch.from_numpy(given.features).to(device), torch.from_numpy(given.counts).to(device))

    fixed = [place(held_out.batch(VAL_SEED, i, size)) for i in range(max(1, config.val_windows // size))]
    measured = [place(sampler.batch(VAL_SEED, i, config.batch)) for i in range(max(1, 512 // config.batch))]

    def save(average: Codec, folder: Path, state: dict[str, Any]) -> None:
        average.calibrate(measured)
        average.save_pretrained(folder)
        (folder / "README.md").write_text(_card(average, config, state), "utf-8")

    return Run(codec, batch, place, fixed, save)


def _side(motion: Motion, config: CodecRunConfig) -> str:
    split = pair_split(motion)  # not the store's: of what pairs hold out nothing is to be seen
    return "val" if split == "train" and motion.meta["subject"] in config.val_subjects else split


def _card(codec: Codec, config: CodecRunConfig, state: dict[str, Any]) -> str:
    c = codec.config
    text = f"""{FPS} frames a second of 16 joints ↔ 7.5 latents a second of {c.latent_width} numbers
({c.bits_per_latent:.0f} bits). {sum(p.numel() for p in codec.parameters()):,} parameters.

- **Data**: {c.trained_on}
- **Licence of the weights**: {c.licence}
- **Training**: {state["step"]} steps of {config.batch} clips of {config.frames} frames; seed {config.seed}; validation
  loss {state["best"]:.5f}. Made again by `lmm train` from the run's config.json.
- **Limits**: joints other than the 16 are lost; movement that is unlike the data is rebuilt as if it were like it.
"""
    return card(f"Motion codec, {c.size}, {c.bottleneck}", c.licence, ["codec", c.bottleneck], text)


kinds.register("codec")(Kind(CodecRunConfig, prepare))
