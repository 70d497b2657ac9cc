"""How long each format takes to write and to read.

    python benchmarks/exports.py [--seconds 60] [--rounds 3]

A synthetic walk at 30 frames a second, on BODY_25 (OpenPose: in pixels). Told: milliseconds to write and to read (best
of the rounds, formats taking turns), size, and both times as multiples of the floor: the same positions and confidences
written and read as raw float32 by NumPy.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import lmm
from lmm.datasets.synthetic import gait
from lmm.pipeline.cameras import Camera, project

FORMATS = (".lmm.npz", ".nc", ".csv", ".trc", ".c3d", ".bvh", ".glb", ".zip")
NOT_READ = (".csv", ".glb")


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    walk = gait(seconds=given.seconds)
    seen = project(walk, Camera())
    raw = np.concatenate([walk.positions, walk.confidence[..., None]], -1)
    best: dict[str, list[float]] = {name: [np.inf, np.inf, 0] for name in ("raw", *FORMATS)}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(given.rounds):
            for name in best:
                path = Path(folder) / f"walk{name}"
                if name == "raw":
                    write, read = (lambda p=path: raw.tofile(p)), (lambda p=path: np.fromfile(p, np.float32))
                else:
                    motion, rate = (seen, walk.fps) if name == ".zip" else (walk, None)
                    write = lambda m=motion, p=path: m.save(p)  # noqa: E731
                    read = lambda p=path, r=rate: lmm.read(p, source_fps=r)  # noqa: E731
                best[name][0] = min(best[name][0], timed(write))
                best[name][1] = np.nan if name in NOT_READ else min(best[name][1], timed(read))
                best[name][2] = path.stat().st_size / 1e6
    floor = best["raw"]
    print("| format | write, ms | read, ms | MB | write / floor | read / floor |\n|---|---|---|---|---|---|")
    for name, (write, read, size) in best.items():
        cells = [f"{write:.1f}", f"{read:.1f}", f"{size:.2f}", f"{write / floor[0]:.0f}", f"{read / floor[1]:.0f}"]
        print(f"| {name} | {' | '.join('–' if c == 'nan' else c for c in cells)} |")


if __name__ == "__main__":
    main()
