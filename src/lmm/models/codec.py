"""The motion codec: features at 30 FPS ↔ 7.5 latents a second, by causal convolutions, whole or in chunks.

A variational autoencoder of T. Zhang and others, "T2M-GPT", 2023 (its convolutions: two stages of stride 2, each with
residual blocks of dilation 1, 3, 9), made causal (padding on the left alone) as L. Xiao and others, "MotionStreamer",
2025. The encoder tells the mean alone; in training z = μ + σ ε with σ ~ U(0, sigma) drawn for each clip (Y. Sun and
others, "Multimodal Latent Language Modeling with Next-Token Diffusion", 2024), so that the decoder bears latents that
are not quite right. ``bottleneck: fsq`` rounds z to a few levels instead (F. Mentzer and others, "Finite Scalar
Quantization: VQ-VAE Made Simple", 2023): discrete tokens, as an ablation.

Frame t needs the latents up to ⌊t / 4⌋ and latent n the frames up to 4 n + 3: latency is one latent, 133 ms.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from lmm.core.errors import MotionError
from lmm.models.config import read_config
from lmm.models.files import load_weights, save_model
from lmm.pipeline.codec_features import FPS, NUM_FEATURES, NUM_JOINTS, SLICES

STRIDE = 4
MAX_WEIGHTS = 500_000_000

# Of the loss, in standard metres, radians and seconds: joints' places, velocities and accelerations, the root's rates,
# and what errors of these add up to. A place varies by 0.2 m and is one of 16, a rate of the root by 1, and all later
# frames need it: with PLACE at 10 and PATH at 2 the root takes all of the gradient and poses are not learned (135 mm,
# against 50). Without CHANGE what is rebuilt trembles (sJPE on validation clips 0.41, with 0.1 it is 0.33 to 0.34).
PLACE, SPEED, CHANGE, ROOT, PATH = 60.0, 3.0, 0.05, 2.0, 0.5


class CodecConfig(BaseModel):
    """All that makes a codec again, besides its weights; config.json in its folder.

    width, blocks     of the convolutions; residual blocks in each of the two stages
    latent            numbers of a latent
    bottleneck        ``continuous`` · ``fsq``: a latent is len(levels) numbers, each one of so many levels
    sigma             the largest noise on latents in training. Latents have a standard deviation of about 1
    kl                weight of the KL divergence; 5e-3 keeps what ``fsq`` rounds from saturating
    mean, std         of the features (`codec_features.statistics`)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: Literal["codec"] = "codec"
    size: str
    width: int = Field(gt=0, le=4096)
    blocks: int = Field(default=3, ge=0, le=6)
    latent: int = Field(default=32, gt=0, le=1024)
    bottleneck: Literal["continuous", "fsq"] = "continuous"
    levels: tuple[int, ...] = Field(default=(8, 8, 8, 5, 5, 5), min_length=1, max_length=64)
    sigma: float = Field(default=0.1, ge=0, le=1)
    kl: float = Field(default=1e-3, ge=0, le=1)
    mean: tuple[float, ...] = Field(default=(0.0,) * NUM_FEATURES, min_length=NUM_FEATURES, max_length=NUM_FEATURES)
    std: tuple[float, ...] = Field(default=(1.0,) * NUM_FEATURES, min_length=NUM_FEATURES, max_length=NUM_FEATURES)
    licence: str = "Apache-2.0"
    trained_on: str = "nothing"
    parameters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> CodecConfig:
        if not all(2 <= n <= 256 for n in self.levels):
            raise ValueError("levels must lie between 2 and 256")
        if not all(s > 0 for s in self.std):
            raise ValueError("std must be greater than 0")
        if self.width**2 * (16 * self.blocks + 24) > MAX_WEIGHTS:
            raise ValueError(f"{self.blocks} blocks of width {self.width} are too large")
        return self

    @property
    def latent_width(self) -> int:
        """How many numbers a latent has."""
        return self.latent if self.bottleneck == "continuous" else len(self.levels)

    @property
    def bits_per_latent(self) -> float:
        """Bits to store one: float16 numbers, or one of the codebook's codes."""
        return 16.0 * self.latent if self.bottleneck == "continuous" else float(np.log2(self.levels).sum())


class State(NamedTuple):
    """What a stream carries from chunk to chunk.

    past     the last inputs of each convolution, (B, C, n), oldest first
    pending  (B, 0 to 3, 49) features that make no whole latent yet; of an encoder
    """

    past: tuple[Tensor, ...]
    pending: Tensor | None = None


class Codec(nn.Module):
    """Features (B, T, 49) ↔ latents (B, ⌈T / 4⌉, 32) of about unit variance (`CodecConfig.latent_width`)."""

    sizes: ClassVar[dict[str, dict[str, int]]] = {
        "tiny": {"width": 16, "blocks": 2},
        "small": {"width": 192, "blocks": 2},
        "base": {"width": 1024},
    }
    mean: Tensor
    std: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        w, z = config.width, config.latent_width
        stages = [[Residual(w, 3**i) for i in range(config.blocks)] for _ in range(4)]
        halved = [CausalConv(w, w, 4, stride=2) for _ in range(2)]
        self.encoder = nn.ModuleList(
            [CausalConv(NUM_FEATURES, w, 3), halved[0], *stages[0], halved[1], *stages[1], CausalConv(w, z, 3)]
        )
        self.decoder = nn.ModuleList(
            [CausalConv(z, w, 3), *stages[2], Doubled(w), *stages[3], Doubled(w), CausalConv(w, NUM_FEATURES, 3)]
        )
        self.register_buffer("mean", torch.tensor(config.mean), persistent=False)
        self.register_buffer("std", torch.tensor(config.std), persistent=False)
        self.register_buffer("shift", torch.zeros(z))
        self.register_buffer("scale", torch.ones(z))

    @classmethod
    def of_size(cls, size: str, **changes: Any) -> Codec:
        """Return a new codec with random weights (torch's global generator); `changes` are fields of its config."""
        if size not in cls.sizes:
            raise MotionError(f"the codec has no size {size!r}; it has {', '.join(cls.sizes)}.")
        return cls(CodecConfig(**{"size": size, **cls.sizes[size], **changes}))

    # Use

    def encode(self, features: Tensor) -> Tensor:
        """Return the latents (B, ⌈T / 4⌉, 32) of `features` (B, T, 49); the last frame is repeated to fill the last."""
        return self.encode_chunk(features, None, last=True)[0]

    def decode(self, latents: Tensor) -> Tensor:
        """Return the features (B, 4 N, 49) of `latents` (B, N, 32)."""
        return self.decode_chunk(latents, None)[0]

    def encode_chunk(self, features: Tensor, state: State | None, last: bool = False) -> tuple[Tensor, State]:
        """Return the latents (B, N, 32) that `features` (B, T, 49) complete, and the state for what follows.

        A chunk may have any length, 0 too. The `last` one of a stream is filled up with its last frame.
        """
        if state is not None and state.pending is not None:
            features = torch.cat([state.pending, features], dim=1)
        over = features.shape[1] % STRIDE
        if last and over:
            features = torch.cat([features, features[:, -1:].expand(-1, STRIDE - over, -1)], dim=1)
            over = 0
        whole, pending = features[:, : features.shape[1] - over], features[:, features.shape[1] - over :]
        past = None if state is None else state.past
        if not whole.shape[1]:
            return features.new_zeros(len(features), 0, self.config.latent_width), State(past or (), pending)
        z, past = self._run(self.encoder, (whole - self.mean) / self.std, past)
        return (self._quantised(z) - self.shift) / self.scale, State(past, pending)

    def decode_chunk(self, latents: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Return the features (B, 4 N, 49) of `latents` (B, N, 32), and the state for what follows; N may be 0."""
        past = None if state is None else state.past
        if not latents.shape[1]:
            return latents.new_zeros(len(latents), 0, NUM_FEATURES), State(past or ())
        x, past = self._run(self.decoder, latents * self.scale + self.shift, past)
        return x * self.std + self.mean, State(past)

    @staticmethod
    def _run(layers: Any, x: Tensor, past: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        memory = Memory(past)
        x = x.transpose(1, 2)
        for layer in layers:
            x = layer(x, memory)
        return x.transpose(1, 2), tuple(memory.kept)

    def _quantised(self, z: Tensor) -> Tensor:
        return z if self.config.bottleneck == "continuous" else quantise(z, self.config.levels)

    # Training

    def loss(self, batch: Any, progress: float) -> tuple[Tensor, Tensor]:
        """Return the sum over the frames that count of `batch` (`datasets.clips.ClipBatch` of tensors), and how many.

        `progress` is of no use here: noise and weights stay what they are.
        """
        x, z = self._reconstructed(batch.features, noise=self.config.sigma)
        total, count = reconstruction(x, batch.features, batch.counts)
        # of N(μ, σ²) from N(0, 1), but for what σ alone determines; and what keeps the tanh of fsq from saturating
        total = total + self.config.kl * count * 0.5 * (z**2).mean()
        return total, count

    def validation(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Return what chooses the best weights, as `loss` does, without noise."""
        return reconstruction(self._reconstructed(batch.features, noise=0.0)[0], batch.features, batch.counts)

    def _reconstructed(self, features: Tensor, noise: float) -> tuple[Tensor, Tensor]:
        """Return the features after encoding and decoding, and μ (B, N, 32), not normalised."""
        mean, _ = self._run(self.encoder, (features - self.mean) / self.std, None)
        z = self._quantised(mean)
        if self.config.bottleneck == "continuous" and noise:
            z = z + noise * torch.rand(len(z), 1, 1, device=z.device) * torch.randn_like(z)
        x, _ = self._run(self.decoder, z, None)
        return x * self.std + self.mean, mean

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Any]) -> None:
        """Measure mean and standard deviation of the latents of `batches`. Called on weights that are to be kept."""
        seen = []
        for batch in batches:
            z = self._quantised(self._run(self.encoder, (batch.features - self.mean) / self.std, None)[0])
            seen.append(z[batch.counts.unflatten(1, (-1, STRIDE)).all(-1)].double())
        every = torch.cat(seen)
        self.shift.copy_(every.mean(0))
        self.scale.copy_(every.std(0, correction=0).clamp(min=1e-3))

    # Files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors (in shards under 16 MiB) and, where there is none, a README.md."""
        save_model(self, self.config, Path(folder), f"Motion codec, {self.config.size}")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Codec:
        """Return the codec of a folder, ready to use. Raises InputError if there is none, or the weights do not fit."""
        codec = cls(read_config(Path(folder), CodecConfig))
        load_weights(codec, Path(folder))
        return codec.eval()


def quantise(z: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Return `z` (..., len(levels)) bounded and rounded to its levels, in [-1, 1]; gradients pass as if not rounded.

    Mentzer and others, 2023, section 3 and appendix A.
    """
    n = torch.tensor(levels, dtype=z.dtype, device=z.device)
    half = (n - 1) * (1 + 1e-3) / 2
    offset = 0.5 * (n % 2 == 0)
    bounded = torch.tanh(z + torch.atanh(offset / half)) * half - offset
    return (bounded + (bounded.round() - bounded).detach()) / (n // 2)


def reconstruction(x: Tensor, y: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed error of features `x` for `y` (B, T, 49) over the frames that count (B, T), and how many.

    A frame's error is that of its joints' places, of their velocities in the world (which wrong turns make tremble) and
    their changes, of the root's rates, and of what these have added up to since the clip began: norms, so that outliers
    weigh little.
    """
    error = torch.where(counts[..., None], x - y, 0)
    turn, velocity = error[..., SLICES["turn"]], error[..., SLICES["velocity"]]
    both = counts[:, 1:] & counts[:, :-1]
    velocity_error = velocities(x) - velocities(y)
    speed = torch.where(both, norm(velocity_error).mean(-1), 0)
    change = torch.where(both[:, 1:] & both[:, :-1], norm(FPS * velocity_error.diff(dim=1)).mean(-1), 0)
    path = norm(turn.cumsum(1) / FPS) + norm(velocity.cumsum(1) / FPS)
    total = PLACE * norm(places(error)).mean(-1) + ROOT * (norm(turn) + norm(velocity)) + PATH * path
    return torch.where(counts, total, 0).sum() + SPEED * speed.sum() + CHANGE * change.sum(), counts.sum()


def places(features: Tensor) -> Tensor:
    """Return the places (..., 16, 3), the root's last, relative to the root's ground point in the frame's heading."""
    root = nn.functional.pad(features[..., SLICES["height"]], (1, 1))
    return torch.cat([features[..., SLICES["joints"]], root], dim=-1).unflatten(-1, (NUM_JOINTS, 3))


def velocities(features: Tensor) -> Tensor:
    """Return the velocities (B, T - 1, 16, 3) of the joints over the world's ground, along the frame's heading, m/s."""
    place, turn = places(features), features[:, 1:, SLICES["turn"]] / FPS
    x, y, z = place[:, :-1].unbind(-1)  # of the frame before, as this frame, turned since, sees it
    c, s = turn.cos(), turn.sin()
    moved = FPS * (place[:, 1:] - torch.stack([c * x - s * z, y, s * x + c * z], dim=-1))
    u, w = features[:, 1:, SLICES["velocity"]].unbind(-1)
    return moved + torch.stack([u, torch.zeros_like(u), w], dim=-1)[..., None, :]


def norm(x: Tensor) -> Tensor:
    """Return the length of vectors (..., C), differentiable at 0."""
    return ((x**2).sum(-1) + 1e-8).sqrt()


class Memory:
    """Hands each convolution, in the order in which they run, the end of its last input, and keeps that of this one."""

    def __init__(self, past: tuple[Tensor, ...] | None) -> None:
        self._past = iter(past) if past else None
        self.kept: list[Tensor] = []

    def extend(self, x: Tensor, length: int) -> Tensor:
        """Return `x` (B, C, T) with the `length` frames before it, at first zeros."""
        before = x.new_zeros(*x.shape[:2], length) if self._past is None else next(self._past)
        x = torch.cat([before, x], dim=-1)
        self.kept.append(x[..., x.shape[-1] - length :])
        return x


class CausalConv(nn.Conv1d):
    """(B, C, T) → (B, C', T / stride): an output sees the inputs of its own stride and those before."""

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        left = (self.kernel_size[0] - 1) * self.dilation[0] + 1 - self.stride[0]
        return super().forward(memory.extend(x, left) if left else x)


class Residual(nn.Module):
    """x plus what a dilated convolution makes of it."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.wide = CausalConv(width, width, 3, dilation=dilation)
        self.mix = CausalConv(width, width, 1)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        silu = nn.functional.silu
        out: Tensor = x + self.mix(silu(self.wide(silu(x), memory)), memory)
        return out


class Doubled(nn.Module):
    """(B, C, T) → (B, C, 2 T)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = CausalConv(width, 2 * width, 2)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        y = nn.functional.silu(self.conv(x, memory))
        return y.unflatten(1, (-1, 2)).transpose(2, 3).flatten(2)
