"""Poses are drawn where they are, when they are, and the video keeps its clock and its sound."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from films import write_video
from lmm.core.errors import InputError
from lmm.core.motion import Motion, make_motion
from lmm.rendering.draw import FAN, INK, SIDES, mix, palette
from lmm.rendering.render import render
from lmm.skeletons import BODY_25
from lmm.video.decoding import Video

SIZE = (320, 240)
TIMES = [0.0, 0.04, 0.08, 0.2, 0.24, 0.28, 0.32, 0.36, 0.4, 0.44]


def film(path: Path, sound: str | None = None) -> Path:
    grey = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    return write_video(path, TIMES, [grey] * len(TIMES), sound=sound)


def standing(x: Any, fps: float = 25.0, start: float = 0.0, **fields: Any) -> Motion:
    """Return a right forearm of 60 pixels, level, whose elbow is at (x, 120) in each frame."""
    points = np.full((len(x), 25, 2), np.nan)
    points[:, BODY_25.index["RElbow"]] = np.stack([x, np.full(len(x), 120.0)], 1)
    points[:, BODY_25.index["RWrist"]] = np.stack([np.asarray(x) + 60.0, np.full(len(x), 120.0)], 1)
    return make_motion(points, fps, BODY_25, "image", start_s=start, size=SIZE, **fields)


def pictures(path: Path) -> list[tuple[float, Any]]:
    return list(Video(path).frames())


def coloured(picture: Any, colour: Any, at: tuple[float, float], reach: int = 1) -> bool:
    x, y = round(at[0]), round(at[1])
    near = picture[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, 3).astype(int)
    return bool((np.abs(near - colour).max(1) < 60).any())


def test_a_pose_is_where_it_is_in_every_frame(tmp_path: Path) -> None:
    """Between the motion's own frames it is interpolated: the video's clock is irregular, the motion's is not."""
    motion = standing(50 + 400 * np.arange(12) / 25)
    out = render([motion], tmp_path / "out.mp4", video=film(tmp_path / "in.mp4"))
    got = pictures(out)
    np.testing.assert_allclose([t for t, _ in got], TIMES, atol=1e-3)
    for time, picture in got:
        x = 50 + 400 * time
        assert coloured(picture, SIDES[0], (x + 30, 120))
        assert coloured(picture, (90, 90, 90), (x + 30, 200))
        assert coloured(picture, (90, 90, 90), (x - 12, 120))


def test_a_forecast_goes_on_after_the_video(tmp_path: Path) -> None:
    context = standing([60.0] * 12)
    samples = np.stack([standing([60 + 2 * k + 20 * s for k in range(20)]).positions for s in range(4)])
    forecast = standing(60 + 2.0 * np.arange(20), start=0.48, samples=samples, context=context)
    got = pictures(render([forecast], tmp_path / "out.mp4", video=film(tmp_path / "in.mp4")))
    assert got[-1][0] == pytest.approx(forecast.clock[-1], abs=0.05)
    before, after = got[5][1], got[-1][1]
    assert coloured(before, SIDES[0], (90, 120))
    assert not coloured(before, SIDES[0], (150, 120), 3)
    first = mix(FAN, INK, 0.2)
    assert coloured(after, first, (98 + 30, 120), 2)
    assert after[200, 200].mean() > before[200, 200].mean() + 30  # paler
    end = after[119:122, 180:216].astype(int)  # where only samples reach
    assert (end[..., 1] - end[..., 0]).max() > 15
    still = np.asarray(Image.open(render([forecast], tmp_path / "out.png", video=tmp_path / "in.mp4")))
    assert coloured(still, SIDES[0], (90, 120))
    assert coloured(still, first, (98 + 30, 120), 4)  # the last moment within the horizon
    assert still.shape[1] == SIZE[0]
    beneath = still[SIZE[1] :].reshape(-1, 3).astype(int)  # what the colours mean
    for colour in (*SIDES, first, FAN):
        assert (np.abs(beneath - colour).max(1) < 30).any()


def test_moments_ahead_say_when_they_are(tmp_path: Path) -> None:
    """Each label is above its own figure, and none on another: of somebody who stands, they are stacked."""
    given, context = film(tmp_path / "in.mp4"), standing([60.0] * 12)
    walking = standing(60 + 3 * np.arange(50.0), start=0.48, context=context)
    out = np.asarray(Image.open(render([walking], tmp_path / "out.png", video=given)))
    for ahead in (0.5, 1.0, 1.5, 2.0):
        x = round(60 + 3 * 25 * ahead) + 30
        assert (out[60:115, x - 12 : x + 12].min(2) > 245).sum() > 100
    still = walking.replace(positions=standing([60.0] * 50).positions)
    out = np.asarray(Image.open(render([still], tmp_path / "out.png", video=given)))
    boxed = (out[:115, 75:105].min(2) > 245).any(1)
    assert (np.diff(boxed.astype(int)) == 1).sum() == 4


def test_everybody_is_shown_once_at_least_with_their_number(tmp_path: Path) -> None:
    """Two people who share a moment need one picture; a third who comes later needs another."""
    given = film(tmp_path / "in.mp4")
    a, b = (standing([x] * 5, meta={"person": n}) for x, n in ((30.0, "0"), (200.0, "1")))
    late = standing([100.0] * 3, start=0.36, meta={"person": "2"})
    together = np.asarray(Image.open(render([a, b], tmp_path / "out.png", video=given)))
    assert together.shape[1] == SIZE[0]
    for i, x in enumerate((30, 200)):
        assert coloured(together, palette(i, 2)[0], (x + 30, 120))
        assert (together[95:110, x : x + 60].min(2) > 245).sum() > 50  # the number's box
    apart = np.asarray(Image.open(render([a, b, late], tmp_path / "out.png", video=given)))
    assert coloured(apart, palette(0, 3)[0], (30, 60), 2)
    assert coloured(apart, palette(1, 3)[0], (115, 60), 2)
    assert coloured(apart, palette(2, 3)[0], (160 + 65, 60), 2)
    assert coloured(apart, (90, 90, 90), (160 + 30, 60), 2)
    frames = pictures(render([a, b], tmp_path / "out.mp4", video=given))
    assert all(coloured(frames[0][1], palette(i, 2)[0], (x + 30, 120)) for i, x in enumerate((30, 200)))


@pytest.mark.parametrize("sound", ["aac", "libmp3lame", "libopus"])
def test_sound_is_kept(tmp_path: Path, sound: str) -> None:
    given = film(tmp_path / "in.mkv", sound)
    out = render([standing([60.0] * 12)], tmp_path / "out.mp4", video=given)
    with av.open(str(out)) as container:
        assert next(s.codec_context.name for s in container.streams.audio) in ("aac", "mp3", "mp3float")
        heard = sum(f.samples / f.sample_rate for f in container.decode(audio=0))
    assert heard == pytest.approx(0.44, abs=0.1)
    with av.open(str(out)) as container:
        wave = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert np.abs(wave[len(wave) // 2 - 2000 : len(wave) // 2]).max() > 0.3


def flash_and_click(path: Path, codec: str, rate: int, picture_from: float, sound_from: float) -> Path:
    """Write 2 s of grey whose picture is white, and whose sound is loud, for 0.2 s from second 1 of the picture's."""
    grey, white = np.full((SIZE[1], SIZE[0], 3), 60, np.uint8), np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        track = out.add_stream(codec, rate=rate)
        track.codec_context.layout = "mono"
        kind = track.codec_context.format.name if codec == "pcm_s16le" else "fltp"
        size = track.codec_context.frame_size or 512
        begin = round(sound_from * rate)
        for k in range(50):
            frame = av.VideoFrame.from_ndarray(white if 25 <= k < 30 else grey, "rgb24")
            frame.pts, frame.time_base = round(1000 * (picture_from + k / 25)), Fraction(1, 1000)
            out.mux(stream.encode(frame))
        for k in range(0, int((picture_from + 2) * rate) - begin, size):
            at = (begin + k + np.arange(size)) / rate - picture_from - 1
            wave = np.where((at >= 0) & (at < 0.2), 0.8 * np.sin(at * 2764), 0)[None]
            data = (wave * 32767).astype(np.int16) if kind == "s16" else wave.astype(np.float32)
            sound = av.AudioFrame.from_ndarray(data, kind, "mono")
            sound.rate, sound.pts, sound.time_base = rate, begin + k, Fraction(1, rate)
            out.mux(track.encode(sound))
        out.mux(stream.encode())
        out.mux(track.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec", "rate", "picture_from", "sound_from"),
    [
        ("a.mkv", "pcm_s16le", 11_025, 0.0, 0.0),
        ("a.mkv", "pcm_s16le", 37_800, 0.0, 0.0),  # a rate that AAC has not
        ("a.mp4", "aac", 44_100, 3.0, 3.0),
        ("a.mkv", "aac", 48_000, 3.0, 2.5),  # sound begins before the picture
        ("a.mkv", "pcm_s16le", 22_050, 3.0, 3.4),  # and after
    ],
)
def test_sound_keeps_step_with_the_picture(
    tmp_path: Path, name: str, codec: str, rate: int, picture_from: float, sound_from: float
) -> None:
    given = flash_and_click(tmp_path / name, codec, rate, picture_from, sound_from)
    out = render([standing([60.0] * 50, start=picture_from)], tmp_path / "out.mp4", video=given)
    flash = next(t for t, p in pictures(out) if p[200, 200].mean() > 200)
    with av.open(str(out)) as container:
        frames = [(f.time, f.to_ndarray()[0], f.sample_rate) for f in container.decode(audio=0)]
    click = next(t + np.argmax(np.abs(w) > 0.3) / r for t, w, r in frames if np.abs(w).max() > 0.3)
    assert flash == pytest.approx(1.0, abs=0.03)
    assert click == pytest.approx(flash, abs=0.05)


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(InputError, match="pipe"):
        render([standing([60.0] * 3)], tmp_path / "out.mp4", video=tmp_path / "pipe.mp4")


def test_what_is_not_of_the_picture_is_refused(tmp_path: Path) -> None:
    given = film(tmp_path / "in.mp4")
    world = make_motion(np.zeros((3, 25, 3)), 25, BODY_25, "world")
    with pytest.raises(InputError, match="world space"):
        render([world], tmp_path / "out.mp4", video=given)
    with pytest.raises(InputError, match=r"pictures of \(640, 480\)"):
        render([standing([60.0] * 3).replace(size=(640, 480))], tmp_path / "out.mp4", video=given)
    with pytest.raises(InputError, match="cannot show a video"):
        render([standing([60.0] * 3)], tmp_path / "out.html", video=given)
    with pytest.raises(InputError, match="no such file"):
        render([standing([60.0] * 3)], tmp_path / "out.mp4", video=tmp_path / "none.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mp4"]
