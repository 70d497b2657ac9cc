"""`lmm analyse`: a motion → angles, ranges, symmetry, steps, repetitions."""

from __future__ import annotations

import json as json_
from pathlib import Path
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
    load_model,
    print_json,
    read_one,
    say,
)

KINDS = (".html", ".csv", ".json")


def analyse(
    path: MotionPath,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o", "--out", help="A page (.html), the curves (.csv) or the numbers (.json).", show_default=False
        ),
    ] = None,
    surprise: Annotated[
        str | None,
        typer.Option("--surprise", help="Forecaster under which to tell how unexpected each region moves: diffusion."),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
    json: Json = False,
) -> None:
    """Measure a movement: joint angles, ranges, symmetry, steps, repetitions, centre of mass, surprise."""
    from lmm.analysis.analyse import analyse as run
    from lmm.core.errors import InputError
    from lmm.core.writing import write_bytes

    if out is not None and out.suffix.lower() not in KINDS:
        raise InputError(out, "is no kind of file that analyse writes", f"Name it {', '.join(KINDS)}")
    motion = read_one(path, format, source_fps, units, up, person)
    found = run(motion)
    unexpected = None
    if surprise is not None:
        from lmm.inference.surprise import surprise as run_surprise

        unexpected = run_surprise(found.motion, load_model(surprise, motion, device, threads))
    told = found.summary()
    if unexpected is not None:
        told["surprise"] = unexpected.summary()
    if out is not None:
        if out.suffix.lower() == ".html":
            from lmm.evaluation.motion_report import motion_page

            text = motion_page(found, unexpected)
        else:
            text = found.table() if out.suffix.lower() == ".csv" else json_.dumps(told, indent=1) + "\n"
        write_bytes(out, text.encode())
        say(f"wrote {out}")
    if json:
        print_json(told)
    elif out is None:
        _print(told)


def _print(told: dict[str, object]) -> None:
    for key in ("source", "seconds", "fps", "space", "missing_fraction", "centre_of_mass_path"):
        print(f"{key:22} {told[key]}")
    repetitions: dict[str, list[dict[str, float]]] = told["repetitions"]  # type: ignore[assignment]
    print(f"{'repetitions':22} {repetitions['count']}")
    for r in repetitions["each"]:
        print(f"{'':22} {r['start_s']:.2f} to {r['end_s']:.2f} s")
    gait: dict[str, float] = told["gait"] or {}  # type: ignore[assignment]
    for name, value in gait.items():
        print(f"gait {name:17} {value:g}")
    if not gait and told["steps"]:
        print(f"{'steps':22} {len(told['steps'])}, too few for a rhythm")  # type: ignore[arg-type]
    ranges: dict[str, dict[str, float]] = told["ranges_deg"]  # type: ignore[assignment]
    for name, r in ranges.items():
        print(f"{name:26} {r['min']:7.1f} to {r['max']:6.1f}°  range {r['range']:5.1f}°")
    uneven: dict[str, float] = told["asymmetry"]  # type: ignore[assignment]
    for name, value in uneven.items():
        print(f"asymmetry {name:16} {value:+.2f}")
