"""MediaPipe Pose (BlazePose), one person: in an environment of its own, as it needs a NumPy older than lmm's.

`install` makes the environment, within the one that lmm runs in; `MediaPipe` runs a worker process there. Pictures go
to it through shared memory, two at a time, so that the next is decoded while one is looked at. Its model lies in the
package: nothing is downloaded later.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError, one_line
from lmm.video.decoding import Video
from lmm.video.estimators import People

Array = NDArray[Any]

ENVIRONMENT = Path(sys.prefix) / "share" / "lmm" / "mediapipe"
PYTHONS = ("python3.12", "python3.11", "python3.10", "python3.9")  # those that MediaPipe 0.10.21 has wheels for
PACKAGES = (
    "mediapipe==0.10.21",
    "absl-py==2.1.0",
    "attrs==24.2.0",
    "contourpy==1.3.0",
    "cycler==0.12.1",
    "flatbuffers==24.3.25",
    "fonttools==4.54.1",
    "kiwisolver==1.4.7",
    "matplotlib==3.9.2",
    "numpy==1.26.4",
    "opencv-python-headless==4.10.0.84",
    "packaging==24.1",
    "pillow==10.4.0",
    "protobuf==4.25.5",
    "pyparsing==3.1.4",
    "python-dateutil==2.9.0.post0",
    "six==1.16.0",
)  # without JAX and the others that only its training and sound need
LANDMARKS = 33
SLOTS = 2


def python() -> Path:
    """Return the Python of MediaPipe's environment, there or not."""
    return ENVIRONMENT / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def installed() -> bool:
    return (ENVIRONMENT / ".ready").is_file()


def install() -> None:
    """Make MediaPipe's environment. Raises LmmError if no fitting Python is found, or pip fails."""
    within = (3, 9) <= sys.version_info[:2] <= (3, 12)
    base = sys.executable if within else next(filter(None, map(shutil.which, PYTHONS)), None)
    if base is None:
        raise LmmError("MediaPipe 0.10.21 needs Python 3.9 to 3.12, and none is found. Install python3.12.")
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    for command in (
        [base, "-m", "venv", str(ENVIRONMENT)],
        [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", *PACKAGES],
        [str(python()), "-c", "import mediapipe"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = one_line((done.stderr.strip() or done.stdout.strip() or "no word").splitlines()[-1], 200)
            raise LmmError(f"MediaPipe's environment could not be made: {said}")
    (ENVIRONMENT / ".ready").touch()


class MediaPipe:
    """See the module. Raises LmmError if the environment is missing or its worker fails."""

    name = "mediapipe"
    skeleton = "mediapipe_33"

    def __init__(self) -> None:
        if not installed():
            raise LmmError("poses in videos need MediaPipe: run lmm doctor --fix, or choose another pose estimator.")

    def people(self, video: Video) -> Iterator[People]:
        waiting: list[float] = []
        with _Worker(*video.size) as worker:
            for time, picture in video.frames():
                if len(waiting) == SLOTS:
                    yield People(waiting.pop(0), worker.answer())
                worker.ask(picture)
                waiting.append(time)
            for time in waiting:
                yield People(time, worker.answer())


class _Worker:
    """The process that looks at pictures of one size, in order."""

    def __init__(self, width: int, height: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lmm-")
        memory = Path(self._folder.name) / "pictures"
        self._pictures = np.memmap(memory, np.uint8, "w+", shape=(SLOTS, height, width, 3))
        self._errors = (Path(self._folder.name) / "errors").open("w+")
        script = Path(__file__).with_name("mediapipe_worker.py")
        command = [str(python()), "-I", str(script), str(memory), str(width), str(height), str(SLOTS)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self._asked = 0

    def __enter__(self) -> _Worker:
        try:
            self.answer()  # it is ready
        except BaseException:
            self.__exit__()
            raise
        return self

    def ask(self, picture: Array) -> None:
        assert self._process.stdin is not None
        slot = self._asked % SLOTS
        self._pictures[slot] = picture
        self._asked += 1
        with suppress(BrokenPipeError):  # `answer` tells why
            self._process.stdin.write(f"{slot}\n".encode())
            self._process.stdin.flush()

    def answer(self) -> Array:
        """Return (P, 33, 3): who is in the picture that was asked about first, P 0 or 1."""
        assert self._process.stdout is not None
        data = self._process.stdout.read(LANDMARKS * 3 * 4)
        if len(data) < LANDMARKS * 3 * 4:
            code = self._process.wait()
            self._errors.seek(0)
            said = (self._errors.read().strip() or f"exit code {code}").splitlines()[-1]
            raise LmmError(f"MediaPipe's worker ended: {one_line(said, 200)}. Run lmm doctor --fix.")
        found = np.frombuffer(data, np.float32).reshape(1, LANDMARKS, 3)
        return found[: int(found[..., 2].any())]

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()
        self._folder.cleanup()
