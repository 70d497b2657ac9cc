"""Reads `.lmm.npz`, the file in which lmm keeps motions and forecasts."""

from __future__ import annotations

import json
from typing import Any

from lmm.core.errors import InputError, MotionError
from lmm.core.motion import Motion
from lmm.core.skeleton import Skeleton
from lmm.sources.files import Input, decode
from lmm.sources.npz import NpzFile
from lmm.sources.reading import Options, source


def sniff(given: Input) -> bool:
    return given.kind == "file" and given.name.endswith(".lmm.npz") and given.head[:2] == b"PK"


@source("lmm", "lmm's own file", sniff, extensions=(".lmm.npz",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    arrays = NpzFile(given.path)
    header_bytes = arrays["header"].tobytes()
    try:
        header = json.loads(decode(header_bytes, given.path))
        if header["lmm_motion"] != 1:
            raise ValueError(f"version {header['lmm_motion']} is not known")
        return [_unpack(header, "", arrays)]
    except (ValueError, KeyError, TypeError, AttributeError, MotionError, RecursionError) as e:
        raise InputError(given.path, f"is not a readable lmm file ({e})", "Write it again") from None


def _unpack(header: dict[str, Any], prefix: str, arrays: NpzFile) -> Motion:
    s = header["skeleton"]
    skeleton = Skeleton(
        str(s["name"]), tuple(s["joints"]), tuple(s["parents"]), tuple((r, l_) for r, l_ in s["pairs"]), str(s["table"])
    )
    optional = {n: arrays[prefix + n] if prefix + n in arrays else None for n in ("flags", "times", "samples")}
    context = header["context"]
    return Motion(
        arrays[prefix + "positions"],
        arrays[prefix + "confidence"],
        float(header["fps"]),
        skeleton,
        header["space"],
        size=tuple(header["size"]) if header["size"] else None,
        start_s=float(header["start_s"]),
        context=None if context is None else _unpack(context, prefix + "context.", arrays),
        meta=dict(header["meta"]),
        **optional,
    )
