"""Kinect V2 logs: the uneven clock, trust, several bodies, and left is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError
from lmm.skeletons import table

JOINTS = table("kinect_v2").joints


def line(frame: int, body: int, ms: int, rows: np.ndarray, states: list[str] | None = None) -> str:
    states = states or ["Tracked"] * 25
    groups = [f"({j},{s},{x},{y},{z},1.5,2.5)" for j, s, (x, y, z) in zip(JOINTS, states, rows, strict=True)]
    return f"{frame},{body},{ms}," + ",".join(groups)


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("Version0.1\n" + "\n".join(lines) + "\n")
    return path


def test_real_file(shared_data: Path) -> None:
    path = shared_data / "irds_kinect_v2/raw_txt/215_18_6_4_1_stand.txt.gz"
    motion = lmm.read(path)
    assert (motion.meta["format"], motion.space, motion.skeleton.table) == ("kinect-v2", "world", "kinect_v2")
    assert motion.meta["subject"] == "irds_215"
    assert motion.meta["labels"]["gesture_name"] == "shoulder forward elevation"
    assert (motion.meta["labels"]["correct"], motion.meta["labels"]["repetition"]) == (True, 4)
    # the file's first line: SpineBase,Tracked,-0.3910039,0.01805465,2.151816 at 98065 ms; the second at 98100 ms
    np.testing.assert_allclose(motion.joint("SpineBase")[0], (0.3910039, 0.01805465, -2.151816), rtol=1e-6)
    assert motion.times is not None
    np.testing.assert_allclose(motion.times[:2], (0, 0.035))
    assert 29 < motion.fps < 34


def test_left_is_left_and_forward_is_towards_the_camera(shared_data: Path) -> None:
    """In every standing take the left shoulder is at the larger x of an ordinary front camera, and toes point to it."""
    files = sorted((shared_data / "irds_kinect_v2/raw_txt").glob("215_*_stand.txt.gz"))
    for path in files[::4]:
        motion = lmm.read(path)
        across = np.nanmedian(motion.joint("ShoulderLeft") - motion.joint("ShoulderRight"), axis=0)
        feet = [motion.joint(f"Foot{s}") - motion.joint(f"Ankle{s}") for s in ("Left", "Right")]
        toes = np.nanmedian(np.concatenate(feet), axis=0)
        forward = np.cross(across, (0, 1, 0))
        assert across[0] > 0.2
        assert toes[2] > 0.03
        assert forward @ toes > 0  # a right-handed body
        root = motion.joint("SpineBase")
        assert (root[:, 2] < -1).all()
        # pinhole camera at the origin that looks along -z: u grows with x / depth
        u = {s: np.nanmedian(motion.joint(f"Hip{s}")[:, 0] / -motion.joint(f"Hip{s}")[:, 2]) for s in ("Left", "Right")}
        assert u["Left"] > u["Right"]


def test_states_zeros_clock_and_bodies(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1, (5, 25, 3)).round(4)
    rows[2, 3] = 0
    states = ["Tracked"] * 25
    states[4], states[5] = "Inferred", "NotTracked"
    stamps = [1000, 1033, 1033, 1066, 1109]
    lines = [line(t, 2, ms, rows[t], states) for t, ms in enumerate(stamps)]
    lines += [line(t, 0, 1000 + 40 * t, rows[t]) for t in range(5)]
    path = write(tmp_path / "a.txt", lines)
    with pytest.raises(InputError, match="stands still or goes back in 1 of 5"):
        lmm.read_people(path)
    lines[2] = ""
    other, two = lmm.read_people(write(path, lines))
    assert (other.meta["person"], two.meta["person"]) == ("0", "2")
    assert two.times is not None
    np.testing.assert_allclose(two.times, (0, 0.033, 0.066, 0.109))
    assert two.fps == pytest.approx(1 / 0.033)
    assert set(two.confidence[:, 4].tolist()) == {0.5}
    assert np.isnan(two.positions[:, 5]).all()
    assert np.isnan(other.positions[2, 3]).all()
    np.testing.assert_allclose(other.positions[0], rows[0] * (-1, 1, -1), rtol=1e-6)
    even = lmm.read(path, person=2, source_fps=25)
    assert even.times is None
    assert (even.fps, even.num_frames) == (25, 4)


def test_a_rare_bad_stamp_is_dropped_and_told(tmp_path: Path) -> None:
    rows = np.random.default_rng(1).normal(0, 1, (25, 3))
    stamps = [33 * t for t in range(30)]
    stamps[7], stamps[20] = stamps[6], stamps[15]
    motion = lmm.read(write(tmp_path / "a.txt", [line(t, 0, ms, rows) for t, ms in enumerate(stamps)]))
    assert motion.num_frames == 28
    assert "2 frames dropped" in motion.meta["notes"][0]


def test_damage(shared_data: Path, tmp_path: Path, survives_damage: Callable[..., None]) -> None:
    rows = np.random.default_rng(1).normal(0, 1, (25, 3)).round(3)
    path = write(tmp_path / "a.txt", [line(t, 0, 33 * t, rows) for t in range(8)])
    survives_damage(path)
    survives_damage(path, format="kinect-v2")
