"""`lmm models`: which models there are."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from lmm.cli.options import Json, print_json

app = typer.Typer(help="List, describe and check models.", no_args_is_help=True, rich_markup_mode=None)


def _infos() -> list[dict[str, Any]]:
    from lmm.models.loading import infos

    return [dataclasses.asdict(i) for i in infos()]


@app.command("list")
def list_models(json: Json = False) -> None:
    """List all models."""
    found = _infos()
    if json:
        print_json({"models": found})
        return
    for m in found:
        print(f"{m['name']:25} {m['kind']:16} {m['parameters']:>12,} parameters  layout {m['layout']:4} {m['licence']}")


@app.command("info")
def info(
    name: Annotated[str, typer.Argument(help="A name or a folder.", show_default=False)], json: Json = False
) -> None:
    """Describe one model."""
    from lmm.models.loading import describe

    found = dataclasses.asdict(describe(name))
    if json:
        print_json(found)
        return
    for key, value in found.items():
        print(f"{key:12} {value}")


@app.command("check")
def check(json: Json = False) -> int:
    """Run every forecaster and motion-language model once, on a synthetic walk, and say whether it works."""
    import numpy as np

    from lmm.datasets.synthetic import gait
    from lmm.inference.forecast import forecast
    from lmm.models.loading import forecasters, speakers
    from lmm.pipeline.cameras import Camera, project

    walk = gait(seconds=9.0, fps=30.0)
    seen = {"xyz": walk, "any": walk, "xyc": project(walk, Camera())}
    results = {i.name: bool(np.isfinite(forecast(seen[i.layout], i.name).joint("MidHip")).all()) for i in forecasters()}
    for i in speakers():
        from lmm.inference.describe import describe
        from lmm.inference.generate import generate

        made = generate("a person walks", i.name, seconds=1.0)
        results[i.name] = bool(np.isfinite(made.joint("MidHip")).all() and describe(walk, i.name))
    if json:
        print_json({"models": results})
    else:
        for name, works in results.items():
            print(f"{name:25} {'works' if works else 'FAILS'}")
    return 0 if all(results.values()) else 2
