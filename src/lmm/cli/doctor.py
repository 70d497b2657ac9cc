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
    "av": ("video", "MP4 output"),
    "duckdb": ("query", "SQL over stores"),
    "ray": ("cluster", "ingest on a cluster"),
    "torch": ("models", "learned models"),
}


def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Install what is missing with pip, learned models and clusters apart.")
    ] = False,
    json: Json = False,
) -> None:
    """Tell what is installed, what it is for, and how to get what is missing."""
    found = {name: _version(name) for name in OPTIONAL}
    missing = sorted({OPTIONAL[n][0] for n, v in found.items() if v is None} - {"models", "cluster"})
    if fix and missing:
        say(f"installing {', '.join(missing)}")
        wanted = [n for n, v in found.items() if v is None and OPTIONAL[n][0] in missing]
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *wanted], check=False)
        found = {name: _version(name) for name in OPTIONAL}
    if json:
        parts = {n: {"version": v, "extra": OPTIONAL[n][0], "for": OPTIONAL[n][1]} for n, v in found.items()}
        print_json({"lmm": _version("large-movement-model"), "python": platform.python_version(), "optional": parts})
        return
    print(f"lmm {_version('large-movement-model')}, Python {platform.python_version()}, {platform.platform()}")
    for name, version in found.items():
        extra, purpose = OPTIONAL[name]
        state = version or f"missing: pip install 'large-movement-model[{extra}]'"
        print(f"  {name:10} {purpose:30} {state}")


def _version(name: str) -> str | None:
    import importlib.metadata  # a fifth of the time that lmm --help takes

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
