from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from films import BLUE, GREEN, RED, SIZE, column, rotated, write_video
from lmm.core.errors import InputError
from lmm.video.decoding import Video, clock, is_video

REGULAR = [k / 30 for k in range(20)]
IRREGULAR = [0.0, 0.033, 0.1, 0.133, 0.3, 0.35, 0.5, 0.9, 0.95, 1.4]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
def test_every_frame_comes_once_in_order_with_its_time(tmp_path: Path, name: str) -> None:
    video = Video(write_video(tmp_path / name, REGULAR))
    got = list(video.frames())
    assert video.size == SIZE
    np.testing.assert_allclose([t - got[0][0] for t, _ in got], REGULAR, atol=0.001)
    assert [int(p[40].mean(-1).argmax()) for _, p in got] == pytest.approx([5.5 + k for k in range(20)], abs=2)
    assert video.times() == [t for t, _ in got]
    assert is_video((tmp_path / name).read_bytes()[:64])


def test_irregular_times_are_kept(tmp_path: Path) -> None:
    times = Video(write_video(tmp_path / "a.mp4", IRREGULAR)).times()
    np.testing.assert_allclose(times, IRREGULAR, atol=1e-4)
    fps, told = clock(times, 30.0)
    assert told is not None
    assert fps == pytest.approx(1 / np.median(np.diff(IRREGULAR)))


def test_a_clock_rounded_to_milliseconds_is_regular() -> None:
    assert clock([round(k / 29.97, 3) for k in range(1000)], 30_000 / 1001) == (30_000 / 1001, None)
    fps, told = clock([round(k / 24, 3) for k in range(1000)], 50.0)  # a header that is wrong
    assert told is None
    assert fps == pytest.approx(24, rel=1e-4)
    assert clock([0.0], None) == (30.0, None)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_upright(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    """A phone stores what it sees, and says how players have to turn it clockwise, and mirror it."""
    upright = np.full((128, 96, 3), 128, np.uint8)
    upright[:48, :32], upright[:48, 64:], upright[80:, :32] = RED, GREEN, BLUE  # corners: left, right, below left
    stored = np.rot90(upright[:, ::-1] if mirrored else upright, degrees // 90)  # turned back to the left
    plain = write_video(tmp_path / "plain.mp4", [0.0, 0.1], [stored, stored])
    video = Video(rotated(plain, tmp_path / "turned.mp4", degrees, mirrored))
    _, picture = next(video.frames())
    assert video.size == (96, 128)
    assert picture.shape == (128, 96, 3)
    for (y, x), colour in {(20, 12): RED, (20, 84): GREEN, (108, 12): BLUE}.items():
        np.testing.assert_allclose(picture[y, x], colour, atol=30)


def test_pixels_are_made_square(tmp_path: Path) -> None:
    video = Video(write_video(tmp_path / "a.mp4", [0.0, 0.1], [column(8)] * 2, aspect=Fraction(2, 1)))
    assert video.size == (2 * SIZE[0], SIZE[1])
    picture = next(video.frames())[1]
    assert picture.shape == (SIZE[1], 2 * SIZE[0], 3)
    assert 23 <= int(picture[40].mean(-1).argmax()) <= 33


def test_damage_is_counted_or_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "a.mkv", [k / 30 for k in range(60)], None)
    data = bytearray(whole.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 400):
        data[at] ^= 0x5A
    (tmp_path / "b.mkv").write_bytes(data)
    video = Video(tmp_path / "b.mkv")
    assert 10 < len(list(video.frames())) <= 60
    (tmp_path / "cut.mp4").write_bytes(write_video(tmp_path / "c.mp4", REGULAR).read_bytes()[:300])
    with pytest.raises(InputError, match=r"cut\.mp4: is no video that can be read"):
        Video(tmp_path / "cut.mp4")


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as film:
        track = film.add_stream("aac", rate=48_000)
        for k in range(20):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.rate, frame.pts = 48_000, k * 1024
            film.mux(track.encode(frame))
        film.mux(track.encode())
    with pytest.raises(InputError, match="only sound"):
        Video(tmp_path / "a.mp4")


def test_the_whole_demo_video_is_decoded(shared_data: Path) -> None:
    """7.67 s at 30 frames per second, landscape: what its README tells."""
    video = Video(shared_data / "sports2d_demo_video" / "demo.mp4")
    times = video.times()
    assert (video.size, len(times), video.expected) == ((1768, 994), 230, 230)
    assert clock(times, video.rate) == (30.0, None)
