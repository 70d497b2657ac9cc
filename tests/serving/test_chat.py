"""Questions over HTTP and over a WebSocket, with an assistant that is real and tiny."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("transformers", reason="needs the extra language")
import uvicorn
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from assistants import LEARNT
from lmm.core.errors import LmmError
from lmm.datasets.synthetic import repetitions
from lmm.inference.ask import ask
from lmm.serving import chat as serving
from lmm.serving.api import create_app
from lmm.serving.client import Client
from lmm.serving.limits import MAX_BODY

HOW_MANY, WHICH_ARM, *_ = LEARNT


@pytest.fixture(scope="module")
def client(tiny_assistant: str) -> Iterator[Any]:
    with TestClient(create_app("zero-velocity", 1, assistant=tiny_assistant)) as client:
        yield client


@pytest.fixture
def squat(tmp_path: Path) -> Path:
    return repetitions(4).save(tmp_path / "squat.lmm.npz")[0]


def begun(connection: Any, *paths: Path, piece: int = 1 << 14) -> Any:
    files = [{"name": p.name, "bytes": p.stat().st_size} for p in paths]
    connection.send_text(json.dumps({"files": files}))
    for path in paths:
        data = path.read_bytes()
        for i in range(0, len(data), piece):
            connection.send_bytes(data[i : i + piece])
    return connection.receive_json()


def answered(connection: Any, question: str) -> tuple[str, dict[str, Any]]:
    connection.send_text(json.dumps({"question": question}))
    said = ""
    while "piece" in (told := connection.receive_json()):
        said += told["piece"]
    return said, told


def test_over_http_as_in_python(client: Any, squat: Path, tiny_assistant: str) -> None:
    with squat.open("rb") as file:
        told = client.post("/v1/ask", params={"question": HOW_MANY}, files={"file": ("squat.lmm.npz", file)})
    assert told.status_code == 200
    here = ask(repetitions(4), HOW_MANY, tiny_assistant).summary()
    assert told.json() == here
    assert told.json()["text"] == LEARNT[HOW_MANY]
    assert told.json()["disagreement"] == "The answer says 5; measured is repetitions: 4."


def test_two_motions_over_http(client: Any, squat: Path) -> None:
    with squat.open("rb") as one, squat.open("rb") as two:
        files = {"file": ("a.lmm.npz", one), "second": ("b.lmm.npz", two)}
        told = client.post("/v1/ask", params={"question": HOW_MANY}, files=files).json()
    assert {k["motion"] for k in told["key_frames"]} == {0, 1}


def test_what_cannot_be_asked_over_http(client: Any, squat: Path) -> None:
    def refused(data: bytes, question: str, **more: Any) -> tuple[int, str]:
        answer = client.post("/v1/ask", params={"question": question, **more}, files={"file": ("a.lmm.npz", data)})
        return answer.status_code, answer.json()["error"]

    data = squat.read_bytes()
    assert refused(data, "?!") == (400, "the question is empty. Ask something, such as 'How many repetitions?'.")
    assert refused(data, "x" * 2000)[0] == 422
    status, told = refused(b"nothing", HOW_MANY)
    assert (status, told.startswith("a.lmm.npz: ")) == (400, True)
    assert refused(data, HOW_MANY, model="/etc")[0] == 422


def test_a_chat_streams_answers_and_goes_on(client: Any, squat: Path) -> None:
    with client.websocket_connect("/v1/chat") as connection:
        assert begun(connection, squat) == {"model": "assistant-tiny", "seconds": [pytest.approx(10, abs=0.05)]}
        said, told = answered(connection, HOW_MANY)
        assert said == told["text"] == LEARNT[HOW_MANY]
        assert told["end"] is True
        assert told["disagreement"] == "The answer says 5; measured is repetitions: 4."
        assert answered(connection, "?!") == ("", {"error": told_of_nothing()})
        assert answered(connection, WHICH_ARM)[1]["measured"][0]["value"] == "right"


def told_of_nothing() -> str:
    return "the question is empty. Ask something, such as 'How many repetitions?'."


@pytest.mark.parametrize(
    ("hello", "data", "reason"),
    [
        ("no json", None, "Invalid JSON"),
        ('{"files": []}', None, "files"),
        ('{"files": [{"name": "a.bvh", "bytes": 99999999999}]}', None, "files.0.bytes"),
        ('{"files": [{"name": "a.bvh", "bytes": 5}], "speed": 2}', None, "speed"),
        ('{"files": [{"name": "a.bvh", "bytes": 5}]}', b"nothing", "7 bytes came where 5"),
        ('{"files": [{"name": "../../a.bvh", "bytes": 7}]}', b"nothing", "a.bvh: "),
        ('{"files": [{"name": "a.bvh", "bytes": 7}]}', "nothing", "binary messages"),
    ],
)
def test_what_ends_a_chat(client: Any, hello: str, data: bytes | str | None, reason: str) -> None:
    with client.websocket_connect("/v1/chat") as connection:
        connection.send_text(hello)
        if data is not None:
            (connection.send_text if isinstance(data, str) else connection.send_bytes)(data)
        with pytest.raises(WebSocketDisconnect) as ended:
            connection.receive_json()
    assert ended.value.code == 1008
    assert reason in ended.value.reason


def test_too_large_too_many_too_idle(client: Any, squat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half = MAX_BODY // 2 + 1
    with client.websocket_connect("/v1/chat") as connection:
        connection.send_text(json.dumps({"files": [{"name": "a", "bytes": half}] * 2}))
        with pytest.raises(WebSocketDisconnect) as ended:
            connection.receive_json()
    assert ended.value.code == 1009
    monkeypatch.setattr(serving, "MAX_CHATS", 1)
    monkeypatch.setattr(serving, "CHAT_IDLE_S", 0.5)
    with client.websocket_connect("/v1/chat") as first, client.websocket_connect("/v1/chat") as second:
        with pytest.raises(WebSocketDisconnect) as ended:
            second.receive_json()
        assert "chats are open" in ended.value.reason
        begun(first, squat)
        with pytest.raises(WebSocketDisconnect) as ended:
            first.receive_json()
        assert "nothing came for 0.5 s" in ended.value.reason


def test_the_client_talks_to_a_real_server(tiny_assistant: str, squat: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    app = create_app("zero-velocity", 1, assistant=tiny_assistant)
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        client = Client(f"http://127.0.0.1:{port}")
        assert client.ask(squat, HOW_MANY)["text"] == LEARNT[HOW_MANY]
        with client.chat(squat, squat) as talk:
            assert "".join(talk.stream(HOW_MANY)) == talk.answer["text"]
            with pytest.raises(LmmError, match="the question is empty"):
                list(talk.stream(" "))
        with pytest.raises(LmmError, match=r"test_chat\.py: "):
            client.chat(Path(__file__))
    finally:
        server.should_exit = True
        thread.join(20)


def test_two_who_ask_at_once_get_what_each_would_alone(client: Any, squat: Path) -> None:
    alone, said = [], []
    with client.websocket_connect("/v1/chat") as connection:
        begun(connection, squat)
        alone.append(answered(connection, HOW_MANY))

    def one() -> None:
        with client.websocket_connect("/v1/chat") as connection:
            begun(connection, squat)
            said.append(answered(connection, HOW_MANY))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert said == alone * 2
