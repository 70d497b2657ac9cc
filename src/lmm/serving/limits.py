"""What a server takes from strangers: how much, how long, and how many at once.

`Limits` wraps an ASGI application (https://asgi.readthedocs.io). A body that is too long, or comes too slowly, is
refused while it comes, and never kept whole; so is one more body than MAX_COMING. While it comes it holds no place
among the MAX_AT_ONCE requests in work.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

MAX_BODY = 64 << 20  # bytes of an upload
BODY_S = 60.0  # in which it must come
GRACE_S, LEAST_RATE = 5.0, 64 << 10  # after so long it must have come at so many bytes a second
MAX_COMING = 32  # bodies
MAX_AT_ONCE = 16  # requests in work
JOB_S = 120.0  # in which an answer must begin
MAX_CLIENTS = 16  # live streams
MAX_MESSAGE = 1 << 20  # bytes of a message of a live stream
IDLE_S = 60.0  # a live stream without a message is ended

TOLD = (
    f"Limits: bodies of {MAX_BODY >> 20} MiB that come within {BODY_S:g} s, after {GRACE_S:g} s at {LEAST_RATE >> 10} "
    f"KiB/s at least, {MAX_COMING} of them at once; {MAX_AT_ONCE} requests in work, "
    f"answers within {JOB_S:g} s; {MAX_CLIENTS} live streams, messages of {MAX_MESSAGE >> 20} MiB, {IDLE_S:g} s "
    "without a message. What is over them is refused with 413, 408, 503 or 504 (a live stream: closed with code "
    "1008, 1009 or 1013)."
)


_TOO_LONG = f"the body is over {MAX_BODY >> 20} MiB. Send a shorter take."


class _TooMuch(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status, self.error = status, error


class Limits:
    """The application `app`, within these limits. Errors are JSON, {"error": "what is wrong. What to do."}."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._coming = self._working = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope.get("path") == "/v1/health":
            await self.app(scope, receive, send)
            return
        began, taken, clock = False, 0, asyncio.get_running_loop().time
        start, refused = clock(), None
        headers = dict(scope["headers"])
        told_length = headers.get(b"content-length", b"0")
        coming = told_length != b"0" or b"transfer-encoding" in headers
        self._coming, self._working = self._coming + coming, self._working + (not coming)

        async def bounded() -> Any:
            nonlocal taken, coming, refused
            if not coming:
                return await receive()
            try:
                # the next piece may be late by as much as what has come is early
                async with asyncio.timeout_at(start + min(BODY_S, GRACE_S + taken / LEAST_RATE)):
                    message = await receive()
                taken += len(message.get("body", b""))
                if taken > MAX_BODY:
                    raise _TooMuch(413, _TOO_LONG)
                if not message.get("more_body", False):
                    coming = False
                    self._coming, self._working = self._coming - 1, self._working + 1
                    self._admit()
            except TimeoutError:
                refused = _TooMuch(408, "the body comes too slowly. Send it faster.")
                raise refused from None
            except _TooMuch as e:
                refused = e
                raise
            return message

        async def told(message: Any) -> None:
            nonlocal began
            if refused is None:  # else the application, which took it for a damaged body, would answer something else
                began = True
                if (
                    coming and message["type"] == "http.response.start"
                ):  # answered before all has come: nothing more is read
                    message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
                await send(message)

        try:
            self._admit()
            if told_length.isdigit() and int(told_length) > MAX_BODY:
                raise _TooMuch(413, _TOO_LONG)
            async with asyncio.timeout(BODY_S + JOB_S):
                await self.app(scope, bounded, told)
        except _TooMuch as e:
            refused = e
        except TimeoutError:
            refused = _TooMuch(504, f"no answer within {JOB_S:g} s. Send less.")
        except asyncio.CancelledError:  # as the server is told to end
            if began:
                raise
            refused = _TooMuch(503, "the server is closing. Try again later.")
        finally:
            self._coming, self._working = self._coming - coming, self._working - (not coming)
        if refused is not None and not began:
            await _refuse(send, refused)

    def _admit(self) -> None:
        """Raise _TooMuch if with the request that has just been counted there are too many."""
        if self._coming > MAX_COMING or self._working > MAX_AT_ONCE:
            raise _TooMuch(503, f"{self._coming + self._working - 1} requests are in work. Try again in a moment.")


async def _refuse(send: Any, refused: _TooMuch) -> None:
    body = json.dumps({"error": refused.error}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
