"""`lmm doctor`: what is installed, what it is for, and how to get the rest."""

from __future__ import annotations

import platform
import subprocess
import sys
from typing import Annotated

import typer

from lmm.cli.options import Json, print_json, say

# distribution → (extra that brings it, what it is for)
OPTIONAL = {
    "xarray": ("interop", "netCDF files of movement"),
    "h5netcdf": ("interop", "netCDF files of movement"),
    "h5py": ("interop", "netCDF files of movement"),
    "av": ("video", "video in and out"),
    "onnxruntime": ("onnx", "pose networks that you have"),
    "viser": ("view", "the viewer in the browser"),
    "duckdb": ("query", "SQL over stores"),
    "ray": ("cluster", "ingest on a cluster"),
    "torch": ("models", "learned models"),
}


def doctor(
    fix: Annotated[
        bool,
        typer.Option("--fix", help="Install what is missing, learned models and clusters apart."),
    ] = False,
    json: Json = False,
) -> None:
    """Tell what is installed, what it is for, and how to get what is missing."""
    from lmm.video import mediapipe, openpose

    found = {name: _version(name) for name in OPTIONAL}
    missing = sorted({OPTIONAL[n][0] for n, v in found.items() if v is None} - {"models", "cluster"})
    if fix and missing:
        say(f"installing {', '.join(missing)}")
        wanted = [n for n, v in found.items() if v is None and OPTIONAL[n][0] in missing]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=False)
        found = {name: _version(name) for name in OPTIONAL}
    if fix and not mediapipe.installed():
        say("installing mediapipe, in an environment of its own")
        mediapipe.install()
    estimators = {
        "mediapipe": str(mediapipe.ENVIRONMENT) if mediapipe.installed() else None,
        "openpose": openpose.installed(),
    }
    if json:
        parts = {n: {"version": v, "extra": OPTIONAL[n][0], "for": OPTIONAL[n][1]} for n, v in found.items()}
        told = {"lmm": _version("large-movement-model"), "python": platform.python_version(), "optional": parts}
        print_json({**told, "pose_estimators": estimators})
        return
    print(f"lmm {_version('large-movement-model')}, Python {platform.python_version()}, {platform.platform()}")
    for name, version in found.items():
        extra, purpose = OPTIONAL[name]
        state = version or f"missing: pip install 'large-movement-model[{extra}]'"
        print(f"  {name:11} {purpose:30} {state}")
    print(f"  {'mediapipe':11} {'poses in videos':30} {estimators['mediapipe'] or 'missing: lmm doctor --fix'}")
    print(f"  {'openpose':11} {'poses in videos, many people':30} {estimators['openpose'] or 'not on the PATH'}")


def _version(name: str) -> str | None:
    import importlib.metadata  # a fifth of the time that lmm --help takes

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
