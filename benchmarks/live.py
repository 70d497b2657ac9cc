"""Live forecasts: how many, how far behind, of how many clients.

    python benchmarks/live.py [--clients 1,2,4,8] [--seconds 20] [--rate 30] [--threads 2]

Starts `lmm serve` and clients that each send a walking person, 17 COCO keypoints in pixels, at `rate` frames a second,
and take forecasts of 2 s x 10 samples by the small model (two steps). Told for each number of clients: forecasts a
second of all together, latency from when a frame came to when its forecast left the server (median, 90th, 99th
percentile), and from sending to receiving as the client sees it (median, 99th). Clients and server share the machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np

from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait
from lmm.serving.client import Client
from lmm.skeletons import BODY_25, table

PORT = 8765
WARM_S = 3.0


def keypoints(rate: float, seconds: float) -> Motion:
    walk = gait(seconds=seconds, fps=rate)
    names = {"nose": "Nose", "eye": "Eye", "ear": "Ear", "shoulder": "Shoulder", "elbow": "Elbow", "wrist": "Wrist"}
    names |= {"hip": "Hip", "knee": "Knee", "ankle": "Ankle"}
    coco = table("coco_17").skeleton
    columns = []
    for joint in coco.joints:
        side, _, part = joint.rpartition("_")
        columns.append(BODY_25.index[side[:1].upper() + names[part]])
    points = walk.positions[:, columns][..., [2, 1]] * [150, -300] + [100, 700]
    return make_motion(points, rate, coco, "image", size=(1280, 720))


def client(motion: Motion, until: float, told: list[tuple[float, float, float]]) -> None:
    sent: dict[float, float] = {}
    with Client(f"http://127.0.0.1:{PORT}").live(motion.skeleton.name, size=motion.size) as live:

        def send() -> None:
            began, k = time.monotonic(), 0
            while time.monotonic() < until:
                seconds = k / motion.fps
                time.sleep(max(0.0, began + seconds - time.monotonic()))
                frame = k % motion.num_frames
                points = np.nan_to_num(motion.positions[frame])
                sent[round(seconds, 4)] = time.monotonic()
                live.send(seconds, np.concatenate([points, motion.confidence[frame][:, None]], 1))
                k += 1

        sender = threading.Thread(target=send)
        sender.start()
        while time.monotonic() < until:
            got = live.receive(timeout=1.0)
            if got is not None:
                now = time.monotonic()
                newest = max((t for t in sent if t <= got.time + 1e-3), default=None)
                told.append((now, got.latency_s, now - sent[newest] if newest is not None else np.nan))
        sender.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", default="1,2,4,8")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    command = [
        str(Path(sys.executable).with_name("lmm")),
        "serve",
        "--port",
        str(PORT),
        "--threads",
        str(given.threads),
    ]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/v1/health").read()
                break
            except OSError:
                time.sleep(0.1)
        motion = keypoints(given.rate, 12.0)
        print("clients  forecasts/s  each   latency ms p50   p90   p99   seen by client p50   p99")
        for count in map(int, given.clients.split(",")):
            began = time.monotonic()
            told: list[list[tuple[float, float, float]]] = [[] for _ in range(count)]
            threads = [
                threading.Thread(target=client, args=(motion, began + WARM_S + given.seconds, told[i]))
                for i in range(count)
            ]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
            late = np.array([row for one in told for row in one if row[0] > began + WARM_S])
            p50, p90, p99 = 1000 * np.percentile(late[:, 1], [50, 90, 99])
            c50, c99 = 1000 * np.nanpercentile(late[:, 2], [50, 99])
            rate = len(late) / given.seconds
            each, spread = rate / count, f"{p50:15.0f}  {p90:4.0f}  {p99:4.0f}  {c50:19.0f}  {c99:4.0f}"
            print(f"{count:7d}  {rate:11.1f}  {each:4.1f}  {spread}")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
