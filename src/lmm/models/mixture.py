"""Two sets of decoder weights, one attention over both: the mixture of transformers.

W. Liang et al., "Mixture-of-Transformers: A Sparse and Scalable Architecture for Multi-Modal Foundation Models", 2024
(algorithm 1). Each token goes through the norms, projections and feed-forward of its own set alone. The layers are
those of transformers' Llama, Qwen2 and Qwen3 families, and what is computed is what transformers computes (tested).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    still: bool | None = None,
) -> Tensor:
    """Return the normed states (B, T, width) of tokens x (B, T, width); 0 where none `exists` (B, T).

    A token goes through the second set where `is_second` (B, T), else through the first. Padding is on the right.
    `rotary` gives (cos, sin) of positions; a `cache` keeps keys and values. If the first set is frozen, nothing is
    kept for gradients of its tokens before any of the second set, which have none, unless what enters learns: say by
    `still` whether that is so.
    """
    if still is None:
        still = not first[1].weight.requires_grad
    free = exists & (is_second.cumsum(1) == 0)
    groups = [_Group(first, free, still=still)]
    groups += [_Group(first, exists & ~is_second & ~free), _Group(second, exists & is_second)]
    places = torch.cat([g.places for g in groups])
    # from the groups' rows to B · T; padding takes a row of 0 behind them
    order = torch.full((exists.numel(),), len(places), device=x.device)
    order[places] = torch.arange(len(places), device=x.device)

    def join(parts: Iterable[Tensor]) -> Tensor:
        rows = list(parts)
        return torch.cat([*rows, rows[0].new_zeros(1, *rows[0].shape[1:])])[order].unflatten(0, exists.shape)

    cos, sin = (angle[:, None] for angle in rotary(x, torch.arange(x.shape[1], device=x.device)[None]))
    states = [g.rows(x.flatten(0, 1)) for g in groups]
    for i in range(len(first[0])):
        made = [_project(g.layers[i], s) for g, s in zip(groups, states, strict=True)]
        query, key, value = (join(parts).transpose(1, 2) for parts in zip(*made, strict=True))
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        if cache is not None:
            cache.fill(i, key, value)
        # padding is on the right: what is causal does not see it
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        y = y.transpose(1, 2).flatten(2).flatten(0, 1)
        states = [_add(g.layers[i], s, g.rows(y)) for g, s in zip(groups, states, strict=True)]
    return join(g.norm(s) for g, s in zip(groups, states, strict=True))


class _Group:
    """Tokens that go through one set: where they are (B, T), and whether gradients stop at them."""

    def __init__(self, weights: Set, where: Tensor, still: bool = False) -> None:
        self.layers, self.norm = weights
        self.places = where.flatten().nonzero()[:, 0]
        self._still = still

    def rows(self, x: Tensor) -> Tensor:
        """Return the group's rows of x (B · T, ...)."""
        return (x.detach() if self._still else x)[self.places]


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
