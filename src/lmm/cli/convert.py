"""`lmm convert`: one motion, another file, skeleton or rate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.options import Format, MotionPath, Person, SourceFps, Units, Up, read_one, say


def convert(
    path: MotionPath,
    out: Annotated[Path, typer.Argument(help="The file to write; its extension names the format.", show_default=False)],
    to: Annotated[
        str | None, typer.Option("--to", help="Skeleton of the result: body_25. Default: the source's own.")
    ] = None,
    clean: Annotated[
        bool, typer.Option("--clean", help="BODY_25, outliers removed, short gaps filled, 30 or 15 FPS.")
    ] = False,
    fps: Annotated[
        float | None, typer.Option("--fps", help="Frame rate of the result. Default: the source's own.")
    ] = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Write a motion in another format, on another skeleton, at another rate; with --clean, cleaned first."""
    from lmm.core.errors import LmmError
    from lmm.core.registry import writer_for

    if to not in (None, "body_25", "body25"):
        raise LmmError(f"--to {to}: conversions lead to body_25 only.")
    if fps is not None and not 0 < fps <= 1000:
        raise LmmError(f"--fps {fps:g}: expected a rate between 0 and 1000.")
    writer_for(out)
    motion = read_one(path, format, source_fps, units, up, person)
    if clean:
        from lmm.pipeline.clean import clean as run

        motion = run(motion)
    elif to is not None:
        from lmm.pipeline.convert import to_body25

        motion = to_body25(motion)
    if fps is not None:
        from lmm.pipeline.resample import resample

        motion = resample(motion, fps)
    for written in motion.save(out):
        say(f"wrote {written}")
    if out.suffix.lower() == ".bvh" and motion.skeleton.table != "body_25":
        say("BVH cannot say its unit: it is in centimetres. lmm reads it with --units cm.")
