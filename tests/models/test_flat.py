"""Frame after frame: keys and values that are kept change nothing, nothing looks ahead, and how it is taught."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm.models.autoregressive import MOST_SAMPLED
from lmm.models.blocks import time_encoding
from lmm.models.network import Context, Network, mean_loss

FRAMES = 6
Contexts = Callable[..., Context]


@pytest.fixture(params=["flat", "htt"])
def network(request: pytest.FixtureRequest, make: Callable[..., Network]) -> Any:
    return make(request.param)


def afresh(network: Any, context: Context, frames: int, noise: Tensor | None = None) -> Tensor:
    """Decode without anything kept: the whole past again for every frame, and the memory too."""
    inputs, out = context.anchor[:, None], []
    for i in range(frames):
        memories = network.decoder.decoder.memories(network.encoder(context))
        last = network.decoder(inputs, memories, context)[:, -1]
        if noise is not None:
            last = last + noise[i] * context.known
        out.append(last)
        inputs = torch.cat([inputs, last[:, None]], dim=1)
    return torch.stack(out, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("last", [20, 7])
def test_kept_keys_and_values_equal_decoding_afresh(network: Any, contexts: Contexts, last: int) -> None:
    context = contexts(network, last=last)
    got = network.generate(context, FRAMES, 1, torch.Generator())
    torch.testing.assert_close(got[:, 0], afresh(network, context, FRAMES), rtol=0, atol=1e-10)
    assert float((got[:, 0, -1] - context.anchor).abs().max()) > 0.1  # there is something to compare


@torch.no_grad()
def test_samples_with_noise_are_each_as_if_alone(network: Any, contexts: Contexts) -> None:
    context = contexts(network, last=7)
    spread = torch.randn(75, 75, dtype=torch.float64)
    network.decoder.innovation.copy_(spread)
    got = network.generate(context, FRAMES, 2, torch.Generator().manual_seed(1))
    assert got.shape == (3, 2, FRAMES, 75)
    again = torch.Generator().manual_seed(1)
    noise = torch.stack([torch.randn(6, 1, 75, generator=again, dtype=torch.float64)[:, 0] for _ in range(FRAMES)])
    noise = noise @ spread.T
    for s in range(2):
        alone = afresh(network, context, FRAMES, noise.unflatten(1, (3, 2))[:, :, s])
        torch.testing.assert_close(got[:, s], alone, rtol=0, atol=1e-10)


@torch.no_grad()
def test_teacher_forcing_is_causal(network: Any, contexts: Contexts) -> None:
    context = contexts(network)
    memories = network.decoder.decoder.memories(network.encoder(context))
    inputs = torch.randn(3, 8, 75, dtype=torch.float64)
    before = network.decoder(inputs, memories, context)
    for i in range(1, 8):
        changed = inputs.clone()
        changed[:, i:] += 10
        after = network.decoder(changed, memories, context)
        torch.testing.assert_close(after[:, :i], before[:, :i], rtol=0, atol=1e-12)
        assert not torch.allclose(after[:, i:] - changed[:, i:], before[:, i:] - inputs[:, i:])


@torch.no_grad()
def test_flat_equals_a_slow_reference(make: Callable[..., Network], contexts: Contexts, slow: SimpleNamespace) -> None:
    network: Any = make("flat")
    context = contexts(network, last=7)
    got = network.generate(context, 3, 1, torch.Generator())[:, 0].numpy()
    valid = np.arange(20) >= np.array([0, 0, 13])[:, None]
    past = time_encoding(torch.arange(-19, 1) / 15, 32).double().numpy()
    coming = time_encoding(torch.arange(1, 4) / 15, 32).double().numpy()
    for b in range(3):
        x = slow.affine(network.encoder.embed, slow.tokens(context, b)) + past
        memory = slow.encoder(network.encoder.encoder, x, valid[b])
        frames = [context.anchor[b].numpy()]
        for i in range(3):
            y = slow.affine(network.decoder.embed, np.stack(frames)) + coming[: i + 1]
            y = slow.decoder(network.decoder.decoder, y, memory, valid[b], causal=True)
            linear = slow.regressors(context, b, frames[-1], frames[-2] if i else None)
            change = slow.affine(network.decoder.head, y[-1]) + linear @ network.decoder.regression.numpy()
            frames.append(frames[-1] + change * context.known[b].numpy())
        np.testing.assert_allclose(got[b], frames[1:], rtol=0, atol=1e-10)


def test_without_sampling_the_loss_is_that_of_teacher_forcing(network: Any, batch: Callable[..., Any]) -> None:
    example = network.example(batch())
    memories = network.decoder.decoder.memories(network.encoder(example.context))
    inputs = torch.cat([example.context.anchor[:, None], example.target[:, :-1]], dim=1)
    expected = mean_loss(network.decoder(inputs, memories, example.context), example.target, example.counts)
    for sampled, progress in ((True, 0.0), (False, 1.0)):
        got = network.decoder.loss(network.encoder(example.context), example, progress, sampled)
        assert torch.equal(got[0], expected[0])
        assert torch.equal(got[1], expected[1])


def test_scheduled_sampling_gives_a_share_of_predictions(network: Any, batch: Callable[..., Any]) -> None:
    """The second pass reads, frame by frame, the truth or what the first pass predicted there, and never a mixture."""
    example, seen = network.example(batch()), []
    network.decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    for _ in range(60):
        network.decoder.loss(network.encoder(example.context), example, 1.0, True)
    truth = torch.cat([example.context.anchor[:, None], example.target[:, :-1]], dim=1)
    first, second = seen[0::2], seen[1::2]
    assert all(torch.equal(x, truth) for x in first)
    with torch.no_grad():
        memories = network.decoder.decoder.memories(network.encoder(example.context))
        guess = torch.cat([truth[:, :1], network.decoder(truth, memories, example.context)[:, :-1]], dim=1)
    taken = [torch.isclose(x, guess, rtol=0, atol=1e-12).all(-1) for x in second]
    kept = [(x == truth).all(-1) for x in second]
    assert all(bool((a | b).all()) for a, b in zip(taken, kept, strict=True))
    share = float(torch.stack(taken)[:, :, 1:].double().mean())
    assert abs(share - MOST_SAMPLED) < 0.05


def test_option_turns_scheduled_sampling_off(make: Callable[..., Network], batch: Callable[..., Any]) -> None:
    for name in ("flat", "htt"):
        network = make(name, options={"scheduled_sampling": False})
        example = network.example(batch())
        assert torch.equal(network.loss(example, 1.0)[0], network.loss(example, 0.0)[0])


@torch.no_grad()
def test_sampled_rollouts_have_the_spread_of_one_step_errors(network: Any, batch: Callable[..., Any]) -> None:
    example = network.example(batch())
    assert not network.decoder.innovation.any()
    network.calibrate([example, example])
    inputs = torch.cat([example.context.anchor[:, None], example.target[:, :-1]], dim=1)
    memories = network.decoder.decoder.memories(network.encoder(example.context))
    error = network.decoder(inputs, memories, example.context) - example.target
    for k in (0, 10, 74):
        counted = error[..., k][example.counts[..., k]]
        variance = (network.decoder.innovation[k] ** 2).sum()
        assert float(variance) >= float(counted.square().mean()) - 1e-9  # more only where pairs were counted apart
    two = network.generate(example.context, 4, 2, torch.Generator().manual_seed(0))
    one = network.generate(example.context, 4, 1, torch.Generator().manual_seed(0))
    assert not torch.allclose(two[:, 0], two[:, 1])
    assert not torch.allclose(two[:, :1], one)
    unknown = ~example.context.known.bool()[:, None, None].expand_as(two)
    assert bool((two[unknown] == 0).all())
