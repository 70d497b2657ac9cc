"""A small store of walkers by formula, and a forecaster that says anything it is told to."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.datasets.ingest import ingest
from lmm.datasets.synthetic import gait
from lmm.models.forecaster import ModelInfo
from lmm.pipeline.features import FeatureSpec


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six walks of three people, of 3 to 18 s, five of them in split test; a walk in train."""
    folder = tmp_path_factory.mktemp("walks")
    rows = []
    for i, seconds in enumerate((18.0, 5.0, 6.0, 5.5, 3.0, 6.0)):
        name = f"walk{i}.lmm.npz"
        gait(seconds, 30.0, 1.6 + 0.05 * i, seed=i, turn_deg_per_s=40.0 + 5 * i).save(folder / name)
        rows.append({"file_name": name, "subject": f"s{i % 3}", "split": "train" if i == 5 else "test"})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path_factory.mktemp("store") / "walks"
    ingest(folder, out, workers=1)
    return out


class Speaker:
    """Says `speech(context (B, T, 75), horizon, samples, rng)`, in the units of its spec."""

    context_frames, block_frames, fewest_draws = 120, 30, 1

    def __init__(self, spec: FeatureSpec, speech: Callable[..., Any], kind: str = "flat") -> None:
        self.features, self._speech = spec, speech
        self.info = ModelInfo("speaker", kind, "none", 7, spec.layout, "Apache-2.0", "nothing")

    def forecast(
        self, context: Any, valid: Any, observed: Any, horizon_frames: int, samples: int = 1, generator: Any = None
    ) -> Any:
        return self._speech(np.asarray(context), horizon_frames, samples, generator)


@pytest.fixture
def speaker() -> type[Speaker]:
    return Speaker
