"""Frames of video → a token each, by any vision model of transformers, or a small one of our own.

The model (ViT, DINOv2, the vision half of CLIP or SigLIP ...) is `transformers`' own: A. Dosovitskiy et al., "An Image
is Worth 16x16 Words", 2021. Frames are resized to its size, values standardised as it was trained with, and the state
of its first token, which stands for the image, is taken.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.core.errors import InputError, LmmError, one_line
from lmm.models.assistant_config import AssistantConfig, Vision

MOST = {"hidden_size": 4096, "num_hidden_layers": 64, "intermediate_size": 32_768, "image_size": 1024}
PASS = 64  # frames at once where nothing is learned


class VideoEncoder(nn.Module):
    """See the module. The model is made of the config alone, with random weights; a pretrained one can be given."""

    def __init__(self, config: AssistantConfig, model: Any = None) -> None:
        super().__init__()
        if config.vision is None:
            raise LmmError("this assistant has no vision model.")
        self.vision = config.vision
        self.model = _made(config.vision.model) if model is None else model
        self.size = int(self.model.config.image_size)
        self.width = int(self.model.config.hidden_size)

    def forward(self, frames: Tensor) -> Tensor:
        """Return a token (B, N, width) of each frame (B, N, 3, H, W) uint8 RGB."""
        x = frames.flatten(0, 1).to(next(self.parameters()).dtype) / 255
        x = F.interpolate(x, (self.size, self.size), mode="bilinear", antialias=True)
        mean, std = (
            torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (self.vision.mean, self.vision.std)
        )
        parts = [(x - mean) / std] if torch.is_grad_enabled() else ((x - mean) / std).split(PASS)
        y = torch.cat([self.model(pixel_values=part).last_hidden_state[:, 0] for part in parts])
        return y.unflatten(0, frames.shape[:2])


def small_vision(width: int) -> Vision:
    """Return our own vision model: 64 x 64 pixels in patches of 8, 3 layers."""
    heads = max(1, width // 32)
    return Vision(
        model={
            "model_type": "vit", "hidden_size": width, "num_hidden_layers": 3, "num_attention_heads": heads,
            "intermediate_size": 2 * width, "image_size": 64, "patch_size": 8, "num_channels": 3,
        }
    )  # fmt: skip


def load_vision(name: str | Path, dtype: torch.dtype) -> tuple[Vision, Any]:
    """Return the vision model of a folder or of a name on the hub, and what it says of itself.

    Code that comes with it is not run, and nothing is unpickled. Raises InputError if it cannot be had.
    """
    from transformers import AutoModel, logging
    from transformers.image_processing_base import ImageProcessingMixin

    logging.disable_progress_bar()
    source = str(name)
    try:
        model = AutoModel.from_pretrained(source, dtype=dtype, use_safetensors=True, trust_remote_code=False)
        model = getattr(model, "vision_model", model)
        told: dict[str, Any] = {}
        try:
            told = ImageProcessingMixin.get_image_processor_dict(source)[0]
        except OSError:  # it says nothing of how images are to be prepared
            told = {}
        fields = {"mean": told.get("image_mean"), "std": told.get("image_std")}
        config = {k: v for k, v in model.config.to_dict().items() if isinstance(v, str | int | float | bool)}
        vision = Vision(model=config, **{k: tuple(v) for k, v in fields.items() if v})
        _made(vision.model)
    except Exception as e:  # each library below has its own errors for what is absent or damaged
        raise InputError(
            source,
            f"holds no vision model that can be read ({one_line(e, 160)})",
            "Give a folder, or its name on the hub",
        ) from None
    return vision, model


def _made(fields: dict[str, Any]) -> Any:
    """Return a model of transformers with random weights. Raises LmmError if it is too large or none."""
    from transformers import AutoConfig, AutoModel

    for name, most in MOST.items():
        value = fields.get(name)
        if value is not None and (not isinstance(value, int) or not 0 < value <= most):
            raise LmmError(f"the vision model states a {name} of {value}; {most} at most is read.")
    try:
        known = {k: v for k, v in fields.items() if k not in ("model_type", "transformers_version")}
        config = AutoConfig.for_model(fields["model_type"], **known)
        return AutoModel.from_config(config, trust_remote_code=False)
    except Exception as e:
        raise LmmError(f"the vision model's config makes none ({one_line(e, 160)}).") from None
