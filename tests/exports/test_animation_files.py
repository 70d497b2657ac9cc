"""BVH and glTF hold the joints that the motion has, as other programs would compute them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

import lmm
from lmm.core.errors import InputError
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.datasets.synthetic import gait
from lmm.exports.bvh import plain_names, zxy_angles
from lmm.skeletons import BODY_25

CENTIMETRE = 0.01


def apart(a: Motion, b: Motion) -> float:
    common = [j for j in a.skeleton.joints if j in b.skeleton.joints]
    assert len(common) >= 15
    return max(float(np.nanmax(np.linalg.norm(a.joint(j) - b.joint(j), axis=-1))) for j in common)


def test_bvh_reads_back(tmp_path: Path) -> None:
    walk = gait(4.0)
    (path,) = walk.save(tmp_path / "walk.bvh")
    back = lmm.read(path)
    assert set(back.skeleton.joints) == set(BODY_25.joints)
    assert back.fps == walk.fps
    assert back.num_frames == walk.num_frames
    assert apart(walk, back) < 0.1 * CENTIMETRE
    assert apart(walk, lmm.to_body25(back)) < CENTIMETRE


@given(st.tuples(*[st.floats(-3.1, 3.1)] * 3))
def test_angles_make_the_rotation_again(turn: tuple[float, float, float]) -> None:
    matrix = Rotation.from_euler("ZXY", turn).as_matrix()
    again = Rotation.from_euler("ZXY", zxy_angles(matrix[None])[0]).as_matrix()
    np.testing.assert_allclose(again, matrix, atol=1e-4)


@pytest.mark.parametrize("x", [np.pi / 2, -np.pi / 2])
def test_angles_at_the_pole(x: float) -> None:
    matrix = Rotation.from_euler("ZXY", [0.7, x, 0.2]).as_matrix()
    again = Rotation.from_euler("ZXY", zxy_angles(matrix[None])[0]).as_matrix()
    np.testing.assert_allclose(again, matrix, atol=1e-4)


def test_angles_do_not_leap() -> None:
    turning = Rotation.from_euler("y", np.linspace(0, 20, 200)[:, None]).as_matrix()
    assert np.abs(np.diff(zxy_angles(turning), axis=0)).max() < 0.2


def glb(path: Path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON"
    rest, binary = struct.unpack_from("<I4s", data, 20 + size)
    assert binary == b"BIN\0"
    assert rest == len(data) - 28 - size
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def accessor(document: dict, data: bytes, number: int) -> np.ndarray:
    a = document["accessors"][number]
    view = document["bufferViews"][a["bufferView"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}[a["type"]]
    kind = {5126: "<f4", 5123: "<u2"}[a["componentType"]]
    found = np.frombuffer(data, kind, a["count"] * width, view["byteOffset"]).reshape(a["count"], width)
    if "min" in a:
        np.testing.assert_array_equal(found.min(axis=0), np.float32(a["min"]))
        np.testing.assert_array_equal(found.max(axis=0), np.float32(a["max"]))
    return found


def played(document: dict, data: bytes) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    """Return the clock, every node's place at each key, and the skinned figure's vertices there, as a player does."""
    (animation,) = document["animations"]
    tracks = {
        (c["target"]["node"], c["target"]["path"]): animation["samplers"][c["sampler"]] for c in animation["channels"]
    }
    clock = accessor(document, data, animation["samplers"][0]["input"])[:, 0]
    nodes = document["nodes"]
    world: dict[int, np.ndarray] = {}

    def place(node: int, above: np.ndarray) -> None:
        local = np.tile(np.eye(4), (len(clock), 1, 1))
        local[:, :3, 3] = nodes[node].get("translation", [0, 0, 0])
        if (node, "translation") in tracks:
            local[:, :3, 3] = accessor(document, data, tracks[node, "translation"]["output"])
        if (node, "rotation") in tracks:
            local[:, :3, :3] = Rotation.from_quat(
                accessor(document, data, tracks[node, "rotation"]["output"])
            ).as_matrix()
        world[node] = above @ local
        for child in nodes[node].get("children", []):
            place(child, world[node])

    for root in document["scenes"][0]["nodes"]:
        place(root, np.eye(4))
    skin = document["skins"][0]
    bind = accessor(document, data, skin["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
    moved = np.stack([world[j] for j in skin["joints"]], axis=1) @ bind
    corners = []
    for primitive in document["meshes"][0]["primitives"]:
        at = {k: accessor(document, data, v) for k, v in primitive["attributes"].items()}
        np.testing.assert_allclose(np.linalg.norm(at["NORMAL"], axis=-1), 1, atol=1e-5)
        whole = np.concatenate([at["POSITION"], np.ones((len(at["POSITION"]), 1))], axis=1)
        corners.append(np.einsum("tvab,vb->tva", moved[:, at["JOINTS_0"][:, 0]], whole)[..., :3])
    return clock, {n["name"]: world[i][:, :3, 3] for i, n in enumerate(nodes)}, np.concatenate(corners, axis=1)


def test_glb_plays(tmp_path: Path) -> None:
    walk = gait(2.0)
    (path,) = walk.save(tmp_path / "walk.glb")
    clock, places, corners = played(*glb(path))
    np.testing.assert_allclose(clock, walk.clock, atol=1e-6)
    for joint in BODY_25.joints:
        np.testing.assert_allclose(places[joint], walk.joint(joint), atol=0.1 * CENTIMETRE)
    for joint in ("LKnee", "RWrist", "Neck"):  # a corner of the figure lies on the joint, in every frame
        gap = np.linalg.norm(corners - walk.joint(joint)[:, None], axis=-1).min(axis=1)
        assert gap.max() < 0.1 * CENTIMETRE
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    assert ((high - low) < np.nanmax(walk.positions, (0, 1)) - np.nanmin(walk.positions, (0, 1)) + 0.15).all()


def test_samples_become_files(tmp_path: Path) -> None:
    walk = gait(1.0)
    drawn = walk.replace(samples=np.stack([walk.positions, walk.positions + np.float32(0.1)]))
    for ending in (".bvh", ".glb"):
        assert [p.name for p in drawn.save(tmp_path / f"out{ending}")] == [f"out_00{ending}", f"out_01{ending}"]


@pytest.mark.parametrize("ending", [".bvh", ".glb"])
def test_refusals_name_the_file(tmp_path: Path, ending: str) -> None:
    flat = make_motion(np.zeros((3, 25, 2)), 30, BODY_25, "image")
    markers = make_motion(np.zeros((3, 2, 3)), 30, Skeleton("markers", ("a", "b"), (-1, -1)), "world")
    for motion in (flat, markers):
        with pytest.raises(InputError, match=f"out{ending}"):
            motion.save(tmp_path / f"out{ending}")
    assert not list(tmp_path.iterdir())


def test_recordings_stay_within_a_centimetre(shared_data: Path, tmp_path: Path) -> None:
    for name in ("07_01.bvh", "49_02.bvh"):
        motion = lmm.read(shared_data / "cmu_bvh_samples" / name)
        (path,) = motion.save(tmp_path / name)
        assert apart(motion, lmm.read(path, units="cm", up="y")) < 0.1 * CENTIMETRE


def test_a_motion_from_a_file_rests_in_a_t_pose_too(tmp_path: Path) -> None:
    walk = gait(1.0)
    (kept,) = walk.save(tmp_path / "walk.lmm.npz")
    texts = [lmm.read(kept).save(tmp_path / "a.bvh")[0].read_text(), walk.save(tmp_path / "b.bvh")[0].read_text()]
    assert texts[0] == texts[1]


def test_names_are_plain_and_differ() -> None:
    assert plain_names(["a b", "a_b", "", "\x00", "\ud800"]) == ["a_b", "a_b_", "_", "__", "___"]


def test_a_helper_has_a_name_of_its_own(tmp_path: Path) -> None:
    places = np.random.default_rng(0).normal(size=(20, 4, 3))
    motion = make_motion(places, 30, Skeleton("odd", ("A", "B", "C", "A_to_B"), (-1, 0, 0, 0)), "world")
    text = motion.save(tmp_path / "odd.bvh")[0].read_text()
    names = [line.split()[1] for line in text.splitlines() if line.split()[0] in ("ROOT", "JOINT")]
    assert len(set(names)) == len(names) >= 7


def test_what_files_cannot_hold_is_refused(tmp_path: Path) -> None:
    walk = gait(1.0)
    chain = Skeleton("chain", tuple(f"j{i}" for i in range(1100)), tuple(range(-1, 1099)))
    long = make_motion(np.random.default_rng(0).normal(size=(2, 1100, 3)), 30, chain, "world")
    far = np.arange(walk.num_frames) / 30 + 1e7 * (np.arange(walk.num_frames) >= 10)
    for motion, name, why in (
        (walk.replace(fps=0.01), "a.bvh", "frames a second"),
        (long, "a.bvh", "deep"),
        (walk.replace(positions=0 * walk.positions), "a.glb", "no bone"),
        (walk.replace(times=far), "a.glb", "clock"),
    ):
        with pytest.raises(InputError, match=why):
            motion.save(tmp_path / name)


def test_a_person_in_metres_is_not_taken_for_centimetres(tmp_path: Path) -> None:
    (path,) = gait(1.0).save(tmp_path / "walk.bvh")
    lines = path.read_text().splitlines()
    for i, line in enumerate(lines):
        if "OFFSET" in line:
            lines[i] = "OFFSET " + " ".join(str(float(v) / 100) for v in line.split()[1:])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="unit"):
        lmm.read(path)
