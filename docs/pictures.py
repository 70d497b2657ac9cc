"""The pictures of docs/video.md, server.md and motion_language.md, of nobody: `python docs/pictures.py [NAME ...]`.

overlay, people   shadows that walk are filmed by a virtual camera, and what is known of them is drawn on the film, as
                  `lmm render --overlay` does with what an estimator sees
viewer            `lmm view` in Chromium, without a display
said              what the motion-language model that comes with lmm makes of a few sentences
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from PIL import Image

import lmm
from lmm.core.motion import Motion
from lmm.datasets.synthetic import gait
from lmm.pipeline.cameras import Camera, project
from lmm.rendering.draw import Canvas

PICTURES = Path(__file__).parent / "pictures"
CAMERA = Camera(azimuth_deg=-80, elevation_deg=4, distance_m=11, focal_px=1150, width=1280, height=560)
GROUND, SKY, SHADOW = (206, 209, 200), (235, 239, 243), (120, 125, 135)


def walker(seconds: float, seed: int, turn: bool = False, person: str = "0", start_s: float = 0.0) -> Motion:
    """Return a walk as pixels of CAMERA, to the right or to the left."""
    walk = gait(seconds=seconds, fps=30.0, seed=seed)
    places = walk.positions - np.nanmean(walk.positions[:, [8]], axis=(0, 1)) * [1, 0, 1]
    if turn:
        places = places * [-1, 1, -1] + [0, 0, 0]
    seen = project(walk.replace(positions=places), CAMERA)
    return seen.replace(start_s=start_s, meta={"person": person})


def film(people: list[Motion], out: Path, seconds: float) -> Path:
    """Write a film in which people are grey shadows."""
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = CAMERA.width, CAMERA.height, "yuv420p"
        for k in range(round(30 * seconds)):
            canvas = Canvas(CAMERA.width, CAMERA.height)
            canvas.box((0, 0, CAMERA.width, CAMERA.height), SKY)
            canvas.box((0, CAMERA.height * 0.66, CAMERA.width, CAMERA.height), GROUND)
            for m in people:
                frame = round(k - 30 * m.start_s)
                if not 0 <= frame < m.num_frames:
                    continue
                p = m.positions[frame]
                for a, b in m.skeleton.bones:
                    canvas.line(p[a], p[b], SHADOW, 22)
                for at in p:
                    canvas.dot(at, 11, SHADOW)
                canvas.dot(np.nanmean(p[15:19], axis=0), 21, SHADOW)
            container.mux(stream.encode(av.VideoFrame.from_image(canvas.image)))
        container.mux(stream.encode())
    return out


def overlay() -> None:
    walk = walker(7.0, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        video = film([walk], Path(folder) / "walk.mp4", 7.0)
        future = lmm.forecast(walk.crop(0, 150), "diffusion", seconds=2.0, samples=20)
        lmm.render([future], PICTURES / "overlay.png", video=video)


def people() -> None:
    found = [walker(6.0, 1), walker(3.0, 2, True, "1"), walker(2.4, 3, True, "2", 3.6)]
    with tempfile.TemporaryDirectory() as folder:
        lmm.render(found, PICTURES / "people.png", video=film(found, Path(folder) / "people.mp4", 6.0))


def viewer() -> None:
    sys.path.insert(0, str(PICTURES.parents[1] / "tests" / "serving"))
    from test_view_browser import Page, until  # the browser that the tests drive

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = gait(seconds=4.0, fps=30.0, seed=0).save(folder / "walk.lmm.npz")[0]
        command = [str(Path(sys.executable).with_name("lmm")), "view", "--port", "0", str(file)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        page = Page(server.stdout.readline().strip(), folder / "profile")
        until(lambda: "Export" in page.text)
        page.click("Forecast")  # the tab, and then its button
        page.click("Forecast")
        until(lambda: "Done" in page.text)
        page.click("Show")
        page.click("Play")
        page.click("Pause")
        time.sleep(10)  # until its notices have gone, but for that of slow graphics
        page.evaluate("document.querySelectorAll('.mantine-Notification-root button').forEach(b => b.click())")
        time.sleep(2)
        Image.fromarray(page.picture.astype(np.uint8)).save(PICTURES / "viewer.png", optimize=True)
        page.close()
        server.terminate()
        server.wait(20)


def said() -> None:
    sentences = (
        "a person walks forward",
        "somebody waves with the left hand",
        "a person does a deep squat",
        "a person bows",
    )
    with tempfile.TemporaryDirectory() as folder:
        strips = []
        for i, text in enumerate(sentences):
            motion = lmm.generate(text, "motion-language-small-nc", seed=1)
            strips.append(Image.open(lmm.render([motion], Path(folder) / f"{i}.png")).convert("RGB"))
        sheet = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), "white")
        for i, strip in enumerate(strips):
            sheet.paste(strip, (0, sum(s.height for s in strips[:i])))
        small = sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS)
        small.quantize(64).save(PICTURES / "said.png", optimize=True)


if __name__ == "__main__":
    made: dict[str, Callable[[], None]] = {"overlay": overlay, "people": people, "viewer": viewer, "said": said}
    for name in sys.argv[1:] or made:
        made[name]()
