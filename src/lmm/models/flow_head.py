"""The head that makes a latent of a hidden state: a small network that says how noise flows towards the latent.

An MLP of residual blocks, each told the hidden state and the time by an adaptive layer norm that begins as the identity
(W. Peebles and S. Xie, "Scalable Diffusion Models with Transformers", 2023, adaLN-Zero), as in T. Li et al.,
"Autoregressive Image Generation without Vector Quantization", 2024, but by rectified flow (`lmm.generative.flow`).
What tells the blocks, for all times of a solver, is one matrix product: a step then costs the blocks alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.generative.flow import Solver, between, guide, solve, target, times
from lmm.models.one_token import Linear, fused

FREQUENCIES = 128


def time_features(time: Tensor) -> Tensor:
    """Return cosines and sines (..., 256) of flow time (...) in [0, 1] at 0.1 to 1000 radians a unit."""
    rate = torch.logspace(0, -4, FREQUENCIES, dtype=torch.float64, device=time.device) * 1000
    angle = time[..., None].double() * rate
    return torch.cat([angle.cos(), angle.sin()], dim=-1).float()


class Block(nn.Module):
    """The two layers of a residual block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)


class FlowHead(nn.Module):
    """Velocities of latents (..., features), given hidden states (..., width)."""

    def __init__(self, width: int, features: int, blocks: int, inner: int) -> None:
        super().__init__()
        self.features, self.inner = features, inner
        self.state = nn.Linear(width, inner)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, inner), nn.SiLU(), nn.Linear(inner, inner))
        self.modulation = nn.Linear(inner, (3 * blocks + 2) * inner)
        self.enter = nn.Linear(features, inner)
        self.blocks = nn.ModuleList(Block(inner) for _ in range(blocks))
        self.leave = nn.Linear(inner, features)
        for layer in (self.modulation, self.leave):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, time: Tensor, state: Tensor) -> Tensor:
        """Return the velocity at latents x (N, features), times (N,) and hidden states (N, width)."""
        told = F.silu(self.state(state) + self.time(time_features(time).to(state.dtype)))
        return _velocity(x, self.modulation(told), self.enter, [(b.inner, b.outer) for b in self.blocks], self.leave)

    def loss(self, latent: Tensor, state: Tensor, draws: int) -> tuple[Tensor, Tensor]:
        """Return the sum of squared errors of velocity, and how many numbers there are.

        For each latent (N, features) and the hidden state (N, width) before it, `draws` times and noises are drawn
        (torch's global generator).
        """
        latent, state = latent.repeat_interleave(draws, 0), state.repeat_interleave(draws, 0)
        noise = torch.randn_like(latent)
        time = torch.rand(len(latent), device=latent.device)
        found = self(between(noise, latent, time[:, None].to(latent.dtype)), time, state)
        return (found.float() - target(noise, latent).float()).pow(2).sum(), torch.tensor(
            latent.numel(), device=latent.device
        )


def _velocity(x: Tensor, told: Tensor, enter: Linear, blocks: Iterable[tuple[Linear, Linear]], leave: Linear) -> Tensor:
    """Return the velocity at x (N, features), `told` the modulations (N, (3 · blocks + 2) · inner)."""
    h = enter(x)
    size = h.shape[-1:]
    parts = iter(told.unflatten(-1, (-1, *size)).unbind(-2))
    for inner, outer in blocks:
        shift, scale, gate = next(parts), next(parts), next(parts)
        y = outer(F.silu(inner(torch.addcmul(shift, F.layer_norm(h, size), 1 + scale))))
        h = torch.addcmul(h, gate, y)
    shift, scale = next(parts), next(parts)
    return leave(torch.addcmul(shift, F.layer_norm(h, size), 1 + scale))


class Sampler:
    """A flow head with its layers made ready for few rows, and its times embedded.

    `__call__` leads noise (B, features), float32, to latents, given hidden states (B, width); with `guidance` other
    than 1 the states are (2 B, width), the unconditional behind the conditional.
    """

    def __init__(self, head: FlowHead, steps: int, solver: Solver) -> None:
        self.steps, self.solver = steps, solver
        self._state, self._modulation = fused(head.state), fused(head.modulation)
        self._enter, self._leave = fused(head.enter), fused(head.leave)
        self._blocks = [(fused(b.inner), fused(b.outer)) for b in head.blocks]
        at = times(steps, solver)
        self._index = {t: i for i, t in enumerate(at)}
        like = head.leave.weight
        self._times = head.time(time_features(torch.tensor(at, device=like.device, dtype=torch.float64)).to(like.dtype))

    def __call__(self, noise: Tensor, state: Tensor, guidance: float = 1.0) -> Tensor:
        told = F.silu(self._state(state) + self._times[:, None])  # (times, rows, inner)
        modulations = self._modulation(told.flatten(0, 1)).unflatten(0, told.shape[:2])

        def velocity(x: Tensor, t: float) -> Tensor:
            if guidance != 1:
                x = torch.cat([x, x])
            v = _velocity(x.to(told.dtype), modulations[self._index[t]], self._enter, self._blocks, self._leave).float()
            if guidance == 1:
                return v
            conditional, unconditional = v.chunk(2)
            return guide(conditional, unconditional, guidance)

        return solve(velocity, noise, self.steps, self.solver)
