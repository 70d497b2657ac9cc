"""Strips and films: files that decode, with the pixels that the motion asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lmm
from lmm.core.errors import InputError
from lmm.core.motion import INTERPOLATED, MISSING, SYNTHESISED, Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.rendering.draw import SIDES, Canvas, fan, figure, opacity
from lmm.rendering.render import render
from lmm.rendering.scene import LEFT, RIGHT, Scene, build

SKELETON = Skeleton("arms", ("Chest", "RHand", "LHand"), (-1, 0, 0), (("RHand", "LHand"),))


def arms(frames: int = 24, fps: float = 12, **fields: object) -> Motion:
    at = np.tile(np.array([[100, 100], [40, 60], [160, 60.0]]), (frames, 1, 1))
    at[:, 1, 1] += 40 * np.arange(frames) / frames
    return make_motion(at, fps, SKELETON, "image", size=(200, 200), **fields)  # type: ignore[arg-type]


def forecast(draws: int = 5) -> Motion:
    whole = arms()
    rng = np.random.default_rng(0)
    future = whole.crop(12, 24)
    samples = future.positions[None] + np.cumsum(rng.normal(0, 2, (draws, 12, 3, 2)), axis=1)
    return future.replace(positions=samples[0], samples=samples, context=whole.crop(0, 12))


def drawn(scene: Scene, frame: int, with_fan: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture (H, W, 3) of one pose and the pixels (J, 2) of its joints."""
    panel = scene.panels[0]
    segment = panel.tracks[0].segments[-1]
    view = panel.camera.view((20, 20, 280, 280))
    canvas = Canvas(300, 300)
    if with_fan:
        fan(canvas, view, segment, frame, np.zeros(2), (0, 158, 115), 6)
    figure(canvas, view, segment, frame, np.zeros(2), SIDES, 6)
    return np.asarray(canvas.image), np.rint(view.project(segment.motion.positions[frame])[0])


def pixel(picture: np.ndarray, at: np.ndarray) -> tuple[int, ...]:
    return tuple(int(v) for v in picture[int(at[1]), int(at[0])])


def test_joints_have_their_sides_colour_at_their_place() -> None:
    picture, at = drawn(build([arms()]), 0)
    assert pixel(picture, at[1]) == SIDES[RIGHT]
    assert pixel(picture, at[2]) == SIDES[LEFT]


def test_a_missing_joint_leaves_no_pixel() -> None:
    motion = arms()
    positions = motion.positions.copy()
    positions[3, 1] = np.nan
    scene = build([motion.replace(positions=positions)])
    _, places = drawn(scene, 2)
    picture, _ = drawn(scene, 3)
    x, y = places[1].astype(int)
    assert (picture[y - 25 : y + 25, max(x - 15, 0) : x + 15] == 255).all()
    assert not (picture == SIDES[RIGHT]).all(axis=2).any()
    assert (picture == SIDES[LEFT]).all(axis=2).any()


def test_confidence_is_opacity() -> None:
    motion = arms().replace(skeleton=Skeleton("markers", SKELETON.joints, (-1, -1, -1), SKELETON.pairs))
    picture, at = drawn(build([motion.replace(confidence=motion.confidence * 0.25)]), 0)
    expected = 255 + (np.array(SIDES[LEFT]) - 255) * opacity(0.25)
    assert np.abs(np.array(pixel(picture, at[2])) - expected).max() <= 2


@pytest.mark.parametrize("flag", [INTERPOLATED, SYNTHESISED])
def test_filled_in_joints_are_hollow(flag: int) -> None:
    flags = np.zeros((24, 3), np.uint8)
    flags[:, 2] = flag
    picture, at = drawn(build([arms(flags=flags)]), 0)
    assert pixel(picture, at[2]) == (255, 255, 255)
    assert pixel(picture, at[1]) == SIDES[RIGHT]


def test_the_fan_shows_samples_beside_the_first() -> None:
    scene = build([forecast()])
    plain, _ = drawn(scene, 11)
    fanned, at = drawn(scene, 11, with_fan=True)
    assert (plain != fanned).any(axis=2).sum() > 200
    assert pixel(fanned, at[2]) == SIDES[LEFT]


@pytest.mark.parametrize("motions", [[arms()], [forecast()], [arms(), forecast()]])
def test_strip(tmp_path: Path, motions: list[Motion]) -> None:
    out = render(motions, tmp_path / "a.png", width=900)
    with Image.open(out) as picture:
        assert picture.width == 900
        assert picture.height >= 150 * len(motions)
        colours = {c for _, c in picture.convert("RGB").getcolors(1 << 20) or []}
    assert {SIDES[RIGHT], SIDES[LEFT]} <= colours


def test_gif_keeps_real_time(tmp_path: Path) -> None:
    out = render([arms(frames=25, fps=10)], tmp_path / "a.gif", width=300)
    with Image.open(out) as film:
        assert film.width == 300
        assert film.n_frames == 25
        total = 0
        for i in range(film.n_frames):
            film.seek(i)
            total += film.info["duration"]
        corner = film.convert("RGB").getpixel((2, 2))
    assert total == 2500
    assert corner == (255, 255, 255)


@pytest.mark.parametrize("width", [None, 401])
def test_mp4_plays_in_a_browser(tmp_path: Path, width: int | None) -> None:
    av = pytest.importorskip("av")
    out = render([arms(frames=90, fps=60), forecast()], tmp_path / "a.mp4", compare=True, width=width)
    with av.open(str(out)) as film:
        stream = film.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in film.decode(video=0)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == pytest.approx(30)
    # context from -11/12 s to the end of the 60 fps motion, 89/60 s
    assert len(frames) == int((11 / 12 + 89 / 60) * 30 + 1e-6) + 1
    assert frames[0].shape[1] == (400 if width else 1280)
    assert frames[0].shape[0] % 2 == 0
    assert (frames[0] != frames[-1]).any()


def test_one_frame_is_enough(tmp_path: Path) -> None:
    for name in ("a.png", "a.gif", "a.html"):
        assert render([arms(frames=1)], tmp_path / name).stat().st_size > 100


def test_a_motion_with_nothing_seen_is_empty_and_no_error(tmp_path: Path) -> None:
    blank = make_motion(np.full((4, 3, 2), np.nan), 10, SKELETON, "image", flags=np.full((4, 3), MISSING))
    for name in ("a.png", "a.gif", "a.html"):
        assert render([blank], tmp_path / name).is_file()


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        ("a.jpg", None, r"\.png, \.gif, \.mp4 or \.html"),
        ("a", None, "no extension"),
        ("a.png", 20, "160"),
        ("no/a.png", None, "folder"),
    ],
)
def test_bad_requests(tmp_path: Path, name: str, width: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        render([arms()], tmp_path / name, width=width)
    assert not (tmp_path / name).exists()


def test_a_gif_that_would_be_too_long_names_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.mp4 or \.html"):
        render([arms(frames=2000, fps=1)], tmp_path / "a.gif")


def test_real_recordings(tmp_path: Path, shared_data: Path) -> None:
    from lmm.pipeline.convert import to_body25

    motion = lmm.read(shared_data / "cmu_bvh_samples/07_01.bvh")
    for name in ("a.png", "a.html"):
        out = render([motion, to_body25(motion)], tmp_path / name)
        assert out.stat().st_size > 20_000
