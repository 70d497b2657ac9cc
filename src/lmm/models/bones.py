"""Bones keep their lengths: what networks forecast in 3D is drawn back to the lengths that the context shows."""

from __future__ import annotations

import torch
from torch import Tensor

from lmm.pipeline.features import MIDHIP, NECK, NUM_JOINTS, FeatureSpec
from lmm.skeletons import BODY_25

LEAST_LENGTH = 1e-6  # of a body length: what is shorter has no direction


def _outwards() -> list[tuple[int, int]]:
    """Return the bones (parent, child), each after the one that ends where it begins."""
    order = [MIDHIP]
    for joint in order:
        order += [child for parent, child in BODY_25.bones if parent == joint]
    return [(BODY_25.parents[joint], joint) for joint in order[1:]]


BONES = _outwards()


def hold_lengths(future: Tensor, context: Tensor, seen: Tensor, spec: FeatureSpec) -> Tensor:
    """Return `future` (B, S, H, 75) with every bone as long as it is on average in `context` (B, T, 75).

    Directions stay, joints move: from the mid-hip outwards, each with what hangs on it. `seen` (B, T, 25) is True where
    the context shows a joint; those that it never shows stay as they are, and bones that it never shows whole as long
    as forecast. Both are features of layout ``xyz`` after `spec`; the centre's slot, a displacement, stays too.
    """
    like = {"dtype": future.dtype, "device": future.device}
    mean, std = (torch.tensor(x, **like).view(NUM_JOINTS, 3) for x in (spec.mean, spec.std))
    on_hips = seen[:, :, MIDHIP].any(1)
    centre = torch.zeros(len(future), NUM_JOINTS, dtype=torch.bool, device=future.device)
    centre[:, MIDHIP], centre[:, NECK] = on_hips, ~on_hips

    def places(features: Tensor, at: Tensor) -> Tensor:
        return torch.where(at, 0, features.unflatten(-1, (NUM_JOINTS, 3)) * std + mean)

    before, forecast = places(context, centre[:, None, :, None]), places(future, centre[:, None, None, :, None])
    held = list(forecast.unbind(-2))
    for parent, child in BONES:
        both = seen[:, :, parent] & seen[:, :, child]
        lengths = (before[:, :, child] - before[:, :, parent]).norm(dim=-1)
        length = (lengths * both).sum(1) / both.sum(1).clamp(min=1)
        bone = forecast[..., child, :] - forecast[..., parent, :]
        now = bone.norm(dim=-1, keepdim=True)
        fixed = both.any(1)[:, None, None, None] & (now > LEAST_LENGTH)
        held[child] = held[parent] + bone * torch.where(fixed, length[:, None, None, None] / now, 1)
    out = (torch.stack(held, dim=-2) - mean) / std
    moved = (seen.any(1) & ~centre)[:, None, None, :, None]
    return torch.where(moved, out, future.unflatten(-1, (NUM_JOINTS, 3))).flatten(-2)
