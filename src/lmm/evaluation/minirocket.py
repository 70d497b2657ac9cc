"""MiniRocket with a ridge classifier: the strong classical classifier of time series that a model must stand beside.

A. Dempster, D. F. Schmidt and G. I. Webb, "MiniRocket: A Very Fast (Almost) Deterministic Transform for Time Series
Classification", KDD 2021, in the form for many channels of the authors' code: 84 kernels of nine weights, six -1 and
three 2, at several dilations, each on the sum of a few channels drawn at random; features are the shares of the
convolution's values above biases, which are quantiles of the convolution of a training series. Ridge regression of
classes as ±1 follows, its strength chosen by the squared error that leaves one example out, in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm.core.errors import LmmError

Array = NDArray[Any]
WEIGHTS = 9
KERNELS = tuple(combinations(range(WEIGHTS), 3))  # where the three weights of 2 stand: 84
FEATURES, DILATIONS = 10_000, 32  # at most, of a kernel
MOST_CHANNELS = 9  # of a kernel
ALPHAS = np.logspace(-3, 3, 10)
GOLDEN = (5**0.5 + 1) / 2


@dataclass(frozen=True, eq=False)
class MiniRocket:
    """The fitted transform; lists run over dilations, then kernels.

    length     of the series, samples
    dilations  (D,), `counts` (D,) features of each kernel at each
    channels   D * 84 index arrays: the channels that are summed
    biases     D * 84 arrays (count,)
    """

    length: int
    dilations: Array
    counts: Array
    channels: list[Array]
    biases: list[Array]

    @classmethod
    def fit(cls, series: ArrayLike, rng: np.random.Generator, features: int = FEATURES) -> MiniRocket:
        """Draw channels and biases from `series` (N, C, T). Raises LmmError with none, or with fewer than 9 samples."""
        x = np.asarray(series, np.float32)
        if x.ndim != 3 or not x.size or x.shape[2] < WEIGHTS:
            raise LmmError(f"MiniRocket needs series (N, C, T) of {WEIGHTS} samples or more, got {x.shape}.")
        dilations, counts = _dilations(x.shape[2], max(1, features // len(KERNELS)))
        numbers = np.arange(1, len(KERNELS) * counts.sum() + 1)
        quantiles = iter(np.split(numbers * GOLDEN % 1, np.cumsum(np.repeat(counts, len(KERNELS)))[:-1]))
        most = np.log2(min(x.shape[1], MOST_CHANNELS) + 1)
        channels, biases = [], []
        for dilation in dilations:
            for kernel in KERNELS:
                count = int(2 ** rng.uniform(0, most))
                some = rng.choice(x.shape[1], count, replace=False)
                one = x[rng.integers(len(x)), some].sum(0)
                channels.append(some)
                biases.append(np.quantile(convolved(one[None], kernel, int(dilation))[0], next(quantiles)))
        return cls(x.shape[2], dilations, counts, channels, biases)

    def transform(self, series: ArrayLike) -> Array:
        """Return the features (N, 84 * counts.sum()) of `series` (N, C, T): shares in [0, 1]."""
        x = np.asarray(series, np.float32)
        if x.ndim != 3 or x.shape[2] != self.length:
            raise LmmError(f"MiniRocket was fitted on series of {self.length} samples, got {x.shape}.")
        out = []
        for i, (some, biases) in enumerate(zip(self.channels, self.biases, strict=True)):
            d, k = divmod(i, len(KERNELS))
            dilation = int(self.dilations[d])
            values = convolved(x[:, some].sum(1), KERNELS[k], dilation)
            if (d + k) % 2:  # every other one without the ends, where the kernel hangs over
                pad = (WEIGHTS - 1) * dilation // 2
                values = values[:, pad:-pad]
            out.append((values[..., None] > biases.astype(np.float32)).mean(1, dtype=np.float32))
        return np.concatenate(out, 1)


def convolved(series: Array, kernel: Sequence[int], dilation: int) -> Array:
    """Return Σ_j w_j x[t + (j − 4)·dilation] of `series` (N, T), zero outside: w_j is 2 at `kernel`, else -1."""
    pad = (WEIGHTS - 1) * dilation // 2
    padded = np.pad(series, ((0, 0), (pad, pad)))
    shifted = np.stack([padded[:, j * dilation : j * dilation + series.shape[1]] for j in range(WEIGHTS)])
    return np.asarray(3 * shifted[list(kernel)].sum(0) - shifted.sum(0))


def _dilations(length: int, features: int) -> tuple[Array, Array]:
    """Return dilations 1 to (length - 1) / 8, evenly spaced in exponents, and how many features each has."""
    most = min(features, DILATIONS)
    exponent = np.log2((length - 1) / (WEIGHTS - 1))
    dilations, times = np.unique(np.logspace(0, exponent, most, base=2).astype(int), return_counts=True)
    counts = (times * (features / most)).astype(int)
    for i in range(features - int(counts.sum())):
        counts[i % len(counts)] += 1
    return dilations, counts


@dataclass(frozen=True, eq=False)
class Ridge:
    """A linear classifier: the class with the greatest of ``(x - mean) / std @ weights + offsets``."""

    classes: list[Any]
    mean: Array
    std: Array
    weights: Array
    offsets: Array
    alpha: float

    @classmethod
    def fit(cls, features: ArrayLike, labels: Sequence[Any], alphas: Array = ALPHAS) -> Ridge:
        """Fit `features` (N, F) standardised, the strength by leave-one-out error. Raises LmmError with one class.

        With the eigenvectors of the centred Gram matrix, K = U S Uᵀ, the example left out is told by
        (y − ŷ) / (1 − h), where h is the diagonal of U S / (S + α) Uᵀ plus 1 / N for the offset (R. Rifkin and
        R. Lippert, "Notes on Regularized Least Squares", 2007).
        """
        x = np.asarray(features, np.float64)
        classes = sorted(set(labels))
        if len(classes) < 2:
            raise LmmError("a classifier needs examples of two classes or more.")
        targets = np.array([[1.0 if label == c else -1.0 for c in classes] for label in labels])
        mean, std = x.mean(0), x.std(0)
        std = np.where(std > 1e-9, std, np.inf)
        z, offsets = (x - mean) / std, targets.mean(0)
        values, vectors = np.linalg.eigh(z @ z.T)
        values = np.maximum(values, 0)
        projected = vectors.T @ (targets - offsets)

        def error(alpha: float) -> float:
            shrunk = values / (values + alpha)
            left = targets - offsets - vectors @ (shrunk[:, None] * projected)
            h = (vectors**2) @ shrunk + 1 / len(x)
            return float(((left / np.maximum(1 - h, 1e-12)[:, None]) ** 2).mean())

        alpha = float(min(alphas, key=error))
        weights = z.T @ (vectors @ (projected / (values + alpha)[:, None]))
        return cls(classes, mean, std, weights, offsets, alpha)

    def decide(self, features: ArrayLike) -> Array:
        """Return the scores (N, classes)."""
        return np.asarray((np.asarray(features, np.float64) - self.mean) / self.std @ self.weights + self.offsets)

    def predict(self, features: ArrayLike) -> list[Any]:
        """Return the class of each of `features` (N, F)."""
        return [self.classes[i] for i in self.decide(features).argmax(1)]
