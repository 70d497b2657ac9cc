"""Angles of poses that are made of known rotations, and of the walk whose joint angles are published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.analysis.angles import angle, joint_angles
from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation
from lmm.core.motion import Motion, make_motion
from lmm.skeletons import BODY_25, table

UPRIGHT = {
    "MidHip": (0, 1, 0), "RHip": (-0.1, 1, 0), "LHip": (0.1, 1, 0), "Neck": (0, 1.5, 0),
    "RShoulder": (-0.2, 1.5, 0), "LShoulder": (0.2, 1.5, 0), "RElbow": (-0.2, 1.2, 0), "LElbow": (0.2, 1.2, 0),
    "RWrist": (-0.2, 0.95, 0), "LWrist": (0.2, 0.95, 0), "RKnee": (-0.1, 0.55, 0), "LKnee": (0.1, 0.55, 0),
    "RAnkle": (-0.1, 0.1, 0), "LAnkle": (0.1, 0.1, 0), "RBigToe": (-0.1, 0.1, 0.2), "LBigToe": (0.1, 0.1, 0.2),
}  # fmt: skip
DEGREES = st.floats(-85, 85)


def pose(turned: dict[str, tuple[str, float]] | None = None, facing: float = 0.0, dims: int = 3) -> Motion:
    """Return one frame, standing; limbs below a joint turned about x (to the back if positive) or z, degrees."""
    points = {k: np.array(v, float) for k, v in UPRIGHT.items()}
    below = {
        "RHip": ("RKnee", "RAnkle", "RBigToe"), "LHip": ("LKnee", "LAnkle", "LBigToe"), "RKnee": ("RAnkle", "RBigToe"),
        "RShoulder": ("RElbow", "RWrist"), "LShoulder": ("LElbow", "LWrist"), "RElbow": ("RWrist",),
        "RAnkle": ("RBigToe",),
        "MidHip": ("Neck", "RShoulder", "LShoulder", "RElbow", "LElbow", "RWrist", "LWrist"),
    }  # fmt: skip
    for joint, (axis, degrees) in (turned or {}).items():
        rotation = axis_rotation(axis, np.deg2rad(degrees))
        for k in below[joint]:
            points[k] = points[joint] + rotation @ (points[k] - points[joint])
    whole = np.full((1, 25, 3), np.nan)
    for k, p in points.items():
        whole[0, BODY_25.index[k]] = axis_rotation("y", np.deg2rad(facing)) @ p + [3, 0, -2]
    if dims == 2:
        return make_motion(whole[..., [2, 1]] * [100, -100], 30, BODY_25, "image")
    return make_motion(whole, 30, BODY_25, "world")


def told(motion: Motion) -> dict[str, float]:
    return {k: float(v[0]) for k, v in joint_angles(motion).items()}


def test_standing_upright_is_nought() -> None:
    assert all(abs(v) < 1e-4 for v in told(pose()).values())
    assert len(told(pose())) == 2 * 8 + 2


@given(DEGREES, st.floats(-180, 180))
def test_a_raised_thigh_is_flexion(degrees: float, facing: float) -> None:
    got = told(pose({"RHip": ("x", -degrees)}, facing))
    assert got["right_hip_flexion"] == pytest.approx(degrees, abs=1e-3)
    assert got["right_hip_abduction"] == pytest.approx(0, abs=1e-3)
    assert got["left_hip_flexion"] == pytest.approx(0, abs=1e-3)
    assert got["right_knee"] == pytest.approx(0, abs=1e-2)


@given(st.floats(0, 85))
def test_legs_and_arms_to_the_side_are_abduction(degrees: float) -> None:
    right = told(pose({"RHip": ("z", -degrees), "RShoulder": ("z", -degrees)}, 30))
    left = told(pose({"LHip": ("z", degrees), "LShoulder": ("z", degrees)}, -70))
    for name in ("hip_abduction", "shoulder_abduction", "shoulder_elevation"):
        assert right[f"right_{name}"] == pytest.approx(degrees, abs=1e-2)
        assert left[f"left_{name}"] == pytest.approx(degrees, abs=1e-2)
        assert left[f"right_{name}"] == pytest.approx(0, abs=1e-2)


@given(st.floats(0, 150))
def test_bent_knees_and_elbows(degrees: float) -> None:
    got = told(pose({"RKnee": ("x", degrees), "RElbow": ("x", -degrees)}))
    assert got["right_knee"] == pytest.approx(degrees, abs=1e-2)
    assert got["right_elbow"] == pytest.approx(degrees, abs=1e-2)


def test_toes_up_is_dorsiflexion_and_a_bow_is_forward() -> None:
    assert told(pose({"RAnkle": ("x", -20)}))["right_ankle"] == pytest.approx(20, abs=1e-3)
    bow = told(pose({"MidHip": ("x", 35)}, facing=120))
    assert bow["trunk_forward"] == pytest.approx(35, abs=1e-3)
    assert bow["right_hip_flexion"] == pytest.approx(35, abs=1e-3)
    assert told(pose({"MidHip": ("z", -15)}))["trunk_side"] == pytest.approx(15, abs=1e-3)  # to +x, the left


def test_pictures_tell_angles_between_segments() -> None:
    got = told(pose({"RKnee": ("x", 50), "RShoulder": ("x", -90)}, dims=2))
    assert got["right_knee"] == pytest.approx(50, abs=1e-2)
    assert got["right_shoulder_elevation"] == pytest.approx(90, abs=1e-2)
    assert "right_hip_flexion" not in got


def test_angles_of_parallel_vectors_are_exact() -> None:
    v = np.array([1e-3, 0, 0])
    assert angle(v, v) == 0
    assert angle(v, -v) == 180
    assert np.isnan(angle(v, 0 * v))
    small = np.array([np.cos(1e-6), np.sin(1e-6)])
    assert angle(np.array([1.0, 0]), small) == pytest.approx(np.degrees(1e-6), rel=1e-6)


def test_what_is_missing_is_not_told() -> None:
    motion = pose()
    hidden = motion.positions.copy()
    hidden[:, BODY_25.index["RWrist"]] = np.nan
    assert "right_elbow" not in told(motion.replace(positions=hidden))
    with pytest.raises(MotionError, match="convert it first"):
        joint_angles(make_motion(np.zeros((2, 17, 2)), 30, table("coco_17").skeleton, "image"))


def test_a_marker_model_agrees(shared_data: Any) -> None:
    """Plug-in Gait's own angles in the file: the same but for constants (no static trial, and the pelvis' tilt)."""
    import ezc3d

    import lmm

    file = shared_data / "c3d_samples" / "btk_plugin_gait" / "PiG_Motion-FlatFoot-One.c3d"
    model = ezc3d.c3d(str(file))
    labels, points = model["parameters"]["POINT"]["LABELS"]["value"], model["data"]["points"]
    ours = joint_angles(lmm.to_body25(lmm.read(file)))
    for name, (label, component, sign, most) in {
        "knee": ("KneeAngles", 0, 1, 4.0),
        "hip_flexion": ("HipAngles", 0, 1, 2.0),
        "hip_abduction": ("HipAngles", 1, -1, 0.5),
        "ankle": ("AnkleAngles", 0, 1, 0.5),
        "elbow": ("ElbowAngles", 0, 1, 0.1),
    }.items():
        for side in ("right", "left"):
            off = ours[f"{side}_{name}"] - sign * points[component, labels.index(f"{side[0].upper()}{label}")]
            assert np.nanstd(off) < most, name


def test_squats_and_raised_arms_have_possible_angles(shared_data: Any) -> None:
    """Thighs that are level, and arms overhead: no angle leaps or wraps."""
    import lmm

    folder = shared_data / "uiprmd" / "correct" / "kinect" / "positions"
    for movement in ("m01", "m05", "m07"):
        for subject in ("s01", "s02", "s05"):
            found = lmm.analyse(lmm.read(folder / f"{movement}_{subject}_e01_positions.txt.gz"))
            for side in ("right", "left"):
                assert found.ranges[f"{side}_hip_abduction"]["max"] < 65
                flexion = found.ranges.get(f"{side}_shoulder_flexion")  # none of arms that point sideways
                assert flexion is None or flexion["range"] < 220
            assert len(found.repetitions) == 1
