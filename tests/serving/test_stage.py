"""The stage: motions of any space stand on one floor and clock, and a moment shows what the motions say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import MotionError
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.datasets.synthetic import gait
from lmm.rendering.draw import FAN, HUES, PAPER, SIDES, mix, opacity
from lmm.rendering.scene import LEFT, MAX_MOTIONS, MIDDLE, RIGHT
from lmm.serving.stage import HELD, HIGH, LOW, THIN, Look, Picture, Stage, picture, ways
from lmm.serving.tone import INTO, OUT_OF, A, B, C, D, E, for_lines

FLAT = Skeleton("arms", ("Chest", "RHand", "LHand", "Foot"), (-1, 0, 0, 0), (("RHand", "LHand"),))


def flat(**fields: object) -> Motion:
    """A person of 340 pixels, whose right hand is at the picture's left."""
    at = np.tile(np.array([[500, 300], [400, 260], [600, 260], [500, 600.0]]), (10, 1, 1))
    return make_motion(at, 10, FLAT, "image", size=(1000, 800), **fields)  # type: ignore[arg-type]


def seen(stage: Stage, time: float = 0.0, **choices: object) -> Picture:
    count = len(stage.actors)
    look = {"time": time, "shown": (True,) * count, "samples": (0,) * count, **choices}
    return picture(stage.actors, Look(**look))  # type: ignore[arg-type]


def stage_of(*motions: Motion) -> Stage:
    stage = Stage()
    for motion in motions:
        stage.add(motion)
    return stage


@pytest.fixture(scope="module")
def walk() -> Motion:
    return gait(seconds=4.0, fps=30.0)


@pytest.fixture(scope="module")
def future(walk: Motion) -> Motion:
    first = lmm.forecast(walk.crop(0, 90), "constant-velocity", 1.0, 1)
    samples = np.stack([first.positions + 0.1 * i for i in range(4)])
    return first.replace(samples=samples)


def test_metres_stay_metres(walk: Motion) -> None:
    np.testing.assert_allclose(seen(stage_of(walk), 1.0).joints, walk.positions[30], atol=1e-6)
    raised = walk.replace(positions=walk.positions + np.float32([0, 3, 0]))
    assert seen(stage_of(raised), 1.0).joints[:, 1].min() == pytest.approx(0, abs=0.1)


def test_pixels_stand_upright_and_as_tall_as_a_person() -> None:
    chest, right, left, foot = seen(stage_of(flat())).joints
    assert np.ptp([chest[1], right[1], left[1], foot[1]]) == pytest.approx(1.7)
    assert foot[1] == pytest.approx(0)
    assert right[1] > chest[1] > foot[1]
    assert right[0] < 0 < left[0]
    assert not seen(stage_of(flat())).joints[:, 2].any()


def test_joints_have_the_colours_of_their_sides_and_fade_with_confidence() -> None:
    confidence = np.ones((10, 4))
    confidence[:, 2] = 0.25
    shown = seen(stage_of(flat(confidence=confidence)))
    assert tuple(shown.joint_colours[1]) == SIDES[RIGHT]
    assert tuple(shown.joint_colours[2]) == mix(PAPER, SIDES[LEFT], opacity(0.25))
    assert tuple(shown.bones.colours[1, 0]) == tuple(shown.joint_colours[2])
    by = seen(stage_of(flat(confidence=confidence)), by_confidence=True).joint_colours
    assert tuple(by[1]) == HIGH
    assert tuple(by[2]) == mix(LOW, HIGH, 0.25)


def test_a_missing_joint_shows_neither_dot_nor_bone() -> None:
    positions = flat().positions.copy()
    positions[3, 1] = np.nan
    stage = stage_of(flat().replace(positions=positions))
    assert [len(seen(stage, t).joints) for t in (0.2, 0.3)] == [4, 3]
    assert [len(seen(stage, t).bones.ends) for t in (0.2, 0.3)] == [3, 2]


def test_a_forecast_shows_all_samples_and_the_chosen_one(walk: Motion, future: Motion) -> None:
    stage = stage_of(walk, future)
    bones = len(walk.skeleton.bones)
    assert not len(seen(stage, 2.9).fan.ends)
    shown = seen(stage, 3.5, samples=(0, 2))
    assert shown.fan.ends.shape == (4 * bones, 2, 3)
    assert {tuple(c) for c in shown.fan.colours.reshape(-1, 3)} == {mix(PAPER, FAN, THIN)}
    frame = int(np.argmin(np.abs(future.clock - 3.5)))
    assert future.samples is not None
    np.testing.assert_allclose(shown.joints[25:], future.samples[2, frame], atol=1e-6)
    first, third = (ways(stage.actors, Look(0, (False, True), (0, s))).ends[-1, -1] for s in (0, 2))
    np.testing.assert_allclose(third - first, [0.2, 0, 0.2], atol=1e-5)  # the way of the chosen one


def test_recording_and_forecast_share_clock_place_and_colours(walk: Motion, future: Motion) -> None:
    stage = stage_of(walk, future)
    assert (stage.start, round(stage.end, 2)) == (0, 3.97)
    assert len(seen(stage, 2.0).joints) == 25  # the context is not drawn over its recording
    assert len(seen(stage, 2.0, shown=(False, True)).joints) == 25
    assert len(seen(stage, 3.5).joints) == 50
    alone = stage_of(future)
    assert alone.start == 0
    assert alone.end == pytest.approx(stage.end, abs=0.05)
    cut = stage.actors[0].until(1.0)
    assert (cut.num_frames, stage.actors[1].recorded) == (31, future.context)
    with pytest.raises(MotionError, match="later time"):
        stage.actors[0].until(-1.0)


def test_a_motion_that_ended_is_held_faintly() -> None:
    stage = stage_of(flat(), gait(seconds=2.0))
    assert {tuple(c) for c in seen(stage, 1.5).joint_colours[[0]]} == {mix(PAPER, HUES[0], HELD)}


def test_several_motions_have_a_hue_each_or_stand_apart(walk: Motion) -> None:
    other = walk.replace(meta={**walk.meta, "source": "other"})
    stage = stage_of(walk, other)
    together, apart = seen(stage), seen(stage, apart=True)
    middle = walk.skeleton.index["MidHip"]
    assert tuple(together.joint_colours[25 + middle]) == HUES[1]
    np.testing.assert_array_equal(together.joints[:25], together.joints[25:])
    assert apart.joints[25:, 0].min() > apart.joints[:25, 0].max()
    assert tuple(apart.joint_colours[25 + middle]) == SIDES[MIDDLE]
    assert stage.camera(apart=True).radius > stage.camera(apart=False).radius


def test_hidden_motions_leave_nothing(walk: Motion) -> None:
    stage = stage_of(walk)
    shown = seen(stage, shown=(False,))
    assert not len(shown.joints) + len(shown.bones.ends)
    assert not len(ways(stage.actors, Look(0, (False,), (0,))).ends)
    on_floor = ways(stage.actors, Look(0, (True,), (0,))).ends
    assert len(on_floor) > 50
    assert not on_floor[..., 1].any()


def test_names_differ_and_the_stage_fills_up(walk: Motion) -> None:
    stage = stage_of(*[walk] * MAX_MOTIONS)
    assert len({a.name for a in stage.actors}) == MAX_MOTIONS
    with pytest.raises(MotionError, match="at most"):
        stage.add(walk)


def test_an_empty_stage_has_a_view() -> None:
    assert Stage().camera(apart=True).radius > 0
    assert not len(seen(Stage()).joints)


def test_lines_are_shown_in_the_colours_that_were_meant() -> None:
    meant = np.array([*SIDES, *HUES, mix(PAPER, FAN, THIN)], np.uint8)
    x = for_lines(meant) / 255 @ INTO.T
    light = np.clip(((x * (x + A) - B) / (x * (C * x + D) + E)) @ OUT_OF.T, 0, 1)
    shown = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(shown - meant).max() < 40  # the curve cannot show the purest yellow
    assert np.abs(shown - meant).mean() < 3


def test_real_recordings(shared_data: Path) -> None:
    markers = lmm.read(shared_data / "c3d_samples/opensim/walking5.c3d")
    shown = seen(stage_of(lmm.read(shared_data / "cmu_bvh_samples/07_01.bvh"), markers), 1.0)
    assert len(shown.bones.ends) >= 15
    assert np.isfinite(shown.bones.ends).all()
