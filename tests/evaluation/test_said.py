"""What texts ask for, what motions do; each motion's mirror image does the opposite."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait, repetitions, standing
from lmm.evaluation.said import Said, did, kept, said
from lmm.skeletons import BODY_25


def mirror(motion: Motion) -> Motion:
    return make_motion(motion.positions[:, list(BODY_25.mirrored)] * [-1, 1, 1], motion.fps, BODY_25, "world")


def backwards(motion: Motion) -> Motion:
    return make_motion(motion.positions[::-1].copy(), motion.fps, BODY_25, "world")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A person raises the LEFT hand.", Said(arm="left")),
        ("someone waves with the right arm, tired", Said(arm="right")),
        ("raises both hands", Said(arm="both")),
        ("lifts the left and right arm", Said(arm="both")),
        ("raises the left hand, then the right hand", Said()),
        ("bends the left elbow", Said(arm="left")),
        ("moves the right arm backwards", Said(arm="right")),
        ("does a straight leg raise with the left leg", Said(leg="left")),
        ("walks forward", Said(direction="forward")),
        ("steps backwards", Said(direction="backwards")),
        ("bows forward", Said()),
        ("walks to the left", Said(direction="left")),
        ("walks forward and to the right", Said(direction="forward right")),
        ("walks diagonally to the left", Said(direction="forward left")),
        ("walks and turns to the left", Said(turn="left")),
        ("walks forward, then turns right", Said(direction="forward", turn="right")),
        ("makes a left turn while walking", Said(turn="left")),
        ("turns clockwise", Said(turn="right")),
        ("turns counterclockwise", Said(turn="left")),
        ("turns left and turns right", Said()),
        ("walks forward with the left arm raised", Said(arm="left", direction="forward")),
        ("rotates the right shoulder in and out with good form", Said(arm="right")),
        ("moves the right arm backwards with good form", Said(arm="right")),
        ("moves the left leg and bends both knees", Said(leg="left")),
        ("leans forward without going anywhere", Said()),
        ("runs straight ahead", Said(direction="forward")),
        ("goes sideways to the left", Said(direction="left")),
        ("a bright person, copyright", Said()),
        ("", Said()),
    ],
)
def test_a_text_asks_for(text: str, expected: Said) -> None:
    assert said(text) == expected


def test_a_motion_does_what_it_does_and_its_mirror_image_the_opposite() -> None:
    turn = gait(4.0, 30.0, turn_deg_per_s=30.0)
    assert kept("walks forward and turns left", did(turn)) == {"direction": True, "turn": True}
    assert kept("walks forward and turns left", did(mirror(turn))) == {"direction": True, "turn": False}
    assert kept("walks forward and turns right", did(mirror(turn))) == {"direction": True, "turn": True}
    raised = repetitions(2)
    assert kept("raises the right hand", did(raised)) == {"arm": True}
    assert kept("raises the left hand", did(raised)) == {"arm": False}
    assert kept("raises the left hand", did(mirror(raised))) == {"arm": True}


def test_a_walk_played_backwards_goes_backwards() -> None:
    walk = gait(4.0, 30.0)
    assert kept("walks forward", did(walk)) == {"direction": True}
    assert kept("walks forward", did(backwards(walk))) == {"direction": False}
    assert kept("walks backwards", did(backwards(walk))) == {"direction": True}


def test_what_is_not_asked_for_is_not_scored_and_what_is_not_done_is_wrong() -> None:
    assert kept("someone dances", did(gait(4.0, 30.0))) == {}
    assert kept("walks forward", did(standing(3.0))) == {"direction": False}
    unseen = make_motion(np.full((30, 25, 3), np.nan), 30.0, BODY_25, "world")
    assert did(unseen) is None
    assert kept("walks forward", did(unseen)) == {"direction": False}


def test_to_the_left_may_be_diagonal() -> None:
    walk = gait(4.0, 30.0)
    angle = np.radians(45)
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    way = walk.positions[:, [BODY_25.index["MidHip"]]] * [1, 0, 1]
    body = walk.positions - way
    diagonal = make_motion(body + way @ rotation.T, 30.0, BODY_25, "world")  # faces +z, goes to +x too: the left
    assert kept("walks to the left", did(diagonal)) == {"direction": True}
    assert kept("walks diagonally to the left", did(diagonal)) == {"direction": True}
    assert kept("walks to the right", did(diagonal)) == {"direction": False}
    assert kept("walks forward", did(diagonal)) == {"direction": False}
