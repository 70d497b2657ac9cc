"""What the transformers here share: positions in seconds, attention with keys and values to keep, and two layers.

Layers are pre-norm (R. Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020) with GELU.
Attention is that of A. Vaswani et al., "Attention Is All You Need", 2017, equation 1. Masks are True where valid.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHORTEST_S, LONGEST_S = 0.125, 32.0  # periods of the sinusoids: under two frames at 15 a second, four times a context
KeysValues = tuple[Tensor, Tensor]  # (B, heads, N, width / heads) each


def time_encoding(seconds: Tensor, width: int) -> Tensor:
    """Return sinusoids (..., width) of physical time (...) in seconds, with periods in geometric progression.

    Half are sines, half cosines. The reference encodes seconds, not frame numbers, so that rates can be mixed.
    """
    periods = torch.logspace(math.log10(SHORTEST_S), math.log10(LONGEST_S), width // 2, dtype=torch.float64)
    angle = seconds[..., None].double() * (2 * math.pi / periods).to(seconds.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()


def head(width: int, features: int) -> nn.Linear:
    """Return a last layer that begins at almost nothing: what it adds to the last seen pose."""
    layer = nn.Linear(width, features)
    nn.init.normal_(layer.weight, std=0.02 * width**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """Multi-head attention of x (B, N, width) to keys and values that `keys_values` makes, once, of a memory."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def keys_values(self, memory: Tensor) -> KeysValues:
        key, value = self.key_value(memory).chunk(2, dim=-1)
        return self._split(key), self._split(value)

    def forward(self, x: Tensor, memory: KeysValues, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """`mask` broadcasts to (B, heads, N, M), True where x may look."""
        y = F.scaled_dot_product_attention(self._split(self.query(x)), *memory, attn_mask=mask, is_causal=causal)
        return self.out(y.transpose(1, 2).flatten(2))

    def step(self, x: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return `forward` of one token x (B, width)."""
        query = self.query.forward(x).view(len(x), self.heads, 1, -1)
        return self.out.forward(F.scaled_dot_product_attention(query, key, value, attn_mask=mask).reshape(x.shape))

    def step_keys_values(self, x: Tensor, past: Tensor | None) -> Tensor:
        """Return `keys_values` (B, 2, heads, N, width / heads) of the `past` and one token more, x (B, width)."""
        new = self.key_value.forward(x).view(len(x), 2, self.heads, 1, -1)
        return new if past is None else torch.cat([past, new], dim=3)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Self-attention, then feed-forward, each added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed = FeedForward(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        y = self.norm_attention(x)
        x = x + self.dropout(self.attention(y, self.attention.keys_values(y), mask))
        return x + self.dropout(self.feed(self.norm_feed(x)))


class Encoder(nn.Module):
    """`layers` encoder layers and a last norm: (B, N, width) → (B, N, width)."""

    def __init__(self, layers: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(EncoderLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention to a memory, feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm_self, self.norm_cross, self.norm_feed = (nn.LayerNorm(width) for _ in range(3))
        self.self_attention, self.cross_attention = Attention(width, heads), Attention(width, heads)
        self.feed = FeedForward(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, memory: KeysValues, mask: Tensor | None, causal: bool = False, exists: Tensor | None = None
    ) -> Tensor:
        y = self.norm_self(x)
        own = self.self_attention.keys_values(y)
        x = x + self.dropout(self.self_attention(y, own, exists, causal))
        x = x + self.dropout(self.cross_attention(self.norm_cross(x), memory, mask))
        return x + self.dropout(self.feed(self.norm_feed(x)))

    def step(self, x: Tensor, memory: KeysValues, mask: Tensor | None, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return `forward` of one token x (B, width) after those of the `past`, and the past with it; no dropout."""
        y = self.norm_self.forward(x)
        own = self.self_attention.step_keys_values(y, past)
        x = x + self.self_attention.step(y, *own.unbind(1))
        x = x + self.cross_attention.step(self.norm_cross.forward(x), *memory, mask)
        y = self.norm_feed.forward(x)
        for module in self.feed:
            y = module.forward(y)
        return x + y, own


class Decoder(nn.Module):
    """`layers` decoder layers and a last norm.

    `memories` makes every layer's keys and values of a memory (B, M, width) once. `forward` takes all tokens at once,
    `step` one after another, keeping what it made of those before. For one token, what surrounds the arithmetic costs
    as much (dropout that is off, reshaping, calls of modules rather than of their `forward`).
    """

    def __init__(self, layers: int, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(width, heads, hidden, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def memories(self, memory: Tensor) -> list[KeysValues]:
        return [layer.cross_attention.keys_values(memory) for layer in self.layers]

    def forward(
        self,
        x: Tensor,
        memories: list[KeysValues],
        mask: Tensor | None = None,
        causal: bool = False,
        exists: Tensor | None = None,
    ) -> Tensor:
        """Return (B, N, width).

        `mask` (B, 1, 1, M) is True at valid places of the memory. `causal` lets a token see itself and those before.
        `exists` (B, 1, 1, N) is False at tokens that no token may see.
        """
        for layer, memory in zip(self.layers, memories, strict=True):
            x = layer(x, memory, mask, causal, exists)
        return self.norm(x)

    def step(
        self,
        x: Tensor,
        memories: list[KeysValues],
        mask: Tensor | None = None,
        past: list[Tensor] | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return what causal `forward` returns of one token x (B, width) after others, and the `past` for the next."""
        kept = []
        for i, layer in enumerate(self.layers):
            x, own = layer.step(x, memories[i], mask, past[i] if past else None)
            kept.append(own)
        return self.norm(x), kept


def attention_mask(valid: Tensor) -> Tensor | None:
    """Return `valid` (B, N) as a mask (B, 1, 1, N), or None where all is valid, which attention computes faster."""
    return None if bool(valid.all()) else valid[:, None, None, :]


def repeat(memories: list[KeysValues], count: int) -> list[KeysValues]:
    """Return each of the batch's keys and values `count` times in a row: one context, many samples."""
    return [(k.repeat_interleave(count, 0), v.repeat_interleave(count, 0)) for k, v in memories]


def to_tensor(x: Any, like: Tensor) -> Tensor:
    """Return an array or tensor on the device of `like`; numbers as its dtype, masks as they are."""
    tensor = torch.as_tensor(x, device=like.device)
    return tensor.to(like.dtype) if tensor.is_floating_point() else tensor
