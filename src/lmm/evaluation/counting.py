"""What a counter of repetitions must beat: the constant that is best on average, and peaks of the first component."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.signal import find_peaks

from lmm.analysis.repetitions import _poses
from lmm.core.motion import Motion

Array = NDArray[Any]


def peaks(motion: Motion) -> int:
    """Return the number of peaks of the first principal component, to the side that has more."""
    poses = _poses(motion)
    if poses is None:
        return 0
    centred = poses - poses.mean(0)
    line = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    least = 0.4 * (np.percentile(line, 95) - np.percentile(line, 5))
    return max(len(find_peaks(x, prominence=least, distance=0.4 * motion.fps)[0]) for x in (line, -line))


def best_guess(truth: ArrayLike) -> int:
    """Return the constant with the least mean absolute error from counts (N,)."""
    known = np.asarray(truth)
    return min(range(1, int(known.max()) + 1), key=lambda guess: float(np.abs(known - guess).mean()))
