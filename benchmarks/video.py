"""Poses from video: lmm against the bare estimator, and two videos at once.

    python benchmarks/video.py VIDEO [--rounds 3]

Bare is MediaPipe in its own environment, fed by OpenCV in one loop: what one would write without lmm. The works take
turns; told are the best of the rounds, in frames per second, start of the process included. `two videos` reads the
video and a copy of it into a store by `lmm ingest --workers 2`, and counts the frames of both.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import lmm
from lmm.video import mediapipe
from lmm.video.decoding import Video

BARE = """
import sys, cv2
import mediapipe as mp
pose, film = mp.solutions.pose.Pose(model_complexity=1), cv2.VideoCapture(sys.argv[1])
while True:
    there, picture = film.read()
    if not there:
        break
    pose.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
"""


def bare(video: Path) -> None:
    subprocess.run([str(mediapipe.python()), "-c", BARE, str(video)], check=True, capture_output=True)


def ours(video: Path) -> None:
    lmm.read_people(video)


def ingested(videos: list[Path], workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lmm.ingest(videos, Path(folder) / "store", workers=workers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    frames = len(Video(given.video).times())
    with tempfile.TemporaryDirectory() as folder:
        both = [given.video, Path(shutil.copy(given.video, Path(folder) / f"copy{given.video.suffix}"))]
        works: dict[str, tuple[int, Callable[[], None]]] = {
            "bare MediaPipe": (frames, lambda: bare(given.video)),
            "lmm.read": (frames, lambda: ours(given.video)),
            "two videos, one worker": (2 * frames, lambda: ingested(both, 1)),
            "two videos, two workers": (2 * frames, lambda: ingested(both, 2)),
        }
        best = dict.fromkeys(works, 0.0)
        for _ in range(given.rounds):
            for name, (count, work) in works.items():
                began = time.perf_counter()
                work()
                best[name] = max(best[name], count / (time.perf_counter() - began))
    for name, rate in best.items():
        print(f"{name:24} {rate:6.1f} frames/s  {rate / best['bare MediaPipe']:.2f} of bare")


if __name__ == "__main__":
    main()
