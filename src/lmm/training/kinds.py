"""What can be trained: each kind of model says what its settings are and how a run of it is prepared.

A run is one YAML file, checked on reading, every field settable from the command line. A module of this folder
registers its kind under the model's name (``model:`` in the file); the loop knows none of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from torch import nn

from lmm.core.errors import InputError, LmmError, one_line
from lmm.core.registry import Registry
from lmm.training.config import RunConfig

MAX_BYTES = 1 << 20


@dataclass(frozen=True, eq=False)
class Run:
    """What the loop trains, and on what.

    network  a module with ``loss(batch, progress) → (sum, count)`` and ``validation(batch) → (sum, count)``, whose
             random numbers come from torch's global generator; `progress` runs from 0 to 1. If it has ``told``, the
             parts of the last loss by name, they are logged: the first process's
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


def read_train_config(path: str | Path, changes: list[str] | None = None) -> RunConfig:
    """Return the config in a YAML file, with `changes` such as ``lr=1e-4`` or ``augmentation.mirror=0``.

    Raises InputError that names the field that does not hold, LmmError if the model is unknown.
    """
    source = Path(path)
    try:
        with source.open("rb") as f:
            data = f.read(MAX_BYTES + 1)  # not what stat says: a device may have no end
        if len(data) > MAX_BYTES:
            raise InputError(source, "is too large for a config", "Give a YAML file of settings")
        values = yaml.safe_load(data.decode())
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as e:
        raise InputError(source, f"cannot be read ({one_line(e, 160)})", "Give a YAML file of settings") from None
    if not isinstance(values, dict):
        raise InputError(source, "is not a list of settings (name: value)", "See configs/ for examples")
    for change in changes or []:
        _set(values, change)
    settings = kind(str(values.get("model"))).settings
    try:
        return settings.model_validate(values)
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(source, f"{field}: {first['msg']}", "docs/training.md lists the settings") from None


def _set(values: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    if not equals or not name:
        raise LmmError(f"--set {change}: expected name=value, such as lr=1e-4.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise LmmError(f"--set {change}: the value is not YAML.") from None
    if isinstance(value, str):  # YAML 1.1 takes 1e-4 for a word
        with contextlib.suppress(ValueError):
            value = float(value)
    at: Any = values
    *path, last = name.split(".")
    for part in path:
        at = (
            at[int(part)]
            if isinstance(at, list) and part.isdigit() and int(part) < len(at)
            else _child(at, part, change)
        )
    if isinstance(at, list) and last.isdigit() and int(last) < len(at):
        at[int(last)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        raise LmmError(f"--set {change}: there is no such setting.")


def _child(at: Any, part: str, change: str) -> Any:
    if not isinstance(at, dict):
        raise LmmError(f"--set {change}: there is no such setting.")
    if not isinstance(at.get(part), dict | list):
        at[part] = {}
    return at[part]
