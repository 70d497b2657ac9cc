"""Codec features and their inverse: by hand, on arbitrary motions, in chunks, and on a walk."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm.core.errors import MotionError
from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait
from lmm.datasets.windows import mirror as mirror_motion
from lmm.pipeline.codec_features import (
    CODEC_JOINTS,
    FPS,
    LAYOUT,
    NUM_FEATURES,
    SLICES,
    Decoder,
    Encoder,
    Placement,
    decode,
    encode,
    joint_positions,
    mirror,
    place,
    statistics,
)
from lmm.pipeline.resample import resample
from lmm.skeletons import BODY_25

J = BODY_25.index
USED = [J[name] for name in CODEC_JOINTS]
INDEX = {name: i for i, name in enumerate(CODEC_JOINTS)}


def random_walker(seed: int, frames: int, spread: float = 1.0) -> np.ndarray:
    """(T, 16, 3): joints that wander anywhere, so that headings flip and degenerate."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(1, 16, 3)) + np.cumsum(rng.normal(scale=0.1 * spread, size=(frames, 16, 3)), axis=0)
    return points + np.cumsum(rng.normal(scale=spread, size=(frames, 1, 3)), axis=0)


def motion_of(points: np.ndarray, fps: float = FPS) -> Motion:
    positions = np.full((len(points), 25, 3), np.nan)
    positions[:, USED] = points
    return make_motion(positions, fps, BODY_25, "world")


def walk() -> Motion:
    return gait(seconds=4, seed=1, turn_deg_per_s=20)


def diagonal(points: np.ndarray) -> float:
    flat = points.reshape(-1, 3)
    return float(np.linalg.norm(flat.max(axis=0) - flat.min(axis=0)))


def pose() -> np.ndarray:
    """One upright body of torso 0.5 m, facing +z, left at +x."""
    p = np.zeros((16, 3))
    for name, at in {
        "Neck": (0, 1.5, 0), "MidHip": (0, 1.0, 0), "RShoulder": (-0.2, 1.5, 0), "LShoulder": (0.2, 1.5, 0),
        "RElbow": (-0.2, 1.2, 0), "LElbow": (0.2, 1.2, 0), "RWrist": (-0.2, 1.0, 0.1), "LWrist": (0.2, 1.0, 0.1),
        "RHip": (-0.1, 1.0, 0), "LHip": (0.1, 1.0, 0), "RKnee": (-0.1, 0.5, 0), "LKnee": (0.1, 0.5, 0),
        "RAnkle": (-0.1, 0.1, 0), "LAnkle": (0.1, 0.1, 0), "RBigToe": (-0.1, 0.0, 0.15), "LBigToe": (0.1, 0.0, 0.15),
    }.items():  # fmt: skip
        p[INDEX[name]] = at
    return p


def turned(points: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return points @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]).T


def test_the_layout_is_as_wide_as_its_features() -> None:
    assert sum(LAYOUT.values()) == NUM_FEATURES == 49
    assert [SLICES[name].stop - SLICES[name].start for name in LAYOUT] == list(LAYOUT.values())


def test_a_known_body_that_turns_and_walks_by_hand() -> None:
    # twice as large, 3 m up the x axis, facing +x; then one frame of 0.1 m forwards and a turn of 0.2 rad towards -z
    body = 2 * turned(pose(), np.pi / 2) + [3, 0, 1]
    after = 2 * turned(pose(), np.pi / 2 + 0.2) + [3.1, 0, 1]
    features, placement = encode(motion_of(np.stack([body, after])))
    assert placement.scale == pytest.approx(2)
    assert placement.position == pytest.approx((3, 1))
    assert placement.heading == pytest.approx(np.pi / 2)
    assert placement.floor == 0
    first, second = features
    np.testing.assert_allclose(first[:4], [0, 0, 0, 1.0], atol=1e-5)
    others = np.delete(pose(), INDEX["MidHip"], axis=0)
    np.testing.assert_allclose(first[SLICES["joints"]].reshape(15, 3), others, atol=1e-5)
    np.testing.assert_allclose(second[SLICES["joints"]].reshape(15, 3), others, atol=1e-5)
    assert second[0] == pytest.approx(0.2 * FPS, abs=1e-4)
    # 0.05 standard metres along +x, seen by one who faces 0.2 rad beyond it
    np.testing.assert_allclose(second[1:3], 0.05 * FPS * np.array([-np.sin(0.2), np.cos(0.2)]), atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    frames=st.integers(1, 80),
    spread=st.sampled_from([0.0, 0.001, 0.1, 3.0]),
    far=st.sampled_from([0.0, 10.0]),
)
def test_decoding_gives_the_motion_again(seed: int, frames: int, spread: float, far: float) -> None:
    points = random_walker(seed, frames, spread) + np.array([far, 0, -far])
    motion = motion_of(points)
    again = decode(*encode(motion))
    assert again.fps == FPS
    assert again.space == "world"
    np.testing.assert_allclose(
        again.positions[:, USED], motion.positions[:, USED], atol=1e-4 * diagonal(points), rtol=0
    )
    assert not again.observed[:, [j for j in range(25) if j not in USED]].any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_chunks_are_the_whole(seed: int, cuts: list[int]) -> None:
    points = random_walker(seed, 60)
    placement = place(points)
    edges = [0, *sorted(cuts), 60]
    encoder, decoder = Encoder(placement), Decoder(placement)
    chunks = [encoder.push(points[a:b]) for a, b in pairwise(edges)]
    whole = Encoder(placement).push(points)
    np.testing.assert_array_equal(np.concatenate(chunks), whole)
    np.testing.assert_array_equal(np.concatenate([decoder.push(c) for c in chunks]), Decoder(placement).push(whole))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), angle=st.floats(-3.1, 3.1), scale=st.floats(0.3, 3))
def test_place_heading_and_size_do_not_matter(seed: int, angle: float, scale: float) -> None:
    rng = np.random.default_rng(seed)
    points = np.stack([turned(pose(), a) for a in np.cumsum(rng.normal(scale=0.1, size=40))])
    points += rng.normal(scale=0.02, size=points.shape)
    there = scale * turned(points, angle) + [5 * scale, 0, -2]
    np.testing.assert_allclose(Encoder(place(there)).push(there), Encoder(place(points)).push(points), atol=2e-4)


def test_a_frame_depends_on_itself_and_the_one_before() -> None:
    points = random_walker(3, 50)
    changed = points.copy()
    changed[40] += np.random.default_rng(0).normal(size=(16, 3))
    placement = place(points)
    differ = (Encoder(placement).push(points) != Encoder(placement).push(changed)).any(axis=1)
    assert set(np.flatnonzero(differ)) <= {40, 41}
    later = points.copy()
    later[FPS:] *= 1.5
    assert place(later) == placement  # size and floor are those of the first second


def test_one_who_lies_on_the_side_keeps_the_last_heading() -> None:
    upright, lying = turned(pose(), 0.7), pose() @ np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    points = np.stack([upright, lying, lying])
    features = Encoder(place(points)).push(points)
    np.testing.assert_allclose(features[:, 0], 0, atol=1e-5)
    assert place(np.stack([lying])).heading == 0


def test_a_floor_of_its_own_is_found_and_given_back() -> None:
    points = pose()[None] - [0, 0.9, 0]
    features, placement = encode(motion_of(points))
    assert placement.floor == pytest.approx(-0.9)
    assert features[0, 3] == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(decode(features, placement).positions[:, USED], points, atol=1e-5)
    assert encode(motion_of(pose()[None] + [0, 0.3, 0]))[0][0, 3] == pytest.approx(1.3, abs=1e-5)  # on a box


def test_features_go_on_from_the_placement_of_what_they_continue() -> None:
    points = np.stack([pose() + np.array([0, 0, 0.02 * t]) for t in range(6)])
    placement = place(points)
    encoder = Encoder(placement)
    encoder.push(points[:3])
    end = Placement(scale=placement.scale, position=(0, 0.04), heading=0)
    given = encode(motion_of(points[3:]), end)[0]
    np.testing.assert_allclose(given, encoder.push(points[3:]), atol=1e-5)
    assert given[0, 2] == pytest.approx(0.02 * FPS, abs=1e-4)


def test_any_rate_comes_to_thirty_frames_a_second() -> None:
    motion = walk()
    fast = resample(motion, 60.0)
    slow, quick = encode(motion)[0], encode(fast)[0]
    assert abs(len(slow) - len(quick)) <= 1
    n = min(len(slow), len(quick)) - 3
    np.testing.assert_allclose(slow[3:n, SLICES["joints"]], quick[3:n, SLICES["joints"]], atol=0.02)


def test_short_gaps_are_interpolated_and_long_ones_follow_the_parent() -> None:
    points = np.stack([pose() + np.array([0, 0, 0.01 * t]) for t in range(60)])
    points[:, INDEX["RWrist"], 1] += 0.01 * np.arange(60)
    short, long = points.copy(), points.copy()
    short[20:30, INDEX["RWrist"]] = np.nan
    np.testing.assert_allclose(joint_positions(motion_of(short)), points, atol=1e-6)
    long[20:50, INDEX["RWrist"]] = np.nan
    filled = joint_positions(motion_of(long))
    wrist, elbow, hip = INDEX["RWrist"], INDEX["RElbow"], INDEX["MidHip"]
    offset = points[19, wrist] - points[19, elbow]
    np.testing.assert_allclose(filled[20:50, wrist] - filled[20:50, elbow], [offset] * 30, atol=1e-6)
    ends = points.copy()
    ends[:5, INDEX["RAnkle"]] = ends[50:, INDEX["RAnkle"]] = np.nan
    ends[50:, INDEX["RKnee"]] = np.nan  # the chain goes along from the hip
    np.testing.assert_allclose(joint_positions(motion_of(ends)), points, atol=1e-6)
    hips = points.copy()
    hips[20:50, hip] = np.nan
    np.testing.assert_allclose(
        joint_positions(motion_of(hips))[20:50, INDEX["MidHip"]], [points[19, INDEX["MidHip"]]] * 30
    )


def test_motions_that_cannot_be_encoded_are_told_why() -> None:
    points = np.stack([pose()] * 3)
    lacking = points.copy()
    lacking[:, [INDEX["Neck"], INDEX["LKnee"]]] = np.nan
    with pytest.raises(MotionError, match="Neck, LKnee"):
        encode(motion_of(lacking))
    flat = points.copy()
    flat[:, INDEX["Neck"]] = flat[:, INDEX["MidHip"]]
    with pytest.raises(MotionError, match="in one place"):
        encode(motion_of(flat))
    picture = make_motion(np.zeros((2, 25, 2)), 30, BODY_25, "image")
    with pytest.raises(MotionError, match="metres"):
        encode(picture)
    bad: Any
    for bad in (np.zeros((3, 48)), np.zeros(49), np.full((2, 49), np.nan)):
        with pytest.raises(MotionError):
            decode(bad)


def test_mirrored_features_are_those_of_the_mirrored_motion() -> None:
    motion = walk()
    ours, theirs = mirror(encode(motion)[0]), encode(mirror_motion(motion))[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    np.testing.assert_array_equal(mirror(ours), encode(motion)[0])
    assert np.abs(ours - encode(motion)[0]).max() > 0.05


def test_statistics_are_those_of_all_frames() -> None:
    rng = np.random.default_rng(0)
    parts = [rng.normal(3, 2, size=(n, NUM_FEATURES)).astype(np.float32) for n in (5, 70)]
    parts = [np.where(np.arange(NUM_FEATURES) == 7, 1, p) for p in parts]
    mean, std = statistics(iter(parts))
    every = np.concatenate(parts)
    np.testing.assert_allclose(mean, every.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(std, np.maximum(every.std(axis=0), 0.01), atol=1e-5)
    with pytest.raises(MotionError):
        statistics([])
