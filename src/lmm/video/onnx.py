"""Pose networks that users have as ONNX files: RTMPose and its kin, several people with a YOLOX detector.

A pose network takes crops (N, 3, H, W) and gives SimCC scores: (N, K, 2 W) and (N, K, 2 H), for each keypoint which
column and row it lies in, by half pixels (Y. Li et al., "SimCC: a Simple Coordinate Classification Perspective for
Human Pose Estimation", 2022; T. Jiang et al., "RTMPose", 2023). K is 17 (COCO), 26 (Halpe) or 133 (COCO-WholeBody, of
which body and feet are kept). A detector takes pictures (1, 3, H, W) and gives boxes (1, N, 5) with scores, and
perhaps labels, 0 for people, as MMDeploy exports it. Without one there is one person: first looked for in the whole
picture, then where they were.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lmm.core.errors import InputError, one_line
from lmm.video.decoding import Video
from lmm.video.estimators import People

Array = NDArray[Any]

MEAN, STD = np.array([[123.675, 116.28, 103.53], [58.395, 57.12, 57.375]], np.float32)  # RGB, of ImageNet
LAYOUTS = {17: "coco_17", 26: "halpe_26", 133: "coco_23"}
PADDING = 1.25  # of a box, as the networks were trained
LEAST_SCORE = 0.3
LEAST_SEEN = 4  # keypoints, or the person is lost
GREY = 114
BINS = 2  # a pixel


class Onnx:
    """See the module. Raises InputError if a file is no network of these kinds."""

    def __init__(self, pose: Path, detector: Path | None = None) -> None:
        self.path, self.name = pose, pose.name
        self._pose, (height, width) = _session(pose)
        self._size = width, height
        self._detector: Any
        self._detector, self._seen = (None, (0, 0)) if detector is None else _session(detector)
        shapes = [o.shape for o in self._pose.get_outputs()]
        joints = shapes[0][1] if len(shapes) == 2 and all(len(s) == 3 for s in shapes) else None
        if joints not in LAYOUTS or [s[2] for s in shapes] != [BINS * width, BINS * height]:
            raise InputError(
                pose,
                f"gives {shapes}, not the SimCC scores of 17, 26 or 133 keypoints by half pixels",
                "Give an RTMPose network that MMDeploy exported",
            )
        self.skeleton = LAYOUTS[joints]

    def people(self, video: Video) -> Iterator[People]:
        from lmm.skeletons import table

        joints = table(self.skeleton).skeleton.num_joints
        whole = np.array([[0, 0, *video.size]], np.float64)
        boxes = whole
        for time, picture in video.frames():
            try:
                if self._detector is not None:
                    boxes = self._detect(picture)
                found = [self._estimate(picture, box)[:, :joints] for box in boxes]
            except Exception as e:  # onnxruntime has no common error, and any network may be given
                raise InputError(self.path, f"cannot be run on pictures ({one_line(e, 160)})", "Give another") from None
            points = np.concatenate([np.zeros((0, joints, 3)), *found])
            seen = points[..., 2] >= LEAST_SCORE
            points = points[seen.sum(1) >= LEAST_SEEN]
            if self._detector is None:
                boxes = np.array([_around(p) for p in points]) if len(points) else whole
            yield People(time, points)

    def _estimate(self, picture: Array, box: Array) -> Array:
        """Return (1, K, 3): the keypoints within a box, in pixels of the picture."""
        width, height = self._size
        left, top, right, bottom = box
        across, down = max(right - left, 1) * PADDING, max(bottom - top, 1) * PADDING
        across, down = max(across, down * width / height), max(down, across * height / width)
        x, y = (left + right - across) / 2, (top + bottom - down) / 2
        matrix = (across / width, 0, x, 0, down / height, y)
        crop = Image.fromarray(picture).transform(self._size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        given = ((np.asarray(crop, np.float32) - MEAN) / STD).transpose(2, 0, 1)[None]
        columns, rows = self._pose.run(None, {self._pose.get_inputs()[0].name: given})
        place = np.stack([columns.argmax(-1), rows.argmax(-1)], -1) / BINS + 0.5  # pixels, whose middles are at halves
        score = np.minimum(columns.max(-1), rows.max(-1)).clip(0, 1)
        at = place * [across / width, down / height] + [x, y]
        return np.asarray(np.concatenate([at, score[..., None]], -1) * (score > 0)[..., None])

    def _detect(self, picture: Array) -> Array:
        """Return boxes (P, 4) of people: left, top, right, bottom."""
        height, width = self._seen
        scale = min(height / picture.shape[0], width / picture.shape[1])
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        small = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
        canvas = np.full((height, width, 3), GREY, np.float32)
        canvas[: small.shape[0], : small.shape[1]] = small[..., ::-1]  # trained on BGR
        found, *labels = self._detector.run(
            None, {self._detector.get_inputs()[0].name: canvas.transpose(2, 0, 1)[None]}
        )
        keep = found[0, :, 4] >= LEAST_SCORE
        if labels:
            keep &= labels[0][0] == 0
        return np.asarray(found[0, keep, :4] / scale)


def _session(path: Path) -> tuple[Any, tuple[int, int]]:
    """Return a network and the height and width of the pictures that it takes."""
    try:
        import onnxruntime
    except ImportError:
        raise InputError(path, "needs the package onnxruntime", "pip install 'large-movement-model[onnx]'") from None
    if not path.is_file():
        raise InputError(path, "no such file", "Check the path")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=onnxruntime.get_available_providers())
    except Exception as e:  # onnxruntime has no common error
        raise InputError(path, f"is no network that can be run ({one_line(e, 160)})", "Copy it again") from None
    shape = session.get_inputs()[0].shape
    if len(shape) != 4 or shape[1] != 3 or not all(isinstance(n, int) and n > 0 for n in shape[2:]):
        raise InputError(path, f"takes {shape}, not pictures (N, 3, height, width)", "Export it with a fixed size")
    return session, (shape[2], shape[3])


def _around(points: Array) -> Array:
    """Return the box around the keypoints (K, 3) that are seen."""
    seen = points[points[:, 2] >= LEAST_SCORE, :2]
    return np.concatenate([seen.min(0), seen.max(0)])
