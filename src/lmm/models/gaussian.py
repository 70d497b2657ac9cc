"""The best linear-Gaussian forecast of a movement: its mean, its size, and how its deviations go together.

All of it is measured on a few thousand training windows, in closed form: it is what a diffusion network begins with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lmm.models.linear import INPUTS, expected, horizon_regression
from lmm.models.network import Context, Example
from lmm.pipeline.features import MIDHIP, NECK, NUM_FEATURES, Layout

LEAST_SPREAD = 0.02  # of a feature's standard deviation
LEAST_LEVEL = 0.01  # likewise, a frame: below it, one stands still
LEAST_VIGOUR = 0.01  # of what is usual
RIDGE = 0.02  # of the number of windows: what holds a regression's slopes near 0
SCORING_STEPS = 25
LEAST_OWN = 1e-6  # of a variance, that correlates with nothing
LOG_SCALES = (math.log(0.05), math.log(4.0))
LARGEST_EXCESS = 10.0  # of a squared change over what is expected, when fitting
SHORT = 5  # frames: a third of a second
LEVELS = 4
NECKS, HIPS = slice(3 * NECK, 3 * NECK + 3), slice(3 * MIDHIP, 3 * MIDHIP + 3)


class LinearGaussian(nn.Module):
    """A change (B, H, 75) after a context is `expected` + `scale` · exp(vigour) · noise, if all is normal.

    ``scale`` follows what the person did lately. ``vigour`` (B, P), of the `parts` of a context, is how much more or
    less than that a whole future moves, which the context does not tell: a logarithm, normally distributed. It is what
    makes real changes heavier in the tails than normal ones, and most futures quieter than their mean square.
    """

    regression: Tensor  # (H, INPUTS, 75) of a change
    spread: Tensor  # (H, 75) the usual size of what the regression leaves of a change
    response: Tensor  # (H, 75, 5) of its logarithm to 1 and the context's four levels
    over_time: Tensor  # (75, H, H) what makes white noise correlate as that does, feature by feature
    over_body: Tensor  # (75, 75) likewise, among features
    usual_vigour: Tensor  # (P,)
    vigour_spread: Tensor  # (P, P) what makes white noise vary as vigour does

    def __init__(self, frames: int, fps: float, parts: int) -> None:
        super().__init__()
        self.fps = fps
        self.register_buffer("regression", torch.zeros(frames, INPUTS, NUM_FEATURES))
        self.register_buffer("spread", torch.ones(frames, NUM_FEATURES))
        self.register_buffer("response", torch.zeros(frames, NUM_FEATURES, 1 + LEVELS))
        self.register_buffer("over_time", torch.eye(frames).repeat(NUM_FEATURES, 1, 1))
        self.register_buffer("over_body", torch.eye(NUM_FEATURES))
        self.register_buffer("usual_vigour", torch.zeros(parts))
        self.register_buffer("vigour_spread", torch.zeros(parts, parts))

    def fit(self, given: Sequence[tuple[Example, Tensor]]) -> None:
        """Measure all on batches and their changes.

        Errors of the regression are leave-one-out. How they go together over time is told by windows that tell a
        feature to the end, as they are, so that those who move most tell most, or what is sampled would be rougher than
        what is real; over the body, by single frames.
        """
        weight, rest, counts = horizon_regression(given, self.fps)
        self.regression.copy_(weight)
        self.fit_scale(given, rest, counts)
        whole = rest * counts.all(1, keepdim=True)
        self.over_time.copy_(root_of_correlation(whole.permute(2, 0, 1)))
        self.over_body.copy_(root_of_correlation((rest / self.spread).flatten(0, 1)))
        scaled = rest / torch.cat([self.scale(b.context) for b, _ in given])
        told = counts.any(-1).all(-1)
        of = torch.cat([parts(b.context) for b, _ in given])
        found = self.vigour(scaled, counts, of)[told]
        if len(found):
            self.usual_vigour.copy_(found.mean(0))
            apart = (found - self.usual_vigour).double()
            square = apart.T @ apart / len(found) + LEAST_OWN * torch.eye(found.shape[1], device=apart.device)
            self.vigour_spread.copy_(torch.linalg.cholesky(square))

    def fit_scale(self, given: Sequence[tuple[Example, Tensor]], rest: Tensor, counts: Tensor) -> None:
        """Measure `spread`, the root mean square of `rest` (N, H, 75) where it `counts`, and `response`.

        The logarithm of its variance is linear in the context's `levels`. Fitted over windows, for every frame and
        feature, by Fisher scoring of the likelihood of a normal distribution (a gamma regression with logarithmic link,
        McCullagh and Nelder 1989, chapter 8): what is scaled has a mean square of 1.
        """
        known = torch.cat([levels(b.context) for b, _ in given])
        squares = torch.where(counts, rest, 0).square()
        number = counts.sum(0)
        measured = (squares.sum(0) / number.clamp(min=1)).sqrt().clamp(min=LEAST_SPREAD)
        self.spread.copy_(torch.where(number > 0, measured, 1))
        inputs = with_one(known).transpose(0, 1)  # (75, N, 5)
        ridge = torch.diag(torch.tensor([1e-6, *[RIDGE] * LEVELS], device=inputs.device, dtype=inputs.dtype))
        for frame in range(len(self.spread)):
            square = (squares[:, frame] / self.spread[frame] ** 2).T[..., None]  # (75, N, 1)
            weight = counts[:, frame].T[..., None].to(inputs.dtype)
            total = weight.sum(1, keepdim=True).clamp(min=1)
            inner = (inputs * weight).transpose(1, 2) @ inputs / total + ridge
            found = torch.zeros_like(inputs[:, 0, :, None])  # (75, 5, 1)
            for _ in range(SCORING_STEPS):
                size = (2 * (inputs @ found).clamp(*LOG_SCALES)).exp()
                excess = weight * (square / size - 1).clamp(max=LARGEST_EXCESS) / 2
                found += torch.linalg.solve(inner, inputs.transpose(1, 2) @ excess / total - ridge @ found)
            self.response[frame] = found[..., 0]

    def expected(self, context: Context) -> Tensor:
        """Return the change (B, H, 75) that the regression expects."""
        return expected(self.regression, context, self.fps)

    def scale(self, context: Context) -> Tensor:
        """Return (B, H, 75): the root mean square of what a change has beyond the `expected` after this context."""
        known = levels(context)
        known[:, HIPS] = torch.where(context.root[:, NECKS, None], known[:, NECKS], known[:, HIPS])
        logs = torch.einsum("bfk,hfk->bhf", with_one(known), self.response)
        return on_root((self.spread * logs.clamp(*LOG_SCALES).exp())[:, None], context)[:, 0]

    def noise(self, white: Tensor, context: Context) -> Tensor:
        """Return noise (B, S, H, 75) that goes together over time and body as changes do, of white noise."""
        return on_root(torch.einsum("fhk,bskf->bshf", self.over_time, white @ self.over_body.T), context)

    def draw_vigour(self, white: Tensor) -> Tensor:
        """Return vigours (..., P) of white noise."""
        return self.usual_vigour + white @ self.vigour_spread.T

    def vigour(self, scaled: Tensor, counts: Tensor, of: Tensor) -> Tensor:
        """Return (B, P): the logarithms of the root mean squares of `scaled` changes (B, H, 75) in the parts `of`."""
        squares, number = torch.where(counts, scaled, 0).square(), counts.to(scaled.dtype)
        total, told = (torch.einsum("bhf,bpf->bp", x, of.to(scaled.dtype)) for x in (squares, number))
        logs = (total / told.clamp(min=1)).sqrt().clamp(min=LEAST_VIGOUR).log()
        return torch.where(told > 0, logs, 0)


def num_parts(layout: Layout) -> int:
    """Return P: how many `parts` a context has."""
    return 2 if layout == "xyc" else 3


def parts(context: Context) -> Tensor:
    """Return (B, P, 75), True for the features of each: the body, the root, and where told the lowest foot's height."""
    if context.heights is None:
        return torch.stack([~context.root, context.root], 1)
    return torch.stack([~context.root, context.root & ~context.up, context.up], 1)


def factor(vigour: Tensor, of: Tensor) -> Tensor:
    """Return exp(vigour) (..., P) for every feature (..., 75) of the parts `of` (..., P, 75)."""
    return (vigour[..., None] * of).sum(-2).exp()


def levels(context: Context) -> Tensor:
    """Return (B, 75, 4): logarithms of how much this feature, and all together, moved lately and in the whole context.

    The root mean square, over frames where the joint is seen, of the change between neighbouring frames; of the root,
    of its displacement. All together: over the coordinates of all joints. 0 where no two neighbours are known. Where
    the context tells `heights`, in the whole context: how far they were from now.
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
        if context.heights is not None and frames > SHORT:
            away = torch.where(both, context.heights[:, 1:, None], 0).square().sum(1)
            total = torch.where(context.up, away, total)
        for t, n in ((total, number), of_all):
            level = (t / n.clamp(min=1)).sqrt().clamp(min=LEAST_LEVEL).log()
            out.append(torch.where(n > 0, level, 0))
    return torch.stack(out, dim=-1)


def on_root(values: Tensor, context: Context) -> Tensor:
    """Return values (B, S, H, 75) of features with those of the mid-hip in a neck that holds the root's way instead."""
    values[..., NECKS] = torch.where(context.root[:, None, None, NECKS], values[..., HIPS], values[..., NECKS])
    return values


def with_one(levels: Tensor) -> Tensor:
    """Return (..., 1 + LEVELS): `levels` (..., LEVELS) after a 1, for the intercept."""
    return torch.cat([torch.ones_like(levels[..., :1]), levels], dim=-1)


def root_of_correlation(rows: Tensor) -> Tensor:
    """Return R (..., K, K), lower triangular, with R Rᵀ the correlation about 0 of the columns of `rows` (..., N, K).

    What is not known is 0 in `rows`, and counts for no correlation.
    """
    exact = rows.double()
    gram = exact.transpose(-1, -2) @ exact
    size = gram.diagonal(dim1=-2, dim2=-1).sqrt().clamp(min=1e-12)
    gram = gram / size[..., None] / size[..., None, :]
    one = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return torch.linalg.cholesky(torch.where(one.bool(), 1.0, gram * (1 - LEAST_OWN))).to(rows.dtype)
