"""Bare NumPy arrays of joint positions, ``.npy`` or ``.npz``: the shape (T, J, 2 or 3) is all that they say.

22 joints in 3D are SMPL's first 22, as HumanML3D and most motion generators write them. 17 or 25 joints may be of
several skeletons, so the format is then chosen by name: ``arrays-h36m17``, ``arrays-coco17``, ``arrays-body25`` (or
``arrays-smpl22``). Rate, unit and vertical come from the user. Two coordinates are pixels; so are three of COCO-17 or
BODY_25 whose third lies in [0, 1] while the first two reach 10 and more: it is then the score. A joint at 0 is missing,
but for the root, where it may be the origin. In an ``.npz`` each array of such a shape is a clip. Nothing is unpickled.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import MAX_FRAMES, Motion, make_motion
from lmm.skeletons import table
from lmm.sources.files import Input
from lmm.sources.labels import turn_y_up
from lmm.sources.npz import NpzFile, load_npy, npy_header
from lmm.sources.reading import Options, source

VARIANTS = {"smpl22": "smpl_22", "h36m17": "h36m_17", "coco17": "coco_17", "body25": "body_25"}
BY_COUNT = {22: ("smpl22",), 17: ("h36m17", "coco17"), 25: ("body25",)}
SURE = {(22, 3): "smpl22"}  # (joints, coordinates) of one skeleton only
SCORED = ("coco17", "body25")
SCORED_PIXELS = 10.0
NOTE = "No SMPL or Human3.6M data was at hand: tried on arrays made from other motions"


def sniff(given: Input) -> bool:
    """True for an array of a known shape; not for ``.lmm.npz``, nor for the npz files of a collection."""
    if given.kind != "file":
        return False
    if given.head[:2] == b"PK":
        apart = not given.name.endswith(".lmm.npz") and not (given.path.parent / "skeleton.json").exists()
        return apart and given.name.endswith(".npz") and bool(_clips(given.path))
    header = npy_header(given.head)
    return header is not None and _fits(*header)


def items(given: Input) -> list[str] | None:
    """The clips in an npz file with several."""
    names = _clips(given.path) if given.head[:2] == b"PK" else []
    return names if len(names) > 1 else None


@source(
    "arrays",
    "NumPy array of joints",
    sniff,
    extensions=(".npy", ".npz"),
    variants=tuple(VARIANTS),
    items=items,
    tried=False,
    note=NOTE,
)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    if given.head[:2] == b"PK":
        names = _clips(path)
        if not names or (item is not None and item not in names):
            raise InputError(
                path,
                f"has no array {item or 'of joints, (frames, joints, 2 or 3)'}",
                f"It has {', '.join(names[:8]) or 'none'}",
            )
        item = item or names[0]
        values = NpzFile(path)[item]
    else:
        values = load_npy(given.data(), path)
    if not _fits(values.shape, values.dtype):
        raise InputError(
            path,
            f"holds {values.dtype} {values.shape}, numbers (frames, 17, 22 or 25 joints, 2 or 3) were expected",
            "Save positions of joints",
        )
    variant = options.variant or SURE.get((values.shape[1], values.shape[2]), "")
    if not variant:
        choices = " or ".join(f"arrays-{v}" for v in BY_COUNT[values.shape[1]])
        raise InputError(path, f"has {values.shape[1]} joints of an unknown skeleton", f"Give --format {choices}")
    if variant not in BY_COUNT[values.shape[1]]:
        raise InputError(
            path,
            f"has {values.shape[1]} joints, which is not {variant}",
            f"Give --format arrays-{BY_COUNT[values.shape[1]][0]}",
        )
    meta = {"person": item, "trial": item} if item else {}
    return [_motion(values.astype(np.float64), variant, options, meta, path)]


def _motion(values: NDArray[Any], variant: str, options: Options, meta: dict[str, Any], path: Path) -> Motion:
    layout = table(VARIANTS[variant])
    fps = options.rate(path, None, "an array does not state its frame rate")
    if np.isinf(values).any() or np.nanmax(np.abs(values), initial=0) > 1e9:
        raise InputError(path, "has a number that is infinite or huge", "Save it again")
    zero = (values[..., :2] == 0).all(axis=-1)
    if values.shape[2] == 3 and variant in SCORED and _has_scores(values):
        return make_motion(
            values[..., :2], fps, layout.skeleton, "image", np.where(zero, 0, np.nan_to_num(values[..., 2])), meta=meta
        )
    if values.shape[2] == 3:
        if options.units is None:
            raise InputError(path, "does not state its unit", "Give it with --units, for example --units m")
        zero = (values == 0).all(axis=-1)
        nobody = zero.all(axis=1, keepdims=True)
        zero &= nobody | (np.array(layout.parents) >= 0)
        values, meta["up"] = turn_y_up(
            np.where(zero[..., None], np.nan, values) * options.units, layout.joints, layout, options.up, None, path
        )
        return make_motion(values, fps, layout.skeleton, "world", meta=meta)
    return make_motion(np.where(zero[..., None], np.nan, values), fps, layout.skeleton, "image", meta=meta)


def _has_scores(values: NDArray[Any]) -> bool:
    third = values[..., 2][np.isfinite(values[..., 2])]
    return bool(
        third.size and third.min() >= 0 and third.max() <= 1 and np.nanmax(np.abs(values[..., :2])) >= SCORED_PIXELS
    )


def _fits(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    return (
        len(shape) == 3
        and 0 < shape[0] <= MAX_FRAMES
        and shape[1] in BY_COUNT
        and shape[2] in (2, 3)
        and dtype.kind in "fiu"
    )


def _clips(path: Path) -> list[str]:
    """Names of the arrays of a known shape in an npz file, by their headers alone; empty if it is none."""
    found = []
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist()[:100_000]:
                if info.filename.endswith(".npy"):
                    with archive.open(info) as f:
                        header = npy_header(f.read(10_500))
                    if header is not None and _fits(*header):
                        found.append(info.filename.removesuffix(".npy"))
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError):
        return []
    return sorted(found)
