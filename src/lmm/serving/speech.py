"""Text to motion over a WebSocket: words in, frames out as they are made; more words go on from there.

    {"text": "a person waves", "seconds": null, "seed": 0, "steps": 10, "guidance": null, "binary": false}

is answered by pieces of four frames, at 30 frames a second, of BODY_25 in metres, y up (null where the codec lacks the
joint), and by an end:

    {"time": 0.0, "fps": 30.0, "shape": [4, 25, 3], "points": [...]}        {"end": true, "seconds": 3.2}

With "binary" a piece is binary: uint32 length of the JSON (without points), the JSON, float32 points. Little-endian.
A client that reads slowly slows the making: at most QUEUED pieces wait for it. A next text continues the motion.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from fastapi import WebSocket
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from lmm.core.motion import Motion
from lmm.inference.generate import Settings, assembled, stream
from lmm.inference.speaker import MAX_PROMPT, load_speaker
from lmm.pipeline.codec_features import FPS
from lmm.serving.socket import close, ended_with_a_reason, receive, send

MAX_SPEAKING, MAX_SECONDS = 2, 600.0
QUEUED = 16  # pieces: two seconds of motion

Array = NDArray[Any]


class Wish(BaseModel):
    """What a client asks for; see the module and `inference.generate.Settings`."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(max_length=4 * MAX_PROMPT)
    seconds: float | None = Field(None, gt=0, le=MAX_SECONDS)
    seed: int = Field(0, ge=0, le=2**31)
    steps: int = Field(10, ge=1, le=100)
    guidance: float | None = Field(None, ge=0, le=20)
    binary: bool = False


async def serve_speech(socket: WebSocket, state: Any) -> None:
    """Serve one client until it leaves or breaks a rule (close code 1008: the reason says which)."""
    await socket.accept()
    if state.speaking >= MAX_SPEAKING:
        await close(socket, 1013, f"{MAX_SPEAKING} motions are being made. Try again later.")
        return
    state.speaking += 1
    before: Motion | None = None
    try:
        async with ended_with_a_reason(socket):
            while True:
                wish = Wish.model_validate_json(await receive(socket))
                before = await _speak(socket, state.speaker, wish, before)
    finally:
        state.speaking -= 1


async def _speak(socket: WebSocket, model: str, wish: Wish, before: Motion | None) -> Motion:
    """Send a motion as it is made; return it, to be continued."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Array | Exception | None] = asyncio.Queue()
    room, left = threading.Semaphore(QUEUED), threading.Event()
    settings = Settings(wish.seconds, wish.seed, wish.steps, guidance=wish.guidance)

    def put(item: Array | Exception | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def make() -> None:
        try:
            for piece in _until(left, room, stream(wish.text, model, settings, before)):
                put(piece)
            put(None)
        except Exception as e:  # whatever it is, nobody is to wait for more
            put(e)

    thread = threading.Thread(target=make, name="speech", daemon=True)
    thread.start()
    pieces: list[Array] = []
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            told = {"time": round(4 * len(pieces) / FPS, 4), "fps": float(FPS)}
            pieces.append(item)
            await send(socket, told, item, wish.binary)
            room.release()
    finally:
        left.set()
        room.release()
    motion = assembled(pieces, wish.text, load_speaker(model), settings)
    await socket.send_text(json.dumps({"end": True, "seconds": round(motion.seconds, 4)}))
    return motion


def _until(left: threading.Event, room: threading.Semaphore, pieces: Iterator[Array]) -> Iterator[Array]:
    """Yield pieces as long as there is room for them and somebody to read them."""
    for piece in pieces:
        room.acquire()
        if left.is_set():
            return
        yield np.asarray(piece, np.float32)
