"""One frame after another: how `flat` and `htt` decode what they have read, and how they learn to."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmm.models.blocks import Decoder, KeysValues, head, repeat, time_encoding
from lmm.models.config import NetworkConfig
from lmm.models.linear import INPUTS, mean_pose, pose_before, regress, regressed, regressors
from lmm.models.network import Context, Example, Network, mean_loss
from lmm.pipeline.features import NUM_FEATURES

MOST_SAMPLED = 0.5  # scheduled sampling: the share of self-predicted inputs rises from 0 to this


class FrameDecoder(nn.Module):
    """Memory (B, M, width) → frames, each the frame before it plus a linear regression plus what the network adds.

    The first input is the anchor, the last seen pose. Frame i is at (i + 1) / fps seconds; its input token carries the
    time of the frame that it predicts.
    """

    times: Tensor
    sampled = True  # several samples are rollouts with noise; False: each is the rollout of the expected frames
    regression: Tensor  # (INPUTS, 75) of a frame's difference from the one before
    innovation: Tensor  # L with L Lᵀ the covariance of what a frame brings beyond its forecast; 0: not measured

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c = config
        self.embed = nn.Linear(NUM_FEATURES, c.width)
        self.decoder = Decoder(c.decoder_layers, c.width, c.heads, c.hidden, c.dropout)
        self.head = head(c.width, NUM_FEATURES)
        seconds = torch.arange(1, c.block_frames + 1) / c.spec.fps
        self.fps = c.spec.fps
        self.register_buffer("regression", torch.zeros(INPUTS, NUM_FEATURES))
        self.register_buffer("times", time_encoding(seconds, c.width), persistent=False)
        self.register_buffer("innovation", torch.zeros(NUM_FEATURES, NUM_FEATURES))

    def forward(self, inputs: Tensor, memories: list[KeysValues], context: Context) -> Tensor:
        """Return the frames (B, H, 75) that follow each of the `inputs` (B, H, 75), all at once."""
        x = self.embed(inputs) + self.times[: inputs.shape[1]]
        change = self.head(self.decoder(x, memories, context.mask, causal=True))
        change = change + self.regressors(inputs, context) @ self.regression * regressed(context)[:, None]
        return inputs + change * context.known[:, None]

    def regressors(self, inputs: Tensor, context: Context) -> Tensor:
        """Return (B, H, INPUTS) for `inputs` (B, H, 75), which begin with the anchor."""
        before = torch.cat([pose_before(context)[:, None], inputs[:, :-1]], dim=1)
        return regressors(inputs, before, mean_pose(context)[:, None], context.known[:, None], self.fps)

    def fit(self, batches: Iterable[Example]) -> None:
        """Measure `regression`, with the truth as inputs."""
        rows = []
        for batch in batches:
            inputs = shifted(batch)
            counts = batch.counts & regressed(batch.context)[:, None]
            rows.append((self.regressors(inputs, batch.context), batch.target - inputs, counts))
        inputs, changes, counts = (torch.cat(parts).flatten(0, 1) for parts in zip(*rows, strict=True))
        self.regression.copy_(regress(inputs, changes[:, None], counts[:, None])[0][0])

    def loss(self, memory: Tensor, batch: Example, progress: float, sampled: bool) -> tuple[Tensor, Tensor]:
        """Teacher forcing, or scheduled sampling in parallel.

        S. Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural Networks", 2015; in two
        parallel passes as in T. Mihaylova and A. Martins, "Scheduled Sampling for Transformers", 2019: the first pass
        predicts every frame from the truth, the second has a growing share of these predictions among its inputs. A
        rollout would take `horizon` passes for the same step, fifteen times the cost.
        """
        memories = self.decoder.memories(memory)
        anchor = batch.context.anchor[:, None]
        inputs = shifted(batch)
        share = MOST_SAMPLED * progress if sampled else 0.0
        if share:
            with torch.no_grad():
                guess = torch.cat([anchor, self(inputs, memories, batch.context)[:, :-1]], dim=1)
            mixed = torch.rand(inputs.shape[:2], device=inputs.device)[..., None] < share
            inputs = torch.where(mixed, guess, inputs)
        return mean_loss(self(inputs, memories, batch.context), batch.target, batch.counts)

    @torch.no_grad()
    def calibrate(self, batches: Iterable[tuple[Tensor, Example]]) -> None:
        """Measure `innovation` on pairs of a memory and the batch that it was made of."""
        total = count = torch.zeros_like(self.innovation)
        for memory, batch in batches:
            error = self(shifted(batch), self.decoder.memories(memory), batch.context) - batch.target
            error = torch.where(batch.counts, error, 0).flatten(0, 1)
            told = batch.counts.flatten(0, 1).to(error.dtype)
            total, count = total + error.T @ error, count + told.T @ told
        covariance = (total / count.clamp(min=1)).double()
        values, vectors = torch.linalg.eigh(covariance)  # pairs are counted apart: small values may come out negative
        self.innovation.copy_(vectors * values.clamp(min=0).sqrt())

    def generate(
        self, memory: Tensor, context: Context, frames: int, samples: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return (B, samples, frames, 75), keeping keys and values from frame to frame.

        One sample is the rollout of the expected frames. Several are sampled rollouts: to every frame, before it is fed
        back, normal noise of the measured `innovation` is added; without a measurement all are equal.
        """
        drawn = self.sampled and samples > 1 and bool(self.innovation.any())
        count = samples if drawn else 1
        memories = repeat(self.decoder.memories(memory), count)
        mask = None if context.mask is None else context.mask.repeat_interleave(count, 0)
        known, mean, before, places, frame = (
            x.repeat_interleave(count, 0)
            for x in (context.known, mean_pose(context), pose_before(context), regressed(context), context.anchor)
        )
        past, out = None, []
        for i in range(frames):
            x, past = self.decoder.step(self.embed(frame) + self.times[i], memories, mask, past)
            change = self.head(x) + regressors(frame, before, mean, known, self.fps) @ self.regression * places
            if drawn:
                noise = torch.randn(change.shape, generator=generator, device=change.device, dtype=change.dtype)
                change = change + noise @ self.innovation.T
            before, frame = frame, frame + change * known
            out.append(frame)
        future = torch.stack(out, dim=1).unflatten(0, (-1, count))
        return future.expand(-1, samples, -1, -1)


def shifted(batch: Example) -> Tensor:
    """Return the true inputs (B, H, 75) of every step: the anchor, then the target without its last frame."""
    return torch.cat([batch.context.anchor[:, None], batch.target[:, :-1]], dim=1)


class Autoregressive(Network):
    """An encoder (context → memory) and a `FrameDecoder`. Options as of `Flat`."""

    fewest_draws = 2

    def __init__(self, config: NetworkConfig, encoder: nn.Module) -> None:
        super().__init__(config)
        self.encoder = encoder
        self.decoder = FrameDecoder(config)

    def generate(self, context: Context, frames: int, samples: int, generator: torch.Generator) -> Tensor:
        return self.decoder.generate(self.encoder(context), context, frames, samples, generator)

    def fit(self, batches: Iterable[Example]) -> None:
        if self.config.options.get("regression", True):
            self.decoder.fit(batches)

    def validation(self, batch: Example) -> tuple[Tensor, Tensor]:
        future = self.decoder.generate(self.encoder(batch.context), batch.context, batch.target.shape[1], 1)
        return mean_loss(future[:, 0], batch.target, batch.counts)

    def calibrate(self, batches: Iterable[Example]) -> None:
        self.decoder.calibrate((self.encoder(b.context), b) for b in batches)

    def loss(self, batch: Example, progress: float) -> tuple[Tensor, Tensor]:
        sampled = bool(self.config.options.get("scheduled_sampling", True))
        return self.decoder.loss(self.encoder(batch.context), batch, progress, sampled)
