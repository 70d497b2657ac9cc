"""`lmm render`: motions → PNG, GIF, MP4 or one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.options import Format, Person, SourceFps, Units, Up, read_everybody, read_one, say


def render(
    motions: Annotated[
        list[Path], typer.Argument(help="Files or folders of movement, forecasts too.", show_default=False)
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The picture: .png, .gif, .mp4 or .html.", show_default=False)
    ],
    compare: Annotated[bool, typer.Option("--compare", help="Show the motions side by side.")] = False,
    overlay: Annotated[
        Path | None,
        typer.Option("--overlay", help="Draw the motions, in pixels, on this video: .mp4, or a still .png."),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Show the source's own joints or markers, not BODY_25.")] = False,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Draw motions: a strip of poses, an animation, or a page to play with that needs no network.

    Several motions of one space share one scene, a hue each; --compare puts them side by side. A video is drawn on
    itself (.png, .mp4), everybody in it with the number that --person takes.
    """
    from lmm.pipeline.convert import to_body25
    from lmm.rendering.render import render as draw
    from lmm.sources.files import Input
    from lmm.video.decoding import is_video

    if overlay is None and person is None and len(motions) == 1 and out.suffix.lower() in (".png", ".mp4"):
        overlay = motions[0] if is_video(Input(motions[0]).head) else None
    if overlay is not None and person is None:
        read = [m for path in motions for m in read_everybody(path, format, source_fps, units, up)]
    else:
        read = [read_one(m, format, source_fps, units, up, person) for m in motions]
    shown = read if raw else [to_body25(m) if m.skeleton.table else m for m in read]
    say(f"wrote {draw(shown, out, compare=compare, video=overlay)}")
