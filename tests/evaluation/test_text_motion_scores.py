"""Text-to-motion scores against known answers, slow references and SciPy's matrix root."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from lmm.core.errors import LmmError
from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait
from lmm.evaluation import text_motion_scores as scores
from lmm.skeletons import BODY_25

RNG = np.random.default_rng(7)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=4, max_size=20), st.integers(0, 2**32 - 1))
def test_groups_hold_distinct_texts_and_are_as_many_as_there_can_be(counts: list[int], seed: int) -> None:
    texts = [f"text {i}" for i, n in enumerate(counts) for _ in range(n)]
    drawn = scores.groups(texts, np.random.default_rng(seed), size=4)
    assert all(len({texts[i] for i in g}) == 4 for g in drawn)
    assert len(set(drawn.flat)) == drawn.size
    # G groups are possible exactly if each text, used at most G times, fills them
    most = max(g for g in range(1, len(texts) + 1) if sum(min(n, g) for n in counts) >= 4 * g)
    assert len(drawn) == most


def test_a_last_partial_group_is_dropped_and_too_few_texts_are_refused() -> None:
    assert scores.groups([f"t{i}" for i in range(95)], RNG).shape == (2, 32)
    with pytest.raises(LmmError, match="32 different texts, there are 31"):
        scores.groups([f"t{i % 31}" for i in range(100)], RNG)


def test_groups_are_drawn_by_the_seed() -> None:
    texts = [f"t{i % 40}" for i in range(200)]
    a, b, c = (scores.groups(texts, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()


def test_r_precision_equals_sorting_and_depends_on_the_size_of_groups() -> None:
    texts = RNG.normal(size=(128, 5))
    motions = texts + RNG.normal(size=(128, 5))
    drawn = np.arange(128).reshape(4, 32)
    hits = np.zeros(3)
    for group in drawn:
        for i in group:
            order = sorted(group, key=lambda j: np.linalg.norm(texts[i] - motions[j]))
            hits += [i in order[: k + 1] for k in range(3)]
    found = scores.r_precision(texts, motions, drawn)
    assert found == pytest.approx(hits / 128)
    assert scores.r_precision(texts, motions, np.arange(128).reshape(8, 16))[0] > found[0]  # fewer rivals: easier


def test_r_precision_of_perfect_chance_and_constant_embeddings() -> None:
    texts = RNG.normal(size=(3200, 8))
    drawn = np.arange(3200).reshape(100, 32)
    assert scores.r_precision(texts, texts, drawn) == pytest.approx([1, 1, 1])
    chance = scores.r_precision(texts, RNG.normal(size=(3200, 8)), drawn)
    assert chance == pytest.approx([1 / 32, 2 / 32, 3 / 32], abs=0.015)
    assert scores.r_precision(texts, np.ones((3200, 8)), drawn) == pytest.approx([0, 0, 0])


def test_fid_equals_that_of_a_matrix_root_and_of_known_normals() -> None:
    a, b = RNG.normal(size=(300, 6)) @ RNG.normal(size=(6, 6)), RNG.normal(size=(400, 6)) @ RNG.normal(size=(6, 6))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    root = sqrtm(cov_a @ cov_b)
    slow = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root.real)
    assert scores.fid(a, b) == pytest.approx(slow, rel=1e-9)
    assert scores.fid(a, a + np.array([3, 0, 0, 4, 0, 0])) == pytest.approx(25)  # only the mean moved
    assert scores.fid(a, a.mean(0) + 2 * (a - a.mean(0))) == pytest.approx(np.trace(cov_a))  # (2σ − σ)²
    assert scores.fid(a, b) == pytest.approx(scores.fid(b, a))


def test_fid_of_fewer_motions_than_dimensions_is_a_number() -> None:
    a, b = RNG.normal(size=(5, 64)), RNG.normal(size=(7, 64))
    assert scores.fid(a, a) == pytest.approx(0, abs=1e-6)
    assert 0 < scores.fid(a, b) < np.inf
    with pytest.raises(LmmError):
        scores.fid(a[:1], b)


def test_distances_within_a_set_and_from_the_text() -> None:
    two = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert scores.diversity(two, RNG) == pytest.approx(5)
    normal = RNG.normal(size=(5000, 1))
    assert scores.diversity(normal, RNG, pairs=40_000) == pytest.approx(2 / np.sqrt(np.pi), rel=0.02)  # E|X − Y|
    samples = np.array([[[0.0], [1.0], [4.0]], [[2.0], [2.0], [2.0]]])
    assert scores.multimodality(samples) == pytest.approx(np.mean([1, 4, 3, 0, 0, 0]))
    assert np.isnan(scores.multimodality(samples[:, :1]))
    assert scores.mm_dist(two, two + np.array([0, 2])) == pytest.approx(2)


def test_an_interval_is_that_of_the_mean() -> None:
    x = RNG.normal(3, 2, size=20)
    mean, margin = scores.estimate([*x, np.nan])
    assert mean == pytest.approx(x.mean())
    assert margin == pytest.approx(1.96 * x.std() / np.sqrt(20))


def _standing(frames: int = 60, fps: float = 30.0) -> np.ndarray:
    p = np.zeros((frames, 25, 3))
    p[:, :, 1] = 1
    for name in ("LBigToe", "RBigToe"):
        p[:, BODY_25.index[name], 1] = 0.02
    return p


def _world(positions: np.ndarray, fps: float = 30.0) -> Motion:
    return make_motion(positions, fps, BODY_25, "world")


def test_skating_counts_low_fast_feet_only() -> None:
    still = _standing()
    toe = BODY_25.index["LBigToe"]
    assert scores.skating_ratio(_world(still)) == 0
    sliding = still.copy()
    sliding[31:, toe, 0] += np.arange(1, 30) * 0.6 / 30  # 0.6 m/s in 29 of 59 steps
    assert scores.skating_ratio(_world(sliding)) == pytest.approx(29 / 59)
    slow = still.copy()
    slow[31:, toe, 0] += np.arange(1, 30) * 0.4 / 30
    assert scores.skating_ratio(_world(slow)) == 0
    high = sliding.copy()
    high[:, toe, 1] = 0.06
    assert scores.skating_ratio(_world(high)) == 0
    assert scores.skating_ratio(_world(high), floor=0.05) == pytest.approx(29 / 59)


def test_skating_knows_the_rate() -> None:
    fast = _standing(frames=120, fps=60.0)
    fast[:, BODY_25.index["RBigToe"], 2] = np.arange(120) * 0.6 / 60
    assert scores.skating_ratio(_world(fast, 60.0)) == 1
    assert scores.skating_ratio(_world(fast, 30.0)) == 0  # the same numbers at half the rate are 0.3 m/s


def test_jerk_of_a_cubic_and_of_a_parabola() -> None:
    t = np.arange(90) / 30
    p = np.zeros((90, 25, 3))
    p[..., 0] = (t**3)[:, None]
    assert scores.jitter(_world(p)) == pytest.approx(6, rel=1e-2)  # float32 positions
    p[..., 0] = (t**2)[:, None]
    assert scores.jitter(_world(p)) < 0.1


def test_penetration_and_the_floor() -> None:
    p = _standing()
    toe = BODY_25.index["RBigToe"]
    p[:30, toe, 1] = -0.04
    assert scores.penetration(_world(p)) == pytest.approx(0.02)
    assert scores.lowest(_world(_standing())) == pytest.approx(0.02)
    p[:, [toe, BODY_25.index["LBigToe"]]] = np.nan
    assert np.isnan(scores.penetration(_world(p)))
    assert np.isnan(scores.skating_ratio(_world(p)))


def test_a_walk_by_formula_skates_less_than_one_pushed_along() -> None:
    walk = gait(6.0, 30.0, 1.75, seed=0)
    floor = scores.lowest(walk)
    pushed = walk.positions + np.arange(walk.num_frames)[:, None, None] * [0.03, 0, 0]
    assert scores.skating_ratio(walk, floor) < 0.5 * scores.skating_ratio(_world(pushed), floor)


def test_pixels_have_no_floor() -> None:
    flat = make_motion(np.ones((10, 25, 2)), 30.0, BODY_25, "image")
    with pytest.raises(LmmError, match="metres"):
        scores.skating_ratio(flat)


def test_groups_use_frequent_texts_evenly() -> None:
    texts = [f"t{i % 64}" for i in range(640)]
    used = Counter(texts[i] for i in scores.groups(texts, RNG).flat)
    assert set(used.values()) == {10}
