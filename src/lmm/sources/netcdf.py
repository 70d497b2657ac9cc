"""netCDF files of poses in the schema of `movement`: `position` (time, space, keypoint, individual) and `confidence`.

Dimensions may have singular names (movement 0.17 and later) or plural ones. Attributes used: `fps`, `time_unit`
(seconds or frames). Two dimensions are pixels; three need a unit and a vertical, which `movement` does not state and
`lmm.exports.netcdf` adds, with the skeleton and the start, as JSON in the attribute `lmm`, so that its files come back
whole. Schema: neuroinformatics-unit/movement, "movement datasets". Read with the low-level interface of h5py: its
objects take twice as long, and xarray several times. Needs the extra ``interop``.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError, MotionError
from lmm.core.geometry import y_up_from
from lmm.core.motion import MAX_FRAMES, MAX_JOINTS, Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.skeletons import Table, table, table_names
from lmm.sources.files import Input
from lmm.sources.labels import HIERARCHIES, labelled_skeleton, turn_y_up
from lmm.sources.reading import UNITS_M, Options, source

MAGIC = b"\x89HDF\r\n\x1a\n"
MAX_NUMBERS = 1 << 27
MAX_INDIVIDUALS = 1_000
VARIABLES = ("position", "confidence", "time", "space", "keypoint", "keypoints", "individual", "individuals")
ATTRIBUTES = ("fps", "time_unit", "lmm")
PACKING = ("_FillValue", "missing_value", "scale_factor", "add_offset")
UNEVEN = 1e-4  # time steps that differ by more than this share of the median are an irregular clock
CANDIDATES = ("keypoints", *(c for c in HIERARCHIES if c != "keypoints"))
MISSING_LIBRARIES = "Install them with: pip install 'large-movement-model[interop]'"


def sniff(given: Input) -> bool:
    """True for HDF5 files that hold the name of movement's variable; names stand in them as plain text."""
    return given.head.startswith(MAGIC) and (b"position" in given.head or b"position" in given.data())


@source(
    "netcdf",
    "netCDF of movement",
    sniff,
    extensions=(".nc",),
    note="Tried on files that movement 0.17 wrote (keypoint, individual); the older plural names by its schema",
)
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    try:
        import h5py
    except ImportError as e:
        raise InputError(path, f"needs the Python package h5py ({e})", MISSING_LIBRARIES) from None
    content = given.data()
    try:
        _check_heaps(content)
        # HDF5 reads a file of its own faster than bytes, which gzipped files leave us with
        plain = path.stat().st_size == len(content)
        with h5py.File(path, "r", locking=False) if plain else h5py.File(io.BytesIO(content), "r") as f:
            attrs = _attributes(f.id, ATTRIBUTES)
            variables = dict(_variables(f.id, content))
        return _people(_Data(attrs, _kept(attrs, path), variables), options, path)
    except (InputError, MotionError):
        raise
    except Exception as e:  # damaged HDF5 raises a dozen kinds of error
        raise InputError(
            path, f"is not a readable netCDF file of movement ({type(e).__name__}: {e})", "Save it again"
        ) from None


def _check_heaps(content: bytes) -> None:
    """Raise ValueError for a heap of texts whose objects do not follow one another: HDF5 would walk it for ever.

    A collection is "GCOL", its size, and objects of index and size; index 0 is free space (HDF5 File Format
    Specification 3.0, section III.E, global heap).
    """
    for match in re.finditer(rb"GCOL\x01", content):
        (size,) = struct.unpack_from("<Q", content, match.start() + 8)
        at, end = match.start() + 16, min(match.start() + size, len(content))
        while at + 16 <= end:
            index, size = struct.unpack_from("<H6xQ", content, at)
            step = 16 + -(-size // 8) * 8 if index else size
            if not 16 <= step <= end - at:
                raise ValueError(f"damaged texts at byte {at}")
            at += step


def _check_size(name: str, variable: Any, content: bytes) -> None:
    """Raise ValueError for a data set that claims more than can be there, before a library allocates it.

    HDF5 allocates what the length of a string says: the lengths are the first 4 bytes of each descriptor (HDF5 File
    Format Specification 3.0, section IV.B, variable-length types).
    """
    strings, size = variable.dtype.kind == "O", math.prod(variable.shape)
    if size > (MAX_JOINTS if strings else MAX_NUMBERS):
        raise ValueError(f"{name} claims {size} values")
    if strings and variable.get_offset() is not None:
        start, stored = variable.get_offset(), variable.get_storage_size()
        descriptors = np.frombuffer(content[start : start + stored], np.uint8).reshape(size, -1)
        if (descriptors[:, :4].copy().view("<u4") > len(content)).any():
            raise ValueError(f"{name} has a text longer than the file")


@dataclass(frozen=True)
class _Variable:
    """Values, and the names of their dimensions in the singular."""

    dims: tuple[str, ...]
    values: NDArray[Any]

    def along(self, order: tuple[str, ...]) -> NDArray[Any]:
        return self.values.transpose([self.dims.index(d) for d in order])


@dataclass(frozen=True)
class _Data:
    """A file: movement's attributes, what lmm kept beside them, and the variables."""

    attrs: dict[str, Any]
    kept: dict[str, Any]
    variables: dict[str, _Variable]

    def names(self, dim: str, size: int) -> list[str]:
        """The coordinate of a dimension, or 0, 1, 2 ... where the file gives none."""
        named = self.variables.get(dim)
        return [str(n) for n in (range(size) if named is None else named.values.tolist())]


def _variables(file: Any, content: bytes) -> Iterator[tuple[str, _Variable]]:
    """Yield the variables of the schema. A netCDF dimension is an HDF5 dimension scale, and a coordinate its own."""
    from h5py import h5a, h5d, h5ds, h5r

    for name in VARIABLES:
        if not file.links.exists(name.encode()):
            continue
        variable = h5d.open(file, name.encode())
        _check_size(name, variable, content)
        own, text = h5ds.is_scale(variable), variable.dtype.kind in "OS"
        if own and not text and h5ds.get_scale_name(variable).startswith(b"This is a netCDF dimension but not"):
            continue
        scales = () if own else _values(h5a.open(variable, b"DIMENSION_LIST"))
        dims = [name] if own else [h5r.get_name(s[0], file).decode().rpartition("/")[2] for s in scales]
        values = _values(variable)
        if text:
            values = np.array([n.decode() for n in values.ravel()], object)
        yield _singular(name), _Variable(tuple(map(_singular, dims)), values if text else _unpacked(variable, values))


def _unpacked(variable: Any, stored: NDArray[Any]) -> NDArray[Any]:
    """Return floats as stored, other and packed numbers as float64; NaN for the fill value.

    CF conventions 1.11, sections 2.5.1 and 8.1.
    """
    told = _attributes(variable, PACKING)
    packed = "scale_factor" in told or "add_offset" in told
    values = stored if stored.dtype.kind == "f" and not packed else stored.astype(np.float64)
    for fill in (told.get("_FillValue"), told.get("missing_value")):
        if fill is not None and not np.isnan(fill):
            values[values == fill] = np.nan
    if packed:
        values = values * told.get("scale_factor", 1) + told.get("add_offset", 0)
    return values


def _attributes(owner: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Return those of the attributes `names` that the file or variable has: text as str, one number as a number."""
    from h5py import h5a

    found = {}
    for name in names:
        if h5a.exists(owner, name.encode()):
            value = _values(h5a.open(owner, name.encode()))
            one = value.item() if value.size == 1 else value
            found[name] = one.decode() if isinstance(one, bytes) else one
    return found


def _values(stored: Any) -> NDArray[Any]:
    """Return all of a data set or an attribute. Raises ValueError for one of no extent."""
    from h5py import h5a, h5s

    if stored.shape is None:
        raise ValueError("values are missing")
    values = np.empty(stored.shape, stored.dtype)
    if isinstance(stored, h5a.AttrID):
        stored.read(values)
    else:
        stored.read(h5s.ALL, h5s.ALL, values)
    return values


def _kept(attrs: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return what `lmm.exports.netcdf` kept in the attribute `lmm`; empty where there is none."""
    try:
        kept = json.loads(str(attrs.get("lmm", "{}")))
    except (ValueError, RecursionError):
        kept = None
    if not isinstance(kept, dict):
        raise InputError(path, "has an attribute lmm that lmm did not write", "Remove it")
    return kept


def _singular(name: str) -> str:
    return name[:-1] if name in ("keypoints", "individuals") else name


def _people(data: _Data, options: Options, path: Path) -> list[Motion]:
    if "position" not in data.variables:
        raise InputError(path, "has no variable 'position'", "A file of poses saved by movement is expected")
    variable = data.variables["position"]
    if set(variable.dims) - {"individual"} != {"time", "space", "keypoint"}:
        raise InputError(
            path,
            f"position has the dimensions {', '.join(map(str, variable.dims))}",
            "Expected time, space, keypoint and individual",
        )
    sizes = dict(zip(variable.dims, variable.values.shape, strict=True))
    if sizes["time"] > MAX_FRAMES or sizes["keypoint"] > MAX_JOINTS or sizes.get("individual", 1) > MAX_INDIVIDUALS:
        raise InputError(path, f"claims {sizes}", "Split it into shorter takes")
    order = ("individual", "time", "keypoint", "space") if "individual" in sizes else ("time", "keypoint", "space")
    names = data.names("keypoint", sizes["keypoint"])
    axes = data.names("space", sizes["space"])
    if sorted(axes) not in (["x", "y"], ["x", "y", "z"]):
        raise InputError(path, f"has the coordinates {', '.join(axes)}", "Expected x, y or x, y, z")
    positions = variable.along(order)
    if axes != sorted(axes):
        positions = positions[..., [axes.index(a) for a in sorted(axes)]]
    positions = positions.reshape(-1, *positions.shape[-3:])
    finite = np.isfinite(positions).all(axis=-1)
    if not finite.all():
        positions = np.where(finite[..., None], positions, np.nan)
    confidence, notes = _confidence(data, order[:-1], finite)
    individuals = data.names("individual", sizes.get("individual", 1))
    fps, times, start_s = _clock(data, sizes["time"], options, path)
    skeleton, layout = _skeleton(data, names, path)
    positions, space, how = _in_space(positions, data.kept, skeleton, layout, options, path)
    meta = {
        **data.kept.get("meta", {}),
        **({"up": how} if how else {}),
        **({"notes": notes} if notes else {}),
    }
    size = tuple(int(n) for n in data.kept.get("size", ())) or None
    fields: dict[str, Any] = {"times": times, "start_s": start_s}
    return [
        make_motion(
            p, fps, skeleton, space, c, meta={"person": name, **meta},
            size=size if size and len(size) == 2 and space == "image" else None, **fields,
        )
        for p, c, name in zip(positions, confidence, individuals, strict=True)
    ]  # fmt: skip


def _confidence(data: _Data, order: tuple[str, ...], finite: NDArray[Any]) -> tuple[NDArray[Any], list[str]]:
    """Return (people, T, J) in [0, 1]: 1 for each `finite` position where the file holds no confidence, or only NaN."""
    stated = data.variables.get("confidence")
    if stated is None:
        return finite.astype(np.float32), []
    if sorted(stated.dims) != sorted(order):
        raise ValueError(f"confidence has the dimensions {', '.join(map(str, stated.dims))}")
    c = stated.along(order).reshape(finite.shape)
    if not np.isfinite(c).any():
        return finite.astype(np.float32), []
    over = int((c > 1).sum())
    notes = [f"{over} confidences above 1 are read as 1"] if over else []
    return np.where(finite & (c > 0), np.minimum(c, 1), 0), notes


def _clock(data: _Data, frames: int, options: Options, path: Path) -> tuple[float, NDArray[Any] | None, float]:
    """Return the rate, the time stamps where they are uneven, and the time of the first frame, seconds."""
    stated = data.attrs.get("fps")
    stated = float(stated) if stated is not None and np.size(stated) == 1 and str(stated) != "None" else None
    stated = stated if stated is not None and 0 < stated < 1e5 else None
    times = data.variables["time"].values.astype(np.float64) if "time" in data.variables else None
    if times is None or data.attrs.get("time_unit") != "seconds" or options.source_fps is not None:
        return options.rate(path, stated), None, float(data.kept.get("start_s", 0))
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise InputError(
            path, "has time stamps that do not increase", "Save it again, or give the rate with --source-fps"
        )
    if frames == 1:
        return options.rate(path, stated), None, float(times[0])
    step = float(np.median(np.diff(times)))
    even = bool((np.abs(np.diff(times) - step) <= UNEVEN * step).all())
    # the stated rate is the exact or nominal one, unless every so many frames were dropped since it was written
    agrees = stated is not None and (not even or abs(stated * step - 1) <= UNEVEN)
    return (stated if stated and agrees else float(f"{1 / step:.9g}")), None if even else times, float(times[0])


def _skeleton(data: _Data, names: list[str], path: Path) -> tuple[Skeleton, Table]:
    """Return the skeleton that lmm kept in the file, else the table with these joints, or one that knows the names."""
    kept = data.kept.get("skeleton")
    if kept and kept.get("table") in table_names():
        pairs = tuple((str(r), str(l)) for r, l in kept["pairs"])
        return Skeleton(
            str(kept["name"]), tuple(names), tuple(int(p) for p in kept["parents"]), pairs, kept["table"]
        ), table(kept["table"])
    same = [n for n in table_names() if table(n).joints == tuple(names)]
    if same:
        return table(same[0]).skeleton, table(same[0])
    return labelled_skeleton("netcdf", names, (-1,) * len(names), CANDIDATES, path)


def _in_space(
    positions: NDArray[Any], kept: dict[str, Any], skeleton: Skeleton, layout: Table, options: Options, path: Path
) -> tuple[NDArray[Any], Any, str | None]:
    """Return positions (people, T, J, C) in pixels, or metres with y up, the space, and how the vertical was known."""
    if kept.get("space") == "body":
        return positions, "body", None
    if positions.shape[-1] == 2:
        return positions, "image", None
    stated = options.units or UNITS_M.get(str(kept.get("units")))
    if stated is None:
        raise InputError(path, "does not state its unit", "Give it with --units, for example --units m")
    unit = np.float64(stated)  # products in double precision, of floats of single too
    up = options.up or kept.get("up")
    if up in ("x", "y", "z", "-x", "-y", "-z"):
        return y_up_from(up, positions) * unit, "world", f"{up} up, {'as given' if options.up else 'as the file says'}"
    together = np.concatenate(list(positions), dtype=np.float64)
    turned, how = turn_y_up(together, skeleton.joints, layout, None, None, path)
    return turned.reshape(positions.shape) * unit, "world", how
