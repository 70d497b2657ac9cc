"""COCO keypoint files: flags, scores, several people and videos; single images are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError, NotMotionError
from lmm.skeletons import table

NAMES = list(table("coco_17").joints)


def people(frames: int, x: float, speed: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    xy = (
        rng.uniform((0, 50), (80, 400), (17, 2))
        + np.stack([x + speed * np.arange(frames), np.zeros(frames)], -1)[:, None]
    )
    return np.concatenate([xy.round(2), np.full((frames, 17, 1), 2.0)], axis=-1)


def annotations(bodies: list[np.ndarray], name: str = "clip_{:05d}.jpg", **fields: Any) -> dict[str, Any]:
    frames = len(bodies[0])
    return {
        "images": [
            {"id": 100 + t, "file_name": name.format(t), "width": 640, "height": 480} for t in reversed(range(frames))
        ],
        "annotations": [
            {"image_id": 100 + t, "category_id": 1, "num_keypoints": 17, "keypoints": b[t].ravel().tolist()}
            for t in range(frames)
            for b in (bodies if t % 2 else bodies[::-1])
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": NAMES}],
        **fields,
    }


def write(path: Path, data: object) -> Path:
    path.write_text(json.dumps(data))
    return path


def test_annotations_of_two_people_are_linked(tmp_path: Path) -> None:
    a, b = people(20, 0, 5, 1), people(20, 300, -5, 2)
    a[3, 4] = (5, 7, 0)
    a[3, 5, 2] = 1
    path = write(tmp_path / "a.json", annotations([a, b]))
    with pytest.raises(InputError, match="--source-fps"):
        lmm.read_people(path)
    motions = lmm.read_people(path, source_fps=25)
    assert [m.num_frames for m in motions] == [20, 20]
    one = next(m for m in motions if abs(m.positions[0, 0, 0] - a[0, 0, 0]) < 0.01)
    two = next(m for m in motions if m is not one)
    assert (one.meta["format"], one.space, one.size, one.fps) == ("coco", "image", (640, 480), 25)
    seen = a[..., 2] > 0
    np.testing.assert_array_equal(one.positions[seen], a[seen][:, :2].astype(np.float32))
    np.testing.assert_array_equal(two.positions, b[..., :2].astype(np.float32))
    assert np.isnan(one.positions[3, 4]).all()
    assert one.confidence[3, 5] == 0.5
    assert one.confidence[3, 6] == 1


def test_track_ids_go_before_linking(tmp_path: Path) -> None:
    data = annotations([people(10, 0, 5, 1), people(10, 300, -5, 2)])
    for i, a in enumerate(data["annotations"]):
        a["track_id"] = i % 2
    first, second = lmm.read_people(write(tmp_path / "a.json", data), source_fps=25)
    assert {first.meta["person"], second.meta["person"]} == {"0", "1"}
    assert np.ptp(first.positions[:, 0, 0]) > 200  # the ids of this file swap the two people


def test_results_scores_and_flags(tmp_path: Path) -> None:
    body = people(10, 0, 5, 1)
    body[..., 2] = np.linspace(0, 1, 17)
    results = [
        {"image_id": 5 + t, "category_id": 1, "keypoints": b.ravel().tolist(), "score": 0.9}
        for t, b in enumerate(body)
        if t != 4
    ]
    motion = lmm.read(write(tmp_path / "a.json", results), source_fps=25)
    assert motion.num_frames == 10
    np.testing.assert_allclose(motion.confidence[0], np.linspace(0, 1, 17), rtol=1e-6)
    assert np.isnan(motion.positions[4]).all()
    for r in results:
        r["keypoints"] = [2 if i % 3 == 2 else v for i, v in enumerate(r["keypoints"])]  # type: ignore[arg-type, attr-defined]
    flags = lmm.read(write(tmp_path / "b.json", results), source_fps=25)
    assert flags.confidence[0].min() == 1


def test_videos_are_items(tmp_path: Path) -> None:
    a, b = annotations([people(6, 0, 5, 1)], "one_{:05d}.jpg"), annotations([people(8, 0, 5, 2)], "two_{:05d}.jpg")
    for entry in (*b["images"], *b["annotations"]):
        key = "id" if "file_name" in entry else "image_id"
        entry[key] += 500
    a["images"] += b["images"]
    a["annotations"] += b["annotations"]
    path = write(tmp_path / "a.json", a)
    assert [(m.meta["item"], m.num_frames) for m in lmm.read_people(path, source_fps=25)] == [("one", 6), ("two", 8)]
    assert lmm.read(path, source_fps=25, person="two").num_frames == 8


def test_wholebody_by_its_names_only(tmp_path: Path) -> None:
    body = people(5, 0, 5, 1)
    data = annotations([body])
    data["categories"][0]["keypoints"] = NAMES + [f"face_{i}" for i in range(116)]
    for a in data["annotations"]:
        a["keypoints"] += [1.0] * 348
    motion = lmm.read(write(tmp_path / "a.json", data), source_fps=25)
    np.testing.assert_array_equal(motion.positions, body[..., :2].astype(np.float32))
    results = [{"image_id": a["image_id"], "keypoints": a["keypoints"]} for a in data["annotations"]]
    with pytest.raises(InputError, match="399 numbers"):
        lmm.read(write(tmp_path / "b.json", results), source_fps=25)


def test_real_single_images_are_no_video(shared_data: Path) -> None:
    for name, why in (
        ("test_coco.json", "several sizes"),
        ("person_keypoints_val2014_fakekeypoints100_results.json", "scattered images"),
    ):
        with pytest.raises(NotMotionError, match=why):
            lmm.read_people(shared_data / "coco17_keypoints" / name, source_fps=25)


def test_real_series(shared_data: Path, tmp_path: Path) -> None:
    """BODY_25B starts with COCO-17: OpenPose's frames as COCO results are the same people."""
    folder = shared_data / "pose2sim_balancing/openpose_body25b_json/cam03_json"
    results = []
    for t, f in enumerate(sorted(folder.glob("*.json"))):
        for p in json.loads(f.read_text())["people"]:
            results.append({"image_id": t, "keypoints": p["pose_keypoints_2d"][:51], "score": 1})
    coco = lmm.read(write(tmp_path / "a.json", results), source_fps=60)
    openpose = lmm.read(folder, source_fps=60)
    for name, index in zip(NAMES, range(17), strict=True):
        np.testing.assert_array_equal(coco.joint(name), openpose.positions[:, index])


def test_damage(tmp_path: Path, survives_damage: Callable[..., None]) -> None:
    path = write(tmp_path / "a.json", annotations([people(6, 0, 5, 1), people(6, 300, -5, 2)]))
    survives_damage(path, source_fps=25)
    survives_damage(path, source_fps=25, format="coco")
