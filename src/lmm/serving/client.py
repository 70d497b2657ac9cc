"""A client of `lmm serve`: files over HTTP, live forecasts over a WebSocket."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lmm
from lmm.core.errors import LmmError
from lmm.core.motion import Motion

Array = NDArray[Any]
TIMEOUT_S = 180.0
PIECE = 1 << 19  # bytes of a message


@dataclass(frozen=True, eq=False)
class LiveForecast:
    """`points` (samples, frames, 25, D) after `time`, at `fps`; `latency_s` and `skipped` as the server tells them."""

    time: float
    fps: float
    points: Array
    latency_s: float
    skipped: int


class Client:
    """Talks to the server at `url`. Raises LmmError with the server's own words."""

    def __init__(self, url: str = "http://127.0.0.1:8000") -> None:
        import httpx

        self.url = url.rstrip("/")
        self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT_S)

    def info(self, path: str | Path, **options: Any) -> dict[str, Any]:
        """Return what is in a file; `options` are those of reading: format, source_fps, units, up, person."""
        return dict(self._post("info", path, options).json())

    def analyse(self, path: str | Path, **options: Any) -> dict[str, Any]:
        """Return what the server measures of a file."""
        return dict(self._post("analyse", path, options).json())

    def forecast(self, path: str | Path, seconds: float = 2.0, samples: int = 1, **options: Any) -> Motion:
        """Return the forecast of a file's motion."""
        answer = self._post("forecast", path, {"seconds": seconds, "samples": samples, **options, "to": ".lmm.npz"})
        with tempfile.TemporaryDirectory(prefix="lmm-") as folder:
            file = Path(folder) / "forecast.lmm.npz"
            file.write_bytes(answer.content)
            motion: Motion = lmm.read(file)
        return motion

    def convert(self, path: str | Path, out: str | Path, **options: Any) -> Path:
        """Write a file's motion to `out`, whose extension says the format."""
        out = Path(out)
        to = ".lmm.npz" if out.name.endswith(".lmm.npz") else out.suffix
        out.write_bytes(self._post("convert", path, {**options, "to": to}).content)
        return out

    def live(self, skeleton: str = "body_25", space: str = "image", **hello: Any) -> Live:
        """Open a live stream: `hello` has size, samples, seconds (see `lmm.serving.socket`)."""
        return Live(self.url.replace("http", "ws", 1) + "/v1/live", {"skeleton": skeleton, "space": space, **hello})

    def say(self, text: str, **wish: Any) -> Iterator[Array]:
        """Yield places (4, 25, 3) in metres at 30 FPS, as the server makes a motion of `text`.

        `wish` has seconds, seed, steps, guidance (see `lmm.serving.speech`).
        """
        with _opened(self.url.replace("http", "ws", 1) + "/v1/say") as connection:
            _guarded(lambda: connection.send(json.dumps({"text": text, **wish, "binary": True})))
            while isinstance(message := _guarded(connection.recv), bytes):
                yield _points(message)[1]

    def ask(self, path: str | Path, question: str, second: str | Path | None = None, **options: Any) -> dict[str, Any]:
        """Return the answer to a question about a file's motion, or about two; see `lmm.inference.ask.Answer`."""
        return dict(self._post("ask", path, {"question": question, **options}, second).json())

    def chat(self, *paths: str | Path, **reading: Any) -> Talk:
        """Begin a chat about one file's motion, or two that are compared."""
        return Talk(self.url.replace("http", "ws", 1) + "/v1/chat", [Path(p) for p in paths], reading)

    def _post(self, what: str, path: str | Path, options: dict[str, Any], second: str | Path | None = None) -> Any:
        import httpx

        sent = {"file": Path(path)} | ({} if second is None else {"second": Path(second)})
        given = {k: v for k, v in options.items() if v is not None}
        try:
            with ExitStack() as kept:
                files = {name: (p.name, kept.enter_context(p.open("rb"))) for name, p in sent.items()}
                answer = self._http.post(f"/v1/{what}", params=given, files=files)
        except (OSError, httpx.HTTPError) as e:
            raise LmmError(f"{path} could not be sent to {self.url} ({e or type(e).__name__}).") from None
        if answer.status_code != 200:
            raise LmmError(_said(answer))
        return answer


class Live:
    """A live stream, as a context manager: `send` frames, `receive` forecasts."""

    def __init__(self, url: str, hello: dict[str, Any]) -> None:
        self._socket = _opened(url)
        self._socket.send(json.dumps({**hello, "binary": True}))

    def send(self, seconds: float, points: Array) -> None:
        """Send a frame (J, D + 1), coordinates and confidence, seen at `seconds`."""
        _guarded(lambda: self._socket.send(struct.pack("<d", seconds) + np.asarray(points, "<f4").tobytes()))

    def receive(self, timeout: float | None = None) -> LiveForecast | None:
        """Return the next forecast, or None if none came within `timeout` seconds."""
        try:
            message = _guarded(lambda: self._socket.recv(timeout))
        except TimeoutError:
            return None
        told, points = _points(message)
        return LiveForecast(told["time"], told["fps"], points, told["latency_s"], told["skipped"])

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


class Talk:
    """A chat, as a context manager: `stream` the answer to a question, whose end is then in `answer`."""

    def __init__(self, url: str, paths: list[Path], reading: dict[str, Any]) -> None:
        data = [p.read_bytes() for p in paths]
        files = [{"name": p.name, "bytes": len(d)} for p, d in zip(paths, data, strict=True)]
        self.answer: dict[str, Any] = {}
        self._socket = _opened(url)
        _guarded(lambda: self._socket.send(json.dumps({"files": files, **reading})))
        for part in (d[i : i + PIECE] for d in data for i in range(0, len(d), PIECE)):
            _guarded(partial(self._socket.send, part))
        self.model = json.loads(_guarded(self._socket.recv))["model"]

    def stream(self, question: str, **how: Any) -> Iterator[str]:
        """Yield an answer piece by piece; `how` has temperature and seed."""
        _guarded(lambda: self._socket.send(json.dumps({"question": question, **how})))
        while "piece" in (told := json.loads(_guarded(self._socket.recv))):
            yield told["piece"]
        if "error" in told:
            raise LmmError(told["error"])
        self.answer = told

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def _opened(url: str) -> Any:
    from websockets.sync.client import connect

    try:
        return connect(url, max_size=None)
    except OSError as e:
        raise LmmError(f"{url} does not answer ({e}). Start lmm serve there.") from None


def _guarded(act: Callable[[], Any]) -> Any:
    from websockets.exceptions import ConnectionClosed

    try:
        return act()
    except ConnectionClosed as e:
        reason = (e.rcvd and e.rcvd.reason) or "the connection broke"
        raise LmmError(f"the stream ended: {reason}") from None


def _points(message: bytes) -> tuple[dict[str, Any], Array]:
    """Return what the server tells, and the points that follow."""
    (length,) = struct.unpack_from("<I", message)
    told = json.loads(message[4 : 4 + length])
    return told, np.frombuffer(message, "<f4", offset=4 + length).reshape(told["shape"])


def _said(answer: Any) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"the server answered {answer.status_code}."
