"""What is written is read back the same, as far as the format can say it."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError
from lmm.core.motion import Motion, make_motion
from lmm.skeletons import table


def image_motion(frames: int = 12) -> Motion:
    rng = np.random.default_rng(1)
    positions = rng.uniform(0, 640, (frames, 25, 2)).astype(np.float32)
    # a body that can be told from BODY_25B: neck, mid-hip and nose lie midway
    positions[:, 1] = (positions[:, 2] + positions[:, 5]) / 2
    positions[:, 8] = (positions[:, 9] + positions[:, 12]) / 2
    positions[:, 0] = (positions[:, 15] + positions[:, 16]) / 2
    confidence = rng.uniform(0.1, 1, (frames, 25)).astype(np.float32)
    confidence[3, 4] = confidence[5:8, 20] = 0
    meta = {"captions": ["größer"], "licence": "CC0"}
    return Motion(
        positions, confidence, 29.97, table("body_25").skeleton, "image", size=(640, 480), start_s=2.0, meta=meta
    )


def world_motion(name: str = "body_25", frames: int = 12) -> Motion:
    skeleton = table(name).skeleton
    positions = np.random.default_rng(2).normal(0, 1, (frames, skeleton.num_joints, 3)).astype(np.float32)
    positions[3, 4] = np.nan
    positions[0, 0] = np.nan
    return make_motion(positions, 30, skeleton, "world", start_s=1.5)


def equal(a: Motion, b: Motion, confidence: bool = True) -> None:
    np.testing.assert_array_equal(a.positions, b.positions)
    if confidence:
        np.testing.assert_array_equal(a.confidence, b.confidence)
    assert a.fps == pytest.approx(b.fps, rel=1e-8)
    assert (a.space, a.skeleton.joints) == (b.space, b.skeleton.joints)
    np.testing.assert_allclose(a.clock, b.clock, atol=1e-8)


@pytest.mark.parametrize("name", ["body_25", "kinect_v2", "smpl_22"])
def test_netcdf_is_exact(tmp_path: Path, name: str) -> None:
    pytest.importorskip("h5netcdf")
    for motion in (
        image_motion(),
        world_motion(name),
        world_motion(name).replace(times=np.cumsum(np.arange(1, 13) / 50)),
    ):
        (path,) = motion.save(tmp_path / "a.nc")
        back = lmm.read(path)
        equal(motion, back)
        assert (back.fps, back.size, back.skeleton) == (motion.fps, motion.size, motion.skeleton)
        assert (back.times is None) == (motion.times is None)
        assert back.meta.get("captions") == motion.meta.get("captions")


def test_netcdf_follows_movement(tmp_path: Path) -> None:
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("h5netcdf")
    motion = world_motion()
    motion.save(tmp_path / "a.nc")
    with xarray.open_dataset(tmp_path / "a.nc", engine="h5netcdf", decode_times=False) as data:
        assert data["position"].dims == ("time", "space", "keypoint", "individual")
        assert data["confidence"].dims == ("time", "keypoint", "individual")
        assert {data.attrs[k] for k in ("ds_type", "time_unit")} == {"poses", "seconds"}
        wrist = data["position"].sel(keypoint="RWrist", individual="0").transpose("time", "space").values
        np.testing.assert_array_equal(wrist, motion.joint("RWrist"))


def test_csv(tmp_path: Path) -> None:
    for motion in (image_motion(), image_motion().replace(fps=50 / 7, times=np.cumsum(np.arange(1, 13) / 50))):
        (path,) = motion.save(tmp_path / "a.csv")
        equal(motion, lmm.read(path))
    with path.open(newline="", encoding="utf-8") as f:
        rows = list(csv.DictReader(f))
    assert len(rows) == 12
    assert float(rows[2]["RWrist_y"]) == pytest.approx(float(motion.joint("RWrist")[2, 1]))
    assert (rows[3]["RWrist_x"], rows[3]["RWrist_confidence"]) == ("", "0")
    (path,) = world_motion("kinect_v2").save(tmp_path / "b.csv")
    with pytest.raises(InputError, match=r"--units .* and --up"):
        lmm.read(path)
    equal(world_motion("kinect_v2"), lmm.read(path, units="m", up="y"))


def test_trc(tmp_path: Path) -> None:
    motion = world_motion()
    (path,) = motion.save(tmp_path / "a.trc")
    lines = path.read_text().splitlines()
    assert lines[2].split("\t") == ["30", "30", "12", "25", "m", "30", "1", "12"]
    assert lines[3].split("\t")[2::3] == list(motion.skeleton.joints)
    rows = [line.split("\t") for line in lines[6:]]
    assert {len(r) for r in rows} == {2 + 75}
    cells = np.array([[float(c) if c else np.nan for c in r] for r in rows])
    np.testing.assert_array_equal(cells[:, 2:].astype(np.float32).reshape(12, 25, 3), motion.positions)
    np.testing.assert_allclose(cells[:, 1], motion.clock, atol=1e-8)
    back = lmm.read(path, up="y")
    np.testing.assert_array_equal(back.positions, motion.positions)
    assert (back.fps, back.skeleton.joints) == (30, motion.skeleton.joints)
    with pytest.raises(InputError, match="pixels of an image"):
        image_motion().save(tmp_path / "b.trc")
    assert not (tmp_path / "b.trc").exists()


def test_openpose_zip(tmp_path: Path) -> None:
    motion = image_motion().replace(fps=25)
    (path,) = motion.save(tmp_path / "clip.zip")
    back = lmm.read(path, source_fps=25)
    equal(motion, back)
    assert (back.meta["format"], back.start_s) == ("openpose", 2.0)
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist()[0] == "clip_000000000050_keypoints.json"
        frame = json.loads(archive.read(archive.namelist()[3]))
        archive.extractall(tmp_path / "folder")
    assert frame["people"][0]["pose_keypoints_2d"][12:15] == [0, 0, 0]
    equal(motion, lmm.read(tmp_path / "folder", source_fps=25))
    with pytest.raises(InputError, match="pixels of an image"):
        world_motion().save(tmp_path / "b.zip")
    flat = make_motion(np.ones((3, 17, 2)), 25, table("coco_17").skeleton, "image")
    with pytest.raises(InputError, match="--to body_25"):
        flat.save(tmp_path / "b.zip")
    with pytest.raises(InputError, match="--fps"):
        image_motion().replace(times=np.cumsum(np.arange(1, 13) / 50)).save(tmp_path / "b.zip")


@pytest.mark.parametrize("clip", ["psychologie", "du_wohn_wo"])
def test_real_openpose_clip(shared_data: Path, tmp_path: Path, clip: str) -> None:
    motion = lmm.read(shared_data / "openpose_body25_json" / clip, format="openpose-body25", source_fps=25)
    for name, options in (("a.zip", {"format": "openpose-body25", "source_fps": 25.0}), ("a.csv", {}), ("a.nc", {})):
        (path,) = motion.save(tmp_path / name)
        equal(motion, lmm.read(path, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("extension", "options"), [(".csv", {"units": "m", "up": "y"}), (".trc", {"up": "y"}), (".nc", {})]
)
def test_samples_are_numbered_files(tmp_path: Path, extension: str, options: dict[str, str]) -> None:
    motion = world_motion()
    draws = np.stack([motion.positions + np.float32(i) for i in range(3)])
    written = motion.replace(samples=draws).save(tmp_path / f"out{extension}")
    assert [p.name for p in written] == [f"out_{i:02d}{extension}" for i in range(3)]
    for path, draw in zip(written, draws, strict=True):
        np.testing.assert_array_equal(lmm.read(path, **options).positions, draw)  # type: ignore[arg-type]
    assert [p.name for p in motion.replace(samples=draws[:1]).save(tmp_path / f"one{extension}")] == [f"one{extension}"]


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        world_motion().save(tmp_path / "none" / "a.csv")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match=r"\.csv.*\.trc"):
        world_motion().save(tmp_path / "a.xyz")
