"""Options that several commands share, and how they print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lmm.core.errors import one_line

if TYPE_CHECKING:
    from lmm.core.motion import Motion

MotionPath = Annotated[Path, typer.Argument(help="A file or folder of movement.", show_default=False)]
Format = Annotated[
    str | None, typer.Option("--format", help="Format of the input, if not detected.", show_default=False)
]
SourceFps = Annotated[
    float | None,
    typer.Option("--source-fps", help="Frame rate of the input, if it says none or a wrong one.", show_default=False),
]
Units = Annotated[
    str | None,
    typer.Option("--units", help="Unit of the input: mm, cm, m, in, or a length such as 10.4mm.", show_default=False),
]
Up = Annotated[
    str | None, typer.Option("--up", help="Vertical axis of the input: y, z, x, -y, -z or -x.", show_default=False)
]
Person = Annotated[
    str | None, typer.Option("--person", help="Which person, or clip of a collection.", show_default=False)
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, max=1024, help="CPU threads. Default: all cores.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def read_one(
    path: Path, format: str | None, source_fps: float | None, units: str | None, up: str | None, person: str | None
) -> Motion:
    """Read the one motion that the options name, or a clip of a store (``--person ID``)."""
    import lmm

    if (path / "manifest.json").is_file():
        store = lmm.Store(path)
        if person is None:
            from lmm.core.errors import InputError

            ids = store.clips()["id"].to_pylist()
            raise InputError(
                path, f"is a store of {len(ids)} clips: {', '.join(ids[:6])} ...", "Choose one with --person"
            )
        found: Motion = store.motion(person)
        return found
    from lmm.core.progress import reporting

    with Progress("reading", "frames") as bar, reporting(bar.update):
        motion: Motion = lmm.read(path, format, person, source_fps, units, up)
    for warning in warnings_of(motion):
        say(f"warning: {warning}")
    return motion


def read_everybody(
    path: Path, format: str | None, source_fps: float | None, units: str | None, up: str | None
) -> list[Motion]:
    """Read all people in a file, those seen longest first: as many as a picture shows; says who is left out."""
    import lmm
    from lmm.core.progress import reporting
    from lmm.rendering.scene import MAX_MOTIONS

    with Progress("reading", "frames") as bar, reporting(bar.update):
        people: list[Motion] = lmm.read_people(path, format, source_fps, units, up)
    if len(people) > MAX_MOTIONS:
        say(f"{path}: {len(people) - MAX_MOTIONS} people who are seen less are left out; lmm info lists them")
    return people[:MAX_MOTIONS]


class Progress:
    """A progress bar on stderr, shown only on a terminal, from the first `update` on."""

    def __init__(self, label: str, unit: str) -> None:
        self._label, self._unit = label, unit
        self._bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def update(self, done: int, total: int) -> None:
        if self._bar is None:
            self._start()
        self._bar.update(self._task, completed=done, total=total or None)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _start(self) -> None:
        from rich import progress
        from rich.console import Console

        console = Console(stderr=True)
        self._bar = progress.Progress(
            progress.TextColumn(self._label),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn(self._unit),
            progress.TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task(self._label, total=None)


def until(motion: Motion, second: float) -> Motion:
    """Return what of a motion comes up to a second of its clock. Raises LmmError if nothing does."""
    from lmm.core.errors import LmmError

    frames = int((motion.clock <= second).sum())
    if not frames:
        raise LmmError(f"--at {second:g}: the motion begins at {motion.clock[0]:g} s and lasts {motion.seconds:.2f} s.")
    return motion.crop(0, frames)


def warnings_of(motion: Motion) -> list[str]:
    """Return what is implausible about a motion that can be converted to BODY_25: wrong units, axes, rates, sides."""
    from lmm.pipeline.convert import to_body25
    from lmm.pipeline.quality import quality

    if not motion.skeleton.table or motion.samples is not None:
        return []
    return list(quality(to_body25(motion))["warnings"])


def load_model(name: str, motion: Motion, device: str, threads: int | None) -> Any:
    """Return the model called `name` that fits `motion`, on the device; says on stderr if its licence is closed."""
    from lmm.models.loading import load

    model = load(name, "xyc" if motion.num_dims == 2 else "xyz")
    if "NC" in model.info.licence:
        say(f"{model.info.name}: {model.info.licence}")
    if model.info.kind != "baseline":
        model.to(choose_device(device, threads))  # type: ignore[attr-defined]
    return model


def choose_device(device: str, threads: int | None) -> str:
    """Return cpu or cuda, and set the number of threads. Raises LmmError if there is no such device."""
    import torch

    from lmm.core.errors import LmmError

    if device not in ("auto", "cpu", "cuda"):
        raise LmmError(f"--device {device}: expected auto, cpu or cuda.")
    if threads is not None:
        torch.set_num_threads(threads)
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise LmmError("--device cuda: torch finds no GPU here. Choose cpu, or install torch for CUDA.")
    return "cuda" if found and device != "cpu" else "cpu"


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object; bytes of a file name that are not UTF-8 become question marks."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode())


def say(text: str) -> None:
    """Tell the user something that is no result: on stderr, so that pipes stay clean."""
    print(one_line(text, 1000), file=sys.stderr)
