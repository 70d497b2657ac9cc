"""`lmm generate`: words → motion."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.forecast import PICTURES
from lmm.cli.options import (
    Device,
    Format,
    Person,
    Progress,
    SourceFps,
    Threads,
    Units,
    Up,
    choose_device,
    read_one,
    say,
)


def generate(
    text: Annotated[str, typer.Argument(help="What the person does.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="Motion file (.bvh, .glb, .lmm.npz, ...) or picture.", show_default=False),
    ],
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="How long. Default: as long as the model says.")
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="A name from lmm models list, or a folder that lmm train wrote.")
    ] = "motion-language",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the motion.")] = 0,
    steps: Annotated[int, typer.Option("--steps", help="Steps of the flow's solver.")] = 10,
    guidance: Annotated[
        float | None, typer.Option("--guidance", help="Above 1: follow the words more closely. Default: the model's.")
    ] = None,
    after: Annotated[
        Path | None, typer.Option("--after", help="A motion that goes before: the words say what follows.")
    ] = None,
    same: Annotated[bool, typer.Option("--same", help="The words say what --after has begun already.")] = False,
    streamed: Annotated[
        bool, typer.Option("--stream", help="Write frames to stdout as they are made, a line of JSON for each.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Generate a motion from words, and write it as a motion file or a picture."""
    from lmm.core.errors import InputError
    from lmm.core.registry import writer_for

    if out.suffix.lower() not in PICTURES:
        writer_for(out)
    if not out.absolute().parent.is_dir():
        raise InputError(out, "is in a folder that does not exist", "Make the folder, or choose another place")
    before = None if after is None else read_one(after, format, source_fps, units, up, person)
    chosen = choose_device(device, threads)
    from lmm.inference.generate import LONGEST_S, Settings, assembled, stream
    from lmm.inference.speaker import load_speaker

    speaker = load_speaker(model, chosen)
    if "NC" in speaker.model.config.licence:
        say(f"licence: {speaker.model.config.licence}")
    settings = Settings(seconds, seed, steps, guidance=guidance)
    pieces = []
    with Progress("generating", "frames") as bar:
        for piece in stream(text, speaker, settings, before, same):
            pieces.append(piece)
            if streamed:
                streamed = _print(4 * (len(pieces) - 1), piece)
            bar.update(4 * len(pieces), round(30 * (seconds or LONGEST_S)))
    motion = assembled(pieces, text, speaker, settings)
    if out.suffix.lower() in PICTURES:
        from lmm.rendering.render import render

        written = [render([motion], out)]
    else:
        written = motion.save(out)
    for file in written:
        say(f"wrote {file}")


def _print(first: int, piece: object) -> bool:
    """Print the frames of a piece and return True; False if nobody reads them: the file is made all the same."""
    import json

    import numpy as np

    from lmm.pipeline.codec_features import FPS

    try:
        for k, points in enumerate(np.asarray(piece)):
            places = [None if np.isnan(p).any() else [round(float(x), 4) for x in p] for p in points]
            print(json.dumps({"time": round((first + k) / FPS, 4), "points": places}), flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at exit
        return False
    return True
