"""Motion diffusion: six layers read the context, once; six more lead the whole forecast out of noise.

After the overview of the Large Movement Model, phase I: 11.4 M parameters at size ``base``, prediction of the clean
signal, DDIM, the noise level as a time embedding (256 → 512 → 256) added to the tokens. As here, and not told there:
what is diffused is the difference from the last seen pose, and for the root the way gone since (the sum of its
displacements, whose errors would else add up to a drift), each divided by its usual size at that distance into the
future, so that the first frames, which hardly differ, are learned and sampled as finely as the last; and by how much
more or less one who moved like this person goes on to move (`scale`), so that one who stands still is not made to leap.
"""

from __future__ import annotations

import math
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
LEAST_LEVEL = 0.01  # likewise, a frame: below it, one stands still
LEAST_WINDOWS = 30  # for a regression
LOG_SCALES = (math.log(0.05), math.log(4.0))
SHORT = 5  # frames: a third of a second
DRAWS = 2  # noise levels trained on for each context, which is encoded once
STEPS = 10


@architectures.register("diffusion")
class Diffusion(Network):
    """See the module. Options: ``steps`` of DDIM and its ``eta``, 0 (default) to 1, when forecasting."""

    sizes = SIZES
    architecture = "diffusion"
    spread: Tensor  # (block_frames, 75) the usual size of a change
    response: Tensor  # (block_frames, 3) of its logarithm to 1 and the context's two levels
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
        self.register_buffer("response", torch.zeros(c.block_frames, 3))
        self.alpha_bars = cosine_schedule()  # no buffer: a network in bfloat16 keeps its noise levels in float64
        seconds = torch.arange(1, c.block_frames + 1) / c.spec.fps
        self.register_buffer("times", time_encoding(seconds, c.width), persistent=False)

    def fit(self, batches: Iterable[Example]) -> None:
        """Measure `spread`, the root mean square of `change` for every frame of the horizon and feature.

        And `response`, of a linear regression over windows: of the logarithm of a frame's root mean square change, in
        units of `spread`, on the context's `levels`.
        """
        given = [(change(b), b.counts, levels(b.context)) for b in batches]
        if not given:
            return
        changes, counts, known = (torch.cat(parts) for parts in zip(*given, strict=True))
        squares = torch.where(counts, changes, 0).square()
        number = counts.sum(0)
        measured = (squares.sum(0) / number.clamp(min=1)).sqrt().clamp(min=LEAST_SPREAD)
        self.spread.copy_(torch.where(number > 0, measured, 1))
        size = (squares / self.spread**2).sum(2) / counts.sum(2).clamp(min=1)
        inputs = torch.cat([torch.ones_like(known[:, :1]), known], dim=1)
        for frame in range(self.block_frames):
            seen = counts[:, frame].any(1)
            if int(seen.sum()) >= LEAST_WINDOWS:
                logs = size[seen, frame].clamp(min=LEAST_SPREAD**2).log() / 2
                found = torch.linalg.lstsq(inputs[seen].double(), logs[:, None].double()).solution[:, 0]
                rest = logs - inputs[seen].double() @ found
                found[0] += (2 * rest).exp().mean().log() / 2  # so that scaled changes have a mean square of 1
                self.response[frame] = found

    def scale(self, context: Context) -> Tensor:
        """Return (B, block_frames, 75): the size of a change that is to be expected after this context."""
        known = levels(context)
        logs = torch.cat([torch.ones_like(known[:, :1]), known], dim=1) @ self.response.T
        return self.spread * logs.clamp(*LOG_SCALES).exp()[:, :, None]

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
        clean = (change(batch) / self.scale(batch.context)).repeat_interleave(DRAWS, 0)
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

        sample = ddim(clean, noise, self.alpha_bars, self.steps, self.eta, generator).unflatten(0, (-1, samples))
        return unchange((sample * self.scale(context)[:, None])[:, :, :frames], context)

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


def levels(context: Context) -> Tensor:
    """Return (B, 2): logarithms of how much the person moved lately, and over the whole context.

    The root mean square, over the coordinates of joints seen in both, of the change between neighbouring frames; of the
    root, of its displacement. 0 where no two neighbouring frames are known.
    """
    x, root = context.frames, context.root[:, None]
    seen = context.observed.repeat_interleave(3, dim=-1)
    both = seen[:, 1:] & seen[:, :-1] & context.places
    moved = torch.where(root, x[:, 1:], torch.diff(x, dim=1))
    squares = torch.where(both, moved, 0).square()
    out = []
    for frames in (SHORT, x.shape[1]):
        total, number = squares[:, -frames:].sum((1, 2)), both[:, -frames:].sum((1, 2))
        level = (total / number.clamp(min=1)).sqrt().clamp(min=LEAST_LEVEL).log()
        out.append(torch.where(number > 0, level, 0))
    return torch.stack(out, dim=1)


def unchange(changes: Tensor, context: Context) -> Tensor:
    """Return features (B, S, H, 75) of changes: the inverse of `change`."""
    root, anchor = context.root[:, None, None], context.anchor[:, None, None]
    steps = torch.diff(changes, dim=2, prepend=torch.zeros_like(changes[:, :, :1]))
    return torch.where(root, steps, changes + anchor)
