"""`lmm view`: motions in the browser, in three dimensions."""

from __future__ import annotations

import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.options import Format, SourceFps, Units, Up, say, warnings_of


def view(
    motions: Annotated[
        list[Path] | None, typer.Argument(help="Files or folders of movement, forecasts too.", show_default=False)
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Address to serve at; any but the default lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to serve at; 0: a free one.")] = 8080,
    assistant: Annotated[
        str | None, typer.Option("--assistant", help="A folder of an assistant that lmm train wrote.")
    ] = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
) -> None:
    """Show, compare, forecast, ask about and export motions in the browser. Ctrl-C ends it.

    --format, --source-fps, --units and --up also hold for what is opened there.
    """
    import lmm
    from lmm.serving.viewer import Viewer

    read = partial(lmm.read_people, format=format, source_fps=source_fps, units=units, up=up)
    people = [person for path in motions or [] for person in read(path)]
    for warning in (w for person in people for w in warnings_of(person)):
        say(f"warning: {warning}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as Ctrl-C: temporary files go
    viewer = Viewer(read, host, port, assistant)
    try:
        viewer.show(people)
        print(viewer.url, flush=True)
        say("Ctrl-C ends it.")
        viewer.run()
    except KeyboardInterrupt:
        say("ended.")
    finally:
        viewer.close()
