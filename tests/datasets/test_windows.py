"""Windows follow from their seeds alone, contexts know nothing of what follows, and augmentation keeps the physics."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import astuple
from typing import Any

import numpy as np
import pytest

from lmm.core.errors import MotionError
from lmm.core.motion import INTERPOLATED, RECORDED, SYNTHESISED, Motion
from lmm.datasets.synthetic import gait
from lmm.datasets.windows import (
    MIN_CONTEXT,
    MIN_HORIZON,
    Augmentation,
    Batch,
    Clips,
    Sampler,
    Window,
    collate,
    cut_window,
    mirror,
)
from lmm.pipeline.cameras import Camera, project, views
from lmm.pipeline.features import MIDHIP, NUM_JOINTS, FeatureSpec, encode
from lmm.skeletons import BODY_25
from lmm.tokens import PARTS

FPS = 15
NONE = Augmentation(mirror=0, speed=0, short=0, drop_joints=0, drop_regions=0, drop_frames=0, noise=0, tilt_deg=0)
CAMERA = Camera(azimuth_deg=40)
XYC, XYZ = FeatureSpec(layout="xyc"), FeatureSpec(layout="xyz")
WRIST, EAR, TOE = (BODY_25.index[j] for j in ("LWrist", "REar", "LBigToe"))


def walker(seconds: float = 6.0, seed: int = 0) -> Motion:
    return gait(seconds, FPS, seed=seed, turn_deg_per_s=60)


def clips(*seconds: float) -> Clips:
    return Clips([walker(s, i) for i, s in enumerate(seconds or (6.0, 2.0, 14.0))], FPS)


def sampler(spec: FeatureSpec = XYC, **given: Any) -> Sampler:
    return Sampler([clips(), clips(4.0)], [0.7, 0.3], spec, **{"augmentation": Augmentation(), **given})


def same(a: Window, b: Window) -> bool:
    return (
        a.context_frames == b.context_frames
        and np.array_equal(a.features.values, b.features.values)
        and np.array_equal(a.features.observed, b.features.observed)
        and np.array_equal(a.recorded, b.recorded)
        and a.features.transform == b.features.transform
    )


def without(motion: Motion, joint: int, frames: slice) -> Motion:
    confidence = motion.confidence.copy()
    confidence[frames, joint] = 0
    return motion.replace(confidence=confidence)


# cuts


def test_every_cut_comes_once() -> None:
    motions = [walker(s, i) for i, s in enumerate((6.0, 0.5, 2.0, 15.4 / FPS))]
    given = Clips(motions, FPS)
    got = [(given.motions.index(m), begin) for m, begin in map(given.cut, range(given.num_cuts))]
    expected = [
        (i, begin)
        for i, m in enumerate(motions)
        for begin in range(1, m.num_frames)
        if begin >= MIN_CONTEXT and m.num_frames - begin >= MIN_HORIZON
    ]
    assert got == expected
    assert given.num_frames == sum(m.num_frames for m in motions)
    whole = [1 for m in motions for first in range(m.num_frames) if first + 30 + 10 <= m.num_frames]
    assert given.full_windows(30, 10) == len(whole)


def test_clips_come_at_one_rate() -> None:
    assert [m.fps for m in Clips([gait(4.0, 60), gait(4.0, 30)], FPS).motions] == [FPS, FPS]


@pytest.mark.parametrize("motions", [[], [gait(1.0, FPS)]])
def test_clips_that_are_too_short(motions: list[Motion]) -> None:
    with pytest.raises(MotionError, match="no clip has 16 frames at 15 a second: there is nothing to forecast"):
        Clips(motions, FPS)


# draws


@pytest.mark.parametrize("spec", [XYC, XYZ])
def test_a_draw_follows_from_its_seed(spec: FeatureSpec) -> None:
    draws, again = sampler(spec), sampler(spec)
    windows = [draws.draw((3, i)) for i in range(12)]
    assert all(same(w, again.draw((3, i))) for i, w in reversed(list(enumerate(windows))))
    assert not any(same(windows[0], w) for w in windows[1:])


def test_a_draw_is_the_same_in_another_process() -> None:
    code = (
        "import pickle, sys; sys.path[:0] = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "from lmm.datasets.windows import *; from lmm.datasets.synthetic import gait\n"
        "from lmm.pipeline.features import FeatureSpec\n"
        "clips = Clips([gait(6.0, 15, seed=1, turn_deg_per_s=60)], 15)\n"
        "s = Sampler([clips], [1.0], FeatureSpec(layout='xyc'), augmentation=Augmentation())\n"
        "sys.stdout.buffer.write(pickle.dumps([s.draw((5, i)).features.values for i in range(6)]))"
    )
    paths = pickle.dumps(sys.path).hex()
    got = pickle.loads(subprocess.run([sys.executable, "-c", code, paths], capture_output=True, check=True).stdout)
    here = Sampler([Clips([walker(6.0, 1)], FPS)], [1.0], XYC, augmentation=Augmentation())
    assert all(np.array_equal(x, here.draw((5, i)).features.values) for i, x in enumerate(got))


def test_draws_are_spread_as_promised() -> None:
    """Corpora by weight; any cut of a corpus alike; views alike."""
    first, second = clips(6.0, 2.0), clips(4.0)
    seen: list[tuple[str, int]] = []
    for i in range(3000):
        rng = np.random.default_rng((0, i))
        chosen = int(rng.choice(2, p=[0.7, 0.3]))
        seen.append((["first", "second"][chosen], int(rng.integers((first, second)[chosen].num_cuts))))
    draws = Sampler([first, second], [7, 3], XYZ, context_frames=60, horizon_frames=8)
    for i, (corpus, cut) in list(enumerate(seen))[:40]:
        motion, begin = {"first": first, "second": second}[corpus].cut(cut)
        assert same(draws.draw((0, i)), cut_window(motion, begin, XYZ, 60, 8, CAMERA))
    assert abs(np.mean([c == "first" for c, _ in seen]) - 0.7) < 0.03
    counts = np.bincount([k for c, k in seen if c == "first"], minlength=first.num_cuts)
    assert counts.min() > 0
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 1.6 * len(counts)  # chi-squared, far in its tail


def test_motions_that_do_not_fit_the_spec_are_told() -> None:
    """A draw tries again after a window that cannot be made, but not for ever."""
    images = Clips([project(walker(), CAMERA)], FPS)
    with pytest.raises(MotionError, match="xyz"):
        Sampler([images], [1.0], XYZ).draw((0, 0))


def test_a_batch_is_the_same_in_parts() -> None:
    draws = sampler()
    whole = draws.batch(7, 3, 8, pool=4)
    parts = [draws.batch(7, 3, 8, pool=4, part=slice(rank, None, 2)) for rank in range(2)]
    for rank, part in enumerate(parts):
        for name in ("context", "valid", "observed", "target", "recorded"):
            mine, all_of = getattr(part, name), getattr(whole, name)[rank::2]
            frames = mine.shape[1]
            assert np.array_equal(mine, all_of[:, all_of.shape[1] - frames :])
            assert not all_of[:, : all_of.shape[1] - frames].any()


def test_a_pool_of_batches_holds_every_draw_once_and_little_padding() -> None:
    draws = sampler(augmentation=None)
    batches = [draws.batch(7, step, 6, pool=5) for step in range(5, 10)]
    rows = [b.target[i].tobytes() for b in batches for i in range(6)]
    expected = [collate([draws.draw((7, 1, i))], 30).target[0].tobytes() for i in range(30)]
    assert sorted(rows) == sorted(expected)
    alone = collate([draws.draw((7, 1, i)) for i in range(30)], 30)
    padding = sum((~b.valid).sum() for b in batches) / sum(b.valid.size for b in batches)
    assert padding < 0.5 * (~alone.valid).mean()


def test_short_contexts_do_not_come_first() -> None:
    draws = sampler(augmentation=None)
    lengths = [[draws.batch(0, 4 * pool + i, 4, pool=4).context.shape[1] for i in range(4)] for pool in range(6)]
    assert any(x != sorted(x) for x in lengths)
    assert len({int(np.argmin(x)) for x in lengths}) > 1


# windows


@pytest.mark.parametrize("spec", [XYC, XYZ])
def test_a_context_knows_nothing_of_what_follows(spec: FeatureSpec) -> None:
    motion = walker()
    other = motion.replace(
        positions=np.concatenate([motion.positions[:40], 1.3 * motion.positions[40:][::-1] + 0.2]).astype(np.float32)
    )
    a, b = (cut_window(m, 40, spec, 25, 30, CAMERA) for m in (motion, other))
    short = cut_window(motion, 40, spec, 25, 8, CAMERA)
    gone = cut_window(without(motion, WRIST, slice(40, None)), 40, spec, 25, 30, CAMERA)
    for w in (b, short, gone):
        assert w.context_frames == 25
        assert np.array_equal(a.features.values[:25], w.features.values[:25])
        assert np.array_equal(a.features.observed[:25], w.features.observed[:25])
        assert np.array_equal(a.recorded[:25], w.recorded[:25])
        assert a.features.transform == w.features.transform
    assert not np.array_equal(a.features.values[25:], b.features.values[25:])


def test_a_window_is_what_a_users_file_would_give() -> None:
    """The context's features equal those of the motion that ends there: in 3D as it is, in 2D as the camera saw it."""
    motion = walker()
    for spec, seen in ((XYZ, motion.crop(15, 40)), (XYC, project(motion.crop(15, 40), CAMERA))):
        w = cut_window(motion, 40, spec, 25, 30, CAMERA)
        np.testing.assert_array_equal(w.features.values[:25], encode(seen, spec).values)
    assert cut_window(motion, 10, XYZ, 25, 30, CAMERA).context_frames == 10
    assert len(cut_window(motion, motion.num_frames - 8, XYZ, 25, 30, CAMERA).features.values) == 33


def test_what_is_scored() -> None:
    motion = walker()
    flags = np.full(motion.flags.shape, RECORDED, np.uint8)
    flags[:, EAR] = SYNTHESISED
    flags[45:48, TOE] = INTERPOLATED
    motion = without(motion.replace(flags=flags), WRIST, slice(0, 42))  # seen only in the horizon
    motion = without(motion, BODY_25.index["RKnee"], slice(50, 52))
    w = cut_window(motion, 40, XYC, 25, 30, CAMERA)
    expected = np.ones((55, NUM_JOINTS), bool)
    expected[:, [EAR, WRIST]] = False
    expected[30:33, TOE] = False
    expected[35:37, BODY_25.index["RKnee"]] = False
    np.testing.assert_array_equal(w.recorded, expected)
    assert w.features.observed[27:, WRIST].all()
    assert w.features.observed[:, EAR].all()


def test_collated_windows_meet_where_horizons_begin() -> None:
    motion = walker()
    windows = [cut_window(motion, begin, XYZ, 25, 30, CAMERA) for begin in (13, 40, motion.num_frames - 10)]
    batch = collate(windows, 20)
    assert batch.context.shape == (3, 25, 75)
    assert batch.valid.sum(1).tolist() == [13, 25, 25]
    assert batch.valid[:, -1].all()
    for i, w in enumerate(windows):
        c, h = w.context_frames, min(20, len(w.features.values) - w.context_frames)
        assert np.array_equal(batch.context[i, 25 - c :], w.features.values[:c])
        assert np.array_equal(batch.observed[i, 25 - c :], w.features.observed[:c])
        assert np.array_equal(batch.target[i, :h], w.features.values[c : c + h])
        assert np.array_equal(batch.recorded[i, :h], w.recorded[c : c + h])
        assert not batch.context[i, : 25 - c].any()
        assert not batch.observed[i, : 25 - c].any()
        assert not batch.recorded[i, h:].any()
        assert not batch.target[i, h:].any()
    assert h == 10
    assert collate(windows[:1], 20).context.shape[1] == 15
    assert collate(windows[:1], 20, 42).context.shape[1] == 45


# augmentation


def test_mirrors() -> None:
    for motion in (walker(), project(walker(), CAMERA)):
        there = mirror(motion)
        back = mirror(there)
        np.testing.assert_allclose(back.positions, motion.positions, atol=1e-4 if motion.size else 0)
        assert np.array_equal(back.confidence, motion.confidence)
        width = motion.size[0] if motion.size else 0
        x = motion.joint("LWrist")
        np.testing.assert_allclose(there.joint("RWrist")[:, 0], width - x[:, 0], atol=1e-4)
        np.testing.assert_array_equal(there.joint("RWrist")[:, 1:], x[:, 1:])
        np.testing.assert_allclose(there.joint("Nose")[:, 0], width - motion.joint("Nose")[:, 0], atol=1e-4)
    flags = walker().flags.copy()
    flags[:, EAR] = SYNTHESISED
    flagged = mirror(walker().replace(flags=flags)).flags
    assert np.flatnonzero((flagged == SYNTHESISED).all(0)).tolist() == [BODY_25.index["LEar"]]
    assert np.count_nonzero(flagged) == len(flagged)
    lost = mirror(without(walker(), WRIST, slice(3, 7)))
    assert np.flatnonzero(~lost.observed[:, BODY_25.index["RWrist"]]).tolist() == [3, 4, 5, 6]
    assert lost.observed[:, WRIST].all()


def test_a_mirrored_walk_is_a_walk_of_the_other_side() -> None:
    """In a picture, mirroring the world about x and seeing it from the mirrored side is mirroring the picture."""
    motion, camera = walker(), Camera(azimuth_deg=30)
    seen = project(mirror(motion), Camera(azimuth_deg=-30), 40)
    expected = mirror(project(motion, camera, 40))
    np.testing.assert_allclose(seen.positions, expected.positions, atol=1e-2)


@pytest.mark.parametrize("spec", [XYC, XYZ])
def test_without_any_augmentation_nothing_changes(spec: FeatureSpec) -> None:
    plain, none = sampler(spec, augmentation=None), sampler(spec, augmentation=NONE)
    for i in range(10):
        a, b = plain.draw((1, i)), none.draw((1, i))
        assert a.context_frames == b.context_frames
        np.testing.assert_array_equal(a.features.observed, b.features.observed)
        np.testing.assert_array_equal(a.recorded, b.recorded)
        np.testing.assert_allclose(a.features.values, b.features.values, atol=2e-5)  # splines end in rounding


def test_a_faster_clock_shows_the_same_movement() -> None:
    """Of a movement known between frames, at pace p: the movement p times as fast, from the same instant."""
    rate, radius = 0.9, 0.3

    def turning(times: np.ndarray) -> np.ndarray:
        points = np.repeat(walker().positions[:1], len(times), axis=0)
        points[:, WRIST, 0] += radius * np.sin(2 * np.pi * rate * times)
        points[:, WRIST, 1] += radius * np.cos(2 * np.pi * rate * times)
        return points

    frames = np.arange(90)
    motion = walker().replace(**of(turning(frames / FPS)))
    given = Sampler([Clips([motion], FPS)], [1.0], XYZ, augmentation=replace_(NONE, speed=0.15))
    paces = set()
    for i in range(30):
        rng = np.random.default_rng((9, i))
        rng.choice(1, p=[1.0])
        begin = MIN_CONTEXT + int(rng.integers(given.corpora[0].num_cuts))
        rng.integers(given.num_views)
        rng.random()  # short
        pace = 1 + 0.15 * rng.uniform(-1, 1)
        w = given.draw((9, i))
        at = (begin - 1 + pace * (np.arange(len(w.features.values)) + 1 - w.context_frames)) / FPS
        assert at[0] >= 0
        assert at[-1] <= frames[-1] / FPS + 1e-9
        expected = encode(motion.replace(**of(turning(at))), XYZ, w.context_frames).values
        np.testing.assert_allclose(w.features.values, expected, atol=0.02)
        paces.add(round(pace, 2))
    assert min(paces) < 0.95
    assert max(paces) > 1.05


def of(positions: np.ndarray) -> dict[str, Any]:
    return {"positions": positions, "confidence": np.ones(positions.shape[:2], np.float32), "flags": None}


def replace_(a: Augmentation, **changes: Any) -> Augmentation:
    return a.model_copy(update=changes)


def draws_of(augmentation: Augmentation, spec: FeatureSpec = XYC, count: int = 60) -> Iterator[tuple[Window, Window]]:
    """Windows with and without `augmentation`, of the same cuts and views."""
    plain, changed = sampler(spec, augmentation=None), sampler(spec, augmentation=augmentation)
    for i in range(count):
        yield plain.draw((2, i)), changed.draw((2, i))


def test_dropped_regions_are_missing_in_the_context_alone() -> None:
    parts = {name: {BODY_25.index[j] for j in joints} - {MIDHIP} for name, joints in PARTS.items()}
    found = set()
    for plain, w in draws_of(replace_(NONE, drop_regions=1)):
        c = w.context_frames
        if c != plain.context_frames:
            continue  # drawn again
        lost = set(np.flatnonzero(~w.features.observed[:c].any(0)).tolist())
        assert lost in parts.values()
        found.add(min(lost))
        rows = sorted(lost)
        assert not w.features.values[:c].reshape(c, 25, 3)[:, rows].any()
        assert w.features.observed[c:].all()
        assert w.features.values[c:].reshape(-1, 25, 3)[:, rows, :2].any()
        assert not w.recorded[:, rows].any()  # nothing tells a forecaster where they are
        assert w.recorded[:, [j for j in range(25) if j not in lost]].all()
    assert len(found) == len(parts)


def test_dropped_joints() -> None:
    """In half of the windows, each joint with its probability."""
    lost = np.array(
        [
            ~w.features.observed[: w.context_frames].any(0)
            for _, w in draws_of(replace_(NONE, drop_joints=0.2), count=200)
        ]
    )
    touched = lost.any(1)
    assert abs(touched.mean() - 0.5) < 0.12
    assert abs(lost[touched].mean() - 0.2) < 0.03


def test_short_contexts() -> None:
    for plain, w in draws_of(replace_(NONE, short=1)):
        assert min(MIN_CONTEXT, plain.context_frames) <= w.context_frames <= plain.context_frames
        h = len(plain.features.values) - plain.context_frames
        assert len(w.features.values) - w.context_frames == h
        assert w.features.transform.end_frame == w.context_frames - 1


def test_noise_is_that_of_an_estimator() -> None:
    """Confidences below 1, errors that are small beside the body, and none where noise is off."""
    errors = []
    for plain, w in draws_of(replace_(NONE, noise=1)):
        confidence = w.features.values.reshape(-1, 25, 3)[..., 2]
        assert (confidence > 0).all()
        assert (confidence <= 1).all()
        assert confidence.std() > 0.01
        if plain.context_frames == w.context_frames:
            step = (w.features.values - plain.features.values).reshape(-1, 25, 3)[..., :2]
            errors.append(np.delete(step, MIDHIP, axis=1).std())
    assert 0.01 < np.median(errors) < 0.3  # body lengths
    for plain, w in draws_of(NONE, count=5):
        assert (w.features.values.reshape(-1, 25, 3)[..., 2] == 1).all()
        assert plain.context_frames == w.context_frames


def test_gaps_do_not_stop_a_faster_clock() -> None:
    """A joint with a gap in the stretch is missing; a motion whose every joint has gaps is still drawn from."""
    motion = walker()
    for joint in range(25):
        motion = without(motion, joint, slice(joint + 1, None, 9))
    w = Sampler([Clips([motion], FPS)], [1.0], XYZ, augmentation=Augmentation()).draw((0, 1))
    assert w.recorded.any()


def test_views_are_all_around() -> None:
    assert len({c.azimuth_deg for c in views(9)}) == 9
    windows = [sampler(augmentation=None).draw((4, i)) for i in range(30)]
    hips = [w.features.values[w.context_frames - 1].reshape(25, 3)[BODY_25.index["LHip"], 0] for w in windows]
    assert min(hips) < -0.1
    assert max(hips) > 0.1


def test_a_batch_is_six_arrays() -> None:
    batch = sampler().batch(1, 0, 4)
    assert isinstance(batch, Batch)
    assert [x.shape[0] for x in astuple(batch)] == [4] * 6
    assert batch.context.shape[1] % 5 == 0
