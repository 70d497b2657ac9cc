"""Baselines by hand, on NumPy and torch, with gaps; and forecasts in the source's own place, units and clock."""

from __future__ import annotations

import numpy as np
import pytest

import lmm
from lmm.core.errors import LmmError, MotionError
from lmm.core.motion import make_motion
from lmm.datasets.synthetic import gait
from lmm.models.baselines import RULES, Baseline
from lmm.models.loading import forecasters
from lmm.pipeline.features import MIDHIP, NECK
from lmm.skeletons import BODY_25

WRIST, KNEE = BODY_25.index["RWrist"], BODY_25.index["LKnee"]


def batch(frames: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).normal(size=(2, frames, 75)).astype(np.float32)
    return x, np.ones((2, frames), bool), np.ones((2, frames, 25), bool)


def test_zero_velocity_holds_the_pose_and_stays() -> None:
    x, valid, observed = batch()
    out = Baseline("zero-velocity", "xyc").forecast(x, valid, observed, 4, samples=3)
    assert out.shape == (2, 3, 4, 75)
    joints = out.reshape(2, 3, 4, 25, 3)
    last = x.reshape(2, 6, 25, 3)[:, -1]
    others = np.arange(25) != MIDHIP
    np.testing.assert_array_equal(
        joints[:, :, :, others], np.broadcast_to(last[:, None, None, others], (2, 3, 4, 24, 3))
    )
    np.testing.assert_array_equal(joints[..., MIDHIP, :2], 0)
    np.testing.assert_array_equal(joints[:, 0, 0, MIDHIP, 2], last[:, MIDHIP, 2])  # its confidence is held


def test_constant_velocity_goes_on() -> None:
    x, valid, observed = batch()
    out = Baseline("constant-velocity", "xyz").forecast(x, valid, observed, 3)[:, 0].reshape(2, 3, 25, 3)
    p = x.reshape(2, 6, 25, 3)
    for k in range(3):
        step = p[:, -1, WRIST] - p[:, -2, WRIST]
        np.testing.assert_allclose(out[:, k, WRIST], p[:, -1, WRIST] + (k + 1) * step, atol=1e-5)
        np.testing.assert_allclose(out[:, k, MIDHIP], p[:, -1, MIDHIP], atol=1e-5)


def test_velocities_are_taken_over_gaps() -> None:
    x, valid, observed = batch()
    p = x.reshape(2, 6, 25, 3)
    p[:, :, MIDHIP] = 0  # stands still: places about the root are places in space
    observed[:, -2, WRIST] = False
    observed[:, -1, KNEE] = False
    out = Baseline("constant-velocity", "xyz").forecast(x, valid, observed, 1)[:, 0].reshape(2, 25, 3)
    wrist, knee = p[:, :, WRIST], p[:, :, KNEE]
    np.testing.assert_allclose(out[:, WRIST], wrist[:, -1] + (wrist[:, -1] - wrist[:, -3]) / 2, atol=1e-5)
    np.testing.assert_allclose(out[:, KNEE], knee[:, -2] + 2 * (knee[:, -2] - knee[:, -3]), atol=1e-5)


def test_padding_does_not_count_and_the_neck_carries_the_path_without_hips() -> None:
    x, valid, observed = batch()
    observed[:, :, MIDHIP] = False
    out = Baseline("zero-velocity", "xyz").forecast(x, valid, observed, 2)[:, 0].reshape(2, 2, 25, 3)
    np.testing.assert_array_equal(out[:, :, NECK], 0)
    valid[:, :-1] = False
    alone = Baseline("constant-velocity", "xyz").forecast(x, valid, observed, 1)[:, 0].reshape(2, 25, 3)
    np.testing.assert_allclose(alone[:, WRIST], x.reshape(2, 6, 25, 3)[:, -1, WRIST], atol=1e-5)


def test_torch_in_torch_out() -> None:
    torch = pytest.importorskip("torch")
    x, valid, observed = batch()
    for name in RULES:
        expected = Baseline(name, "xyc").forecast(x, valid, observed, 5, samples=2)
        got = Baseline(name, "xyc").forecast(*(torch.from_numpy(a) for a in (x, valid, observed)), 5, samples=2)
        assert isinstance(got, torch.Tensor)
        np.testing.assert_array_equal(got.numpy(), expected)


@pytest.mark.parametrize("name", [i.name for i in forecasters() if i.layout != "xyc"])
@pytest.mark.parametrize("frames", [1, 4, 37, 200])
def test_every_model_forecasts_contexts_of_any_length(name: str, frames: int) -> None:
    walk = gait(seconds=15.0, fps=15.0).crop(0, frames)
    future = lmm.forecast(walk, name, seconds=5.0, samples=2)
    assert future.samples is not None
    assert future.context is not None
    assert future.samples.shape == (2, 75, 25, 3)
    assert future.context.num_frames == min(frames, 120)
    assert future.clock[0] == pytest.approx(walk.clock[-1] + 1 / 15)
    assert np.isfinite(future.positions).all()


def test_zero_velocity_stays_where_the_source_ended() -> None:
    walk = gait(seconds=4.0, fps=15.0)
    moved = walk.replace(positions=walk.positions * 1.0 + (100, 0, -50))
    future = lmm.forecast(moved, "zero-velocity")
    np.testing.assert_allclose(future.positions, np.repeat(moved.positions[-1:], 30, axis=0), atol=1e-4)


def test_constant_velocity_over_many_blocks_is_exact_on_straight_movement() -> None:
    pose = gait(seconds=1.0, fps=15.0).positions[:1]
    step = np.array([0.02, 0.0, 0.1])
    m = make_motion(pose + np.arange(30)[:, None, None] * step, 15, BODY_25, "world")
    future = lmm.forecast(m, "constant-velocity", seconds=6.0)
    expected = pose + np.arange(30, 120)[:, None, None] * step
    np.testing.assert_allclose(future.positions, expected, atol=1e-3)


def test_image_motions_stay_in_pixels_and_missing_joints_stay_missing() -> None:
    p = gait(seconds=4.0, fps=15.0).positions[..., :2] * (300, -300) + (640, 700)
    p = p.copy()
    p[:, BODY_25.index["LEar"]] = np.nan
    p[-10:, WRIST] = np.nan  # longer missing than is filled
    m = make_motion(p, 15, BODY_25, "image", size=(1280, 720))
    future = lmm.forecast(m, "zero-velocity")
    assert future.space == "image"
    assert future.size == (1280, 720)
    assert np.isnan(future.joint("LEar")).all()
    np.testing.assert_allclose(future.joint("Nose"), np.repeat(m.joint("Nose")[-1:], 30, axis=0), atol=0.01)
    assert np.isfinite(future.joint("RWrist")).all()


@pytest.mark.parametrize(
    ("changes", "says"), [({"seconds": 0}, "0 s"), ({"seconds": 1e9}, "s are possible"), ({"samples": 0}, "samples")]
)
def test_numbers_out_of_range(changes: dict, says: str) -> None:
    with pytest.raises(MotionError, match=says):
        lmm.forecast(gait(2.0, 15.0), "zero-velocity", **changes)


def test_a_person_who_cannot_be_centred_is_refused_with_the_reason() -> None:
    p = np.full((20, 25, 3), np.nan)
    p[:, [3, 4]] = np.random.default_rng(0).normal(size=(20, 2, 3))
    with pytest.raises(LmmError, match="centred"):
        lmm.forecast(make_motion(p, 15, BODY_25, "world"), "zero-velocity")


def test_a_body_whose_hips_were_lost_for_a_while_is_not_torn() -> None:
    pose = gait(seconds=1.0, fps=15.0).positions[:1]
    p = pose + np.arange(30)[:, None, None] * np.array([0.0, 0.0, 0.1])
    truth = pose + np.arange(30, 45)[:, None, None] * np.array([0.0, 0.0, 0.1])
    p[-6:, MIDHIP] = p[-4:, WRIST] = np.nan
    m = make_motion(p, 15, BODY_25, "world", meta={"cleaning": {}})
    np.testing.assert_allclose(lmm.forecast(m, "constant-velocity", seconds=1.0).positions, truth, atol=1e-3)
