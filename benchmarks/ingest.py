"""How fast files become motions, and motions a store: against floors and peers, in one run.

    python benchmarks/ingest.py [--data ../shared/data] [--rounds 5] [--formats bvh,c3d] [--movement-python PYTHON]
                                [--out benchmarks/results/ingest-DATE.json]

For each format: bytes (open and read), parse (a plain parser), lmm.read_people, and lmm.ingest with 1 and 2 processes;
each peer reads the same files as lmm beside it. Everything takes turns in each round, ratios are the median of those
within a round. See benchmarks/README.md for the columns. No time is asserted: the machine decides.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import lmm
from lmm.datasets.shards import map_shards

Seconds = dict[str, list[float]]
MOVEMENT = """
import json, sys, time, movement, xarray
for line in sys.stdin:
    began = time.perf_counter()
    for path in json.loads(line):
        xarray.load_dataset(path).position.values
    print(time.perf_counter() - began, flush=True)
"""


@dataclass
class Case:
    """One format: what lmm reads, with which options; the files in it; a plain parser; the peers and what they read."""

    name: str
    inputs: list[Path]
    parse: Callable[[Path], object]
    options: dict[str, Any] = field(default_factory=dict)
    pattern: str = "*"
    peers: tuple[Callable[[Path], object], ...] = ()
    peer_inputs: list[Path] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        return [f for p in self.inputs for f in (sorted(p.glob(self.pattern)) if p.is_dir() else [p])]


def numbers(text: str) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.fromstring(text.replace(",", " "), sep=" ")


def unzipped(path: Path) -> str:
    return gzip.decompress(path.read_bytes()).decode()


def arrays(path: Path) -> object:
    with np.load(path) as file:
        return [file[name] for name in file]


def hdf5(path: Path) -> object:
    import h5py

    with h5py.File(path) as file:
        return file["position"][:], file["confidence"][:]


def bvhio_parse(path: Path) -> object:
    import bvhio

    return bvhio.readAsBvh(str(path))


def bvhio_positions(path: Path) -> object:
    import bvhio

    file = bvhio.readAsBvh(str(path))
    root = bvhio.convertBvhToHierarchy(file.Root)
    return [[j.PositionWorld for j, _, _ in root.loadPose(t).layout()] for t in range(file.FrameCount)]


def c3d(path: Path) -> object:
    import c3d

    with path.open("rb") as f, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(c3d.Reader(f).read_frames())


def ezc3d(path: Path) -> object:
    import ezc3d

    return ezc3d.c3d(str(path))["data"]["points"]


def xarray_load(path: Path) -> object:
    import xarray

    return xarray.load_dataset(path, engine="h5netcdf").position.values


def cases(data: Path, temporary: Path) -> list[Case]:
    """Return the formats with recordings in `data`; netCDF is written from BVH first, for lack of a published file."""
    bvh = sorted(data.glob("cmu_bvh_samples/*.bvh"))
    for path in bvh[:20]:
        lmm.read(path).save(temporary / f"{path.stem}.nc")
    netcdf = sorted(temporary.glob("*.nc"))
    marks = sorted(data.rglob("*.c3d"))
    marks_of_c3d = [p for p in marks if p.stem not in ("PiG_Motion-FlatFoot-One", "racing_full")]  # c3d refuses these
    cameras = [data / f"pose2sim_balancing/openpose_body25b_json/cam0{k}_json" for k in (1, 2, 3, 4)]
    clips = (
        "openpose_body25_json/psychologie",
        "openpose_body25_json/du_wohn_wo",
        "openpose_coco18_json/motion_sample_1",
    )
    uiprmd, fps = "uiprmd/*/{}/positions/m01*.gz", {"source_fps": 25.0}

    def table(path: Path, skip: int) -> object:
        return numbers(path.read_text().split("\n", skip)[-1])

    def channels(path: Path) -> object:
        return numbers(path.read_text().partition("Frame Time:")[2].partition("\n")[2])

    def amc(path: Path) -> object:
        return [list(map(float, line.split()[1:])) for line in path.read_text().splitlines()[3:]]

    def kinect(path: Path) -> object:
        return [line.split(",") for line in unzipped(path).splitlines()]

    def words(path: Path) -> object:
        return np.frombuffer(path.read_bytes(), "<f4", path.stat().st_size // 4).astype(float)

    def parse_json(path: Path) -> object:
        return json.loads(path.read_bytes())

    return [
        Case("openpose, one person", [data / c for c in clips] + cameras[2:], parse_json, fps, "*.json"),
        Case("openpose, several", cameras[:2], parse_json, fps, "*.json"),
        Case("bvh", bvh, channels, {}, "*", (bvhio_parse, bvhio_positions), bvh[1:3]),
        Case("amc", sorted(data.glob("cmu_bvh_samples/*.amc")), amc, {"source_fps": 120.0}),
        Case("c3d", marks, words, {"up": "z"}, "*", (c3d, ezc3d), marks_of_c3d),
        Case("trc", sorted(data.rglob("*.trc")), lambda p: table(p, 5), {"up": "y"}),
        Case("uiprmd, markers", sorted(data.glob(uiprmd.format("vicon"))), lambda p: numbers(unzipped(p))),
        Case("uiprmd, kinect", sorted(data.glob(uiprmd.format("kinect"))), lambda p: numbers(unzipped(p))),
        Case("irds kinect", sorted(data.glob("irds_kinect_v2/**/*.gz")), kinect),
        Case("npz collection", [data / "cmu"], arrays, {}, "*.npz"),
        Case("keypoint csv", sorted(data.glob("openpose_body25_json/**/*.csv")), lambda p: table(p, 1), fps),
        Case("netcdf", netcdf, hdf5, {}, "*", (xarray_load,), netcdf),
    ]  # fmt: skip


@dataclass
class Reader:
    options: dict[str, Any]

    def __call__(self, path: Path) -> int:
        return sum(m.num_frames for m in lmm.read_people(path, **self.options))


@dataclass
class Each:
    """Calls `function` on every path; picklable, for worker processes."""

    function: Callable[[Path], object]

    def __call__(self, paths: list[Path]) -> None:
        for path in paths:
            self.function(path)


def over(function: Callable[[Path], object], paths: list[Path], workers: int = 1) -> Callable[[], object]:
    chunks = [c for k in range(workers) if (c := paths[k::workers])]
    return lambda: list(map_shards(Each(function), chunks, workers))


def ingest(case: Case, out: Path, workers: int) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        lmm.ingest(case.inputs, out, workers=workers, **case.options)
        took = time.perf_counter() - began
        shutil.rmtree(out)
        return took

    return run


def elsewhere(process: subprocess.Popen[str], paths: list[Path]) -> Callable[[], float]:
    """Return the work of a peer in an interpreter of its own, which tells its seconds: the pipe is not counted."""

    def run() -> float:
        assert process.stdin
        assert process.stdout
        print(json.dumps([str(p) for p in paths]), file=process.stdin, flush=True)
        return float(process.stdout.readline())

    return run


def rounds(works: dict[str, Callable[[], object]], count: int) -> Seconds:
    """Run all works in turns, `count` times after a warm-up, every second round backwards; return their seconds."""
    seconds: Seconds = {name: [] for name in works}
    for k in range(-1, count):
        for name in works if k % 2 else reversed(works):
            began = time.perf_counter()
            told = works[name]()
            took = told if isinstance(told, float) else time.perf_counter() - began
            seconds[name] += [took] if k >= 0 else []
    return seconds


def measure(case: Case, out: Path, count: int, movement: subprocess.Popen[str] | None) -> dict[str, Any]:
    reader, files, peer_inputs = Reader(case.options), case.files, case.peer_inputs
    works = {"bytes": over(Path.read_bytes, files), "parse": over(case.parse, files), "read": over(reader, case.inputs)}
    works |= {f"ingest {w}": ingest(case, out, w) for w in (1, 2)}
    for w in (1, 2) if case.peers else ():
        works[f"lmm @{w}"] = over(reader, peer_inputs, w)
        works |= {f"{peer.__name__} @{w}": over(peer, peer_inputs, w) for peer in case.peers}
    if movement and case.name == "netcdf":
        works["movement @1"] = elsewhere(movement, peer_inputs)
    frames, peer_frames = (sum(map(reader, paths)) for paths in (case.inputs, peer_inputs))
    return {
        "format": case.name, "files": len(files), "frames": frames, "bytes": sum(f.stat().st_size for f in files),
        "peer_files": len(peer_inputs), "peer_frames": peer_frames, "seconds": rounds(works, count),
    }  # fmt: skip


def ratio(s: Seconds, above: str, below: str) -> str:
    return f"{statistics.median(a / b for a, b in zip(s[above], s[below], strict=True)):.2f}"


def rates(s: Seconds, name: str, files: int, frames: int) -> tuple[str, str, str]:
    """Median ms (lowest–highest), files/s and frames/s of a work."""
    middle, low, high = statistics.median(s[name]), min(s[name]), max(s[name])
    return f"{1e3 * middle:.1f} ({1e3 * low:.1f}–{1e3 * high:.1f})", f"{files / middle:,.0f}", f"{frames / middle:,.0f}"


def row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def show(results: list[dict[str, Any]]) -> None:
    """Print both tables, in Markdown."""
    row("format", "files", "frames", "MB", "work", "ms (range)", "files/s", "frames/s", "/ bytes", "/ parse")
    row(*["---"] * 10)
    for r in results:
        s, size = r["seconds"], (r["files"], r["frames"])
        for work in ("read", "ingest 1", "ingest 2"):
            floors = (ratio(s, work, "bytes"), ratio(s, work, "parse"))
            row(r["format"], *size, f"{r['bytes'] / 1e6:.1f}", work, *rates(s, work, *size), *floors)
    print()
    of_both = [f"{who} {unit}" for who in ("peer", "lmm") for unit in ("ms (range)", "files/s", "frames/s")]
    row("format", "peer", "processes", "files", *of_both, "peer / lmm")
    row(*["---"] * 11)
    for r in results:
        s, size = r["seconds"], (r["peer_files"], r["peer_frames"])
        for work in (w for w in s if "@" in w and not w.startswith("lmm")):
            peer, processes = work.split(" @")
            ours = f"lmm @{processes}"
            measured = (*rates(s, work, *size), *rates(s, ours, *size), ratio(s, work, ours))
            row(r["format"], peer, processes, size[0], *measured)


def machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    cpu = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
    git = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent
    )
    names = ("numpy", "scipy", "pyarrow", "bvhio", "c3d", "ezc3d", "xarray", "h5netcdf")
    versions = {d.name: d.version for d in importlib.metadata.distributions() if d.name in names}
    told = {"commit": git.stdout.strip(), "date": date.today().isoformat(), "cpu": cpu, "cores": os.cpu_count()}
    return told | {
        "load": os.getloadavg(),
        "python": platform.python_version(),
        "lmm": lmm.__version__,
        "versions": versions,
    }


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=here.parent / "../shared/data")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--formats", default="", help="only formats that begin with one of these, separated by commas")
    parser.add_argument("--movement-python", help="an interpreter with movement, which needs Python 3.12")
    parser.add_argument("--out", type=Path, help="also keep the JSON line in this file")
    given = parser.parse_args()
    if not given.data.is_dir():
        sys.exit(f"error: {given.data}: no such folder. Give the recordings with --data.")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    python = given.movement_python
    movement = subprocess.Popen([python, "-W", "ignore", "-c", MOVEMENT], **pipes) if python else None
    about = machine()
    with tempfile.TemporaryDirectory() as folder:
        chosen = [
            c
            for c in cases(given.data, Path(folder))
            if c.inputs and c.name.startswith(tuple(given.formats.split(",")))
        ]
        results = [measure(c, Path(folder) / "store", given.rounds, movement) for c in chosen]
    if movement:
        movement.communicate()
    command = [Path(sys.executable).with_name("lmm"), "--help"]
    started = rounds({"help": lambda: subprocess.run(command, capture_output=True, check=True)}, 9)
    show(results)
    if not movement:
        print("\nmovement was not measured: give an interpreter that has it with --movement-python.")
    print(f"\nlmm --help (whole process): {rates(started, 'help', 1, 0)[0]} ms\n")
    line = json.dumps(
        {"benchmark": "ingest", **about, "rounds": given.rounds, "help_seconds": started["help"], "formats": results}
    )
    print(line)
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(line + "\n", "utf-8")


if __name__ == "__main__":
    main()
