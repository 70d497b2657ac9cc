"""Killing ingest at any moment and resuming gives the identical store; a cluster gives it too."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmm.datasets.ingest import ingest
from lmm.datasets.synthetic import gait


@pytest.fixture(scope="module")
def takes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("takes")
    for i in range(24):
        gait(seconds=4.0, fps=120.0, seed=i).save(folder / f"walk{i:02d}.lmm.npz")
    (folder / "broken.bvh").write_text("HIERARCHY\nROOT x")
    return folder


def command(takes: Path, out: Path, *more: str) -> list[str]:
    return [str(Path(sys.executable).with_name("lmm")), "ingest", str(takes), "--out", str(out), *more]


def files_of(store: Path) -> dict[str, bytes]:
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


def killed_until_done(takes: Path, out: Path, seed: int, kill: signal.Signals) -> int:
    """Start, kill after a random while, resume, until it ends by itself; return how often it was killed."""
    rng = random.Random(seed)
    kills = 0
    while True:
        # a process killed before its first write leaves nothing to resume
        more = ["--resume"] if (out / "plan.json").is_file() else []
        process = subprocess.Popen(
            command(takes, out, "--workers", "2", *more), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            assert process.wait(timeout=rng.uniform(0.3, 2.5) * (1 + kills / 4)) == 3  # one input is broken
            return kills
        except subprocess.TimeoutExpired:
            process.send_signal(kill)
            process.wait()
            kills += 1
            time.sleep(0.2)


def test_killed_once_and_resumed(takes: Path, tmp_path: Path) -> None:
    ingest(takes, tmp_path / "whole", workers=1)
    killed_until_done(takes, tmp_path / "killed", 0, signal.SIGKILL)
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_at_many_moments_and_resumed(takes: Path, tmp_path: Path, kill: signal.Signals) -> None:
    ingest(takes, tmp_path / "whole", workers=1)
    kills = 0
    for seed in range(6):
        out = tmp_path / str(seed)
        kills += killed_until_done(takes, out, seed, kill)
        assert files_of(out) == files_of(tmp_path / "whole")
    assert kills > 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_local_cluster_of_two_writes_the_identical_store(takes: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    ingest(takes, tmp_path / "local", workers=2)
    done = subprocess.run(
        command(takes, tmp_path / "ray", "--engine", "ray", "--workers", "2"),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 3, done.stderr
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


STARTING = """
import concurrent.futures.process as process
from lmm.datasets.shards import map_shards
launch = process.ProcessPoolExecutor._launch_processes
def interrupted(pool):
    launch(pool)
    raise KeyboardInterrupt
process.ProcessPoolExecutor._launch_processes = interrupted
list(map_shards(abs, [1, 2, 3], 2))
"""


def test_an_interrupt_while_workers_start_leaves_none_behind() -> None:
    """They have nobody to tell them to go: the interpreter would wait for them for ever."""
    done = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, timeout=30, check=False)
    assert done.returncode != 0
    assert b"KeyboardInterrupt" in done.stderr
