"""Repetitions, steps, centre of mass and surprise of motions whose answers are known."""

from __future__ import annotations

import tomllib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.analysis.analyse import analyse
from lmm.analysis.mass import SEGMENTS, centre_of_mass
from lmm.analysis.repetitions import repetitions
from lmm.analysis.steps import contacts, rhythm, steps
from lmm.core.errors import MotionError
from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait
from lmm.evaluation.motion_report import motion_page
from lmm.inference.surprise import surprise
from lmm.pipeline.clean import clean
from lmm.skeletons import BODY_25

HAND_COUNTS = Path(__file__).resolve().parents[2] / "benchmarks" / "hand_counts.toml"


def standing(frames: int, fps: float = 30.0) -> Any:
    """Return (T, 25, 3): a person of the synthetic walk, stopped."""
    return np.repeat(clean(gait(seconds=1.0)).positions[:1].astype(float), frames, 0)


def raising(times: list[tuple[float, float]], seconds: float, reach: float = 0.5, noise: float = 0.0) -> Motion:
    """Return a person who raises both hands to `reach` metres from each begin to each end, and stands otherwise."""
    t = np.arange(0, seconds, 1 / 30)
    up = np.zeros_like(t)
    for begin, end in times:
        inside = (t >= begin) & (t <= end)
        up[inside] = np.sin(np.pi * (t[inside] - begin) / (end - begin)) ** 2
    points = standing(len(t))
    for joint, share in (("RWrist", 1.0), ("LWrist", 1.0), ("RElbow", 0.5), ("LElbow", 0.5)):
        points[:, BODY_25.index[joint], 1] += share * reach * up
    points += noise * np.random.default_rng(0).normal(size=points.shape)
    return make_motion(points, 30.0, BODY_25, "world")


@pytest.mark.parametrize("count", [1, 2, 7])
def test_repetitions_are_counted_and_bounded(count: int) -> None:
    times = [(0.5 + 2.0 * k, 1.7 + 2.0 * k + 0.1 * (k % 3)) for k in range(count)]
    found = repetitions(raising(times, times[-1][1] + 0.5, noise=0.005))
    assert len(found) == count
    for r, (begin, end) in zip(found, times, strict=True):
        assert r.start_s == pytest.approx(begin, abs=0.3)
        assert r.end_s == pytest.approx(end, abs=0.3)
        assert begin < (r.start_s + r.end_s) / 2 < end


def test_who_stands_still_repeats_nothing() -> None:
    assert repetitions(raising([], 5.0, noise=0.002)) == []
    hidden = standing(60)
    hidden[:, [1, 8]] = np.nan
    assert repetitions(make_motion(hidden, 30.0, BODY_25, "world")) == []


def test_small_and_large_repetitions_count_alike() -> None:
    both = [raising([(0.3, 1.5)], 2.0, reach).positions for reach in (0.5, 0.3, 0.5)]
    assert len(repetitions(make_motion(np.concatenate(both), 30.0, BODY_25, "world"))) == 3


@pytest.mark.parametrize("cadence", [90.0, 110.0, 130.0])
def test_a_walks_rhythm_is_found(cadence: float) -> None:
    walk = clean(gait(seconds=10.0, cadence_spm=cadence))
    told = rhythm(walk)
    assert told is not None
    assert told["cadence_spm"] == pytest.approx(cadence, rel=0.03)
    assert told["stride_s"] == pytest.approx(120 / cadence, rel=0.04)
    assert abs(told["step_time_asymmetry"]) < 0.1
    path = np.linalg.norm(np.diff(walk.positions[:, 8, [0, 2]], axis=0), axis=1).sum() / walk.seconds
    assert told["speed_mps"] == pytest.approx(path, rel=0.1)
    sides = [s.side for s in steps(walk)]
    assert all(a != b for a, b in pairwise(sides))
    assert 0.58 < told["stance_right"] < 0.7


def test_who_stands_does_not_walk() -> None:
    still = make_motion(standing(120), 30.0, BODY_25, "world")
    assert all(down.all() for down in contacts(still).values())
    assert steps(still) == []
    assert rhythm(still) is None


def test_a_raised_foot_is_in_the_air() -> None:
    points = standing(90)
    for j in ("RAnkle", "RBigToe", "RSmallToe", "RHeel", "RKnee"):
        points[30:60, BODY_25.index[j], 1] += 0.3
    down = contacts(make_motion(points, 30.0, BODY_25, "world"))
    assert not down["right"][34:56].any()
    assert down["right"][:26].all()
    assert down["left"].all()


def test_steps_of_recorded_walks_are_those_counted_by_hand(shared_data: Any) -> None:
    """Counted by looking at the heights of both ankles: feet that come down after the clip has begun."""
    import lmm

    counted = {"07_12": 5, "08_01": 5, "35_01": 6, "16_15": 6, "35_17": 3}
    for name, number in counted.items():
        motion = clean(lmm.read(shared_data / "cmu_bvh_samples" / f"{name}.bvh"))
        assert abs(len(steps(motion)) - number) <= 1, name


@pytest.mark.parametrize("trial", ["49_06", "49_07", "49_08", "10_01", "10_03", "11_01"])
def test_cartwheels_and_kicks_are_those_counted_by_hand(shared_data: Any, trial: str) -> None:
    """Counted by eye (benchmarks/hand_counts.toml); docs/analysis.md tells of the trials that are counted wrong."""
    import lmm

    seen = tomllib.loads(HAND_COUNTS.read_text(encoding="utf-8"))[trial]["at_s"]
    found = repetitions(clean(lmm.read(shared_data / "cmu", person=trial)))
    assert len(found) == len(seen)
    assert all(r.start_s <= at <= r.end_s for r, at in zip(found, seen, strict=True))


def test_contacts_are_those_that_a_laboratory_marked(shared_data: Any) -> None:
    """The events in the file were set by whoever made it, from force plates and by eye."""
    import ezc3d

    import lmm

    file = shared_data / "c3d_samples" / "btk_plugin_gait" / "PiG_Motion-FlatFoot-One.c3d"
    event = ezc3d.c3d(str(file))["parameters"]["EVENT"]
    motion = clean(lmm.read(file))
    away = []
    for context, label, time in zip(
        event["CONTEXTS"]["value"], event["LABELS"]["value"], event["TIMES"]["value"][1], strict=True
    ):
        down = contacts(motion)[context.lower()].astype(int)
        changes = motion.clock[1:][np.diff(down) == (1 if label == "Foot Strike" else -1)]
        if motion.clock[0] + 0.1 < time < motion.clock[-1] - 0.1:
            away.append(float(np.abs(changes - time).min()))
    assert len(away) >= 6
    assert np.mean(away) < 0.04
    assert max(away) < 0.08


def test_masses_make_a_whole() -> None:
    assert sum(s[2] for s in SEGMENTS) == pytest.approx(1, abs=0.002)
    motion = make_motion(standing(3) + np.array([1.0, 0, 5.0]), 30.0, BODY_25, "world")
    there = centre_of_mass(motion)
    here = centre_of_mass(make_motion(standing(3), 30.0, BODY_25, "world"))
    np.testing.assert_allclose(there - here, np.broadcast_to([1.0, 0, 5.0], (3, 3)), atol=1e-5)
    tall = motion.positions[0, BODY_25.index["Nose"], 1] / 0.93  # the nose is at 93 % of the body's height
    assert 0.52 < there[0, 1] / tall < 0.60  # of standing people: 0.55 to 0.57
    hidden = motion.positions.copy()
    hidden[1, BODY_25.index["RKnee"]] = np.nan
    assert np.isnan(centre_of_mass(motion.replace(positions=hidden))[1]).all()


def test_surprise_is_where_and_when_something_unusual_happens() -> None:
    walk = clean(gait(seconds=9.0))
    points = walk.positions.copy()
    odd = slice(150, 200)
    t = np.arange(50) / 30
    for joint in ("LWrist", "LElbow"):
        points[odd, BODY_25.index[joint], 1] += (0.4 * np.sin(2 * np.pi * 2.5 * t) ** 2).astype(np.float32)
    usual, unusual = (surprise(m) for m in (walk, walk.replace(positions=points)))
    at = (unusual.times > 4.9) & (unusual.times < 6.4)
    assert unusual.regions["left arm"][at].max() > 1.5 * usual.regions["left arm"][at].max()
    before = unusual.times < 4.4
    np.testing.assert_allclose(unusual.regions["left arm"][before], usual.regions["left arm"][before], rtol=0.35)
    with pytest.raises(MotionError, match=r"surprise needs 1\.5 s"):
        surprise(walk.crop(0, 30))


def test_everything_is_told_in_plain_numbers() -> None:
    import json

    found = analyse(gait(seconds=6.0))
    told = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert told["gait"]["steps"] > 8
    assert set(told["ranges_deg"]) == set(found.angles)
    rows = found.table().splitlines()
    assert len(rows) == 1 + found.motion.num_frames
    assert rows[0].startswith("time_s,right_knee_deg")
    assert all(len(r.split(",")) == len(rows[0].split(",")) for r in rows)
    page = motion_page(found, surprise(found.motion))
    assert page.count("<svg") >= 8
    assert "walking at" in page
    with pytest.raises(MotionError, match="several samples"):
        analyse(found.motion.replace(samples=np.stack([found.motion.positions] * 2)))
