"""Facts about files in a list beside them: `metadata.jsonl` (the Hugging Face convention) or `files.jsonl`.

A row a file: ``file_name`` (or ``file``) and any of ``fps`` (or ``source_fps``, ``true_fps``), ``units``, ``up``,
``subject``, ``captions`` (or ``description``), ``licence``, ``split``. The user's options go before these facts, these
facts before what a file says of itself.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from lmm.core.errors import InputError
from lmm.sources.files import Input

NAMES = ("metadata.jsonl", "files.jsonl")
_MAX_BYTES = 64 << 20
_KEYS = {
    "source_fps": ("source_fps", "true_fps", "fps"),
    "units": ("units",),
    "up": ("up",),
    "subject": ("subject",),
    "captions": ("captions", "description"),
    "licence": ("licence", "license"),
    "split": ("split",),
}


def facts(path: Path) -> dict[str, Any]:
    """Return what a list beside `path` says of it, under the keys above; empty if there is none."""
    for name in NAMES:
        beside = path.parent / name
        try:
            status = beside.stat()
        except OSError:
            continue
        if status.st_size <= _MAX_BYTES and beside.is_file():
            found = _rows(beside, status.st_mtime_ns).get(path.name)
            if found:
                return dict(found)
    return {}


@lru_cache(maxsize=32)
def _rows(path: Path, _changed: int) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(Input(path).text().split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as e:
            raise InputError(path, f"line {number} is not JSON ({e})", "Correct or remove the list") from None
        name = row.get("file_name", row.get("file")) if isinstance(row, dict) else None
        if isinstance(name, str):
            known = {key: next((row[k] for k in keys if row.get(k) is not None), None) for key, keys in _KEYS.items()}
            captions = known["captions"]
            known["captions"] = (
                [str(c) for c in captions] if isinstance(captions, list) else [str(captions)] if captions else None
            )
            rows[name] = {
                k: v if k in ("source_fps", "captions") else str(v) for k, v in known.items() if v is not None
            }
    return rows
