"""Motions → files, by extension; each writer registers itself.

A format that holds one motion registers a function ``motion -> bytes`` with `one_motion`, which takes care of samples
and of files that are never half written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from lmm.core.errors import InputError
from lmm.core.motion import Motion
from lmm.core.registry import writers
from lmm.core.writing import write_bytes

Encode = TypeVar("Encode", bound=Callable[[Motion, Path], bytes])


def one_motion(extension: str) -> Callable[[Encode], Encode]:
    """Register the decorated ``encode(motion, path)``, which returns a file's bytes, as the writer of `extension`.

    It gets motions without samples; `path` is for its error messages.
    """

    def add(encode: Encode) -> Encode:
        def write(motion: Motion, path: Path) -> list[Path]:
            return [write_bytes(p, encode(m, p)) for m, p in each_sample(motion, path, extension)]

        writers.register(extension)(write)
        return encode

    return add


def each_sample(motion: Motion, path: Path, extension: str) -> Iterator[tuple[Motion, Path]]:
    """Yield (motion, file): the motion, or each of several samples with ``_00``, ``_01`` ... before `extension`."""
    if motion.samples is None or len(motion.samples) < 2:
        yield motion.replace(samples=None), path
        return
    stem = path.name[: -len(extension)]
    width = max(2, len(str(len(motion.samples) - 1)))
    for i, sample in enumerate(motion.samples):
        # Each draw keeps the forecast's confidence where it has a position.
        yield (
            motion.replace(positions=sample, samples=None),
            path.with_name(f"{stem}_{i:0{width}d}{path.name[-len(extension) :]}"),
        )


def needs(motion: Motion, path: Path, *spaces: str) -> None:
    """Raise InputError if the motion's space is not one of `spaces`."""
    if motion.space not in spaces:
        held = {"image": "pixels of an image", "world": "metres in the world", "body": "normalised positions"}
        suffix = "".join(path.suffixes[-1:])
        raise InputError(
            path,
            f"{suffix} files hold {' or '.join(held[s] for s in spaces)}, this motion has {held[motion.space]}",
            "Write .lmm.npz, which holds every motion",
        )
