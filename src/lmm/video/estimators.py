"""What a pose estimator is, and which there are: `mediapipe`, `openpose`, and the ONNX files that users have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from lmm.core.errors import LmmError
from lmm.video.decoding import Video

Array = NDArray[Any]


class People(NamedTuple):
    """Everybody in one frame: seconds, and (P, J, 3): x and y in pixels of the picture as shown, score (0: missing)."""

    time: float
    points: Array


class Estimator(Protocol):
    """`skeleton` names the correspondence table of its joints; `people` yields what is in each frame of a video."""

    name: str
    skeleton: str

    def people(self, video: Video) -> Iterator[People]: ...


def choose(name: str) -> Estimator:
    """Return the estimator called `name`: mediapipe, openpose, ``FILE.onnx`` or ``POSE.onnx,DETECTOR.onnx``.

    The empty name is mediapipe where its environment is installed, else openpose where that is.
    Raises LmmError if there is none such, with what to do.
    """
    from lmm.video import mediapipe, onnx, openpose

    found: dict[str, Callable[[], Any]] = {"mediapipe": mediapipe.MediaPipe, "openpose": openpose.OpenPose}
    if name.lower().endswith(".onnx"):
        return onnx.Onnx(*map(Path, name.split(",", 1)))
    if name in found:
        return found[name]()  # type: ignore[no-any-return]
    if name:
        raise LmmError(f"unknown pose estimator {name!r}. Choose mediapipe, openpose or a file POSE.onnx.")
    return openpose.OpenPose() if openpose.installed() and not mediapipe.installed() else mediapipe.MediaPipe()
