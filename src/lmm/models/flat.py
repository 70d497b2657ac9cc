"""The flat baseline: frame tokens, six layers to read them, six to write the next frame, and the next.

After the overview of the Large Movement Model, phase I: 11.1 M parameters at size ``base``. As here, and not told
there: pre-norm layers; the mask of seen joints, and the differences from the last seen pose, beside the 75 features;
outputs relative to the frame before and to a linear regression of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmm.core.registry import architectures
from lmm.models.autoregressive import Autoregressive
from lmm.models.blocks import Encoder, time_encoding
from lmm.models.config import NetworkConfig
from lmm.models.network import Context
from lmm.pipeline.features import NUM_FEATURES, NUM_JOINTS

SIZES = {
    "tiny": {"width": 32, "heads": 2, "hidden": 64, "layers": 2, "decoder_layers": 2},
    "small": {"width": 128, "heads": 4, "hidden": 512, "layers": 6, "decoder_layers": 6},
    "base": {"width": 256, "heads": 8, "hidden": 1024, "layers": 6, "decoder_layers": 6},
}


class FrameEncoder(nn.Module):
    """Context frames, what they differ by from the last seen pose, and the mask of their joints → (B, T, width).

    The last frame is at 0 seconds.
    """

    def __init__(self, config: NetworkConfig, layers: int) -> None:
        super().__init__()
        c = config
        self.fps, self.width = c.spec.fps, c.width
        self.embed = nn.Linear(2 * NUM_FEATURES + NUM_JOINTS, c.width)
        self.encoder = Encoder(layers, c.width, c.heads, c.hidden, c.dropout)

    def forward(self, context: Context) -> Tensor:
        frames = context.frames
        seconds = torch.arange(1 - frames.shape[1], 1, device=frames.device) / self.fps
        away = torch.where(context.observed.repeat_interleave(3, dim=-1), frames - context.anchor[:, None], 0)
        tokens = self.embed(torch.cat([frames, away, context.observed.to(frames.dtype)], dim=-1))
        return self.encoder(tokens + time_encoding(seconds, self.width).to(tokens), context.mask)


@architectures.register("flat")
class Flat(Autoregressive):
    """See the module. Options, on unless set false: ``scheduled_sampling`` while training, the ``regression``."""

    sizes = SIZES
    architecture = "flat"

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, FrameEncoder(config, config.layers))
