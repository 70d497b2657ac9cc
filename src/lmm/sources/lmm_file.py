"""Reads `.lmm.npz`, the file in which lmm keeps motions and forecasts."""

from __future__ import annotations

import json
import operator
from typing import Any

from lmm.core.errors import InputError, MotionError
from lmm.core.motion import Motion
from lmm.core.skeleton import Skeleton
from lmm.sources.files import Input, decode
from lmm.sources.npz import NpzFile
from lmm.sources.reading import Options, source

MAX_HEADER = 1 << 24  # bytes


def sniff(given: Input) -> bool:
    return given.kind == "file" and given.name.endswith(".lmm.npz") and given.head[:2] == b"PK"


@source("lmm", "lmm's own file", sniff, extensions=(".lmm.npz",), settles=("source_fps",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    arrays = NpzFile(given.path)
    header_bytes = arrays["header"].tobytes()
    try:
        if len(header_bytes) > MAX_HEADER:
            raise ValueError(f"its header has {len(header_bytes)} bytes")
        header = json.loads(decode(header_bytes, given.path))
        if header["lmm_motion"] != 1:
            raise ValueError(f"version {header['lmm_motion']} is not known")
        motion = _unpack(header, "", arrays)
        return [motion if options.source_fps is None else motion.replace(fps=options.source_fps, times=None)]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, MotionError, RecursionError) as e:
        raise InputError(given.path, f"is not a readable lmm file ({e})", "Write it again") from None


def _unpack(header: dict[str, Any], prefix: str, arrays: NpzFile) -> Motion:
    if not isinstance(header["meta"], dict):
        raise TypeError("its meta is no object")
    s = header["skeleton"]
    joints, parents = tuple(map(str, s["joints"])), tuple(map(operator.index, s["parents"]))
    if not all(j.isprintable() for j in joints):
        raise ValueError("a joint's name cannot be printed")
    skeleton = Skeleton(str(s["name"]), joints, parents, tuple((r, l_) for r, l_ in s["pairs"]), str(s["table"]))

    def optional(name: str) -> Any:
        return arrays[prefix + name] if prefix + name in arrays else None  # noqa: SIM401, NpzFile is no dict

    context = header["context"]
    return Motion(
        arrays[prefix + "positions"],
        arrays[prefix + "confidence"],
        float(header["fps"]),
        skeleton,
        header["space"],
        size=_size(header["size"]),
        start_s=float(header["start_s"]),
        context=None if context is None else _unpack(context, prefix + "context.", arrays),
        meta=header["meta"],
        flags=optional("flags"),
        times=optional("times"),
        samples=optional("samples"),
    )


def _size(pair: list[int] | None) -> tuple[int, int] | None:
    if not pair:
        return None
    width, height = map(operator.index, pair)
    return width, height
