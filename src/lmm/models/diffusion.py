"""Motion diffusion: six layers read the context, once; six more lead the whole forecast out of noise.

After the overview of the Large Movement Model, phase I: 11.4 M parameters at size ``base``, prediction of the clean
signal, DDIM, the noise level as a time embedding (256 → 512 → 256) added to the tokens. As here, and not told there:
what is diffused is the difference from the last seen pose, and for the root the way gone since (the sum of its
displacements, whose errors would else add up to a drift), each divided by its usual size at that distance into the
future (`spread`), so that the first frames, which hardly differ, are learned and sampled as finely as the last.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmm.core.errors import MotionError
from lmm.core.registry import architectures
from lmm.generative.diffusion import TRAIN_STEPS, add_noise, cosine_schedule, ddim
from lmm.models.blocks import Decoder, KeysValues, repeat, time_encoding
from lmm.models.config import NetworkConfig
from lmm.models.flat import SIZES, FrameEncoder
from lmm.models.network import Context, Example, Network, mean_loss
from lmm.pipeline.features import NUM_FEATURES

LEAST_SPREAD = 0.02  # of a feature's standard deviation
DRAWS = 2  # noise levels trained on for each context, which is encoded once
STEPS = 10


@architectures.register("diffusion")
class Diffusion(Network):
    """See the module. Options: ``steps`` of DDIM and its ``eta``, 0 (default) to 1, when forecasting."""

    sizes = SIZES
    architecture = "diffusion"
    spread: Tensor
    times: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        c = config
        self.steps, self.eta = int(c.options.get("steps", STEPS)), float(c.options.get("eta", 0.0))
        if not 1 <= self.steps <= TRAIN_STEPS or not 0 <= self.eta <= 1:
            raise MotionError(f"diffusion takes 1 to {TRAIN_STEPS} steps and an eta of 0 to 1.")
        self.encoder = FrameEncoder(c, c.layers)
        self.embed = nn.Linear(NUM_FEATURES, c.width)
        self.noise_level = nn.Sequential(nn.Linear(c.width, 2 * c.width), nn.SiLU(), nn.Linear(2 * c.width, c.width))
        self.denoiser = Decoder(c.decoder_layers, c.width, c.heads, c.hidden, c.dropout)
        self.head = nn.Linear(c.width, NUM_FEATURES)
        self.register_buffer("spread", torch.ones(c.block_frames, NUM_FEATURES))
        self.alpha_bars = cosine_schedule()  # no buffer: a network in bfloat16 keeps its noise levels in float64
        seconds = torch.arange(1, c.block_frames + 1) / c.spec.fps
        self.register_buffer("times", time_encoding(seconds, c.width), persistent=False)

    def fit(self, batches: Iterable[Example]) -> None:
        """Measure `spread`: the root mean square of `change` for every frame of the horizon and feature."""
        total, count = torch.zeros_like(self.spread), torch.zeros_like(self.spread)
        for b in batches:
            total += torch.where(b.counts, change(b), 0).square().sum(0)
            count += b.counts.sum(0)
        measured = (total / count.clamp(min=1)).sqrt().clamp(min=LEAST_SPREAD)
        self.spread.copy_(torch.where(count > 0, measured, 1))

    def denoise(
        self,
        noisy: Tensor,
        step: Tensor,
        memories: list[KeysValues],
        mask: Tensor | None,
        exists: Tensor | None = None,
    ) -> Tensor:
        """Return the clean signal in `noisy` (B, block_frames, 75) at diffusion steps (B,)."""
        # the step as seconds of a clock that runs for 20 s: the sinusoids' periods span it
        level = self.noise_level(time_encoding(step * (20 / len(self.alpha_bars)), self.config.width).to(noisy))
        x = self.embed(noisy) + self.times + level[:, None]
        return self.head(self.denoiser(x, memories, mask, exists=exists)[0])

    def loss(self, batch: Example, progress: float) -> tuple[Tensor, Tensor]:
        memories, mask, known = self._read(batch.context, DRAWS)
        clean = (change(batch) / self.spread).repeat_interleave(DRAWS, 0)
        counts = batch.counts.repeat_interleave(DRAWS, 0)
        step = torch.randint(len(self.alpha_bars), (len(clean),), device=clean.device)
        level = self.alpha_bars.to(step.device)[step].to(clean.dtype)[:, None, None]
        noisy = add_noise(clean, torch.randn_like(clean), level)
        exists = None if batch.exists is None else batch.exists.repeat_interleave(DRAWS, 0)
        return mean_loss(self.denoise(noisy, step, memories, mask, exists) * known, clean, counts)

    def generate(self, context: Context, frames: int, samples: int, generator: torch.Generator) -> Tensor:
        memories, mask, known = self._read(context, samples)
        shape = (len(known), self.block_frames, NUM_FEATURES)
        noise = torch.randn(shape, generator=generator, device=known.device, dtype=known.dtype)

        def clean(x: Tensor, t: int) -> Tensor:
            return self.denoise(x, torch.full((len(x),), t, device=x.device), memories, mask) * known

        changes = ddim(clean, noise, self.alpha_bars, self.steps, self.eta, generator) * self.spread
        return unchange(changes.unflatten(0, (-1, samples))[:, :, :frames], context)

    def _read(self, context: Context, count: int) -> tuple[list[KeysValues], Tensor | None, Tensor]:
        """Return the denoiser's memories of a context, its mask and what is known, each row `count` times."""
        memories = repeat(self.denoiser.memories(self.encoder(context)), count)
        mask = None if context.mask is None else context.mask.repeat_interleave(count, 0)
        return memories, mask, context.known.repeat_interleave(count, 0)[:, None]


def change(batch: Example) -> Tensor:
    """Return (B, H, 75): how the target differs from the anchor; for the root's coordinates, its way since then.

    A displacement after a gap is that of the whole gap: what is not there counts 0 in the way.
    """
    root, anchor = batch.context.root[:, None], batch.context.anchor[:, None]
    way = torch.where(batch.counts, batch.target, 0).cumsum(dim=1)
    return torch.where(root, way, batch.target - anchor)


def unchange(changes: Tensor, context: Context) -> Tensor:
    """Return features (B, S, H, 75) of changes: the inverse of `change`."""
    root, anchor = context.root[:, None, None], context.anchor[:, None, None]
    steps = torch.diff(changes, dim=2, prepend=torch.zeros_like(changes[:, :, :1]))
    return torch.where(root, steps, changes + anchor)
