"""`lmm train`: a config and stores → a model."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from lmm.cli.options import Device, Threads, choose_device, say


def train(
    config: Annotated[Path, typer.Argument(help="A YAML file of settings; see configs/.", show_default=False)],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The run's folder. Default: runs/CONFIG.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: lr=1e-4, augmentation.mirror=0.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Train a model. The run's folder keeps config, logs, checkpoints, and the best weights in best/."""
    from lmm.training.kinds import read_train_config

    settings = read_train_config(config, changes)
    chosen = choose_device(device, threads)
    from lmm.training.loop import train as run

    folder = out or Path("runs") / config.stem
    with _Bar(settings.steps, settings.batch) as bar:
        best = run(settings, folder, resume, chosen, bar.show)
    say(f"wrote {best}")


class _Bar:
    """A progress bar on a terminal; else a line every now and then. Only the first process shows it."""

    def __init__(self, steps: int, batch: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._quiet = os.environ.get("RANK", "0") != "0"
        self._batch, self._first = batch, -1
        self._terminal = sys.stderr.isatty() and not self._quiet
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self._terminal,
        )
        self._task = self._progress.add_task("training", total=steps, told="")
        self._val = ""

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, row: dict[str, Any]) -> None:
        if self._first < 0:
            self._first = row["step"] - 1
        rate = (row["step"] - self._first) * self._batch / max(row["seconds"], 1e-9)
        if row.get("val_loss") is not None:
            self._val = f", val {row['val_loss']:.4f}"
        told = f"loss {row['loss']:.4f}{self._val}, {rate:.0f} windows/s"
        self._progress.update(self._task, completed=row["step"], told=told)
        if not self._terminal and not self._quiet and (row.get("val_loss") is not None or row["step"] % 100 == 0):
            say(f"step {row['step']}: {told}")
