"""Do feet stay on the floor in forecasts in 3D?

    python benchmarks/floor.py CLIP... [--model diffusion] [--samples 20]

Each clip is cut two seconds before its end and forecast from there. Told, as medians over the clips: how far the lowest
foot is from where it was in the last frame of the context, after 1/15, 1 and 2 s, in the truth and in the samples (the
median over samples, and the ninth decile), in centimetres.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import lmm
from lmm.models.clearance import FEET
from lmm.models.loading import load
from lmm.pipeline.resample import resample

FRAMES = (0, 14, 29)
HORIZON_S = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--model", default="diffusion")
    parser.add_argument("--samples", type=int, default=20)
    given = parser.parse_args()
    network = load(given.model, "xyz")
    truth, middle, far = [], [], []
    for path in given.clips:
        motion = resample(lmm.clean(lmm.read(path)), network.features.fps)
        cut = motion.num_frames - round(HORIZON_S * motion.fps)
        if cut < HORIZON_S * motion.fps:
            continue
        low = np.nanmin(motion.positions[:, FEET, 1], axis=1)
        future = lmm.forecast(motion.crop(0, cut), network, HORIZON_S, given.samples, 0)
        away = 100 * np.abs(np.nanmin(future.samples[:, :, FEET, 1], axis=2) - low[cut - 1])
        truth.append(100 * np.abs(low[cut:] - low[cut - 1])[list(FRAMES)])
        middle.append(np.median(away, axis=0)[list(FRAMES)])
        far.append(np.percentile(away, 90, axis=0)[list(FRAMES)])
    print(f"{network.info.name}, {given.samples} samples, {len(truth)} clips: cm after 1/15, 1 and 2 s")
    for name, rows in (("truth", truth), ("samples, median", middle), ("samples, ninth decile", far)):
        print(f"{name:22}", *(f"{v:5.1f}" for v in np.median(rows, axis=0)))


if __name__ == "__main__":
    main()
