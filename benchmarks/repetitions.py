"""Counting repetitions on UI-PRMD: sequences of 1 to 12 repetitions with varied speed, pauses and smoothed joins.

    python benchmarks/repetitions.py STORE [--subjects uiprmd_s05,...] [--sequences 600] [--seed 0]

STORE is UI-PRMD by `lmm ingest` (one clip, one repetition). A sequence is 1 to 12 repetitions of one subject, movement,
device and correctness, each at 0.8 to 1.25 of its speed, joined with 0 to 1.5 s of pause in which the pose goes from
the end of one to the beginning of the next along a smooth step (at least 0.2 s). Told: share of exact counts, of counts
off by one at most, and mean absolute error, with 95 % intervals by bootstrap over subjects, of
`lmm.analysis.repetitions`, of the constant guess that is best on average, and of counting the peaks of the first
principal component.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import numpy as np

import lmm
from counting import best_guess, peaks, scores
from lmm.analysis.repetitions import repetitions
from lmm.core.motion import Motion
from lmm.datasets.joining import joined

MOST = 12


def sequence(clips: list[Motion], rng: np.random.Generator) -> Motion:
    speeds, pauses = [], []
    for k in range(len(clips)):
        speeds.append(rng.uniform(0.8, 1.25))
        pauses.append(rng.uniform(0, 1.5) if k else 0.0)
    return joined(clips, speeds, pauses)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--subjects", default="")
    parser.add_argument("--sequences", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    wanted = set(filter(None, given.subjects.split(",")))
    groups: dict[tuple[str, ...], list[Motion]] = defaultdict(list)
    for motion in lmm.Store(given.store).motions():
        if not wanted or motion.meta["subject"] in wanted:
            device = "vicon" if "vicon" in motion.meta["id"] else "kinect"
            labels = motion.meta["labels"]
            groups[device, motion.meta["subject"], labels["movement"], str(labels["correct"])].append(motion)
    rng = np.random.default_rng(given.seed)
    names = sorted(groups)
    rows = []
    for k in range(given.sequences):
        name = names[int(rng.integers(len(names)))]
        count = 1 + k % MOST
        clips = [groups[name][int(i)] for i in rng.integers(len(groups[name]), size=count)]
        motion = sequence(clips, rng)
        rows.append((name, count, len(repetitions(motion)), peaks(motion)))
    guess = best_guess(np.array([r[1] for r in rows]))
    for device in ("kinect", "vicon"):
        here = [r for r in rows if r[0][0] == device]
        if not here:
            continue
        print(f"\n{device}: {len(here)} sequences of {len({r[0][1] for r in here})} subjects")
        for title, told in (
            ("lmm", [r[2] for r in here]),
            ("peaks of PC 1", [r[3] for r in here]),
            (f"always {guess}", [guess] * len(here)),
        ):
            error = np.abs(np.array(told) - [r[1] for r in here])
            print(f"  {title:14} {scores(error, [r[0][1] for r in here], rng)}")
        for movement in sorted({r[0][2] for r in here}):
            told = [(r[1], r[2]) for r in here if r[0][2] == movement]
            print(f"    m{movement}: exact {np.mean([a == b for a, b in told]):.2f} of {len(told)}", end="")
        print()


if __name__ == "__main__":
    main()
