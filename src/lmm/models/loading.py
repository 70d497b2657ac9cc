"""A model's name → a forecaster: baselines, the models that come with lmm, and folders that `lmm train` wrote."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from lmm.core.errors import LmmError
from lmm.core.registry import architectures
from lmm.models.baselines import RULES, Baseline
from lmm.models.config import CONFIG, NetworkConfig, read_config
from lmm.models.forecaster import Forecaster, ModelInfo
from lmm.pipeline.features import Layout

SHIPPED = Path(__file__).resolve().parents[1] / "weights"


def shipped() -> dict[str, NetworkConfig]:
    """Return the configs of the models that come with this installation, by name."""
    return {p.parent.name: read_config(p.parent) for p in sorted(SHIPPED.glob(f"*/{CONFIG}"))}


def infos() -> list[ModelInfo]:
    """Return what there is: the baselines, and all that is shipped."""
    known = [Baseline(name, "xyz").info for name in RULES]
    return known + [c.info(c.parameters) for c in shipped().values()]


def describe(name: str) -> ModelInfo:
    """Return what the model called `name` is, without loading it. Raises LmmError if there is none."""
    if name in RULES:
        return Baseline(name, "xyz").info
    folder, models = Path(name), shipped()
    if name not in models and not folder.is_dir():
        raise LmmError(_unknown(name, models))
    config = models[name] if name in models else read_config(folder)
    return config.info(config.parameters)


def load(name: str, layout: Layout) -> Forecaster:
    """Return the model called `name` for motions of `layout`.

    `name` is a baseline; a shipped model (``diffusion-small-xyc``); an architecture, which names the largest shipped
    one of that layout that is free for commercial use; or a folder that holds one. Raises LmmError, in one line, if
    there is none, it is for another layout, or torch is missing.
    """
    if name in RULES:
        return Baseline(name, layout)
    folder, models = Path(name), shipped()
    if name not in models and folder.is_dir():
        found, config = folder, read_config(folder)
    else:
        free = [
            m for m, c in models.items() if c.architecture == name and c.spec.layout == layout and "NC" not in c.licence
        ]
        chosen = name if name in models else max(free, key=lambda m: models[m].parameters, default=None)
        if chosen is None:
            raise LmmError(_unknown(name, models, f" for {_kind(layout)}"))
        found, config = SHIPPED / chosen, models[chosen]
    if config.spec.layout != layout:
        raise LmmError(
            f"{name} is a model of layout {config.spec.layout} ({_kind(config.spec.layout)}), and the motion is of "
            f"{_kind(layout)}. Choose a model of layout {layout}."
        )
    network: Forecaster = architecture(config.architecture).from_pretrained(str(found))
    return network


def architecture(name: str) -> Any:
    """Return the class of a network. Raises LmmError if the name is unknown or torch is missing."""
    try:
        return architectures.get(name)
    except ModuleNotFoundError as e:
        raise LmmError(
            f"learned models need the package {e.name}: pip install 'large-movement-model[models]', or choose "
            f"one of {', '.join(RULES)}."
        ) from None


def _kind(layout: Layout) -> str:
    return "2D motions in pixels" if layout == "xyc" else "3D motions in metres"


def _unknown(name: str, models: dict[str, NetworkConfig], motions: str = "") -> str:
    known = [*RULES, *models, *sorted({c.architecture for c in models.values()})]
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown model {name!r}{motions}.{hint} Known: {', '.join(known)}; or give a model's folder."
