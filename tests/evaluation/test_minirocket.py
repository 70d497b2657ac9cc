"""MiniRocket against slow loops, and against what sktime 1.2 and scikit-learn 1.9 told of the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.errors import LmmError
from lmm.evaluation.minirocket import ALPHAS, GOLDEN, KERNELS, MiniRocket, Ridge, convolved


def series(count: int = 6, channels: int = 5, length: int = 40) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.standard_normal((count, channels, length)).cumsum(2).astype(np.float32)


@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_convolution_is_the_sum_that_it_says(dilation: int) -> None:
    x = series()[:, 0]
    for kernel in KERNELS[::17]:
        slow = np.zeros_like(x)
        for t in range(x.shape[1]):
            for j in range(9):
                at = t + (j - 4) * dilation
                if 0 <= at < x.shape[1]:
                    slow[:, t] += (2 if j in kernel else -1) * x[:, at]
        np.testing.assert_allclose(convolved(x, kernel, dilation), slow, atol=1e-4)


def test_kernels_and_dilations_are_the_papers() -> None:
    assert len(set(KERNELS)) == 84
    fitted = MiniRocket.fit(series(), np.random.default_rng(0), features=840)
    # of sktime's MiniRocketMultivariate for the same length and number of features
    assert fitted.dilations.tolist() == [1, 2, 3, 4]
    assert fitted.counts.tolist() == [4, 3, 1, 2]
    assert fitted.transform(series()).shape == (6, 840)
    wide = MiniRocket.fit(series(length=200), np.random.default_rng(0))
    assert wide.transform(series(length=200)).shape == (6, 9996)


def test_biases_are_quantiles_of_one_training_series() -> None:
    x = series()
    fitted = MiniRocket.fit(x, np.random.default_rng(0), features=840)
    used = 0
    for i, (channels, biases) in enumerate(zip(fitted.channels, fitted.biases, strict=True)):
        d, k = divmod(i, 84)
        quantiles = np.arange(used + 1, used + len(biases) + 1) * GOLDEN % 1
        used += len(biases)
        each = [
            np.quantile(convolved(one[channels].sum(0)[None], KERNELS[k], fitted.dilations[d])[0], quantiles)
            for one in x
        ]
        assert min(np.abs(e - biases).max() for e in each) < 1e-6


def test_features_are_shares_above_the_bias_without_ends_every_other_time() -> None:
    x = series()
    fitted = MiniRocket.fit(x, np.random.default_rng(0), features=840)
    features, at = fitted.transform(x), 0
    for i, biases in enumerate(fitted.biases):
        d, k = divmod(i, 84)
        values = convolved(x[:, fitted.channels[i]].sum(1), KERNELS[k], int(fitted.dilations[d]))
        pad = 4 * int(fitted.dilations[d])
        inside = values[:, pad:-pad] if (d % 2 + k) % 2 else values
        for bias in biases:
            np.testing.assert_allclose(features[:, at], [(row > np.float32(bias)).mean() for row in inside], atol=1e-6)
            at += 1


def test_ridge_leaves_one_out_as_if_it_were_fitted_again() -> None:
    rng = np.random.default_rng(1)
    labels = ["a", "b", "c"] * 5
    x = rng.standard_normal((15, 30)) + 0.4 * np.array([[ord(c) - 98] for c in labels])
    z = (x - x.mean(0)) / x.std(0)
    targets = np.array([[1.0 if label == c else -1.0 for c in "abc"] for label in labels])

    def error(alpha: float) -> float:
        off = []
        for i in range(15):
            kept = np.arange(15) != i
            mean, offset = z[kept].mean(0), targets[kept].mean(0)
            c = z[kept] - mean
            w = np.linalg.solve(c.T @ c + alpha * np.eye(30), c.T @ (targets[kept] - offset))
            off.append(targets[i] - offset - (z[i] - mean) @ w)
        return float((np.array(off) ** 2).mean())

    fitted = Ridge.fit(x, labels)
    assert fitted.alpha == min(ALPHAS, key=error)
    w = np.linalg.solve(z.T @ z + fitted.alpha * np.eye(30), z.T @ (targets - targets.mean(0)))
    np.testing.assert_allclose(fitted.decide(x), z @ w + targets.mean(0), atol=1e-9)
    assert fitted.predict(x) == ["abc"[i] for i in fitted.decide(x).argmax(1)]


def test_it_tells_shapes_apart_that_lie_anywhere() -> None:
    rng = np.random.default_rng(2)

    def made(count: int) -> tuple[np.ndarray, list[str]]:
        x = 0.3 * rng.standard_normal((count, 3, 64))
        for i, row in enumerate(x):
            at = rng.integers(5, 40)
            row[1, at : at + 16] += np.sin(np.arange(16) / 16 * 2 * np.pi) * (1 if i % 2 else -1)
        return x, ["up" if i % 2 else "down" for i in range(count)]

    x, labels = made(60)
    fitted = MiniRocket.fit(x, rng, features=2000)
    ridge = Ridge.fit(fitted.transform(x), labels)
    y, truth = made(60)
    assert np.mean([a == b for a, b in zip(ridge.predict(fitted.transform(y)), truth, strict=True)]) > 0.95


def test_what_cannot_be_fitted_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(LmmError, match="9 samples"):
        MiniRocket.fit(np.zeros((3, 2, 8)), rng)
    with pytest.raises(LmmError, match="40 samples"):
        MiniRocket.fit(series(), rng, features=84).transform(np.zeros((3, 5, 41)))
    with pytest.raises(LmmError, match="two classes"):
        Ridge.fit(np.zeros((3, 2)), ["a", "a", "a"])


@pytest.mark.slow
def test_features_equal_sktimes() -> None:
    """With sktime's own draws of channels and biases; skipped where sktime and numba are not installed."""
    theirs = pytest.importorskip("sktime.transformations.rocket._minirocket_multi_numba")
    x = series()
    counts, indices, dilations, features, biases = theirs._fit_multi(x, 840, 32, 7)
    channels = np.split(indices, np.cumsum(counts)[:-1])
    split = np.split(biases, np.cumsum(np.repeat(features, 84))[:-1])
    ours = MiniRocket(x.shape[2], dilations, features, channels, split)
    np.testing.assert_array_equal(
        ours.transform(x), theirs._transform_multi(x, (counts, indices, dilations, features, biases))
    )
