"""`lmm serve` as a process: it ends when it is told to, whatever is in work, and leaves nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lmm.datasets.synthetic import gait

pytest.importorskip("fastapi")
import httpx

LMM = Path(sys.executable).with_name("lmm")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_job_is_cut_off_and_leaves_no_file(tmp_path: Path, how: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    walk = gait(seconds=55.0).save(tmp_path / "walk.lmm.npz")[0]
    server = subprocess.Popen(
        [str(LMM), "serve", "--port", str(port), "--threads", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()
        url, answers = f"http://127.0.0.1:{port}/v1", list[Any]()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{url}/health")
                break
            except httpx.HTTPError:
                time.sleep(0.2)

        def ask() -> None:
            with walk.open("rb") as file:
                answers.append(httpx.post(f"{url}/render?to=.mp4", files={"file": file}, timeout=100))

        asking = threading.Thread(target=ask)
        asking.start()
        while not list(temporary.rglob(".motion*.mp4")):
            time.sleep(0.1)
        server.send_signal(how)
        _, told = server.communicate(timeout=30)
        asking.join()
    finally:
        server.kill()
    assert (server.returncode, "Traceback" in told) == (0, False)
    assert (answers[0].status_code, answers[0].json()["error"]) == (503, "the server is closing. Try again later.")
    assert list(temporary.iterdir()) == []
