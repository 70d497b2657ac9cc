"""Share of a stride on the floor in recorded walks, against pace: `python benchmarks/stance.py STORE [--split train]`.

Of clips of a store that are described as a walk and nothing else (CMU's descriptions), from four steps on.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import numpy as np

import lmm
from lmm.analysis.steps import rhythm

BANDS_MPS = (0.7, 0.9, 1.2, 1.4, 1.7)
WALKS = ("walk", "walk/stride", "brisk walk", "normal walk")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--split", nargs="+", default=["train", "val"])
    given = parser.parse_args()
    found = []
    for motion in lmm.Store(given.store).motions():
        captions = [str(c).strip().lower() for c in motion.meta.get("captions", [])]
        if motion.meta.get("split") not in given.split or not any(c in WALKS for c in captions):
            continue
        told = rhythm(motion)
        if told is not None:
            found.append((told["speed_mps"], (told["stance_right"] + told["stance_left"]) / 2))
    pace, stance = np.array(found).T
    print(f"{len(found)} walks, median {np.median(stance):.3f}")
    for low, high in pairwise(BANDS_MPS):
        within = stance[(pace > low) & (pace <= high)]
        if len(within):
            spread = f"median {np.median(within):.3f}, {within.min():.2f} to {within.max():.2f}"
            print(f"{low} to {high} m/s: {len(within)} walks, {spread}")


if __name__ == "__main__":
    main()
