"""Collections: units, end nodes without length, an index that does not fit, and the two real ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError
from lmm.datasets.synthetic import standing

PARTS = (
    ("UpperLeg", "Hip"),
    ("LowerLeg", "Knee"),
    ("Foot", "Ankle"),
    ("Toes", "BigToe"),
    ("UpperArm", "Shoulder"),
    ("LowerArm", "Elbow"),
    ("Hand", "Wrist"),
)


def collection(tmp_path: Path, index: list[dict] | None = None, **skeleton: object) -> Path:
    body = standing(1.0, 30.0)
    joints = ["Hips", *(f"{part}_{s}" for s in "LR" for part, _ in PARTS), "Toes_L_End"]
    parents = [
        -1,
        *(0 if part in ("UpperLeg", "UpperArm") else 7 * k + i for k in range(2) for i, (part, _) in enumerate(PARTS)),
        4,
    ]
    columns = [body.joint("MidHip"), *(body.joint(f"{s}{j}") for s in "LR" for _, j in PARTS), body.joint("LBigToe")]
    p = np.round(np.stack(columns, axis=1) / 0.0003).astype(np.int16)
    facts = {"joints": joints, "parents": parents, "fps": 30, "scale_m_per_unit": 0.0003} | skeleton
    (tmp_path / "skeleton.json").write_text(json.dumps(facts))
    rows = [{"clip": "a", "frames": 30, "fps": 30}, {"clip": "b", "frames": 30, "fps": 30}] if index is None else index
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, rows)))
    np.savez(tmp_path / "data.npz", a=p, b=p)
    return tmp_path


def test_units_and_end_nodes_without_length(tmp_path: Path) -> None:
    m = lmm.read(collection(tmp_path), person="a")
    assert "Toes_L_End" not in m.skeleton.joints
    np.testing.assert_allclose(m.joint("Hand_L"), standing(1.0, 30.0).joint("LWrist"), atol=0.0002)
    assert m.fps == 30


def test_people_are_the_clips(tmp_path: Path) -> None:
    collection(tmp_path)
    assert [m.meta["person"] for m in lmm.read_people(tmp_path)] == ["a", "b"]
    with pytest.raises(InputError, match=r"2 clips: a, b.*--person"):
        lmm.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"index": [{"clip": "a", "frames": 31}]}, "31"),
        ({"index": [{"clip": "c", "frames": 30}]}, "no npz file holds"),
        ({"scale_m_per_unit": None}, "--units"),
        ({"scale_m_per_unit": -1}, "scale"),
        ({"parents": [-1]}, "parent"),
        ({"joints": 7}, "cannot be read"),
        ({"fps": None, "index": [{"clip": "a", "frames": 30}]}, "--source-fps"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, changes: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        lmm.read(collection(tmp_path, **changes), person="c" if "'c'" in str(changes) else "a")


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    collection(tmp_path)
    np.savez(tmp_path / "data.npz", a=np.array([{"x": 1}], dtype=object), b=np.zeros(1))
    with pytest.raises(InputError, match="pickle"):
        lmm.read(tmp_path, person="a")


def test_real_ones(shared_data: Path) -> None:
    m = lmm.to_body25(lmm.read(shared_data / "bandai", person="dataset-1_bow_active_001"))
    foot = np.linalg.norm(m.joint("RBigToe") - m.joint("RAnkle"), axis=1)
    assert 0.1 < np.median(foot) < 0.2  # the ball of the foot, no tip
    assert m.meta["licence"].startswith("CC BY-NC")
    cmu = lmm.read(shared_data / "cmu", person="07_01")
    assert cmu.meta["captions"] == ["walk"]
    raw = np.load(shared_data / "cmu/cmu_original.npz")["07_01"] * 0.0002
    np.testing.assert_allclose(cmu.positions, raw, atol=1e-6)
