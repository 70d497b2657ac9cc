"""netCDF in movement's schema, built here as movement builds it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError, NotMotionError

xarray = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

NAMES = ["nose", "left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"]


def movement(path: Path, dims: int = 2, people: int = 1, plural: bool = False, **attrs: Any) -> np.ndarray:
    """Write a data set as movement's loaders make it and return its positions (T, space, J, people)."""
    end = "s" if plural else ""
    position = np.random.default_rng(1).uniform(0, 500, (20, dims, len(NAMES), people))
    position[4, :, 2, 0] = np.nan
    confidence = np.full((20, len(NAMES), people), 0.75)
    confidence[5, 1, 0] = np.nan
    fps = attrs.get("fps")
    xarray.Dataset(
        {
            "position": (("time", "space", f"keypoint{end}", f"individual{end}"), position),
            "confidence": (("time", f"keypoint{end}", f"individual{end}"), confidence),
        },
        coords={
            "time": np.arange(20) / fps if fps else np.arange(20),
            "space": ["x", "y", "z"][:dims],
            f"keypoint{end}": NAMES,
            f"individual{end}": [f"id_{i}" for i in range(people)],
        },
        attrs={"ds_type": "poses", "source_software": "SLEAP", "time_unit": "seconds" if fps else "frames", **attrs},
    ).to_netcdf(path, engine="h5netcdf")
    return position


@pytest.mark.parametrize("plural", [False, True])
def test_pixels(tmp_path: Path, plural: bool) -> None:
    position = movement(tmp_path / "a.nc", plural=plural, fps=30.0)
    motion = lmm.read(tmp_path / "a.nc")
    assert (motion.meta["format"], motion.space, motion.fps, motion.skeleton.table) == (
        "netcdf",
        "image",
        30,
        "keypoints",
    )
    assert motion.times is None
    seen = motion.observed
    np.testing.assert_array_equal(motion.positions[seen], np.moveaxis(position, 1, 2)[..., 0][seen].astype(np.float32))
    assert np.argwhere(~seen).tolist() == [[4, 2], [5, 1]]
    assert set(motion.confidence[seen].tolist()) == {0.75}


def test_people(tmp_path: Path) -> None:
    position = movement(tmp_path / "a.nc", people=2, fps=30.0)
    assert [m.meta["person"] for m in lmm.read_people(tmp_path / "a.nc")] == ["id_0", "id_1"]
    second = lmm.read(tmp_path / "a.nc", person="id_1")
    np.testing.assert_array_equal(second.positions, np.moveaxis(position, 1, 2)[..., 1].astype(np.float32))


def test_what_is_unknown_is_named(tmp_path: Path) -> None:
    movement(tmp_path / "a.nc")
    with pytest.raises(InputError, match="--source-fps"):
        lmm.read(tmp_path / "a.nc")
    assert lmm.read(tmp_path / "a.nc", source_fps=25).fps == 25
    movement(tmp_path / "b.nc", dims=3, fps=30.0)
    with pytest.raises(InputError, match="--units"):
        lmm.read(tmp_path / "b.nc")
    with pytest.raises(InputError, match="--up"):
        lmm.read(tmp_path / "b.nc", units="mm")
    assert lmm.read(tmp_path / "b.nc", units="mm", up="z").space == "world"


def test_other_data_is_no_movement(tmp_path: Path) -> None:
    xarray.Dataset({"temperature": (("time",), np.ones(4))}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(NotMotionError):
        lmm.read(tmp_path / "a.nc")
    with pytest.raises(InputError, match="no variable 'position'"):
        lmm.read(tmp_path / "a.nc", format="netcdf")


def test_single_precision_is_scaled_in_double(tmp_path: Path) -> None:
    movement(tmp_path / "a.nc", dims=3, fps=30.0)
    with xarray.load_dataset(tmp_path / "a.nc", engine="h5netcdf") as data:
        data["position"] = data["position"].astype(np.float32)
        data.to_netcdf(tmp_path / "b.nc", engine="h5netcdf")
    motion = lmm.read(tmp_path / "b.nc", units="mm", up="y")
    metres = (data["position"].values[..., 0].astype(np.float64) * 0.001).astype(np.float32)
    np.testing.assert_array_equal(motion.positions[motion.observed], np.moveaxis(metres, 1, 2)[motion.observed])


def test_packed_numbers(tmp_path: Path) -> None:
    position = movement(tmp_path / "a.nc", fps=30.0)
    packing = {"dtype": "int16", "scale_factor": 0.25, "add_offset": 100.0, "_FillValue": -1}
    with xarray.load_dataset(tmp_path / "a.nc", engine="h5netcdf") as data:
        data.to_netcdf(tmp_path / "b.nc", engine="h5netcdf", encoding={"position": packing})
    motion = lmm.read(tmp_path / "b.nc")
    assert np.argwhere(~motion.observed).tolist() == [[4, 2], [5, 1]]
    there = np.moveaxis(position, 1, 2)[..., 0][motion.observed]
    np.testing.assert_allclose(motion.positions[motion.observed], there, atol=0.126)


@pytest.mark.parametrize("kept", ["5", "{", '{"meta": 5}', '{"skeleton": 4}', '{"size": [null]}'])
def test_what_lmm_kept_may_be_damaged(tmp_path: Path, kept: str) -> None:
    movement(tmp_path / "a.nc", fps=30.0, lmm=kept)
    with pytest.raises(InputError):
        lmm.read(tmp_path / "a.nc")


def test_notes_may_be_no_list(tmp_path: Path) -> None:
    movement(tmp_path / "a.nc", fps=30.0, lmm='{"meta": {"notes": 5}}')
    assert lmm.read(tmp_path / "a.nc").meta["notes"] == ["5"]


def test_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    movement(tmp_path / "a.nc", fps=30.0)
    for name in ("h5netcdf", "h5py"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"large-movement-model\[interop\]"):
        lmm.read(tmp_path / "a.nc")


def test_damage(tmp_path: Path, survives_damage: Callable[..., None]) -> None:
    movement(tmp_path / "a.nc", fps=30.0)
    survives_damage(tmp_path / "a.nc", format="netcdf")
