"""The simple baseline that learns: fully connected layers over the cosine transform of the last frames, and no more.

W. Guo et al., "Back to MLP: A Simple Baseline for Human Motion Prediction" (siMLPe), WACV 2023: 0.14 M parameters in 48
residual blocks of one layer over time and a norm over features; the result is a displacement from the last pose. As
here, and not there: a joint that is not seen is held from frame to frame; errors are squared, as all models' are here,
where the paper takes their lengths.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lmm.core.errors import MotionError
from lmm.core.registry import architectures
from lmm.models.config import NetworkConfig
from lmm.models.network import Context, Example, Network, mean_loss
from lmm.pipeline.features import NUM_FEATURES, NUM_JOINTS

PAPER = {"width": 50, "heads": 1, "hidden": 50, "layers": 48, "decoder_layers": 1}


def cosines(count: int) -> Tensor:
    """Return the orthonormal matrix (count, count), float64, of the discrete cosine transform (type II)."""
    k, n = torch.arange(count, dtype=torch.float64)[:, None], torch.arange(count, dtype=torch.float64)
    matrix = math.sqrt(2 / count) * torch.cos(math.pi / count * (n + 0.5) * k)
    matrix[0] /= math.sqrt(2)
    return matrix


class Block(nn.Module):
    """x (B, 75, N) + norm over the features of a layer over the N coefficients."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer, self.norm = nn.Linear(width, width), nn.LayerNorm(NUM_FEATURES)
        nn.init.xavier_uniform_(self.layer.weight, gain=1e-8)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm(self.layer(x).mT).mT


@architectures.register("dct-mlp")
class DctMlp(Network):
    """See the module. `width` is how many frames are read; `layers` of the config are the blocks, the rest is not used.

    The paper has one size: ``small`` and ``base`` are the same.
    """

    sizes = {"tiny": PAPER | {"width": 32, "hidden": 32, "layers": 4}, "small": PAPER, "base": PAPER}  # noqa: RUF012
    architecture = "dct-mlp"
    transform: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        c = config
        if c.block_frames > c.width:
            raise MotionError(f"{c.name} reads {c.width} frames and cannot forecast {c.block_frames}: at most as many.")
        self.enter, self.leave = nn.Linear(NUM_FEATURES, NUM_FEATURES), nn.Linear(NUM_FEATURES, NUM_FEATURES)
        nn.init.xavier_uniform_(self.leave.weight, gain=1e-8)
        nn.init.zeros_(self.leave.bias)
        self.blocks = nn.Sequential(*(Block(c.width) for _ in range(c.layers)))
        self.register_buffer("transform", cosines(c.width).float(), persistent=False)

    def forward(self, context: Context) -> Tensor:
        """Return the whole block (B, block_frames, 75)."""
        frames = held(context)
        last = torch.arange(-self.config.width, 0, device=frames.device) + frames.shape[1]
        coefficients = self.enter(self.transform @ frames[:, last.clamp(min=0)])
        change = self.transform.mT @ self.leave(self.blocks(coefficients.mT).mT)
        return context.anchor[:, None] + change[:, : self.block_frames] * context.known[:, None]

    def generate(self, context: Context, frames: int, samples: int, generator: torch.Generator) -> Tensor:
        return self(context)[:, None, :frames].expand(-1, samples, -1, -1)

    def loss(self, batch: Example, progress: float) -> tuple[Tensor, Tensor]:
        """Return squared errors of places and, with equal weight, of steps from frame to frame (equation 7)."""
        future, anchor = self(batch.context), batch.context.anchor[:, None]
        total, count = mean_loss(future, batch.target, batch.counts)
        steps, true_steps = (torch.diff(x, dim=1, prepend=anchor) for x in (future, batch.target))
        both = batch.counts.clone()
        both[:, 1:] &= batch.counts[:, :-1]
        return total + mean_loss(steps, true_steps, both)[0], count


def held(context: Context) -> Tensor:
    """Return the frames (B, T, 75), every joint held where it is not seen; before it is first seen, as it is then."""
    frames, seen = context.frames, context.observed
    at = torch.where(seen, torch.arange(frames.shape[1], device=frames.device)[:, None], -1).cummax(dim=1).values
    at = torch.where(at < 0, seen.int().argmax(dim=1, keepdim=True), at)
    places = frames.unflatten(-1, (NUM_JOINTS, 3))
    return places.gather(1, at[..., None].expand(-1, -1, -1, 3)).flatten(2)
