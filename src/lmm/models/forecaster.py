"""The interface of every forecaster, learned or not (DESIGN §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from lmm.pipeline.features import FeatureSpec


@dataclass(frozen=True)
class ModelInfo:
    """What `lmm models info` tells. `layout` is xyc, xyz or ``any``; `parameters` counts trained numbers."""

    name: str
    kind: str
    size: str
    parameters: int
    layout: str
    licence: str
    trained_on: str


class Forecaster(Protocol):
    """A model of what comes after a context.

    info            what it is
    features        what its 75 numbers mean, and how they are standardised
    context_frames  the most frames of context that it reads; shorter ones are legal
    block_frames    the most frames it forecasts at once; longer horizons are rolled out block by block
    fewest_draws    how many samples are draws: 1, or 2 where a single one is the expected forecast
    """

    info: ModelInfo
    features: FeatureSpec
    context_frames: int
    block_frames: int
    fewest_draws: int

    def forecast(
        self, context: Any, valid: Any, observed: Any, horizon_frames: int, samples: int = 1, generator: Any = None
    ) -> Any:
        """Return (B, samples, horizon_frames, 75) after `context` (B, T, 75), both standardised by `features`.

        `valid` (B, T) is False for padding on the left, `observed` (B, T, 25) for missing joints. NumPy arrays give a
        NumPy array, torch tensors a tensor on the same device. `generator` (NumPy's or torch's) draws the samples.
        """
        ...
