"""OpenPose: order of frames, layouts told apart by geometry, people kept apart, archives like folders."""

from __future__ import annotations

import csv
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError
from lmm.skeletons import table


def person(layout: str, x: float = 300.0, size: float = 100.0) -> list[float]:
    """A standing person in an image, from the synthetic walk, in `layout`'s order."""
    from lmm.datasets.synthetic import standing

    body = standing(0.1, 30.0)
    place = {
        j: (float(x + size * p[0]), float(500 - size * p[1]))
        for j, p in zip(body.skeleton.joints, body.positions[0], strict=True)
    }
    place |= {"UpperNeck": (x, place["Neck"][1] - 0.1 * size), "HeadTop": (x, place["Nose"][1] - 0.2 * size)}
    return [v for j in table(layout).skeleton.joints for v in (*place[j], 0.9)]


def frame(people: list[list[float]]) -> str:
    return json.dumps({"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": p} for p in people]})


def folder(tmp_path: Path, frames: dict[int, list[list[float]]], name: str = "clip_{:012d}_keypoints.json") -> Path:
    for number, people in frames.items():
        (tmp_path / name.format(number)).write_text(frame(people))
    return tmp_path


@pytest.mark.parametrize("layout", ["body_25", "body_25b", "coco_18"])
def test_layout_is_told_by_length_and_geometry(tmp_path: Path, layout: str) -> None:
    m = lmm.read(folder(tmp_path, {i: [person(layout)] for i in range(5)}), source_fps=30)
    assert m.skeleton.name == layout
    b = lmm.to_body25(m)
    np.testing.assert_allclose(b.joint("LHip"), np.repeat([m.joint("LHip")[0]], 5, axis=0))
    assert b.joint("LHip")[0, 0] > b.joint("RHip")[0, 0]  # facing the camera, the left is on the picture's right


def test_the_user_may_name_the_layout(tmp_path: Path) -> None:
    folder(tmp_path, {0: [person("body_25")]})
    assert lmm.read(tmp_path, "openpose-body25b", source_fps=30).skeleton.name == "body_25b"
    with pytest.raises(InputError, match="not coco18"):
        lmm.read(tmp_path, "openpose-coco18", source_fps=30)


def test_frames_are_ordered_by_number_and_missing_numbers_are_gaps(tmp_path: Path) -> None:
    frames = {n: [person("coco_18", x=100.0 + n)] for n in (9, 10, 11, 13)}
    m = lmm.read(folder(tmp_path, frames, "take.{}.json"), source_fps=30)
    assert m.num_frames == 5
    assert m.start_s == pytest.approx(9 / 30)
    neck = m.joint("Neck")[:, 0]
    np.testing.assert_allclose(neck[[0, 1, 2, 4]] - neck[0], [0, 1, 2, 4], atol=1e-4)
    assert np.isnan(neck[3])


def test_people_are_linked_by_place_not_by_list_order(tmp_path: Path) -> None:
    def both(i: int) -> list[list[float]]:
        left, right = person("coco_18", x=200.0 + i), person("coco_18", x=700.0 - i)
        return [left, right] if i % 3 else [right, left]

    path = folder(tmp_path, {i: both(i) for i in range(30)})
    people = lmm.read_people(path, source_fps=30)
    assert len(people) == 2
    for m in people:
        assert m.num_frames == 30
        assert np.abs(np.diff(m.joint("Neck")[:, 0])).max() < 2
    with pytest.raises(InputError, match=r"2 people: 0, 1.*--person"):
        lmm.read(path, source_fps=30)
    assert lmm.read(path, person="1", source_fps=30).meta["person"] == "1"


def test_tar_and_zip_equal_the_folder(tmp_path: Path) -> None:
    clip = tmp_path / "clip"
    clip.mkdir()
    folder(clip, {i: [person("body_25", x=100 + i)] for i in range(6)})
    expected = lmm.read(clip, source_fps=25).positions
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
        tar.add(clip, "clip")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        for f in sorted(clip.iterdir(), reverse=True):
            z.write(f, f"clip/{f.name}")
    for name in ("a.tar.gz", "a.zip"):
        np.testing.assert_array_equal(lmm.read(tmp_path / name, source_fps=25).positions, expected)


def test_several_clips_in_one_folder_are_kept_apart(tmp_path: Path) -> None:
    folder(tmp_path, {i: [person("coco_18")] for i in range(3)}, "walk_{:012d}_keypoints.json")
    folder(tmp_path, {i: [person("coco_18")] for i in range(5)}, "run_{:012d}_keypoints.json")
    with pytest.raises(InputError, match="2 clips: run, walk"):
        lmm.read(tmp_path, source_fps=30)
    assert lmm.read(tmp_path, person="run", source_fps=30).num_frames == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (frame([[0.0] * 75]).replace("0.0", "NaN", 1), "not a readable"),
        ('{"people": [{"pose_keypoints_2d": [1, 2]}]}', "2 numbers a person"),
        ('{"people": [{"pose_keypoints_2d": "x"}]}', "without pose_keypoints_2d"),
        ('{"people": [{"pose_keypoints_2d": [' + ",".join(["0.5"] * 54) + "]}]}", "keypoint_scale"),
        ('{"people": []} "pose_keypoints"', "not a readable"),
        ('{"people": [], "x": "pose_keypoints"}', "nobody"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "a_000000000000_keypoints.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        lmm.read(path, source_fps=30)


def test_the_rate_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--source-fps"):
        lmm.read(folder(tmp_path, {0: [person("coco_18")]}))


def test_real_clip_equals_its_csv(shared_data: Path) -> None:
    for clip, frames in (("psychologie", 157), ("du_wohn_wo", 175)):
        m = lmm.read(shared_data / "openpose_body25_json" / clip, source_fps=25)
        with (shared_data / f"openpose_body25_json/csv/{clip}_body25.csv").open() as f:
            rows = np.array([[float(v) for v in row] for row in list(csv.reader(f))[1:]]).reshape(frames, 25, 3)
        assert m.num_frames == frames
        seen = m.observed
        np.testing.assert_array_equal(seen, rows[..., 2] > 0)
        np.testing.assert_allclose(m.positions[seen], rows[seen][:, :2], atol=1e-3)


def test_real_bystander_does_not_break_the_track(shared_data: Path) -> None:
    for camera, least in (("cam01", 2), ("cam02", 2), ("cam03", 1), ("cam04", 1)):
        people = lmm.read_people(shared_data / f"pose2sim_balancing/openpose_body25b_json/{camera}_json", source_fps=60)
        assert len(people) >= least
        assert max(m.num_frames for m in people) == 100
        assert all(m.skeleton.name == "body_25b" for m in people)


def test_clips_that_differ_only_in_punctuation_are_two_and_a_number_twice_is_an_error(tmp_path: Path) -> None:
    folder(tmp_path, {i: [person("coco_18")] for i in range(3)}, "w_{:012d}_keypoints.json")
    folder(tmp_path, {i: [person("coco_18")] for i in range(5)}, "w-{:012d}_keypoints.json")
    with pytest.raises(InputError, match="2 clips"):
        lmm.read(tmp_path, source_fps=30)
    with pytest.raises(InputError, match="has no typo"):
        lmm.read_people(tmp_path, source_fps=30, item="typo")
    twice = tmp_path / "twice"
    twice.mkdir()
    for name in ("a_1.json", "a_01.json"):
        (twice / name).write_text(frame([person("coco_18")]))
    with pytest.raises(InputError, match="several files of one frame number"):
        lmm.read(twice, source_fps=30)
