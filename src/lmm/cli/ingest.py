"""`lmm ingest`: files and folders → a store."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.options import Format, Json, Progress, SourceFps, Units, Up, print_json, say

SHOWN = 40


def ingest(
    sources: Annotated[list[Path], typer.Argument(help="Files and folders of movement.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the store.", show_default=False)],
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Rate of the store: 15 or 30. Default: 30 where the source has it, else 15."),
    ] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes. Default: all cores.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray.")] = "local",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an ingest that was interrupted.")] = False,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    json: Json = False,
) -> int:
    """Read, clean and store every motion in files and folders. Exit code 3 if some inputs were refused."""
    import lmm
    from lmm.core.errors import LmmError

    if fps not in (None, 15, 30):
        raise LmmError(f"--fps {fps:g}: a store has 15 or 30 frames per second.")
    if engine not in ("local", "ray"):
        raise LmmError(f"--engine {engine}: expected local or ray.")
    with Progress("ingest", "inputs") as bar:
        report = lmm.ingest(sources, out, fps, workers, engine, resume, format, source_fps, units, up, bar.update)
    if json:
        print_json({**dataclasses.asdict(report), "out": str(out)})
    else:
        for row in report.refused[:SHOWN]:
            say(f"refused {row['file']}: {row['reason']}")
        if len(report.refused) > SHOWN:
            say(f"... and {len(report.refused) - SHOWN} more, all in {out / 'failures.jsonl'}")
        for row in report.warnings[:SHOWN]:
            say(f"warning {row['clip']}: {row['warning']}")
        print(
            f"{out}: {report.clips} clips, {report.frames} frames from {report.files} inputs; "
            f"{len(report.refused)} refused, {len(report.ignored)} other files, {report.seconds:g} s"
        )
    return 3 if report.refused else 0
