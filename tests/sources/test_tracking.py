"""Tracks keep their person, whatever the order of the list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.sources.tracking import link

FPS = 30.0


def walker(frames: int, start_x: float, speed_x: float, seed: int) -> np.ndarray:
    """A person of 17 joints walking along x (pixels a frame), (T, J, 3), with swinging limbs and noise of 1 pixel."""
    rng = np.random.default_rng(seed)
    body = rng.uniform((-40, 0), (40, 300), (17, 2))
    t = np.arange(frames)
    xy = body + np.stack([start_x + speed_x * t, np.full(frames, 100.0)], -1)[:, None]
    xy[:, :8, 0] += 15 * np.sin(t / 5 + seed)[:, None]
    xy += rng.normal(0, 1, xy.shape)
    return np.concatenate([xy, np.full((*xy.shape[:2], 1), 0.8)], axis=-1)


def shuffled(people: list[np.ndarray], seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Frames with the people in random order, and for each frame who is at each place of the list."""
    rng = np.random.default_rng(seed)
    frames, who = [], []
    for t in range(len(people[0])):
        order = rng.permutation(len(people))
        frames.append(np.stack([people[p][t] for p in order]))
        who.append(order)
    return frames, who


@pytest.mark.parametrize("seed", range(5))
def test_crossing_people_keep_their_identity(seed: int) -> None:
    people = [walker(90, 100, 5, seed), walker(90, 550, -5, seed + 10), walker(90, 300, 0, seed + 20)]
    frames, who = shuffled(people, seed)
    tracks = link(frames, FPS)
    assert len(tracks) == 3
    for at, chosen in tracks:
        assert at.tolist() == list(range(90))
        assert len({int(who[t][d]) for t, d in zip(at, chosen, strict=True)}) == 1


def test_order_of_the_list_does_not_matter() -> None:
    people = [walker(60, 100, 5, 1), walker(60, 400, -5, 2)]
    results = []
    for seed in (0, 1):
        frames, who = shuffled(people, seed)
        results.append([[int(who[t][d]) for t, d in zip(*track, strict=True)] for track in link(frames, FPS)])
    assert results[0] == results[1]


def gone(person: np.ndarray, start: int, stop: int) -> np.ndarray:
    out = person.copy()
    out[start:stop] = 0
    return out


def test_short_gap_is_bridged_and_long_gap_is_not() -> None:
    still = walker(90, 500, 0, 3)
    for length, expected in ((12, 2), (20, 3)):
        frames, _ = shuffled([gone(walker(90, 100, 2, 4), 30, 30 + length), still])
        tracks = link(frames, FPS)
        assert len(tracks) == expected
        assert len(tracks[0][0]) == 90


def test_one_person_is_one_track_over_any_gap() -> None:
    person = gone(walker(90, 100, 2, 5), 10, 60)
    (track,) = link([p[None] for p in person], FPS)
    assert track[0].tolist() == [*range(10), *range(60, 90)]
    assert not track[1].any()


def test_a_jump_across_the_image_is_another_person() -> None:
    a, b, other = walker(60, 100, 0, 6), walker(60, 1500, 0, 7), walker(60, 800, 0, 8)
    frames = [np.stack([a[t] if t < 30 else b[t], other[t]]) for t in range(60)]
    assert sorted(len(t[0]) for t in link(frames, FPS)) == [30, 30, 60]


@pytest.mark.parametrize("away", [0, 250])
def test_who_is_alone_and_leaps_less_than_a_body_is_another_person(away: int) -> None:
    """An estimator of one person goes over to somebody beside them: at 30 frames a second nobody is that fast."""
    a, b = walker(60, 100, 3, 6), walker(60, 100 + 3 * 30 + away, 3, 6)
    frames = [(a[t] if t < 30 else b[t - 30])[None] for t in range(60)]
    assert [len(t[0]) for t in link(frames, FPS)] == ([30, 30] if away else [60])


@pytest.mark.parametrize(("stay", "expected"), [(6, [54, 6]), (20, [20, 20, 20])])
def test_who_is_left_for_a_moment_has_a_gap(stay: int, expected: list[int]) -> None:
    a, b = walker(60, 100, 0, 6), walker(60, 350, 0, 6)
    frames = [(b[t] if 20 <= t < 20 + stay else a[t])[None] for t in range(60)]
    tracks = link(frames, FPS)
    assert sorted((len(t[0]) for t in tracks), reverse=True) == expected
    first = next(at.tolist() for at, _ in tracks if at[0] == 0)
    assert first == ([*range(20), *range(26, 60)] if stay == 6 else [*range(20)])


def test_a_sprinter_and_a_noisy_estimator_are_one_person() -> None:
    """A runner of 300 pixels at 5 body lengths a second, joints off by 6 % of them."""
    person = walker(60, 100, 300 * 5 / FPS, 6)
    person[..., :2] += np.random.default_rng(0).normal(0, 18, (60, 17, 2))
    assert len(link([p[None] for p in person], FPS)) == 1


def test_nobody_and_nothing() -> None:
    assert link([], FPS) == []
    assert link([np.zeros((0, 17, 3)), np.zeros((2, 17, 3))], FPS) == []
    assert link([np.full((2, 17, 3), np.nan)], FPS) == []


@pytest.mark.parametrize("camera", ["cam01", "cam02", "cam03", "cam04"])
def test_real_bystander(shared_data: Path, camera: str) -> None:
    """The subject of Pose2Sim's trial is one full-length track beside a bystander; he is the taller."""
    files = sorted((shared_data / f"pose2sim_balancing/openpose_body25b_json/{camera}_json").glob("*.json"))
    frames = []
    for f in files:
        people: list[dict[str, Any]] = json.loads(f.read_text())["people"]
        frames.append(np.array([p["pose_keypoints_2d"] for p in people], float).reshape(-1, 25, 3))
    tracks = link(frames, 60)
    at, chosen = tracks[0]
    assert at.tolist() == list(range(100))
    main = np.stack([frames[t][d] for t, d in zip(at, chosen, strict=True)])
    xy = np.where(main[:, :, 2:] > 0.3, main[:, :, :2], np.nan)
    assert np.nanmax(np.nanmedian(np.linalg.norm(np.diff(xy, axis=0), axis=2), axis=1)) < 20
    whole = [np.ptp(p[p[:, 2] > 0, 1]) for p in main]
    assert np.median(whole) > 600  # pixels; the bystander has under 460
    if camera in ("cam03", "cam04"):
        assert len(tracks) == 1
