"""The server's answers are lmm's own, its errors one line, and its limits hold."""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmm
from lmm.core.errors import LmmError, MotionError
from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait
from lmm.pipeline.resample import resample
from lmm.serving import limits, live, socket, speech
from lmm.serving.live import MEMORY_S, Engine, Forecasted, Stream, Wish, context_of
from lmm.skeletons import BODY_25, table

fastapi = pytest.importorskip("fastapi")
from fastapi.testclient import TestClient  # noqa: E402
from starlette.websockets import WebSocketDisconnect  # noqa: E402

from lmm.serving.api import create_app  # noqa: E402

WISH = Wish("coco_17", "image", (1280, 720), 2.0, 3)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with TestClient(create_app(workers=1)) as client:
        yield client


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gait(seconds=5.0).save(tmp_path_factory.mktemp("walk") / "walk.lmm.npz")[0]


def post(client: Any, what: str, file: Path, **query: Any) -> Any:
    return client.post(f"/v1/{what}", params=query, files={"file": (file.name, file.read_bytes())})


def keypoints(seconds: float = 5.0, fps: float = 30.0) -> Motion:
    """Return a walk as 17 COCO keypoints in pixels."""
    walk = gait(seconds=seconds, fps=fps)
    parts = {"nose": "Nose", "eye": "Eye", "ear": "Ear", "shoulder": "Shoulder", "elbow": "Elbow", "wrist": "Wrist"}
    parts |= {"hip": "Hip", "knee": "Knee", "ankle": "Ankle"}
    skeleton = table("coco_17").skeleton
    columns = []
    for joint in skeleton.joints:
        side, _, part = joint.rpartition("_")
        columns.append(BODY_25.index[side[:1].upper() + parts[part]])
    return make_motion(walk.positions[:, columns][..., [2, 1]] * [200, -300] + [100, 700], fps, skeleton, "image")


def test_what_is_up_is_told(client: Any) -> None:
    assert client.get("/v1/health").json()["status"] == "ok"
    assert {m["name"] for m in client.get("/v1/models").json()} >= {"diffusion-small-xyc", "zero-velocity"}
    told = client.get("/openapi.json").json()
    assert set(told["paths"]) == {
        f"/v1/{p}"
        for p in (
            *("health", "models", "info", "convert", "analyse", "forecast", "render"),
            *("generate", "describe", "ask"),
        )
    }
    assert "64 MiB" in told["info"]["description"]


def test_files_are_read_measured_and_converted(client: Any, walk: Path, tmp_path: Path) -> None:
    (person,) = post(client, "info", walk).json()["people"]
    assert (person["skeleton"], person["frames"], person["fps"]) == ("body_25", 150, 30.0)
    assert post(client, "analyse", walk).json() == json.loads(json.dumps(lmm.analyse(lmm.read(walk)).summary()))
    surprised = post(client, "analyse", walk, surprise="zero-velocity").json()["surprise"]
    assert surprised["model"] == "zero-velocity"
    for to in (".bvh", ".c3d", ".trc", ".lmm.npz"):
        out = tmp_path / f"a{to}"
        out.write_bytes(post(client, "convert", walk, to=to).content)
        assert lmm.read(out).num_frames == 150


def test_forecasts_are_those_of_lmm(client: Any, walk: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.lmm.npz"
    out.write_bytes(post(client, "forecast", walk, samples=3, seed=5).content)
    ours = lmm.forecast(lmm.read(walk), "diffusion", 2.0, 3, 5)
    np.testing.assert_allclose(lmm.read(out).samples, ours.samples, atol=2e-3)
    packed = post(client, "forecast", walk, samples=3, to=".bvh")
    assert packed.headers["content-type"] == "application/zip"
    assert len(zipfile.ZipFile(io.BytesIO(packed.content)).namelist()) == 3
    assert post(client, "forecast", walk, to=".png").content.startswith(b"\x89PNG")
    assert post(client, "render", walk, to=".html").content.startswith(b"<!doctype html>")


@pytest.mark.parametrize(
    ("query", "status", "error"),
    [
        ({"samples": 0}, 422, "samples: "),
        ({"seconds": 1e9}, 422, "seconds: "),
        ({"model": "runs"}, 400, "there is no model 'runs'"),
        ({"model": "../x"}, 422, "model: "),
        ({"format": "video:/etc/passwd"}, 422, "format: "),
        ({"format": "nonsense"}, 400, "unknown format 'nonsense'"),
        ({"person": "7"}, 400, "has no person '7'"),
        ({"to": ".exe"}, 422, "to: "),
        ({"sample": 3}, 422, "unknown parameter 'sample'; those there are: "),
        ({"clean": True}, 422, "unknown parameter 'clean'"),
    ],
)
def test_bad_values_get_one_line(client: Any, walk: Path, query: dict[str, Any], status: int, error: str) -> None:
    answer = post(client, "forecast", walk, **query)
    assert answer.status_code == status
    assert error in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("name", ["../../evil.bvh", "a/b.json", ".hidden", "x" * 300 + ".bvh", "\u202e.txt"])
def test_files_that_are_no_movement_get_one_line_without_our_paths(client: Any, name: str) -> None:
    answer = client.post("/v1/info", files={"file": (name, b"no movement at all, only words and words " * 9)})
    assert answer.status_code == 400
    assert "/tmp" not in answer.json()["error"]
    assert "lmm-" not in answer.json()["error"]
    assert client.post("/v1/info").status_code == 422


CHUNKED = ((b"transfer-encoding", b"chunked"),)


def app_with(body: Any, monkeypatch: pytest.MonkeyPatch, **changed: float) -> Any:
    for name, value in changed.items():
        monkeypatch.setattr(limits, name, value)
    return limits.Limits(body)


async def ask(app: Any, chunks: list[bytes], wait: float = 0.0, headers: Any = ()) -> tuple[int, dict[str, Any]]:
    """Send a body in chunks, `wait` seconds apart; return status and JSON."""
    left, sent = list(chunks), []

    async def receive() -> Any:
        await asyncio.sleep(wait)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "headers": list(headers)}, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])


async def echo(scope: Any, receive: Any, send: Any) -> None:
    total, more = 0, True
    while more:
        message = await receive()
        total, more = total + len(message["body"]), message["more_body"]
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps({"bytes": total}).encode()})


async def slow(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass
    await asyncio.sleep(0.2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


async def forever(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await asyncio.sleep(60)


def test_bodies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with(echo, monkeypatch, MAX_BODY=1000)
    assert asyncio.run(ask(app, [b"x" * 400, b"x" * 400], headers=CHUNKED)) == (200, {"bytes": 800})
    status, told = asyncio.run(ask(app, [b"x" * 400] * 100, headers=CHUNKED))
    assert status == 413
    assert "Send a shorter take" in told["error"]
    assert asyncio.run(ask(app, [b""], headers=[(b"content-length", b"99999")]))[0] == 413


def test_slow_bodies_and_slow_answers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with(echo, monkeypatch, BODY_S=0.2)
    assert asyncio.run(ask(app, [b"x"] * 100, wait=0.05, headers=CHUNKED))[0] == 408
    stuck = app_with(forever, monkeypatch, BODY_S=0.1, JOB_S=0.1)
    assert asyncio.run(ask(stuck, [b""]))[0] == 504


async def hasty(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 400, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_an_answer_before_the_bodys_end_closes_the_connection() -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(limits.Limits(hasty)({"type": "http", "headers": CHUNKED}, receive, send))
    assert sent[0]["status"] == 400
    assert (b"connection", b"close") in sent[0]["headers"]


def test_bodies_that_trickle_hold_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have places of their own, and are refused once they are slower than the least rate."""
    app = app_with(echo, monkeypatch, MAX_AT_ONCE=1, GRACE_S=0.2, LEAST_RATE=1000)

    async def both() -> tuple[list[int], int]:
        trickling = [asyncio.create_task(ask(app, [b"x"] * 100, 0.05, CHUNKED)) for _ in range(5)]
        await asyncio.sleep(0.1)
        quick = await ask(app, [b"x" * 500] * 3, 0.01, CHUNKED)
        return [s for s, _ in await asyncio.gather(*trickling)], quick[0]

    assert asyncio.run(both()) == ([408] * 5, 200)
    steady = asyncio.run(ask(app, [b"x" * 100] * 10, 0.05, CHUNKED))  # 2000 bytes a second
    assert steady == (200, {"bytes": 1000})


def test_too_many_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_with(echo, monkeypatch, MAX_COMING=2)

    async def many() -> list[int]:
        return [s for s, _ in await asyncio.gather(*(ask(app, [b"x"] * 5, 0.02, CHUNKED) for _ in range(6)))]

    assert sorted(asyncio.run(many())) == [200, 200, 503, 503, 503, 503]
    assert asyncio.run(ask(app, [b"x"], headers=CHUNKED))[0] == 200  # and afterwards there is room again
    app = app_with(slow, monkeypatch, MAX_COMING=9, MAX_AT_ONCE=2)
    assert sorted(asyncio.run(many())) == [200, 200, 503, 503, 503, 503]
    assert asyncio.run(ask(app, [b"x"], headers=CHUNKED))[0] == 200


def frame(motion: Motion, k: int) -> Any:
    return np.concatenate([motion.positions[k], motion.confidence[k][:, None]], 1)


def test_streams_keep_the_last_seconds_and_refuse_what_does_not_fit() -> None:
    stream, motion = Stream(WISH), keypoints(seconds=12.0)
    for k in range(motion.num_frames):
        stream.add(k / 30, frame(motion, k))
        stream.add(k / 30 + 1e-4, frame(motion, k))  # over the fastest rate: dropped
    times, frames = stream.recent()
    assert len(times) == len(frames) == pytest.approx(MEMORY_S * 30, abs=2)
    for seconds, points in ((1.0, frame(motion, 0)), (np.nan, frame(motion, 0)), (99.0, frame(motion, 0)[:5])):
        with pytest.raises(MotionError):
            stream.add(seconds, points)


def test_a_streams_context_is_that_of_the_motion() -> None:
    motion = keypoints()
    frames = np.stack([frame(motion, k) for k in range(motion.num_frames)])
    got = context_of(WISH, motion.clock, frames, 15.0)
    wanted = resample(lmm.to_body25(motion), 15.0)
    assert got is not None
    np.testing.assert_allclose(got.positions, wanted.positions, atol=0.01)
    assert got.clock[-1] == pytest.approx(motion.clock[-1])
    assert context_of(WISH, motion.clock[:3], frames[:3], 15.0) is None


def test_live_forecasts_follow_the_frames(client: Any) -> None:
    motion = keypoints()
    with client.websocket_connect("/v1/live") as live:
        live.send_text(json.dumps({"skeleton": "coco_17", "samples": 20, "size": [1280, 720]}))
        for k in range(60):
            live.send_text(json.dumps({"time": k / 30, "points": frame(motion, k).tolist()}))
        told = live.receive_json()
        while told["time"] < 59 / 30:
            told = live.receive_json()
    points = np.array(told["points"], float)
    assert told["shape"] == [20, 30, 25, 2] == list(points.shape)
    wanted = lmm.forecast(motion.crop(0, 60), "diffusion", 2.0, 20, 0).samples
    hip = BODY_25.index["MidHip"]
    for t in (0, 14, 29):  # other draws of the same forecast
        apart = points[:, t, hip, 0].mean() - wanted[:, t, hip, 0].mean()
        assert abs(apart) < 4 * wanted[:, t, hip, 0].std() / np.sqrt(10) + 1


def test_binary_frames_and_binary_forecasts(client: Any) -> None:
    motion = keypoints()
    with client.websocket_connect("/v1/live") as live:
        live.send_text(json.dumps({"skeleton": "coco_17", "samples": 2, "seconds": 1.0, "binary": True}))
        for k in range(30):
            live.send_bytes(struct.pack("<d", k / 30) + frame(motion, k).astype("<f4").tobytes())
        data = live.receive_bytes()
    (length,) = struct.unpack_from("<I", data)
    told = json.loads(data[4 : 4 + length])
    assert told["shape"] == [2, 15, 25, 2]
    assert len(data) == 4 + length + 4 * np.prod(told["shape"])


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        (['{"skeleton": "octopus"}'], "there is no skeleton table 'octopus'"),
        (["no json"], "Invalid JSON"),
        (['{"samples": 9999}'], "samples"),
        ([b"\0\0"], "the first message must be JSON"),
        (["{}", '{"time": 0, "points": [[1, 2]]}'], "a frame must hold 25 joints"),
        (["{}", '{"time": "x"}'], "a frame is"),
        (["{}", "[" * 5000], "a frame is"),
        (["{}", b"\0" * 7], "a binary frame has 308 bytes, got 7"),
    ],
)
def test_streams_that_break_the_rules_are_closed_with_a_reason(client: Any, messages: Any, reason: str) -> None:
    with client.websocket_connect("/v1/live") as live:
        for m in messages:
            live.send_bytes(m) if isinstance(m, bytes) else live.send_text(m)
        with pytest.raises(WebSocketDisconnect) as ended:
            live.receive_json()
    assert ended.value.code == 1008
    assert reason in ended.value.reason
    assert client.get("/v1/health").json()["streams"] == 0


def test_words_whose_making_breaks_leave_nobody_waiting(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(speech, "stream", broken)

    def ask() -> None:
        with client.websocket_connect("/v1/say") as say:
            say.send_text(json.dumps({"text": "a person walks"}))
            say.receive_json()

    for _ in range(speech.MAX_SPEAKING + 1):  # each gives its place back
        with pytest.raises(RuntimeError, match="out of memory"):
            ask()


def test_idle_and_too_many_streams_end(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "IDLE_S", 0.1)
    with client.websocket_connect("/v1/live") as live, pytest.raises(WebSocketDisconnect) as ended:
        live.receive_json()
    assert "nothing came" in ended.value.reason
    monkeypatch.setattr(socket, "MAX_CLIENTS", 0)
    with client.websocket_connect("/v1/live") as live, pytest.raises(WebSocketDisconnect) as ended:
        live.receive_json()
    assert ended.value.code == 1013


def dies(pipe: Any, model: str) -> None:
    pipe.recv()
    raise SystemExit(1)


def test_an_engine_shares_a_batch_survives_its_worker_and_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine("zero-velocity", 1)
    streams = [Stream(WISH) for _ in range(3)]
    motion = keypoints()
    for stream in streams[:2]:
        for k in range(45):
            stream.add(k / 30, frame(motion, k))
    found = [f.result(60) for f in [engine.forecast(s) for s in streams]]
    assert [f.points is None for f in found] == [False, False, True]
    assert isinstance(found[0], Forecasted)
    np.testing.assert_array_equal(found[0].points, found[1].points)  # type: ignore[arg-type]
    assert found[0].points.shape == (3, 30, 25, 2)  # type: ignore[union-attr]
    for _ in range(2):  # an idle worker that is killed costs nobody anything
        for child in multiprocessing.active_children():
            if child.name.startswith("SpawnProcess"):
                child.kill()
        assert engine.forecast(streams[0]).result(60).points is not None
    monkeypatch.setattr(live, "work", dies)
    for child in multiprocessing.active_children():
        child.kill()
    with pytest.raises(LmmError, match="Try again"):
        engine.forecast(streams[0]).result(60)
    monkeypatch.undo()
    assert engine.forecast(streams[0]).result(60).points is not None
    engine.close()
    with pytest.raises(LmmError, match="closing"):
        engine.forecast(streams[0])
