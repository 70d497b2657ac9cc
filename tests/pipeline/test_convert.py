"""Tables and conversion: every table is sound, sides never cross, and rules of preference serve a whole clip."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.errors import LmmError, MotionError
from lmm.core.motion import SYNTHESISED, make_motion
from lmm.core.skeleton import Skeleton
from lmm.pipeline.convert import RULES, to_body25
from lmm.skeletons import BODY_25, table, table_names

ORDER = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
).split()


def test_body_25_is_openposes_order() -> None:
    assert list(BODY_25.joints) == ORDER
    assert BODY_25.parents[BODY_25.index["RElbow"]] == BODY_25.index["RShoulder"]


@pytest.mark.parametrize("name", table_names())
def test_tables_say_all_of_every_joint(name: str) -> None:
    t = table(name)
    assert set(t.rules) == set(ORDER)
    for joint, rules in t.rules.items():
        for rule in rules:
            assert rule.kind == "absent" or rule.kind in RULES, (joint, rule)
            assert rule.kind == "joint" or rule.why, f"{joint}: a rule that is no copy says why"
            assert 0 < rule.factor <= 1


@pytest.mark.parametrize("name", table_names())
def test_left_is_made_of_left_and_right_of_right(name: str) -> None:
    """The rules of a joint and of its partner are mirror images: same rules, inputs of the other side."""

    def side(concept: str) -> str:
        if concept[-2:] in ("_L", "_R"):
            return concept[-1].lower()
        low = concept.lower()
        if "left" in low or "right" in low:
            return "l" if "left" in low else "r"
        return low[0] if low[0] in "lr" else ""

    t = table(name)
    for right, left in BODY_25.pairs:
        assert len(t.rules[right]) == len(t.rules[left])
        for a, b in zip(t.rules[right], t.rules[left], strict=True):
            assert (a.kind, a.factor, a.synthesised) == (b.kind, b.factor, b.synthesised)
            assert "l" not in {side(i) for i in a.inputs} or "r" in {side(i) for i in a.inputs}, (right, a)
            assert "r" not in {side(i) for i in b.inputs} or "l" in {side(i) for i in b.inputs}, (left, b)


def fixed_tables() -> list[str]:
    return [n for n in table_names() if table(n).joints]


@pytest.mark.parametrize("name", fixed_tables())
def test_known_places_arrive(name: str) -> None:
    """Each source joint at its own place: copies are exact, midpoints are midpoints, confidence is the lowest."""
    skeleton = table(name).skeleton
    rng = np.random.default_rng(0)
    p, c = rng.normal(size=(3, skeleton.num_joints, 3)), rng.uniform(0.2, 1, (3, skeleton.num_joints))
    m = make_motion(p, 30, skeleton, "world", c)
    out = to_body25(m)
    for target, rules in table(name).rules.items():
        if rules[0].kind == "joint":
            np.testing.assert_array_equal(out.joint(target), m.joint(rules[0].inputs[0]))
        if rules[0].kind == "midpoint":
            a, b = rules[0].inputs
            np.testing.assert_allclose(out.joint(target), (m.joint(a) + m.joint(b)) / 2, atol=1e-6)
            low = np.minimum(*(m.confidence[:, skeleton.index[i]] for i in (a, b)))
            np.testing.assert_allclose(out.confidence[:, BODY_25.index[target]], low, atol=1e-6)
    assert not (out.flags == SYNTHESISED).any() or name == "markers"


def test_the_preferred_rule_holds_unless_it_loses_much() -> None:
    kinect = table("kinect_v2").skeleton
    p = np.random.default_rng(1).normal(size=(100, kinect.num_joints, 3))
    a_few, many = p.copy(), p.copy()
    a_few[:4, kinect.index["ShoulderLeft"]] = np.nan
    many[:40, kinect.index["ShoulderLeft"]] = np.nan
    middle = p[:, [kinect.index["ShoulderLeft"], kinect.index["ShoulderRight"]]].mean(axis=1)
    kept = to_body25(make_motion(a_few, 30, kinect, "world")).joint("Neck")
    np.testing.assert_allclose(kept[4:], middle[4:], atol=1e-6)
    assert np.isnan(kept[:4]).all()
    other = to_body25(make_motion(many, 30, kinect, "world")).joint("Neck")
    np.testing.assert_allclose(other, p[:, kinect.index["SpineShoulder"]], atol=1e-6)


def test_body_25_passes_through() -> None:
    m = make_motion(np.ones((2, 25, 2)), 30, BODY_25, "image")
    assert to_body25(m) is m


def test_no_table_and_nothing_to_make_are_errors() -> None:
    lonely = Skeleton("lonely", ("x",), (-1,))
    with pytest.raises(MotionError, match="no correspondence"):
        to_body25(make_motion(np.ones((1, 1, 3)), 30, lonely, "world"))
    with pytest.raises(MotionError, match="no BODY_25 joint"):
        to_body25(make_motion(np.ones((1, 1, 3)), 30, Skeleton("lonely", ("x",), (-1,), (), "mocap"), "world"))
    with pytest.raises(LmmError, match="no skeleton table"):
        table("../evil")
