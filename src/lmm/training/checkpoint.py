"""Checkpoints: everything that a run is, in one safetensors file that appears whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lmm.core.errors import InputError, one_line
from lmm.core.writing import write_bytes

KEPT = 2


def save_checkpoint(
    folder: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]
) -> Path:
    """Write ``checkpoint-STEP.safetensors`` and remove all but the last KEPT. Raises InputError if that fails."""
    frozen = _frozen(network)
    tensors = {f"network.{k}": v for k, v in network.state_dict().items() if k not in frozen}
    tensors |= {f"average.{k}": v for k, v in average.state_dict().items() if k not in frozen}
    for i, slot in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in slot.items()}
    whole = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    path = folder / f"checkpoint-{state['step']:08d}.safetensors"
    write_bytes(path, save(whole, {"state": json.dumps(state)}))
    for old in _found(folder)[:-KEPT]:
        old.unlink()
    return path


def load_checkpoint(
    folder: Path, network: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any] | None:
    """Load the newest whole checkpoint into what is given and return its state; None if there is none."""
    frozen = _frozen(network)
    for path in reversed(_found(folder)):
        try:
            with safe_open(path, "pt") as f:
                tensors = {k: f.get_tensor(k) for k in f.keys()}  # noqa: SIM118
                state: dict[str, Any] = json.loads(f.metadata()["state"])
            for name, module in (("network.", network), ("average.", average)):
                given = _under(name, tensors)
                if given.keys() != module.state_dict().keys() - frozen:
                    raise ValueError("its weights have other names")
                module.load_state_dict(given, strict=False)
            slots: dict[int, dict[str, Tensor]] = {}
            for name, value in _under("optimizer.", tensors).items():
                index, key = name.split(".", 1)
                slots.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({**optimizer.state_dict(), "state": slots})
        except (SafetensorError, RuntimeError, ValueError, KeyError, TypeError, OSError) as e:
            raise InputError(
                path, f"is no checkpoint of this run ({one_line(e, 120)})", "Delete it, or give another --out"
            ) from None
        return state
    return None


def _frozen(network: nn.Module) -> set[str]:
    """Return the names of the weights that are not trained: a run begins with them, they need not be kept."""
    return {name for name, p in network.named_parameters(remove_duplicate=False) if not p.requires_grad}


def _found(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*.safetensors"))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
