"""Facts of motions whose answers are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm.analysis.facts import facts
from lmm.core.geometry import axis_rotation
from lmm.core.motion import Motion
from lmm.datasets import synthetic
from lmm.datasets.synthetic import gait, repetitions, standing
from lmm.datasets.windows import mirror

OTHER = {"left": "right", "right": "left", "forward left": "forward right"}


def moved(motion: Motion, offset: np.ndarray) -> Motion:
    return motion.replace(positions=motion.positions + offset[:, None].astype(np.float32))


def squats(count: int, knee_deg: float, fps: float = 30.0) -> Motion:
    t = np.arange(round((2 * count + 1) * fps)) / fps
    bend = np.where(t < 2 * count, (1 - np.cos(np.pi * t)) / 2, 0)
    knee = np.radians(knee_deg) * bend
    angles = {s + name: knee * share for s in "RL" for name, share in (("thigh", 0.5), ("knee", 1.0), ("ankle", 0.5))}
    body = synthetic._pose(angles, len(t), 1.75)
    return synthetic._motion(body - [0, 1, 0] * body[..., 1].min(axis=1)[:, None, None], fps, "squats")


def jumps(count: int, height_m: float = 0.3) -> Motion:
    motion = standing(seconds=1 + 1.5 * count)
    flight = 2 * np.sqrt(2 * height_m / 9.81)
    since = (motion.clock - 0.5) % 1.5
    up = np.where(
        (motion.clock >= 0.5) & (motion.clock < 0.5 + 1.5 * count - 0.1) & (since < flight),
        9.81 / 2 * since * (flight - since),
        0,
    )
    return moved(motion, np.stack([0 * up, up, 0 * up], 1))


def test_walk_goes_forward_as_far_as_it_goes():
    walk = gait(seconds=5, speed_mps=1.3)
    told = facts(walk)
    assert told is not None
    assert (told.direction, told.turn, told.walks, told.runs, told.straight) == ("forward", None, True, False, True)
    gone = np.linalg.norm(walk.joint("MidHip")[-1] - walk.joint("MidHip")[0])
    assert told.way_m == pytest.approx(gone, rel=0.03)
    assert told.speed_mps == pytest.approx(1.3, rel=0.03)
    assert told.jumps == told.crouches == 0


def test_walk_played_backwards_goes_backwards():
    walk = gait(seconds=5)
    told = facts(walk.replace(positions=walk.positions[::-1]))
    assert told is not None
    assert told.direction == "backwards"


@pytest.mark.parametrize(("rate", "side"), [(20, "left"), (-20, "right")])
def test_turns_are_told_with_their_side(rate, side):
    told = facts(gait(seconds=5, turn_deg_per_s=rate))
    assert told is not None
    assert (told.direction, told.turn) == ("forward", side)
    assert told.turn_deg == pytest.approx(rate * 5, abs=8)


@pytest.mark.parametrize(
    ("left", "ahead", "direction"),
    [(1, 0, "left"), (-1, 0, "right"), (1, 1, "forward left"), (-1, 1, "forward right"), (0, -1, "backwards"),
     (0.2, 1, "forward"), (1, -1, None), (0.42, 1, None)],
)  # fmt: skip
@pytest.mark.parametrize("yaw", [0.0, 2.0, -1.2])
def test_directions_are_the_persons_own(left, ahead, direction, yaw):
    stand = standing(seconds=2)
    way = np.linspace(0, 1.5, stand.num_frames)[:, None] * np.array([left, 0, ahead])
    slid = moved(stand, way)
    turned = slid.replace(positions=(slid.positions @ axis_rotation("y", np.array(yaw)).T).astype(np.float32))
    told = facts(turned)
    assert told is not None
    assert told.direction == direction


def test_going_there_and_back_has_no_direction():
    stand = standing(seconds=4)
    way = 1.5 * np.abs(np.sin(np.pi * stand.clock / 4))[:, None] * np.array([0, 0, 1])
    told = facts(moved(stand, way))
    assert told is not None
    assert told.direction is None


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_arm_raises_are_counted_on_their_side(count):
    told = facts(repetitions(count))
    assert told is not None
    assert told.raised == {"right": count, "left": 0}
    assert told.raises == told.arm == ("right" if count else None)
    assert told.stays
    assert told.still == (count == 0)


@pytest.mark.parametrize("count", [1, 3])
def test_jumps_fall_freely(count):
    told = facts(jumps(count))
    assert told is not None
    assert told.jumps == count
    slow = standing(seconds=4)  # as high, on a lift
    up = 0.3 * (1 - np.cos(2 * np.pi * slow.clock / 2)) / 2
    lifted = facts(moved(slow, np.stack([0 * up, up, 0 * up], 1)))
    assert lifted is not None
    assert lifted.jumps == 0


@pytest.mark.parametrize(("count", "deg", "told_count"), [(1, 110, 1), (3, 80, 3), (2, 50, 0)])
def test_squats_are_counted_where_knees_bend_enough(count, deg, told_count):
    told = facts(squats(count, deg))
    assert told is not None
    assert told.crouches == told_count
    assert told.knee_deg == pytest.approx(deg, abs=3)
    assert told.jumps == 0


@settings(max_examples=15, deadline=None)
@given(st.floats(-40, 40), st.integers(0, 3))
def test_a_mirror_exchanges_sides_and_nothing_else(rate, count):
    for motion in (gait(seconds=4, turn_deg_per_s=rate, seed=count), repetitions(count)):
        here, there = facts(motion), facts(mirror(motion))
        assert here is not None
        assert there is not None
        assert there.turn_deg == pytest.approx(-here.turn_deg, abs=1e-3)
        assert there.left_m == pytest.approx(-here.left_m, abs=1e-4)
        for name in ("direction", "turn", "arm", "raises", "lifts", "leg"):
            said = getattr(here, name)
            assert getattr(there, name) == OTHER.get(said, said)
        for name in ("walks", "runs", "jumps", "crouches", "stays", "still", "straight"):
            assert getattr(there, name) == getattr(here, name)


def test_nothing_is_told_of_pictures_or_without_a_trunk():
    stand = standing()
    hidden = stand.confidence.copy()
    hidden[:, stand.skeleton.index["Neck"]] = 0
    assert facts(stand.replace(confidence=hidden)) is None
    flat = Motion(stand.positions[..., :2], stand.confidence, 30, stand.skeleton, "image")
    assert facts(flat) is None
