"""Linear regression: what of a movement's future follows from its last pose, its velocity and its mean pose.

The baseline that every network has to beat, and what every network here begins with: each learns what regression leaves
over. Gradients need very many windows to find what the normal equations find in a few thousand (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from lmm.core.registry import architectures
from lmm.models.config import NetworkConfig
from lmm.models.network import Context, Example, Network, mean_loss
from lmm.pipeline.features import NECK, NUM_FEATURES, NUM_JOINTS

INPUTS = 3 * NUM_FEATURES + NUM_JOINTS + 1
LEAST = {"width": 2, "heads": 1, "hidden": 1, "layers": 1, "decoder_layers": 1}  # nothing of it is used
STRIDE = 6  # frames
RIDGE = 0.05  # of the mean square of a standardised feature


def regressors(pose: Tensor, before: Tensor, mean: Tensor, known: Tensor, fps: float) -> Tensor:
    """Return (..., INPUTS): the pose, its velocity by the second, the mean pose relative to it, joints seen, and 1.

    `pose`, the one a frame `before` it, the `mean` pose and what is `known` are (..., 75).
    """
    known = known.expand_as(pose)
    one = torch.ones_like(pose[..., :1])
    return torch.cat([pose, (pose - before) * fps, (mean - pose) * known, known[..., ::3], one], dim=-1)


def mean_pose(context: Context) -> Tensor:
    """Return (B, 75): the mean of the frames where a joint is seen, 0 where it never is.

    Where the context tells `heights`, their mean, relative to now, is in the place of that of the displacements upward.
    """
    seen = context.observed.sum(1).clamp(min=1).repeat_interleave(3, dim=-1)
    mean = context.frames.sum(1) / seen
    if context.heights is None:
        return mean
    rooted = (context.observed.repeat_interleave(3, dim=-1) & context.up[:, None]).any(-1)
    height = (context.heights * rooted).sum(1) / rooted.sum(1).clamp(min=1)
    return torch.where(context.up, context.anchor + height[:, None], mean)


def pose_before(context: Context) -> Tensor:
    """Return (B, 75): the pose a frame before the context's last; the anchor for joints not seen in both."""
    both = (context.observed[:, -1] & context.observed[:, -2]).repeat_interleave(3, dim=-1)
    return torch.where(both, context.frames[:, -2], context.anchor)


def at_end(context: Context, fps: float) -> Tensor:
    """Return the regressors (B, INPUTS) of a context's end."""
    return regressors(context.anchor, pose_before(context), mean_pose(context), context.known, fps)


def regressed(context: Context) -> Tensor:
    """Return (B, 75): False for a neck that holds the root's displacement, since regressions are of its place."""
    out = torch.ones_like(context.root)
    neck = slice(3 * NECK, 3 * NECK + 3)
    out[:, neck] = ~context.root[:, neck].any(1, keepdim=True)
    return out


def expected(weight: Tensor, context: Context, fps: float) -> Tensor:
    """Return the change (B, H, 75) that a regression's `weight` (H, INPUTS, 75) expects after a context."""
    change = torch.einsum("bk,hkf->bhf", at_end(context, fps), weight)
    return change * (context.known * regressed(context))[:, None]


def regress(inputs: Tensor, targets: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return ridge regressions of `targets` (N, H, 75) on `inputs` (N, INPUTS): weights (H, INPUTS, 75), and errors.

    One for every frame and joint, of the windows where it counts: by the normal equations, solved in float64. The
    errors (N, H, 75), 0 where nothing counts, are leave-one-out: of a window by the regression of all others, which
    within all windows would be too small, most of all for those who move most (PRESS residuals, D. Allen 1974).
    """
    weight, errors = inputs.new_zeros(targets.shape[1], INPUTS, NUM_FEATURES), torch.zeros_like(targets)
    for frame in range(targets.shape[1]):
        for joint in range(NUM_JOINTS):
            at = slice(3 * joint, 3 * joint + 3)
            told = counts[:, frame, at].any(-1)
            number = int(told.sum())
            if number:
                x, y = inputs[told], targets[told, frame, at]
                penalty = RIDGE * number * torch.eye(INPUTS, dtype=torch.float64, device=x.device)
                inverse = torch.linalg.inv((x.T @ x).double() + penalty)
                found = (inverse @ (x.T @ y).double()).to(x.dtype)
                leverage = ((x @ inverse.to(x.dtype)) * x).sum(1, keepdim=True)
                weight[frame, :, at] = found
                errors[told, frame, at] = (y - x @ found) / (1 - leverage)
    return weight, torch.where(counts, errors, 0)


@architectures.register("linear")
class Linear(Network):
    """See the module. Fitted before the first step of a training; gradients then refine it on more windows."""

    sizes = dict.fromkeys(("tiny", "small", "base"), LEAST)
    architecture = "linear"

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        self.weight = nn.Parameter(torch.zeros(config.block_frames, INPUTS, NUM_FEATURES))

    @torch.no_grad()
    def fit(self, batches: Iterable[Example]) -> None:
        self.weight.copy_(block_regression(batches, self.config.spec.fps))

    def forward(self, context: Context) -> Tensor:
        """Return the whole block (B, block_frames, 75)."""
        return context.anchor[:, None] + expected(self.weight, context, self.config.spec.fps)

    def generate(self, context: Context, frames: int, samples: int, generator: torch.Generator) -> Tensor:
        return self(context)[:, None, :frames].expand(-1, samples, -1, -1)

    def loss(self, batch: Example, progress: float) -> tuple[Tensor, Tensor]:
        return mean_loss(self(batch.context), batch.target, batch.counts)


def block_regression(batches: Iterable[Example], fps: float) -> Tensor:
    """Return the regression (H, INPUTS, 75) of the target's difference from the anchor."""
    return horizon_regression([(b, b.target - b.context.anchor[:, None]) for b in batches], fps)[0]


def horizon_regression(given: Sequence[tuple[Example, Tensor]], fps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return regressions (H, INPUTS, 75) of batches' `change` (B, H, 75), their errors (N, H, 75), and what counts.

    What is regressed is the step from each frame to the next, of as many windows as tell it; a change is the sum of its
    steps. Regressed by themselves, changes would leap from frames that some windows tell to those that others do. The
    errors are those of `regress`; they count from the first frame up to a joint's first gap.
    """
    inputs, steps, counts = rows(given, fps)
    weight, errors = regress(inputs, steps, counts)
    ends = sum(len(change) for _, change in given)
    told = counts[:ends].cumprod(1).bool()
    return weight.cumsum(0), torch.where(told, errors[:ends].cumsum(1), 0), told


def rows(given: Iterable[tuple[Example, Tensor]], fps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return inputs (N, INPUTS), steps (N, H, 75) and what counts, of batches with their `change` (B, H, 75).

    First those of the contexts' ends, then, as if the context ended later, those of every STRIDE-th frame of the
    horizon, as far as it reaches: near frames, whose regressions need most, are told of several times.
    """
    ends, later = [], []
    for batch, change in given:
        context, frames = batch.context, change.shape[1]
        steps = torch.diff(change, dim=1, prepend=torch.zeros_like(change[:, :1]))
        counts = batch.counts & regressed(context)[:, None]
        counts[:, 1:] &= batch.counts[:, :-1]
        ends.append((at_end(context, fps), steps, counts))
        for start in range(STRIDE, frames, STRIDE):
            pose, before = batch.target[:, start - 1], batch.target[:, start - 2]
            told = batch.counts[:, start - 1] & batch.counts[:, start - 2]
            mean = mean_pose(context)
            if context.heights is not None:
                mean = torch.where(context.up, mean - context.anchor + pose - change[:, start - 1], mean)
            inputs = regressors(pose, torch.where(told, before, pose), mean, context.known, fps)
            counted = counts[:, start:] & told[:, None]
            later.append((inputs, *(nn.functional.pad(x, (0, 0, 0, start)) for x in (steps[:, start:], counted))))
    inputs, steps, counts = (torch.cat(parts) for parts in zip(*ends, *later, strict=True))
    return inputs, steps, counts
