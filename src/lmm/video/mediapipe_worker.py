"""Run by the Python of MediaPipe's environment, by itself: pictures in shared memory → 33 landmarks.

    python mediapipe_worker.py MEMORY WIDTH HEIGHT SLOTS

For every line on standard input, a slot of the file MEMORY that holds an RGB picture, 33 x 3 float32 go to standard
output: x and y in pixels and the visibility of each landmark; zeros where nobody is seen.
"""

import os
import sys

import numpy as np

LANDMARKS = 33


def main() -> None:
    path, width, height, slots = sys.argv[1], *map(int, sys.argv[2:5])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints is no answer
    import mediapipe as mp

    pictures = np.memmap(path, np.uint8, "r", shape=(slots, height, width, 3))
    pose = mp.solutions.pose.Pose(model_complexity=1)
    answers.write(np.zeros((LANDMARKS, 3), np.float32).tobytes())  # ready
    answers.flush()
    for line in sys.stdin:
        found = pose.process(pictures[int(line)]).pose_landmarks
        out = np.zeros((LANDMARKS, 3), np.float32)
        if found is not None:
            out[:] = [(p.x * width, p.y * height, p.visibility) for p in found.landmark]
        answers.write(out.tobytes())
        answers.flush()


if __name__ == "__main__":
    main()
