"""What the counting benchmarks share: the baselines that a counter of repetitions must beat, and its scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import find_peaks

from lmm.analysis.repetitions import _poses
from lmm.core.motion import Motion

Array = NDArray[Any]
MEASURES: dict[str, Callable[[Array], Any]] = {
    "exact": lambda error: (error == 0).mean(),
    "off by one": lambda error: (error <= 1).mean(),
    "MAE": lambda error: error.mean(),
}


def peaks(motion: Motion) -> int:
    """Return the number of peaks of the first principal component, to the side that has more."""
    poses = _poses(motion)
    if poses is None:
        return 0
    centred = poses - poses.mean(0)
    line = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    least = 0.4 * (np.percentile(line, 95) - np.percentile(line, 5))
    return max(len(find_peaks(x, prominence=least, distance=0.4 * motion.fps)[0]) for x in (line, -line))


def best_guess(truth: Array) -> int:
    """Return the constant with the least mean absolute error from counts (N,)."""
    return min(range(1, int(truth.max()) + 1), key=lambda guess: float(np.abs(truth - guess).mean()))


def scores(error: Array, subjects: Sequence[str], rng: np.random.Generator) -> str:
    """Return the measures of absolute errors (N,), with 95 % intervals by bootstrap over the subject of each."""
    known = sorted(set(subjects))
    of = np.array([known.index(subject) for subject in subjects])
    cells = []
    for name, measure in MEASURES.items():
        draws = [
            measure(np.concatenate([error[of == s] for s in rng.choice(len(known), len(known))])) for _ in range(1000)
        ]
        low, high = np.percentile(draws, [2.5, 97.5])
        cells.append(f"{name} {measure(error):.3f} [{low:.2f}, {high:.2f}]")
    return "  ".join(cells)
