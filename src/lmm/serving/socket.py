"""One live stream over a WebSocket: JSON in, or binary; forecasts out, as many as can be made.

First the client says what it will send, then it sends frames:

    {"skeleton": "coco_17", "space": "image", "size": [1280, 720], "samples": 10, "seconds": 2.0, "binary": false}
    {"time": 0.033, "points": [[x, y, confidence], ...]}      or, binary: float64 time, then float32 (J, 3)

and whenever the newest frames have been forecast, it gets

    {"time": 3.2, "latency_s": 0.05, "skipped": 1, "fps": 15.0, "shape": [samples, frames, 25, 2], "points": [...]}

`time` is that of the last frame seen, `latency_s` from when that came to when the answer leaves, `skipped` how many
frames came since the forecast before without one of their own. With "binary" the answer is binary: uint32 length of the
JSON (without points), the JSON, float32 points. Little-endian. NaN (JSON: null) where a joint was never seen. In
``world`` space points are x, y, z in metres, y up, and confidence.
"""

from __future__ import annotations

import asyncio
import json
import math
import struct
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import numpy as np
from fastapi import WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmm.core.errors import LmmError
from lmm.serving.limits import IDLE_S, MAX_CLIENTS, MAX_MESSAGE
from lmm.serving.live import MAX_RATE, MEMORY_S, Engine, Stream, Wish

MAX_SAMPLES, MAX_SECONDS = 50, 4.0


class Hello(BaseModel):
    """What a client says first; see the module."""

    model_config = ConfigDict(extra="forbid")

    skeleton: str = Field("body_25", max_length=40)
    space: Literal["image", "world"] = "image"
    size: tuple[int, int] | None = None
    samples: int = Field(10, ge=1, le=MAX_SAMPLES)
    seconds: float = Field(2.0, gt=0, le=MAX_SECONDS)
    binary: bool = False


class Ended(Exception):
    """The stream is closed with this code and reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def serve_stream(socket: WebSocket, state: Any) -> None:
    """Serve one client until it leaves, breaks a rule (close code 1008: the reason says which), or is idle."""
    await socket.accept()
    if state.clients >= MAX_CLIENTS:
        await socket.close(1013, f"{MAX_CLIENTS} live streams are open. Try again later.")
        return
    state.clients += 1
    try:
        async with ended_with_a_reason(socket):
            hello = _hello(await receive(socket))
            stream = Stream(Wish(hello.skeleton, hello.space, hello.size, hello.seconds, hello.samples))
            await _stream(socket, stream, state.engine, hello.binary)
    finally:
        state.clients -= 1


@asynccontextmanager
async def ended_with_a_reason(socket: WebSocket) -> AsyncIterator[None]:
    """Close the socket, with a reason, if what is done within fails by the client's fault; it leaving is none."""
    try:
        yield
    except WebSocketDisconnect:
        pass
    except Ended as e:
        await close(socket, e.code, e.reason)
    except ValidationError as e:
        first = e.errors()[0]
        await close(socket, 1008, f"{'.'.join(map(str, first['loc'])) or 'the message'}: {first['msg']}")
    except LmmError as e:
        await close(socket, 1008, str(e))


async def close(socket: WebSocket, code: int, reason: str) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):  # who has left needs no reason
        await socket.close(code, reason.encode()[:120].decode(errors="ignore"))


async def _stream(socket: WebSocket, stream: Stream, engine: Engine, binary: bool) -> None:
    fresh = asyncio.Event()
    # seconds of the frames since the last forecast, and when they came
    came: deque[tuple[float, float]] = deque(maxlen=round(MEMORY_S * MAX_RATE))
    last = -math.inf

    async def listen() -> None:
        while True:
            seconds, points = _frame(await receive(socket), stream)
            stream.add(seconds, points)
            came.append((seconds, time.perf_counter()))
            fresh.set()

    async def answer() -> None:
        nonlocal last
        while True:
            await fresh.wait()
            fresh.clear()
            found = await asyncio.wrap_future(engine.forecast(stream))
            if found.points is None or found.time <= last:  # another worker was faster, with newer frames
                continue
            last, skipped, at = found.time, -1, 0.0
            while came and came[0][0] <= found.time:
                (_, at), skipped = came.popleft(), skipped + 1
            told = {"time": found.time, "latency_s": round(time.perf_counter() - at, 4), "skipped": max(0, skipped)}
            await send(socket, {**told, "fps": found.fps}, found.points, binary)

    tasks = [asyncio.create_task(task()) for task in (listen, *[answer] * engine.workers)]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)  # gather would end in a cancellation of theirs where it is this one that is cancelled
        for task in tasks:
            _ = task.cancelled() or task.exception()  # looked at: asyncio tells no one of it


async def receive(socket: WebSocket, idle_s: float = IDLE_S) -> str | bytes:
    try:
        async with asyncio.timeout(idle_s):  # wait_for would swallow the task's end where a message is there already
            message = await socket.receive()
    except TimeoutError:
        raise Ended(1008, f"nothing came for {idle_s:g} s.") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1000))
    data: str | bytes = message["text"] if message.get("text") is not None else message["bytes"]
    if len(data) > MAX_MESSAGE:
        raise Ended(1009, f"a message is over {MAX_MESSAGE >> 20} MiB.")
    return data


def _hello(message: str | bytes) -> Hello:
    if isinstance(message, bytes):
        raise LmmError("the first message must be JSON that says what will be sent.")
    return Hello.model_validate_json(message)


def _frame(message: str | bytes, stream: Stream) -> tuple[float, Any]:
    if isinstance(message, bytes):
        size = 8 + 4 * stream.skeleton.num_joints * (stream.dims + 1)
        if len(message) != size:
            raise LmmError(f"a binary frame has {size} bytes, got {len(message)}.")
        (seconds,) = struct.unpack_from("<d", message)
        return seconds, np.frombuffer(message, "<f4", offset=8).reshape(stream.skeleton.num_joints, stream.dims + 1)
    try:
        told = json.loads(message)
        points = [[np.nan if v is None else float(v) for v in joint] for joint in told["points"]]
        return float(told["time"]), np.array(points, np.float32)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        raise LmmError('a frame is {"time": seconds, "points": [[x, y, confidence], ...]}.') from None


async def send(socket: WebSocket, told: dict[str, Any], points: Any, binary: bool) -> None:
    told["shape"] = points.shape
    if binary:
        head = json.dumps(told).encode()
        await socket.send_bytes(struct.pack("<I", len(head)) + head + points.astype("<f4").tobytes())
    else:
        rounded = np.round(points.astype(float), 3).astype(object)
        rounded[~np.isfinite(points)] = None
        await socket.send_text(json.dumps({**told, "points": rounded.tolist()}))
