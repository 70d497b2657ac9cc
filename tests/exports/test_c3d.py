"""C3D files hold the joints that the motion has: by our own reader, and by ezc3d and the c3d package."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import lmm
from lmm.core.errors import InputError
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.datasets.synthetic import gait
from lmm.skeletons import BODY_25
from lmm.sources import c3d

FLOAT32 = {"rtol": 2.5e-7, "atol": 2e-9}  # two roundings; a joint at the origin is a nanometre off it
PLAIN = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30)
READ_ONLY = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def points(count: int, frames: int, names: list[str] | None = None) -> Motion:
    joints = tuple(names or (f"P{j}" for j in range(count)))
    places = np.random.default_rng(count).normal(size=(frames, count, 3))
    return make_motion(places, 100, Skeleton("points", joints, (-1,) * count), "world")


def read_raw(path: Path) -> tuple[c3d.Header, np.ndarray]:
    """Return what our parser finds, points in millimetres, whatever the joints are called."""
    data = path.read_bytes()
    header = c3d.parse_header(data, path)
    return header, c3d.read_points(data, header)


def in_file(motion: Motion) -> np.ndarray:
    """Return the motion's positions as the file should have them: millimetres, z up."""
    x, y, z = np.moveaxis(motion.positions.astype(float), -1, 0)
    return 1000 * np.stack([x, -z, y], axis=-1)


def by_ezc3d(path: Path) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return positions, residuals, and all that ezc3d found."""
    found = pytest.importorskip("ezc3d").c3d(str(path))
    places = np.transpose(found["data"]["points"][:3], (2, 1, 0))
    return places, found["data"]["meta_points"]["residuals"][0].T, found


def by_package(path: Path) -> tuple[np.ndarray, np.ndarray, Any]:
    """Return positions, residuals, and the reader of the c3d package, which must have nothing to complain of."""
    package = pytest.importorskip("c3d")
    with path.open("rb") as f, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        reader = package.Reader(f)
        frames = np.stack([p for _, p, _ in reader.read_frames()])
    assert {str(w.message) for w in caught} == {"No analog data found in file."}
    return frames[..., :3], frames[..., 3], reader


def others_agree(motion: Motion, path: Path) -> None:
    seen, expected = motion.observed, in_file(motion)
    for places, residuals, _ in (by_ezc3d(path), by_package(path)):
        assert places.shape == expected.shape
        np.testing.assert_allclose(places[seen], expected[seen], rtol=1e-7, atol=2e-6)
        np.testing.assert_array_equal(residuals, np.where(seen, 0, -1))


@READ_ONLY
@given(st.data())
def test_reads_back(tmp_path: Path, data: st.DataObject) -> None:
    frames = data.draw(st.integers(1, 4))
    metres = st.floats(-1000, 1000, width=32)
    places = data.draw(arrays.arrays(np.float32, (frames, 25, 3), elements=metres))
    places[data.draw(arrays.arrays(bool, (frames, 25)))] = np.nan
    places[0, 0] = 1
    fps = data.draw(st.floats(0.001, 100_000))
    first = data.draw(st.integers(0, 60_000))
    motion = make_motion(places, fps, BODY_25, "world", start_s=first / fps)
    (path,) = motion.save(tmp_path / "a.c3d")
    back = lmm.read(path)
    np.testing.assert_allclose(back.positions, motion.positions, **FLOAT32)
    np.testing.assert_array_equal(back.observed, motion.observed)
    assert (back.skeleton.joints, back.space) == (BODY_25.joints, "world")
    assert back.fps == np.float32(fps)
    assert back.start_s == pytest.approx(first / back.fps)
    assert back.meta["up"] == "z up, as the file says"


@READ_ONLY
@given(st.lists(PLAIN, min_size=1, max_size=20, unique=True))
def test_any_name_is_a_label(tmp_path: Path, names: list[str]) -> None:
    (path,) = points(len(names), 2, names).save(tmp_path / "a.c3d")
    assert read_raw(path)[0].all_strings("POINT", "LABELS") == names


def test_other_readers_find_the_walker(tmp_path: Path) -> None:
    walk = gait(3.0, fps=59.94).replace(start_s=100 / 59.94)
    (path,) = walk.save(tmp_path / "walk.c3d")
    others_agree(walk, path)
    np.testing.assert_allclose(lmm.read(path).positions, walk.positions, **FLOAT32)
    places, _, found = by_ezc3d(path)
    stated = {name: found["parameters"]["POINT"][name]["value"] for name in ("LABELS", "UNITS", "X_SCREEN", "Y_SCREEN")}
    assert stated == {"LABELS": list(BODY_25.joints), "UNITS": ["mm"], "X_SCREEN": ["+X"], "Y_SCREEN": ["+Z"]}
    assert found["header"]["points"] == {
        "size": 25,
        "frame_rate": pytest.approx(59.94),
        "first_frame": 100,
        "last_frame": 100 + walk.num_frames - 1,
    }
    assert (places[:, BODY_25.index["Nose"], 2] > 1500).all()  # the head is up, in millimetres
    reader = by_package(path)[2]
    assert [label.strip() for label in reader.point_labels] == list(BODY_25.joints)
    assert (reader.first_frame, reader.frame_count, reader.point_rate) == (101, walk.num_frames, np.float32(59.94))
    assert reader.get_screen_axis() == ("+X", "+Z")


def test_other_readers_find_a_recording(shared_data: Path, tmp_path: Path) -> None:
    recording = lmm.read(shared_data / "cmu_bvh_samples" / "07_01.bvh")
    (path,) = recording.save(tmp_path / "own.c3d")
    others_agree(recording, path)
    header, places = read_raw(path)
    np.testing.assert_allclose(places, in_file(recording), rtol=1e-7)
    assert tuple(header.all_strings("POINT", "LABELS")) == recording.skeleton.joints
    body = lmm.to_body25(recording)
    (path,) = body.save(tmp_path / "body.c3d")
    others_agree(body, path)
    back = lmm.read(path)
    np.testing.assert_allclose(back.positions, body.positions, **FLOAT32)
    assert (back.fps, back.start_s) == (body.fps, pytest.approx(body.start_s))


def test_gaps_and_the_origin(tmp_path: Path) -> None:
    walk = gait(1.0)
    places = walk.positions.copy()
    places[:, 4] = np.nan  # a joint that is never seen
    places[3:6, 7] = np.nan
    places[9, 2] = 0
    holed = make_motion(places, walk.fps, BODY_25, "world")
    (path,) = holed.save(tmp_path / "a.c3d")
    others_agree(holed, path)
    assert not by_package(path)[0][:, 4].any()
    back = lmm.read(path)
    np.testing.assert_array_equal(back.observed, holed.observed)
    np.testing.assert_allclose(back.positions, places, **FLOAT32)


@pytest.mark.parametrize(("frames", "start_s", "first"), [(65_534, 0.01, 2), (65_535, 0.01, 1), (70_001, 650, 1)])
def test_more_frames_than_16_bits_count(tmp_path: Path, frames: int, start_s: float, first: int) -> None:
    motion = points(2, frames).replace(start_s=start_s)
    (path,) = motion.save(tmp_path / "long.c3d")
    header, places = read_raw(path)
    assert (header.frames, header.first_frame) == (frames, first)
    np.testing.assert_allclose(places, in_file(motion), rtol=1e-7)
    others_agree(motion, path)


@pytest.mark.parametrize(("frames", "first"), [(535, 65_001), (536, 1)])
def test_frames_count_from_the_start_where_all_readers_can(tmp_path: Path, frames: int, first: int) -> None:
    motion = points(2, frames).replace(start_s=650.0)
    (path,) = motion.save(tmp_path / "late.c3d")
    header, _ = read_raw(path)
    assert (header.frames, header.first_frame) == (frames, first)
    assert by_package(path)[2].first_frame == first
    assert by_ezc3d(path)[2]["header"]["points"]["first_frame"] == first - 1


def test_more_joints_than_one_parameter_names(tmp_path: Path) -> None:
    for count in (255, 256, 2000):
        motion = points(count, 2)
        (path,) = motion.save(tmp_path / "many.c3d")
        assert tuple(read_raw(path)[0].all_strings("POINT", "LABELS")) == motion.skeleton.joints
        others_agree(motion, path)


def test_the_longest_names_that_fit(tmp_path: Path) -> None:
    motion = points(1000, 1, [f"{j:0127d}" for j in range(1000)])
    assert tuple(read_raw(motion.save(tmp_path / "a.c3d")[0])[0].all_strings("POINT", "LABELS")) == (
        motion.skeleton.joints
    )
    others_agree(motion, tmp_path / "a.c3d")
    for names in ([f"{j:0127d}" for j in range(1100)], ["x" * 128]):
        with pytest.raises(InputError, match="joint names"):
            points(len(names), 1, names).save(tmp_path / "b.c3d")


def test_samples_are_numbered_files(tmp_path: Path) -> None:
    walk = gait(1.0)
    draws = np.stack([walk.positions + np.float32(i) for i in range(3)])
    written = walk.replace(samples=draws).save(tmp_path / "out.c3d")
    assert [p.name for p in written] == ["out_00.c3d", "out_01.c3d", "out_02.c3d"]
    for path, draw in zip(written, draws, strict=True):
        np.testing.assert_allclose(lmm.read(path).positions, draw, **FLOAT32)


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    walk = gait(1.0)
    flat = make_motion(np.ones((3, 25, 2)), 30, BODY_25, "image")
    for motion, why in (
        (flat, "pixels of an image"),
        (walk.replace(space="body"), "normalised"),
        (walk.replace(times=np.cumsum(np.arange(1, walk.num_frames + 1) / 50)), "--fps"),
    ):
        with pytest.raises(InputError, match=why):
            motion.save(tmp_path / "a.c3d")
    assert not list(tmp_path.iterdir())
