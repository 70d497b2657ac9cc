"""The context is read once, samples follow from the seed, and what is diffused has unit size at every frame."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lmm.core.errors import MotionError
from lmm.generative.diffusion import arc, ddim
from lmm.models.blocks import time_encoding
from lmm.models.diffusion import DRAWS, change, unchange
from lmm.models.gaussian import factor, parts
from lmm.models.network import Context, Example, Network
from lmm.pipeline.features import MIDHIP, NECK

Contexts = Callable[..., Context]


@torch.no_grad()
def test_denoiser_equals_a_slow_reference(network: Any, contexts: Contexts, slow: SimpleNamespace) -> None:
    context = contexts(network, last=7)
    noisy, step = torch.randn(3, 8, 75, dtype=torch.float64), torch.tensor([0, 500, 999])
    vigour = torch.randn(3, 2, dtype=torch.float64)
    memories = network.denoiser.memories(network.encoder(context))
    got = network.denoise(noisy, step, vigour, memories, context.mask).numpy()
    valid = np.arange(20) >= np.array([0, 0, 13])[:, None]
    coming = time_encoding(torch.arange(1, 9) / 15, 32).double().numpy()
    clock = time_encoding(step * 0.02, 32).double().numpy()
    for b in range(3):
        hidden = slow.affine(network.noise_level[0], clock[b])
        level = slow.affine(network.noise_level[2], hidden / (1 + np.exp(-hidden)))
        memory = network.encoder(context)[b].numpy()
        level = level + slow.affine(network.vigour, vigour[b].numpy())
        x = slow.affine(network.embed, noisy[b].numpy()) + coming + level
        y = slow.affine(network.head, slow.decoder(network.denoiser, x, memory, valid[b], causal=False))
        left = float(network.alpha_bars[step[b]])
        np.testing.assert_allclose(got[b], np.sqrt(left) * noisy[b].numpy() + np.sqrt(1 - left) * y, atol=1e-10)
    network.gaussian = False
    np.testing.assert_allclose(
        network.denoise(noisy, step, vigour, memories, context.mask)[2].numpy(), y, rtol=0, atol=1e-10
    )


@torch.no_grad()
@pytest.mark.parametrize("options", [{"steps": 4}, {"steps": 3, "regression": False, "eta": 1.0}])
def test_reading_the_context_once_equals_reading_it_anew(
    make: Callable[..., Network], contexts: Contexts, options: dict[str, Any]
) -> None:
    network: Any = make("diffusion", options=options)
    if network.gaussian:
        network.prior.over_time.copy_(torch.randn(75, 8, 8))
        network.prior.over_body.copy_(torch.randn(75, 75))
        network.prior.usual_vigour.copy_(torch.randn(2))
        network.prior.vigour_spread.copy_(torch.randn(2, 2))
    network.prior.spread.copy_(torch.rand(8, 75) + 0.5)
    network.prior.response.copy_(torch.randn(8, 75, 5) * 0.2)
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
        return network.denoise(x, torch.full((6,), t), vigour, memories, wide.mask) * known

    vigour = network.prior.draw_vigour(torch.randn(6, 2, generator=generator, dtype=torch.float64))
    white = torch.randn(6, 8, 75, generator=generator, dtype=torch.float64).numpy()
    noise = np.zeros_like(white)
    for row in range(6):
        over_body = white[row] @ network.prior.over_body.numpy().T
        for k in range(75):
            noise[row, :, k] = network.prior.over_time[k].numpy() @ over_body[:, k]
        if context.root[row // 2, 3 * NECK]:
            moved = [3 * NECK + i for i in range(3) if context.places[i]]
            noise[row][:, moved] = noise[row][:, [k - 3 * NECK + 3 * MIDHIP for k in moved]]
    start = torch.from_numpy(noise)
    if network.gaussian:
        clean = arc(anew, start, network.alpha_bars, 4)
    else:
        clean = ddim(anew, start, network.alpha_bars, 3, 1.0, generator)
    changes = (
        network.prior.expected(wide) + clean * known * network.prior.scale(wide) * factor(vigour, parts(wide))[:, None]
    )
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
    network.gaussian = False  # the arc comes as near as its steps are many
    context = contexts(network)
    future = torch.randn(3, 8, 75, dtype=torch.float64)
    there = Example(context, future, None, torch.ones(3, 8, 75, dtype=torch.bool))
    clean = ((change(there) - network.prior.expected(context)) / network.prior.scale(context)).repeat_interleave(2, 0)
    monkeypatch.setattr(network, "denoise", lambda noisy, step, vigour, memories, mask: clean)
    with torch.no_grad():
        got = network.generate(context, 8, 2, torch.Generator())
    known = context.known[:, None, None].bool().expand_as(got)
    torch.testing.assert_close(got[known], future[:, None].expand_as(got)[known], rtol=0, atol=1e-12)
    assert bool((got[~known] == 0).all())


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
    clean = (change(example) - network.prior.expected(example.context)) / network.prior.scale(example.context)
    told = network.prior.vigour(clean, example.counts, parts(example.context))
    clean = (clean / factor(told, parts(example.context))[:, None]).repeat_interleave(DRAWS, 0)

    def perfect(
        noisy: torch.Tensor, step: torch.Tensor, vigour: Any, memories: Any, mask: Any, exists: Any
    ) -> torch.Tensor:
        level = network.alpha_bars[step][:, None, None]
        torch.testing.assert_close(vigour, told.repeat_interleave(DRAWS, 0))
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
    noisy, vigour = torch.randn(3, frames, 75, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    exists = torch.ones(3, 1, 1, frames, dtype=torch.bool)
    exists[..., 5:] = False
    before = network.denoise(noisy, step, vigour, memories, context.mask, exists)
    noisy[:, 5:] += 10
    after = network.denoise(noisy, step, vigour, memories, context.mask, exists)
    torch.testing.assert_close(after[:, :5], before[:, :5], rtol=0, atol=1e-12)
    assert not torch.allclose(network.denoise(noisy, step, vigour, memories, context.mask)[:, :5], before[:, :5])


@torch.no_grad()
def test_what_is_normal_is_forecast_without_training(make: Callable[..., Any]) -> None:
    """A linear movement with normal noise: samples have its mean, its deviation and its correlations in one step."""
    network = make("diffusion", options={"steps": 1}, context_frames=20)
    network.head.weight.zero_()
    rng = torch.Generator().manual_seed(0)
    size, frames = 6000, 28
    mixed = torch.eye(75, dtype=torch.float64) * 0.1
    mixed[:, :2] += 1
    x = [torch.randn(size, 75, generator=rng, dtype=torch.float64)]
    for _ in range(frames - 1):
        push = torch.randn(size, 75, generator=rng, dtype=torch.float64) @ mixed.T
        x.append(0.8 * x[-1] + 0.3 * push)
    everything = torch.stack(x, dim=1)
    seen = torch.ones(size, 20, 25, dtype=torch.bool)
    context = network.context(everything[:, :20], seen[..., 0], seen)
    there = everything[:, 20:]
    network.fit([Example(context, there, None, torch.ones_like(there, dtype=torch.bool))])
    got = network.generate(context, 8, 1, torch.Generator().manual_seed(1))[:, 0]
    pose = context.anchor
    place = [k for k in range(75) if not context.root[0, k]]
    for k in place[:6]:
        for h in (0, 3, 7):
            for y in (got, there):
                slope = (y[:, h, k] * pose[:, k]).mean() / pose[:, k].square().mean()
                assert float(slope) == pytest.approx(0.8 ** (h + 1), abs=0.08)
            assert float(got[:, h, k].std()) == pytest.approx(float(there[:, h, k].std()), rel=0.08)
    pairs = ([(5, place[0]), (7, place[0])], [(7, place[1]), (7, place[4])], [(2, place[3]), (3, place[3])])
    for (h, j), (i, k) in pairs:
        both = [float(torch.corrcoef(torch.stack([y[:, h, j], y[:, i, k]]))[0, 1]) for y in (got, there)]
        assert both[0] == pytest.approx(both[1], abs=0.06)


def test_eta_is_of_ddim(make: Callable[..., Any]) -> None:
    with pytest.raises(MotionError, match="without regression"):
        make("diffusion", options={"eta": 0.5})
