"""OpenPose, if its program is installed: run on the video, its JSON files read back. Several people, BODY_25."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lmm.core.errors import LmmError, one_line
from lmm.sources.openpose import frame_people
from lmm.video.decoding import Video
from lmm.video.estimators import People

NAMES = ("openpose.bin", "OpenPoseDemo.exe", "openpose")
PROGRAM = "LMM_OPENPOSE"  # the environment variable that says where the program is
JOINTS = 25


def installed() -> str | None:
    """Return the program's path: what LMM_OPENPOSE says, or one of NAMES on the PATH; None if there is none."""
    return next(filter(None, map(shutil.which, (os.environ.get(PROGRAM, ""), *NAMES))), None)


class OpenPose:
    """See the module. It starts in the folder above its own, where the program looks for its models.

    Raises LmmError if it is not installed, fails, or writes another number of frames than the video has.
    """

    name = "openpose"
    skeleton = "body_25"

    def __init__(self) -> None:
        found = installed()
        if found is None:
            raise LmmError(f"OpenPose is not installed: put it on the PATH, or say where it is with {PROGRAM}.")
        self.program = Path(found).resolve()

    def people(self, video: Video) -> Iterator[People]:
        with tempfile.TemporaryDirectory(prefix="lmm-") as folder:
            given = ["--video", str(video.path.resolve()), "--write_json", folder, "--display", "0"]
            command = [str(self.program), *given, "--render_pose", "0", "--model_pose", "BODY_25"]
            home = self.program.parents[2] if self.program.name == NAMES[0] else self.program.parents[1]
            done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False)
            if done.returncode:
                said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
                raise LmmError(f"OpenPose failed: {one_line(said, 200)}")
            files = sorted(Path(folder).glob("*.json"))
            times = video.times()
            if len(files) != len(times):
                raise LmmError(f"OpenPose wrote {len(files)} frames of a video of {len(times)}.")
            for time, file in zip(times, files, strict=True):
                found = frame_people(file.read_bytes(), file)
                yield People(time, np.array(found, np.float32).reshape(len(found), JOINTS, 3))
