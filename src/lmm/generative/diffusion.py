"""Denoising diffusion with prediction of the clean signal, and two ways of few steps back: DDIM and the arc.

J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020 (equation 4); A. Nichol and P. Dhariwal, "Improved
Denoising Diffusion Probabilistic Models", 2021 (equation 17, the cosine schedule); J. Song et al., "Denoising Diffusion
Implicit Models", 2021 (equations 12 and 16). Equal to diffusers' DDIMScheduler (tested). C. Lu and Y. Song,
"Simplifying, Stabilizing and Scaling Continuous-Time Consistency Models", 2024 (section 3, the arc, there TrigFlow).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

TRAIN_STEPS = 1000
MOST_BETA = 0.999


def cosine_schedule(steps: int = TRAIN_STEPS) -> Tensor:
    """Return ᾱ (steps,), float64: the share of the signal's variance that is left at each step."""

    def left(t: float) -> float:
        return math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - left((i + 1) / steps) / left(i / steps), MOST_BETA) for i in range(steps)]
    return torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), dim=0)


def add_noise(clean: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """Return √ᾱ·clean + √(1−ᾱ)·noise; `alpha_bar` broadcasts."""
    return alpha_bar.sqrt() * clean + (1 - alpha_bar).sqrt() * noise


def timesteps(steps: int, train_steps: int = TRAIN_STEPS) -> list[int]:
    """Return `steps` steps from the last, which is all noise, down, evenly (diffusers' ``trailing`` spacing)."""
    return [round(train_steps - i * train_steps / steps) - 1 for i in range(steps)]


def ddim(
    denoise: Callable[[Tensor, int], Tensor],
    noise: Tensor,
    alpha_bars: Tensor,
    steps: int,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return a sample: `noise` led back to a clean signal in `steps` calls of `denoise` (x_t, t) → x_0.

    `eta` 0 is deterministic, 1 is ancestral sampling.
    """
    x = noise
    times = timesteps(steps, len(alpha_bars))
    for t, following in zip(times, [*times[1:], -1], strict=True):
        clean = denoise(x, t)
        if following < 0:
            return clean
        now, then = float(alpha_bars[t]), float(alpha_bars[following])
        error = (x - math.sqrt(now) * clean) / math.sqrt(1 - now)
        sigma = eta * math.sqrt((1 - then) / (1 - now) * (1 - now / then))
        x = math.sqrt(then) * clean + math.sqrt(1 - then - sigma**2) * error
        if sigma:
            x = x + sigma * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return x


def arc(denoise: Callable[[Tensor, int], Tensor], noise: Tensor, alpha_bars: Tensor, steps: int) -> Tensor:
    """Return a sample, as `ddim` does, by Euler's method on the angle between signal and noise.

    With cos²θ = ᾱ, the noisy x = cos θ · clean + sin θ · noise moves by v = cos θ · noise − sin θ · clean. Of signals
    that are normal, and correlated as the noise is, v is expected to be 0 everywhere: any number of steps is exact,
    while DDIM's n steps shrink the deviation to cosⁿ(π / 2n). Signals known for certain, on which DDIM is exact, take
    more steps.
    """
    x, times = noise, timesteps(steps, len(alpha_bars))
    for t, following in zip(times, [*times[1:], -1], strict=True):
        left = float(alpha_bars[t])
        velocity = (math.sqrt(left) * x - denoise(x, t)) / math.sqrt(1 - left)
        then = math.acos(math.sqrt(float(alpha_bars[following]))) if following >= 0 else 0.0
        x = x - (math.acos(math.sqrt(left)) - then) * velocity
    return x
