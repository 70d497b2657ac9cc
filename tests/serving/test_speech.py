"""Words over a WebSocket, with the model that comes with lmm."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra serve")
pytest.importorskip("transformers", reason="needs the extra language")
import uvicorn
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from lmm.core.errors import LmmError
from lmm.inference.generate import generate
from lmm.models.loading import speakers
from lmm.serving import speech
from lmm.serving.api import create_app
from lmm.serving.client import Client

SPEAKER = speakers()[0].name


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with TestClient(create_app("zero-velocity", 1)) as client:
        yield client


def pieces(connection: Any) -> list[Any]:
    out = []
    while not (told := connection.receive_json()).get("end"):
        out.append(np.array([[[np.nan if v is None else v for v in j] for j in f] for f in told["points"]], float))
        assert told["time"] == pytest.approx(4 * (len(out) - 1) / 30, abs=1e-3)
    assert told["seconds"] > 0
    return out


def test_words_come_back_as_motion_and_go_on(client: Any) -> None:
    with client.websocket_connect("/v1/say") as say:
        say.send_text(json.dumps({"text": "a person walks forward", "seconds": 2.0, "seed": 4}))
        first = np.concatenate(pieces(say))
        whole = generate("a person walks forward", SPEAKER, 2.0, 4)
        np.testing.assert_allclose(first[:60], whole.positions, atol=2e-3)
        say.send_text(json.dumps({"text": "the person turns left", "seconds": 1.0}))
        then = np.concatenate(pieces(say))
    hip = 8
    assert np.linalg.norm(then[0, hip] - first[59, hip]) < 0.2  # it goes on from there


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("no json", "Invalid JSON"),
        ('{"text": ""}', "the prompt is empty"),
        ('{"text": "' + "walk " * 2000 + '"}', "text"),
        ('{"text": "walk", "seconds": 1e9}', "seconds"),
        ('{"text": "walk", "speed": 2}', "speed"),
        ('{"text": "человек"}', "Cyrillic"),
    ],
)
def test_what_cannot_be_said(client: Any, message: str, reason: str) -> None:
    with client.websocket_connect("/v1/say") as say:
        say.send_text(message)
        with pytest.raises(WebSocketDisconnect) as ended:
            say.receive_json()
    assert ended.value.code == 1008
    assert reason in ended.value.reason


def test_no_more_than_two_at_once(client: Any) -> None:
    say = client.websocket_connect
    with say("/v1/say"), say("/v1/say"), say("/v1/say") as third, pytest.raises(WebSocketDisconnect) as ended:
        third.receive_json()
    assert "being made" in ended.value.reason


def test_the_client_gets_pieces_of_a_real_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(create_app("zero-velocity", 1), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        client = Client(f"http://127.0.0.1:{port}")
        made = np.concatenate(list(client.say("a person waves", seconds=1.0)))
        assert made.shape == (32, 25, 3)
        with pytest.raises(LmmError, match="prompt is empty"):
            list(client.say(""))
    finally:
        server.should_exit = True
        thread.join(20)


def test_a_bug_while_making_ends_the_stream(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Iterator[Any]:
        yield np.zeros((4, 25, 3))
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(speech, "stream", broken)

    def ask() -> None:
        with client.websocket_connect("/v1/say") as say:
            say.send_text('{"text": "walk"}')
            while True:  # for ever, if nobody said that the thread has died
                say.receive_json()

    with pytest.raises(ZeroDivisionError, match="a bug"):
        ask()
    monkeypatch.undo()
    with client.websocket_connect("/v1/say") as say:
        say.send_text('{"text": "walk", "seconds": 0.1}')
        assert pieces(say)


def test_two_who_ask_at_once_get_what_each_would_alone(client: Any) -> None:
    made: list[Any] = []

    def ask() -> None:
        with client.websocket_connect("/v1/say") as say:
            say.send_text('{"text": "a person waves", "seconds": 1, "seed": 5}')
            made.append(np.concatenate(pieces(say)))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 2
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_allclose(made[0][:30], generate("a person waves", SPEAKER, 1.0, 5).positions, atol=2e-3)
