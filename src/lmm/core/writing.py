"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from lmm.core.errors import InputError


def write_bytes(path: Path, data: bytes) -> Path:
    """Write `data` beside `path` and rename it there, so that a reader never sees half a file. Raises InputError."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as f:
                f.write(data)
            mask = os.umask(0)
            os.umask(mask)
            Path(temporary).chmod(0o666 & ~mask)
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as e:
        raise InputError(
            path, f"cannot be written ({e.strerror or e})", "Give a file in a folder that exists and is writable"
        ) from None
    return path
