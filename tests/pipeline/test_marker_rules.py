"""Joint centres from markers: symmetries of the rules, their truth by Plug-in Gait's own model outputs, and gaps."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from lmm.core.motion import RECORDED, SYNTHESISED, make_motion
from lmm.core.skeleton import Skeleton
from lmm.pipeline import marker_rules as rules
from lmm.pipeline.convert import to_body25
from lmm.skeletons import table
from lmm.sources.reading import read

PLUG_IN_GAIT = (
    *[
        "LFHD",
        "RFHD",
        "LBHD",
        "RBHD",
        "C7",
        "T10",
        "CLAV",
        "STRN",
        "RBAK",
        "LSHO",
        "LUPA",
        "LELB",
        "LFRM",
        "LWRA",
        "LWRB",
        "LFIN",
    ],
    *["RSHO", "RUPA", "RELB", "RFRM", "RWRA", "RWRB", "RFIN", "LASI", "RASI", "LPSI", "RPSI"],
    *["LTHI", "LKNE", "LTIB", "LANK", "LHEE", "LTOE", "RTHI", "RKNE", "RTIB", "RANK", "RHEE", "RTOE"],
)
GAIT = "c3d_samples/btk_plugin_gait/PiG_Motion-FlatFoot-One.c3d"
STATIC = "c3d_samples/pycgm/Static_trial.c3d"
MOVING = "c3d_samples/pycgm/Movement_trial.c3d"


def markers_only(motion, names=PLUG_IN_GAIT):
    """The motion without the model outputs, so that the rules must do."""
    names = [n for n in names if n in motion.skeleton.index]
    index = [motion.skeleton.index[n] for n in names]
    skeleton = Skeleton("pig", tuple(names), (-1,) * len(names), (), "markers")
    return make_motion(motion.positions[:, index], motion.fps, skeleton, "world")


def changed(motion, positions):
    return make_motion(positions, motion.fps, motion.skeleton, "world")


def random_rotation(seed):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.sign(np.linalg.det(q))


@pytest.mark.parametrize("seed", range(4))
def test_rotation_and_shift(shared_data, seed):
    motion = markers_only(read(shared_data / MOVING)).crop(0, 40)
    turn, shift = random_rotation(seed), np.array([3.0, -1.0, 2.0])
    expected = to_body25(motion).positions @ turn.T + shift
    made = to_body25(changed(motion, motion.positions @ turn.T + shift)).positions
    np.testing.assert_allclose(made, expected, atol=2e-5)


def test_mirror(shared_data):
    motion = markers_only(read(shared_data / MOVING)).crop(0, 40)
    swap = {"L": "R", "R": "L"}
    names = motion.skeleton.joints
    twin = [
        names.index(swap[n[0]] + n[1:]) if n[0] in swap and swap[n[0]] + n[1:] in names else k
        for k, n in enumerate(names)
    ]
    flip = np.array([-1, 1, 1])
    body = to_body25(motion)
    made = to_body25(changed(motion, motion.positions[:, twin] * flip))
    np.testing.assert_allclose(made.positions, body.positions[:, body.skeleton.mirrored] * flip, atol=2e-5)


# Mean distances, mm, to the joint centres of Plug-in Gait. It measures each subject, the rules use adult means;
# its hips are Davis's regression, some 25 mm beside Harrington's; its wrist lies behind the markers' middle.
TRUTH = {
    "Hip": ("FEP", 27),
    "Knee": ("FEO", 25),
    "Ankle": ("TIO", 10),
    "Shoulder": ("CLO", 20),
    "Elbow": ("HUO", 15),
    "Wrist": ("RAO", 40),
}


@pytest.mark.parametrize("name", [GAIT, STATIC, MOVING])
def test_near_the_model_outputs(shared_data, name):
    motion = read(shared_data / name)
    body = to_body25(markers_only(motion))
    for joint, (truth, limit) in TRUTH.items():
        for side in "RL":
            error = np.linalg.norm(body.joint(side + joint) - motion.joint(side + truth), axis=1)
            assert 1000 * np.nanmean(error) < limit, (side, joint, 1000 * np.nanmean(error))


@pytest.mark.parametrize("name", [GAIT, STATIC, MOVING])
def test_model_outputs_are_preferred(shared_data, name):
    motion = read(shared_data / name)
    body = to_body25(motion)
    for joint, (truth, _) in TRUTH.items():
        for side in "RL":
            both = body.observed[:, body.skeleton.index[side + joint]] & np.isfinite(motion.joint(side + truth)).all(
                axis=1
            )
            np.testing.assert_array_equal(body.joint(side + joint)[both], motion.joint(side + truth)[both])
    assert np.nanmedian(np.linalg.norm(body.joint("Nose") - body.joint("Neck"), axis=1)) > 0.1


def test_what_counts_as_recorded(shared_data):
    body = to_body25(markers_only(read(shared_data / MOVING)))
    flag = {j: set(body.flags[:, k]) for j, k in body.skeleton.index.items()}
    for joint in ("RHip", "LKnee", "RAnkle", "LElbow", "Neck", "MidHip", "RHeel"):
        assert flag[joint] <= {RECORDED, 4}
        assert RECORDED in flag[joint]
    for joint in ("Nose", "REar", "LEar"):
        assert SYNTHESISED in flag[joint]
        assert RECORDED not in flag[joint]
    assert body.confidence[:, body.skeleton.index["RKnee"]].max() == pytest.approx(0.9)


def test_harrington_by_hand():
    pelvis = np.array([[[0, 0, 0.12]], [[0, 0, -0.12]], [[-0.15, 0, 0.05]], [[-0.15, 0, -0.05]]])
    made = rules.hip(pelvis, {"side": 1.0})  # x forward, y up, z right
    expected = (-0.24 * 0.15 - 0.0099, -0.30 * 0.24 - 0.0109, 0.33 * 0.24 + 0.0073)
    np.testing.assert_allclose(made[0], expected, atol=1e-12)
    sacrum = np.concatenate([pelvis[:2], pelvis[2:].mean(axis=0, keepdims=True)])
    np.testing.assert_allclose(rules.hip(sacrum, {"side": 1.0}), made, atol=1e-12)


def test_chord_makes_a_right_angle_away_from_the_wand():
    random = np.random.default_rng(0)
    hip, marker, wand, lateral = random.normal(size=(4, 50, 3))
    centre = rules.chord(hip, marker, wand, lateral, 0.05)
    np.testing.assert_allclose(np.linalg.norm(centre - marker, axis=1), 0.05)
    np.testing.assert_allclose(((hip - centre) * (marker - centre)).sum(axis=1), 0, atol=1e-12)
    normal = np.cross(hip - marker, wand - marker)
    np.testing.assert_allclose(((centre - marker) * normal).sum(axis=1), 0, atol=1e-12)
    along = hip - marker
    beside = [
        v - (v * along).sum(1, keepdims=True) / (along**2).sum(1, keepdims=True) * along
        for v in (centre - marker, wand - marker)
    ]
    assert ((beside[0] * beside[1]).sum(axis=1) < 0).all()


def test_rigid_fill_restores_a_marker():
    random = np.random.default_rng(1)
    shape = random.normal(size=(4, 3))
    turns = np.stack([random_rotation(k) for k in range(30)])
    whole = np.einsum("tij,nj->nti", turns, shape) + random.normal(size=(1, 30, 3))
    holed = whole.copy()
    for k in range(4):
        holed[k, 5 * k : 5 * k + 4] = np.nan
    np.testing.assert_allclose(rules.fill_rigid(holed), whole, atol=1e-9)
    holed[:2, 25] = np.nan
    assert np.isnan(rules.fill_rigid(holed)[:2, 25]).all()


@pytest.mark.parametrize("lost", ["RASI", "LPSI", "RTHI", "LTIB", "RBHD", "LFHD"])
def test_a_short_gap_barely_moves_the_joints(shared_data, lost):
    motion = markers_only(read(shared_data / MOVING))
    positions = motion.positions.copy()
    positions[100:130, motion.skeleton.index[lost]] = np.nan
    whole, holed = to_body25(motion), to_body25(changed(motion, positions))
    np.testing.assert_array_equal(holed.observed, whole.observed)
    assert 1000 * np.nanmax(np.linalg.norm(holed.positions - whole.positions, axis=2)) < 15


@pytest.mark.parametrize(
    ("lost", "limit"),
    [
        ("RASI", 35),
        ("LPSI", 25),
        ("RTHI", 40),
        ("RBHD", 15),
        ("RFHD", 30),
        ("LWRB", 60),
        ("STRN", 0.01),
        ("CLAV", 0.01),
    ],
)
def test_a_marker_that_a_whole_file_lacks(shared_data, lost, limit):
    motion = markers_only(read(shared_data / GAIT))
    positions = motion.positions.copy()
    positions[:, motion.skeleton.index[lost]] = np.nan
    whole, holed = to_body25(motion), to_body25(changed(motion, positions))
    np.testing.assert_array_equal(holed.observed.any(axis=0), whole.observed.any(axis=0))
    moved = np.linalg.norm(holed.positions - whole.positions, axis=2)[:, whole.observed.any(axis=0)]
    assert 1000 * np.nanmedian(moved, axis=0).max() < limit


def test_uiprmd_files_that_lack_markers(shared_data):
    folder = shared_data / "uiprmd"
    files = [
        *(
            "correct/vicon/m02_s05_e01",
            "correct/vicon/m03_s01_e01",
            "correct/vicon/m06_s03_e01",
            "correct/vicon/m10_s05_e01",
        ),
        "incorrect/vicon/m10_s05_e01",
    ]
    for name in files:
        found = sorted((folder / name).parent.rglob((folder / name).name + "_positions*"))
        assert found, name
        with gzip.open(found[0], "rt") as f:
            raw = np.loadtxt(f, delimiter=",").reshape(-1, 39, 3) / 1000
        raw[(raw == 0).all(axis=2)] = np.nan
        assert np.isnan(raw[..., 0]).all(axis=0).any()
        skeleton = Skeleton("pig", PLUG_IN_GAIT, (-1,) * 39, (), "markers")
        body = to_body25(make_motion(raw[..., [0, 2, 1]] * (1, 1, -1), 100, skeleton, "world"))
        seen = body.observed.mean(axis=0)
        for joint, share in zip(body.skeleton.joints, seen, strict=True):
            assert share == 0 if joint[1:] in ("Eye", "SmallToe") else share > 0.9 or joint == "LBigToe", (name, joint)


def test_every_rule_of_the_table_exists():
    markers = table("markers")
    for candidates in markers.rules.values():
        for rule in candidates:
            assert rule.kind in {"joint", "midpoint", "absent", *rules.RULES}
            assert rule.why
