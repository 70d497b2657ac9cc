"""Names → things that extend lmm: sources (readers), writers and architectures of models.

A module registers what it defines with a decorator; the registry imports the package that holds such modules on the
first look-up, so that core never names them and ``import lmm`` stays fast.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from lmm.core.errors import InputError, LmmError

T = TypeVar("T")


class Registry(Generic[T]):
    """A named collection that fills itself by importing every module of its `packages` once."""

    def __init__(self, kind: str, *packages: str) -> None:
        self.kind = kind
        self._packages = packages
        self._items: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        def add(item: T) -> T:
            if name in self._items:
                raise LmmError(f"{self.kind} {name!r} is registered twice.")
            self._items[name] = item
            return item

        return add

    def _load(self) -> None:
        if not self._loaded:
            for name in self._packages:
                for module in pkgutil.iter_modules(importlib.import_module(name).__path__):
                    importlib.import_module(f"{name}.{module.name}")
            self._loaded = True

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._items))

    def get(self, name: str) -> T:
        """Return the item; raises LmmError that suggests the nearest known name."""
        self._load()
        if name not in self._items:
            near = difflib.get_close_matches(name, self._items, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise LmmError(f"unknown {self.kind} {name!r}.{hint} Known: {', '.join(sorted(self._items))}.")
        return self._items[name]


Writer = Callable[[Any, Path], list[Path]]  # (motion, path) → the files written
# extension such as ".trc" (the longest that fits a path wins) → writer
writers: Registry[Writer] = Registry("file extension", "lmm.exports")
# format name → lmm.sources.reading.Source
sources: Registry[Any] = Registry("format", "lmm.sources", "lmm.video")
# name of a network's architecture → its class (imports torch)
architectures: Registry[Any] = Registry("architecture", "lmm.models")


def writer_for(path: Path) -> Writer:
    """Return the writer for `path`'s extension; raises InputError that lists the known ones."""
    known = sorted(writers, key=len, reverse=True)
    for extension in known:
        if path.name.lower().endswith(extension):
            return writers.get(extension)
    raise InputError(
        path,
        f"no format is written to a file named {path.suffix or 'without an extension'}",
        f"use one of {', '.join(sorted(known))}",
    )
