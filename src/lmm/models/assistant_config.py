"""What a motion assistant's folder says about it, read without torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lmm.models.config import MAX_LAYERS, MAX_WEIGHTS, MAX_WIDTH, model_name
from lmm.pipeline.features import FeatureSpec


class Vision(BaseModel):
    """A vision model of transformers: its config there, and how the channels of an image are standardised."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: dict[str, Any]
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class AssistantConfig(BaseModel):
    """All that makes an assistant again, besides weights; config.json in its folder.

    llm              the language model's name on the hub; None: it lies beside, in the folder ``llm``
    branch           it sits on a motion-language model, in the folder ``motion-language``, which stays as it is
    llm_width        the language model's
    lora_rank        of what is added to the language model's linear layers while it is tuned so; 0: nothing
    spec             how the features of motion are standardised, and their rate
    longest_frames   of longer motions the last so many are read
    patch_frames     frames of a token of motion
    joint_width, joint_heads, joint_layers   of the attention among joints
    width, heads, hidden, layers             of the attention along time, the feature enhancer and the Cross Talker
    dropout          of both, while training
    keys, segments   key frames, and stretches of the whole motion, that the language model is given of each motion
    largest_radius_s   of the window about a key frame
    moments          weight of the loss that teaches the gates the moments on which answers rest
    lexicon          ids of the tokens of all answers in training: what the gist is told in; none: no gist
    gist             weight of the loss that teaches which of them the answer holds, before it is put in words
    text             weight of the loss of the answer itself; 0: stage 1, which does not run the language model
    motion, video    whether motion, and frames of video where there are some, are looked at
    vision           the vision model that reads video; its weights are the assistant's
    vision_width     of our own small one, where no other is given
    selection        of key frames: ``talker`` by the question, ``uniform`` evenly spaced
    levels           motion is rounded to so many levels in as many directions before it is looked at (FSQ); none: not
    parameters       how many numbers were trained, the language model's apart where it was not; told without loading
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: Literal["assistant"] = "assistant"
    size: str
    llm: str | None = None
    branch: bool = False
    llm_width: int = Field(gt=0, le=16_384)
    lora_rank: int = Field(default=0, ge=0, le=1024)
    spec: FeatureSpec = FeatureSpec(layout="xyz")
    longest_frames: int = Field(default=900, ge=15, le=10_000)
    patch_frames: int = Field(default=3, gt=0, le=60)
    joint_width: int = Field(gt=0, le=MAX_WIDTH)
    joint_heads: int = Field(gt=0, le=256)
    joint_layers: int = Field(gt=0, le=MAX_LAYERS)
    width: int = Field(gt=0, le=MAX_WIDTH, multiple_of=2)
    heads: int = Field(gt=0, le=256)
    hidden: int = Field(gt=0, le=4 * MAX_WIDTH)
    layers: int = Field(gt=0, le=MAX_LAYERS)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    keys: int = Field(default=8, gt=0, le=256)
    segments: int = Field(default=4, gt=0, le=64)
    largest_radius_s: float = Field(default=2.0, gt=0, le=60)
    moments: float = Field(default=0.3, ge=0)
    lexicon: tuple[Annotated[int, Field(ge=0)], ...] = Field(default=(), max_length=65_536)
    gist: float = Field(default=0.5, ge=0)
    text: float = Field(default=1.0, ge=0)
    motion: bool = True
    video: bool = False
    vision: Vision | None = None
    vision_width: int = Field(default=96, gt=0, le=MAX_WIDTH)
    selection: Literal["talker", "uniform"] = "talker"
    levels: tuple[int, ...] = Field(default=(), max_length=16)
    licence: str = "Apache-2.0"
    trained_on: str = "nothing"
    parameters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> AssistantConfig:
        if self.spec.layout != "xyz":
            raise ValueError("an assistant reads motion in metres: layout xyz")
        if self.width % (2 * self.heads) or self.joint_width % self.joint_heads:
            raise ValueError("each width must be shared evenly by its heads, in pairs along time")
        if any(not 2 <= n <= 64 for n in self.levels):
            raise ValueError("levels must be 2 to 64 each")
        if (
            self.layers * self.width * (self.width + self.hidden) + self.joint_layers * self.joint_width**2
            > MAX_WEIGHTS
        ):
            raise ValueError(f"{self.layers} layers of width {self.width} are too large")
        if self.video and self.vision is None:
            raise ValueError("video needs a vision model")
        if self.branch and (self.llm is not None or self.lora_rank):
            raise ValueError("with a branch the language model is the motion-language model's, and left as it is")
        return self

    @property
    def name(self) -> str:
        """``assistant-<size>``, with ``-nc`` where the data forbid commercial use."""
        return model_name(self.architecture, self.size, licence=self.licence)
