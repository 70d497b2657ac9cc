"""The linear-Gaussian forecast: sizes follow the context, noise goes together as changes do, and vigour is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from lmm.models.diffusion import change, unchange
from lmm.models.gaussian import (
    HIPS,
    LEAST_OWN,
    LEAST_SPREAD,
    LEVELS,
    LOG_SCALES,
    NECKS,
    SHORT,
    LinearGaussian,
    factor,
    levels,
    root_of_correlation,
    with_one,
)
from lmm.models.linear import horizon_regression
from lmm.models.network import Context, Example
from lmm.pipeline.features import MIDHIP, NECK

Contexts = Callable[..., Context]


def test_spread_is_the_root_mean_square_distance_from_what_is_expected(
    make: Callable[..., Any], batch: Callable[..., Any]
) -> None:
    """With the regression, and, from the anchor, without."""
    network = make("diffusion", options={"regression": False})
    network.prior.regression.zero_()
    batches = [batch(seed=s) for s in range(3)]
    network.fit(network.example(b) for b in batches)
    assert not network.prior.regression.any()
    examples = [network.example(b) for b in batches]
    for frame, k in ((0, 0), (3, 27), (7, 74)):
        squares = [
            float(e.target[row, frame, k] - e.context.anchor[row, k]) ** 2
            for e in examples
            for row in range(3)
            if e.counts[row, frame, k]
        ]
        assert float(network.prior.spread[frame, k]) == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)
    assert bool((network.prior.spread[:, 12:15] == 1).all())  # RWrist is never seen
    fitted = make("diffusion")
    fitted.fit(network.example(b) for b in batches)
    _, errors, counts = horizon_regression([(e, change(e)) for e in examples], 15.0)
    number = counts.sum(0)
    measured = (errors.square().sum(0) / number.clamp(min=1)).sqrt()[number > 0].clamp(min=LEAST_SPREAD)
    torch.testing.assert_close(fitted.prior.spread[number > 0], measured)


def test_spread_has_a_floor(network: Any, batch: Callable[..., Any]) -> None:
    example = network.example(batch())
    still = dataclasses.replace(example, target=example.context.anchor[:, None].expand_as(example.target))
    network.fit([still])
    counted = example.counts.cumprod(1).bool().any(0)
    counted &= ~example.context.root[0]  # a root that goes on as before is not still
    np.testing.assert_allclose(network.prior.spread[counted].numpy(), LEAST_SPREAD, rtol=1e-6)


@torch.no_grad()
def test_a_joint_that_moves_more_is_expected_to_move_more(make: Callable[..., Any]) -> None:
    """The response is found: here, of (own level lately) ** 0.5 · (level of all together before) ** 0.25."""
    network = make("diffusion", options={"regression": False})
    network.prior.regression.zero_()
    frames, size = 40, 2000
    rng = torch.Generator().manual_seed(1)
    pace = torch.rand(size, 26, generator=rng, dtype=torch.float64) * 3 - 2
    noise = torch.randn(size, frames, 25, 3, generator=rng, dtype=torch.float64)
    noise *= pace[:, None, 25:, None].exp()
    noise[:, -SHORT:] *= pace[:, None, :25, None].exp()
    places = noise.flatten(2).cumsum(1).unflatten(-1, (25, 3))
    places[:, :, 8] = noise[:, :, 8]
    context = network.context(
        places.flatten(2), torch.ones(size, frames, dtype=torch.bool), torch.ones(size, frames, 25, dtype=torch.bool)
    )
    known = levels(context)
    assert known.shape == (size, 75, LEVELS)
    wanted = (0.5 * known[..., 0] + 0.25 * known[..., 3]).exp()
    changes = torch.randn(size, network.block_frames, 75, generator=rng, dtype=torch.float64) * wanted[:, None]
    target = unchange(changes[:, None], context)[:, 0]
    example = Example(context, target, None, torch.ones_like(target, dtype=torch.bool))
    network.fit([example])
    slopes = network.prior.response.mean((0, 1))
    assert float(slopes[1]) == pytest.approx(0.5, abs=0.08)
    assert float(slopes[2:].sum()) == pytest.approx(0.25, abs=0.08)  # of levels that nearly agree
    whitened = (change(example) - network.prior.expected(context)) / network.prior.scale(context)
    assert 0.9 < float(whitened.std()) < 1.1
    for chosen in known[:, 0, 0].argsort().chunk(4):  # as wide as it should be for still joints and for quick ones
        assert 0.85 < float(whitened[chosen, :, 0].std()) < 1.15


def test_a_neck_that_holds_the_path_has_the_scale_of_the_hips(network: Any, batch: Callable[..., Any]) -> None:
    b = batch(size=2)
    b.observed[:, -1, NECK] = True
    b.observed[1, :, MIDHIP] = False
    context = network.example(b).context
    network.prior.spread[:, NECKS] = 7.0
    known, scale = levels(context), network.prior.scale(context)
    noise = network.prior.noise(torch.randn(2, 4, 8, 75, dtype=torch.float64), context)
    places = context.places[:3]
    for row, at in ((0, NECKS), (1, HIPS)):
        logs = (with_one(known[row, NECKS]) * network.prior.response[:, at]).sum(-1)
        wanted = network.prior.spread[:, at] * logs.clamp(*LOG_SCALES).exp()
        torch.testing.assert_close(scale[row][:, NECKS][:, places], wanted[:, places])
        same = noise[row][..., NECKS] == noise[row][..., HIPS]
        assert bool(same[..., places].all()) == (row == 1)
        assert not same[..., ~places].any()


def test_levels_know_only_what_is_seen(network: Any, contexts: Contexts) -> None:
    context = contexts(network, last=7)
    before = levels(context)
    garbage = dataclasses.replace(
        context, frames=torch.where(context.observed.repeat_interleave(3, -1), context.frames, 1e6)
    )
    torch.testing.assert_close(levels(garbage), before)
    blind = dataclasses.replace(context, observed=torch.zeros_like(context.observed))
    assert bool((levels(blind) == 0).all())


def test_correlation_is_found(network: Any) -> None:
    """As NumPy finds it, of zero means; what is never known goes with nothing."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 500, 6)) @ rng.normal(size=(6, 6)) * 10.0 ** np.arange(-3, 3)
    rows[..., 4] = 0
    both = np.concatenate([rows, -rows], axis=1)  # whose mean is 0
    root = root_of_correlation(torch.from_numpy(rows)).numpy()
    for part in range(2):
        known = [0, 1, 2, 3, 5]
        wanted = np.eye(6)
        wanted[np.ix_(known, known)] = np.corrcoef(both[part][:, known].T)
        np.testing.assert_allclose(root[part] @ root[part].T, wanted, atol=2 * LEAST_OWN)
    assert not np.triu(root[0], 1).any()
    copies = np.repeat(rng.normal(size=(50, 1)), 4, axis=1)  # one thing four times: its root is found all the same
    assert np.isfinite(root_of_correlation(torch.from_numpy(copies).float()).numpy()).all()


def test_vigour_is_how_much_more_a_whole_future_moves() -> None:
    rng = torch.Generator().manual_seed(0)
    prior = LinearGaussian(8, 15.0, 2).double()
    root = torch.zeros(400, 75, dtype=torch.bool)
    root[:, 24:27] = True
    drawn = torch.randn(400, 2, generator=rng, dtype=torch.float64) * torch.tensor([0.3, 0.6]) - 0.1
    of = torch.stack([~root, root], 1)
    scaled = torch.randn(400, 8, 75, generator=rng, dtype=torch.float64) * factor(drawn, of)[:, None]
    counts = torch.rand(400, 8, 75, generator=rng) < 0.9
    counts[0], counts[1, :, 24:27] = False, False
    found = prior.vigour(torch.where(counts, scaled, torch.inf), counts, of)
    wanted = [
        [scaled[b][counts[b] & (root[b] == part)].square().mean().sqrt().log() for part in (False, True)]
        for b in range(2, 400)
    ]
    torch.testing.assert_close(found[2:], torch.tensor(wanted, dtype=torch.float64))
    assert not found[0].any()
    assert found[1, 0] != 0
    assert found[1, 1] == 0
    assert float((found - drawn)[2:].abs().mean()) < 0.1  # as it was drawn, but for chance


def test_vigours_are_drawn_as_they_were_found() -> None:
    prior = LinearGaussian(8, 15.0, 2).double()
    prior.usual_vigour.copy_(torch.tensor([-0.1, -0.3]))
    prior.vigour_spread.copy_(torch.tensor([[0.3, 0.0], [0.2, 0.4]]))
    drawn = prior.draw_vigour(torch.randn(20_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    np.testing.assert_allclose(drawn.mean(0), [-0.1, -0.3], atol=0.02)
    np.testing.assert_allclose(torch.cov(drawn.T), [[0.09, 0.06], [0.06, 0.2]], atol=0.01)
