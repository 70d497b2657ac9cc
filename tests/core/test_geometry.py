"""Rotations against scipy's, forward kinematics against a chain of 4 x 4 matrices."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lmm.core.geometry import axis_rotation, euler_rotation, forward_kinematics, heading, y_up_from


@pytest.mark.parametrize("order", ["x", "zyx", "xyz", "zxy", "yxz", "xy"])
def test_euler_rotation_equals_scipy(order: str) -> None:
    angles = np.random.default_rng(0).uniform(-3, 3, (7, len(order)))
    expected = Rotation.identity(7)
    for axis, angle in zip(order, angles.T, strict=True):
        expected = expected * Rotation.from_rotvec(angle[:, None] * np.eye(3)["xyz".index(axis)])
    np.testing.assert_allclose(euler_rotation(order, angles), expected.as_matrix(), atol=1e-12)


def test_forward_kinematics_equals_a_chain_of_matrices() -> None:
    rng = np.random.default_rng(1)
    parents = (-1, 0, 1, 1, 0)
    rotations = Rotation.random(3 * 5, rng).as_matrix().reshape(3, 5, 3, 3)
    offsets, root = rng.normal(size=(5, 3)), rng.normal(size=(3, 3))
    got = forward_kinematics(parents, rotations, offsets, root)
    for t in range(3):
        world = []
        for j, p in enumerate(parents):
            local = np.eye(4)
            local[:3, :3] = rotations[t, j]
            local[:3, 3] = root[t] if p < 0 else offsets[j]
            world.append(local if p < 0 else world[p] @ local)
            np.testing.assert_allclose(got[t, j], world[j][:3, 3], atol=1e-12)


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_y_up_from_keeps_handedness_and_turns_up_to_y(up: str) -> None:
    basis = y_up_from(up, np.eye(3)).T  # columns are the images of the axes
    assert np.linalg.det(basis) == pytest.approx(1)
    sign = -1 if up[0] == "-" else 1
    np.testing.assert_allclose(basis[:, "xyz".index(up[-1])] * sign, [0, 1, 0])


def test_heading_of_somebody_who_faces_z_and_turns_to_x() -> None:
    left = np.array([1.0, 0, 0])
    assert heading(left) == pytest.approx(0)
    turned = axis_rotation("y", np.array(0.5)) @ left
    assert heading(turned) == pytest.approx(0.5)
