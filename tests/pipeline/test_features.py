"""Features and their inverse: by hand, on arbitrary motions, and on motion capture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation
from lmm.core.motion import Motion, make_motion
from lmm.core.skeleton import Skeleton
from lmm.pipeline.features import (
    CONFIDENCE_STD_FLOOR,
    MIDHIP,
    NECK,
    STD_FLOOR,
    Features,
    FeatureSpec,
    FeatureTransform,
    decode,
    encode,
    feature_names,
    moments,
    statistics,
)
from lmm.skeletons import BODY_25

J = BODY_25.index
CHAINS = (
    ("MidHip", "Neck"),
    ("RShoulder", "LShoulder"),
    *(
        (f"{side}{a}", f"{side}{b}", f"{side}{c}")
        for side in "RL"
        for a, b, c in (("Hip", "Knee", "Ankle"), ("Shoulder", "Elbow", "Wrist"))
    ),
)
XYC, XYZ = FeatureSpec(layout="xyc"), FeatureSpec(layout="xyz")
RNG = np.random.default_rng(0)
ARBITRARY_XYC, ARBITRARY_XYZ = (
    FeatureSpec(layout=layout, mean=tuple(RNG.normal(0, 0.5, 75)), std=tuple(RNG.uniform(0.02, 2, 75)))
    for layout in ("xyc", "xyz")
)


def blank(frames: int, dims: int) -> np.ndarray:
    return np.full((frames, 25, dims), np.nan, np.float32)


def image(points: np.ndarray, confidence: np.ndarray | None = None) -> Motion:
    return make_motion(points, 15, BODY_25, "image", confidence, size=(640, 480))


def world(points: np.ndarray) -> Motion:
    return make_motion(points, 15, BODY_25, "world")


def walk(frames: int = 20, seed: int = 0, dims: int = 3) -> np.ndarray:
    """A body of fixed shape plus smooth wobble and a curved path, facing +z, about 1.7 units tall."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(0, 0.1, (25, 3))
    places = {
        "MidHip": (0, 1, 0),
        "Neck": (0, 1.5, 0),
        "RHip": (-0.1, 1, 0),
        "LHip": (0.1, 1, 0),
        "RKnee": (-0.1, 0.5, 0),
        "RAnkle": (-0.1, 0.1, 0),
        "LKnee": (0.1, 0.5, 0),
        "LAnkle": (0.1, 0.1, 0),
        "RShoulder": (-0.2, 1.5, 0),
        "LShoulder": (0.2, 1.5, 0),
        "RElbow": (-0.3, 1.2, 0),
        "RWrist": (-0.3, 1, 0.1),
        "LElbow": (0.3, 1.2, 0),
        "LWrist": (0.3, 1, 0.1),
    }
    for name, place in places.items():
        shape[J[name]] = place
    t = np.arange(frames)[:, None, None] / 15
    wobble = 0.05 * np.sin(2 * np.pi * t * rng.uniform(0.3, 1, (25, 3)) + rng.uniform(0, 6, (25, 3)))
    path = np.concatenate([np.sin(t), 0 * t, 1.3 * t], axis=2)
    return (shape + wobble + path)[..., :dims].astype(np.float32)


def cell(features: Features, joint: str) -> np.ndarray:
    return features.values.reshape(-1, 25, 3)[:, J[joint]]


def diagonal(motion: Motion) -> float:
    points = motion.positions[motion.observed].astype(float)
    return float(np.linalg.norm(points.max(axis=0) - points.min(axis=0)))


def assert_returns(motion: Motion, back: Motion) -> None:
    assert np.array_equal(np.isnan(back.positions), np.isnan(motion.positions))
    error = np.abs(back.positions.astype(float) - motion.positions)[motion.observed].max()
    assert error <= 1e-4 * diagonal(motion)
    assert back.space == motion.space
    assert back.size == motion.size
    assert back.fps == motion.fps
    assert back.start_s == motion.start_s


# ---- by hand


def test_names() -> None:
    assert feature_names("xyc")[:3] == ["Nose.x", "Nose.y", "Nose.confidence"]
    assert feature_names("xyc")[24:27] == ["MidHip.dx", "MidHip.dy", "MidHip.confidence"]
    assert feature_names("xyz")[24:28] == ["MidHip.dx", "MidHip.dy", "MidHip.dz", "RHip.x"]
    assert len(set(feature_names("xyz"))) == 75


def test_image_example_by_hand() -> None:
    p = blank(4, 2)
    p[:, MIDHIP] = [[100, 200], [110, 200], [np.nan, np.nan], [130, 180]]
    p[:, NECK] = [[100, 150], [110, 150], [120, 140], [130, 130]]  # 50 pixels above: one body length
    p[:, J["Nose"]] = [[125, 100], [np.nan, np.nan], [120, 115], [130, 105]]
    confidence = np.where(np.isnan(p[..., 0]), 0, 0.5)
    made = encode(image(p, confidence), XYC)
    t = made.transform
    assert (t.centre, t.scale, t.scale_from, t.heading) == ("MidHip", 50, "torso", 0)
    assert (t.start, t.start_frame, t.end, t.end_frame) == ((100, 200), 0, (130, 180), 3)
    # after the gap the whole displacement since frame 1: 20 right and 20 up
    assert np.allclose(cell(made, "MidHip"), [[0, 0, 0.5], [0.2, 0, 0.5], [0, 0, 0], [0.4, 0.4, 0.5]])
    # in the gap the mid-hip counts as (120, 190) for centring
    assert np.allclose(cell(made, "Neck"), [[0, 1, 0.5], [0, 1, 0.5], [0, 1, 0.5], [0, 1, 0.5]])
    assert np.allclose(cell(made, "Nose"), [[0.5, 2, 0.5], [0, 0, 0], [0, 1.5, 0.5], [0, 1.5, 0.5]])
    assert made.observed.sum() == 4 + 3 + 3
    assert not made.values[:, 6:24].any()
    assert made.values.dtype == np.float32


def test_world_example_by_hand() -> None:
    p = blank(3, 3)
    # facing +x: left is at -z. Walks 0.25 m along x per frame, that is ahead
    p[:, MIDHIP], p[:, NECK], p[:, J["Nose"]] = (5, 1, 7), (5, 1.5, 7), (5.1, 1.7, 7)
    p[:, J["RHip"]], p[:, J["LHip"]] = (5, 1, 7.1), (5, 1, 6.9)
    p[..., 0] += np.arange(3)[:, None] * 0.25
    made = encode(world(p), XYZ)
    assert np.isclose(made.transform.heading, np.pi / 2)
    assert made.transform.heading_from == "hips"
    assert np.allclose(cell(made, "MidHip"), [[0, 0, 0], [0, 0, 0.5], [0, 0, 0.5]], atol=1e-6)
    assert np.allclose(cell(made, "LHip"), [0.2, 0, 0], atol=1e-6)
    assert np.allclose(cell(made, "Nose"), [0, 1.4, 0.2], atol=1e-6)


def test_heading_is_of_the_last_context_frame_that_tells_it() -> None:
    p = walk(10)
    turned = np.einsum("tab,tjb->tja", axis_rotation("y", np.linspace(0, 0.9, 10)), p)
    hips, shoulders = [J["RHip"], J["LHip"]], [J["RShoulder"], J["LShoulder"]]
    for place in (hips, shoulders):
        turned[:, place[0]], turned[:, place[1]] = (
            np.stack(
                [side * np.cos(np.linspace(0, 0.9, 10)), 0 * turned[:, 0, 0], -side * np.sin(np.linspace(0, 0.9, 10))],
                -1,
            )
            for side in (-0.1, 0.1)
        )
    whole, context = encode(world(turned), XYZ), encode(world(turned), XYZ, 6)
    assert np.isclose(whole.transform.heading, 0.9)
    assert np.isclose(context.transform.heading, 0.5)
    turned[3:, hips] = np.nan
    from_shoulders = encode(world(turned), XYZ, 6).transform
    assert (round(from_shoulders.heading, 6), from_shoulders.heading_from) == (0.5, "shoulders")
    turned[3:, shoulders] = np.nan
    earlier = encode(world(turned), XYZ, 6).transform
    assert (round(earlier.heading, 6), earlier.heading_from) == (0.2, "hips")
    turned[:, hips + shoulders] = np.nan
    unknown = encode(world(turned), XYZ, 6).transform
    assert (unknown.heading, unknown.heading_from) == (0.0, "none")


def test_lying_on_the_side_tells_no_heading() -> None:
    p = walk(4)
    for right, left in (("RHip", "LHip"), ("RShoulder", "LShoulder")):
        p[:, J[left]] = p[:, J[right]] + [0, 0.3, 0]
    assert encode(world(p), XYZ).transform.heading_from == "none"


def test_scale_is_the_90th_percentile_of_the_context() -> None:
    p = walk(30, dims=2) * 100
    p[:, NECK] = p[:, MIDHIP] + np.stack([np.zeros(30), np.arange(30) + 41], -1)
    assert np.isclose(encode(image(p), XYC).transform.scale, np.percentile(np.arange(30) + 41, 90))
    assert np.isclose(encode(image(p), XYC, 11).transform.scale, 50)


@pytest.mark.parametrize(
    ("seen", "length", "name", "ratio"),
    [
        (("RHip", "RKnee", "RAnkle"), 0.8, "right leg", 0.288 / 0.491),
        (("LShoulder", "LElbow", "LWrist"), 0.6, "left arm", 0.288 / 0.332),
        (("RShoulder", "LShoulder"), 0.4, "shoulders", 0.288 / 0.259),
    ],
)
def test_scale_from_a_limb(seen: tuple[str, ...], length: float, name: str, ratio: float) -> None:
    p = blank(5, 3)
    for k, joint in enumerate(seen):
        p[:, J[joint]] = [0, -k * length / (len(seen) - 1), 1]
    p[:, NECK] = 0.1
    t = encode(world(p), XYZ).transform
    assert t.scale_from == name
    assert np.isclose(t.scale, length * ratio)
    assert t.centre == "Neck"
    p[:, MIDHIP] = p[:, NECK] + [0, 0, 0.19 * length]  # a torso under 20 % of the limb is not believed
    assert encode(world(p), XYZ).transform.scale_from == name
    p[:, MIDHIP] = p[:, NECK] + [0, 0, 0.21 * length]
    assert encode(world(p), XYZ).transform.scale_from == "torso"


def test_centred_on_the_neck() -> None:
    p = walk(8)
    p[:, MIDHIP] = np.nan
    p[:, J["RHip"]] = p[:, J["LHip"]] = np.nan
    made = encode(world(p), XYZ)
    t = made.transform
    assert (t.centre, t.heading_from) == ("Neck", "shoulders")
    turn = axis_rotation("y", np.array(-t.heading))
    moved = np.diff(p[:, NECK].astype(float), axis=0) @ turn.T / t.scale
    assert np.allclose(cell(made, "Neck")[1:], moved, atol=1e-5)
    assert not cell(made, "Neck")[0].any()
    assert np.allclose(cell(made, "Nose"), (p[:, J["Nose"]] - p[:, NECK]) @ turn.T / t.scale, atol=1e-5)
    assert not made.observed[:, MIDHIP].any()
    assert not cell(made, "MidHip").any()
    assert_returns(world(p), decode(made.values, made.observed, XYZ, t))


def test_moments_follow_the_centre() -> None:
    """Standardised neck-centred features of a rigid upright body equal its mid-hip-centred ones, the centres apart."""
    p = walk(8, dims=2)
    p[:, NECK] = p[:, MIDHIP] + np.float32([0, -0.5])
    legs = image(p * 100)
    p[:, MIDHIP] = np.nan
    upper = image(p * 100)
    mean = np.zeros((25, 3))
    mean[NECK] = 0, 1, 0.9
    mean[MIDHIP, :2] = 0.1, 0.2
    std = RNG.uniform(0.1, 1, (25, 3))
    spec = FeatureSpec(layout="xyc", mean=tuple(mean.ravel()), std=tuple(std.ravel()))
    a, b = encode(legs, spec), encode(upper, spec)
    ratio = a.transform.scale / b.transform.scale
    shift = moments(spec, "MidHip")[0] - moments(spec, "Neck")[0]
    raw = (a.values.reshape(-1, 25, 3) * std + mean - shift)[:, J["RKnee"], :2]
    assert np.allclose((b.values.reshape(-1, 25, 3) * std + mean - shift)[:, J["RKnee"], :2], raw * ratio, atol=1e-4)
    assert np.allclose(moments(spec, "Neck")[0][NECK], [0.1, 0.2, 0.9])
    assert np.allclose(moments(spec, "Neck")[0][MIDHIP, :2], [0, -1])


# ---- any motion


@st.composite
def motions(draw: st.DrawFn) -> tuple[Motion, int]:
    """An arbitrary motion and a number of context frames."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    frames, dims = draw(st.integers(1, 60)), draw(st.sampled_from([2, 3]))
    if draw(st.booleans()):
        points = walk(frames, dims=dims).astype(float)
    else:
        points = rng.normal(size=(frames, 25, dims)) + np.cumsum(rng.normal(size=(frames, 1, dims)), axis=0)
    missing = rng.random((frames, 25)) < draw(st.sampled_from([0.0, 0.1, 0.6]))
    missing[:, draw(st.lists(st.integers(0, 24), max_size=20))] = True
    if draw(st.booleans()):
        at = draw(st.integers(0, frames))
        missing[at : at + draw(st.integers(1, 60)), MIDHIP] = True
    points[missing] = np.nan
    points = points * 10.0 ** draw(st.floats(-2, 4)) + draw(st.sampled_from([0, -3, 700, 1e4])) * rng.normal(size=dims)
    confidence = np.where(missing, 0, rng.uniform(0.01, 1, missing.shape))
    space = "image" if dims == 2 else "world"
    size = (640, 480) if dims == 2 else None
    motion = Motion(points, confidence, 15, BODY_25, space, size=size, start_s=draw(st.sampled_from([0.0, 12.5])))
    return motion, draw(st.integers(1, frames))


def try_encode(motion: Motion, spec: FeatureSpec, context: int | None = None) -> Features | None:
    seen = motion.observed[:context]
    if not seen[:, [MIDHIP, NECK]].any():
        reason = "neither mid-hip nor neck"
    elif not any(seen[:, [J[name] for name in chain]].all(axis=1).any() for chain in CHAINS):
        reason = "size is unknown"
    else:
        return encode(motion, spec, context)
    with pytest.raises(MotionError, match=reason):
        encode(motion, spec, context)
    return None


@settings(max_examples=200, deadline=None)
@given(motions(), st.booleans())
def test_round_trip(drawn: tuple[Motion, int], identity: bool) -> None:
    motion, context = drawn
    spec = (
        (XYC if motion.num_dims == 2 else XYZ)
        if identity
        else (ARBITRARY_XYC if motion.num_dims == 2 else ARBITRARY_XYZ)
    )
    made = try_encode(motion, spec, context)
    if made is None:
        return
    assert made.values.dtype == np.float32
    assert np.isfinite(made.values).all()
    assert not made.values.reshape(-1, 25, 3)[~motion.observed].any()
    transform = FeatureTransform.model_validate_json(made.transform.model_dump_json())
    assert transform == made.transform
    noise = np.where(np.repeat(made.observed, 3, axis=1), made.values, np.nan)  # masked values must not matter
    back = decode(noise, made.observed, spec, transform)
    assert_returns(motion, back)
    if spec.layout == "xyc":
        assert np.abs(back.confidence - motion.confidence).max() < 1e-5
    else:
        assert np.array_equal(back.confidence, motion.observed)


@settings(max_examples=150, deadline=None)
@given(motions())
def test_context_does_not_know_the_future(drawn: tuple[Motion, int]) -> None:
    motion, context = drawn
    spec = ARBITRARY_XYC if motion.num_dims == 2 else ARBITRARY_XYZ
    whole, alone = try_encode(motion, spec, context), try_encode(motion.crop(0, context), spec)
    if whole is None or alone is None:
        assert whole is alone is None
        return
    assert whole.transform == alone.transform
    assert np.array_equal(whole.values[:context], alone.values)
    if context == motion.num_frames:
        return
    after = alone.transform.after_context()
    together = decode(whole.values, whole.observed, spec, whole.transform)
    future = decode(whole.values[context:], whole.observed[context:], spec, after)
    assert_returns(motion.crop(context, motion.num_frames).replace(start_s=future.start_s), future)
    assert np.isclose(future.start_s, motion.start_s + context / 15)
    joined, parted = together.positions[context:], future.positions
    tolerance = 1e-5 * diagonal(motion) + 1e-6 * np.nanmax(np.abs(motion.positions))
    assert np.allclose(joined, parted, rtol=0, atol=tolerance, equal_nan=True)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 20), st.floats(-50, 50), st.floats(-50, 50), st.floats(-3.1, 3.1))
def test_features_do_not_depend_on_place_size_or_direction(
    seed: int, size: float, x: float, z: float, turn: float
) -> None:
    p = walk(12, seed)
    p[np.random.default_rng(seed).random(p.shape[:2]) < 0.1] = np.nan
    moved = size * (p.astype(float) @ axis_rotation("y", np.array(turn)).T) + np.array([x, 0.3, z])
    a, b = encode(world(p), XYZ), encode(world(moved), XYZ)
    tolerance = 1e-5 + 1e-5 * (abs(x) + abs(z)) / size
    assert np.allclose(a.values, b.values, atol=tolerance)
    flat = size * 100 * p[..., :2].astype(float) + np.array([x, z])
    a, b = encode(image(p[..., :2]), XYC), encode(image(flat), XYC)
    assert np.allclose(a.values, b.values, atol=tolerance)


# ---- forecasts


def test_forecast_continues_the_path_from_the_last_seen_place() -> None:
    p = walk(10, dims=2) * 100 + 300
    p[8:, MIDHIP] = np.nan
    made = encode(image(p), XYC)
    values = np.zeros((3, 75))
    values[:, 3 * MIDHIP : 3 * MIDHIP + 2] = 0.1, 0.2  # body lengths a frame, y up
    values[:, 3 * NECK : 3 * NECK + 2] = 0, 1
    forecast = decode(values, np.ones((3, 25)), XYC, made.transform.after_context())
    unit = made.transform.scale
    steps = np.arange(1, 4)[:, None] * [0.1 * unit, -0.2 * unit]
    assert np.allclose(forecast.joint("MidHip"), p[7, MIDHIP] + steps, atol=1e-3)
    assert np.allclose(forecast.joint("Neck"), p[7, MIDHIP] + steps - [0, unit], atol=1e-3)
    assert np.isclose(forecast.start_s, 10 / 15)
    assert (forecast.confidence > 0).all()  # though the forecast says 0
    assert made.transform.after_context().after_context() == made.transform.after_context()


def test_first_displacement_is_zero_even_after_a_late_start() -> None:
    p = walk(6)
    p[:2, MIDHIP] = np.nan
    made = encode(world(p), XYZ)
    assert made.transform.start_frame == 2
    assert not cell(made, "MidHip")[:3].any()
    assert cell(made, "MidHip")[3].any()


# ---- statistics


def test_statistics_standardise() -> None:
    made = []
    for seed in range(6):
        p = walk(20 + seed, seed, dims=2) * 100
        p[RNG.random(p.shape[:2]) < 0.3] = np.nan
        p[:, J["LEar"]] = np.nan
        confidence = np.where(np.isnan(p[..., 0]), 0, RNG.uniform(0.2, 1, p.shape[:2]))
        made.append(encode(image(p, confidence), XYC))
    neck = walk(20, 9, dims=2)
    neck[:, MIDHIP] = np.nan
    spec = statistics(iter([*made, encode(image(neck), XYC)]))
    values = np.concatenate([m.values for m in made]).astype(float)
    seen = np.repeat(np.concatenate([m.observed for m in made]), 3, axis=1)
    for i in range(75):
        column = values[seen[:, i], i]
        floor = CONFIDENCE_STD_FLOOR if i % 3 == 2 else STD_FLOOR
        expected = (column.mean(), max(column.std(), floor)) if len(column) else (0, 1)
        assert np.allclose((spec.mean[i], spec.std[i]), expected, rtol=1e-6, atol=1e-9)
    again = statistics([encode(decode(m.values, m.observed, XYC, m.transform), spec) for m in made])
    observed = seen.any(axis=0)
    assert np.allclose(np.array(again.mean)[observed], 0, atol=1e-4)


def test_statistics_of_upper_bodies_alone() -> None:
    p = walk(30)
    p[:, MIDHIP] = np.nan
    made = encode(world(p), XYZ)
    spec = statistics([made])
    standard = encode(world(p), spec).values[:, np.repeat(made.observed.any(axis=0), 3)]
    assert np.abs(standard.mean(axis=0)).max() < 1e-4
    assert (standard.std(axis=0) <= 1.0001).all()


def test_statistics_refuse_nothing_and_mixtures() -> None:
    with pytest.raises(MotionError, match="no features"):
        statistics([])
    with pytest.raises(MotionError, match="share"):
        statistics([encode(world(walk()), XYZ), encode(image(walk(dims=2)), XYC)])


def test_spec_is_checked_and_floored() -> None:
    spec = FeatureSpec(layout="xyc", std=(0.0,) * 75)
    assert set(spec.std[0::3]) == {STD_FLOOR}
    assert set(spec.std[2::3]) == {CONFIDENCE_STD_FLOOR}
    assert FeatureSpec.model_validate_json(spec.model_dump_json()) == spec
    for wrong in ({"mean": (0.0,) * 74}, {"mean": (np.nan,) * 75}, {"fps": 0}, {"layout": "xy"}, {"means": 1}):
        with pytest.raises(ValidationError):
            FeatureSpec.model_validate({"layout": "xyc", **wrong})


# ---- refusals


def test_refusals_say_what_to_do() -> None:
    p = walk()
    with pytest.raises(MotionError, match="camera"):
        encode(world(p), XYC)
    with pytest.raises(MotionError, match="layout xyc"):
        encode(image(p[..., :2]), XYZ)
    with pytest.raises(MotionError, match="resample"):
        encode(make_motion(p, 30, BODY_25, "world"), XYZ)
    with pytest.raises(MotionError, match="irregular"):
        encode(world(p).replace(times=np.arange(20) ** 1.1), XYZ)
    with pytest.raises(MotionError, match="convert"):
        encode(make_motion(p[:, :1], 15, Skeleton("dot", ("dot",), (-1,)), "world"), XYZ)
    with pytest.raises(MotionError, match="1 to 20"):
        encode(world(p), XYZ, 21)
    with pytest.raises(MotionError, match="1 to 20"):
        encode(world(p), XYZ, 0)
    dot = blank(3, 3)
    dot[:, NECK] = 1
    with pytest.raises(MotionError, match="size is unknown"):
        encode(world(dot), XYZ)
    dot[:, MIDHIP] = 1
    with pytest.raises(MotionError, match="size is unknown"):
        encode(world(dot), XYZ)
    dot[:, MIDHIP] = np.nan
    dot[:, NECK], dot[:, J["Nose"]] = np.nan, 1
    with pytest.raises(MotionError, match="neither mid-hip nor neck"):
        encode(world(dot), XYZ)
    tiny = blank(2, 3)
    tiny[0, MIDHIP], tiny[0, NECK], tiny[:, J["Nose"]] = 0, 1e-35, 1e9
    with pytest.raises(MotionError, match="too small"):
        encode(world(tiny), XYZ)


def test_decode_refuses_what_does_not_fit() -> None:
    made = encode(world(walk()), XYZ)
    with pytest.raises(MotionError, match="do not fit"):
        decode(made.values, made.observed, XYC, made.transform)
    with pytest.raises(MotionError, match="do not fit"):
        decode(made.values, made.observed, FeatureSpec(layout="xyz", fps=30), made.transform)
    for values, observed in (
        (made.values[:, :74], made.observed),
        (made.values, made.observed[:5]),
        (made.values[:0], made.observed[:0]),
    ):
        with pytest.raises(MotionError, match="must be"):
            decode(values, observed, XYZ, made.transform)
    broken = made.values.copy()
    broken[3, 3 * NECK] = np.nan
    with pytest.raises(MotionError, match="Neck in frame 3"):
        decode(broken, made.observed, XYZ, made.transform)
