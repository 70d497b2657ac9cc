"""`lmm ask` and `lmm chat`: questions about a motion, answered in words beside what is measured."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from lmm.inference.ask import Chat

Second = Annotated[
    Path | None, typer.Option("--second", help="Another motion, to be compared with the first.", show_default=False)
]
Film = Annotated[
    Path | None,
    typer.Option("--video", help="Its video. Default: MOTION itself, if it is one.", show_default=False),
]
Model = Annotated[str, typer.Option("--model", help="A name from lmm models list, or a folder that lmm train wrote.")]
Temperature = Annotated[float, typer.Option("--temperature", help="0: the likeliest words; above: drawn.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of words that are drawn.")]
ENDS = ("exit", "quit", "bye")


def ask(
    path: MotionPath,
    question: Annotated[str, typer.Argument(help="Such as 'How many repetitions?'.", show_default=False)],
    second: Second = None,
    video: Film = None,
    model: Model = "assistant",
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    streamed: Annotated[bool, typer.Option("--stream", help="Print words as they are said.")] = False,
    json: Json = False,
    device: Device = "auto",
    threads: Threads = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Answer a question about a motion, or about two.

    The answer stands alone on stdout; what was looked at, and what is measured of it, on stderr.
    """
    chat = _chat(path, second, video, model, device, threads, format, source_fps, units, up, person)
    if json:
        print_json(chat.ask(question, temperature, seed).summary())
        return
    _answer(chat, question, temperature, seed, streamed)


def chat(
    path: MotionPath,
    second: Second = None,
    video: Film = None,
    model: Model = "assistant",
    temperature: Temperature = 0.0,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Answer questions about a motion, or about two, a line each; an empty line, 'exit' or Ctrl-D ends it."""
    from lmm.core.errors import LmmError

    talk = _chat(path, second, video, model, device, threads, format, source_fps, units, up, person)
    asks = sys.stdin.isatty()
    while True:
        if asks:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if line.strip().lower() in ("", *ENDS):
            return
        try:
            _answer(talk, line, temperature, seed, True)
        except LmmError as e:  # the next question may be a better one
            say(f"error: {e}")


def _answer(chat: Chat, question: str, temperature: float, seed: int, streamed: bool) -> None:
    for piece in chat.stream(question, temperature, seed):
        if streamed:
            print(piece, end="", flush=True)
    print("" if streamed else chat.answers[-1].text, flush=True)
    for line in chat.answers[-1].lines():
        say(line)


def _chat(
    path: Path,
    second: Path | None,
    video: Path | None,
    model: str,
    device: str,
    threads: int | None,
    format: str | None,
    source_fps: float | None,
    units: str | None,
    up: str | None,
    person: str | None,
) -> Chat:
    motions = [read_one(path, format, source_fps, units, up, person)]
    if second is not None:
        motions.append(read_one(second, format, source_fps, units, up, None))
    chosen = choose_device(device, threads)
    from lmm.inference.ask import Chat, load_assistant

    assistant = load_assistant(model, chosen)
    if video is None and motions[0].meta.get("format") == "video" and assistant.config.video:
        video = path
    if "NC" in assistant.config.licence:
        say(f"licence: {assistant.config.licence}")
    return Chat(motions, assistant, video)
