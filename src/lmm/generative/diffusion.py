"""Denoising diffusion with prediction of the clean signal, and DDIM's few steps back.

J. Ho et al., "Denoising Diffusion Probabilistic Models", 2020 (equation 4); A. Nichol and P. Dhariwal, "Improved
Denoising Diffusion Probabilistic Models", 2021 (equation 17, the cosine schedule); J. Song et al., "Denoising Diffusion
Implicit Models", 2021 (equations 12 and 16). Equal to diffusers' DDIMScheduler (tested).
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
