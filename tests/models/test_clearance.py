"""What is told of the lowest foot is told exactly, and comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from lmm.core.motion import Motion
from lmm.datasets.synthetic import gait
from lmm.inference.forecast import forecast
from lmm.models.clearance import FEET, SMOOTHNESS, from_foot, target_to_foot, to_foot
from lmm.models.linear import mean_pose
from lmm.pipeline.clean import clean
from lmm.pipeline.features import MIDHIP, NECK, FeatureSpec

RNG = np.random.default_rng(3)
SPEC = FeatureSpec(
    layout="xyz", mean=tuple(RNG.normal(0, 0.3, 75).tolist()), std=tuple(RNG.uniform(0.05, 0.5, 75).tolist())
)
UP = 3 * MIDHIP + 1


@pytest.fixture
def network(make: Callable[..., Any]) -> Any:
    return make("diffusion", spec=SPEC)


def heights(features: Any, seen: Any) -> Any:
    """Return the way up of the lowest foot over (T, 75), from 0 at the frame before, by plain loops."""
    mean, std = np.array(SPEC.mean), np.array(SPEC.std)
    way, out, last = 0.0, [], None
    for frame, there in zip(features, seen, strict=True):
        lowest = min(frame[3 * j + 1] * std[3 * j + 1] + mean[3 * j + 1] for j in FEET if there[j])
        way += frame[UP] * std[UP] + (0 if last is None else lowest - last)
        last = lowest
        out.append(way)
    return np.array(out)


def test_the_context_tells_how_high_the_lowest_foot_was(network: Any, batch: Callable[..., Any]) -> None:
    b = batch()
    b.observed[:] = True
    b.observed[:, :, 24] = False  # RHeel is never seen
    context = network.example(b).context
    told = to_foot(context, SPEC)
    for row in range(3):
        wanted = heights(context.frames[row].numpy(), context.observed[row].numpy())
        got = told.heights[row].numpy() * SPEC.std[UP]
        np.testing.assert_allclose(got[1:] - got[1], wanted[1:] - wanted[1], atol=1e-9)
        assert got[-1] == 0
    others = np.delete(np.arange(75), UP)
    assert torch.equal(told.frames[..., others], context.frames[..., others])
    assert torch.equal(told.anchor[..., UP], told.frames[:, -1, UP])
    mean = mean_pose(told)[:, UP] - told.anchor[:, UP]
    torch.testing.assert_close(mean, told.heights.mean(1))


def test_a_gap_of_a_foot_changes_nothing_across_it(network: Any, batch: Callable[..., Any]) -> None:
    b = batch()
    b.observed[:] = True
    b.observed[:, 5, FEET[0]] = False
    context = network.example(b).context
    moved = (to_foot(context, SPEC).frames - context.frames)[..., UP] != 0
    assert moved[:, [4, 7]].all()
    assert not moved[:, [0, 5, 6]].any()


def test_the_root_comes_back(network: Any, batch: Callable[..., Any]) -> None:
    """Where bones keep their lengths, here by standing still, and the way is straight, which no smoothing changes."""
    b = batch()
    b.observed[:], b.recorded[:], b.present[:] = True, True, True
    b.context[:] = b.context[:, -1:]
    example = network.example(b)
    turned = example.context.frames[:, -1:].expand(-1, example.target.shape[1], -1).clone()
    example = dataclasses.replace(example, target=turned)
    told = target_to_foot(example, SPEC)
    back = from_foot(told.target[:, None], example.context, SPEC)[:, 0]
    torch.testing.assert_close(back, example.target, atol=1e-6, rtol=0)


def test_the_way_is_smoothed_as_it_should_be(network: Any, batch: Callable[..., Any]) -> None:
    """It is the least of the sum that is to be least, by a general solver, and goes on from the context."""
    b = batch()
    b.observed[:] = True
    b.context[:] = b.context[:, -1:]
    context = network.example(b).context
    future = context.frames[:, None, -1:].expand(-1, 2, 8, -1).clone()
    future[..., UP] = torch.randn(3, 2, 8, dtype=torch.float64)
    got = from_foot(future, context, SPEC)[..., UP].cumsum(-1).numpy()

    def cost(way: Any, wanted: Any, before: float) -> float:
        bent = np.diff(np.concatenate([[-before, 0], way]), 2)
        return float(((way - wanted) ** 2).sum() + SMOOTHNESS * (bent**2).sum())

    for row, sample in np.ndindex(3, 2):
        wanted = future[row, sample, :, UP].cumsum(0).numpy()
        found = minimize(cost, wanted, (wanted, float(context.anchor[row, UP])), tol=1e-12).x
        np.testing.assert_allclose(got[row, sample], found, atol=1e-4)


def test_necks_that_hold_the_path_are_told_likewise(network: Any, batch: Callable[..., Any]) -> None:
    b = batch()
    b.observed[:] = True
    b.observed[:, :, MIDHIP] = False
    context = network.example(b).context
    told = to_foot(context, SPEC)
    changed = (told.frames != context.frames).any(0).any(0).nonzero()[:, 0].tolist()
    assert changed == [3 * NECK + 1]


def test_nothing_changes_in_pictures(make: Callable[..., Any], batch: Callable[..., Any]) -> None:
    example = make("diffusion").example(batch())
    spec = FeatureSpec(layout="xyc")
    assert to_foot(example.context, spec) is example.context
    told = target_to_foot(example, spec)
    assert torch.equal(told.target, example.target)
    assert torch.equal(from_foot(told.target[:, None], example.context, spec)[:, 0], example.target)


def test_samples_of_a_walk_stay_on_the_floor() -> None:
    """The shipped model, on a walk of which the truth is known: few feet leave the floor or sink into it."""
    walk: Motion = clean(gait(seconds=8.0))
    future = forecast(walk, "diffusion", 2.0, 20, 0)
    floor = np.nanmin(walk.positions[-30:, FEET, 1], axis=1)
    low = np.nanmin(future.samples[:, :, FEET, 1], axis=-1)  # type: ignore[index]
    away = np.abs(low - np.median(floor))
    assert np.median(away) < 0.05
    assert np.percentile(away, 90) < 0.2
