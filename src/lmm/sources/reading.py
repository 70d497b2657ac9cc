"""From a path to Motions: which format it is, who is in it, and what the user must settle.

A source registers itself with the decorator `source`; `read`, `read_people` and `find_inputs` know no format by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lmm.core.errors import InputError, LmmError, MotionError, NotMotionError, one_line
from lmm.core.motion import Motion
from lmm.core.registry import sources
from lmm.sources import sidecar
from lmm.sources.files import Input
from lmm.sources.unknown import what_else

MAX_META_DEPTH = 10
UNITS_M = {"mm": 0.001, "cm": 0.01, "m": 1.0, "in": 0.0254}
_UNIT_NAMES = {"millimet": "mm", "centimet": "cm", "met": "m", "inch": "in"}


@dataclass(frozen=True)
class Options:
    """What the user may have to say because a file does not.

    source_fps   the recording's frame rate, frames per second
    units        length of one unit of the file, metres
    up           vertical axis of the file: x, y, z or their negatives
    variant      the part of the format name after the source's own, as in ``openpose-body25b`` → ``body25b`` and
                 ``video:pose.onnx`` → ``pose.onnx``
    """

    source_fps: float | None = None
    units: float | None = None
    up: str | None = None
    variant: str = ""

    def rate(self, source: Path, stated: float | None, why_unknown: str = "does not state its frame rate") -> float:
        """Return --source-fps, else the `stated` rate; raises InputError if neither is known."""
        if self.source_fps is not None:
            return self.source_fps
        if stated is None:
            raise InputError(source, why_unknown, "Give it with --source-fps, for example --source-fps 30")
        return stated


def _no_items(_: Input) -> list[str] | None:
    return None


def _no_companions(_: Path) -> list[Path]:
    return []


@dataclass(frozen=True)
class Source:
    """A format. `sniff(input)` says by content whether an input is of it; `read(input, options, item)` gives Motions.

    extensions   only break ties between formats of the same content
    variants     suffixes of the format name that a user may choose
    chooses      what may be named after a colon, or nothing
    items        names of the clips in a collection (None: the input is one take)
    companions   other files that belong to the path and are no inputs of their own
    settles      which of source_fps, units and up the user may settle; what the format fixes cannot be overruled
    tried        on real data (else written from its specification, and the docs say so)
    """

    name: str
    title: str
    read: Callable[[Input, Options, str | None], list[Motion]]
    sniff: Callable[[Input], bool]
    extensions: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    chooses: str = ""
    items: Callable[[Input], list[str] | None] = _no_items
    companions: Callable[[Path], list[Path]] = _no_companions
    settles: tuple[str, ...] = ("source_fps", "units", "up")
    tried: bool = True
    note: str = ""


def source(name: str, title: str, sniff: Callable[[Input], bool], **fields: Any) -> Callable[..., Any]:
    """Register the decorated ``read(input, options, item)`` as the source `name`."""

    def add(read: Callable[[Input, Options, str | None], list[Motion]]) -> Callable[..., list[Motion]]:
        sources.register(name)(Source(name, title, read, sniff, **fields))
        return read

    return add


def read(
    path: str | Path,
    format: str | None = None,
    person: str | int | None = None,
    source_fps: float | None = None,
    units: str | None = None,
    up: str | None = None,
) -> Motion:
    """Read the one motion in `path`, in the file's own skeleton.

    format      a name of docs/formats.md; default: detected from the content
    person      which person (or clip of a collection), by the ids that `read_people` gives
    source_fps  the recording's rate, where the file does not say it, or says it wrongly
    units       mm, cm, m or in, or a length such as ``10.4mm``: what one unit of the file is
    up          x, y, z, -x, -y or -z: the file's vertical axis

    Raises InputError if the file cannot be used, if it holds several people and `person` is None, or if a rate, unit
    or axis is unknown (the message names the option that settles it).
    """
    with _one_error(path):
        given = Input(path)
        chosen, options = _settle(given, format, source_fps, units, up)
        clips = chosen.items(given)
        if clips and str(person) in clips:
            clips, person = [str(person)], None
        if clips and len(clips) > 1 and person is None:
            raise _several(path, "clips", clips)
        people = _read_clips(chosen, given, options, clips)
    names = [str(m.meta.get("person")) for m in people]
    if person is not None and str(person) not in names:
        raise InputError(path, f"has no person {str(person)!r}; it has {', '.join(names[:12])}", "Choose one of these")
    if person is None and len(people) > 1:
        raise _several(path, "people", names)
    return people[0 if person is None else names.index(str(person))]


def read_people(
    path: str | Path,
    format: str | None = None,
    source_fps: float | None = None,
    units: str | None = None,
    up: str | None = None,
    item: str | None = None,
) -> list[Motion]:
    """Read every person (or clip of a collection; only the clip `item`, if given) in `path`; see `read`.

    Each has its id in ``meta["person"]``.
    """
    with _one_error(path):
        given = Input(path)
        chosen, options = _settle(given, format, source_fps, units, up)
        return _read_clips(chosen, given, options, chosen.items(given) if item is None else [item])


def _several(path: str | Path, what: str, names: list[str]) -> InputError:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return InputError(path, f"holds {len(names)} {what}: {', '.join(names[:12])}{more}", "Choose one with --person")


@contextmanager
def _one_error(path: str | Path) -> Iterator[None]:
    """Tell of exhausted memory and failing disks as of any other unusable input."""
    try:
        yield
    except MemoryError:
        raise InputError(path, "needs more memory than there is", "Split it into shorter takes") from None
    except OSError as e:
        raise InputError(path, f"cannot be read ({e.strerror or e})", "Check its permissions") from None


def _settle(
    given: Input, format: str | None, source_fps: float | None, units: str | None, up: str | None
) -> tuple[Source, Options]:
    chosen, variant = (detect(given), "") if format is None else named(format, given)
    return chosen, Options(_positive(source_fps), unit_length(units), _axis(up), variant)


def _read_clips(chosen: Source, given: Input, options: Options, clips: list[str] | None) -> list[Motion]:
    one_take: list[str | None] = [None]
    people = [m for clip in (clips or one_take) for m in _read_one(chosen, given, options, clip)]
    if not people:
        raise InputError(
            given.path, "holds nobody: no frame has a person in it", "Check that the pose estimation worked"
        )
    return people


def _read_one(chosen: Source, given: Input, options: Options, item: str | None) -> list[Motion]:
    idle = [k for k in ("source_fps", "units", "up") if getattr(options, k) is not None and k not in chosen.settles]
    unheeded = [f"--{k.replace('_', '-')} has no effect: the format fixes it" for k in idle]
    known = sidecar.facts(given.path)
    stated = {k: known.pop(k, None) for k in ("source_fps", "units", "up")}
    try:
        options = replace(
            options,
            source_fps=options.source_fps or _positive(stated["source_fps"]),
            units=options.units or unit_length(stated["units"]),
            up=options.up or _axis(stated["up"]),
        )
    except LmmError as e:
        raise InputError(
            given.path, f"has a row in {' or '.join(sidecar.NAMES)} that cannot be used: {e}", "Correct the row"
        ) from None
    try:
        with np.errstate(all="ignore"):  # what overflows becomes infinite, which Motion refuses
            people = chosen.read(given, options, item)
    except MotionError as e:
        raise InputError(
            given.path, f"is not usable {chosen.title} data: {e}", "The file may be damaged: export it again"
        ) from None
    out = []
    for i, m in enumerate(people):
        meta = {"source": given.path.name, "person": str(i), "item": item, **m.meta, **known, "format": chosen.name}
        for key, more in (("captions", []), ("notes", unheeded)):
            texts = meta.get(key) or []
            meta[key] = [*map(str, texts if isinstance(texts, list) else [texts]), *more]
        if not m.observed.any():
            raise InputError(given.path, "has no observed joint at all", "Check that the recording worked")
        out.append(m.replace(meta=_plain({k: v for k, v in meta.items() if v not in (None, [])})))
    return out


def _plain(value: Any, depth: int = 0) -> Any:
    """Return `value` as JSON that can be stored and shown: no control characters, lone surrogates or NaN in it."""
    if isinstance(value, str):
        return (
            value if value.isprintable() else "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in value)
        )
    if isinstance(value, dict) and depth < MAX_META_DEPTH:
        return {_plain(str(k)): _plain(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)) and depth < MAX_META_DEPTH:
        return [_plain(v, depth + 1) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float)) else _plain(one_line(value))


def detect(given: Input) -> Source:
    """Return the source whose content `given` has. Raises NotMotionError that says what the file is instead."""
    found: list[Source] = [s for s in map(sources.get, sources) if s.sniff(given)]
    if len(found) > 1:
        by_extension = [s for s in found if given.name.endswith(s.extensions or ("\0",))]
        found = by_extension or found
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(given.path, f"may be {' or '.join(s.name for s in found)}", "Choose with --format")
    raise NotMotionError(given.path, *what_else(given))


def named(format: str, given: Input) -> tuple[Source, str]:
    """Return the source that `format` names, and its variant."""
    for name in sorted(sources, key=len, reverse=True):
        s: Source = sources.get(name)
        if format == name:
            return s, ""
        if format.startswith(name + "-") and format[len(name) + 1 :] in s.variants:
            return s, format[len(name) + 1 :]
        if s.chooses and format.startswith(name + ":"):
            return s, format[len(name) + 1 :]
    try:
        sources.get(format)
    except LmmError as e:
        raise InputError(given.path, str(e).rstrip("."), "Choose one of these with --format") from None
    raise AssertionError("unreachable")


def stated_unit(written: str, path: Path) -> float:
    """Return the metres in a unit as files write it (``MM``, ``meters`` ...). Raises InputError that names --units."""
    name = written.strip().lower()
    unit = UNITS_M.get(name) or next((UNITS_M[u] for start, u in _UNIT_NAMES.items() if name.startswith(start)), None)
    if unit is None:
        problem = f"gives an unknown unit {written!r}" if name else "does not say its unit"
        raise InputError(path, problem, "Give --units mm, cm, m or in")
    return unit


def unit_length(units: str | None) -> float | None:
    """Return the metres in `units`: mm, cm, m, in, or a number with one of them (``10.4mm``)."""
    if units is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)?\s*(mm|cm|m|in)\s*", str(units))
    if not match or not 0 < float(match[1] or 1) < 1e9:
        raise LmmError(f"--units {units}: expected mm, cm, m or in, or a length such as 10.4mm.")
    return float(match[1] or 1) * UNITS_M[match[2]]


def _positive(fps: float | None) -> float | None:
    if fps is not None and not (isinstance(fps, (int, float)) and 0 < fps <= 10_000):
        raise LmmError(f"--source-fps {fps}: expected a rate between 0 and 10000 frames per second.")
    return fps


def _axis(up: str | None) -> str | None:
    if up is not None and up not in ("x", "y", "z", "-x", "-y", "-z"):
        raise LmmError(f"--up {up}: expected y or z (or x, -x, -y, -z).")
    return up
