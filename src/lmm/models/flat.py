"""The flat baseline: frame tokens, six layers to read them, six to write the next frame, and the next.

After the overview of the Large Movement Model, phase I: 11.1 M parameters at size ``base``. As here, and not told
there: pre-norm layers, the mask of seen joints beside the 75 features, and outputs relative to the frame before.
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
    """Context frames with the mask of their joints → (B, T, width); the last frame is at 0 seconds."""

    def __init__(self, config: NetworkConfig, layers: int) -> None:
        super().__init__()
        c = config
        self.fps, self.width = c.spec.fps, c.width
        self.embed = nn.Linear(NUM_FEATURES + NUM_JOINTS, c.width)
        self.encoder = Encoder(layers, c.width, c.heads, c.hidden, c.dropout)

    def forward(self, context: Context) -> Tensor:
        frames = context.frames
        seconds = torch.arange(1 - frames.shape[1], 1, device=frames.device) / self.fps
        tokens = self.embed(torch.cat([frames, context.observed.to(frames.dtype)], dim=-1))
        return self.encoder(tokens + time_encoding(seconds, self.width).to(tokens), context.mask)


@architectures.register("flat")
class Flat(Autoregressive):
    """See the module. Option ``scheduled_sampling`` (default on) while training."""

    sizes = SIZES
    architecture = "flat"

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config, FrameEncoder(config, config.layers))
