"""Layers equal a slow reference that is written from the equations, token by token, in float64; time is in seconds."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lmm.models.blocks import (
    LONGEST_S,
    SHORTEST_S,
    Attention,
    Decoder,
    DecoderLayer,
    Encoder,
    EncoderLayer,
    FeedForward,
    attention_mask,
    repeat,
    time_encoding,
)

WIDTH, HEADS, HIDDEN, ATOL = 12, 3, 20, 1e-12
VALID = np.array([[True] * 7, [False] * 3 + [True] * 4])


def ready(module: nn.Module) -> Any:
    """The module in float64, with norms, biases and weights that are not special."""
    module.double().eval()
    with torch.no_grad():
        for p in module.parameters():
            p += 0.3 * torch.randn_like(p)
    return module


def tokens(count: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(2, count, WIDTH)))


def same(got: Tensor, expected: list[np.ndarray]) -> None:
    np.testing.assert_allclose(got.detach().numpy(), np.stack(expected), rtol=0, atol=ATOL)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_softmax_of_scaled_products(slow: SimpleNamespace, causal: bool) -> None:
    layer, x = ready(Attention(WIDTH, HEADS)), tokens(5)
    got = layer(x, layer.keys_values(x), causal=causal)
    same(got, [slow.attention(layer, y, y, lambda i, j: j <= i or not causal) for y in x.numpy()])


def test_masked_places_of_a_memory_are_not_looked_at(slow: SimpleNamespace) -> None:
    layer, x, memory = ready(Attention(WIDTH, HEADS)), tokens(5), tokens(7, 1)
    mask = attention_mask(torch.from_numpy(VALID))
    got = layer(x, layer.keys_values(memory), mask)
    same(got, [slow.attention(layer, x[b].numpy(), memory[b].numpy()[VALID[b]]) for b in range(2)])
    memory[1, :3] = 1e6
    assert torch.equal(got, layer(x, layer.keys_values(memory), mask))
    assert attention_mask(torch.ones(2, 7, dtype=torch.bool)) is None


def test_feed_forward_has_the_exact_gelu(slow: SimpleNamespace) -> None:
    layer, x = ready(FeedForward(WIDTH, HIDDEN)), tokens(4)
    same(layer(x), [slow.feed(layer, y) for y in x.numpy()])


def test_encoder(slow: SimpleNamespace) -> None:
    stack, x = ready(Encoder(2, WIDTH, HEADS, HIDDEN, dropout=0.5)), tokens(7)
    got = stack(x, attention_mask(torch.from_numpy(VALID)))
    same(got, [slow.encoder(stack, x[b].numpy(), VALID[b]) for b in range(2)])


@pytest.mark.parametrize("causal", [False, True])
def test_decoder(slow: SimpleNamespace, causal: bool) -> None:
    stack, x, memory = ready(Decoder(2, WIDTH, HEADS, HIDDEN, dropout=0.5)), tokens(5), tokens(7, 1)
    got = stack(x, stack.memories(memory), attention_mask(torch.from_numpy(VALID)), causal)
    same(got, [slow.decoder(stack, x[b].numpy(), memory[b].numpy(), VALID[b], causal) for b in range(2)])


def test_layers_equal_those_of_torch() -> None:
    """A second witness: torch's own pre-norm layers with the same weights."""
    ours, theirs = (
        ready(DecoderLayer(WIDTH, HEADS, HIDDEN, 0.0)),
        nn.TransformerDecoderLayer(
            WIDTH, HEADS, HIDDEN, 0.0, nn.functional.gelu, batch_first=True, norm_first=True, dtype=torch.float64
        ).eval(),
    )
    encoder = nn.TransformerEncoderLayer(
        WIDTH, HEADS, HIDDEN, 0.0, nn.functional.gelu, batch_first=True, norm_first=True, dtype=torch.float64
    ).eval()
    copied(ours.self_attention, theirs.self_attn)
    copied(ours.cross_attention, theirs.multihead_attn)
    pairs = [(ours.norm_self, theirs.norm1), (ours.norm_cross, theirs.norm2), (ours.norm_feed, theirs.norm3)]
    for a, b in [*pairs, (ours.feed[0], theirs.linear1), (ours.feed[2], theirs.linear2)]:
        b.load_state_dict(a.state_dict())
    x, memory = tokens(5), tokens(7, 1)
    causal = nn.Transformer.generate_square_subsequent_mask(5, dtype=torch.float64)
    expected = theirs(x, memory, tgt_mask=causal, memory_key_padding_mask=torch.from_numpy(~VALID))
    mask = attention_mask(torch.from_numpy(VALID))
    got = ours(x, ours.cross_attention.keys_values(memory), mask, causal=True)
    torch.testing.assert_close(got, expected, rtol=0, atol=ATOL)
    layer = ready(EncoderLayer(WIDTH, HEADS, HIDDEN, 0.0))
    copied(layer.attention, encoder.self_attn)
    pairs = [(layer.norm_attention, encoder.norm1), (layer.norm_feed, encoder.norm2)]
    for a, b in [*pairs, (layer.feed[0], encoder.linear1), (layer.feed[2], encoder.linear2)]:
        b.load_state_dict(a.state_dict())
    y = tokens(7)
    expected = encoder(y, src_key_padding_mask=torch.from_numpy(~VALID))
    valid = torch.from_numpy(VALID)[..., None]
    torch.testing.assert_close(layer(y, mask) * valid, expected * valid, rtol=0, atol=ATOL)


def copied(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def test_kept_keys_and_values_change_nothing() -> None:
    stack, x, memory = ready(Decoder(2, WIDTH, HEADS, HIDDEN, 0.0)), tokens(6), tokens(7, 1)
    memories, mask = stack.memories(memory), attention_mask(torch.from_numpy(VALID))
    whole = stack(x, memories, mask, causal=True)
    past, out = None, []
    for i in range(6):
        y, past = stack.step(x[:, i], memories, mask, past)
        out.append(y)
    torch.testing.assert_close(torch.stack(out, dim=1), whole, rtol=0, atol=ATOL)


def test_repeated_memories_lie_side_by_side() -> None:
    stack, memory = ready(Decoder(1, WIDTH, HEADS, HIDDEN, 0.0)), tokens(3)
    (key, value), (key_3, value_3) = stack.memories(memory)[0], repeat(stack.memories(memory), 3)[0]
    for one, three in ((key, key_3), (value, value_3)):
        assert three.shape == (6, *one.shape[1:])
        assert all(torch.equal(three[3 * b + s], one[b]) for b in range(2) for s in range(3))


def test_time_is_in_seconds() -> None:
    slow_rate, fast_rate = torch.arange(-20, 11) / 15.0, torch.arange(-40, 21) / 30.0
    assert torch.equal(time_encoding(slow_rate, 16), time_encoding(fast_rate, 16)[::2])
    rows = time_encoding(slow_rate, 16)
    assert len(torch.unique(rows, dim=0)) == len(rows)
    periods = [SHORTEST_S * (LONGEST_S / SHORTEST_S) ** (k / 7) for k in range(8)]
    expected = [[f(2 * math.pi * t / p) for f in (math.sin, math.cos) for p in periods] for t in slow_rate.tolist()]
    np.testing.assert_allclose(rows.numpy(), expected, atol=1e-6)
