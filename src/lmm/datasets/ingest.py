"""Ingest: files and folders of any format → one store of clean BODY_25 motion, in parallel and resumable.

The inputs are found and put into a fixed plan of shards first. Each shard is read, cleaned and written by itself: its
Parquet file, then a small report. When all are there, failures.jsonl and last manifest.json are written. Killing it at
any moment loses at most the shards in work; --resume goes on with the same plan and gives the identical store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows: there nothing keeps two ingests apart
    fcntl = None  # type: ignore[assignment]

from lmm import __version__
from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion
from lmm.core.writing import write_bytes
from lmm.datasets.shards import map_shards
from lmm.datasets.store import SCHEMA_VERSION, Store, to_row, write_part
from lmm.pipeline.clean import CleaningSettings, clean
from lmm.pipeline.quality import quality
from lmm.sources import sidecar
from lmm.sources.files import Input
from lmm.sources.finding import Entry, find_inputs
from lmm.sources.reading import named, read_people

MAX_SHARD = 64
WAIT_S = 2  # for the workers of an ingest that was killed to leave
SHARDS = 16


@dataclass(frozen=True)
class ShardJob:
    """One shard of the plan: which entries, where they go, and how they are read and cleaned."""

    number: int
    out: str
    entries: tuple[tuple[str, str, str | None, str], ...]  # path, format, item, clip id
    reading: dict[str, Any]
    settings: dict[str, Any]


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did.

    `files` counts inputs: a folder of frames is one, a clip of a collection is one. `refused` holds {file, reason},
    `warnings` {clip, warning}; `ignored` are files that nobody takes for movement.
    """

    files: int
    clips: int
    frames: int
    refused: list[dict[str, str]]
    seconds: float
    ignored: list[str]
    warnings: list[dict[str, str]]


def ingest(
    sources: list[Path] | Path | str,
    out: Path | str,
    fps: float | None = None,
    workers: int | None = None,
    engine: str = "local",
    resume: bool = False,
    format: str | None = None,
    source_fps: float | None = None,
    units: str | None = None,
    up: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Read every motion in `sources` (files, folders), clean it and write the store `out`; return what was done.

    fps      15 or 30: the store's rate; None: 30 where the source has 30 or more, else 15
    workers  processes (default: all cores) · engine ``local`` or ``ray``
    progress called with (inputs done, inputs in all) as shards end
    source_fps, units, up fill in what an input does not say; what it says wrongly is settled by a list beside it
    (docs/formats.md). The others as in `lmm.read`.

    Raises InputError if a source does not exist, or `out` holds something else.
    """
    began = time.monotonic()
    paths = [Path(sources)] if isinstance(sources, (str, Path)) else [Path(s) for s in sources]
    out = Path(out)
    reading = {"source_fps": source_fps, "units": units, "up": up}
    settings = CleaningSettings(fps=fps)
    entries, ignored = _inputs(paths, format)
    good = [e for e in entries if e.format is not None]
    plan = _plan(good, paths, reading, settings)
    jobs = _jobs(good, paths, out, reading, settings)
    finished = _prepare(out, plan, resume)
    with _alone(out):
        if not finished:
            for folder in ("clips", "work"):
                (out / folder).mkdir(exist_ok=True)
            done = {j.number for j in jobs if _report_path(out, j.number).is_file()}
            todo = [j for j in jobs if j.number not in done]
            count = len(good) - sum(len(j.entries) for j in todo)
            if progress:
                progress(count, len(good))
            for number in map_shards(write_shard, todo, workers or os.cpu_count() or 1, engine):
                count += len(jobs[number].entries)
                if progress:
                    progress(count, len(good))
            refused = [{"file": e.path.as_posix(), "reason": e.error.reason} for e in entries if e.error is not None]
            _finish(out, jobs, refused, settings)
        _tidy(out)
    store = Store(out)
    totals = store.manifest
    return IngestReport(
        len(entries),
        totals["clips"],
        totals["frames"],
        store.failures(),
        round(time.monotonic() - began, 3),
        [p.as_posix() for p in ignored],
        totals["warnings"],
    )


def write_shard(job: ShardJob) -> int:
    """Read, clean and write one shard; return its number. Inputs that are refused are listed, never fatal."""
    rows, refused, warnings = [], [], []
    unknown = 0
    settings = CleaningSettings(**job.settings)
    for path, format, item, clip_id in job.entries:
        file = path if item is None else f"{path}:{item}"
        try:
            people = _read(path, format, item, job.reading)
            for i, motion in enumerate(people):
                cleaned = clean(motion, settings)
                figures = quality(cleaned)
                name = clip_id if len(people) == 1 else f"{clip_id}#{motion.meta.get('person', i)}"
                rows.append(to_row(cleaned, name, _take(path, clip_id), file, figures))
                unknown += "subject" not in motion.meta
                warnings += [{"clip": name, "warning": w} for w in figures["warnings"]]
        except LmmError as e:
            refused.append({"file": file, "reason": e.reason if isinstance(e, InputError) else str(e)})
        except MemoryError:
            refused.append({"file": file, "reason": "needs more memory than there is. Split it into shorter takes."})
    out = Path(job.out)
    name = f"part-{job.number:05d}.parquet"
    part = {"file": name, "sha256": write_part(rows, out / "clips" / name), "clips": len(rows)} if rows else None
    report = {
        "part": part,
        "frames": sum(r["frames"] for r in rows),
        "fps": sorted({r["fps"] for r in rows}),
        "subjects_unknown": unknown,
        "refused": refused,
        "warnings": warnings,
    }
    write_bytes(_report_path(out, job.number), _json(report))
    return job.number


def _read(path: str, format: str, item: str | None, reading: dict[str, Any]) -> list[Motion]:
    """Read one input; the options of the ingest fill in what it does not say, and overrule nothing that it does."""
    try:
        return read_people(path, format, item=item)
    except InputError:
        if not any(reading.values()):
            raise
        return read_people(path, format, item=item, **reading)


def _inputs(paths: list[Path], format: str | None) -> tuple[list[Entry], list[Path]]:
    for path in paths:
        if not path.exists():
            raise InputError(path, "no such file or folder", "Check the path")
    entries, ignored = find_inputs(paths, format)
    if not entries:
        raise InputError(", ".join(map(str, paths)), "holds no input", "Give a folder or file of recordings")
    return entries, ignored


def _plan(
    entries: list[Entry], paths: list[Path], reading: dict[str, Any], settings: CleaningSettings
) -> dict[str, Any]:
    """What must not change between an ingest and its resumption: inputs (size and time too), reading and cleaning."""
    described = [[e.path.as_posix(), e.format, e.item] for e in entries]
    used = {e.path: named(str(e.format), Input(e.path))[0].companions(e.path) for e in entries}
    files = {f for path, more in used.items() for f in (path, *more, *(path.parent / n for n in sidecar.NAMES))}
    digest = hashlib.sha256(_json([described, [_state(f) for f in sorted(files)]])).hexdigest()
    return {
        "lmm_version": __version__,
        "schema_version": SCHEMA_VERSION,
        "sources": [p.as_posix() for p in paths],
        "inputs": len(entries),
        "inputs_sha256": digest,
        "reading": reading,
        "cleaning": settings.model_dump(),
    }


def _state(path: Path) -> list[Any]:
    """Name, size and time of a file, or of all files in a folder."""
    try:
        inside = sorted(os.scandir(path), key=lambda f: f.name) if path.is_dir() else []
        return [path.as_posix(), *([s.st_size, s.st_mtime_ns] for s in (path.stat(), *(f.stat() for f in inside)))]
    except OSError:
        return [path.as_posix()]


def _jobs(
    entries: list[Entry], paths: list[Path], out: Path, reading: dict[str, Any], settings: CleaningSettings
) -> list[ShardJob]:
    ids: dict[str, int] = {}
    named = []
    roots = {path: k for k, path in reversed(list(enumerate(paths)))}
    for e in entries:
        clip_id = _clip_id(e, roots)
        ids[clip_id] = ids.get(clip_id, 0) + 1
        named.append(
            (str(e.path), str(e.format), e.item, clip_id if ids[clip_id] == 1 else f"{clip_id}~{ids[clip_id]}")
        )
    size = max(1, min(MAX_SHARD, -(-len(named) // SHARDS)))
    chunks = [tuple(named[i : i + size]) for i in range(0, len(named), size)]
    return [ShardJob(k, str(out), chunk, reading, settings.model_dump()) for k, chunk in enumerate(chunks)]


def _clip_id(entry: Entry, roots: dict[Path, int]) -> str:
    """``cmu/07_01``: the path below the source that was given (with its own name), without extensions, and the clip."""
    root = min((p for p in (entry.path, *entry.path.parents) if p in roots), key=roots.__getitem__)
    base = root.resolve().name if root.is_dir() else ""
    relative = entry.path.relative_to(root).as_posix() if root.is_dir() else entry.path.name
    for extension in (".gz", ".zip", ".tar", ".lmm.npz", Path(relative.removesuffix(".gz")).suffix):
        if not entry.path.is_dir() and extension:
            relative = relative.removesuffix(extension)
    return "/".join(p for p in (base, relative if relative != "." else "", entry.item or "") if p)


def _take(path: str, clip_id: str) -> str:
    """What stands for the subject where a source names none: the take, with all its people and, where each camera has
    a folder of frames, all its cameras."""
    return clip_id.rpartition("/")[0] or clip_id if Path(path).is_dir() else clip_id


def _prepare(out: Path, plan: dict[str, Any], resume: bool) -> bool:
    """Make or check the folder; return True if the store is already finished."""
    plan_file, manifest = out / "plan.json", out / "manifest.json"
    if out.exists() and not out.is_dir():
        raise InputError(out, "is a file", "Give a new folder with --out")
    if plan_file.is_file():
        if not resume:
            raise InputError(
                out, "already holds a store, finished or not", "Add --resume to go on, or give a new folder with --out"
            )
        try:
            before = json.loads(plan_file.read_text("utf-8"))
        except ValueError:
            before = None
        if before != json.loads(_json(plan)):
            raise InputError(
                out,
                "was begun with other inputs, options or another version",
                "Give the same ones with --resume, or a new folder with --out",
            )
        return manifest.is_file()
    if out.exists() and any(p for p in out.iterdir() if not p.name.startswith((".plan.json.", ".lock"))):
        raise InputError(out, "is not empty and not a store", "Give a new folder with --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(out, f"cannot be made ({e.strerror or e})", "Give a folder that is writable") from None
    write_bytes(plan_file, _json(plan))
    return False


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the store for one ingest; the system lets go of it when the process, and the last of its workers, ends."""
    with (out / "plan.json").open("rb") as plan:
        for attempt in range(WAIT_S * 10 if fcntl else 0):
            try:
                fcntl.flock(plan, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if attempt == WAIT_S * 10 - 1:
                    raise InputError(out, "is being written by another ingest", "Wait for it, or stop it") from None
                time.sleep(0.1)
        yield


def _finish(out: Path, jobs: list[ShardJob], refused: list[dict[str, str]], settings: CleaningSettings) -> None:
    reports = [json.loads(_report_path(out, j.number).read_text("utf-8")) for j in jobs]
    failures = refused + [r for report in reports for r in report["refused"]]
    write_bytes(out / "failures.jsonl", b"".join(_json(f) for f in failures))
    parts = [r["part"] for r in reports if r["part"]]
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "lmm_version": __version__,
        "skeleton": "body_25",
        "fps": sorted({f for r in reports for f in r["fps"]}),
        "cleaning": settings.model_dump(),
        "clips": sum(p["clips"] for p in parts),
        "frames": sum(r["frames"] for r in reports),
        "subjects_unknown": sum(r["subjects_unknown"] for r in reports),
        "refused": len(failures),
        "warnings": [w for r in reports for w in r["warnings"]],
        "parts": parts,
    }
    write_bytes(out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False).encode() + b"\n")


def _tidy(out: Path) -> None:
    """Remove what a finished store does not need: the reports, and halves left by a killed run."""
    shutil.rmtree(out / "work", ignore_errors=True)
    for leftover in [*out.glob(".*"), *(out / "clips").glob(".*")]:
        leftover.unlink(missing_ok=True)


def _report_path(out: Path, number: int) -> Path:
    return out / "work" / f"part-{number:05d}.json"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True).encode("utf-8", "replace") + b"\n"
