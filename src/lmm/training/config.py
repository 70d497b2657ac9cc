"""The settings that every training run has."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmm.core.errors import LmmError


class Corpus(BaseModel):
    """A store to train on.

    store   folder; relative to where the command runs
    weight  how often a training window comes from it, relative to the others
    val     its validation clips are used to choose the best weights
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    store: str
    weight: float = Field(default=1.0, gt=0)
    val: bool = True


class RunConfig(BaseModel):
    """What every training run has; each kind of model adds its own settings (`lmm.training.kinds`).

    model, size          of the network
    start_from           a model's folder whose weights the run begins with, say to tune it to one's own data
    data                 the stores
    epochs, epoch_windows, batch   an epoch is so many windows (of motion, text, or both), drawn in batches
    lr, schedule, warmup_steps, weight_decay, clip_norm, ema   of AdamW and of the averaged weights that are kept
    patience             epochs without a better validation loss after which training stops; 0: never
    val_windows          windows held out to choose the weights by, always the same
    precision            ``bf16`` computes in bfloat16 where that is safe: faster on GPUs, and CPUs with AVX-512 BF16
    workers              processes that cut windows; 0: none
    checkpoint_steps     steps between checkpoints, from which `--resume` goes on exactly
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    size: str = "small"
    start_from: str | None = None
    data: tuple[Corpus, ...] = Field(min_length=1)
    epochs: int = Field(default=25, ge=1)
    epoch_windows: int = Field(default=4096, ge=1)
    batch: int = Field(default=64, ge=1, le=65536)
    lr: float = Field(default=5e-4, gt=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_steps: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    ema: float = Field(default=0.999, ge=0, lt=1)
    patience: int = Field(default=0, ge=0)
    val_windows: int = Field(default=512, ge=1)
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: int = Field(default=0, ge=0, le=256)
    checkpoint_steps: int = Field(default=200, ge=1)
    seed: int = Field(default=0, ge=0, lt=2**63)

    def without(self, *names: str) -> None:
        """Raise LmmError if one of these settings is given: for kinds of models that make no use of them."""
        given = {
            "start_from": self.start_from is not None,
            "weight": any(c.weight != 1 for c in self.data),
            "val": not all(c.val for c in self.data),
        }
        for name in names:
            if given[name]:
                raise LmmError(f"{self.model} makes no use of {name}: leave it out.")

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.epoch_windows // self.batch)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def check_options(options: dict[str, Any], fields: Iterable[str], told: Iterable[str] = ()) -> None:
    """Raise LmmError if ``options`` name anything but `fields` of a model's config, or what the run itself tells it."""
    known = set(fields) - {"architecture", "size", "parameters", "licence", "trained_on", *told}
    if strange := sorted(options.keys() - known):
        raise LmmError(f"options.{strange[0]}: there is no such option; those there are: {', '.join(sorted(known))}.")


def wrong_option(error: ValidationError) -> LmmError:
    """Return what does not hold in the ``options`` of a run, on one line."""
    first = error.errors()[0]
    return LmmError(f"{'.'.join(['options', *map(str, first['loc'])])}: {first['msg'].removeprefix('Value error, ')}.")
