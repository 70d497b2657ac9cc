"""Feet on the floor: in 3D, the root's way up is told by that of the lowest foot, and its own follows from the pose.

Hips and feet that are forecast each with its own error leave the floor together. How high the lowest foot is hardly
changes while one stands, walks or squats: forecasts that tell it keep it there, and leave leaps and climbs to be told.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from lmm.models.bones import hold_lengths
from lmm.models.network import Context, Example
from lmm.pipeline.features import MIDHIP, FeatureSpec
from lmm.skeletons import BODY_25

FEET = [BODY_25.index[s + j] for s in "RL" for j in ("Ankle", "BigToe", "SmallToe", "Heel")]
HEIGHTS = [3 * joint + 1 for joint in FEET]
UP = 3 * MIDHIP + 1
SMOOTHNESS = 2.0  # passes half of what happens twice a second, at 15 frames


def to_foot(context: Context, spec: FeatureSpec) -> Context:
    """Return the context with the upward displacement of its lowest foot in the place of the root's.

    Nothing changes in 2D, without feet, nor between frames of which one does not show all feet that the context knows.
    """
    if spec.layout != "xyz":
        return context
    known, seen = _known(context), context.observed[:, :, FEET]
    whole = (seen | ~known[:, None]).all(-1)
    low = _lowest(context.frames, known[:, None], spec)
    rise = torch.where(whole[:, 1:] & whole[:, :-1], torch.diff(low, dim=1), 0)
    rise = torch.nn.functional.pad(rise, (1, 0))[..., None] * context.up[:, None]
    frames = context.frames + rise * context.observed.repeat_interleave(3, dim=-1)
    heights = (frames * context.up[:, None]).sum(-1).cumsum(1)
    anchor = context.anchor + (frames - context.frames)[:, -1]
    return replace(context, frames=frames, anchor=anchor, heights=heights - heights[:, -1:])


def target_to_foot(example: Example, spec: FeatureSpec) -> Example:
    """Return the example with its context and its target after `to_foot`."""
    context = example.context
    rise = _rise(example.target[:, None], context, spec)[:, 0]
    return replace(example, context=to_foot(context, spec), target=example.target + rise)


def from_foot(future: Tensor, context: Context, spec: FeatureSpec) -> Tensor:
    """Return `future` (B, S, H, 75), which tells of the lowest foot after `context` as it was, with the root's way.

    Bones have the lengths that they have in the context (`hold_lengths`), as they will in the forecast. What is quicker
    than hips move is smoothed out of the root's way: it is the noise of whichever foot is lowest.
    """
    if spec.layout != "xyz":
        return future
    rise = _rise(hold_lengths(future, context.frames, context.observed, spec), context, spec)
    up = context.up[:, None, None]
    steps = torch.where(up, future - rise, 0).sum(-1)
    before = torch.where(context.up, context.anchor, 0).sum(-1)
    return torch.where(up, _smoothed(steps, before)[..., None], future)


def _smoothed(steps: Tensor, before: Tensor) -> Tensor:
    """Return displacements (B, S, H) whose way is smooth and goes on from the displacement `before` (B,).

    The way h that minimises Σ (h − way)² + SMOOTHNESS Σ (second difference of h)² (E. Whittaker, "On a New Method of
    Graduation", 1923).
    """
    frames = steps.shape[-1]
    like = {"dtype": steps.dtype, "device": steps.device}
    bend = torch.eye(frames, **like) - 2 * torch.eye(frames, **like).roll(1, 0) + torch.eye(frames, **like).roll(2, 0)
    bend = bend.tril()
    way = steps.cumsum(-1)
    going = torch.zeros(frames, **like)
    going[0] = 1  # the first second difference is h₁ − 0 − the step before
    matrix = torch.eye(frames, **like) + SMOOTHNESS * bend.T @ bend
    right = way + SMOOTHNESS * before[:, None, None] * (bend.T @ going)
    smooth = torch.linalg.solve(matrix, right.flatten(0, 1).T).T.view_as(way)
    return torch.diff(smooth, dim=-1, prepend=torch.zeros_like(smooth[..., :1]))


def _rise(future: Tensor, context: Context, spec: FeatureSpec) -> Tensor:
    """Return (B, S, H, 75): in the root's upward feature, by how much the lowest foot is raised towards the root."""
    if spec.layout != "xyz":
        return torch.zeros_like(future)
    known = _known(context)
    before = _lowest(context.anchor, known, spec)[:, None, None].expand(-1, future.shape[1], -1)
    low = _lowest(future, known[:, None, None], spec)
    return torch.diff(low, dim=2, prepend=before)[..., None] * context.up[:, None, None]


def _lowest(features: Tensor, known: Tensor, spec: FeatureSpec) -> Tensor:
    """Return (...): the height of the lowest of the `known` feet (..., 8), in standardised steps of the root; or 0."""
    like = {"dtype": features.dtype, "device": features.device}
    mean, std = (torch.tensor(x, **like) for x in (spec.mean, spec.std))
    heights = torch.where(known, features[..., HEIGHTS] * std[HEIGHTS] + mean[HEIGHTS], torch.inf)
    return torch.where(known.any(-1), heights.amin(-1) / std[UP], 0)


def _known(context: Context) -> Tensor:
    return context.known[:, HEIGHTS].bool()
