"""Two sets of decoder weights, one attention over both: the mixture of transformers.

W. Liang et al., "Mixture-of-Transformers: A Sparse and Scalable Architecture for Multi-Modal Foundation Models", 2024
(algorithm 1). Each token goes through the norms, projections and feed-forward of its own set alone. The layers are
those of transformers' Llama, Qwen2 and Qwen3 families, and what is computed is what transformers computes (tested).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lmm.models.one_token import Cache, rotate

Set = tuple[Any, Any]  # layers, and the norm behind them


def mixed_states(
    first: Set,
    second: Set,
    rotary: Callable[..., Any],
    is_second: Tensor,
    exists: Tensor,
    x: Tensor,
    cache: Cache | None = None,
) -> Tensor:
    """Return the normed states (B, T, width) of tokens x (B, T, width); 0 where none `exists` (B, T).

    A token goes through the second set where `is_second` (B, T), else through the first. Padding is on the right.
    `rotary` gives (cos, sin) of positions; a `cache` keeps keys and values.
    """
    rows = _Rows(exists & ~is_second, exists & is_second)
    flat = x.flatten(0, 1)
    a, b = flat[rows.first], flat[rows.second]
    cos, sin = (angle[:, None] for angle in rotary(x, torch.arange(x.shape[1], device=x.device)[None]))
    for i, (layer_a, layer_b) in enumerate(zip(first[0], second[0], strict=True)):
        made = zip(_project(layer_a, a), _project(layer_b, b), strict=True)
        query, key, value = (rows.join(*both).unflatten(0, exists.shape).transpose(1, 2) for both in made)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if cache is not None:
            cache.fill(i, key, value)
        # padding is on the right: what is causal does not see it
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        y = y.transpose(1, 2).flatten(2).flatten(0, 1)
        a, b = _add(layer_a, a, y[rows.first]), _add(layer_b, b, y[rows.second])
    return rows.join(first[1](a), second[1](b)).view(x.shape)


class _Rows:
    """Which of B · T tokens each set takes, as numbers, and how their rows are put together again."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        self.first, self.second = (x.flatten().nonzero()[:, 0] for x in (first, second))
        number = len(self.first) + len(self.second)
        self._from = torch.full((first.numel(),), number, device=first.device)  # padding: a row of 0 behind both
        self._from[torch.cat([self.first, self.second])] = torch.arange(number, device=first.device)

    def join(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (B · T, ...) of the rows of both."""
        return torch.cat([a, b, a.new_zeros(1, *a.shape[1:])])[self._from]


def _project(layer: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries, keys and values (N, heads, size) of x (N, width)."""
    a, y = layer.self_attn, layer.input_layernorm(x)
    query, key, value = (p(y).unflatten(-1, (-1, a.head_dim)) for p in (a.q_proj, a.k_proj, a.v_proj))
    if hasattr(a, "q_norm"):
        query, key = a.q_norm(query), a.k_norm(key)
    return query, key, value


def _add(layer: Any, x: Tensor, attended: Tensor) -> Tensor:
    x = x + layer.self_attn.o_proj(attended)
    out: Tensor = x + layer.mlp(layer.post_attention_layernorm(x))
    return out
