"""`lmm eval`: models and a store → scores with intervals, and a report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lmm.cli.options import Device, Json, Threads, choose_device, print_json, say

if TYPE_CHECKING:
    from lmm.pipeline.features import Layout


def evaluate(
    protocol: Annotated[
        str,
        typer.Argument(help="forecast, rollout, transfer, robustness, probe; generation, caption.", show_default=False),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="The store to test on; generation, caption: or several, separated by commas.",
            show_default=False,
        ),
    ],
    models: Annotated[
        str,
        typer.Option(
            "--models",
            help="Names and folders, separated by commas; LABEL=FOLDER+FOLDER joins the seeds of one forecaster. "
            "generation, caption: controls for none.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of results.json, report.html.", show_default=False)],
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="train, val, test or all. Default: test; transfer, probe: all; generation, caption: held-out.",
        ),
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="xyc or xyz. Default: xyz for metres, xyc for pixels.")
    ] = None,
    views: Annotated[int, typer.Option("--views", help="xyc of world motions: cameras all around.")] = 3,
    samples: Annotated[
        int | None,
        typer.Option("--samples", help="Futures drawn from stochastic models; motions of a text. Default: 10; 3."),
    ] = None,
    scale: Annotated[
        float | None, typer.Option("--scale", help="rollout: also show displacements this many times as large.")
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="generation, caption: the evaluator, a name or folder.")
    ] = None,
    kit: Annotated[
        Path | None,
        typer.Option("--kit", help="generation, caption: KIT-ML's sentences for CMU trials, a pairs.jsonl."),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Score models on clips of a store, with intervals, and write results.json and report.html."""
    from lmm.core.errors import LmmError
    from lmm.evaluation.protocols import REPORT, Settings, summary
    from lmm.evaluation.protocols import evaluate as run

    chosen: Layout | None = None if layout is None else "xyz" if layout == "xyz" else "xyc"
    if layout not in (None, chosen):
        raise LmmError(f"--layout {layout}: expected xyc or xyz.")
    chosen_device = _device(device, threads)
    settings = Settings(data, models, out, split, chosen, views, samples, chosen_device, scale, encoder, kit)
    with _Progress() as bar:
        results = run(protocol, settings, bar.update)
    if json:
        print_json(results)
        return
    for line in summary(results):
        print(line)
    say(f"wrote {out / REPORT}")


def _device(device: str, threads: int | None) -> str:
    try:
        return choose_device(device, threads)
    except ModuleNotFoundError:  # baselines alone need no torch
        return "cpu"


class _Progress:
    """A progress bar on stderr, shown only on a terminal."""

    def __enter__(self) -> _Progress:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("eval"), BarColumn(), MofNCompleteColumn(), TextColumn("batches"), TimeRemainingColumn())
        console = Console(stderr=True)
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._bar.start()
        self._task = self._bar.add_task("eval", total=None)
        return self

    def update(self, done: int, total: int) -> None:
        self._bar.update(self._task, completed=done, total=total)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
