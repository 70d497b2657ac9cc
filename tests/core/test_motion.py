"""Motion keeps its promises: missing is NaN and confidence 0, arrays are read-only, nonsense is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.errors import MotionError
from lmm.core.motion import MISSING, REMOVED, Motion, make_motion
from lmm.core.skeleton import Skeleton

ARM = Skeleton("arm", ("shoulder", "elbow", "wrist"), (-1, 0, 1))


def test_a_joint_without_position_or_confidence_is_missing_as_a_whole() -> None:
    p = np.ones((4, 3, 2))
    p[0, 0, 1] = np.nan
    c = np.ones((4, 3))
    c[1, 2] = 0
    m = Motion(p, c, 30, ARM, "image")
    assert np.isnan(m.positions[0, 0]).all()
    assert m.confidence[0, 0] == 0
    assert np.isnan(m.positions[1, 2]).all()
    assert m.flags[0, 0] == MISSING
    assert m.flags[1, 2] == MISSING
    assert m.missing_fraction == pytest.approx(2 / 12)


def test_removed_stays_removed() -> None:
    flags = np.zeros((1, 3))
    flags[0, 1] = REMOVED
    m = Motion(np.ones((1, 3, 3)), [[1, 0, 1]], 30, ARM, "world", flags=flags)
    assert m.flags.tolist() == [[0, REMOVED, 0]]


def test_arrays_are_read_only_and_apart_from_what_was_given() -> None:
    p = np.ones((2, 3, 3), np.float32)
    m = make_motion(p, 30, ARM, "world")
    with pytest.raises(ValueError, match="read-only"):
        m.positions[0] = 0
    p[:] = 5
    assert (m.positions == 1).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"fps": 0}, "frame rate"),
        ({"fps": float("nan")}, "frame rate"),
        ({"space": "room"}, "space"),
        ({"positions": np.ones((2, 4, 3))}, "joints"),
        ({"positions": np.full((2, 3, 3), np.inf)}, "infinite"),
        ({"positions": np.ones((0, 3, 3))}, "empty"),
        ({"confidence": np.full((2, 3), 1.5)}, r"\[0, 1\]"),
        ({"times": [0.0, 0.0]}, "times"),
        ({"samples": np.ones((4, 2, 3, 2))}, "samples"),
    ],
)
def test_nonsense_is_refused(changes: dict, says: str) -> None:
    good = {
        "positions": np.ones((2, 3, 3)),
        "confidence": np.ones((2, 3)),
        "fps": 30,
        "skeleton": ARM,
        "space": "world",
    }
    with pytest.raises(MotionError, match=says):
        Motion(**{**good, **changes})


def test_clock_of_regular_and_irregular_motions() -> None:
    regular = make_motion(np.ones((3, 3, 3)), 10, ARM, "world", start_s=2.0)
    assert regular.clock.tolist() == pytest.approx([2.0, 2.1, 2.2])
    assert regular.crop(1, 3).start_s == pytest.approx(2.1)
    irregular = make_motion(np.ones((3, 3, 3)), 10, ARM, "world", times=[0, 0.1, 0.35])
    assert irregular.seconds == pytest.approx(0.45)
    assert irregular.crop(1, 3).clock.tolist() == pytest.approx([0.1, 0.35])


@pytest.mark.parametrize(
    ("joints", "parents", "says"),
    [
        (("a", "a"), (-1, 0), "twice"),
        (("a", "b"), (1, 0), "tree"),
        (("a", "b"), (-1, 7), "tree"),
        (("a",), (-1, 0), "parents"),
    ],
)
def test_skeletons_that_are_no_trees_are_refused(joints: tuple, parents: tuple, says: str) -> None:
    with pytest.raises(MotionError, match=says):
        Skeleton("bad", joints, parents)


def test_unknown_joint_names_what_there_is() -> None:
    with pytest.raises(MotionError, match="shoulder, elbow, wrist"):
        make_motion(np.ones((1, 3, 3)), 30, ARM, "world").joint("hand")
