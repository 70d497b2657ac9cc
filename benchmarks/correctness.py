"""Correct against incorrect exercises of UI-PRMD, by what `lmm analyse` measures: ROC area, subjects held out.

    python benchmarks/correctness.py STORE [--device kinect]

STORE is UI-PRMD by `lmm ingest`. For each movement: ridge regression (strength 10, never tuned) of correct (+1) or not
(-1) on angles' least, greatest and range, duration and the centre of mass's path, standardised on the training
subjects; each subject is told by the others (leave one subject out). Told: the area under the ROC curve (Mann-Whitney),
of all repetitions of a movement, with a 95 % interval by bootstrap over subjects; and the mean over movements.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lmm

Array = NDArray[Any]
RIDGE = 10.0


def auc(scores: Array, correct: Array) -> float:
    a, b = scores[correct][:, None], scores[~correct][None]
    return float(((a > b) + 0.5 * (a == b)).mean()) if a.size and b.size else np.nan


def held_out(x: Array, correct: Array, subjects: Array) -> Array:
    scores = np.zeros(len(x))
    for s in np.unique(subjects):
        train = subjects != s
        mean, std = x[train].mean(0), x[train].std(0)
        z = (x - mean) / np.where(std > 1e-6, std, np.inf)
        y = np.where(correct[train], 1.0, -1.0)
        w = np.linalg.solve(z[train].T @ z[train] + RIDGE * np.eye(x.shape[1]), z[train].T @ (y - y.mean()))
        scores[~train] = z[~train] @ w
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--device", default="kinect")
    given = parser.parse_args()
    rows: dict[str, list[tuple[dict[str, float], bool, str]]] = defaultdict(list)
    for motion in lmm.Store(given.store).motions():
        if given.device in motion.meta["id"]:
            told = lmm.analyse(motion).summary()
            numbers = {f"{k} {n}": v for k, r in told["ranges_deg"].items() for n, v in r.items()}
            numbers |= {"seconds": told["seconds"], "path": told["centre_of_mass_path"]}
            labels = motion.meta["labels"]
            rows[labels["movement"]].append((numbers, bool(labels["correct"]), motion.meta["subject"]))
    rng = np.random.default_rng(0)
    means = []
    for movement, found in sorted(rows.items()):
        names = sorted(set.intersection(*(set(n) for n, _, _ in found)))
        x = np.array([[n[k] for k in names] for n, _, _ in found])
        correct, subjects = np.array([c for _, c, _ in found]), np.array([s for _, _, s in found])
        scores = held_out(x, correct, subjects)
        draws = []
        for _ in range(1000):
            some = np.concatenate([np.flatnonzero(subjects == s) for s in rng.choice(np.unique(subjects), 6)])
            draws.append(auc(scores[some], correct[some]))
        value = auc(scores, correct)
        means.append(value)
        low, high = np.nanpercentile(draws, [2.5, 97.5])
        print(f"m{movement}: AUC {value:.2f} [{low:.2f}, {high:.2f}] of {len(found)} repetitions")
    print(f"mean over {len(means)} movements: {np.mean(means):.2f}")


if __name__ == "__main__":
    main()
