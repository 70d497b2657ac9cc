"""Metrics against slow loops, closed forms and known answers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from lmm.core import metrics
from lmm.core.metrics import ratio


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_squared_error_counts_what_counts(rng: np.random.Generator) -> None:
    p, g = rng.normal(size=(2, 3, 4, 5))
    counts = rng.random((3, 4, 5)) < 0.7
    p[~counts] = np.nan
    parts = metrics.squared_error(p, g, counts)
    for b, t in itertools.product(range(3), range(4)):
        errors = [(p[b, t, f] - g[b, t, f]) ** 2 for f in range(5) if counts[b, t, f]]
        assert parts.total[b, t] == pytest.approx(sum(errors))
        assert parts.number[b, t] == len(errors)
    assert np.isnan(ratio(metrics.squared_error(p, g, np.zeros_like(counts)))).all()


def test_steps_need_both_frames() -> None:
    x = np.array([[0.0], [1.0], [3.0], [6.0]])
    moved, both = metrics.steps(x, np.array([[True], [True], [False], [True]]))
    assert moved.ravel().tolist() == [1, 2, 3]
    assert both.ravel().tolist() == [True, False, False]


def test_displacement_is_the_loop(rng: np.random.Generator) -> None:
    samples, truth = rng.normal(size=(2, 6, 4, 5, 3)), rng.normal(size=(2, 4, 5, 3))
    counts = rng.random((2, 4, 5)) < 0.6
    counts[0, 1] = False
    for flattened in (False, True):
        got = metrics.displacement(samples, truth, counts, flattened)
        for b, s in itertools.product(range(2), range(6)):
            frames = []
            for t in range(4):
                joints = [np.linalg.norm(samples[b, s, t, j] - truth[b, t, j]) for j in range(5) if counts[b, t, j]]
                if joints:
                    frames.append(np.sqrt(np.square(joints).sum()) if flattened else np.mean(joints))
            assert got[b, s] == pytest.approx(np.mean(frames))
    assert np.isnan(metrics.displacement(samples, truth, np.zeros_like(counts), True)).all()


def test_mpjpe_and_speed_of_a_known_movement() -> None:
    t = np.arange(5)[:, None, None]
    p = t * np.array([[3.0, 4.0], [0.0, 0.5]])  # 5 and 0.5 a frame
    everything = np.ones((5, 2), bool)
    np.testing.assert_allclose(ratio(metrics.speed(p, everything, 15)), 15 * 2.75)
    np.testing.assert_allclose(ratio(metrics.joint_error(p, np.zeros_like(p), everything)), 2.75 * np.arange(5))
    seconds = metrics.per_second(metrics.speed(p, everything, 2), 2, skipped=1)
    assert seconds.number.tolist() == [2, 4, 2]  # steps 1 | 2, 3 | 4, each of two joints


def test_bone_lengths_that_keep_and_change() -> None:
    angle = np.linspace(0, 3, 20)
    arm = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    p = np.stack([np.zeros_like(arm), arm, 3 * arm], axis=1)
    seen = np.ones((20, 3), bool)
    bones = ((0, 1), (1, 2))
    assert ratio(metrics.bone_length_cv(p, seen, bones)) == pytest.approx(0, abs=1e-12)
    length = np.tile([1.0, 3.0], 10)
    p[:, 1] = arm * length[:, None]
    p[:, 2] = p[:, 1] + arm
    assert ratio(metrics.bone_length_cv(p, seen, bones)) == pytest.approx((0.5 + 0) / 2)
    seen[1::2, 2] = False
    assert ratio(metrics.bone_length_cv(p, seen, bones)) == pytest.approx(0.25)
    seen[2:, 2] = False
    assert metrics.bone_length_cv(p, seen, bones).number == 1


def test_energy_score_is_the_loop(rng: np.random.Generator) -> None:
    samples, truth = rng.normal(size=(5, 3, 4)), rng.normal(size=(3, 4))
    counts = rng.random((3, 4)) < 0.7
    counts[2] = False
    parts = metrics.energy_score(samples, truth, counts)
    for t in range(2):
        c = counts[t]
        error = np.mean([np.linalg.norm(s[t, c] - truth[t, c]) for s in samples])
        pairs = [np.linalg.norm(a[t, c] - b[t, c]) for a, b in itertools.permutations(samples, 2)]
        assert ratio(parts)[t] == pytest.approx((error - np.mean(pairs) / 2) / np.sqrt(c.sum()))
    assert parts.number[2] == 0
    one = metrics.energy_score(samples[:1], truth, counts)
    assert ratio(one)[0] == pytest.approx(np.sqrt(((samples[0, 0] - truth[0])[counts[0]] ** 2).mean()))


def test_energy_score_of_gaussian_samples_is_the_closed_form(rng: np.random.Generator) -> None:
    # CRPS of N(m, s): Gneiting and Raftery 2007, equation 21; the one-dimensional energy score
    m, s, n = 0.4, 1.3, 40_000
    for number in (2, 10):  # fair: the expectation does not depend on the number of samples
        samples, truth = rng.normal(m, s, (n, number, 1, 1)), np.full((n, 1, 1), 1.1)
        z = (1.1 - m) / s
        exact = s * (z * (2 * stats.norm.cdf(z) - 1) + 2 * stats.norm.pdf(z) - 1 / np.sqrt(np.pi))
        got = ratio(metrics.energy_score(samples, truth, np.ones((n, 1, 1), bool))).mean()
        assert got == pytest.approx(exact, abs=0.015)


@pytest.mark.parametrize("number", [8, 10, 19, 25, 50])
@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform"])
def test_calibrated_samples_cover_what_they_say(number: int, draw: str, rng: np.random.Generator) -> None:
    n = 20_000
    drawn = getattr(rng, draw)(size=(n, number + 1, 1, 1))
    got = ratio(metrics.coverage(drawn[:, 1:], drawn[:, 0], np.ones((n, 1, 1), bool))).mean()
    assert 0.89 < got < 0.94
    if number == 19:
        assert got == pytest.approx(0.9, abs=0.008)  # whole positions: no bias, whatever the distribution


def test_intervals_of_nothing_known() -> None:
    low, high = metrics.interval(np.zeros((10, 3)))
    assert (low == high).all()
    with pytest.raises(ValueError, match="two samples"):
        metrics.interval(np.zeros((1, 3)))


def test_apd_and_cmd(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(4, 3, 2))
    counts = np.ones((3, 2), bool)
    pairs = [np.linalg.norm((a - b).ravel()) for a, b in itertools.combinations(samples, 2)]
    assert metrics.apd(samples, counts) == pytest.approx(np.mean(pairs))
    assert metrics.apd(samples[:1], counts) == 0
    moved = np.array([1.0, 2.0, 4.0])
    assert metrics.cmd(moved, 2.0) == pytest.approx(2 * 1 + 1 * 0 + 0 * 2)
