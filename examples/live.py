"""Play a file as if a camera filmed it, and print what the server forecasts while it plays.

    lmm serve &
    python examples/live.py takes/clip_keypoints --source-fps 30

Any file that lmm reads will do. With a camera, send the frames of your own pose estimator as they come: `send` takes
any skeleton that lmm knows (docs/conversions.md), at any rate.
"""

from __future__ import annotations

import argparse
import threading
import time

import numpy as np

import lmm
from lmm.serving.client import Client, Live


def play(live: Live, motion: lmm.Motion) -> None:
    began = time.monotonic()
    for seconds, points, confidence in zip(motion.clock, motion.positions, motion.confidence, strict=True):
        wait = began + (seconds - motion.clock[0]) - time.monotonic()
        time.sleep(max(0.0, wait))
        live.send(float(seconds), np.concatenate([np.nan_to_num(points), confidence[:, None]], 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--source-fps", type=float)
    parser.add_argument("--person")
    given = parser.parse_args()
    motion = lmm.read(given.path, source_fps=given.source_fps, person=given.person)
    motion = motion if motion.num_dims == 2 else lmm.to_body25(motion)
    wrist = lmm.to_body25(motion).skeleton.index["RWrist"]
    with Client(given.url).live(motion.skeleton.name, motion.space, size=motion.size) as live:
        camera = threading.Thread(target=play, args=(live, motion), daemon=True)
        camera.start()
        while camera.is_alive():
            forecast = live.receive(timeout=0.5)
            if forecast is not None:
                at = np.round(np.nanmean(forecast.points[:, -1, wrist], axis=0), 2)
                print(
                    f"{forecast.time:7.2f} s: right wrist in {forecast.points.shape[1] / forecast.fps:g} s about {at}, "
                    f"{1000 * forecast.latency_s:.0f} ms behind, {forecast.skipped} frames skipped"
                )


if __name__ == "__main__":
    main()
