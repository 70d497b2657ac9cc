"""What a motion-language model's folder says about it, read without torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lmm.models.config import model_name

MAX_HEAD = 200_000_000


class LossWeights(BaseModel):
    """How much each part of the loss weighs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flow: float = Field(default=1.0, ge=0)
    exit: float = Field(default=0.1, ge=0)
    text: float = Field(default=0.1, ge=0)
    start: float = Field(default=0.1, ge=0)


class MotionLanguageConfig(BaseModel):
    """All that makes a motion-language model again, besides weights; config.json in its folder.

    llm            the language model's name on the hub; None: it lies beside, in the folder ``llm``
    width          the language model's
    latent_width   numbers of a motion latent
    head_blocks, head_width   of the flow head
    window         latents that are attended to in a stream, besides the prompt: 75 are 10 s
    draws          times of the flow that are trained on for each hidden state
    noise          standard deviation of noise on latents that enter, in training, against exposure bias
    drop_text      share of training sequences whose text is left out, so that guidance has what to go from
    weights        of the parts of the loss, each a mean (see `MotionLanguageModel.losses`)
    guidance       with which it generates if nothing else is said
    scripts        of the letters of the texts that it was trained on, such as LATIN; none: any
    parameters     how many numbers were trained, the language model's apart; told without loading them
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: Literal["motion-language"] = "motion-language"
    size: str
    llm: str | None = None
    width: int = Field(gt=0, le=16_384)
    latent_width: int = Field(default=32, gt=0, le=1024)
    head_blocks: int = Field(gt=0, le=64)
    head_width: int = Field(gt=0, le=8192)
    window: int = Field(default=75, gt=0, le=10_000)
    draws: int = Field(default=4, gt=0, le=64)
    noise: float = Field(default=0.1, ge=0, le=10)
    drop_text: float = Field(default=0.1, ge=0, lt=1)
    weights: LossWeights = LossWeights()
    guidance: float = Field(default=1.0, ge=0, le=20)
    scripts: tuple[str, ...] = ()
    licence: str = "Apache-2.0"
    trained_on: str = "nothing"
    parameters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> MotionLanguageConfig:
        if self.head_blocks * self.head_width**2 > MAX_HEAD:
            raise ValueError(f"a head of {self.head_blocks} blocks of width {self.head_width} is too large")
        return self

    @property
    def name(self) -> str:
        """``motion-language-<size>``, with ``-nc`` where the data forbid commercial use."""
        return model_name(self.architecture, self.size, licence=self.licence)
