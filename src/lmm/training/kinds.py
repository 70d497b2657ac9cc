"""What can be trained: each kind of model says what its settings are and how a run of it is prepared.

A module of this folder registers its kind under the model's name (``model:`` in a config); the loop knows none of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from lmm.core.errors import LmmError
from lmm.core.registry import Registry
from lmm.training.config import RunConfig


@dataclass(frozen=True, eq=False)
class Run:
    """What the loop trains, and on what.

    network  a module with ``loss(batch, progress) → (sum, count)`` and ``validation(batch) → (sum, count)``, whose
             random numbers come from torch's global generator; `progress` runs from 0 to 1
    batch    (step, part) → the windows of a step, or of a process's share `part` of them: a function of the two alone
    place    what `batch` returns → what the network takes, on its device
    val      batches, placed, by whose loss the weights are chosen
    save     (averaged network, folder, state) → its files: weights, config, card
    groups   optimizer's parameter groups, each with `params` and a `scale` of the learning rate; default: all that
             require gradients
    """

    network: nn.Module
    batch: Callable[[int, slice], Any]
    place: Callable[[Any], Any]
    val: list[Any]
    save: Callable[[Any, Path, dict[str, Any]], None]
    groups: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """`settings` validates a config; `prepare` (config, device) makes its run, with weights drawn from its seed."""

    settings: type[RunConfig]
    prepare: Callable[[Any, Any], Run]


kinds: Registry[Kind] = Registry("model", "lmm.training")


def kind(name: str) -> Kind:
    """Return what trains the model called `name`. Raises LmmError if there is none, or a package is missing."""
    try:
        return kinds.get(name)
    except ModuleNotFoundError as e:
        raise LmmError(
            f"training needs the package {e.name}: pip install 'large-movement-model[models,language]'."
        ) from None
