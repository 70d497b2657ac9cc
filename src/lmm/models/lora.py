"""Low-rank adaptation: E. Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", 2021, equation 3.

A linear layer's weight W becomes W + B A, with A (rank, in) random and B (out, rank) 0 at first. It is one of torch's
parametrizations: whatever reads the layer's weight reads the sum. When a model is saved the sum is what is written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class LowRank(nn.Module):
    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, weight.shape[1]).to(weight) * weight.shape[1] ** -0.5)
        self.up = nn.Parameter(weight.new_zeros(weight.shape[0], rank))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_lora(module: nn.Module, rank: int) -> None:
    """Add a product of `rank` to the weight of every linear layer in a module."""
    for layer in [m for m in module.modules() if isinstance(m, nn.Linear)]:
        parametrize.register_parametrization(layer, "weight", LowRank(layer.weight.detach(), rank))


def lora_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Return what was added."""
    return [p for m in module.modules() if isinstance(m, LowRank) for p in m.parameters()]


def merged(llm: Any) -> Any:
    """Return a language model with the sums as its weights: itself where nothing was added."""
    if not lora_parameters(llm):
        return llm
    state = {k: v for k, v in llm.state_dict().items() if ".parametrizations." not in k}
    for name, layer in llm.named_modules():
        if parametrize.is_parametrized(layer):
            state |= {f"{name}.{k}": v for k, v in (("weight", layer.weight), ("bias", layer.bias)) if v is not None}
    with torch.device("meta"):
        out = type(llm)(llm.config)
    out.load_state_dict(state, assign=True)
    out.tie_weights()
    return out
