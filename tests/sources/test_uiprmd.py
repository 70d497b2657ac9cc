"""UI-PRMD: the chained kinematics of the Kinect files, gaps of the Vicon files, what file names tell."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError, NotMotionError
from lmm.skeletons import table


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rz Rx Ry, written out."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.deg2rad([x, y, z])), np.sin(np.deg2rad([x, y, z]))
    rz = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    rx = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    ry = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return rz @ rx @ ry


def test_kinect_is_chained_frame_by_frame(shared_data: Path) -> None:
    folder = shared_data / "uiprmd/correct/kinect"
    name = "m07_s03_e02_{}.txt.gz"
    offsets, angles = (
        np.loadtxt(folder / kind / name.format(kind), delimiter=",").reshape(-1, 22, 3)
        for kind in ("positions", "angles")
    )
    m = lmm.read(folder / "positions" / name.format("positions"))
    parents = table("uiprmd_kinect").skeleton.parents
    for t in (0, len(offsets) // 2):
        world: list[np.ndarray] = []
        place: list[np.ndarray] = []
        for j, p in enumerate(parents):
            world.append(rotation(*angles[t, j]) if p < 0 else world[p] @ rotation(*angles[t, j]))
            place.append(offsets[t, j] if p < 0 else place[p] + world[p] @ offsets[t, j])
        np.testing.assert_allclose(m.positions[t], np.array(place) / 100, atol=1e-5)
    assert m.fps == 30
    assert m.meta["subject"] == "uiprmd_s03"
    assert m.meta["labels"] == {"movement": "07", "repetition": "02", "correct": True}


def test_incorrect_repetitions_are_told(shared_data: Path) -> None:
    m = lmm.read(next((shared_data / "uiprmd/incorrect/vicon/positions").glob("m01_s01_e01*")))
    assert m.meta["labels"]["correct"] is False
    assert m.fps == 100


def test_zeros_of_vicon_are_gaps(shared_data: Path) -> None:
    path = next((shared_data / "uiprmd/correct/vicon/positions").glob("m02_s05_e01*"))
    m = lmm.read(path)
    assert np.isnan(m.joint("STRN")).all()  # missing in the whole file
    raw = np.loadtxt(path, delimiter=",").reshape(-1, 39, 3)
    assert (~m.observed).sum() == (raw == 0).all(axis=-1).sum()


def test_every_recording_stands_upright_with_left_on_the_left(shared_data: Path) -> None:
    from lmm.pipeline.quality import quality

    for device in ("vicon", "kinect"):
        for path in sorted((shared_data / f"uiprmd/correct/{device}/positions").glob("m*_e01_*"))[::7]:
            figures = quality(lmm.clean(lmm.read(path)))
            assert figures["warnings"] == [], path.name
            assert figures["left_is_left"] > 0.75, path.name


def test_angles_alone_and_a_missing_partner_are_told(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(NotMotionError, match="angles without positions"):
        lmm.read(next((shared_data / "uiprmd/correct/vicon/angles").iterdir()))
    lonely = tmp_path / "m01_s01_e01_positions.txt"
    lonely.write_text("\n".join(",".join(["1.5"] * 66) for _ in range(3)))
    with pytest.raises(InputError, match="angles file is not at hand"):
        lmm.read(lonely)
    (tmp_path / "m01_s01_e01_angles.txt").write_text(",".join(["1.5"] * 66) + "\n")
    with pytest.raises(InputError, match="3 frames, its angles file 1"):
        lmm.read(lonely)
    broken = tmp_path / "m01_s02_e01_positions.txt.gz"
    broken.write_bytes(gzip.compress((",".join(["1"] * 117) + "\n" + ",".join(["1"] * 116)).encode()))
    with pytest.raises(InputError, match="line 2 has 116 numbers"):
        lmm.read(broken)
