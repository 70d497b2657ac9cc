"""`lmm forecast`: a motion → what may come next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.options import (
    Device,
    Format,
    MotionPath,
    Person,
    SourceFps,
    Threads,
    Units,
    Up,
    load_model,
    read_one,
    say,
    until,
)

PICTURES = (".png", ".gif", ".mp4", ".html")


def forecast(
    path: MotionPath,
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="Forecast file (.lmm.npz keeps all) or picture (.html, .png, .gif, .mp4).",
            show_default=False,
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", help="A name from lmm models list, or a folder that lmm train wrote.")
    ] = "diffusion",
    seconds: Annotated[float, typer.Option("--seconds", help="Horizon, seconds.")] = 2.0,
    at: Annotated[
        float | None,
        typer.Option("--at", help="Forecast from this second of the motion's clock. Default: from its end."),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", help="How many possible futures.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the samples.")] = 0,
    device: Device = "auto",
    threads: Threads = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Forecast how a motion goes on, in the source's own pixels or metres."""
    from lmm.core.registry import writer_for
    from lmm.inference.forecast import forecast as run

    if out.suffix.lower() not in PICTURES:
        writer_for(out)
    motion = read_one(path, format, source_fps, units, up, person)
    if at is not None:
        motion = until(motion, at)
    future = run(motion, load_model(model, motion, device, threads), seconds, samples, seed)
    if out.suffix.lower() in PICTURES:
        from lmm.rendering.render import render

        written = [render([future], out)]
    else:
        written = future.save(out)
    for file in written:
        say(f"wrote {file}")
