"""Walks files and folders and finds the inputs in them, each with its format or why it is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from lmm.core.errors import InputError, LmmError
from lmm.core.registry import sources
from lmm.sources.files import Input
from lmm.sources.reading import detect, named

MAX_DEPTH = 64  # folders within folders


@dataclass(frozen=True)
class Entry:
    """One thing to ingest: a path, its format (or why it is refused), and the clip within a collection."""

    path: Path
    format: str | None
    item: str | None = None
    error: InputError | None = field(default=None, compare=False)


# Files that nobody expects to hold movement; listed as ignored, not as refused.
_IGNORED = re.compile(
    r"^(readme|licen[cs]e|copying|notice|changelog|citation|\.|(metadata|files)\.jsonl$)|\.(md|jpe?g|png|gif|pdf|py)$",
    re.I,
)


def find_inputs(paths: list[Path], format: str | None = None) -> tuple[list[Entry], list[Path]]:
    """Walk files and folders; return the inputs in a fixed order, and the files ignored on purpose.

    A folder that a source claims (an OpenPose folder, a collection) is one input, any other is searched. Companions
    (an ASF beside its AMC, the angles of UI-PRMD) are no inputs of their own.
    """
    entries: list[Entry] = []
    ignored: list[Path] = []
    for path in paths:
        for entry in _walk(path, format, set()):
            if entry.format is None and entry.error is None:
                ignored.append(entry.path)
            else:
                entries.append(entry)
    used = {c.resolve() for e in entries if e.format for c in named(e.format, Input(e.path))[0].companions(e.path)}
    entries = [e for e in entries if not (used and e.path.resolve() in used)]
    return entries, ignored


def _walk(path: Path, format: str | None, seen: set[Path], depth: int = 0) -> Iterator[Entry]:
    """Yield the inputs at and below `path`. `seen` holds the folders walked: links may lead back to them."""
    try:
        given = Input(path)
        if not _is_unicode(str(path)):
            raise InputError(path, "has a name that is not UTF-8", "Rename it")
        if given.kind == "folder":
            real = path.resolve()
            if real in seen:
                return
            seen.add(real)
            if depth > MAX_DEPTH:
                raise InputError(path, f"lies more than {MAX_DEPTH} folders deep", "Give a folder nearer to it")
            claimed = [s for s in map(sources.get, sources) if s.sniff(given)]
            if not claimed:
                yield from (e for p in sorted(path.iterdir()) for e in _walk(p, format, seen, depth + 1))
                return
        elif depth and _IGNORED.search(path.name):
            yield Entry(path, None)
            return
        name = format or detect(given).name
        items = named(name, given)[0].items(given)
        if not all(_is_unicode(i) for i in items or ()):
            raise InputError(path, "has a clip whose name is not Unicode text", "Rename it")
        yield from [Entry(path, name)] if items is None else (Entry(path, name, i) for i in items)
    except LmmError as e:
        yield Entry(
            path,
            None,
            error=e if isinstance(e, InputError) else InputError(path, str(e), "Read it by itself to see more"),
        )
    except OSError as e:
        yield Entry(
            path, None, error=InputError(path, f"cannot be listed ({e.strerror or e})", "Check its permissions")
        )


def _is_unicode(text: str) -> bool:
    """False for text with lone surrogates, which stand for bytes that are not UTF-8 and can be stored nowhere."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
