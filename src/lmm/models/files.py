"""A model's folder: config.json, weights in shards and a card; written and read alike for every kind of model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import load_torch_model, save_torch_state_dict
from torch import nn

from lmm.core.errors import InputError, one_line
from lmm.models.config import CONFIG

SHARD = "15MB"


def save_model(module: nn.Module, config: Any, folder: Path, title: str) -> None:
    """Write a model's config.json, with the number of its parameters, its weights as safetensors (in shards under
    16 MiB) and, where there is none, a README.md.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().cpu().contiguous() for k, v in module.state_dict().items()}
    save_torch_state_dict(state, folder, max_shard_size=SHARD)
    config = config.model_copy(update={"parameters": sum(p.numel() for p in module.parameters())})
    (folder / CONFIG).write_text(config.model_dump_json(indent=1), "utf-8")
    card = folder / "README.md"
    if not card.exists():
        card.write_text(f"# {title}\n\nTrained on {config.trained_on}. Licence: {config.licence}.\n", "utf-8")


def load_weights(module: nn.Module, folder: Path) -> None:
    """Read the weights of a model's folder into it. Raises InputError if they are missing, damaged or do not fit."""
    try:
        load_torch_model(module, folder, strict=True, safe=True)
    except Exception as e:  # safetensors, torch and hub each have their own errors for files that do not fit
        raise InputError(
            folder, f"holds no weights that fit its {CONFIG} ({one_line(e, 160)})", "Copy it again"
        ) from None
