"""What a training run is: one YAML file, checked on reading, every field settable from the command line."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmm.core.errors import InputError, LmmError, one_line

MAX_BYTES = 1 << 20


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
    precision            ``bf16`` computes in bfloat16 where that is safe (GPU)
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
    seed: int = Field(default=0, ge=0)

    @property
    def steps_per_epoch(self) -> int:
        return max(1, self.epoch_windows // self.batch)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch


def read_train_config(path: str | Path, changes: list[str] | None = None) -> RunConfig:
    """Return the config in a YAML file, with `changes` such as ``lr=1e-4`` or ``augmentation.mirror=0``.

    Raises InputError that names the field that does not hold, LmmError if the model is unknown.
    """
    from lmm.training.kinds import kind

    source = Path(path)
    try:
        if source.stat().st_size > MAX_BYTES:
            raise InputError(source, "is too large for a config", "Give a YAML file of settings")
        values = yaml.safe_load(source.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as e:
        raise InputError(source, f"cannot be read ({one_line(e, 160)})", "Give a YAML file of settings") from None
    if not isinstance(values, dict):
        raise InputError(source, "is not a list of settings (name: value)", "See configs/ for examples")
    for change in changes or []:
        _set(values, change)
    settings = kind(str(values.get("model"))).settings
    try:
        return settings.model_validate(values)
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(source, f"{field}: {first['msg']}", "docs/training.md lists the settings") from None


def _set(values: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    if not equals or not name:
        raise LmmError(f"--set {change}: expected name=value, such as lr=1e-4.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise LmmError(f"--set {change}: the value is not YAML.") from None
    if isinstance(value, str):  # YAML 1.1 takes 1e-4 for a word
        with contextlib.suppress(ValueError):
            value = float(value)
    at: Any = values
    *path, last = name.split(".")
    for part in path:
        at = (
            at[int(part)]
            if isinstance(at, list) and part.isdigit() and int(part) < len(at)
            else _child(at, part, change)
        )
    if isinstance(at, list) and last.isdigit() and int(last) < len(at):
        at[int(last)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise LmmError(f"--set {change}: there is no such setting.")


def _child(at: Any, part: str, change: str) -> Any:
    if not isinstance(at, dict):
        raise LmmError(f"--set {change}: there is no such setting.")
    if not isinstance(at.get(part), dict | list):
        at[part] = {}
    return at[part]
