"""Direct regression: the flat network with learned queries, which writes all frames at once, once.

The reference lacks it. It shows what of a lower error comes from not being autoregressive. Each frame is the anchor,
the last seen pose, plus a linear regression, plus what the network adds.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmm.core.registry import architectures
from lmm.models.blocks import Decoder, head, time_encoding
from lmm.models.config import NetworkConfig
from lmm.models.flat import SIZES, FrameEncoder
from lmm.models.linear import INPUTS, block_regression, expected
from lmm.models.network import Context, Example, Network, mean_loss
from lmm.pipeline.features import NUM_FEATURES


@architectures.register("direct")
class Direct(Network):
    """See the module. Option ``regression``, on unless set false."""

    sizes = SIZES
    architecture = "direct"
    regression: Tensor  # (block_frames, INPUTS, 75) of a frame's difference from the anchor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        c = config
        self.encoder = FrameEncoder(c, c.layers)
        self.queries = nn.Parameter(torch.randn(c.block_frames, c.width) * 0.02)
        self.decoder = Decoder(c.decoder_layers, c.width, c.heads, c.hidden, c.dropout)
        self.head = head(c.width, NUM_FEATURES)
        self.register_buffer("regression", torch.zeros(c.block_frames, INPUTS, NUM_FEATURES))
        seconds = torch.arange(1, c.block_frames + 1) / c.spec.fps
        self.register_buffer("times", time_encoding(seconds, c.width), persistent=False)

    def fit(self, batches: Iterable[Example]) -> None:
        """Measure `regression`."""
        if self.config.options.get("regression", True):
            self.regression.copy_(block_regression(batches, self.config.spec.fps))

    def forward(self, context: Context) -> Tensor:
        """Return the whole block (B, block_frames, 75)."""
        memories = self.decoder.memories(self.encoder(context))
        queries = (self.queries + self.times).expand(len(context.frames), -1, -1)
        change = self.head(self.decoder(queries, memories, context.mask)) * context.known[:, None]
        return context.anchor[:, None] + expected(self.regression, context, self.config.spec.fps) + change

    def generate(self, context: Context, frames: int, samples: int, generator: torch.Generator) -> Tensor:
        return self(context)[:, None, :frames].expand(-1, samples, -1, -1)

    def loss(self, batch: Example, progress: float) -> tuple[Tensor, Tensor]:
        return mean_loss(self(batch.context), batch.target, batch.counts)
