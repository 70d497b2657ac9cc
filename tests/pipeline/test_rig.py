"""Rigs keep the joints where they were, on bones that never change, and leave open nothing but what positions do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import MotionError
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.datasets.synthetic import gait
from lmm.pipeline.clean import clean
from lmm.pipeline.rig import Rig, rig
from lmm.skeletons import BODY_25


def apart(made: Rig, motion: Motion) -> np.ndarray:
    """Return (T, J) metres between a rig's joints and the motion's, NaN where a joint is not in either."""
    at = [made.joints.index(j) if j in made.joints else -1 for j in motion.skeleton.joints]
    places = np.where(np.array(at)[:, None] >= 0, made.positions()[:, at], np.nan)
    return np.linalg.norm(places - motion.positions, axis=-1)


def test_joints_of_the_walk_stay_where_they_are() -> None:
    walk = gait(4.0)
    made = rig(walk)
    assert np.nanmax(apart(made, walk)) < 1e-3
    assert set(BODY_25.joints) <= set(made.joints)
    assert all(made.parents[j] < j for j in range(len(made.joints)))
    squares = made.rotations @ made.rotations.transpose(0, 1, 3, 2)
    np.testing.assert_allclose(squares, np.broadcast_to(np.eye(3), squares.shape), atol=1e-9)
    assert (np.linalg.det(made.rotations) > 0).all()


def test_rest_is_a_t_pose_that_faces_z() -> None:
    made = rig(gait(4.0))
    rest = Rig(
        made.joints,
        made.parents,
        made.offsets,
        np.broadcast_to(np.eye(3), (1, *made.rotations.shape[1:])),
        np.zeros((1, 3)),
    )
    at = dict(zip(made.joints, rest.positions()[0], strict=True))
    assert at["LWrist"][0] > at["LElbow"][0] > at["LShoulder"][0] > 0 > at["RShoulder"][0]
    np.testing.assert_allclose(at["LWrist"][1:], at["LShoulder"][1:], atol=0.005)
    np.testing.assert_allclose(at["Neck"][[0, 2]], 0, atol=1e-9)
    assert at["LAnkle"][1] < at["LKnee"][1] < at["LHip"][1] < at["Neck"][1] < at["Nose"][1]
    assert at["LBigToe"][2] > 0.05 > at["LHeel"][2]


@pytest.mark.parametrize("turn", [0.0, 1.3, 3.0])
def test_rotations_turn_with_the_body(turn: float) -> None:
    """A body turned about the vertical has the same rotations but for its root's."""
    walk = gait(2.0)
    c, s = np.cos(turn), np.sin(turn)
    about_y = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    a, b = rig(walk), rig(walk.replace(positions=walk.positions @ about_y.T))
    np.testing.assert_allclose(b.rotations[:, 0], about_y @ a.rotations[:, 0], atol=1e-3)
    np.testing.assert_allclose(b.rotations[:, 1:], a.rotations[:, 1:], atol=1e-3)


def test_a_hinge_has_the_angle_it_was_given() -> None:
    angle = np.linspace(0, 2.5, 40)
    skeleton = Skeleton("arm", ("shoulder", "elbow", "wrist"), (-1, 0, 1))
    elbow = np.broadcast_to([0.3, 0, 0], (40, 3))
    wrist = elbow + 0.25 * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=-1)
    motion = make_motion(np.stack([np.zeros((40, 3)), elbow, wrist], axis=1), 30, skeleton, "world")
    made = rig(motion)
    assert np.nanmax(apart(made, motion)) < 1e-6
    bent = made.rotations[:, 1]
    np.testing.assert_allclose(np.arctan2(bent[:, 1, 0], bent[:, 0, 0]), angle, atol=1e-3)


def test_gaps_are_bridged_and_unseen_joints_left_out() -> None:
    walk = gait(4.0)
    places = walk.positions.copy()
    places[20:30, BODY_25.index["LWrist"]] = np.nan
    places[:, BODY_25.index["Nose"]] = np.nan
    made = rig(walk.replace(positions=places))
    assert "Nose" not in made.joints
    assert made.parents[made.joints.index("REye")] >= 0
    wrist = made.positions()[:, made.joints.index("LWrist")]
    assert np.linalg.norm(wrist - walk.joint("LWrist"), axis=-1).max() < 0.08
    assert np.linalg.norm(np.diff(wrist, axis=0), axis=-1).max() < 0.1


def test_bones_that_vary_get_their_median() -> None:
    walk = gait(4.0)
    rng = np.random.default_rng(0)
    noisy = walk.replace(positions=walk.positions + rng.normal(0, 0.005, walk.positions.shape))
    made = rig(noisy)
    assert np.nanmax(apart(made, noisy)) < 0.06
    assert np.nanmean(apart(made, noisy)) < 0.008


def test_what_has_no_bones_is_refused() -> None:
    markers = Skeleton("markers", ("a", "b"), (-1, -1))
    with pytest.raises(MotionError, match="Markers need --to body_25"):
        rig(make_motion(np.zeros((3, 2, 3)), 30, markers, "world"))
    with pytest.raises(MotionError, match="metres"):
        rig(make_motion(np.zeros((3, 25, 2)), 30, BODY_25, "image"))


def test_recordings(shared_data: Path) -> None:
    """A figure with constant bones comes back exactly; its BODY_25, whose trunk bends, within millimetres."""
    own = lmm.read(shared_data / "cmu_bvh_samples" / "07_01.bvh")
    assert np.nanmax(apart(rig(own), own)) < 1e-5
    body = clean(own)
    made = rig(body)
    assert np.nanmax(apart(made, body)) < 0.006
    assert len(made.joints) <= 18


def test_a_joint_that_seldom_moves_against_its_siblings_is_kept() -> None:
    """Constant bones come back exactly, also where a shoulder is lifted for a hundredth of the time."""
    walk = gait(8.0)
    places = walk.positions.astype(float)
    arm = [BODY_25.index[n] for n in ("LShoulder", "LElbow", "LWrist")]
    length = np.linalg.norm(places[100, arm[0]] - places[100, BODY_25.index["Neck"]])
    lifted = places[100:103, BODY_25.index["Neck"]] + [0, length, 0] - places[100:103, arm[0]]
    places[100:103, arm] += lifted[:, None]
    moved = walk.replace(positions=places)
    assert np.nanmax(apart(rig(moved), moved)) < 0.005
