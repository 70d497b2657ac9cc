"""In 3D, bones keep the length of the context, and directions what was forecast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lmm.models.bones import hold_lengths
from lmm.pipeline.features import MIDHIP, NECK, FeatureSpec
from lmm.skeletons import BODY_25

RNG = np.random.default_rng(0)
SPEC = FeatureSpec(layout="xyz", mean=tuple(RNG.normal(size=75)), std=tuple(RNG.uniform(0.5, 2, 75)))
HIDDEN = 13  # LKnee
LELBOW = 6


def given(on_hips: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a future (2, 3, 4, 75), a context (2, 9, 75) and what is seen of it."""
    rng = torch.Generator().manual_seed(0)
    future = torch.randn(2, 3, 4, 75, generator=rng, dtype=torch.float64)
    context = torch.randn(2, 9, 75, generator=rng, dtype=torch.float64)
    seen = torch.rand(2, 9, 25, generator=rng) < 0.8
    seen[:, :, MIDHIP], seen[:, :, HIDDEN] = on_hips, False
    seen[:, 0] = seen.any(1)
    return future, context, seen


def places(features: Any, centre: int) -> np.ndarray:
    out = (np.asarray(features) * np.array(SPEC.std) + np.array(SPEC.mean)).reshape(*features.shape[:-1], 25, 3)
    out[..., centre, :] = 0
    return out


@pytest.mark.parametrize("on_hips", [True, False])
def test_lengths_are_the_contexts_and_directions_the_forecasts(on_hips: bool) -> None:
    future, context, seen = given(on_hips)
    held = hold_lengths(future, context, seen, SPEC)
    centre = MIDHIP if on_hips else NECK
    before, forecast, after = (places(x, centre) for x in (context, future, held))
    shown = seen.any(1).numpy()
    checked = 0
    for parent, child in BODY_25.bones:
        for row in range(2):
            if not (shown[row, parent] and shown[row, child]):
                continue
            both = (seen[row, :, parent] & seen[row, :, child]).numpy()
            bone = after[row, ..., child, :] - after[row, ..., parent, :]
            wanted = np.linalg.norm(before[row, both, child] - before[row, both, parent], axis=-1).mean()
            np.testing.assert_allclose(np.linalg.norm(bone, axis=-1), wanted, rtol=1e-9)
            was = forecast[row, ..., child, :] - forecast[row, ..., parent, :]
            along = (bone * was).sum(-1) / np.linalg.norm(bone, axis=-1) / np.linalg.norm(was, axis=-1)
            np.testing.assert_allclose(along, 1, atol=1e-9)
            checked += 1
    assert checked == 2 * (22 if on_hips else 19)
    slots = held.unflatten(-1, (25, 3))
    for untouched in (centre, HIDDEN):
        assert torch.equal(slots[..., untouched, :], future.unflatten(-1, (25, 3))[..., untouched, :])


def test_what_keeps_its_lengths_is_left_as_it_is() -> None:
    future, context, seen = given(True)
    held = hold_lengths(future, context, seen, SPEC)
    torch.testing.assert_close(hold_lengths(held, context, seen, SPEC), held)


def test_a_joint_on_its_parent_stays_there() -> None:
    """It has no direction: nothing is made up, and nothing becomes infinite."""
    future, context, seen = given(True)
    mean, std = (torch.tensor(x, dtype=torch.float64).view(25, 3) for x in (SPEC.mean, SPEC.std))
    slots = future.unflatten(-1, (25, 3))
    shoulder = slots[..., LELBOW - 1, :] * std[LELBOW - 1] + mean[LELBOW - 1]
    slots[..., LELBOW, :] = (shoulder - mean[LELBOW]) / std[LELBOW]
    held = places(hold_lengths(future, context, seen, SPEC), MIDHIP)
    assert np.isfinite(held).all()
    np.testing.assert_allclose(held[..., LELBOW, :], held[..., LELBOW - 1, :], atol=1e-9)
