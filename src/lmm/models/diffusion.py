"""Motion diffusion: six layers read the context, once; six more lead the whole forecast out of noise.

After the overview of the Large Movement Model, phase I: 11.4 M parameters at size ``base``, prediction of the clean
signal, the noise level as a time embedding (256 → 512 → 256) added to the tokens. As here, and not told there: what is
diffused is the difference from the last seen pose, and for the root the way gone since (the sum of its displacements,
whose errors would else add up to a drift); in 3D its height is that of the lowest foot (`lmm.models.clearance`).

The network begins as the best `LinearGaussian` forecaster, and learns what that leaves. The change is less its expected
value and divided by its size after what the person did lately, so that near frames, which hardly differ, are learned
and sampled as finely as the last, and one who stands still is not made to leap; by its vigour too, which the denoiser
is told, and which is drawn when sampling. The noise goes together over time and body as changes do (as over the body in
G. Curreli et al., "Nonisotropic Gaussian Diffusion for Realistic 3D Human Motion Prediction", 2025). And the denoiser
adds to √ᾱ times the noisy signal, which is the clean one's expectation if all is normal (c_skip of T. Karras et al.,
"Elucidating the Design Space of Diffusion-Based Generative Models", 2022, of unit data). Samples come along the `arc`.
With the option ``regression: false`` only the size is measured, and DDIM samples, as there.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmm.core.errors import MotionError
from lmm.core.registry import architectures
from lmm.generative.diffusion import TRAIN_STEPS, add_noise, arc, cosine_schedule, ddim
from lmm.models.blocks import Decoder, KeysValues, head, repeat, time_encoding
from lmm.models.clearance import from_foot, target_to_foot, to_foot
from lmm.models.config import NetworkConfig
from lmm.models.flat import SIZES, FrameEncoder
from lmm.models.gaussian import LinearGaussian, factor, num_parts, parts
from lmm.models.network import Context, Example, Network, mean_loss
from lmm.pipeline.features import NUM_FEATURES

DRAWS = 2  # noise levels trained on for each context, which is encoded once
STEPS = 2  # on validation subjects as good as 10 (benchmarks/few_steps.py)


@architectures.register("diffusion")
class Diffusion(Network):
    """See the module.

    Options: ``steps`` when forecasting; ``regression``, on unless set false, and then DDIM's ``eta``, 0 (default) to 1.
    """

    sizes = SIZES
    architecture = "diffusion"
    times: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        c = config
        self.steps, self.eta = int(c.options.get("steps", STEPS)), float(c.options.get("eta", 0.0))
        self.gaussian = bool(c.options.get("regression", True))
        if not 1 <= self.steps <= TRAIN_STEPS or not 0 <= self.eta <= (not self.gaussian):
            raise MotionError(f"diffusion takes 1 to {TRAIN_STEPS} steps and, if without regression, an eta of 0 to 1.")
        self.encoder = FrameEncoder(c, c.layers)
        self.embed = nn.Linear(NUM_FEATURES, c.width)
        self.noise_level = nn.Sequential(nn.Linear(c.width, 2 * c.width), nn.SiLU(), nn.Linear(2 * c.width, c.width))
        self.denoiser = Decoder(c.decoder_layers, c.width, c.heads, c.hidden, c.dropout)
        self.head = head(c.width, NUM_FEATURES)
        self.vigour = head(num_parts(c.spec.layout), c.width)
        self.prior = LinearGaussian(c.block_frames, c.spec.fps, num_parts(c.spec.layout))
        self.alpha_bars = cosine_schedule()  # no buffer: a network in bfloat16 keeps its noise levels in float64
        seconds = torch.arange(1, c.block_frames + 1) / c.spec.fps
        self.register_buffer("times", time_encoding(seconds, c.width), persistent=False)

    def fit(self, batches: Iterable[Example]) -> None:
        given = [(b, change(b)) for b in (target_to_foot(b, self.features) for b in batches)]
        if given and self.gaussian:
            self.prior.fit(given)
        elif given:
            self.prior.fit_scale(given, *(torch.cat(x) for x in zip(*((y, b.counts) for b, y in given), strict=True)))

    def denoise(
        self,
        noisy: Tensor,
        step: Tensor,
        vigour: Tensor,
        memories: list[KeysValues],
        mask: Tensor | None,
        exists: Tensor | None = None,
    ) -> Tensor:
        """Return the clean signal in `noisy` (B, block_frames, 75) at diffusion steps (B,), of `vigour` (B, P)."""
        # the step as seconds of a clock that runs for 20 s: the sinusoids' periods span it
        level = self.noise_level(time_encoding(step * (20 / len(self.alpha_bars)), self.config.width).to(noisy))
        x = self.embed(noisy) + self.times + (level + self.vigour(vigour))[:, None]
        out: Tensor = self.head(self.denoiser(x, memories, mask, exists=exists))
        if not self.gaussian:
            return out
        left = self.alpha_bars.to(step.device)[step].to(noisy.dtype)[:, None, None]
        return left.sqrt() * noisy + (1 - left).sqrt() * out

    def loss(self, batch: Example, progress: float) -> tuple[Tensor, Tensor]:
        batch = target_to_foot(batch, self.features)
        memories, mask, known = self._read(batch.context, DRAWS)
        of = parts(batch.context)
        clean = (change(batch) - self.prior.expected(batch.context)) / self.prior.scale(batch.context)
        vigour = self.prior.vigour(clean, batch.counts, of)
        if not self.gaussian:
            vigour = torch.zeros_like(vigour)
        clean = (clean / factor(vigour, of)[:, None]).repeat_interleave(DRAWS, 0)
        counts = batch.counts.repeat_interleave(DRAWS, 0)
        step = torch.randint(len(self.alpha_bars), (len(clean),), device=clean.device)
        level = self.alpha_bars.to(step.device)[step].to(clean.dtype)[:, None, None]
        white = torch.randn_like(clean).unflatten(0, (-1, DRAWS))
        noisy = add_noise(clean, self.prior.noise(white, batch.context).flatten(0, 1), level)
        exists = None if batch.exists is None else batch.exists.repeat_interleave(DRAWS, 0)
        found = self.denoise(noisy, step, vigour.repeat_interleave(DRAWS, 0), memories, mask, exists)
        return mean_loss(found * known, clean, counts)

    def generate(self, context: Context, frames: int, samples: int, generator: torch.Generator) -> Tensor:
        given, context = context, to_foot(context, self.features)
        memories, mask, known = self._read(context, samples)
        like = {"generator": generator, "device": known.device, "dtype": known.dtype}
        of = parts(context)
        vigour = self.prior.draw_vigour(torch.randn(len(of), samples, of.shape[1], **like))
        white = torch.randn(*vigour.shape[:2], self.block_frames, NUM_FEATURES, **like)
        noise = self.prior.noise(white, context).flatten(0, 1)

        def clean(x: Tensor, t: int) -> Tensor:
            step = torch.full((len(x),), t, device=x.device)
            return self.denoise(x, step, vigour.flatten(0, 1), memories, mask) * known

        if self.gaussian:
            sample = arc(clean, noise, self.alpha_bars, self.steps)
        else:
            sample = ddim(clean, noise, self.alpha_bars, self.steps, self.eta, generator)
        size = self.prior.scale(context)[:, None] * factor(vigour, of[:, None])[:, :, None]
        rest = (sample * known).unflatten(0, (-1, samples)) * size
        changes = self.prior.expected(context)[:, None] + rest
        return from_foot(unchange(changes, context), given, self.features)[:, :, :frames]

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
