"""Bounded, read-only access to what a user points at: a file (gzipped or not), a folder, a tar or a zip.

Nothing is read or unpacked beyond the limits; device files, pipes and links to nothing are refused. A reader gets an
`Input` and never opens a path itself, except to hand it to a library that must.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from lmm.core.errors import InputError

MAX_BYTES = 1 << 30  # of one file, unpacked
MAX_TEXT = 1 << 28  # bytes of one text: a character may take four times as much in memory
MAX_LINES = 5_000_000  # of one text: each is an object in memory
MAX_MEMBERS = 400_000  # files in a folder or archive
HEAD_BYTES = 1 << 16
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines splits
# What Python's archive modules raise on damaged data.
DAMAGE = (
    OSError, EOFError, ValueError, KeyError, IndexError, OverflowError, RuntimeError, struct.error,
    zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip


class Input:
    """One thing to read: `kind` is ``file``, ``folder`` or ``archive``.

    Raises InputError if the path does not exist, cannot be read, or is neither a regular file nor a folder.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            mode = self.path.stat().st_mode
        except FileNotFoundError:
            raise InputError(self.path, "no such file or folder", "Check the path") from None
        except (OSError, ValueError) as e:
            raise InputError(
                self.path,
                f"cannot be opened ({getattr(e, 'strerror', None) or e})",
                "Check the path and its permissions",
            ) from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise InputError(self.path, "is neither a regular file nor a folder", "Give a file or a folder")
        self.kind = "folder" if stat.S_ISDIR(mode) else "archive" if self._is_archive() else "file"

    @property
    def name(self) -> str:
        """File name, lower case, without a final ``.gz``."""
        return self.path.name.lower().removesuffix(".gz")

    @property
    def stem(self) -> str:
        """File name without extensions of archives and compression, and without its own."""
        plain = re.sub(r"(\.tar)?\.(gz|tgz|zip|tar|xz|bz2)$", "", self.path.name, flags=re.I)
        return Path(plain).stem if self.kind == "file" else plain

    @cached_property
    def head(self) -> bytes:
        """The first 64 KiB of a file, unzipped; empty for folders and archives."""
        return b"" if self.kind != "file" else self._read(self.path, HEAD_BYTES, cut=True)

    def data(self) -> bytes:
        """The whole file, unzipped. Raises InputError over 1 GiB, on damaged gzip data, and for folders."""
        if self.kind != "file":
            raise InputError(self.path, f"is a {self.kind}, a single file is needed", "Give the file itself")
        return self._read(self.path, MAX_BYTES)

    def text(self) -> str:
        """The whole file as UTF-8 text (a byte-order mark is dropped).

        Raises InputError if it is not text, over 256 MiB, or of over 5 million lines.
        """
        if self.kind != "file":
            return decode(self.data(), self.path)
        return decode(self._read(self.path, MAX_TEXT), self.path)

    @cached_property
    def names(self) -> list[str]:
        """Names of the plain files directly in a folder, or of all files in an archive, sorted."""
        try:
            if self.kind == "folder":
                with os.scandir(self.path) as listed:
                    found = [entry.name for entry in listed if _is_file(entry)]
            elif self._zip is not None:
                found = [i.filename for i in self._zip.infolist() if i.filename and not i.is_dir()]
            elif self.kind == "archive":
                found = list(self._tar)
            else:
                return []
        except OSError as e:
            raise InputError(
                self.path, f"cannot be listed ({e.strerror or e})", "Unpack it and give the folder"
            ) from None
        if len(found) > MAX_MEMBERS:
            raise InputError(self.path, f"holds {len(found)} files, over the limit of {MAX_MEMBERS}", "Split it")
        return sorted(found)

    def member(self, name: str, limit: int = MAX_BYTES, cut: bool = False) -> bytes:
        """One file of a folder or archive, or with `cut` no more than its first `limit` bytes.

        Raises InputError if it is damaged or missing, or larger than `limit` without `cut`.
        """
        if self.kind == "folder":
            return self._read(f"{self.path}/{name}", limit, cut)
        try:
            if self._zip is not None:
                with self._zip.open(name) as f:
                    data = f.read(limit + 1)
            else:
                data = self._tar[name]
        except DAMAGE as e:
            raise InputError(
                f"{self.path}/{name}", f"cannot be unpacked ({e})", "The archive may be damaged: pack it again"
            ) from None
        if cut:
            return data[:limit]
        if len(data) > limit:
            raise InputError(f"{self.path}/{name}", f"is larger than {limit} bytes", "Split it")
        return data

    def _is_archive(self) -> bool:
        name = self.path.name.lower()
        return name.endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"))

    @cached_property
    def _zip(self) -> zipfile.ZipFile | None:
        if self.kind != "archive" or not self.path.name.lower().endswith(".zip"):
            return None
        try:
            return zipfile.ZipFile(self.path)
        except DAMAGE as e:
            raise InputError(self.path, f"is not a readable zip ({e})", "Pack it again") from None

    @cached_property
    def _tar(self) -> dict[str, bytes]:
        """All files of a tar in one forward pass: seeking in a compressed tar would read it once a file."""
        found: dict[str, bytes] = {}
        total = members = 0
        too_much = InputError(self.path, "unpacks to over 1 GiB or too many files", "Unpack it and give the folder")
        try:
            with _unpacked(self.path) as stream, tarfile.open(fileobj=_Bounded(stream, too_much), mode="r|") as tar:  # type: ignore[call-overload]
                for info in tar:
                    total, members = total + max(info.size, 0), members + 1
                    if total > MAX_BYTES or members > MAX_MEMBERS:
                        raise too_much
                    tar.members = []  # tarfile would keep them all
                    if info.isfile() and (f := tar.extractfile(info)):
                        found[info.name] = f.read()
        except DAMAGE as e:
            raise InputError(self.path, f"is not a readable tar ({e})", "Pack it again") from None
        return found

    def _read(self, path: str | Path, limit: int, cut: bool = False) -> bytes:
        wanted = limit if cut else limit + 1
        try:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # faster than a file object
            try:
                data = os.read(descriptor, min(wanted, os.fstat(descriptor).st_size + 1))
            finally:
                os.close(descriptor)
            if data.startswith(b"\x1f\x8b"):
                stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
                unzipped = stream.decompress(data, wanted)
                if len(unzipped) < wanted and not (stream.eof and not stream.unused_data):  # several members, or cut
                    with gzip.open(path) as file:
                        unzipped = file.read(wanted)
                data = unzipped
        except (OSError, EOFError, zlib.error) as e:
            if cut and isinstance(e, (EOFError, zlib.error, gzip.BadGzipFile)):
                return b""
            raise InputError(
                path,
                f"cannot be read ({getattr(e, 'strerror', None) or e})",
                "The file may be damaged or unreadable: copy it again",
            ) from None
        if len(data) > limit:
            raise InputError(path, f"is larger than {limit >> 20} MiB", "Split it into shorter takes")
        return data


def _is_file(entry: os.DirEntry[str]) -> bool:
    """False for a link that leads to itself, too."""
    try:
        return entry.is_file()
    except OSError:
        return False


class _Bounded:
    """A stream that raises `error` after MAX_BYTES (and some for headers), whatever a header asks for."""

    def __init__(self, stream: IO[bytes], error: InputError) -> None:
        self._stream, self._error, self._left = stream, error, MAX_BYTES + (MAX_BYTES >> 2)

    def read(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise self._error
        return self._stream.read(size)


def _unpacked(path: Path) -> Any:
    """Open `path` for reading, through the decompression that its first bytes ask for."""
    with path.open("rb") as f:
        head = f.read(6)
    opener = (
        gzip.open
        if head[:2] == b"\x1f\x8b"
        else bz2.open
        if head[:3] == b"BZh"
        else lzma.open
        if head == b"\xfd7zXZ\0"
        else open
    )
    return opener(path, "rb")


def decode(data: bytes, source: str | Path) -> str:
    """Decode UTF-8 (with or without a mark). Raises InputError naming the first bad byte, or over 5 million lines."""
    try:
        text = data.decode("utf-8-sig")
        if sum(map(text.count, _LINE_ENDS)) > MAX_LINES:
            raise InputError(source, f"has over {MAX_LINES} lines", "Split it into shorter takes")
        return text
    except UnicodeDecodeError as e:
        raise InputError(
            source,
            f"is not UTF-8 text (byte {e.start} is 0x{data[e.start]:02x})",
            "Save it as UTF-8, or give --format if it is a binary format",
        ) from None


def is_text(head: bytes) -> bool:
    """True if `head` looks like text: no NUL, and UTF-8 up to a character cut at its end."""
    if not head or b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as e:
        return e.start >= len(head) - 4
    return True
