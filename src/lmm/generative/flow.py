"""Rectified flow: a straight way from noise to signal, its velocity, and solvers that walk it.

X. Liu et al., "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", 2023 (equations 1
and 2); Y. Lipman et al., "Flow Matching for Generative Modeling", 2023. Time runs from 0, all noise, to 1, all signal.
J. Ho and T. Salimans, "Classifier-Free Diffusion Guidance", 2022 (equation 6). Euler's steps are those of diffusers'
FlowMatchEulerDiscreteScheduler, whose σ is 1 − t (tested).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from lmm.core.errors import LmmError

Solver = Literal["euler", "midpoint"]
Velocity = Callable[[Tensor, float], Tensor]  # (x_t, t) → dx/dt
MOST_STEPS = 1000


def between(noise: Tensor, signal: Tensor, time: Tensor) -> Tensor:
    """Return x_t = (1 − t) · noise + t · signal; `time` broadcasts."""
    return noise + time * (signal - noise)


def target(noise: Tensor, signal: Tensor) -> Tensor:
    """Return the velocity from noise to signal, the same at all times."""
    return signal - noise


def times(steps: int, solver: Solver = "euler") -> list[float]:
    """Return the times at which `solve` asks for velocities, in order: all are known before the first.

    Raises LmmError if there is no such solver or number of steps.
    """
    if not 1 <= steps <= MOST_STEPS:
        raise LmmError(f"{steps} steps of flow were asked for. Give 1 to {MOST_STEPS}.")
    if solver == "euler":
        return [i / steps for i in range(steps)]
    if solver == "midpoint":
        return [i / (2 * steps) for i in range(2 * steps)]
    raise LmmError(f"unknown solver {solver!r} of flow. Give euler or midpoint.")


def solve(velocity: Velocity, noise: Tensor, steps: int, solver: Solver = "euler") -> Tensor:
    """Return `noise` led along `velocity` from time 0 to 1 in equal steps.

    ``euler`` asks once a step, and its error is of first order; ``midpoint`` twice, and of second order.
    """
    x, at = noise, times(steps, solver)
    if solver == "euler":
        for t in at:
            x = x + velocity(x, t) / steps
        return x
    for t, middle in zip(at[::2], at[1::2], strict=True):
        half = x + velocity(x, t) / (2 * steps)
        x = x + velocity(half, middle) / steps
    return x


def guide(conditional: Tensor, unconditional: Tensor, guidance: float) -> Tensor:
    """Return the velocity carried beyond the conditional one: `guidance` 1 is the conditional, 0 the unconditional."""
    return unconditional + guidance * (conditional - unconditional)
