"""`map_shards`: the one interface through which ingest uses more than one process, or a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from lmm.core.errors import LmmError

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_shards(
    function: Callable[[Job], Result], jobs: list[Job], workers: int = 1, engine: str = "local"
) -> Iterator[Result]:
    """Yield ``function(job)`` for each job as it ends, in any order, in `workers` processes or on a Ray cluster.

    `function` must be importable and its results must not depend on the order. Interrupting leaves finished jobs done.
    Raises LmmError if a worker process dies, or Ray is asked for and not installed.
    """
    if engine == "ray":
        yield from _ray(function, jobs, workers)
    elif workers <= 1 or len(jobs) <= 1:
        yield from map(function, jobs)
    else:
        yield from _local(function, jobs, workers)


def _local(function: Callable[[Any], Any], jobs: list[Any], workers: int) -> Iterator[Any]:
    # fork needs no guard around the caller's script and starts at once; elsewhere the platform's own way
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_quiet_worker)
    try:
        todo = iter(jobs)
        running = {pool.submit(function, job) for _, job in zip(range(2 * workers), todo, strict=False)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
                running |= {pool.submit(function, job) for _, job in zip(range(1), todo, strict=False)}
    except BrokenProcessPool:
        raise LmmError(
            "a worker process died (out of memory, or a damaged file crashed a library). "
            "Run again with --resume --workers 1 to see at which file."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        # an interrupt while the pool starts leaves workers that nobody will tell to go
        for child in multiprocessing.active_children():
            if child not in others:
                child.kill()


def _quiet_worker() -> None:
    """Leave Ctrl-C to the parent, give each worker one thread, and let no worker outlive a parent that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(1)


def _ray(function: Callable[[Any], Any], jobs: list[Any], workers: int) -> Iterator[Any]:
    try:
        import ray
    except ImportError:
        raise LmmError(
            "--engine ray needs Ray. Install it with: pip install 'large-movement-model[cluster]'."
        ) from None
    own = not ray.is_initialized()
    if own:
        ray.init(num_cpus=max(workers, 1), include_dashboard=False, log_to_driver=False, configure_logging=False)
    try:
        remote = ray.remote(num_cpus=1)(function)
        todo = iter(jobs)
        running = [remote.remote(job) for _, job in zip(range(2 * max(workers, 1)), todo, strict=False)]
        while running:
            done, running = ray.wait(running)
            for reference in done:
                yield ray.get(reference)
                running += [remote.remote(job) for _, job in zip(range(1), todo, strict=False)]
    finally:
        if own:
            ray.shutdown()
