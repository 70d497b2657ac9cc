"""Intervals against scipy, and the pairing, nesting and pooling that they rest on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lmm.core.metrics import Parts
from lmm.evaluation.bootstrap import Tally, confidence, mean_tally, pooled, resamples


def tally(values: np.ndarray, clips: np.ndarray, num_clips: int) -> Tally:
    out = Tally(num_clips)
    out.add(clips, {"mse": Parts(values, np.ones_like(values))})
    return out


def test_of_clips_alone_it_is_scipys() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=60)
    weights = resamples([f"s{i}" for i in range(60)], count=4000)
    got = confidence(pooled(tally(values, np.arange(60), 60), "mse", weights))[:, 0]
    expected = stats.bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=2).confidence_interval
    np.testing.assert_allclose(got, expected, atol=0.02)


def test_clips_of_a_subject_go_together() -> None:
    subjects = ["a"] * 10 + ["b"] * 10
    weights = resamples(subjects, count=500)
    assert (weights[0] == 1).all()
    for row in weights[1:]:
        a, b = row[:10].sum(), row[10:].sum()
        assert (a, b) in {(20, 0), (10, 10), (0, 20)}
    assert len(np.unique(weights[1:, :10], axis=0)) > 100  # clips are drawn within subjects too
    values = np.repeat([0.0, 1.0], 10)
    wide = confidence(pooled(tally(values, np.arange(20), 20), "mse", weights))[:, 0]
    narrow = confidence(pooled(tally(values, np.arange(20), 20), "mse", resamples([str(i) for i in range(20)])))[:, 0]
    assert wide.tolist() == [0, 1]
    assert narrow[0] > 0.2
    assert narrow[1] < 0.8


def test_windows_of_a_clip_are_pooled_by_what_counted() -> None:
    t = Tally(2)
    t.add(np.array([0, 0, 1]), {"mse": Parts(np.array([1.0, 3.0, 10.0]), np.array([1.0, 1.0, 2.0]))})
    weights = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    np.testing.assert_array_equal(pooled(t, "mse", weights)[:, 0], [14 / 4, 2, 5, np.nan])


def test_seeds_are_averaged_and_differences_paired() -> None:
    rng = np.random.default_rng(0)
    hard = rng.gamma(2.0, 5.0, size=40)
    clips = np.arange(40)
    ours, theirs = (tally(hard + shift, clips, 40) for shift in (0.9, 1.0))
    weights = resamples([f"s{i // 4}" for i in range(40)])
    apart = confidence(pooled(ours, "mse", weights) - pooled(theirs, "mse", weights))[:, 0]
    np.testing.assert_allclose(apart, -0.1)  # though each interval alone is wide
    assert np.ptp(confidence(pooled(ours, "mse", weights))) > 2
    np.testing.assert_allclose(pooled(mean_tally([ours, theirs]), "mse", weights[:1])[0, 0], hard.mean() + 0.95)


def test_scores_that_seldom_counted_have_no_interval() -> None:
    values = np.full((101, 1), np.nan)
    values[:30] = 1.0
    assert np.isnan(confidence(values)).all()
    assert confidence(np.ones((101, 1))).ravel().tolist() == [1, 1]


def test_same_resamples_every_time() -> None:
    np.testing.assert_array_equal(resamples(["a", "b"], 5), resamples(["a", "b"], 5))
    with pytest.raises(AssertionError):
        np.testing.assert_array_equal(resamples(["a", "b"] * 9, 5), resamples(["a", "b"] * 9, 5, seed=1))
