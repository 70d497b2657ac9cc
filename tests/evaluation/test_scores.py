"""Scores of forecasts whose scores are known: the truth itself, the held pose, calibrated and careless samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.core.metrics import ratio
from lmm.core.motion import make_motion
from lmm.datasets.synthetic import gait
from lmm.evaluation.cases import HORIZON, Batch, Case, Corpus, batch_of
from lmm.evaluation.contestants import Contestant, draw, is_stochastic
from lmm.evaluation.forecast import score
from lmm.evaluation.pinned import pinned, restore, standardise
from lmm.evaluation.scores import Judge
from lmm.models.loading import load
from lmm.pipeline.cameras import views
from lmm.pipeline.features import MIDHIP, FeatureSpec
from lmm.skeletons import BODY_25


def walking(layout: Any = "xyz", begin: int = 60, **changes: Any) -> Batch:
    motion = gait(12.0, 15.0, turn_deg_per_s=45.0).replace(meta={"id": "walk", "subject": "s"}, **changes)
    corpus = Corpus([motion], layout, views(1), "made", "test")
    case = Case(0, begin, 0)
    return batch_of([case], [corpus.cut(case, HORIZON)], HORIZON)


@pytest.mark.parametrize("layout", ["xyz", "xyc"])
def test_the_truth_is_perfect(layout: Any) -> None:
    b = walking(layout)
    got = Judge(b, pinned(layout)).scores(b.truth[:, None].astype(float))
    for name in ("mse", "mse_root", "mse_all", "velocity_mse", "mpjpe", "ade_joint", "fde_flattened", "energy_score"):
        assert np.nanmax(ratio(got[name])) < 1e-10, name
        assert got[name].number.sum() > 0, name
    for name in ("energy_ratio", "energy_ratio_local", "energy_ratio_root"):
        np.testing.assert_allclose(ratio(got[name]), 1)
    assert 0 < ratio(got["first_step_ratio"])[0, 0] < 2


@pytest.mark.parametrize("layout", ["xyz", "xyc"])
def test_the_held_pose_has_no_energy_and_a_known_error(layout: Any) -> None:
    b, statistics = walking(layout), pinned(layout)
    held, _ = draw(load("zero-velocity", layout), b, HORIZON, 1, (0,))
    got = Judge(b, statistics).scores(held)
    assert got["energy"].total.max() == pytest.approx(0, abs=1e-6)
    assert ratio(got["energy_ratio"]).max() == pytest.approx(0, abs=1e-6)
    joints = [j for j in range(25) if statistics.scored[j] and j != MIDHIP]
    width = 2 if layout == "xyc" else 3
    std = np.reshape(statistics.spec.std, (25, 3))[joints, :width]
    pick = lambda x: x.reshape(-1, 25, 3)[:, joints, :width].astype(float)  # noqa: E731
    error = (pick(b.truth[0]) - pick(b.context[0, -1:])) / std
    np.testing.assert_allclose(ratio(got["mse"])[0], (error**2).mean(axis=(1, 2)), rtol=1e-4)
    steps = np.diff(np.concatenate([pick(b.context[0, -1:]), pick(b.truth[0])]), axis=0) / std
    np.testing.assert_allclose(ratio(got["velocity_mse"])[0], (steps**2).mean(axis=(1, 2)), rtol=1e-4)


def test_joints_in_metres_are_where_the_motion_had_them() -> None:
    motion = gait(12.0, 15.0, turn_deg_per_s=45.0)
    b = walking("xyz")
    judge = Judge(b, pinned("xyz"))
    wrist, neck = BODY_25.index["RWrist"], BODY_25.index["Neck"]
    seen = np.linalg.norm(judge.pose.placed[0, :, wrist] - judge.pose.placed[0, 0, neck], axis=-1)
    real = np.linalg.norm(motion.positions[59:90, wrist] - motion.positions[59, neck], axis=-1)
    np.testing.assert_allclose(seen, real, atol=1e-5)


def test_only_recorded_and_known_joints_count() -> None:
    b = walking("xyz")
    judge = Judge(b, pinned("xyz"))
    nose, toe = BODY_25.index["Nose"], BODY_25.index["RBigToe"]
    assert not judge.local[..., nose].any()  # no statistics are known of it
    assert judge.local[..., toe].all()
    off = np.repeat(b.truth[:, None].astype(float), 1, axis=1).reshape(1, 1, 30, 25, 3).copy()
    off[..., nose, :] += 5
    assert ratio(judge.scores(off.reshape(1, 1, 30, 75))["mse_all"]).max() < 1e-10


def test_without_hips_the_neck_stands_for_the_root_and_mse_root_is_left_out() -> None:
    p = gait(12.0, 15.0).positions.copy()
    p[:, MIDHIP] = np.nan
    b = walking("xyz", positions=p, confidence=np.isfinite(p).all(axis=2).astype(float), flags=None)
    assert not b.on_hips.any()
    got = Judge(b, pinned("xyz")).scores(b.truth[:, None].astype(float))
    assert got["mse_root"].number.sum() == 0
    assert got["mse"].number.sum() > 0
    np.testing.assert_allclose(ratio(got["energy_ratio"]), 1)


def test_standardising_and_back_about_either_centre() -> None:
    rng = np.random.default_rng(0)
    spec = FeatureSpec(layout="xyz", mean=tuple(rng.normal(size=75)), std=tuple(rng.uniform(0.5, 2, 75)))
    x, seen, on_hips = (
        rng.normal(size=(2, 4, 75)).astype(np.float32),
        rng.random((2, 4, 25)) < 0.8,
        np.array([True, False]),
    )
    z = standardise(x, seen, spec, on_hips)
    assert (z.reshape(2, 4, 25, 3)[~seen] == 0).all()
    back = restore(z[:, None], spec, on_hips)[:, 0]
    np.testing.assert_allclose(back.reshape(2, 4, 25, 3)[seen], x.reshape(2, 4, 25, 3)[seen], atol=1e-5)


def test_sample_budgets(store: Path, speaker: Any) -> None:
    """Draws about the held pose: one draw is worse than the mean of ten by the draws' variance."""
    corpus = Corpus.of(store, "test", "xyz", 1)
    spec = pinned("xyz").spec

    def noisy(context: Any, horizon: int, samples: int, rng: Any) -> Any:
        return context[:, None, -1:] + rng.normal(size=(len(context), samples, horizon, 75))

    batches = corpus.batches(corpus.cases(30, 15, HORIZON), HORIZON)
    model = Contestant("noisy", [speaker(spec, noisy)])
    (run,), _ = score(corpus, [model], batches, 10, lambda *_: None)
    assert run.stochastic
    assert sorted(run.tallies) == [1, 10]
    one, ten = (float(np.divide(*(p.sum() for p in run.tallies[n][0].sums("mse", np.ones((1, 5)))))) for n in (1, 10))
    assert one - ten == pytest.approx(0.9, abs=0.02)
    assert "coverage_90" not in run.tallies[1][0]
    hit, of = run.tallies[10][0].sums("coverage_90", np.ones((1, 5)))
    assert hit.sum() / of.sum() > 0.8  # a walk moves little more than these draws


def test_what_is_stochastic(speaker: Any) -> None:
    b = walking("xyz")
    assert not is_stochastic(load("zero-velocity", "xyz"), b)
    draws = speaker(FeatureSpec(layout="xyz"), lambda x, h, s, rng: rng.normal(size=(len(x), s, h, 75)))
    assert is_stochastic(draws, b)


def test_motion_that_ends_early_counts_as_far_as_it_goes() -> None:
    m = gait(4.0, 15.0)
    corpus = Corpus([make_motion(m.positions, 15, BODY_25, "world")], "xyz", views(1), "made", "test")
    case = Case(0, 50, 0)
    b = batch_of([case], [corpus.cut(case, HORIZON)], HORIZON)
    got = Judge(b, pinned("xyz")).scores(np.zeros((1, 1, HORIZON, 75)))
    assert (got["mse"].number[0] > 0).tolist() == [True] * 10 + [False] * 20
    assert got["fde_joint"].number[0, 0] == 0
    assert got["ade_joint"].number[0, 0] == 1
