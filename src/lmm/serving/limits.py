"""What a server takes from strangers: how much, how long, and how many at once.

`Limits` wraps an ASGI application (https://asgi.readthedocs.io). A body that is too long, or comes too slowly, is
refused while it comes, and never kept whole; so is one more request than MAX_AT_ONCE.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

MAX_BODY = 64 << 20  # bytes of an upload
BODY_S = 60.0  # in which it must come
MAX_AT_ONCE = 16  # requests
JOB_S = 120.0  # in which an answer must begin
MAX_CLIENTS = 16  # live streams
MAX_MESSAGE = 1 << 20  # bytes of a message of a live stream
IDLE_S = 60.0  # a live stream without a message is ended

TOLD = (
    f"Limits: bodies of {MAX_BODY >> 20} MiB that come within {BODY_S:g} s, {MAX_AT_ONCE} requests at once, "
    f"answers within {JOB_S:g} s; {MAX_CLIENTS} live streams, messages of {MAX_MESSAGE >> 20} MiB, {IDLE_S:g} s "
    "without a message. What is over them is refused with 413, 408, 503 or 504 (a live stream: closed with code "
    "1008, 1009 or 1013)."
)


class _TooMuch(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class Limits:
    """The application `app`, within these limits. Errors are JSON, {"error": "what is wrong. What to do."}."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._now = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope.get("path") == "/v1/health":
            await self.app(scope, receive, send)
            return
        began, taken, whole, deadline = False, 0, False, asyncio.get_running_loop().time() + BODY_S
        refused: _TooMuch | None = None

        async def bounded() -> Any:
            nonlocal taken, whole, refused
            if whole:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                refused = _TooMuch(408, f"the body did not come within {BODY_S:g} s. Send it faster.")
                raise refused from None
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if taken > MAX_BODY:
                refused = _TooMuch(413, f"the body is over {MAX_BODY >> 20} MiB. Send a shorter take.")
                raise refused
            return message

        async def told(message: Any) -> None:
            nonlocal began
            if refused is None:  # else the application, which took it for a damaged body, would answer something else
                began = True
                await send(message)

        told_length = dict(scope["headers"]).get(b"content-length", b"0")
        self._now += 1
        try:
            if self._now > MAX_AT_ONCE:
                raise _TooMuch(503, f"{MAX_AT_ONCE} requests are in work. Try again in a moment.")
            if told_length.isdigit() and int(told_length) > MAX_BODY:
                raise _TooMuch(413, f"the body is over {MAX_BODY >> 20} MiB. Send a shorter take.")
            async with asyncio.timeout(BODY_S + JOB_S):
                await self.app(scope, bounded, told)
        except _TooMuch as e:
            refused = e
        except TimeoutError:
            refused = _TooMuch(504, f"no answer within {JOB_S:g} s. Send less.")
        finally:
            self._now -= 1
        if refused is not None and not began:
            await _refuse(send, refused)


async def _refuse(send: Any, refused: _TooMuch) -> None:
    body = json.dumps({"error": refused.error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
