"""Questions over a WebSocket: files in, then questions; answers come back word by word.

First the client says which files it will send, one motion or two that are compared, and how to read them; then it sends
their bytes, in binary messages of up to 1 MiB, one file after the other:

    {"files": [{"name": "squat.bvh", "bytes": 48211}], "person": null, "units": null, ...}

When they are read it is told {"model": "assistant-small", "seconds": [7.5]}, and asks as often as it likes:

    {"question": "How many repetitions?", "temperature": 0, "seed": 0}

    {"piece": "There"}   {"piece": " are five."}   {"end": true, "text": "There are five.", "measured": [...], ...}

The end has all of `lmm.inference.ask.Answer.summary`. The assistant is told of the questions before. A question that
cannot be answered gets {"error": "what is wrong. What to do."}, and the next may be asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fastapi import WebSocket
from pydantic import BaseModel, ConfigDict, Field

import lmm
from lmm.core.errors import InputError, LmmError
from lmm.serving.limits import BODY_S, MAX_BODY
from lmm.serving.socket import Ended, close, ended_with_a_reason, receive

if TYPE_CHECKING:
    from lmm.inference.ask import Chat

T = TypeVar("T")
MAX_CHATS = 4
CHAT_IDLE_S = 600.0  # between two questions
UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


class Announced(BaseModel):
    """A file that will be sent."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=500)
    bytes: int = Field(gt=0, le=MAX_BODY)


class Hello(BaseModel):
    """What a client says first; see the module."""

    model_config = ConfigDict(extra="forbid")

    files: list[Announced] = Field(min_length=1, max_length=2)
    format: str | None = Field(None, pattern="^[a-z0-9_-]{1,40}$")
    source_fps: float | None = Field(None, gt=0, le=10_000)
    units: str | None = Field(None, pattern="^(mm|cm|m|in)$")
    up: str | None = Field(None, pattern="^-?[xyz]$")
    person: str | None = Field(None, max_length=200)


class Question(BaseModel):
    """What a client asks."""

    model_config = ConfigDict(extra="forbid")

    question: str = Field(max_length=10_000)
    temperature: float = Field(0.0, ge=0, le=10)
    seed: int = Field(0, ge=0, le=2**31)


def begin(paths: Sequence[Path], reading: dict[str, Any], model: str) -> Chat:
    """Return a chat about the motions in files, the first of them seen, too, if it is a video.

    `reading` are the options of `lmm.read`. Raises LmmError if a file cannot be read or holds several people.
    """
    from lmm.inference.ask import Chat, load_assistant

    assistant = load_assistant(model)
    motions = []
    for path in paths:
        people = lmm.read_people(path, **{k: v for k, v in reading.items() if k != "person"})
        wanted = reading.get("person")
        if len(people) > 1 and wanted is None:
            who = ", ".join(str(m.meta.get("person")) for m in people[:12])
            raise InputError(path, f"holds {len(people)} people or clips: {who}", "Choose one as person")
        motions.append(people[0] if wanted is None else lmm.read(path, **reading))
    filmed = assistant.config.video and motions[0].meta.get("format") == "video"
    return Chat(motions, assistant, paths[0] if filmed else None)


def safe(name: str) -> str:
    """Return a name for a file that a stranger sent, with its extension kept."""
    return UNSAFE.sub("_", Path(name).name)[-100:].lstrip(".") or "upload"


async def serve_chat(socket: WebSocket, state: Any) -> None:
    """Serve one client until it leaves or breaks a rule (close code 1008: the reason says which)."""
    await socket.accept()
    if state.chats >= MAX_CHATS:
        await close(socket, 1013, f"{MAX_CHATS} chats are open. Try again later.")
        return
    state.chats += 1
    try:
        async with ended_with_a_reason(socket):
            with tempfile.TemporaryDirectory(prefix="lmm-") as folder:
                chat = await _begun(socket, Path(folder), state)
            await socket.send_text(json.dumps({"model": chat.model, "seconds": [round(s, 3) for s in chat.seconds]}))
            while True:
                asked = Question.model_validate_json(await receive(socket, CHAT_IDLE_S))
                try:
                    await _answer(socket, chat, asked)
                except LmmError as e:
                    await socket.send_text(json.dumps({"error": str(e)}))
    finally:
        state.chats -= 1


async def _begun(socket: WebSocket, folder: Path, state: Any) -> Chat:
    """Take the files and read them."""
    hello = Hello.model_validate_json(await receive(socket))
    if sum(f.bytes for f in hello.files) > MAX_BODY:
        raise Ended(1009, f"the files are over {MAX_BODY >> 20} MiB. Send shorter takes.")
    paths = []
    try:
        async with asyncio.timeout(BODY_S):
            for i, file in enumerate(hello.files):
                (folder / str(i)).mkdir()
                paths.append(folder / str(i) / safe(file.name))
                await _taken(socket, paths[-1], file.bytes)
    except TimeoutError:
        raise Ended(1008, f"the files did not come within {BODY_S:g} s. Send them faster.") from None
    reading = hello.model_dump(exclude={"files"})
    return await _in_pool(state, lambda: begin(paths, reading, state.assistant))


async def _taken(socket: WebSocket, path: Path, size: int) -> None:
    left = size
    with path.open("wb") as out:
        while left:
            piece = await receive(socket)
            if isinstance(piece, str):
                raise LmmError("the bytes of a file must come in binary messages.")
            if not 0 < len(piece) <= left:
                raise LmmError(f"a message of {len(piece)} bytes came where {left} are left of the file.")
            out.write(piece)
            left -= len(piece)


async def _in_pool(state: Any, job: Callable[[], T]) -> T:
    """Run a job where those of HTTP run. An error names the file, and not the folder in which it lay."""
    try:
        return await asyncio.get_running_loop().run_in_executor(state.pool, job)
    except InputError as e:
        raise LmmError(f"{Path(e.source).name}: {e.reason}") from None


async def _answer(socket: WebSocket, chat: Chat, asked: Question) -> None:
    """Send an answer as it is said."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[str | Exception | None] = asyncio.Queue()  # an answer is short
    left = threading.Event()

    def put(item: str | Exception | None) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, item)

    def speak() -> None:
        try:
            for piece in chat.stream(asked.question, asked.temperature, asked.seed):
                if left.is_set():
                    return
                put(piece)
            put(None)
        except Exception as e:  # whatever it is, nobody is to wait for more
            put(e)

    threading.Thread(target=speak, name="chat", daemon=True).start()
    try:
        while (item := await queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            await socket.send_text(json.dumps({"piece": item}))
    finally:
        left.set()
    await socket.send_text(json.dumps({"end": True, **chat.answers[-1].summary()}))
