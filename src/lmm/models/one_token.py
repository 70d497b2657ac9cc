"""One token after another through decoder layers: products of few rows, and keys and values kept in a window.

A token costs the reading of all weights. On a CPU, torch's products of one row read them at half of memory's speed or
less; oneDNN's, of weights that were laid out for it, at all of it (benchmarks/generate.py). Keys and values are kept as
in G. Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2024: of a stream without end the prompt
stays, then the last tokens; keys are kept before rotation and rotated by their place in that window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Linear = Callable[[Tensor], Tensor]


def fused(*layers: nn.Linear) -> Linear:
    """Return one function (N, in) → (N, sum of outs): the outputs of all `layers`, of few rows, side by side.

    It keeps a copy of the weights as they are now where it lays them out anew (CPU, float32 or bfloat16).
    """
    first = layers[0].weight
    if first.device.type != "cpu" or not _packs(first.dtype):
        return side_by_side(*layers)
    weight = torch.ops.mkldnn._reorder_linear_weight(torch.cat([layer.weight.detach() for layer in layers]), 1)
    bias = None if layers[0].bias is None else torch.cat([layer.bias.detach() for layer in layers])
    apply = torch.ops.mkldnn._linear_pointwise
    return lambda x: apply(x, weight, bias, "none", [], "")


def side_by_side(*layers: nn.Linear) -> Linear:
    """Return what `fused` does, with the layers as they are and as they come to be."""
    return layers[0] if len(layers) == 1 else lambda x: torch.cat([layer(x) for layer in layers], dim=-1)


def _packs(dtype: torch.dtype) -> bool:
    """Whether this build of torch, on this machine, has oneDNN's product of reordered weights."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (..., D) turned by the angles of its place: rotary position embedding as Llama and Qwen have it.

    J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021 (equation 34, halves for pairs).
    """
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-high, low], dim=-1) * sin


class Cache:
    """Keys and values of B rows: of their prompts, and in a ring of the last `window` tokens since.

    All memory is taken at once. `rotary` gives (cos, sin) of positions, `lengths` (B,) those of the prompts, which are
    padded on the right to the longest.
    """

    def __init__(
        self, layers: int, heads: int, size: int, lengths: Tensor, window: int, rotary: Callable[..., Any], like: Tensor
    ) -> None:
        self.lengths, self.window = lengths, window
        self.prompt = int(lengths.max())
        shape = (layers, len(lengths), heads, self.prompt + window, size)
        self.keys, self.values = like.new_zeros(shape), like.new_zeros(shape)  # keys as they are attended to, rotated
        self._raw = like.new_zeros(*shape[:3], window, size)
        self._rotary, self._like = rotary, like
        self._tokens = 0
        self._even = bool((lengths == self.prompt).all())
        places = torch.arange(self.prompt + window, device=lengths.device)
        self._exists = (places < lengths[:, None]) | (places >= self.prompt)
        self._angles = self._turn(torch.arange(window, device=lengths.device))

    def fill(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keep the prompts' keys (rotated) and values (B, heads, prompt, size)."""
        self.keys[layer, :, :, : self.prompt], self.values[layer, :, :, : self.prompt] = keys, values

    def advance(self) -> None:
        """Make room for one token more: the oldest since the prompt goes, and all that stay move down a place."""
        self._slot = self._tokens % self.window
        self._tokens += 1
        self._end = self.prompt + min(self._tokens, self.window)
        self._mask = None if self._even else self._exists[:, None, None, : self._end]
        place = min(self._tokens, self.window) - 1
        self._now = tuple(x[:, :, place : place + 1] for x in self._angles)
        if self._tokens > self.window:
            order = (torch.arange(self.window, device=self.lengths.device) - self._slot - 1) % self.window
            self.keys[:, :, :, self.prompt :] = rotate(self._raw, *(x[:, :, order] for x in self._angles))

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return attention (B, heads of queries, size) of one token; keep its `key` and `value` (B, heads, size)."""
        at = self.prompt + self._slot
        self._raw[layer, :, :, self._slot] = key
        self.keys[layer, :, :, at] = rotate(key[:, :, None], *self._now)[:, :, 0]
        self.values[layer, :, :, at] = value
        # the queries that share a key are rows of one product
        rows = rotate(query[:, :, None], *self._now).view(*key.shape[:2], -1, key.shape[-1])
        keys, values = self.keys[layer, :, :, : self._end], self.values[layer, :, :, : self._end]
        return F.scaled_dot_product_attention(rows, keys, values, attn_mask=self._mask).reshape(query.shape)

    def _turn(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return (cos, sin) (B, 1, N, size) of places (N,) behind each row's prompt."""
        cos, sin = self._rotary(self._like, self.lengths[:, None] + places)
        return cos[:, None], sin[:, None]


class Steps:
    """Decoder layers of transformers' Llama and Qwen families, for one token at a time of each row.

    `packed` makes the layers' weights ready for it (a copy, see `fused`).
    """

    def __init__(self, layers: Iterable[Any], norm: Any, packed: bool = True) -> None:
        join = fused if packed else side_by_side
        self._layers = [
            (
                layer,
                join(layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj),
                join(layer.self_attn.o_proj),
                join(layer.mlp.gate_proj, layer.mlp.up_proj),
                join(layer.mlp.down_proj),
            )
            for layer in layers
        ]
        self._norm = norm

    def __call__(self, x: Tensor, cache: Cache) -> Tensor:
        """Return the normed states (B, width) of one token x (B, width) more, and keep its keys and values."""
        cache.advance()
        for i, (layer, qkv, out, gate_up, down) in enumerate(self._layers):
            attention = layer.self_attn
            size = attention.head_dim
            heads = attention.k_proj.out_features // size
            made = qkv(_normed(layer.input_layernorm, x)).view(len(x), -1, size)
            query, key, value = made[:, : -2 * heads], made[:, -2 * heads : -heads], made[:, -heads:]
            if hasattr(attention, "q_norm"):
                query, key = _normed(attention.q_norm, query), _normed(attention.k_norm, key)
            x = x + out(cache.attend(i, query, key, value).flatten(1))
            gate, up = gate_up(_normed(layer.post_attention_layernorm, x)).chunk(2, dim=-1)
            x = x + down(layer.mlp.act_fn(gate) * up)
        return _normed(self._norm, x)


def _normed(norm: Any, x: Tensor) -> Tensor:
    return F.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)
