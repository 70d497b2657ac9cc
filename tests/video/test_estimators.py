from __future__ import annotations

import stat
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lmm
from films import write_video
from lmm.core.errors import InputError, LmmError
from lmm.skeletons import table
from lmm.video import mediapipe
from lmm.video.estimators import choose
from lmm.video.onnx import MEAN, STD

KEYPOINTS = 17
INPUT = (96, 128)  # width, height of the crops
NAMES = table("coco_17").skeleton.joints


def dots(places: Any, size: tuple[int, int] = (320, 240)) -> Any:
    """Draw a person as 17 dots on black, at (17, 2), each of its own shade: keypoint k is (10 k + 60, 0, 255)."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    for k, (px, py) in enumerate(places):
        picture[abs(x - px) + abs(y - py) <= 6] = (10 * k + 60, 0, 255)
    return picture


def pose_network(path: Path) -> Path:
    """Write a network that finds such dots, and gives SimCC scores.

    For each keypoint, 1 - |red - shade| / 5 where blue is full, at least 0; the greatest along a column or row; each
    pixel twice, for half pixels.
    """
    width, height = INPUT
    shade = np.array([(10 * k + 60 - MEAN[0]) / STD[0] for k in range(KEYPOINTS)], np.float32).reshape(1, -1, 1, 1)
    constants = {
        "shade": shade,
        "narrow": np.float32(STD[0] / 5),
        "one": np.float32(1),
        "blue": np.float32((250 - MEAN[2]) / STD[2]),
        "red_at": np.array([0]),
        "blue_at": np.array([2]),
        "twice": np.array([1, 1, 2], np.float32),
        "rows": np.array([2]),
        "columns": np.array([3]),
    }
    nodes = [
        helper.make_node("Gather", ["picture", "red_at"], ["red"], axis=1),
        helper.make_node("Gather", ["picture", "blue_at"], ["blueness"], axis=1),
        helper.make_node("Sub", ["red", "shade"], ["away"]),
        helper.make_node("Abs", ["away"], ["distance"]),
        helper.make_node("Mul", ["distance", "narrow"], ["unlike"]),
        helper.make_node("Sub", ["one", "unlike"], ["likeness"]),
        helper.make_node("Relu", ["likeness"], ["like"]),
        helper.make_node("Greater", ["blueness", "blue"], ["drawn"]),
        helper.make_node("Cast", ["drawn"], ["there"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["like", "there"], ["scores"]),
        helper.make_node("ReduceSum", ["scores", "rows"], ["by_column"], keepdims=0),
        helper.make_node("ReduceSum", ["scores", "columns"], ["by_row"], keepdims=0),
        helper.make_node("Resize", ["by_column", "", "twice"], ["simcc_x"], mode="nearest"),
        helper.make_node("Resize", ["by_row", "", "twice"], ["simcc_y"], mode="nearest"),
    ]
    graph = helper.make_graph(
        nodes,
        "dots",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["n", 3, height, width])],
        [
            helper.make_tensor_value_info("simcc_x", TensorProto.FLOAT, ["n", KEYPOINTS, 2 * width]),
            helper.make_tensor_value_info("simcc_y", TensorProto.FLOAT, ["n", KEYPOINTS, 2 * height]),
        ],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def detector(path: Path, boxes: Any) -> Path:
    """Write a detector that always finds the same boxes (P, 5), in a picture of 416 pixels, and one chair."""
    found = np.concatenate([boxes, [[0, 0, 99, 99, 0.99]]]).astype(np.float32)[None]
    labels = np.array([[0] * len(boxes) + [56]])
    sized = [helper.make_node("Identity", [n], [o]) for n, o in (("found", "dets"), ("kinds", "labels"))]
    graph = helper.make_graph(
        sized,
        "boxes",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 416, 416])],
        [
            helper.make_tensor_value_info("dets", TensorProto.FLOAT, found.shape),
            helper.make_tensor_value_info("labels", TensorProto.INT64, labels.shape),
        ],
        [numpy_helper.from_array(found, "found"), numpy_helper.from_array(labels, "kinds")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), str(path))
    return path


def person(x: float, y: float) -> Any:
    """Return (17, 2): dots in five rows around (x, y), 60 pixels wide and 80 high."""
    return np.array([(x - 30 + 20 * (k % 4), y - 40 + 20 * (k // 4)) for k in range(KEYPOINTS)])


def test_keypoints_of_a_network_are_where_the_dots_are(tmp_path: Path) -> None:
    """One person without a detector: found in the whole picture, to a pixel of 4.2, then in a box around where they
    were, to two of 0.9; not seen in the third frame, so looked for in the whole picture again."""
    times = [0.0, 0.1, 0.2, 0.3]
    places = [person(100, 90), person(110, 95), None, person(120, 100)]
    pictures = [dots(p) if p is not None else np.zeros((240, 320, 3), np.uint8) for p in places]
    write_video(tmp_path / "a.mkv", times, pictures, lossless=True)
    pose = pose_network(tmp_path / "pose.onnx")
    motion = lmm.read(tmp_path / "a.mkv", format=f"video:{pose}")
    assert (motion.skeleton.joints, motion.space, motion.size, motion.num_frames) == (NAMES, "image", (320, 240), 4)
    assert not motion.observed[2].any()
    for k, place in enumerate(places):
        if place is not None:
            assert motion.observed[k].all()
            np.testing.assert_allclose(motion.positions[k], place, atol=2.0 if k == 1 else 4.2)
    assert motion.meta["notes"] == ["poses estimated by pose.onnx"]


def test_several_people_of_a_detector_are_tracked(tmp_path: Path) -> None:
    ways = [[person(70 + 4 * k, 80), person(240, 150 - 3 * k)] for k in range(12)]
    pictures = [np.maximum(dots(a), dots(b)) for a, b in ways]
    write_video(tmp_path / "a.mkv", [k / 15 for k in range(12)], pictures, lossless=True)
    scale = 416 / 320
    boxes = np.array([[20, 20, 160, 140, 0.9], [190, 60, 290, 220, 0.8]]) * [scale, scale, scale, scale, 1]
    seen = detector(tmp_path / "seen.onnx", boxes)
    people = lmm.read_people(tmp_path / "a.mkv", format=f"video:{pose_network(tmp_path / 'pose.onnx')},{seen}")
    assert len(people) == 2
    found = sorted(people, key=lambda m: float(m.positions[0, 0, 0]))
    for i, motion in enumerate(found):
        np.testing.assert_allclose(motion.positions, [w[i] for w in ways], atol=1.9)


@pytest.mark.parametrize("broken", ["missing", "no network", "wrong shape"])
def test_a_network_that_does_not_fit_is_refused(tmp_path: Path, broken: str) -> None:
    film = write_video(tmp_path / "a.mp4", [0.0, 0.1])
    pose = tmp_path / "pose.onnx"
    if broken == "no network":
        pose.write_bytes(b"\x08\x07nothing")
    elif broken == "wrong shape":
        detector(pose, np.array([[0, 0, 9, 9, 0.9]]))
    with pytest.raises(InputError, match=r"pose\.onnx"):
        lmm.read(film, format=f"video:{pose}")


def test_an_unknown_estimator_is_refused(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", [0.0, 0.1])
    with pytest.raises(InputError, match=r"a\.mp4: unknown pose estimator 'alphapose'.*Choose mediapipe, openpose"):
        lmm.read(film, format="video:alphapose")


def program(path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program in OpenPose's place. OpenPose itself cannot be installed where these tests run."""
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("LMM_OPENPOSE", str(path))


WRITES = """
import json, sys, pathlib
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert pathlib.Path(given["--video"]).is_file() and given["--model_pose"] == "BODY_25" and given["--render_pose"] == "0"
for k in range(12):
    people = [{"pose_keypoints_2d": [v for j in range(25) for v in (100 * i + j + k, 50 + 2 * j, 0.9)]} for i in (1, 3)]
    people = people[: 2 if k != 4 else 0]
    name = pathlib.Path(given["--write_json"]) / f"a_{k:012}_keypoints.json"
    name.write_text(json.dumps({"version": 1.3, "people": people}))
"""


def test_openpose_is_run_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "openpose", WRITES, monkeypatch)
    film = write_video(tmp_path / "a.mp4", [k / 12 for k in range(12)])
    people = lmm.read_people(film, format="video:openpose")
    assert [m.skeleton.name for m in people] == ["body_25"] * 2
    assert people[0].fps == pytest.approx(12)
    assert not people[0].observed[4].any()
    assert sorted(float(m.positions[0, 0, 0]) for m in people) == [100, 300]
    with pytest.raises(InputError, match="OpenPose wrote 12 frames of a video of 3"):
        lmm.read(write_video(tmp_path / "b.mp4", [0.0, 0.1, 0.2]), format="video:openpose")


def test_openpose_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "openpose", "import sys; sys.exit('no GPU')", monkeypatch)
    with pytest.raises(InputError, match="OpenPose failed: no GPU"):
        lmm.read(write_video(tmp_path / "a.mp4", [0.0, 0.1]), format="video:openpose")
    monkeypatch.delenv("LMM_OPENPOSE")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(LmmError, match="OpenPose is not installed"):
        choose("openpose")


needs_mediapipe = pytest.mark.skipif(not mediapipe.installed(), reason="needs MediaPipe: lmm doctor --fix")


@needs_mediapipe
def test_a_picture_without_a_person_is_a_gap(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds nobody"):
        lmm.read(write_video(tmp_path / "a.mp4", [k / 30 for k in range(5)]))


@needs_mediapipe
def test_a_worker_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mediapipe, "python", lambda: Path("/bin/false"))
    with pytest.raises(InputError, match="MediaPipe's worker ended: exit code 1"):
        lmm.read(write_video(tmp_path / "a.mp4", [0.0, 0.1]))


@needs_mediapipe
@pytest.mark.parametrize("camera", [1, 2, 3, 4])
def test_mediapipe_agrees_with_another_estimator(shared_data: Path, camera: int) -> None:
    """The same videos were read by another network for Pose2Sim: its keypoints lie within a few pixels of 1920."""
    folder = shared_data / "pose2sim_balancing"
    found = lmm.read_people(folder / "openpose_body25b_json" / f"cam{camera:02}_json", source_fps=60)
    theirs = lmm.to_body25(found[0])
    ours = lmm.to_body25(lmm.read(folder / "videos" / f"cam{camera:02}.mp4"))
    assert ours.num_frames == theirs.num_frames == 100
    away = np.linalg.norm(ours.positions - theirs.positions, axis=-1)
    limbs = [ours.skeleton.index[s + j] for s in "RL" for j in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle")]
    assert np.nanmedian(away[:, limbs]) < 20


@needs_mediapipe
def test_the_demo_video_has_a_walking_woman(shared_data: Path) -> None:
    """MediaPipe looks at one person at a time; whom it leaves is another motion, and the clock stays the video's."""
    people = lmm.read_people(shared_data / "sports2d_demo_video" / "demo.mp4")
    assert people[0].size == (1768, 994)
    assert all(m.clock[-1] < 7.67 and m.fps == 30 and m.times is None for m in people)
    assert len(people) > 1
    far = [np.nanmedian(m.positions[-1] - people[0].positions[-1], axis=0) for m in people[1:]]
    assert max(np.linalg.norm(f) for f in far) > 200
