"""The token views of features (..., T, 75): by frame (as they are), by window of five frames, by body part.

Each function takes a NumPy array or a torch tensor, with any leading batch dimensions, and returns the same kind, with
dtype, device and gradient kept. Values are moved, never computed with: each inverse is exact to the bit, NaN included.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.skeletons import BODY_25

A = TypeVar("A")

WINDOW = 5
NUM_FEATURES = 75
PART_SLOTS = 7
PARTS: dict[str, tuple[str, ...]] = {
    "core": ("Nose", "Neck", "MidHip", "REye", "LEye", "REar", "LEar"),
    "right arm": ("RShoulder", "RElbow", "RWrist"),
    "left arm": ("LShoulder", "LElbow", "LWrist"),
    "right leg": ("RHip", "RKnee", "RAnkle", "RBigToe", "RSmallToe", "RHeel"),
    "left leg": ("LHip", "LKnee", "LAnkle", "LBigToe", "LSmallToe", "LHeel"),
}
# For each joint of BODY_25, its slot among the 5 x 7 of the part view.
_SLOT = {name: PART_SLOTS * p + i for p, joints in enumerate(PARTS.values()) for i, name in enumerate(joints)}
_SLOTS = [_SLOT[name] for name in BODY_25.joints]


def to_windows(x: A) -> A:
    """Return (..., ceil(T / 5), 5, 75) of features (..., T, 75); a last window that is not full ends in zeros.

    `window_mask` tells these. Models pad on the left (`pad_left`) before, so that windows end at the context's end.
    Raises MotionError on another shape.
    """
    *batch, frames, _ = _shape(x, "features", ("T", NUM_FEATURES))
    count = -(-frames // WINDOW)
    out = _zeros(x, (*batch, count * WINDOW, NUM_FEATURES))
    out[..., :frames, :] = x
    return out.reshape((*batch, count, WINDOW, NUM_FEATURES))  # type: ignore[no-any-return]


def from_windows(windows: A, frames: int) -> A:
    """Return the features (..., frames, 75) of windows (..., W, 5, 75): the inverse of `to_windows`.

    Raises MotionError on another shape, or if `frames` frames do not make W windows.
    """
    *batch, count, _, _ = _shape(windows, "windows", ("W", WINDOW, NUM_FEATURES))
    if frames < 0 or count != -(-frames // WINDOW):
        raise MotionError(f"{frames} frames do not make {count} windows of {WINDOW}.")
    given: Any = windows
    return given.reshape((*batch, count * WINDOW, NUM_FEATURES))[..., :frames, :]  # type: ignore[no-any-return]


def window_mask(frames: int) -> NDArray[np.bool_]:
    """Return bool (ceil(frames / 5), 5): True at frames, False at the padding that `to_windows` adds."""
    if frames < 0:
        raise MotionError(f"the number of frames must not be negative, got {frames}.")
    count = -(-frames // WINDOW)
    return (np.arange(count * WINDOW) < frames).reshape(count, WINDOW)


def pad_left(frames: int) -> int:
    """Return how many frames to add before a context of `frames` to make whole windows: 0 to 4."""
    return -frames % WINDOW


def to_parts(x: A) -> A:
    """Return (..., T, 5, 21) of features (..., T, 75): the parts of PARTS, 7 joints each, zeros where a part has fewer.

    Raises MotionError on another shape.
    """
    *lead, _ = _shape(x, "features", ("T", NUM_FEATURES))
    given: Any = x
    out = _zeros(x, (*lead, len(PARTS) * PART_SLOTS, 3))
    out[..., _SLOTS, :] = given.reshape((*lead, len(_SLOTS), 3))
    return out.reshape((*lead, len(PARTS), PART_SLOTS * 3))  # type: ignore[no-any-return]


def from_parts(parts: A) -> A:
    """Return the features (..., T, 75) of parts (..., T, 5, 21): the inverse of `to_parts`; padding is dropped.

    Raises MotionError on another shape.
    """
    *lead, _, _ = _shape(parts, "parts", ("T", len(PARTS), PART_SLOTS * 3))
    given: Any = parts
    joints = given.reshape((*lead, len(PARTS) * PART_SLOTS, 3))[..., _SLOTS, :]
    return joints.reshape((*lead, NUM_FEATURES))  # type: ignore[no-any-return]


def _shape(x: Any, what: str, last: tuple[str | int, ...]) -> tuple[int, ...]:
    """Return the shape of `x`; raises MotionError if its last dimensions are not `last` (a letter is any length)."""
    if not (isinstance(x, np.ndarray) or hasattr(x, "new_zeros")):
        raise MotionError(f"{what} must be a NumPy array or a torch tensor, got {type(x).__name__}.")
    shape = tuple(x.shape)
    tail = shape[-len(last) :]
    if len(shape) < len(last) or any(isinstance(n, int) and n != got for n, got in zip(last, tail, strict=True)):
        raise MotionError(f"{what} must have shape (..., {', '.join(map(str, last))}), got {shape}.")
    return shape


def _zeros(x: Any, shape: tuple[int, ...]) -> Any:
    return np.zeros(shape, x.dtype) if isinstance(x, np.ndarray) else x.new_zeros(shape)
