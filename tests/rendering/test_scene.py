"""Projection, framing, clocks and sides, against known answers."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton, left_right_pairs
from lmm.rendering.scene import LEFT, MIDDLE, RIGHT, build, facing, frame, sides, title
from lmm.skeletons import table

BODY_25 = table("body_25").skeleton
BOX = (0.0, 0.0, 400.0, 300.0)


def standing(turn: float = 0.0, frames: int = 4, fps: float = 10, speed: float = 0.0, **fields: object) -> Motion:
    """A figure that faces +z turned by `turn` about +y and moves that way; its left is at +x before the turn."""
    names = ("Neck", "MidHip", "RHip", "LHip", "RAnkle", "LAnkle")
    at = np.full((25, 3), np.nan)
    places = [(0, 1.5, 0), (0, 1, 0), (-0.2, 1, 0), (0.2, 1, 0), (-0.2, 0.05, 0), (0.2, 0.05, 0)]
    at[[BODY_25.index[n] for n in names]] = places
    path = np.zeros((frames, 1, 3))
    path[:, 0, 2] = speed * np.arange(frames) / fps
    return make_motion((at + path) @ axis_rotation("y", np.array(turn)).T, fps, BODY_25, "world", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("turn", [0.0, 1.0, -2.5])
def test_left_of_a_person_is_at_the_pictures_right(turn: float) -> None:
    motion = standing(turn)
    assert facing([motion]) == pytest.approx(turn, abs=1e-5)
    for azimuth in (turn, build([motion]).panels[0].camera.azimuth):
        camera = frame(motion.positions.reshape(-1, 3), upright=True, azimuth=azimuth)
        pixels, _ = camera.view(BOX).project(motion.positions[0])
        right, left = pixels[BODY_25.index["RHip"]], pixels[BODY_25.index["LHip"]]
        assert left[0] > right[0] + 20
        assert pixels[BODY_25.index["Neck"], 1] < pixels[BODY_25.index["LAnkle"], 1]


def test_projection_agrees_with_a_pinhole_camera() -> None:
    view = frame(standing().positions.reshape(-1, 3), upright=True, azimuth=0.7).view(BOX)
    right, down, towards = view.axes
    assert np.allclose(view.axes @ view.axes.T, np.eye(3), atol=1e-12)
    assert np.allclose(np.cross(right, -down), towards)
    eye = view.target + towards * view.distance
    point = np.array([0.3, 1.2, -0.4])
    ray = point - eye
    hit = eye + ray * (view.distance / -(ray @ towards))  # where the ray meets the plane through the target
    expected = np.array(view.centre) + view.scale * np.array([(hit - view.target) @ right, (hit - view.target) @ down])
    assert np.allclose(view.project(point)[0], expected)


@pytest.mark.parametrize("space", ["image", "body"])
def test_two_dimensions_keep_their_vertical(space: str) -> None:
    points = np.array([[[0.0, 0.0], [0.0, 100.0]]])
    motion = make_motion(points, 10, Skeleton("two", ("a", "b"), (-1, 0)), space)  # type: ignore[arg-type]
    (a, b), _ = build([motion]).panels[0].camera.view(BOX).project(motion.positions[0])
    assert (b[1] > a[1]) == (space == "image")


def test_everything_is_in_the_frame_and_an_outlier_does_not_shrink_it() -> None:
    motion = standing(frames=200, speed=0.2)
    view = build([motion]).panels[0].camera.view(BOX)
    pixels = view.project(motion.positions)[0].reshape(-1, 2)
    pixels = pixels[np.isfinite(pixels).all(axis=1)]
    assert (pixels >= 0).all()
    assert (pixels <= (400, 300)).all()
    positions = motion.positions.copy()
    positions[50, 1] = 1000
    assert build([motion.replace(positions=positions)]).panels[0].camera.view(BOX).scale > view.scale / 2


def test_panels_of_one_space_have_one_scale() -> None:
    """The same metre is as many pixels in each, at the distance that each camera looks at."""
    small, walks = standing(), standing(frames=30, speed=0.5)
    scene = build([small, walks, small.replace(positions=small.positions * 0.7)], compare=True)
    for which in ("whole", "near"):
        views = [getattr(p, which).view(BOX) for p in scene.panels]
        assert [v.scale for v in views] == pytest.approx([views[0].scale] * 3)
    for panel in scene.panels:
        pixels = panel.whole.view(BOX).project(panel.tracks[0].segments[0].motion.positions)[0]
        pixels = pixels[np.isfinite(pixels).all(-1)]
        assert (pixels > 0).all()
        assert (pixels < BOX[2:]).all()
    far = build([small, standing(frames=200, speed=1.0)], compare=True)
    assert [p.follow for p in far.panels] == [True, True]
    apart = build([small, small.replace(positions=small.positions[..., :2] * 500, space="image")])
    assert apart.panels[0].camera.extent != apart.panels[1].camera.extent


def test_a_long_path_is_followed() -> None:
    assert not build([standing(frames=30, speed=0.5)]).panels[0].follow
    panel = build([standing(frames=200, speed=1.0)]).panels[0]
    assert panel.follow
    assert panel.shift(15.0) == pytest.approx([0, 0, 15], abs=0.05)


def test_floor_is_zero_or_the_lowest_foot() -> None:
    motion = standing()
    assert build([motion]).panels[0].floor == 0
    assert build([motion.replace(positions=motion.positions + np.float32([0, 3, 0]))]).panels[0].floor == pytest.approx(
        3.05, abs=0.01
    )


def test_sides_from_pairs_or_obvious_names_only() -> None:
    names = (
        "Hips",
        "LeftLeg",
        "RightLeg",
        "Right",
        "hand_l",
        "hand_r",
        "P:LASI",
        "P:RASI",
        "lowerback",
        "lfemur",
        "rfemur",
        "Ribs",
    )
    found = dict(zip(names, sides(Skeleton("x", names, (-1,) * len(names), left_right_pairs(names))), strict=True))
    assert {n for n, s in found.items() if s == RIGHT} == {"RightLeg", "hand_r", "P:RASI", "rfemur"}
    assert {n for n, s in found.items() if s == LEFT} == {"LeftLeg", "hand_l", "P:LASI", "lfemur"}
    assert sides(BODY_25)[BODY_25.index["RKnee"]] == RIGHT
    assert sides(BODY_25)[BODY_25.index["Neck"]] == MIDDLE


def test_a_forecast_puts_zero_at_the_end_of_its_context() -> None:
    whole = standing(frames=20, meta={"source": "a"})
    forecast = whole.crop(12, 20).replace(context=whole.crop(4, 12))
    scene = build([forecast, whole], compare=True)
    context, future = scene.tracks[0].segments
    assert context.times[-1] == 0
    assert future.times == pytest.approx(np.arange(1, 9) / 10)
    assert scene.tracks[1].segments[0].times == pytest.approx((np.arange(20) - 11) / 10)
    assert [scene.tracks[0].at(t)[0].forecast for t in (-0.3, 0.0, 0.04, 0.06, 0.8)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    without_clock = forecast.replace(start_s=0.0)
    assert build([without_clock]).tracks[0].segments[1].times == pytest.approx(np.arange(1, 9) / 10)


def test_clocks_are_shared_within_a_source_only() -> None:
    late = standing(start_s=5.0, meta={"source": "a"})
    assert build([late]).start == 0
    assert [t.start for t in build([standing(meta={"source": "a"}), late]).tracks] == [0, 5]
    assert [t.start for t in build([standing(meta={"source": "b"}), late]).tracks] == [0, 0]


def test_motions_are_overlaid_only_in_one_space() -> None:
    flat = make_motion(np.ones((3, 1, 2)), 10, Skeleton("dot", ("a",), (-1,)), "image", size=(64, 48))
    assert len(build([standing(), standing()]).panels) == 1
    assert len(build([standing(), standing()], compare=True).panels) == 2
    assert len(build([standing(), flat]).panels) == 2


def test_nothing_and_too_much_are_refused() -> None:
    with pytest.raises(MotionError, match="no motion"):
        build([])
    with pytest.raises(MotionError, match="at most 24"):
        build([standing()] * 25)


def test_title_is_one_line() -> None:
    assert title(standing(meta={"source": "walk\n.bvh", "person": "2"})) == "walk .bvh · person 2"
