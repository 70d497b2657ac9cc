"""Do forecasts keep joints within the ranges that people use?

    python benchmarks/joint_ranges.py STORE [--model diffusion] [--samples 10] [--every 4.0]

The usual range of an angle (`lmm.analysis.angles`) is what all but one in a thousand frames of the store's training
clips lie in. Told, for windows of the test clips every `every` seconds and forecasts of 2 s: the share of (frame,
angle) outside the usual range, in the truth and in the samples, with a 95 % interval by bootstrap over subjects; and
knees that bend forwards: the shank's angle in front of the thigh by more than 10 degrees, of knees bent by 20 or more.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lmm
from lmm.analysis.angles import joint_angles
from lmm.core.motion import Motion
from lmm.models.loading import load
from lmm.pipeline.resample import resample
from lmm.skeletons import BODY_25

Array = NDArray[Any]
HORIZON_S, LEAST_S = 2.0, 2.0


def wrong_knees(motion: Motion) -> tuple[int, int]:
    """Return how many knees bend forwards, and how many are bent."""
    p = {j: motion.positions[:, k].astype(float) for j, k in BODY_25.index.items()}
    ahead = np.cross(p["LHip"] - p["RHip"], p["Neck"] - p["MidHip"])
    wrong = bent = 0
    for s, side in (("R", "right"), ("L", "left")):
        thigh, shank = p[s + "Knee"] - p[s + "Hip"], p[s + "Ankle"] - p[s + "Knee"]
        knee = joint_angles(motion).get(f"{side}_knee", np.zeros(motion.num_frames))
        along = thigh / np.linalg.norm(thigh, axis=1, keepdims=True)
        out = shank - (shank * along).sum(1, keepdims=True) * along
        front = (out * ahead).sum(1) / np.linalg.norm(ahead, axis=1) / np.linalg.norm(shank, axis=1)
        wrong += int(((knee >= 20) & (front > np.sin(np.deg2rad(10)))).sum())
        bent += int((knee >= 20).sum())
    return wrong, bent


def outside(motion: Motion, usual: dict[str, tuple[float, float]]) -> tuple[int, int]:
    angles = joint_angles(motion)
    out = sum(int(((v < usual[k][0]) | (v > usual[k][1])).sum()) for k, v in angles.items() if k in usual)
    return out, sum(int(np.isfinite(v).sum()) for k, v in angles.items() if k in usual)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--model", default="diffusion")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--every", type=float, default=4.0)
    given = parser.parse_args()
    network = load(given.model, "xyz")
    fps = network.features.fps
    seen: dict[str, list[Array]] = defaultdict(list)
    tests = []
    for motion in lmm.Store(given.store).motions():
        motion = resample(motion, fps)
        if motion.meta["split"] == "train":
            for name, values in joint_angles(motion).items():
                seen[name].append(values[np.isfinite(values)])
        else:
            tests.append(motion)
    usual = {k: tuple(np.percentile(np.concatenate(v), [0.05, 99.95]).tolist()) for k, v in seen.items()}
    counts: dict[str, dict[str, list[tuple[int, ...]]]] = {"truth": defaultdict(list), "samples": defaultdict(list)}
    horizon, step = round(HORIZON_S * fps), round(given.every * fps)
    for motion in tests:
        for end in range(round(LEAST_S * fps), motion.num_frames - horizon + 1, step):
            future = lmm.forecast(motion.crop(0, end), network, HORIZON_S, given.samples, end)
            subject = str(motion.meta["subject"])
            truth = motion.crop(end, end + horizon)
            for name, some in (("truth", [truth.positions]), ("samples", list(future.samples))):
                for p in some:
                    one = truth.replace(positions=p, confidence=np.isfinite(p[..., 0]).astype(np.float32), flags=None)
                    counts[name][subject].append((*outside(one, usual), *wrong_knees(one)))
    rng = np.random.default_rng(0)
    subjects = sorted(counts["truth"])
    windows = sum(len(v) for v in counts["truth"].values())
    print(f"{network.info.name}: {windows} windows of {len(subjects)} subjects, {given.samples} samples each")
    for name, of in counts.items():
        total = {s: np.array(of[s]).sum(0) for s in subjects}

        def share(some: Any, k: int, total: dict[str, Array] = total) -> float:
            a = sum(total[s] for s in some)
            return 100 * float(a[k] / max(a[k + 1], 1))

        for title, k in (("angles outside the usual range", 0), ("knees that bend forwards", 2)):
            draws = [share(rng.choice(subjects, len(subjects)), k) for _ in range(2000)]
            low, high = np.percentile(draws, [2.5, 97.5])
            print(f"  {name:8} {title:32} {share(subjects, k):5.2f} % [{low:.2f}, {high:.2f}]")


if __name__ == "__main__":
    main()
