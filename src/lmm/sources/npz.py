"""NumPy files from strangers: headers are checked against the bytes that are there before anything is allocated."""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.sources.files import DAMAGE

MAX_BYTES = 1 << 28  # of one array: as float64, and copied on its way, it takes several times as much


def load_npy(data: bytes, source: str | Path) -> NDArray[Any]:
    """Return the array in the bytes of an .npy file. Raises InputError if it is damaged or holds Python objects."""
    try:
        stream = io.BytesIO(data)
        shape, fortran, dtype = _header(stream)
        if len(data) > MAX_BYTES:
            raise InputError(source, f"is larger than {MAX_BYTES >> 20} MiB", "Split it into shorter takes")
        if dtype.hasobject:
            raise InputError(
                source, "holds Python objects (a pickle), which can run code and are never opened", "Save plain numbers"
            )
        count = 1
        for n in shape:
            count *= int(n)
        body = memoryview(data)[stream.tell() :]
        if count < 0 or len(body) != count * dtype.itemsize:
            raise ValueError(
                f"the header promises {count} numbers, the file holds {len(body) // max(dtype.itemsize, 1)}"
            )
        return np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C")
    except InputError:
        raise
    except Exception as e:  # the header is parsed as a Python literal: any of a dozen errors
        raise InputError(source, f"is not a readable npy array ({e})", "Save it again with numpy.save") from None


def npy_header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any]] | None:
    """Return shape and type from the first bytes of an .npy file, or None if they are not one's. Allocates nothing."""
    try:
        shape, _, dtype = _header(io.BytesIO(head))
    except Exception:  # the header is parsed as a Python literal: any of a dozen errors
        return None
    return shape, dtype


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy remarks on headers that Python 2 wrote
        return reader(stream, max_header_size=10_000)


class NpzFile:
    """A zip of arrays, read one at a time. Raises InputError if the zip, or an array in it, is damaged."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except DAMAGE as e:
            raise InputError(path, f"is not a readable npz ({e})", "Save it again with numpy.savez") from None
        self.names = {i.filename.removesuffix(".npy"): i for i in self._zip.infolist()}

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self.names:
            raise InputError(self.path, f"has no array {name!r}", "Save it again")
        info = self.names[name]
        if info.file_size > MAX_BYTES:
            raise InputError(self.path, f"array {name!r} unpacks to over {MAX_BYTES >> 20} MiB", "Split it")
        try:
            with self._zip.open(info) as f:
                data = f.read(MAX_BYTES + 1)
        except DAMAGE as e:
            raise InputError(
                self.path, f"array {name!r} cannot be unpacked ({e})", "The file is damaged: copy it again"
            ) from None
        return load_npy(data, f"{self.path}:{name}")
