"""The synthetic motions have the answers that they promise."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.errors import MotionError
from lmm.core.motion import RECORDED, Motion
from lmm.datasets import synthetic
from lmm.datasets.synthetic import gait, leg_angles, repetitions, standing, swing


@pytest.fixture(scope="module")
def walk() -> Motion:
    return gait(seconds=8, fps=60)


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cos = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip(cos, -1, 1)))


def knee_angle(motion: Motion, side: str) -> np.ndarray:
    hip, knee, ankle = (motion.joint(side + j).astype(float) for j in ("Hip", "Knee", "Ankle"))
    return angle_between(knee - hip, ankle - knee)


def arm_angle(motion: Motion) -> np.ndarray:
    arm = (motion.joint("RWrist") - motion.joint("RShoulder")).astype(float)
    return angle_between(arm, np.broadcast_to([0.0, -1.0, 0.0], arm.shape))


def path_speed(motion: Motion) -> float:
    """Return the root's mean forward speed over whole strides, metres per second."""
    z = motion.joint("MidHip")[:, 2].astype(float)
    return float((z[-1] - z[0]) / ((len(z) - 1) / motion.fps))


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"turn_deg_per_s": 25}, {"speed_mps": 1.3, "cadence_spm": 110}])
def test_bones_keep_their_length(options: dict[str, float]) -> None:
    motion = gait(seconds=4, **options)
    p = motion.positions.astype(float) - motion.positions[:, :1].astype(float)
    for a, b in motion.skeleton.bones:
        length = np.linalg.norm(p[:, a] - p[:, b], axis=1)
        assert np.ptp(length) < 1e-4, (motion.skeleton.joints[a], motion.skeleton.joints[b])


def test_segments_have_the_published_proportions() -> None:
    motion = standing(height_m=1.8)
    at = {j: motion.joint(j)[0] for j in motion.skeleton.joints}
    assert at["MidHip"][1] == pytest.approx(0.530 * 1.8, abs=1e-3)
    assert at["Neck"][1] == pytest.approx(0.818 * 1.8, abs=1e-3)
    assert at["RKnee"][1] == pytest.approx(0.285 * 1.8, abs=2e-3)
    assert np.linalg.norm(at["LElbow"] - at["LShoulder"]) == pytest.approx(0.186 * 1.8, abs=1e-3)
    assert at["RHeel"][1] == pytest.approx(0, abs=1e-6)
    assert np.ptp(motion.positions, axis=0).max() == 0


@pytest.mark.parametrize(("side", "ahead"), [("R", 0.0), ("L", 0.5)])
def test_knee_angle_from_positions_is_the_curve(walk: Motion, side: str, ahead: float) -> None:
    phase = walk.clock * 110 / 120 + ahead
    np.testing.assert_allclose(knee_angle(walk, side), np.degrees(leg_angles(phase)["knee"]), atol=0.5)


def test_curves_keep_to_the_published_key_values() -> None:
    for key in synthetic._data()["key"]:
        assert key["source"] in synthetic._data()["sources"]
        for percent, low, high in key["values"]:
            degrees = float(np.degrees(leg_angles(np.array(percent / 100))[key["joint"]]))
            assert low - 4 <= degrees <= high + 4, (key["joint"], percent, degrees)


def test_feet_stay_on_the_floor_without_sliding(walk: Motion) -> None:
    assert walk.positions[..., 1].min() >= -1e-5
    cycle = (walk.clock * 110 / 120) % 1
    lowest = walk.positions[..., 1].min(axis=1)
    assert lowest.max() < 0.006
    for side, shift in (("R", 0.0), ("L", 0.5)):
        own = (cycle + shift) % 1
        for joint, start, end in (("Heel", 0.12, 0.30), ("BigToe", 0.12, 0.48)):
            p = walk.joint(side + joint).astype(float)
            speed = np.linalg.norm(np.diff(p, axis=0), axis=1) * walk.fps
            single_support = (own[1:] > start) & (own[1:] < end) & (own[:-1] > start)
            assert np.median(speed[single_support]) < 0.03
            assert p[1:][single_support, 1].max() < 0.02


def test_left_is_the_mirror_of_right_half_a_cycle_later() -> None:
    fps = 110 / 120 * 64  # 64 frames a cycle
    motion = gait(seconds=4, fps=fps)
    local = (motion.positions - motion.joint("MidHip")[:, None]).astype(float)
    mirrored = local[:, list(motion.skeleton.mirrored)] * [-1, 1, 1]
    np.testing.assert_allclose(local[32:160], mirrored[:128], atol=1e-4)


@pytest.mark.parametrize(("speed", "cadence"), [(1.0, None), (1.4, None), (1.3, 110.0), (1.45, 110.0)])
def test_path_has_the_stated_speed(speed: float, cadence: float | None) -> None:
    motion = gait(seconds=20, fps=60, speed_mps=speed, cadence_spm=cadence)
    assert path_speed(motion) == pytest.approx(speed, rel=0.01)


def test_default_walk_is_physiological(walk: Motion) -> None:
    assert 1.2 < path_speed(walk) < 1.45
    hip = walk.joint("MidHip")
    assert 0.49 * 1.75 < hip[:, 1].min() < hip[:, 1].max() < 0.54 * 1.75
    assert 0.01 < np.ptp(hip[:, 1]) < 0.05
    assert 0.02 < np.ptp(hip[:, 0]) < 0.06


def test_the_person_is_not_mirrored(walk: Motion) -> None:
    assert (walk.joint("LHip")[:, 0] > walk.joint("RHip")[:, 0]).all()
    assert (walk.joint("LShoulder")[:, 0] > walk.joint("RShoulder")[:, 0]).all()
    assert (walk.joint("Nose")[:, 2] > walk.joint("Neck")[:, 2]).all()
    still = standing()
    for side in "RL":
        assert (still.joint(side + "BigToe")[:, 2] > still.joint(side + "Heel")[:, 2]).all()
        hip, knee, ankle = (walk.joint(side + j)[:, 2] for j in ("Hip", "Knee", "Ankle"))
        assert (knee - (hip + ankle) / 2).min() > -0.02  # knees bend forwards
    right_arm = walk.joint("RWrist")[:, 2] - walk.joint("RShoulder")[:, 2]
    right_leg = walk.joint("RAnkle")[:, 2] - walk.joint("RHip")[:, 2]
    assert np.corrcoef(right_arm, right_leg)[0, 1] < -0.8


def test_turning_is_to_the_left_at_the_given_rate() -> None:
    motion = gait(seconds=6, fps=30, turn_deg_per_s=15)
    lateral = motion.joint("LShoulder") - motion.joint("RShoulder")
    heading = np.unwrap(np.arctan2(-lateral[:, 2], lateral[:, 0]))
    assert np.degrees(heading[-1] - heading[0]) / (motion.seconds - 1 / 30) == pytest.approx(15, abs=1.5)
    assert motion.joint("MidHip")[-1, 0] > 1


def test_same_seed_same_motion() -> None:
    a, b, other, plain = (gait(seconds=3, seed=s).positions for s in (7, 7, 8, None))
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - other).max() > 0.01
    assert np.abs(a - plain).max() > 0.01
    assert np.isfinite(a).all()


def test_motion_says_what_it_is(walk: Motion) -> None:
    assert (walk.skeleton.name, walk.space, walk.num_frames) == ("body_25", "world", 480)
    assert (walk.flags == RECORDED).all()
    assert walk.meta["synthetic"] is True
    assert "Perry" in walk.meta["description"]


def test_swing_has_the_stated_angle() -> None:
    motion = swing(80, 0.5, seconds=4, fps=50)
    expected = 40 * (1 - np.cos(2 * np.pi * 0.5 * motion.clock))
    np.testing.assert_allclose(arm_angle(motion), expected, atol=0.05)
    assert (motion.joint("RWrist")[:, 2] >= motion.joint("RShoulder")[:, 2] - 1e-6).all()
    assert np.ptp(motion.joint("LWrist"), axis=0).max() == 0


@pytest.mark.parametrize(("count", "period_s"), [(0, 2.0), (5, 2.0), (7, 1.5)])
def test_repetitions_are_counted_exactly(count: int, period_s: float) -> None:
    motion = repetitions(count, period_s, fps=30)
    up = arm_angle(motion) > 60
    assert int((up[1:] & ~up[:-1]).sum()) == count
    assert motion.seconds == pytest.approx(count * period_s + 2)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"seconds": 0}, "duration"),
        ({"fps": float("nan")}, "frame rate"),
        ({"height_m": 9}, "height_m"),
        ({"speed_mps": -1}, "speed_mps"),
        ({"cadence_spm": 0}, "cadence_spm"),
        ({"turn_deg_per_s": float("nan")}, "turn_deg_per_s"),
        ({"speed_mps": 2.4, "cadence_spm": 60}, "out of reach"),
    ],
)
def test_impossible_requests_are_refused(options: dict[str, float], word: str) -> None:
    with pytest.raises(MotionError, match=word):
        gait(**options)


def test_repetitions_need_a_period() -> None:
    with pytest.raises(MotionError, match="period"):
        repetitions(3, period_s=0)
