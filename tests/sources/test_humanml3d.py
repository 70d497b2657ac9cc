"""HumanML3D: recovery from its 263 features undoes the forward encoding, which is written here from the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError
from lmm.sources.humanml3d import recover


def turn(angle: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Rotate v (..., 3) by `angle` about +y with quaternions (cos a/2, 0, sin a/2, 0), as the reference code does."""
    w, u = np.cos(angle / 2), np.stack([np.zeros_like(angle), np.sin(angle / 2), np.zeros_like(angle)], axis=-1)
    uv = np.cross(u, v)
    return v + 2 * (w[..., None] * uv + np.cross(u, uv))


def encode(positions: np.ndarray) -> np.ndarray:
    """The first 67 of HumanML3D's features from positions (T + 1, 22, 3): T rows; the others are zero here."""
    across = (positions[:, 2] - positions[:, 1]) + (positions[:, 17] - positions[:, 16])  # right minus left
    forward = np.cross((0.0, 1.0, 0.0), across)
    to_z = -np.arctan2(forward[:, 0], forward[:, 2])  # the turn that makes each frame face +z
    root = positions[:, 0] * (1, 0, 1)
    step = turn(to_z[1:], root[1:] - root[:-1])
    local = turn(np.repeat(to_z[:, None], 21, axis=1), positions[:, 1:] - root[:, None])
    half = np.arcsin(np.sin((to_z[1:] - to_z[:-1]) / 2))
    out = np.zeros((len(positions) - 1, 263))
    out[:, 0], out[:, 1:3], out[:, 3] = half, step[:, [0, 2]], positions[:-1, 0, 1]
    out[:, 4:67] = local[:-1].reshape(len(out), 63)
    return out


def dancer(frames: int = 80, seed: int = 1) -> np.ndarray:
    """Somebody who turns and walks about in metres; the first frame faces +z at the origin."""
    rng = np.random.default_rng(seed)
    body = rng.normal(0, 0.1, (22, 3)) + np.linspace(0.2, 1.7, 22)[:, None] * (0, 1, 0)
    body[[1, 16], 0], body[[2, 17], 0] = 0.2, -0.2
    body[[1, 2, 16, 17], 2] = 0
    body[0] = (0, 0.95, 0)
    t = np.arange(frames) / 20
    poses = body + 0.02 * np.sin(3 * t[:, None, None] + rng.uniform(0, 6, (22, 3))) * (np.arange(22) % 5 == 4)[:, None]
    turned = turn(np.repeat((1.5 * np.sin(t) + 0.8 * t)[:, None], 22, axis=1), poses)
    path = np.stack([np.sin(t), 0.05 * np.sin(5 * t), 0.7 * t], axis=-1)
    return turned + (path - path[0])[:, None]


def test_recovery_undoes_the_encoding() -> None:
    positions = dancer()
    np.testing.assert_allclose(recover(encode(positions)), positions[:-1], atol=1e-9)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("new_joints", "new_joint_vecs", "texts"):
        (tmp_path / "humanml" / kind).mkdir(parents=True)
    root = tmp_path / "humanml"
    np.save(root / "new_joints/000001.npy", dancer(seed=1).astype(np.float32))
    for i in (1, 2):
        np.save(root / f"new_joint_vecs/00000{i}.npy", encode(dancer(seed=i)).astype(np.float32))
    (root / "texts/000001.txt").write_text(
        "a person turns.#a/DET person/NOUN turn/VERB#0.0#0.0\nhe walks#he/PRON walk/VERB#1.0#2.5\n"
    )
    (root / "train.txt").write_text("000001\n")
    (root / "test.txt").write_text("000002\n")
    return root


def test_folder_is_a_collection(folder: Path) -> None:
    one, two = lmm.read_people(folder)
    assert (one.meta["format"], one.fps, one.space, one.skeleton.table) == ("humanml3d", 20, "world", "smpl_22")
    np.testing.assert_array_equal(one.positions, dancer(seed=1).astype(np.float32))
    np.testing.assert_allclose(two.positions, dancer(seed=2)[:-1], atol=1e-4)
    assert one.meta["captions"] == ["a person turns.", "he walks"]
    assert one.meta["caption_spans"] == [{"caption": "he walks", "start_s": 1.0, "end_s": 2.5}]
    assert (one.meta["split"], two.meta["split"], two.meta["item"]) == ("train", "test", "000002")
    assert lmm.read(folder, person="000002").num_frames == two.num_frames
    assert lmm.read(folder / "new_joint_vecs/000002.npy").num_frames == two.num_frames
    # left is at +x where the person faces +z
    assert (one.joint("left_hip") - one.joint("right_hip"))[0, 0] > 0


def test_items_stay_in_the_folder(folder: Path) -> None:
    with pytest.raises(InputError, match="holds 2 clips"):
        lmm.read_people(folder, item="../new_joints/000001")


def test_bad_text_is_named(folder: Path) -> None:
    (folder / "texts/000002.txt").write_text("no marks here\n")
    with pytest.raises(InputError, match="line 1"):
        lmm.read(folder, person="000002")


def test_damage(folder: Path, survives_damage: Callable[..., None]) -> None:
    survives_damage(folder / "new_joints/000001.npy", whole=folder)
    survives_damage(folder / "texts/000001.txt", whole=folder)
    survives_damage(folder / "new_joint_vecs/000002.npy")
