"""Live forecasts: frames of people come in, at any rate; the newest state of each is forecast, again and again.

An `Engine` has worker processes of one thread each, since networks this small gain little from more. A worker that is
free takes the streams that have waited longest, as many as share the work evenly, with the newest frames of each, and
forecasts them as one batch. What came before is never forecast by itself: a stream is as far behind as one forecast
takes, whatever it sends, and keeps no more than MEMORY_S of frames.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError, MotionError
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.inference.rollout import roll_out
from lmm.pipeline.convert import to_body25
from lmm.pipeline.resample import resample
from lmm.skeletons import table

Array = NDArray[Any]

MEMORY_S = 9.0  # of frames that a stream keeps: a context, and what its filter needs
MAX_RATE = 240.0  # frames a second; faster ones are dropped
LEAST_FRAMES = 5  # at the model's rate, before a stream is forecast
MAX_BATCH = 8


@dataclass(frozen=True)
class Wish:
    """What a stream wants: its `skeleton` (a table's name), `space`, image `size`, seconds and number of samples."""

    skeleton: str
    space: Literal["image", "world"]
    size: tuple[int, int] | None
    seconds: float
    samples: int


class Forecasted(NamedTuple):
    """After the frame at `time`: `points` float32 (samples, frames, 25, D) at `fps`; None while too little is seen."""

    time: float
    fps: float
    points: Array | None


class Stream:
    """The last frames of one person."""

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.skeleton: Skeleton = table(wish.skeleton).skeleton
        self.dims = 2 if wish.space == "image" else 3
        self._frames: deque[tuple[float, Array]] = deque()
        self._lock = threading.Lock()

    def add(self, seconds: float, points: Any) -> None:
        """Keep a frame (J, D + 1): coordinates and confidence, 0 or NaN where a joint is missing.

        Raises MotionError unless it comes after the one before, and has this shape.
        """
        frame = np.asarray(points, np.float32)
        if frame.shape != (self.skeleton.num_joints, self.dims + 1):
            raise MotionError(
                f"a frame must hold {self.skeleton.num_joints} joints of {self.dims} coordinates and a confidence, "
                f"got shape {frame.shape}."
            )
        with self._lock:
            last = self._frames[-1][0] if self._frames else -np.inf
            if not np.isfinite(seconds) or seconds <= last:
                raise MotionError("frames must come with increasing finite times, in seconds.")
            if seconds - last < 1 / MAX_RATE:
                return
            self._frames.append((float(seconds), frame))
            while seconds - self._frames[0][0] > MEMORY_S:
                self._frames.popleft()

    def recent(self) -> tuple[Array, Array]:
        """Return the times (T,) and frames (T, J, D + 1) that are kept."""
        with self._lock:
            kept = list(self._frames)
        empty = np.zeros((0, self.skeleton.num_joints, self.dims + 1), np.float32)
        return np.array([t for t, _ in kept]), np.stack([f for _, f in kept]) if kept else empty


def context_of(wish: Wish, times: Array, frames: Array, fps: float) -> Motion | None:
    """Return frames as BODY_25 at `fps`, or None as long as there are too few."""
    if len(times) < 2 or times[-1] - times[0] < (LEAST_FRAMES - 0.5) / fps:
        return None
    confidence = np.clip(np.nan_to_num(frames[..., -1]), 0, 1)
    rate = float(1 / np.median(np.diff(times)))
    skeleton = table(wish.skeleton).skeleton
    given = make_motion(frames[..., :-1], rate, skeleton, wish.space, confidence, size=wish.size, times=times)
    motion = resample(to_body25(given), fps)
    # the clock of a camera never fits a regular one: the last frame is the last that came
    motion = motion.replace(start_s=float(times[-1]) - (motion.num_frames - 1) / fps)
    return motion if motion.observed.any() else None


class Engine:
    """Forecasts streams with a `model`'s network for their layout, in `workers` processes; `close` ends them."""

    def __init__(self, model: str, workers: int) -> None:
        self.workers, self.forecasts = workers, 0
        self._model, self._open = model, True
        self._waiting: deque[tuple[Stream, Future[Forecasted]]] = deque()
        self._wake = threading.Condition()
        self._threads = [threading.Thread(target=self._serve, name=f"forecasts {i}") for i in range(workers)]
        for thread in self._threads:
            thread.start()

    def forecast(self, stream: Stream) -> Future[Forecasted]:
        """Return the future of a stream's forecast: of the frames that it will have when a worker takes it."""
        future: Future[Forecasted] = Future()
        with self._wake:
            if not self._open:
                raise LmmError("the server is closing.")
            self._waiting.append((stream, future))
            self._wake.notify()
        return future

    def close(self) -> None:
        with self._wake:
            self._open = False
            for _, future in self._waiting:
                future.cancel()
            self._wake.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        """Feed one worker process; start another where one has died, and once more where one dies of it."""
        process, ours = _worker(self._model)
        while taken := self._take():
            answers: list[Any] = [LmmError("the forecasting process ended. Try again.")] * len(taken)
            for _ in range(2):
                try:
                    ours.send([(s.wish, *s.recent()) for s, _ in taken])
                    answers = ours.recv()
                    break
                except (EOFError, OSError):
                    ours.close()
                    process.kill()
                    process.join()
                    process, ours = _worker(self._model)
            self.forecasts += sum(isinstance(a, Forecasted) and a.points is not None for a in answers)
            for (_, future), answer in zip(taken, answers, strict=True):
                with suppress(InvalidStateError):  # whoever asked has left
                    if isinstance(answer, Exception):
                        future.set_exception(answer)
                    else:
                        future.set_result(answer)
        ours.close()
        process.join(5)
        process.kill()

    def _take(self) -> list[tuple[Stream, Future[Forecasted]]]:
        """Return the streams to forecast next, when there are some; none when the engine is closed."""
        with self._wake:
            while self._open and not self._waiting:
                self._wake.wait()
            if not self._open:
                return []
            share = min(MAX_BATCH, -(-len(self._waiting) // self.workers))
            return [self._waiting.popleft() for _ in range(share)]


def _worker(model: str) -> tuple[Any, Any]:
    """Start a worker process; return it, and our end of its pipe."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=work, args=(theirs, model), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def work(pipe: Any, model: str) -> None:
    """Answer batches of (wish, times, frames) that come through `pipe`, until it is closed: a worker's whole life."""
    import signal

    import torch

    from lmm.models.loading import load

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    networks: dict[str, Any] = {}
    while True:
        try:
            asked = pipe.recv()
        except EOFError:
            return
        answers: list[Any] = [None] * len(asked)
        groups: dict[tuple[str, float, int], list[tuple[int, Motion]]] = {}
        for i, (wish, times, frames) in enumerate(asked):
            layout: Literal["xyc", "xyz"] = "xyc" if wish.space == "image" else "xyz"
            try:
                if layout not in networks:
                    networks[layout] = load(model, layout)
                fps = networks[layout].features.fps
                context = context_of(wish, times, frames, fps)
            except LmmError as e:
                answers[i] = e
                continue
            answers[i] = Forecasted(float(times[-1]) if len(times) else 0.0, fps, None)
            if context is not None:
                groups.setdefault((layout, wish.seconds, wish.samples), []).append((i, context))
        for (of, seconds, samples), some in groups.items():
            network = networks[of]
            frames = max(1, round(seconds * network.features.fps))
            for i, found in _forecast(network, some, frames, samples, generator):
                answers[i] = found if isinstance(found, Exception) else answers[i]._replace(points=found)
        pipe.send(answers)


def _forecast(network: Any, some: list[tuple[int, Motion]], frames: int, samples: int, generator: Any) -> Any:
    """Return (index, points or error) of contexts: together, or one by one where that fails."""
    try:
        found = roll_out([c for _, c in some], network, frames, samples, generator)
        return [(i, np.stack([f.positions for f in futures])) for (i, _), futures in zip(some, found, strict=True)]
    except LmmError as e:
        if len(some) == 1:
            return [(some[0][0], e)]
        return [one for item in some for one in _forecast(network, [item], frames, samples, generator)]
