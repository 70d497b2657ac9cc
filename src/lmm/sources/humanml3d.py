"""A HumanML3D folder as a collection: ``new_joints``, ``new_joint_vecs``, ``texts`` and the splits; 20 frames a second.

Written from the specification (C. Guo et al., "Generating Diverse and Natural 3D Human Motions from Text", CVPR 2022,
and its repository), since the motions cannot be had without a licence; not tried on the original files. Positions are
SMPL's first 22 joints in metres, y up; the first frame faces +z with the left side at +x.

A line of ``texts/<clip>.txt`` is ``caption#tokens#start#end`` in seconds; start and end 0 mean the whole clip. A single
``.npy`` of 263 features a frame is read too.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.motion import Motion, make_motion
from lmm.skeletons import table
from lmm.sources.files import MAX_MEMBERS, Input
from lmm.sources.npz import load_npy, npy_header
from lmm.sources.reading import Options, source

Array = NDArray[Any]

FPS = 20.0
JOINTS = 22
FEATURES = 263
SPLITS = ("train", "val", "test")
LICENCE = "HumanML3D: texts MIT, motions from AMASS and HumanAct12 (non-commercial research)"


def sniff(given: Input) -> bool:
    if given.kind == "folder":
        return any((given.path / kind).is_dir() for kind in ("new_joints", "new_joint_vecs"))
    header = npy_header(given.head)
    return header is not None and len(header[0]) == 2 and header[0][1] == FEATURES


def items(given: Input) -> list[str] | None:
    """Clip names, those with positions and those with features only."""
    if given.kind != "folder":
        return None
    names = {p.stem for kind in ("new_joints", "new_joint_vecs") for p in (given.path / kind).glob("*.npy")}
    if not names or len(names) > MAX_MEMBERS:
        raise InputError(
            given.path,
            f"holds {len(names)} clips",
            f"Between 1 and {MAX_MEMBERS} .npy files are expected in new_joints or new_joint_vecs",
        )
    return sorted(names)


@source(
    "humanml3d",
    "HumanML3D folder, or its 263 features",
    sniff,
    items=items,
    tried=False,
    note="20 frames per second by the data set's specification",
    settles=("source_fps",),
)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    meta: dict[str, Any] = {"licence": LICENCE}
    if given.kind == "file":
        positions = recover(_features(given.data(), path))
    else:
        joints, vectors = (path / kind / f"{item}.npy" for kind in ("new_joints", "new_joint_vecs"))
        if item is None or Path(item).name != item or not (joints.is_file() or vectors.is_file()):
            names = items(given) or []
            raise InputError(path, f"holds {len(names)} clips: {', '.join(names[:8])} ...", "Choose one with --person")
        if joints.is_file():
            positions = load_npy(Input(joints).data(), joints)
            if positions.ndim != 3 or positions.shape[1:] != (JOINTS, 3) or positions.dtype.kind != "f":
                raise InputError(
                    joints,
                    f"is {positions.dtype} {positions.shape}, numbers (frames, 22, 3) were expected",
                    "Export it again",
                )
        else:
            positions = recover(_features(Input(vectors).data(), vectors))
        meta |= {"person": item, "trial": item, **_texts(given, item), **_split(given, item)}
    return [make_motion(positions, options.rate(path, FPS), table("smpl_22").skeleton, "world", meta=meta)]


def recover(features: Array) -> Array:
    """Return joint positions (T, 22, 3) in metres from HumanML3D's features (T, 263).

    A row holds the turn about y to the next frame r (1: half the angle, radians), the root's step to the next frame in
    the next frame's heading (2: x, z), the root's height (1), and the 21 other joints relative to the root's place on
    the ground, in the frame's heading (63); rotations, velocities and contacts follow and are not needed. With the
    heading h_t = sum of 2 r_s over s < t and R the rotation about +y::

        root_t = sum over s <= t of R(-h_s) step_(s-1), at the stated height
        joint_t = R(-h_t) local_t + root_t (x, z)

    (Guo et al. 2022, section 5; `recover_from_ric` of the reference code.)
    """
    f = np.asarray(features, np.float64)
    h = np.concatenate([[0.0], np.cumsum(2 * f[:-1, 0])])
    c, s = np.cos(h), np.sin(h)

    def facing_back(x: Array, z: Array) -> tuple[Array, Array]:
        """Turn by -h about +y, one angle a frame."""
        shape = (len(h),) + (1,) * (x.ndim - 1)
        return c.reshape(shape) * x - s.reshape(shape) * z, s.reshape(shape) * x + c.reshape(shape) * z

    step = np.concatenate([np.zeros((1, 2)), f[:-1, 1:3]])
    root = np.cumsum(np.stack(facing_back(step[:, 0], step[:, 1]), axis=-1), axis=0)
    out = np.empty((len(f), JOINTS, 3))
    out[:, 0] = np.stack([root[:, 0], f[:, 3], root[:, 1]], axis=-1)
    local = f[:, 4:67].reshape(-1, JOINTS - 1, 3)
    x, z = facing_back(local[..., 0], local[..., 2])
    out[:, 1:] = np.stack([x + root[:, :1], local[..., 1], z + root[:, 1:]], axis=-1)
    return out


def _features(data: bytes, path: Path) -> Array:
    features = load_npy(data, path)
    if features.ndim != 2 or features.shape[1] != FEATURES or not len(features) or features.dtype.kind != "f":
        raise InputError(
            path, f"is {features.dtype} {features.shape}, numbers (frames, {FEATURES}) were expected", "Export it again"
        )
    if not np.isfinite(features).all() or np.abs(features).max() > 1e6:
        raise InputError(path, "has a number that is not finite or is huge", "Export it again")
    return features


def _texts(given: Input, item: str) -> dict[str, Any]:
    """Return the captions, and the spans of those that describe a part of the clip only."""
    path = given.path / "texts" / f"{item}.txt"
    if not path.is_file():
        return {}
    captions, spans = [], []
    for number, line in enumerate(Input(path).text().splitlines(), start=1):
        if not line.strip():
            continue
        parts = line.split("#")
        try:
            if len(parts) != 4:
                raise ValueError(f"{len(parts)} parts, 4 were expected")
            start, end = (0.0 if t.strip() == "nan" else float(t) for t in parts[2:])
            if not (np.isfinite([start, end]).all() and 0 <= start <= end):
                raise ValueError(f"the span {start} to {end} s")
        except ValueError as e:
            raise InputError(path, f"line {number} is not caption#tokens#start#end ({e})", "Correct it") from None
        captions.append(parts[0].strip())
        if end > 0:
            spans.append({"caption": parts[0].strip(), "start_s": start, "end_s": end})
    return {"captions": captions, **({"caption_spans": spans} if spans else {})}


def _split(given: Input, item: str) -> dict[str, str]:
    for split in SPLITS:
        path = given.path / f"{split}.txt"
        if path.is_file() and item in _listed(path, path.stat().st_mtime_ns):
            return {"split": split}
    return {}


@lru_cache(maxsize=8)
def _listed(path: Path, _changed: int) -> frozenset[str]:
    return frozenset(Input(path).text().split())
