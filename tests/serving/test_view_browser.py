"""`lmm view` as a user meets it: the real server, in a real browser, driven by real clicks."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lmm
from lmm.datasets.synthetic import gait, repetitions

pytest.importorskip("viser", reason="needs the extra view")
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

CHROMIUM = Path("/usr/bin/chromium")
LMM = Path(sys.executable).with_name("lmm")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic "
    "--no-first-run --disable-background-networking --disable-component-update --disable-sync --window-size=1100,700 "
    "--remote-debugging-port=0"
)
SCENE = (slice(None), slice(0, 650))  # of a picture of the page: left of the panel
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def until(found: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Return the first true value of `found`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.2)
    raise AssertionError("waited in vain")


class Page:
    """A page in Chromium, by its DevTools protocol."""

    def __init__(self, url: str, folder: Path) -> None:
        command = [str(CHROMIUM), *FLAGS.split(), f"--user-data-dir={folder}", url]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = folder / "DevToolsActivePort"
        port = until(lambda: port_file.is_file() and port_file.read_text().split())[0]
        self._events: list[dict[str, Any]] = []
        self._socket = connect(until(lambda: self._address(port)), max_size=None)
        self._sent = 0
        for domain in ("Runtime", "Log", "Page"):
            self.do(f"{domain}.enable")

    @staticmethod
    def _address(port: str) -> str | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            return next((t["webSocketDebuggerUrl"] for t in json.load(answer) if t["type"] == "page"), None)

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == self._sent:
                return dict(answer["result"])
            self._events.append(answer)

    def evaluate(self, script: str) -> Any:
        return self.do("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    @property
    def text(self) -> str:
        return str(self.evaluate("document.body.innerText"))

    @property
    def picture(self) -> np.ndarray:
        data = base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), int)

    def click(self, words: str) -> None:
        """Click the last element on the page that says just `words`, brought into view as a user's wheel would."""
        script = f"""(() => {{
            const all = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            let last = null;
            while (all.nextNode()) {{
                const parent = all.currentNode.parentElement;
                if (all.currentNode.data.trim() === {json.dumps(words)} && parent.getBoundingClientRect().width)
                    last = parent;
            }}
            if (!last) return null;
            last.scrollIntoView({{block: 'nearest'}});
            const box = last.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()"""
        x, y = until(lambda: self.evaluate(script))
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        time.sleep(0.5)

    def upload(self, file: Path) -> None:
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        chosen = self.do("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        self.do("DOM.setFileInputFiles", nodeId=chosen, files=[str(file)])

    def drop(self, *files: Path) -> None:
        """Drag files from the desktop onto the middle of the page."""
        data = {"items": [], "files": [str(f) for f in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.do("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)

    @property
    def errors(self) -> list[dict[str, Any]]:
        """What the console says of errors."""
        self.do("Page.enable")  # collects what is still on its way
        return [
            e
            for e in self._events
            if e["method"] == "Runtime.exceptionThrown"
            or (e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] == "error")
            or (e["method"] == "Runtime.consoleAPICalled" and e["params"]["type"] == "error")
        ]

    def close(self) -> None:
        self._socket.close()
        self._process.terminate()
        self._process.wait(20)


class Server:
    """`lmm view` on a free port; its temporary files go to `folder`."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [str(LMM), "view", "--port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def end(self, how: int) -> tuple[int, str]:
        """Send a signal; return the exit code and what was said on stderr."""
        self.process.send_signal(how)
        _, told = self.process.communicate(timeout=30)
        return self.process.returncode, told


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def begin(*arguments: str) -> Server:
        (tmp_path / "temporary").mkdir(exist_ok=True)
        servers.append(Server(tmp_path / "temporary", *arguments))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Callable[[str], Page]]:
    if not CHROMIUM.is_file():
        pytest.skip(f"needs Chromium at {CHROMIUM}")
    pages: list[Page] = []

    def open_one(url: str) -> Page:
        pages.append(Page(url, tmp_path / "profile"))
        until(lambda: "Export" in pages[-1].text)
        time.sleep(3)  # until the scene is drawn
        return pages[-1]

    yield open_one
    for page in pages:
        page.close()


def test_a_take_is_played_forecast_and_exported(
    shared_data: Path, tmp_path: Path, start: Callable[..., Server], open_page: Callable[[str], Page]
) -> None:
    server = start(str(shared_data / "cmu_bvh_samples/07_01.bvh"))
    page = open_page(server.url)
    first = page.picture[SCENE]
    right = (np.abs(first - (213, 94, 0)).max(axis=2) < 12).sum()
    left = (np.abs(first - (0, 114, 178)).max(axis=2) < 12).sum()
    assert min(right, left) > 60
    page.click("Play")
    time.sleep(1)
    page.click("Pause")
    time.sleep(1)
    later = page.picture[SCENE]
    assert (np.abs(later - first).max(axis=2) > 40).sum() > 300
    assert (page.picture[SCENE] == later).all()

    page.click("Forecast")  # the tab, and then its button
    page.click("Forecast")
    until(lambda: "Done" in page.text)
    page.click("Show")
    assert "07_01.bvh · forecast by diffusion-small-xyz" in page.text
    fan = np.abs(page.picture[SCENE] - (140, 211, 192)).max(axis=2) < 20
    assert fan.sum() > 60

    page.do("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.click("Export")
    page.click("Export")
    file = until(lambda: next(tmp_path.glob("*.lmm.npz"), None))
    assert lmm.read(file).num_frames == 316
    assert page.errors == []
    assert server.end(signal.SIGINT) == (0, "Ctrl-C ends it.\nended.\n")
    assert not list(server.folder.glob("lmm-view-*"))


def test_uploads_are_read_or_refused_in_a_line(
    tmp_path: Path, start: Callable[..., Server], open_page: Callable[[str], Page]
) -> None:
    server = start()
    page = open_page(server.url)
    page.click("Open")
    bad, good = tmp_path / "bad.bvh", gait(seconds=2.0).save(tmp_path / "good.lmm.npz")[0]
    bad.write_text("HIERARCHY <img src=x onerror=alert(1)>")
    page.upload(bad)
    until(lambda: "Reading failed" in page.text)
    assert "bad.bvh: " in page.text
    assert "lmm-view-" not in page.text
    page.upload(good)
    until(lambda: "Done" in page.text)
    page.click("Show")
    assert "lmm.datasets.synthetic" in page.text
    assert page.errors == []
    code, told = server.end(signal.SIGTERM)
    assert (code, "Traceback" in told) == (0, False)
    assert not list(server.folder.glob("lmm-view-*"))


def test_files_dropped_on_the_page_are_read(
    tmp_path: Path, start: Callable[..., Server], open_page: Callable[[str], Page]
) -> None:
    """Whatever tab is open, several at once, and a second time."""
    page = open_page(start().url)
    for turn in range(2):
        files = [tmp_path / f"{name}{turn}.trc" for name in "ab"]
        for seed, file in enumerate(files):
            gait(seconds=2.0, seed=seed).save(file)
        page.drop(*files)
        until(lambda: all(f.name in page.text for f in files))  # noqa: B023
    assert "/" in page.evaluate("location.href")  # the browser has not gone to a file
    assert page.evaluate("location.protocol") == "http:"
    bad = tmp_path / "bad.bvh"
    bad.write_text("HIERARCHY nothing")
    page.drop(bad)
    until(lambda: "Reading failed" in page.text)
    assert page.errors == []


def test_words_become_a_motion_that_plays(
    tmp_path: Path, start: Callable[..., Server], open_page: Callable[[str], Page]
) -> None:
    page = open_page(start().url)
    empty = page.picture[SCENE]
    page.click("Say")
    page.click("Generate")
    until(lambda: "Pause" in page.text)  # it plays, whether it is whole or not
    until(lambda: "Done" in page.text)
    page.click("Pause")
    assert (np.abs(page.picture[SCENE] - empty).max(axis=2) > 40).sum() > 300
    Image.fromarray(page.picture.astype(np.uint8)).save(tmp_path / "say.png")
    page.click("Show")
    assert "a person raises the left arm" in page.text
    assert page.errors == []


def test_a_question_is_answered_and_its_moments_bring_the_clock_there(
    tmp_path: Path, tiny_assistant: str, start: Callable[..., Server], open_page: Callable[[str], Page]
) -> None:
    file = repetitions(4).save(tmp_path / "raise.trc")[0]
    page = open_page(start(str(file), "--assistant", tiny_assistant).url)
    page.click("Ask")  # the tab, and then its button
    time.sleep(1)
    page.click("Ask")
    until(lambda: "Done" in page.text, 150.0)
    Image.fromarray(page.picture.astype(np.uint8)).save(tmp_path / "ask.png")
    assert "measured: repetitions: 4" in page.text
    moments = re.findall(r"^\d+\.\d s$", page.text, re.M)
    assert 1 <= len(moments) <= 4
    first = page.picture[SCENE]
    page.click(moments[0])
    at = moments[0].split()[0]
    values = "[...document.querySelectorAll('input')].map((i) => i.value)"
    until(lambda: any(v.startswith(at) for v in page.evaluate(values)))
    time.sleep(1)
    assert (np.abs(page.picture[SCENE] - first).max(axis=2) > 40).sum() > 100
    assert page.errors == []


def test_other_web_pages_may_not_use_the_server(start: Callable[..., Server]) -> None:
    import viser

    server = start()
    address, protocol = server.url.replace("http", "ws"), [f"viser-v{viser.__version__}"]
    with connect(address, subprotocols=protocol, origin=server.url, max_size=None) as own:  # type: ignore[arg-type,list-item]
        assert own.recv(timeout=10)
    port = int(server.url.rpartition(":")[2])
    rebound, elsewhere = f"ws://elsewhere.example:{port}", f"http://elsewhere.example:{port}"
    for host, origin in ((address, elsewhere), (rebound, elsewhere), (rebound, None)):
        line = socket.create_connection(("127.0.0.1", port))
        with (
            connect(host, sock=line, subprotocols=protocol, origin=origin, max_size=None) as other,  # type: ignore[arg-type,list-item]
            pytest.raises(ConnectionClosed, match="other pages"),
        ):
            list(other)


def test_a_taken_port_is_one_line(start: Callable[..., Server]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run([str(LMM), "view", "--port", port], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot serve at 127.0.0.1 port {port} (Address already in use")
    assert done.stderr.count("\n") == 1
