"""NTU RGB+D skeleton files, written here from the specification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError, LmmError


def write(path: Path, frames: list[dict[str, np.ndarray]], state: int = 2) -> Path:
    """Write bodies (25, 3) by id for each frame in the layout of the data set's MATLAB reader."""
    out = [str(len(frames))]
    for bodies in frames:
        out.append(str(len(bodies)))
        for body, joints in bodies.items():
            out += [f"{body} 0 1 1 1 1 0 0.019 -0.223 2", "25"]
            out += [f"{x} {y} {z} 277.4 191.8 1036.2 519.1 -0.2 0.05 0.98 0.01 {state}" for x, y, z in joints]
    path.write_text("\n".join(out) + "\n")
    return path


def people(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (frames, 25, 3)).round(5)


def test_two_bodies(tmp_path: Path) -> None:
    a, b = people(6, 1), people(6, 2)
    a[3, 7] = 0
    frames = [{"72057594037931101": a[t], **({"72057594037931102": b[t]} if t in (2, 4) else {})} for t in range(6)]
    one, two = lmm.read_people(write(tmp_path / "S001C002P003R002A013.skeleton", [{}, *frames]))
    assert (one.fps, one.space, one.skeleton.table, one.meta["format"]) == (30, "world", "kinect_v2", "ntu-rgbd")
    assert one.num_frames == 6
    assert one.start_s == pytest.approx(1 / 30)
    np.testing.assert_allclose(one.positions[0], a[0] * (-1, 1, -1), rtol=1e-6)
    assert np.isnan(one.positions[3, 7]).all()
    assert two.num_frames == 3
    assert np.isnan(two.positions[1]).all()
    assert two.meta["person"] == "72057594037931102"
    assert (one.meta["subject"], one.meta["labels"]["action"], one.meta["camera"]) == ("ntu_003", 13, "2")


def test_states(tmp_path: Path) -> None:
    frames = [{"1": people(1, 1)[0]}] * 3
    assert set(lmm.read(write(tmp_path / "a.skeleton", frames, 1)).confidence.ravel().tolist()) == {0.5}
    with pytest.raises(LmmError, match="no observed joint"):
        lmm.read(write(tmp_path / "a.skeleton", frames, 0))


def test_cut_file_names_its_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "a.skeleton", [{"1": p} for p in people(4, 1)])
    path.write_text("\n".join(path.read_text().splitlines()[:60]))
    with pytest.raises(InputError, match="ends before the frames"):
        lmm.read(path)
    write(path, [{}, {}])
    with pytest.raises(LmmError):
        lmm.read(path)


def test_damage(tmp_path: Path, survives_damage: Callable[..., None]) -> None:
    path = write(tmp_path / "a.skeleton", [{"1": p} for p in people(5, 1)])
    survives_damage(path)
    survives_damage(path, format="ntu-rgbd")
