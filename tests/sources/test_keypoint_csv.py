"""Tables of keypoints equal the JSON frames that they were made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError


@pytest.mark.parametrize("clip", ["psychologie", "du_wohn_wo"])
def test_equals_the_json_of_the_same_clip(shared_data: Path, clip: str) -> None:
    folder = shared_data / "openpose_body25_json"
    table = lmm.read(folder / f"csv/{clip}_body25.csv", source_fps=25)
    frames = lmm.read(folder / clip, format="openpose-body25", source_fps=25)
    assert (table.meta["format"], table.skeleton.name, table.space) == ("keypoint-csv", "body_25", "image")
    np.testing.assert_allclose(table.positions, frames.positions, rtol=1e-6)
    np.testing.assert_allclose(table.confidence, frames.confidence, rtol=1e-6)
    with pytest.raises(InputError, match="--source-fps"):
        lmm.read(folder / f"csv/{clip}_body25.csv")


def small(path: Path) -> Path:
    rows = np.random.default_rng(1).uniform(1, 400, (5, 17, 3)).round(2)
    rows[..., 2] = 0.5
    head = ",".join(f"{k}{i}" for i in range(17) for k in "xyc")
    path.write_text(head + "\n" + "\n".join(",".join(map(str, r.ravel())) for r in rows) + "\n")
    return path


def test_missing_cells(tmp_path: Path) -> None:
    path = small(tmp_path / "a.csv")
    lines = path.read_text().splitlines()
    cells = lines[2].split(",")
    cells[0], cells[3], cells[50] = "NA", "", ""
    path.write_text("\r\n".join([*lines[:2], ",".join(cells), *lines[3:]]))
    motion = lmm.read(path, source_fps=25)
    assert motion.skeleton.name == "coco_17"
    assert np.flatnonzero(~motion.observed[1]).tolist() == [0, 1, 16]
    assert motion.observed[[0, 2, 3, 4]].all()


def test_bad_row_is_named(tmp_path: Path) -> None:
    path = small(tmp_path / "a.csv")
    path.write_text(path.read_text() + "1,2,3\n")
    with pytest.raises(InputError, match="line 7 has 3 numbers"):
        lmm.read(path, source_fps=25)


def test_damage(tmp_path: Path, survives_damage: Callable[..., None]) -> None:
    survives_damage(small(tmp_path / "a.csv"), source_fps=25)
    survives_damage(small(tmp_path / "a.csv"), source_fps=25, format="keypoint-csv")
