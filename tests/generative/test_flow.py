"""Straight ways, exact solutions, orders of convergence, and diffusers' scheduler."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lmm.core.errors import LmmError
from lmm.generative.flow import between, guide, solve, target, times


def test_the_way_is_straight() -> None:
    noise, signal = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    at = torch.linspace(0, 1, 5, dtype=torch.float64)[:, None]
    way = between(noise, signal, at)
    torch.testing.assert_close(way, (1 - at) * noise + at * signal)
    assert torch.equal(way[0], noise[0])
    later = between(noise, signal, at + 0.125)
    torch.testing.assert_close((later - way) / 0.125, target(noise, signal))


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_one_signal_is_found_in_any_number_of_steps(solver: Any, steps: int) -> None:
    """Of a single signal the velocity is (signal − x) / (1 − t), and Euler is exact on straight ways."""
    signal, noise = torch.randn(4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    found = solve(lambda x, t: (signal - x) / (1 - t), noise, steps, solver)
    torch.testing.assert_close(found, signal)


def gaussian(mean: float, deviation: float) -> Any:
    """Return the velocity that noise N(0, 1) has towards N(mean, deviation²): E[signal − noise | x_t]."""

    def velocity(x: Tensor, t: float) -> Tensor:
        variance = (1 - t) ** 2 + (t * deviation) ** 2
        slope = (t * deviation**2 - (1 - t)) / variance
        return mean + slope * (x - t * mean)

    return velocity


@pytest.mark.parametrize(("solver", "error"), [("euler", 0.02), ("midpoint", 1e-4)])
def test_gaussians_come_out_as_they_are(solver: Any, error: float) -> None:
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    found = solve(gaussian(0.7, 0.3), noise, 100, solver)
    torch.testing.assert_close(found, 0.7 + 0.3 * noise, rtol=0, atol=error)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2)])
def test_order_of_convergence(solver: Any, order: int) -> None:
    """Halving the step divides the error by 2 to the order: dx/dt = x · (1 + t²) leads to x · exp(4 / 3)."""
    noise = torch.linspace(-2, 2, 8, dtype=torch.float64)
    exact = noise * math.exp(4 / 3)
    errors = [float((solve(lambda x, t: x * (1 + t * t), noise, n, solver) - exact).abs().max()) for n in (40, 80, 160)]
    for coarse, fine in itertools.pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


def wild(x: Tensor, t: float) -> Tensor:
    return torch.tanh(0.7 * x + t) + 0.1 * x.roll(1, dims=-1)


@pytest.mark.parametrize("steps", [1, 4, 10, 50])
def test_euler_is_the_scheduler_of_diffusers(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers to compare with")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    noise = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    scheduler.set_timesteps(sigmas=[1 - t for t in times(steps)])
    x = noise
    for sigma, step in zip(scheduler.sigmas[:-1].tolist(), scheduler.timesteps, strict=True):
        x = scheduler.step(-wild(x, 1 - sigma), step, x).prev_sample
    torch.testing.assert_close(solve(wild, noise, steps), x, rtol=0, atol=2e-6)
    signal, sigma = torch.randn(2, 5), scheduler.sigmas[steps // 2]
    theirs = scheduler.scale_noise(signal, scheduler.timesteps[steps // 2][None], noise)
    torch.testing.assert_close(between(noise, signal, 1 - sigma), theirs)


@pytest.mark.parametrize("solver", ["euler", "midpoint"])
def test_times_are_those_asked_for(solver: Any) -> None:
    asked: list[float] = []

    def velocity(x: Tensor, t: float) -> Tensor:
        asked.append(t)
        return x

    solve(velocity, torch.zeros(1), 6, solver)
    assert asked == times(6, solver)


def test_guidance() -> None:
    a, b = torch.randn(3), torch.randn(3)
    torch.testing.assert_close(guide(a, b, 1.0), a)
    assert torch.equal(guide(a, b, 0.0), b)
    torch.testing.assert_close(guide(a, b, 3.0), a + 2 * (a - b))


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_steps(steps: int) -> None:
    with pytest.raises(LmmError, match=f"{steps} steps of flow were asked for. Give 1 to 1000"):
        times(steps)


def test_unknown_solver() -> None:
    with pytest.raises(LmmError, match="unknown solver 'heun' of flow"):
        solve(wild, torch.zeros(1), 2, "heun")  # type: ignore[arg-type]
