"""Motion diffusion: six layers read the context, once; six more lead the whole forecast out of noise.

After the overview of the Large Movement Model, phase I: 11.4 M parameters at size ``base``, prediction of the clean
signal, DDIM, the noise level as a time embedding (256 → 512 → 256) added to the tokens. As here, and not told there:
what is diffused is the difference from the last seen pose, and for the root the way gone since (the sum of its
displacements, whose errors would else add up to a drift), less a linear regression of it. It is divided by its usual
size at that distance into the future, so that the first frames, which hardly differ, are learned and sampled as finely
as the last; and by how much more or less this joint of one who moved like this goes on to move (`scale`), so that one
who stands still is not made to leap, nor one who walks to rise.
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
from lmm.models.linear import INPUTS, expected, regress, regressed, rows
from lmm.models.network import Context, Example, Network, mean_loss
from lmm.pipeline.features import MIDHIP, NECK, NUM_FEATURES

LEAST_SPREAD = 0.02  # of a feature's standard deviation
LEAST_LEVEL = 0.01  # likewise, a frame: below it, one stands still
RIDGE = 0.02  # of the number of windows: what holds a regression's slopes near 0
SCORING_STEPS = 25
LOG_SCALES = (math.log(0.05), math.log(4.0))
LARGEST_EXCESS = 10.0  # of a squared change over what is expected, when fitting
SHORT = 5  # frames: a third of a second
LEVELS = 4
DRAWS = 2  # noise levels trained on for each context, which is encoded once
STEPS = 10


@architectures.register("diffusion")
class Diffusion(Network):
    """See the module.

    Options: ``steps`` of DDIM and its ``eta``, 0 (default) to 1, when forecasting; ``regression``, on unless set false.
    """

    sizes = SIZES
    architecture = "diffusion"
    regression: Tensor  # (block_frames, INPUTS, 75) of a change
    spread: Tensor  # (block_frames, 75) the usual size of what the regression leaves of a change
    response: Tensor  # (block_frames, 75, 5) of its logarithm to 1 and the context's four levels
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
        self.register_buffer("regression", torch.zeros(c.block_frames, INPUTS, NUM_FEATURES))
        self.register_buffer("spread", torch.ones(c.block_frames, NUM_FEATURES))
        self.register_buffer("response", torch.zeros(c.block_frames, NUM_FEATURES, 1 + LEVELS))
        self.alpha_bars = cosine_schedule()  # no buffer: a network in bfloat16 keeps its noise levels in float64
        seconds = torch.arange(1, c.block_frames + 1) / c.spec.fps
        self.register_buffer("times", time_encoding(seconds, c.width), persistent=False)

    def fit(self, batches: Iterable[Example]) -> None:
        """Measure `regression`, and `spread`, the root mean square of its errors, for every frame and feature.

        And `response`: the logarithm of the error's variance is linear in the context's `levels`. Fitted over windows,
        for every frame and feature, by Fisher scoring of the likelihood of a normal distribution (a gamma regression
        with logarithmic link, McCullagh and Nelder 1989, chapter 8): scaled errors have a mean square of 1.
        """
        given = [(b, change(b)) for b in batches]
        if not given:
            return
        ends, changes, counts = rows(given, self.config.spec.fps)
        known = torch.cat([levels(b.context) for b, _ in given])
        if self.config.options.get("regression", True):
            weight, changes = regress(ends, changes, counts)
            self.regression.copy_(weight)
        changes, counts = changes[: len(known)], counts[: len(known)]
        squares = torch.where(counts, changes, 0).square()
        number = counts.sum(0)
        measured = (squares.sum(0) / number.clamp(min=1)).sqrt().clamp(min=LEAST_SPREAD)
        self.spread.copy_(torch.where(number > 0, measured, 1))
        inputs = with_one(known).transpose(0, 1)  # (75, B, 5)
        ridge = torch.diag(torch.tensor([1e-6, *[RIDGE] * LEVELS], device=inputs.device, dtype=inputs.dtype))
        for frame in range(self.block_frames):
            square = (squares[:, frame] / self.spread[frame] ** 2).T[..., None]  # (75, B, 1)
            weight = counts[:, frame].T[..., None].to(inputs.dtype)
            total = weight.sum(1, keepdim=True).clamp(min=1)
            inner = (inputs * weight).transpose(1, 2) @ inputs / total + ridge
            found = torch.zeros_like(inputs[:, 0, :, None])  # (75, 5, 1)
            for _ in range(SCORING_STEPS):
                size = (2 * (inputs @ found).clamp(*LOG_SCALES)).exp()
                excess = weight * (square / size - 1).clamp(max=LARGEST_EXCESS) / 2
                found += torch.linalg.solve(inner, inputs.transpose(1, 2) @ excess / total - ridge @ found)
            self.response[frame] = found[..., 0]

    def scale(self, context: Context) -> Tensor:
        """Return (B, block_frames, 75): the size of what a change may have beyond the `expected` after this context."""
        known = levels(context)
        neck, hips = (slice(3 * joint, 3 * joint + 3) for joint in (NECK, MIDHIP))
        on_neck = ~regressed(context)[:, None, neck]  # there the neck is the root, and takes its scale
        known[:, hips] = torch.where(on_neck[:, 0, :, None], known[:, neck], known[:, hips])
        logs = torch.einsum("bfk,hfk->bhf", with_one(known), self.response)
        scale = self.spread * logs.clamp(*LOG_SCALES).exp()
        scale[..., neck] = torch.where(on_neck, scale[..., hips], scale[..., neck])
        return scale

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
        rest = change(batch) - expected(self.regression, batch.context, self.config.spec.fps)
        clean = rest / self.scale(batch.context)
        clean = clean.repeat_interleave(DRAWS, 0)
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
        likely = expected(self.regression, context, self.config.spec.fps)
        changes = likely[:, None] + sample * self.scale(context)[:, None]
        return unchange(changes[:, :, :frames], context)

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
    """Return (B, 75, 4): logarithms of how much this feature, and all together, moved lately and in the whole context.

    The root mean square, over frames where the joint is seen, of the change between neighbouring frames; of the root,
    of its displacement. All together: over the coordinates of all joints. 0 where no two neighbours are known.
    """
    x, root = context.frames, context.root[:, None]
    seen = context.observed.repeat_interleave(3, dim=-1)
    both = seen[:, 1:] & seen[:, :-1]
    moved = torch.where(root, x[:, 1:], torch.diff(x, dim=1))
    squares = torch.where(both, moved, 0).square()
    out = []
    for frames in (SHORT, x.shape[1]):
        total, number = squares[:, -frames:].sum(1), both[:, -frames:].sum(1)
        of_all = [(n * context.places).sum(1, keepdim=True).expand_as(n) for n in (total, number)]
        for t, n in ((total, number), of_all):
            level = (t / n.clamp(min=1)).sqrt().clamp(min=LEAST_LEVEL).log()
            out.append(torch.where(n > 0, level, 0))
    return torch.stack(out, dim=-1)


def with_one(levels: Tensor) -> Tensor:
    """Return (..., 1 + LEVELS): `levels` (..., LEVELS) after a 1, for the intercept."""
    return torch.cat([torch.ones_like(levels[..., :1]), levels], dim=-1)


def unchange(changes: Tensor, context: Context) -> Tensor:
    """Return features (B, S, H, 75) of changes: the inverse of `change`."""
    root, anchor = context.root[:, None, None], context.anchor[:, None, None]
    steps = torch.diff(changes, dim=2, prepend=torch.zeros_like(changes[:, :, :1]))
    return torch.where(root, steps, changes + anchor)
