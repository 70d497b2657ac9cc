"""A model's name → a model: baselines, the models that come with lmm, and folders that `lmm train` wrote."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from lmm.core.errors import LmmError
from lmm.core.registry import architectures
from lmm.models.baselines import RULES, Baseline
from lmm.models.config import CONFIG, Header, NetworkConfig, read_config
from lmm.models.forecaster import Forecaster, ModelInfo
from lmm.pipeline.features import Layout

SHIPPED = Path(__file__).resolve().parents[1] / "weights"


def headers() -> dict[str, Header]:
    """Return what the models that come with this installation say about themselves, by name."""
    return {p.parent.name: read_config(p.parent, Header) for p in sorted(SHIPPED.glob(f"*/{CONFIG}"))}


def shipped() -> dict[str, NetworkConfig]:
    """Return the configs of the forecasters among them."""
    return {n: read_config(SHIPPED / n, NetworkConfig) for n, h in headers().items() if h.block_frames}


def forecasters() -> list[ModelInfo]:
    """Return the forecasters that there are: the baselines, and all that is shipped."""
    known = [Baseline(name, "xyz").info for name in RULES]
    return known + [c.info(c.parameters) for c in shipped().values()]


def speakers() -> list[ModelInfo]:
    """Return the motion-language models that are shipped, those free for all uses first."""
    found = [h.info for h in headers().values() if h.architecture == "motion-language"]
    return sorted(found, key=lambda i: "NC" in i.licence)


def assistants() -> list[ModelInfo]:
    """Return the motion assistants that are shipped, those free for all uses first."""
    found = [h.info for h in headers().values() if h.architecture == "assistant"]
    return sorted(found, key=lambda i: "NC" in i.licence)


def infos() -> list[ModelInfo]:
    """Return all models that there are."""
    return forecasters() + [h.info for h in headers().values() if not h.block_frames]


def describe(name: str) -> ModelInfo:
    """Return what the model called `name` is, without loading it. Raises LmmError if there is none."""
    known = {i.name: i for i in infos()}
    if name in known:
        return known[name]
    if not Path(name).is_dir():
        raise LmmError(_unknown(name, list(known)))
    if (header := read_config(Path(name), Header)).block_frames:
        config = read_config(Path(name), NetworkConfig)
        return config.info(config.parameters)
    return header.info


def find(name: str, architecture: str) -> Path:
    """Return the folder of a model that is no forecaster.

    `name` is a shipped one; its architecture, which names the largest shipped one that is free for commercial use; or
    a folder. Raises LmmError if there is none, or it is of another architecture.
    """
    ours = {n: h for n, h in headers().items() if h.architecture == architecture}
    if name == architecture:
        free = {n: h for n, h in ours.items() if "NC" not in h.licence}
        if not free:
            raise LmmError(
                f"no {name} that comes with lmm is free for all uses. Name one: {', '.join(ours) or 'none'}."
            )
        return SHIPPED / max(free, key=lambda n: free[n].parameters)
    if name in ours:
        return SHIPPED / name
    if not Path(name).is_dir():
        raise LmmError(_unknown(name, [architecture, *ours]))
    found = read_config(Path(name), Header).architecture
    if found != architecture:
        raise LmmError(f"{name}: holds a model of architecture {found}, not {architecture}. Give another folder.")
    return Path(name)


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
        found, config = folder, read_config(folder, NetworkConfig)
    else:
        free = [
            m for m, c in models.items() if c.architecture == name and c.spec.layout == layout and "NC" not in c.licence
        ]
        chosen = name if name in models else max(free, key=lambda m: models[m].parameters, default=None)
        if chosen is None:
            known = [*RULES, *models, *sorted({c.architecture for c in models.values()})]
            raise LmmError(_unknown(name, known, f" for {_kind(layout)}"))
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


def _unknown(name: str, known: list[str], motions: str = "") -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown model {name!r}{motions}.{hint} Known: {', '.join(known)}; or give a model's folder."
