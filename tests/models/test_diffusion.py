"""The context is read once, samples follow from the seed, and what is diffused has unit size at every frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lmm.generative.diffusion import ddim
from lmm.models.blocks import time_encoding
from lmm.models.diffusion import DRAWS, LEAST_SPREAD, LEVELS, LOG_SCALES, SHORT, change, levels, unchange, with_one
from lmm.models.linear import expected, regress, rows
from lmm.models.network import Context, Example, Network
from lmm.pipeline.features import MIDHIP, NECK

Contexts = Callable[..., Context]


@pytest.fixture
def network(make: Callable[..., Network]) -> Any:
    network: Any = make("diffusion")
    network.spread.copy_(torch.rand(8, 75) + 0.5)
    network.response.copy_(torch.randn(8, 75, 5) * 0.2)
    return network


@torch.no_grad()
def test_denoiser_equals_a_slow_reference(network: Any, contexts: Contexts, slow: SimpleNamespace) -> None:
    context = contexts(network, last=7)
    noisy, step = torch.randn(3, 8, 75, dtype=torch.float64), torch.tensor([0, 500, 999])
    memories = network.denoiser.memories(network.encoder(context))
    got = network.denoise(noisy, step, memories, context.mask).numpy()
    valid = np.arange(20) >= np.array([0, 0, 13])[:, None]
    coming = time_encoding(torch.arange(1, 9) / 15, 32).double().numpy()
    clock = time_encoding(step * 0.02, 32).double().numpy()
    for b in range(3):
        hidden = slow.affine(network.noise_level[0], clock[b])
        level = slow.affine(network.noise_level[2], hidden / (1 + np.exp(-hidden)))
        memory = network.encoder(context)[b].numpy()
        x = slow.affine(network.embed, noisy[b].numpy()) + coming + level
        y = slow.decoder(network.denoiser, x, memory, valid[b], causal=False)
        np.testing.assert_allclose(got[b], slow.affine(network.head, y), rtol=0, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("options", [{"steps": 4}, {"steps": 3, "eta": 1.0}])
def test_reading_the_context_once_equals_reading_it_anew(
    make: Callable[..., Network], contexts: Contexts, options: dict[str, Any]
) -> None:
    network: Any = make("diffusion", options=options)
    network.spread.copy_(torch.rand(8, 75) + 0.5)
    network.response.copy_(torch.randn(8, 75, 5) * 0.2)
    context = contexts(network, last=7)
    got = network.generate(context, 5, 2, torch.Generator().manual_seed(3))
    generator, known = torch.Generator().manual_seed(3), context.known.repeat_interleave(2, 0)[:, None]
    wide = Context(
        context.frames.repeat_interleave(2, 0),
        context.observed.repeat_interleave(2, 0),
        context.mask.repeat_interleave(2, 0),
        context.anchor.repeat_interleave(2, 0),
        known[:, 0],
        context.root.repeat_interleave(2, 0),
        context.places,
    )

    def anew(x: torch.Tensor, t: int) -> torch.Tensor:
        memories = network.denoiser.memories(network.encoder(wide))
        return network.denoise(x, torch.full((6,), t), memories, wide.mask) * known

    noise = torch.randn(6, 8, 75, generator=generator, dtype=torch.float64)
    clean = ddim(anew, noise, network.alpha_bars, options["steps"], options.get("eta", 0.0), generator)
    changes = expected(network.regression, wide, 15.0) + clean * network.scale(wide)
    wanted = unchange(changes.unflatten(0, (3, 2))[:, :, :5], context)
    torch.testing.assert_close(got, wanted, rtol=0, atol=1e-10)


def test_samples_follow_from_the_seed(network: Any, batch: Callable[..., Any]) -> None:
    b = batch()
    given = (b.context, b.valid, b.observed, 4, 3)
    one = network.forecast(*given, np.random.default_rng(1))
    assert np.array_equal(one, network.forecast(*given, np.random.default_rng(1)))
    other = network.forecast(*given, np.random.default_rng(2))
    known = np.delete(np.arange(25), 4)
    for a, c in ((one, other), (one[:, :1], one[:, 1:2])):
        assert (np.abs(a - c).reshape(*a.shape[:-1], 25, 3)[..., known, :] > 0).mean() > 0.99
    torch_seeded = [network.forecast(*given, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert np.array_equal(*torch_seeded)


def test_a_shorter_horizon_is_the_beginning_of_a_longer_one(network: Any, batch: Callable[..., Any]) -> None:
    b = batch()
    long, short = (network.forecast(b.context, b.valid, b.observed, n, 2, np.random.default_rng(1)) for n in (8, 3))
    np.testing.assert_array_equal(long[:, :, :3], short)


def test_an_oracle_is_trusted(network: Any, contexts: Contexts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the denoiser knows the answer, every sample is the answer, in the units of the features."""
    context = contexts(network)
    future = torch.randn(3, 8, 75, dtype=torch.float64)
    there = Example(context, future, None, torch.ones(3, 8, 75, dtype=torch.bool))
    clean = ((change(there) - expected(network.regression, context, 15.0)) / network.scale(context)).repeat_interleave(
        2, 0
    )
    monkeypatch.setattr(network, "denoise", lambda noisy, step, memories, mask: clean)
    with torch.no_grad():
        got = network.generate(context, 8, 2, torch.Generator())
    known = context.known[:, None, None].bool().expand_as(got)
    torch.testing.assert_close(got[known], future[:, None].expand_as(got)[known], rtol=0, atol=1e-12)
    assert bool((got[~known] == 0).all())


def test_spread_is_the_root_mean_square_distance_from_what_is_expected(
    make: Callable[..., Any], batch: Callable[..., Any]
) -> None:
    """With the regression, and, from the anchor, without."""
    network = make("diffusion", options={"regression": False})
    network.regression.zero_()
    batches = [batch(seed=s) for s in range(3)]
    network.fit(network.example(b) for b in batches)
    assert not network.regression.any()
    examples = [network.example(b) for b in batches]
    for frame, k in ((0, 0), (3, 27), (7, 74)):
        squares = [
            float(e.target[row, frame, k] - e.context.anchor[row, k]) ** 2
            for e in examples
            for row in range(3)
            if e.counts[row, frame, k]
        ]
        assert float(network.spread[frame, k]) == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)
    assert bool((network.spread[:, 12:15] == 1).all())  # RWrist is never seen
    fitted = make("diffusion")
    fitted.fit(network.example(b) for b in batches)
    counts = torch.cat([e.counts for e in examples])
    errors = regress(*rows([(e, change(e)) for e in examples], 15.0))[1][: len(counts)]
    number = counts.sum(0)
    measured = (errors.square().sum(0) / number.clamp(min=1)).sqrt()[number > 0].clamp(min=LEAST_SPREAD)
    torch.testing.assert_close(fitted.spread[number > 0], measured)


def test_spread_has_a_floor(network: Any, batch: Callable[..., Any]) -> None:
    example = network.example(batch())
    still = dataclasses.replace(example, target=example.context.anchor[:, None].expand_as(example.target))
    network.fit([still])
    counted = example.counts.any(0)
    counted &= ~example.context.root[0]  # a root that goes on as before is not still
    np.testing.assert_allclose(network.spread[counted].numpy(), LEAST_SPREAD, rtol=1e-6)


def test_the_root_is_where_its_steps_lead(network: Any, batch: Callable[..., Any]) -> None:
    example = network.example(batch())
    root, counts = example.context.root, example.counts
    assert int(root.sum()) == 3 * (2 if network.features.layout == "xyc" else 3)
    changes = change(example)
    for row in range(3):
        for k in torch.nonzero(root[row])[:, 0].tolist():
            place = 0.0
            for frame in range(changes.shape[1]):
                if counts[row, frame, k]:
                    place += float(example.target[row, frame, k])
                assert float(changes[row, frame, k]) == pytest.approx(place, abs=1e-9)
    back = unchange(changes[:, None], example.context)[:, 0]
    torch.testing.assert_close(back[counts], example.target[counts])


def test_noise_is_as_strong_as_its_step_says(network: Any, batch: Callable[..., Any], monkeypatch: Any) -> None:
    """A denoiser that is right has no loss."""
    example, strength = network.example(batch()), []
    clean = (change(example) - expected(network.regression, example.context, 15.0)) / network.scale(example.context)
    clean = clean.repeat_interleave(DRAWS, 0)

    def perfect(noisy: torch.Tensor, step: torch.Tensor, memories: Any, mask: Any, exists: Any) -> torch.Tensor:
        level = network.alpha_bars[step][:, None, None]
        strength.append((noisy - level.sqrt() * clean) / (1 - level).sqrt())
        return clean

    monkeypatch.setattr(network, "denoise", perfect)
    total, count = network.loss(example, 0.5)
    assert float(total) == 0
    assert int(count) == DRAWS * int(example.counts.sum())
    noise = strength[0]
    assert noise.shape == (3 * DRAWS, 8, 75)
    np.testing.assert_allclose(noise.mean((1, 2)), 0, atol=0.2)
    np.testing.assert_allclose(noise.std((1, 2)), 1, atol=0.2)


def test_lower_precision_keeps_the_noise_levels(network: Any, batch: Callable[..., Any]) -> None:
    b = batch()
    given = (b.context, b.valid, b.observed, 8, 1)
    exact = network.float().forecast(*given, torch.Generator().manual_seed(0))
    rough = network.bfloat16().forecast(*given, torch.Generator().manual_seed(0))
    assert network.alpha_bars.dtype == torch.float64
    assert np.isfinite(rough).all()
    assert rough.shape == exact.shape


@torch.no_grad()
def test_frames_after_the_end_of_a_clip_have_no_influence(network: Any, contexts: Contexts) -> None:
    """What the noise is where a clip has ended must not reach the frames that exist."""
    context = contexts(network)
    memories = network.denoiser.memories(network.encoder(context))
    frames, step = network.block_frames, torch.full((3,), 500)
    noisy = torch.randn(3, frames, 75, dtype=torch.float64)
    exists = torch.ones(3, 1, 1, frames, dtype=torch.bool)
    exists[..., 5:] = False
    before = network.denoise(noisy, step, memories, context.mask, exists)
    noisy[:, 5:] += 10
    after = network.denoise(noisy, step, memories, context.mask, exists)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=0, atol=1e-12)
    assert not torch.allclose(network.denoise(noisy, step, memories, context.mask)[:, :5], before[:, :5])


@torch.no_grad()
def test_a_joint_that_moves_more_is_expected_to_move_more(make: Callable[..., Any]) -> None:
    """The response is found: here, of (own level lately) ** 0.5 · (level of all together before) ** 0.25."""
    network = make("diffusion", options={"regression": False})
    network.regression.zero_()
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
    slopes = network.response.mean((0, 1))
    assert float(slopes[1]) == pytest.approx(0.5, abs=0.08)
    assert float(slopes[2:].sum()) == pytest.approx(0.25, abs=0.08)  # of levels that nearly agree
    whitened = (change(example) - expected(network.regression, context, 15.0)) / network.scale(context)
    assert 0.9 < float(whitened.std()) < 1.1
    for chosen in known[:, 0, 0].argsort().chunk(4):  # as wide as it should be for still joints and for quick ones
        assert 0.85 < float(whitened[chosen, :, 0].std()) < 1.15


def test_a_neck_that_holds_the_path_has_the_scale_of_the_hips(network: Any, batch: Callable[..., Any]) -> None:
    b = batch(size=2)
    b.observed[:, -1, NECK] = True
    b.observed[1, :, MIDHIP] = False
    context = network.example(b).context
    neck, hips = (slice(3 * joint, 3 * joint + 3) for joint in (NECK, MIDHIP))
    network.spread[:, neck] = 7.0
    known, scale = levels(context), network.scale(context)
    for row, at in ((0, neck), (1, hips)):
        logs = (with_one(known[row, neck]) * network.response[:, at]).sum(-1)
        torch.testing.assert_close(scale[row, :, neck], network.spread[:, at] * logs.clamp(*LOG_SCALES).exp())


def test_levels_know_only_what_is_seen(network: Any, contexts: Contexts) -> None:
    context = contexts(network, last=7)
    before = levels(context)
    garbage = dataclasses.replace(
        context, frames=torch.where(context.observed.repeat_interleave(3, -1), context.frames, 1e6)
    )
    torch.testing.assert_close(levels(garbage), before)
    blind = dataclasses.replace(context, observed=torch.zeros_like(context.observed))
    assert bool((levels(blind) == 0).all())
