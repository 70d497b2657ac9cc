"""`lmm demo`: the whole way on one input, with pictures to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.options import Format, Person, SourceFps, Units, Up, read_one, say


def demo(
    path: Annotated[
        Path | None, typer.Argument(help="A file or folder of movement. Default: a synthetic walk.", show_default=False)
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the pictures.")] = Path("demo_out"),
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
) -> None:
    """Read, clean, measure, forecast and draw one motion; the pictures land in a folder.

    Of a video, the one who is seen most, and the forecast is drawn on it.
    """
    from lmm.analysis.analyse import analyse
    from lmm.core.errors import InputError
    from lmm.core.writing import write_bytes
    from lmm.datasets.synthetic import gait
    from lmm.evaluation.motion_report import motion_page
    from lmm.inference.forecast import DEFAULT, forecast
    from lmm.pipeline.clean import clean
    from lmm.pipeline.quality import quality
    from lmm.rendering.render import render
    from lmm.sources.files import Input
    from lmm.video.decoding import is_video

    video = path if path is not None and is_video(Input(path).head) else None
    if video is not None and person is None:
        person = "0"
    source = (
        gait(seconds=10.0, fps=30.0, seed=0) if path is None else read_one(path, format, source_fps, units, up, person)
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(out, f"cannot be made ({e.strerror or e})", "Give another folder with --out") from None
    say(
        f"read       {path or 'a synthetic walk'}: {source.num_frames} frames of {source.skeleton.name} "
        f"at {source.fps:g} FPS"
    )
    cleaned = clean(source)
    figures = quality(cleaned)
    say(
        f"cleaned    to {cleaned.num_frames} frames of BODY_25 at {cleaned.fps:g} FPS, {figures['joints']} joints, "
        f"{figures['missing']:.0%} missing"
    )
    for warning in figures["warnings"]:
        say(f"warning    {warning}")
    written = [cleaned.save(out / "motion.lmm.npz")[0], render([cleaned], out / "motion.png")]
    # the last 2 s are hidden from the models, so that the picture shows what really came
    cut = cleaned.num_frames - round(2 * cleaned.fps)
    seen = cleaned.crop(0, cut) if cut >= cleaned.fps else cleaned
    futures = []
    came = cleaned.replace(meta={**cleaned.meta, "item": "what really came"})
    for model, samples in (("constant-velocity", 1), (DEFAULT, 10)):
        futures.append(forecast(seen, model, seconds=2.0, samples=samples))
        written.append(futures[-1].save(out / f"forecast-{model}.lmm.npz")[0])
    written.append(render([*futures, came], out / "forecast.png", compare=True))
    written += [render([*futures, came], out / f"forecast.{kind}", compare=True) for kind in ("gif", "mp4", "html")]
    if video is not None:
        written += [render(futures[-1:], out / f"overlay.{kind}", video=video) for kind in ("png", "mp4")]
    written.append(render([cleaned], out / "motion.html"))
    written.append(write_bytes(out / "report.html", motion_page(analyse(cleaned)).encode()))
    for file in written:
        print(file)
