"""What the counting benchmarks share: a counter's scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
MEASURES: dict[str, Callable[[Array], Any]] = {
    "exact": lambda error: (error == 0).mean(),
    "off by one": lambda error: (error <= 1).mean(),
    "MAE": lambda error: error.mean(),
}


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
