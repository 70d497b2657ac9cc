"""The page: self-contained, safe with hostile names, true to the data, and alive in a real browser."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.core.errors import InputError
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.rendering import html
from lmm.rendering.render import render
from lmm.rendering.scene import build

CHROMIUM = Path("/usr/bin/chromium")
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><!-- & '"


def walk(frames: int = 60, fps: float = 30, **fields: Any) -> Motion:
    rng = np.random.default_rng(3)
    skeleton = Skeleton("stick", ("Hip", "RFoot", "LFoot", "Head"), (-1, 0, 0, 0), (("RFoot", "LFoot"),))
    base = np.array([[0, 1, 0], [-0.2, 0, 0], [0.2, 0, 0], [0, 1.7, 0]])
    positions = base + rng.normal(0, 0.02, (frames, 4, 3)) + np.arange(frames)[:, None, None] * [0, 0, 0.02]
    positions[10:20, 3] = np.nan
    return make_motion(positions, fps, skeleton, "world", **fields)


def forecast() -> Motion:
    whole = walk(meta={"source": "walk.bvh", "model": "flat-base-xyz"})
    future = whole.crop(30, 60)
    samples = future.positions[None] + np.random.default_rng(0).normal(0, 0.05, (6, 30, 1, 3))
    return future.replace(positions=samples[0], samples=samples, context=whole.crop(0, 30))


def scene_in(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="scene">(.*?)</script>', text, re.S)
    assert found
    loaded: dict[str, Any] = json.loads(found[1])
    return loaded


def test_the_page_stands_alone() -> None:
    text = html.page(build([forecast(), walk()], compare=True))
    assert not re.search(
        r"https?:|//[a-z]|@import|url\(|\bsrc=|<link|\bfetch\(|XMLHttpRequest|\bimport\b", text.split('id="scene"')[0]
    )
    script = text.rsplit("<script>", 1)[1]
    assert not re.search(r"https?:|\bsrc\s*=|\bfetch\(|XMLHttpRequest|WebSocket|innerHTML|\beval\(|\bimport\b", script)
    assert "default-src 'none'" in text
    assert "{{" not in text.replace("}}", "")


def test_text_from_motions_never_becomes_markup() -> None:
    motion = walk(meta={"source": HOSTILE, "subject": HOSTILE, "notes": [HOSTILE], "model": HOSTILE})
    skeleton = Skeleton(HOSTILE, (HOSTILE, "b", "c", "d"), (-1, 0, 0, 0))
    text = html.page(build([motion.replace(skeleton=skeleton)]))
    assert text.count("</script>") == html.page(build([walk()])).count("</script>")
    assert "<img" not in text
    assert "<!-- &" not in text
    page = scene_in(text)
    assert page["panels"][0]["tracks"][0]["meta"][0] == ["subject", HOSTILE]


@pytest.mark.parametrize("dims", [2, 3])
def test_positions_come_back_within_the_stated_precision(dims: int) -> None:
    values = np.random.default_rng(1).normal(500, 300, (40, 5, dims)).astype(np.float32)
    values[3, 2] = np.nan
    packed = html.quantise(values)
    back = html.dequantise(packed, values.shape)
    assert (np.isnan(back) == np.isnan(values)).all()
    assert np.nanmax(np.abs(back - values)) <= packed["step"] / 2 * (1 + 1e-6)
    assert packed["step"] < 0.05


def test_the_page_holds_the_motion() -> None:
    motion = walk(frames=241, fps=240)
    segment = scene_in(html.page(build([motion])))["panels"][0]["tracks"][0]["segments"][0]
    assert (segment["stride"], segment["kept"], segment["frames"]) == (4, 61, 241)
    back = html.dequantise(segment["positions"], (61, 4, 3))
    assert np.nanmax(np.abs(back - motion.positions[::4])) < 1e-4
    confidence = np.frombuffer(base64.b64decode(segment["confidence"]), np.uint8).reshape(61, 4)
    assert ((confidence > 0) == motion.observed[::4]).all()
    assert np.frombuffer(base64.b64decode(segment["times"]), "<f4") == pytest.approx(np.arange(61) / 60)


def test_a_faint_joint_is_not_rounded_to_missing() -> None:
    motion = walk()
    segment = scene_in(html.page(build([motion.replace(confidence=motion.confidence * 1e-4)])))["panels"][0]["tracks"][
        0
    ]["segments"][0]
    confidence = np.frombuffer(base64.b64decode(segment["confidence"]), np.uint8).reshape(60, 4)
    assert ((confidence > 0) == motion.observed).all()


def test_a_thinned_context_still_ends_at_zero() -> None:
    whole = walk(frames=200, fps=120)
    motion = whole.crop(101, 200).replace(context=whole.crop(0, 101))
    context = scene_in(html.page(build([motion])))["panels"][0]["tracks"][0]["segments"][0]
    assert context["stride"] == 2
    assert np.frombuffer(base64.b64decode(context["times"]), "<f4")[-1] == 0


def test_pages_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    motion = walk(frames=600, fps=60)
    full = len(html.page(build([motion])))
    monkeypatch.setattr(html, "MAX_BYTES", 15_000)
    page = html.page(build([motion]))
    assert scene_in(page)["panels"][0]["tracks"][0]["segments"][0]["stride"] == 2
    assert len(page) < full
    monkeypatch.setattr(html, "MAX_BYTES", 5_000)
    with pytest.raises(InputError, match="crop"):
        render([motion], tmp_path / "a.html")


# a headless browser paints few frames on its own: draw by timer, which its virtual time drives
BY_TIMER = """<script>
window.requestAnimationFrame = f => setTimeout(() => f(performance.now()), 5);
window.ResizeObserver = class { constructor(f) { this.f = f; } observe() { setInterval(this.f, 20); } };
</script></head>"""
PROBE = """<script>
addEventListener("load", () => {
  const frame = () => new Promise(done => setTimeout(done, 100));
  const canvas = document.querySelector("canvas"), picture = () => canvas.toDataURL(), say = [];
  const pixels = () => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const press = key => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const read = () => document.getElementById("readout").textContent;
  const pointer = (type, x, y, more) =>
    canvas.dispatchEvent(new PointerEvent(type, { clientX: x, clientY: y, pointerId: 1, ...more }));
  const drag = more => {
    pointer("pointerdown", 300, 200, more); pointer("pointermove", 360, 230, more);
    pointer("pointerup", 360, 230, more);
  };
  const wheel = () => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -200, cancelable: true }));
  // a made-up pointer cannot be captured; all other errors count
  addEventListener("error", e => { if (!e.message.includes("setPointerCapture")) say.push("ERROR " + e.message); });
  (async () => {
    await frame(); await frame();
    const first = picture();
    say.push("inked=" + pixels().some(v => v > 0));
    say.push("at=" + read());
    press("ArrowRight"); await frame();
    say.push("step=" + read());
    press("ArrowLeft"); await frame();
    say.push("back=" + (picture() === first));
    const acts = { orbit: () => drag({}), pan: () => drag({ shiftKey: true }), wheel };
    for (const [name, act] of Object.entries(acts)) {
      act(); await frame();
      say.push(name + "=" + (picture() !== first));
      document.getElementById("reset").click(); await frame();
      say.push("reset=" + (picture() === first));
    }
    for (const box of document.querySelectorAll(".chip input:not(#option-loop)")) {
      box.click(); await frame();
      say.push(box.id + "=" + (picture() !== first));
      box.click();
    }
    press(" "); await frame();
    say.push("play=" + document.getElementById("play").getAttribute("aria-label"));
    say.push("missing=" + document.querySelector(".missing").textContent);
    say.push("title=" + document.title);
  })().catch(e => say.push("ERROR " + e)).finally(() => { document.body.dataset.said = say.join("|"); });
});
</script></body>"""


@pytest.mark.slow
def test_in_a_real_browser(tmp_path: Path) -> None:
    if not CHROMIUM.exists():
        pytest.skip(f"needs Chromium at {CHROMIUM}")
    page = render([forecast().replace(meta={"source": HOSTILE})], tmp_path / "a.html")
    page.write_text(page.read_text("utf-8").replace("</head>", BY_TIMER).replace("</body>", PROBE), "utf-8")
    flags = "--headless --no-sandbox --disable-gpu --window-size=1000,800 --virtual-time-budget=8000 --dump-dom"
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={tmp_path / 'profile'}", f"{page.as_uri()}#t=0.5"]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
    said = re.search(r'data-said="([^"]*)"', dom)
    assert said, dom[-2000:]
    lines = said[1].split("|")
    assert not [line for line in lines if line.endswith("=false") or line.startswith("ERROR")], lines
    assert lines[0] == "inked=true"
    assert lines[1] == "at=+0.50 s frame 14 of 0–29"
    assert lines[2] == "step=+0.53 s frame 15 of 0–29"
    assert "play=Pause" in lines
    assert "missing=All 4 joints seen" in lines
    assert "owned" not in lines[-1].replace("document.title='owned'", "")
