"""`.lmm.npz`, the file that keeps everything: arrays, skeleton, clock, flags, samples, context and meta.

A zip of npy arrays without objects, and `header.json` as UTF-8 bytes. `lmm.sources.lmm_file` reads it back bit for bit.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from lmm.core.motion import Motion
from lmm.core.registry import writers
from lmm.core.writing import write_bytes

VERSION = 1


@writers.register(".lmm.npz")
def write(motion: Motion, path: Path) -> list[Path]:
    """Write `motion` to one file; returns it."""
    arrays: dict[str, Any] = {}
    header = _pack(motion, "", arrays)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return [write_bytes(path, buffer.getvalue())]


def _pack(motion: Motion, prefix: str, arrays: dict[str, Any]) -> dict[str, Any]:
    for name in ("positions", "confidence", "flags", "times", "samples"):
        value = getattr(motion, name)
        if value is not None:
            arrays[prefix + name] = value
    s = motion.skeleton
    return {
        "lmm_motion": VERSION,
        "fps": motion.fps,
        "space": motion.space,
        "size": motion.size,
        "start_s": motion.start_s,
        "meta": motion.meta,
        "skeleton": {"name": s.name, "joints": s.joints, "parents": s.parents, "pairs": s.pairs, "table": s.table},
        "context": None if motion.context is None else _pack(motion.context, prefix + "context.", arrays),
    }
