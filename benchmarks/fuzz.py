"""Reads damaged files by the hundred thousand: no traceback, no hang, bounded memory, one clear line each.

    python benchmarks/fuzz.py --runs 100000 --seed 0 --workers 2 --keep failures/
    python benchmarks/fuzz.py --seed 0 --only 4711 --keep failures/     one run again, with its traceback

Samples and mutations are those of `tests/damage.py`; run number and seed alone decide what happens. Every run is
bounded in time (an alarm that also ends a C library) and address space, in a process that is replaced when it dies.
Exit code 1 if any run did not end in a motion or one clear line. Needs no data, and uses ../shared/data where it is.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

from damage import DATA, Sample, attempt, damage, samples  # noqa: E402

SECONDS = 20
ADDRESS_SPACE = 3 << 30
BATCH = 500
OUTCOMES = ("accepted", "refused", "failed", "crashed", "hung")


@dataclass
class Tally:
    """What became of the runs of one format."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    rss_mib: float = 0.0


class Fuzz:
    """Chooses and does runs; `do(run)` is a pure function of the seed, the samples and the run's number."""

    def __init__(self, found: list[Sample], seed: int, scratch: Path, keep: Path | None) -> None:
        self.samples, self.seed, self.scratch, self.keep = found, seed, scratch, keep
        shares = np.cumsum([s.share for s in found])
        self.edges = shares / shares[-1]

    def prepare(self, run: int) -> tuple[Sample, str, Path, Path]:
        """Make the input of a run; return its sample, what was done to it, the path to read, and the folder made."""
        rng = np.random.default_rng([self.seed, run])
        sample = self.samples[int(np.searchsorted(self.edges, rng.random()))]
        folder = self.scratch / f"run-{run}"
        shutil.rmtree(folder, ignore_errors=True)
        kind, path = damage(sample, folder, rng)
        return sample, kind, path, folder

    def do(self, run: int, noise: int) -> tuple[str, str, str, str]:
        """Return format, outcome, mutation and message; `noise` is a file that stderr goes to."""
        sample, kind, path, folder = self.prepare(run)
        try:
            message = attempt(path, sample.options)
            outcome = message.split(":")[0]
        except Exception as e:
            outcome, message = "failed", f"{type(e).__name__}: {e} at {_where(e)}"
        if os.fstat(noise).st_size:
            outcome, message = "failed", f"printed: {os.pread(noise, 300, 0)!r}"
            os.ftruncate(noise, 0)
        if outcome == "failed" and self.keep:
            self.save(run, sample)
        shutil.rmtree(folder, ignore_errors=True)
        return sample.format, outcome, kind, message.replace(f"{folder}/", "")

    def save(self, run: int, sample: Sample) -> None:
        """Put the input of a run into the folder `keep`."""
        if self.keep:
            *_, folder = self.prepare(run)
            target = self.keep / f"{sample.format}-{self.seed}-{run}"
            if not target.exists():
                shutil.copytree(folder, target, symlinks=True)
            shutil.rmtree(folder, ignore_errors=True)


def worker(fuzz: Fuzz, first: int, last: int, pipe: Connection) -> None:
    """Do runs [first, last) and report each; ended from outside by the alarm's default action if one takes too long."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryFile(buffering=0) as noise:
        os.dup2(noise.fileno(), 2)
        os.lseek(2, 0, os.SEEK_SET)
        for run in range(first, last):
            began = time.monotonic()
            _reset_peak()
            signal.alarm(SECONDS)
            told = fuzz.do(run, noise.fileno())
            signal.alarm(0)
            pipe.send((run, *told, time.monotonic() - began, _peak_mib()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--format", help="only samples of these formats, split by commas")
    parser.add_argument("--only", type=int, help="one run again, in this process")
    parser.add_argument("--keep", type=Path, help="folder for inputs that failed")
    options = parser.parse_args()
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None, prefix="lmm-fuzz-") as folder:
        found = samples(DATA, Path(folder) / "samples")
        if options.format:
            found = [s for s in found if s.format in options.format.split(",")]
        if not found:
            print("there are no samples of this format here")
            return 0
        for sample in found:  # what is imported now need not be in each worker, nor change meanwhile
            attempt(sample.folder / sample.path, sample.options)
        fuzz = Fuzz(found, options.seed, Path(folder), options.keep)
        if options.only is not None:
            return _one(fuzz, options.only)
        return _all(fuzz, options.runs, options.workers)


def _one(fuzz: Fuzz, run: int) -> int:
    sample, kind, path, _ = fuzz.prepare(run)
    print(f"{sample.format} {sample.path}: {kind}")
    fuzz.save(run, sample)
    fuzz.prepare(run)
    try:
        print(attempt(path, sample.options))
    except Exception:
        traceback.print_exc()
        return 1
    return 0


def _all(fuzz: Fuzz, runs: int, workers: int) -> int:
    context = multiprocessing.get_context("fork")
    ranges = [(a, min(a + BATCH, runs)) for a in range(0, runs, BATCH)][::-1]
    live: dict[Connection, tuple[Any, int, int]] = {}
    tallies: dict[str, Tally] = {s.format: Tally() for s in fuzz.samples}
    messages: Counter[str] = Counter()
    done, began, shown = 0, time.monotonic(), 0.0

    def start(first: int, last: int) -> None:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=worker, args=(fuzz, first, last, theirs))
        process.start()
        theirs.close()
        live[ours] = (process, first, last)

    def record(run: int, format: str, outcome: str, kind: str, message: str, seconds: float, rss: float) -> None:
        nonlocal done
        done += 1
        tally = tallies[format]
        tally.outcomes[outcome] += 1
        tally.seconds, tally.rss_mib = max(tally.seconds, seconds), max(tally.rss_mib, rss)
        if outcome not in ("accepted", "refused"):
            messages[f"{format} {outcome}: {message}"[:400]] += 1
            if messages[f"{format} {outcome}: {message}"[:400]] <= 2:
                print(f"run {run} ({format}, {kind}) {outcome}: {message}"[:600], flush=True)

    while ranges or live:
        while ranges and len(live) < workers:
            start(*ranges.pop())
        for pipe in wait(list(live)):
            assert isinstance(pipe, Connection)
            process, first, last = live[pipe]
            try:
                run, *told = pipe.recv()
                record(run, *told)
                live[pipe] = (process, run + 1, last)
                continue
            except EOFError:
                del live[pipe]
            process.join()
            if first < last:  # died in this run
                sample, kind, *_, folder = fuzz.prepare(first)
                shutil.rmtree(folder, ignore_errors=True)
                fuzz.save(first, sample)
                outcome = "hung" if process.exitcode == -signal.SIGALRM else "crashed"
                record(
                    first,
                    sample.format,
                    outcome,
                    kind,
                    f"exit code {process.exitcode}",
                    SECONDS if outcome == "hung" else 0.0,
                    0.0,
                )
                if first + 1 < last:
                    ranges.append((first + 1, last))
        if time.monotonic() - shown > 30 or not live:
            shown = time.monotonic()
            bad = sum(n for t in tallies.values() for k, n in t.outcomes.items() if k not in ("accepted", "refused"))
            print(f"{done}/{runs} runs, {done / (shown - began):.0f} a second, {bad} bad", file=sys.stderr, flush=True)
    return _report(tallies, messages, time.monotonic() - began)


def _report(tallies: dict[str, Tally], messages: Counter[str], seconds: float) -> int:
    print(f"\n{'format':14}{'runs':>8}" + "".join(f"{o:>10}" for o in OUTCOMES) + f"{'max s':>8}{'MiB':>7}")
    total = Tally()
    for name, tally in [*sorted(tallies.items()), ("all", total)]:
        total.outcomes.update(tally.outcomes if tally is not total else {})
        total.seconds, total.rss_mib = max(total.seconds, tally.seconds), max(total.rss_mib, tally.rss_mib)
        counts = "".join(f"{tally.outcomes[o]:>10}" for o in OUTCOMES)
        print(f"{name:14}{tally.outcomes.total():>8}{counts}{tally.seconds:>8.2f}{tally.rss_mib:>7.0f}")
    print(f"{total.outcomes.total() / seconds:.1f} runs a second")
    for message, count in messages.most_common(40):
        print(f"{count:>6} x {message}")
    return 1 if messages else 0


def _where(e: BaseException) -> str:
    frames = traceback.extract_tb(e.__traceback__)
    own = [f for f in frames if "lmm" in Path(f.filename).parts] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"


def _reset_peak() -> None:
    """Forget the peak of resident memory so far (Linux; elsewhere the peak is the process's)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak_mib() -> float:
    try:
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
