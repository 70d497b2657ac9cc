"""Schedule, noise and steps back equal those of diffusers' DDIMScheduler, and lead an oracle to its signal."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lmm.generative.diffusion import TRAIN_STEPS, add_noise, arc, cosine_schedule, ddim, timesteps

DIVISORS = [1, 2, 4, 5, 10, 20, 25, 50, 100]


@pytest.fixture(scope="module")
def scheduler() -> Any:
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers to compare with")
    return diffusers.DDIMScheduler(
        num_train_timesteps=TRAIN_STEPS,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def denoiser(x: Tensor, t: int) -> Tensor:
    """Some function of the noisy signal and the step, not linear."""
    return torch.tanh(0.7 * x + 0.3 * t / TRAIN_STEPS) + 0.1 * x.roll(1, dims=-1)


def test_schedule_and_noise(scheduler: Any) -> None:
    levels = cosine_schedule()
    torch.testing.assert_close(levels.float(), scheduler.alphas_cumprod, rtol=2e-4, atol=1e-7)  # theirs is float32
    assert bool((levels.diff() < 0).all())
    assert 0 < float(levels[-1]) < 1e-8
    clean, noise = torch.randn(6, 3, 4), torch.randn(6, 3, 4)
    steps = torch.tensor([0, 1, 99, 500, 900, 999])
    expected = scheduler.add_noise(clean, noise, steps)
    got = add_noise(clean, noise, levels[steps][:, None, None].float())
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("steps", [*DIVISORS, 3, 7, 16, 30, 999, 1000])
def test_timesteps(scheduler: Any, steps: int) -> None:
    scheduler.set_timesteps(steps)
    assert timesteps(steps) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", DIVISORS)
def test_steps_back(scheduler: Any, monkeypatch: pytest.MonkeyPatch, steps: int, eta: float) -> None:
    """With one schedule in float64 and the same noise: the same to float64's precision."""
    noise = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = cosine_schedule()
    monkeypatch.setattr(scheduler, "alphas_cumprod", levels)  # its own is float32
    monkeypatch.setattr(scheduler, "final_alpha_cumprod", torch.tensor(1.0, dtype=torch.float64))
    scheduler.set_timesteps(steps)
    x, generator = noise, torch.Generator().manual_seed(1)
    for t in scheduler.timesteps.tolist():
        extra = torch.zeros_like(x)
        if eta and t != scheduler.timesteps[-1]:
            extra = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = scheduler.step(denoiser(x, t), t, x, eta=eta, variance_noise=extra).prev_sample
    got = ddim(denoiser, noise, levels, steps, eta, torch.Generator().manual_seed(1))
    torch.testing.assert_close(got, x, rtol=0, atol=1e-10)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_an_oracle_leads_back_to_its_signal(steps: int, eta: float) -> None:
    clean = torch.randn(2, 5, 4, dtype=torch.float64)
    seen: list[tuple[Tensor, int]] = []

    def oracle(x: Tensor, t: int) -> Tensor:
        seen.append((x, t))
        return clean

    levels, noise = cosine_schedule(), torch.randn_like(clean)
    assert torch.equal(ddim(oracle, noise, levels, steps, eta, torch.Generator().manual_seed(0)), clean)
    assert len(seen) == steps
    if not eta:  # on the way, the signal and the one noise are mixed as at that level of training
        start = float(levels[-1])
        kept = (noise - start**0.5 * clean) / (1 - start) ** 0.5
        for x, t in seen:
            torch.testing.assert_close(x, add_noise(clean, kept, levels[t]), rtol=0, atol=1e-10)


def test_ancestral_steps_have_the_spread_of_the_data() -> None:
    """Of data that is normal, the best denoiser is known: with it, samples are normal with that mean and deviation."""
    levels, mean, deviation = cosine_schedule(), 0.5, 0.8

    def best(x: Tensor, t: int) -> Tensor:
        a = float(levels[t])
        gain = a**0.5 * deviation**2 / (a * deviation**2 + 1 - a)
        return mean + gain * (x - a**0.5 * mean)

    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    ways = [ddim(best, noise, levels, 100, eta, torch.Generator().manual_seed(1)) for eta in (0.0, 1.0)]
    for samples in (*ways, arc(best, noise, levels, 100)):
        assert float(samples.mean()) == pytest.approx(mean, abs=0.02)
        assert float(samples.std()) == pytest.approx(deviation, abs=0.04)


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_along_the_arc_unit_normal_data_are_exact(steps: int) -> None:
    """Where DDIM's steps shrink them, as said."""
    levels, noise = cosine_schedule(), torch.randn(50, dtype=torch.float64)
    samples = arc(lambda x, t: float(levels[t]) ** 0.5 * x, noise, levels, steps)
    torch.testing.assert_close(samples, noise, rtol=0, atol=1e-12)
    shrunk = ddim(lambda x, t: float(levels[t]) ** 0.5 * x, noise, levels, steps)
    torch.testing.assert_close(shrunk, noise * math.cos(math.pi / 2 / steps) ** steps, rtol=0.02, atol=1e-3)


def test_the_arc_leads_to_certain_signals_with_many_steps() -> None:
    clean, noise = torch.randn(2, 50, dtype=torch.float64)
    errors = [float((arc(lambda x, t: clean, noise, cosine_schedule(), n) - clean).abs().max()) for n in (10, 100)]
    assert errors[1] < errors[0] / 8
    assert errors[1] < 0.05
