"""`lmm describe`: motion → words."""

from __future__ import annotations

from typing import Annotated

import typer

from lmm.cli.options import (
    Device,
    Format,
    Json,
    MotionPath,
    Person,
    SourceFps,
    Threads,
    Units,
    Up,
    choose_device,
    print_json,
    read_one,
    say,
)


def describe(
    path: MotionPath,
    model: Annotated[
        str, typer.Option("--model", help="A name from lmm models list, or a folder that lmm train wrote.")
    ] = "motion-language",
    temperature: Annotated[float, typer.Option("--temperature", help="0: the likeliest words; above: drawn.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of words that are drawn.")] = 0,
    json: Json = False,
    device: Device = "auto",
    threads: Threads = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Say in words what a motion shows (its last ten seconds)."""
    motion = read_one(path, format, source_fps, units, up, person)
    chosen = choose_device(device, threads)
    from lmm.inference.describe import describe as run
    from lmm.inference.speaker import load_speaker

    speaker = load_speaker(model, chosen)
    if "NC" in speaker.model.config.licence:
        say(f"licence: {speaker.model.config.licence}")
    text = run(motion, speaker, temperature, seed)
    if json:
        print_json({"text": text, "model": speaker.name})
    else:
        print(text)
