"""What a learned model's folder says about it, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lmm.core.errors import InputError, one_line
from lmm.models.forecaster import ModelInfo
from lmm.pipeline.features import NUM_JOINTS, FeatureSpec

CONFIG = "config.json"
MAX_BYTES = 4 << 20
MAX_WIDTH, MAX_LAYERS, MAX_WEIGHTS = 4096, 64, 100_000_000


def model_name(*parts: str, licence: str) -> str:
    """Return a model's name: its parts, and ``nc`` where the licence forbids commercial use."""
    return "-".join([*parts, *(["nc"] if "NC" in licence else [])])


class NetworkConfig(BaseModel):
    """All that makes a network of this architecture again, besides its weights; config.json in a model's folder.

    width, heads, hidden, layers, decoder_layers   of the transformer; `layers` are the encoder's
    dropout                         while training
    context_frames, block_frames    the most frames read, and forecast at once
    spec                            what the 75 features mean and how they are standardised
    joints                          the joints that the training data recorded: the only ones that the network sees
    options                         of the architecture alone
    parameters                      how many numbers were trained; told without loading them
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: str
    size: str
    width: int = Field(gt=0, le=MAX_WIDTH, multiple_of=2)
    heads: int = Field(gt=0, le=256)
    hidden: int = Field(gt=0, le=4 * MAX_WIDTH)
    layers: int = Field(gt=0, le=MAX_LAYERS)
    decoder_layers: int = Field(gt=0, le=MAX_LAYERS)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    context_frames: int = Field(default=120, gt=0, le=10_000)
    block_frames: int = Field(default=30, gt=0, le=10_000)
    spec: FeatureSpec
    joints: tuple[bool, ...] = Field(default=(True,) * NUM_JOINTS, min_length=NUM_JOINTS, max_length=NUM_JOINTS)
    options: dict[str, bool | int | float | str] = {}
    licence: str = "Apache-2.0"
    trained_on: str = "nothing"
    parameters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> NetworkConfig:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not shared evenly by {self.heads} heads")
        if (self.layers + self.decoder_layers) * self.width * (self.width + self.hidden) > MAX_WEIGHTS:
            raise ValueError(f"{self.layers} and {self.decoder_layers} layers of width {self.width} are too large")
        return self

    @property
    def name(self) -> str:
        """``<architecture>-<size>-<layout>``, with ``-nc`` where the data forbid commercial use."""
        return model_name(self.architecture, self.size, self.spec.layout, licence=self.licence)

    def info(self, parameters: int) -> ModelInfo:
        """Return what `lmm models info` tells."""
        return ModelInfo(
            self.name, self.architecture, self.size, parameters, self.spec.layout, self.licence, self.trained_on
        )


class Header(BaseModel):
    """What the config.json of every kind of model says about it, whatever else it holds."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    architecture: str
    size: str
    licence: str
    trained_on: str
    parameters: int = Field(default=0, ge=0)
    block_frames: int | None = None  # forecasters alone have blocks

    @property
    def name(self) -> str:
        """``<architecture>-<size>``, with ``-nc`` where the data forbid commercial use."""
        return model_name(self.architecture, self.size, licence=self.licence)

    @property
    def info(self) -> ModelInfo:
        """What `lmm models info` tells. Their layout is ``codec``, that of `pipeline.codec_features`."""
        return ModelInfo(
            self.name, self.architecture, self.size, self.parameters, "codec", self.licence, self.trained_on
        )


C = TypeVar("C", bound=BaseModel)


def read_config(folder: Path, kind: type[C]) -> C:
    """Return the config of a model's folder. Raises InputError if there is none, or it does not hold."""
    path = folder / CONFIG
    try:
        if path.stat().st_size > MAX_BYTES or not path.is_file():  # a device may have no end
            raise InputError(path, "is too large for a config, or no file", "Give a folder that lmm train wrote")
        return kind.model_validate_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError, json.JSONDecodeError) as e:
        raise InputError(
            folder, f"is no model of lmm ({one_line(e, 160)})", "Give a folder that lmm train wrote"
        ) from None
