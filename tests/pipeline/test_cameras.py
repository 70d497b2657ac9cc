"""Virtual cameras against explicit look-at and projection matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation, heading
from lmm.core.motion import Motion, make_motion
from lmm.pipeline.cameras import NEAR_M, Camera, project, views
from lmm.skeletons import BODY_25

J = BODY_25.index


def person(frames: int = 6, seed: int = 0) -> Motion:
    """Facing +z: the left side is at +x."""
    rng = np.random.default_rng(seed)
    p = rng.normal((1, 1, -2), 0.3, (frames, 25, 3))
    for name, x in (("RHip", -0.1), ("LHip", 0.1), ("RShoulder", -0.2), ("LShoulder", 0.2)):
        p[:, J[name]] = p[:, J["MidHip"]] + [x, 0, 0]
    return make_motion(p, 30, BODY_25, "world", meta={"subject": "a"})


def by_matrices(points: np.ndarray, camera: Camera, target: np.ndarray) -> np.ndarray:
    """Homogeneous pixels from K [R | t], the camera placed by spherical coordinates, looking along its +z, y down."""
    a, e = np.radians(camera.azimuth_deg), np.radians(camera.elevation_deg)
    eye = target + camera.distance_m * np.array([np.cos(e) * np.sin(a), np.sin(e), np.cos(e) * np.cos(a)])
    z = (target - eye) / np.linalg.norm(target - eye)
    x = np.cross(z, [0, 1, 0])
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    extrinsic = np.eye(4)
    extrinsic[:3, :3] = [x, y, z]
    extrinsic[:3, 3] = -extrinsic[:3, :3] @ eye
    assert np.isclose(np.linalg.det(extrinsic), 1)
    intrinsic = np.array(
        [
            [camera.focal_px, 0, camera.width / 2, 0],
            [0, camera.focal_px, camera.height / 2, 0],
            [0, 0, 1, 0],
            [0, 0, 0, 1],
        ]
    )
    homogeneous = np.concatenate([points, np.ones((*points.shape[:-1], 1))], axis=-1) @ (intrinsic @ extrinsic).T
    return np.where(homogeneous[..., 2:3] >= NEAR_M, homogeneous[..., :2] / homogeneous[..., 2:3], np.nan)


@settings(max_examples=60, deadline=None)
@given(st.floats(-400, 400), st.floats(-85, 85), st.floats(0.2, 20), st.floats(200, 3000))
def test_equals_matrices(azimuth: float, elevation: float, distance: float, focal: float) -> None:
    camera = Camera(
        azimuth_deg=azimuth, elevation_deg=elevation, distance_m=distance, focal_px=focal, width=800, height=600
    )
    motion = person()
    seen = project(motion, camera)
    target = motion.joint("MidHip").astype(float).mean(axis=0)
    expected = by_matrices(motion.positions.astype(float), camera, target)
    assert np.allclose(seen.positions, expected, rtol=1e-4, atol=1e-2, equal_nan=True)
    assert (seen.space, seen.size, seen.fps) == ("image", (800, 600), 30)


def test_left_of_a_person_who_faces_the_camera_is_at_larger_x() -> None:
    motion = person()
    lateral = motion.joint("LHip") - motion.joint("RHip")
    assert np.allclose(heading(lateral), 0, atol=1e-6)
    front, back = project(motion, Camera()), project(motion, Camera(azimuth_deg=180))
    assert (front.joint("LHip")[:, 0] > front.joint("RHip")[:, 0]).all()
    assert (back.joint("LHip")[:, 0] < back.joint("RHip")[:, 0]).all()
    turned = motion.replace(positions=motion.positions @ axis_rotation("y", np.array(0.7)).T)
    facing = project(turned, Camera(azimuth_deg=np.degrees(0.7)))
    assert np.allclose(facing.positions, front.positions, atol=0.01)


def test_higher_is_at_smaller_y_and_the_target_is_at_the_middle() -> None:
    p = np.zeros((1, 25, 3))
    p[:, J["Neck"], 1] = 0.5
    seen = project(make_motion(p, 30, BODY_25, "world"), Camera())
    assert np.allclose(seen.joint("MidHip"), [960, 540])
    assert np.allclose(seen.joint("Neck"), [960, 540 - 0.5 * 1500 / 5])
    above = project(make_motion(p, 30, BODY_25, "world"), Camera(elevation_deg=90))
    assert np.allclose(above.joint("Neck"), [960, 540], atol=1e-3)


def test_target_is_the_mean_root_of_the_context() -> None:
    p = np.zeros((4, 25, 3)) + np.arange(4)[:, None, None] * [1, 0, 0]
    motion = make_motion(p, 30, BODY_25, "world")
    assert np.isclose(project(motion, Camera(), context_frames=2).joint("MidHip")[:2, 0].mean(), 960)
    assert np.isclose(project(motion, Camera()).joint("MidHip")[:, 0].mean(), 960)
    legless = motion.positions.copy()
    legless[:, J["MidHip"]] = np.nan
    seen = project(motion.replace(positions=legless), Camera())
    assert np.allclose(seen.joint("Neck"), project(motion, Camera()).joint("Neck"))
    with pytest.raises(MotionError, match="1 to 4"):
        project(motion, Camera(), context_frames=5)


def test_missing_and_behind_are_missing_and_confidence_is_kept() -> None:
    motion = person()
    p, confidence = motion.positions.copy(), np.full((6, 25), 0.4, np.float32)
    p[2, 3] = np.nan
    p[4, 5] = [1, 1, 40]
    confidence[2, 3] = 0
    seen = project(motion.replace(positions=p, confidence=confidence), Camera())
    expected = np.ones((6, 25), bool)
    expected[2, 3] = expected[4, 5] = False
    assert np.array_equal(seen.observed, expected)
    assert np.allclose(seen.confidence[expected], 0.4)
    assert seen.meta["subject"] == "a"
    assert seen.meta["camera"]["distance_m"] == 5


def test_samples_and_context_come_along() -> None:
    context, future = person(5), person(3, seed=1)
    forecast = future.replace(samples=np.stack([future.positions, future.positions + 0.1]), context=context)
    seen = project(forecast, Camera())
    assert np.array_equal(seen.samples[0], seen.positions)
    assert np.array_equal(seen.context.positions, project(context, Camera()).positions)


def test_views_stand_evenly_around() -> None:
    nine = views(9, Camera(elevation_deg=10, azimuth_deg=20))
    assert np.allclose([c.azimuth_deg for c in nine], 20 + 40 * np.arange(9))
    assert {c.elevation_deg for c in nine} == {10}
    assert len({*nine}) == 9
    with pytest.raises(MotionError):
        views(0)


def test_refusals() -> None:
    flat = make_motion(np.zeros((1, 25, 2)), 30, BODY_25, "image")
    with pytest.raises(MotionError, match="image space"):
        project(flat, Camera())
    nobody = make_motion(np.full((2, 25, 3), np.nan), 30, BODY_25, "world")
    with pytest.raises(MotionError, match="nothing"):
        project(nobody, Camera())
    for wrong in (
        {"distance_m": 0},
        {"focal_px": -1},
        {"elevation_deg": 91},
        {"azimuth_deg": float("nan")},
        {"zoom": 2},
    ):
        with pytest.raises(ValidationError):
            Camera.model_validate(wrong)
