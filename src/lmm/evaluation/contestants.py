"""The models of a test: by name, folder or label, each of one or more seeds; and how they are asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError
from lmm.evaluation.cases import FPS, Batch
from lmm.evaluation.pinned import restore, standardise
from lmm.models.forecaster import Forecaster
from lmm.models.loading import load
from lmm.pipeline.features import Layout

Array = NDArray[Any]
SEED = 20261
SAMPLED = "~sampled"


@dataclass(frozen=True, eq=False)
class Contestant:
    """A model under one name; its `seeds` are trained alike from other random numbers, and are scored as a mean."""

    label: str
    seeds: Sequence[Forecaster]

    @property
    def kind(self) -> str:
        return self.seeds[0].info.kind

    @property
    def record(self) -> dict[str, Any]:
        """What the results tell of it."""
        info = self.seeds[0].info
        return {
            "parameters": info.parameters,
            "kind": info.kind,
            "layout": self.seeds[0].features.layout,
            "licence": info.licence,
            "trained_on": info.trained_on,
            "seeds": len(self.seeds),
        }


def contestants(models: str, layout: Layout, device: str = "cpu") -> list[Contestant]:
    """Return the models of a list such as ``zero-velocity,flat=runs/a+runs/b,diffusion-small-xyc``.

    A name is what `lmm.models.loading.load` knows, or a model's folder; ``label=`` gives the name in the results, and
    ``+`` joins a model's seeds. An autoregressive network is scored by the rollout of its expected frames, with
    ``~sampled`` behind its name by sampled rollouts. Raises LmmError on unknown models, another layout or rate, or a
    label given twice.
    """
    out: list[Contestant] = []
    for item in (part.strip() for part in models.split(",")):
        label, _, names = item.rpartition("=")
        paths = [n.strip() for n in names.split("+")]
        if not all(paths):
            raise LmmError(f"--models: {item!r} names no model. Write NAME, LABEL=FOLDER or LABEL=FOLDER+FOLDER.")
        label = label or (Path(paths[0]).name if Path(paths[0]).is_dir() else paths[0])
        sampled = paths[0].endswith(SAMPLED)
        if label in [c.label for c in out]:
            raise LmmError(f"--models: {label!r} comes twice. Give one of them a label: LABEL=FOLDER.")
        seeds = [_placed(load(p.removesuffix(SAMPLED), layout), device) for p in paths]
        for seed in seeds:
            decoder = getattr(seed, "decoder", None)
            if hasattr(decoder, "sampled"):
                decoder.sampled = sampled  # type: ignore[union-attr]
            elif sampled:
                raise LmmError(f"{label}: {SAMPLED} is for autoregressive networks, and {seed.info.kind} is none.")
        slow = [s for s in seeds if s.features.fps != FPS]
        if slow:
            raise LmmError(f"{label} is a model of {slow[0].features.fps:g} FPS, and tests are made at {FPS:g}.")
        out.append(Contestant(label, seeds))
    return out


def _placed(model: Any, device: str) -> Forecaster:
    placed: Forecaster = model.to(device) if hasattr(model, "to") else model
    return placed


def draw(model: Forecaster, batch: Batch, horizon: int, samples: int, key: Sequence[int]) -> tuple[Array, float]:
    """Return forecasts (B, S, H, 75) in body lengths, and the seconds they took; `key` seeds their random numbers."""
    x = standardise(batch.context, batch.observed, model.features, batch.on_hips)
    generator = np.random.default_rng((SEED, *key))
    start = time.perf_counter()
    out = model.forecast(x, batch.valid, batch.observed, horizon, samples, generator)
    seconds = time.perf_counter() - start
    if not np.isfinite(out).all():
        raise LmmError(f"{model.info.name} forecasts numbers that are not finite. Train it again.")
    return restore(out, model.features, batch.on_hips), seconds


def is_stochastic(model: Forecaster, batch: Batch) -> bool:
    """Return whether two samples of a forecast differ."""
    x = standardise(batch.context[:1], batch.observed[:1], model.features, batch.on_hips[:1])
    two = model.forecast(x, batch.valid[:1], batch.observed[:1], 2, 2, np.random.default_rng(SEED))
    return not np.allclose(two[0, 0], two[0, 1], atol=1e-5)
