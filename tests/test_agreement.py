"""Different recordings of one movement agree: marker and depth cameras, four videos and their TRC.

The measures are those of `benchmarks/agreement.py`, here on a part of the recordings; docs/validation.md has all.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def agreement() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield importlib.import_module("agreement")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def pairs(agreement: ModuleType, shared_data: Path) -> list[Any]:
    """The first correct repetition of four movements by the five subjects whose takes are the same."""
    some = [
        r
        for r in agreement.repetitions(shared_data)
        if r.movement in ("m01", "m02", "m04", "m07") and r.subject != "s01" and r.correct
    ]
    take = agreement.take
    return [agreement.Pair(r, take(r.path(shared_data, "vicon")), take(r.path(shared_data, "kinect"))) for r in some]


def test_the_best_rotation_undoes_a_rotation(agreement: ModuleType) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    r, t = agreement.rigid(points, points @ turn.T + (1, 2, 3))
    np.testing.assert_allclose(r, turn, atol=1e-12)
    np.testing.assert_allclose(t, (1, 2, 3), atol=1e-12)
    r, _ = agreement.rigid(points, points * (-1, 1, 1))
    assert np.linalg.det(r) == pytest.approx(1)  # a mirror image is never made to fit


def test_a_recording_agrees_with_itself_later_and_elsewhere(agreement: ModuleType, pairs: list[Any]) -> None:
    v = pairs[0].vicon
    turned = v.positions[9:] @ np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]]).T + (5, 0, 2)
    later = agreement.Take(v.clock[9:] - v.clock[9], turned, agreement.joint_angles(turned))
    d = agreement.compare(v, later)
    assert d.lag_s == pytest.approx(-0.3, abs=1e-6)
    assert np.nanmax(d.distance) < 1e-6
    assert np.nanmax(d.angle) < 1e-6


def test_vicon_and_kinect_agree(agreement: ModuleType, pairs: list[Any]) -> None:
    found = [agreement.compare(p.vicon, p.kinect) for p in pairs]
    assert len(found) == 20
    assert np.mean([*map(agreement.position_cm, found)]) < 6
    assert max(map(agreement.position_cm, found)) < 12
    assert np.mean([*map(agreement.angle_deg, found)]) < 8
    distance = np.mean([d.distance for d in found], axis=0)
    for name in agreement.FITTED:
        assert distance[agreement.J[name]] < 9, name
    r = dict(zip(agreement.angle_names(), agreement.mean(np.stack([d.correlation for d in found])), strict=True))
    for name in ("knee flexion R", "knee flexion L", "hip flexion R", "hip flexion L"):
        assert r[name] > 0.85, (name, r[name])
    upright = [d.turn[1, 1] for d in found]
    assert np.degrees(np.arccos(np.min(upright))) < 10  # both are y up


def test_what_is_not_the_same_repetition_agrees_less(
    agreement: ModuleType, pairs: list[Any], shared_data: Path
) -> None:
    every = [p.repetition for p in pairs]
    same = [agreement.compare(p.vicon, p.kinect) for p in pairs]
    swapped = [agreement.compare(p.vicon, p.kinect.swapped()) for p in pairs]
    assert np.mean([*map(agreement.position_cm, swapped)]) > 2.5 * np.mean([*map(agreement.position_cm, same)])
    assert np.mean([*map(agreement.angle_deg, swapped)]) > 1.5 * np.mean([*map(agreement.angle_deg, same)])
    others = {
        kind: [
            [
                agreement.compare(p.vicon, agreement.take(o.path(shared_data, "kinect")))
                for o in agreement.partners(p.repetition, every, shared_data)[kind]
            ]
            for p in pairs
        ]
        for kind in ("another subject", "another repetition")
    }
    for kind, at_least in (("another subject", 0.8), ("another repetition", 0.5)):  # 0.2 and 0.25 by chance
        nearest = [
            agreement.varying_cm(d) < min(map(agreement.varying_cm, o)) for d, o in zip(same, others[kind], strict=True)
        ]
        assert np.mean(nearest) > at_least, (kind, np.mean(nearest))


def test_the_same_side_moves_and_it_is_the_known_one(agreement: ModuleType, shared_data: Path) -> None:
    checked = 0
    for r in agreement.repetitions(shared_data):
        chosen = r.subject in ("s01", "s02", "s07") and r.episode == "e01" and r.correct
        if chosen and r.movement in agreement.ONE_SIDED:
            for device in ("vicon", "kinect"):
                moving = agreement.moving_side(
                    agreement.take(r.path(shared_data, device)), agreement.ONE_SIDED[r.movement]
                )
                assert moving == agreement.known_side(r), (r, device)
                checked += 1
    assert checked == 36


def test_four_videos_triangulate_to_their_trc(agreement: ModuleType, shared_data: Path) -> None:
    right = agreement.triangulation.compare(shared_data)
    assert right["frames"] == 100
    assert right["used"] > 0.99
    assert right["under_10_mm"] > 0.97
    for name, joint in right["joints"].items():
        assert joint["mm"]["median"] < 0.5, name
        assert joint["mm"]["p95"] < 1, name
        assert min(p for p in joint["px"] if np.isfinite(p)) < 12, name
    shifted = right["frame_shift_mm"]
    assert all(shifted[s] > 50 * shifted["0"] for s in ("-2", "-1", "1", "2"))
    wrong = agreement.triangulation.compare(shared_data, "openpose-body25")
    assert wrong["mm"]["median"] > 100
    assert wrong["under_10_mm"] < 0.5
