"""The flow head: its sampler is its forward pass along a solver, and its loss that of rectified flow."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lmm.generative.flow import solve
from lmm.models.flow_head import FlowHead, Sampler
from lmm.models.one_token import fused


@pytest.fixture
def head() -> FlowHead:
    head = FlowHead(width=12, features=4, blocks=2, inner=16)
    with torch.no_grad():
        for p in head.parameters():
            p += 0.2 * torch.randn_like(p)
    return head


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
@pytest.mark.parametrize("guidance", [1.0, 0.0, 2.5])
def test_sampler_is_forward_along_the_solver(head: FlowHead, solver: Any, guidance: float) -> None:
    noise, state, free = torch.randn(3, 4), torch.randn(3, 12), torch.randn(3, 12)

    def velocity(x: torch.Tensor, t: float) -> torch.Tensor:
        time = torch.full((3,), t, dtype=torch.float64)
        a, b = head(x, time, state), head(x, time, free)
        return b + guidance * (a - b)

    with torch.inference_mode():
        given = state if guidance == 1 else torch.cat([state, free])
        found = Sampler(head, 7, solver)(noise, given, guidance)
        torch.testing.assert_close(found, solve(velocity, noise, 7, solver), rtol=1e-4, atol=1e-4)


def test_a_new_head_moves_nothing() -> None:
    head = FlowHead(12, 4, 2, 16)
    assert not head(torch.randn(5, 4), torch.rand(5), torch.randn(5, 12)).any()


def test_loss_is_the_error_of_velocity_at_drawn_times(head: FlowHead) -> None:
    latent, state = torch.randn(3, 4), torch.randn(3, 12)
    torch.manual_seed(1)
    total, count = head.loss(latent, state, draws=2)
    torch.manual_seed(1)
    noise, time = torch.randn(6, 4), torch.rand(6)
    expected = 0.0
    for i in range(6):
        x = (1 - time[i]) * noise[i] + time[i] * latent[i // 2]
        found = head(x[None], time[i : i + 1], state[i // 2][None])[0]
        expected += float(((found - (latent[i // 2] - noise[i])) ** 2).sum().detach())
    assert float(total.detach()) == pytest.approx(expected, rel=1e-5)
    assert int(count) == 24


def test_every_weight_learns(head: FlowHead) -> None:
    total, _ = head.loss(torch.randn(8, 4), torch.randn(8, 12), 4)
    total.backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in head.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_fused_layers_are_the_layers(dtype: torch.dtype, bias: bool) -> None:
    layers = [nn.Linear(24, n, bias=bias).to(dtype) for n in (8, 40, 3)]
    x = torch.randn(2, 24, dtype=dtype)
    with torch.inference_mode():
        expected = torch.cat([layer(x) for layer in layers], dim=-1)
        torch.testing.assert_close(fused(*layers)(x), expected)
        torch.testing.assert_close(fused(layers[0])(x), layers[0](x))
