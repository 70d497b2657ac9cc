"""A small store of walks, by eight persons, and a run that takes a second or two."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lmm.datasets.ingest import ingest
from lmm.datasets.store import split_of
from lmm.datasets.synthetic import gait


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose much where other tests run beside them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with clips in train, val and test."""
    folder = tmp_path_factory.mktemp("walks")
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    i = 0
    while min(len(names["train"]) // 4, len(names["val"]) // 2, len(names["test"]) // 2) < 1:
        side = names[split_of(f"p{i}")]
        if len(side) < 4:
            side.append(f"p{i}")
        i += 1
    for seed, name in enumerate(n for side in names.values() for n in side):
        walk = gait(seconds=5.0, fps=30.0, seed=seed)
        walk.replace(meta={**walk.meta, "subject": name, "licence": "CC0"}).save(folder / f"{name}.lmm.npz")
    ingest(folder, folder.parent / f"{folder.name}_store", workers=1)
    return folder.parent / f"{folder.name}_store"


@pytest.fixture
def settings(walks: Path) -> dict[str, Any]:
    return {
        "model": "flat",
        "size": "tiny",
        "layout": "xyc",
        "data": [{"store": str(walks)}],
        "epochs": 2,
        "epoch_windows": 24,
        "batch": 8,
        "warmup_steps": 2,
        "val_windows": 8,
        "statistics_windows": 24,
        "checkpoint_steps": 1,
    }


@pytest.fixture
def config_file(settings: dict[str, Any], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path
