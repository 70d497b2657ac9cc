"""Probes: labels against a walker by formula, ridge against plain algebra, attention against the layers themselves."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.signal import hilbert

from lmm.analysis.gait import TARGETS, component, gait_at, separation, stride
from lmm.cli.main import run
from lmm.core.errors import LmmError
from lmm.datasets.synthetic import gait, repetitions, standing
from lmm.datasets.windows import mirror
from lmm.evaluation.cases import Case, Corpus, batch_of
from lmm.evaluation.contestants import contestants
from lmm.evaluation.pinned import pinned
from lmm.evaluation.probe import ALPHAS, TAILED, Scores, folds, of_targets, predicted, probe, raw, ridge, walking
from lmm.evaluation.streams import encoded, glance, last_attention, seen_by, untrained

FPS = 15.0


def apart(a: float, b: float) -> float:
    """Return how far apart two angles are, in degrees."""
    return float(np.degrees(np.abs(np.angle(np.exp(1j * (a - b))))))


@pytest.mark.parametrize("cadence", [78.0, 100.0, 116.0, 150.0])
@pytest.mark.parametrize("turn", [0.0, 45.0])
def test_labels_of_a_walker_with_known_cadence_and_phase(cadence: float, turn: float) -> None:
    walk = gait(12.0, FPS, cadence_spm=cadence, turn_deg_per_s=turn)
    offsets = []
    for frame in range(30, 150, 7):
        found = gait_at(walk, frame)
        assert found is not None
        assert found.walks
        assert found.cadence_spm == pytest.approx(cadence, rel=0.01)
        assert abs(found.leg_symmetry) < 0.03
        assert abs(found.arm_symmetry) < (0.03 if turn == 0 else 0.06)
        assert apart(found.arm_leg, 0) < 20  # the right arm swings with the left leg
        offsets.append(found.phase - 2 * np.pi * cadence / 120 * frame / FPS)  # the right heel strikes at time 0
    middle = float(np.angle(np.exp(1j * np.array(offsets)).mean()))
    assert apart(middle, 0) < 20  # the feet are furthest apart a little before or after it
    assert max(apart(o, middle) for o in offsets) < 3


def test_phase_is_hilberts() -> None:
    walk = gait(12.0, FPS, cadence_spm=110.0)
    signal = separation(walk)
    angles = np.angle(hilbert(signal - signal.mean()))
    for frame in range(40, 140, 9):
        found = gait_at(walk, frame)
        assert found is not None
        assert apart(found.phase, float(angles[frame])) < 15  # Hilbert's holds the harmonics too


def test_component_of_a_pure_wave() -> None:
    t = (np.arange(45) - 22) / FPS
    got = component(3 + 0.4 * np.cos(2 * np.pi * 1.1 * t + 0.7), 1.1, FPS)
    assert abs(got) == pytest.approx(0.4, rel=0.02)
    assert np.angle(got) == pytest.approx(0.7, abs=0.02)


def test_a_mirror_exchanges_the_sides() -> None:
    walk = gait(10.0, FPS, cadence_spm=104.0)
    limping = walk.positions.copy()
    wrist, elbow = (walk.skeleton.index[j] for j in ("RWrist", "RElbow"))
    limping[:, wrist] = limping[:, elbow] + [0, -0.25, 0]  # the right forearm hangs
    limp = walk.replace(positions=limping)
    one, other = gait_at(limp, 70), gait_at(mirror(limp), 70)
    assert one is not None
    assert other is not None
    assert one.arm_symmetry < -0.1
    assert other.arm_symmetry == pytest.approx(-one.arm_symmetry, abs=1e-4)
    assert apart(other.phase, one.phase + np.pi) < 0.1


def test_who_does_not_walk_has_no_labels() -> None:
    assert gait_at(gait(2.0, FPS), 15) is None  # too short
    for motion in (standing(6.0, FPS), repetitions(4, 1.2, FPS)):
        found = gait_at(motion, 40)
        assert found is None or not found.walks
    backwards = gait(8.0, FPS)
    found = gait_at(backwards.replace(positions=backwards.positions[::-1]), 60)
    assert found is not None
    assert found.speed < 0
    assert not found.walks
    rng = np.random.default_rng(0)
    noise = [stride(rng.normal(size=45), FPS) for _ in range(50)]
    assert sum(s is not None and s[1] >= 0.8 and s[2] >= 0.6 for s in noise) == 0
    gone = gait(8.0, FPS)
    positions = gone.positions.copy()
    positions[60, gone.skeleton.index["LAnkle"]] = np.nan
    confidence = np.where(np.isnan(positions[..., 0]), 0, gone.confidence)
    assert gait_at(gone.replace(positions=positions, confidence=confidence), 60) is None


@pytest.mark.parametrize("width", [8, 90])
def test_ridge_is_the_solution_of_its_equations(width: int) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, width)) * np.arange(1, width + 1) + 3
    x[:, 5] = 2.0  # tells nothing
    y = x @ rng.normal(size=(width, 3)) + rng.normal(size=(60, 3)) * x.std() * 3
    groups = np.repeat(np.arange(6), 10)
    got = ridge(x, y, groups, [0, 1, 1])

    def direct(x: Any, y: Any, alpha: float, scale: Any, new: Any) -> Any:
        """Least squares with a row for each penalty, and an intercept that bears none."""
        design = np.c_[x / scale, np.ones(len(x))]
        penalty = np.sqrt(alpha) * np.eye(design.shape[1])[:-1]
        both = np.r_[design, penalty], np.r_[y, np.zeros((len(penalty), y.shape[1]))]
        return np.c_[new / scale, np.ones(len(new))] @ np.linalg.lstsq(*both, rcond=None)[0]

    scale = np.where(x.std(axis=0) > 1e-9, x.std(axis=0), np.inf)
    errors = np.zeros((len(ALPHAS), 3))
    for i, alpha in enumerate(ALPHAS):
        for g in range(6):
            rest, own = groups != g, groups == g
            told = direct(x[rest], y[rest], alpha * len(x), scale, x[own])
            errors[i] += ((told - y[own]) ** 2).sum(axis=0)
    one, two = ALPHAS[errors[:, 0].argmin()], ALPHAS[errors[:, 1:].sum(axis=1).argmin()]
    np.testing.assert_allclose(got.alpha, [one, two, two])
    for column, alpha in enumerate(got.alpha):
        want = direct(x, y[:, [column]], alpha * len(x), scale, x)[:, 0]
        np.testing.assert_allclose(got(x)[:, column], want, atol=1e-8)


@pytest.fixture(scope="module")
def corpus(store: Path) -> Corpus:
    return Corpus.of(store, "all", "xyz", 1)


def scored(corpus: Corpus, features: Any) -> dict[str, Any]:
    """Return R² and errors of `features` (targets (N, 7), rng) for the walkers of a corpus."""
    labels = walking(corpus)
    cases, targets = list(labels), np.stack(list(labels.values()))
    _, parts = folds(corpus, cases)
    tested = np.sort(np.concatenate([test for _, test in parts]))
    judge = Scores(corpus, cases, targets, tested)
    x = features(targets, np.random.default_rng(0))
    tree = of_targets(judge.tally(predicted(x, targets, judge.subjects, parts)), judge.by_subject)
    return {name: (float(t["r2"][0]), float(t["error"][0])) for name, t in tree.items()}


def test_features_that_hold_the_target_and_features_of_noise(corpus: Corpus) -> None:
    mixing = np.random.default_rng(5).normal(size=(7, 20))
    for r2, error in scored(corpus, lambda y, rng: (y - y.mean(0)) / y.std(0) @ mixing + 7).values():
        assert r2 > 0.999
        assert error < 0.2
    noise = scored(corpus, lambda y, rng: rng.normal(size=(len(y), 20)))
    assert all(r2 < 0.1 for r2, _ in noise.values())
    assert 80 < noise["phase"][1] < 100
    nothing = scored(corpus, lambda y, rng: np.zeros((len(y), 1)))
    assert all(r2 <= 1e-9 for r2, _ in nothing.values())


def test_r2_is_about_the_mean_of_what_is_tested(corpus: Corpus) -> None:
    labels = walking(corpus)
    cases, targets = list(labels), np.stack(list(labels.values()))
    judge = Scores(corpus, cases, targets, np.arange(len(cases)))
    told = targets + np.random.default_rng(2).normal(size=targets.shape) * 0.1
    tree = of_targets(judge.tally(told), judge.by_subject[:1])
    for name, target in TARGETS.items():
        t, g = targets[:, target.columns], told[:, target.columns]
        want = 1 - ((g - t) ** 2).sum() / ((t - t.mean(axis=0)) ** 2).sum()
        assert tree[name]["r2"][0] == pytest.approx(want)
        if target.circular:
            off = np.degrees(np.abs(np.angle(np.exp(1j * (np.arctan2(*g.T[::-1]) - np.arctan2(*t.T[::-1]))))))
        else:
            off = np.abs(g - t)[:, 0]
        assert tree[name]["error"][0] == pytest.approx(off.mean())


def test_who_is_tested(corpus: Corpus) -> None:
    def of(split_of: dict[str, str], split: str = "all") -> Any:
        motions = [SimpleNamespace(meta={"split": split_of[s]}) for s in split_of]
        fake: Any = SimpleNamespace(subjects=list(split_of), motions=motions, split=split, name="made up")
        return folds(fake, [Case(i, 30, 0) for i in range(len(split_of))])

    plan, parts = of({"a": "train", "b": "train", "c": "test", "d": "test", "e": "test", "f": "val"})
    assert plan.startswith("split test")
    assert [(list(t), list(u)) for t, u in parts] == [([0, 1], [2, 3, 4])]
    plan, parts = of({"a": "train", "b": "train", "c": "test", "d": "test"})
    assert plan.startswith("each subject")
    assert [list(u) for _, u in parts] == [[0], [1], [2], [3]]
    assert all(not set(t) & set(u) for t, u in parts)
    with pytest.raises(LmmError, match="2 people walk"):
        of({"a": "train", "b": "test"})


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch")
    from lmm.models.diffusion import Diffusion
    from lmm.models.flat import Flat
    from lmm.models.htt import Htt

    torch.set_num_threads(1)
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("networks")
    for layout in ("xyz", "xyc"):
        for network in (Flat, Diffusion, Htt):
            network.of_size("tiny", pinned(layout).spec).save_pretrained(folder / f"{network.architecture}-{layout}")
    without = Htt.of_size("tiny", pinned("xyz").spec, options={"windows": False, "fusion": False})
    without.save_pretrained(folder / "htt-parts-xyz")
    return folder


def test_features_are_what_encoders_make_and_untrained_ones_repeat(corpus: Corpus, networks: Path) -> None:
    (model,) = contestants(f"{networks}/htt-xyz", "xyz")
    network: Any = model.seeds[0]
    case = next(c for c in walking(corpus) if c.context % 5)  # padded on the left
    batch = batch_of([case], [corpus.cut(case, 1)], 1)
    found = encoded(network, batch)
    assert {s for s, _ in found} == {"frames", "windows", "parts", "fused"}
    twin = untrained(network, 1)
    again, once = encoded(untrained(network, 1), batch), encoded(twin, batch)
    assert all(np.array_equal(once[k], again[k]) for k in once)
    assert not np.allclose(once["fused", "last"], found["fused", "last"])
    tail = raw(batch, corpus)[TAILED].reshape(15, 75)
    std = np.array(pinned("xyz").spec.std)
    mean = np.array(pinned("xyz").spec.mean)
    knee = slice(30, 33)
    np.testing.assert_allclose((tail * std + mean)[:, knee], batch.context[0, -15:, knee], atol=1e-5)


def test_attention_is_that_of_the_layers(corpus: Corpus, networks: Path) -> None:
    torch = pytest.importorskip("torch")
    (model,) = contestants(f"{networks}/htt-xyz", "xyz")
    network: Any = model.seeds[0]
    case = next(c for c in walking(corpus) if c.context % 5)
    batch = batch_of([case], [corpus.cut(case, 1)], 1)
    caught = []
    for side in (network.encoder.frame_window, network.encoder.frame_part):
        for layer in side.left:
            layer.attention.register_forward_hook(lambda m, given, out: caught.append((m, given, out)))
    seen = glance(network, batch)
    assert len(caught) == 4
    for module, given, out in caught:
        with torch.inference_mode():
            shares = last_attention(module, *given)  # (B, heads, M)
            mixed = module.out((shares[:, :, None] @ given[1][1])[:, :, 0].flatten(1))
        torch.testing.assert_close(mixed, out[:, -1], atol=1e-5, rtol=1e-4)
    with torch.inference_mode():
        gate = network.encoder.streams(seen_by(network, batch))["gate"]
    pad = -case.context % 5
    assert np.isnan(seen.gate[:, :pad]).all()
    np.testing.assert_allclose(seen.gate[0, pad:, 0], gate[0, pad:].mean(-1), atol=1e-6)
    assert seen.windows is not None
    assert seen.parts is not None
    assert seen.windows.shape == (1, 2, case.context + pad)
    np.testing.assert_allclose(np.nanmean(seen.parts, axis=(2, 3)), 1, atol=1e-5)  # multiples of an even one
    whole = seen.windows[:, :, ::-1][:, :, ::5]  # each window once, from the last one
    np.testing.assert_allclose(whole.mean(axis=2), 1, atol=1e-5)


def test_probe_from_the_command_line(
    store: Path, networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = f"flat={networks}/flat-xyc,diffusion={networks}/diffusion-xyc,htt={networks}/htt-xyc"
    command = ["eval", "probe", "--data", str(store), "--models", given, "--layout", "xyc", "--views", "2"]
    assert run([*command, "--out", str(tmp_path / "out"), "--threads", "1"]) == 0
    assert "htt: fused, last, untrained" in capsys.readouterr().out
    told = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    untold = next(r for r in told["models"] if not r["trained"])
    assert untold["per_seed"][0] != untold["per_seed"][1]
    assert told["tested_subjects"] == told["subjects"] == 3
    assert told["windows"] == told["tested_windows"] == told["targets"]["phase"]["windows"]
    rows = {(r["model"], r["stream"], r["pooling"], r["trained"]): r for r in told["models"]}
    assert len(rows) == 3 + 2 * 2 * (1 + 1 + 4)
    nothing = rows["no network", "nothing", "", True]
    assert nothing["phase"]["r2"] <= 0
    for row in rows.values():
        for name in TARGETS:
            low, high = row["ci95"][name]["r2"]
            assert low is None or low <= row[name]["r2"] + 1e-9
            assert high is None or high >= row[name]["r2"] - 1e-9
    # a walker's phase lies in its last second of joints
    assert rows["no network", "frames", "last 15", True]["phase"]["r2"] > 0.8
    difference = next(
        c for c in told["comparisons"] if (c["stream"], c["pooling"], c["against"]) == ("fused", "mean", "untrained")
    )
    both = [rows["htt", "fused", "mean", trained]["phase"]["r2"] for trained in (True, False)]
    assert difference["r2_difference"]["phase"] == pytest.approx(both[0] - both[1])
    assert {c["against"] for c in told["comparisons"]} == {"last 15 frames", "untrained", "flat"}
    assert len(told["htt"]["htt"]["frame_to_window"]) == 2
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "NaN" not in page


def test_probe_of_seeds_and_of_an_htt_without_streams(corpus: Corpus, networks: Path) -> None:
    models = contestants(f"a={networks}/flat-xyz+{networks}/flat-xyz,b={networks}/htt-parts-xyz", "xyz")
    told, page = probe(corpus, models, 1, lambda *_: None)
    row = next(r for r in told["models"] if r["model"] == "a" and r["trained"])
    assert row["seeds"] == 2
    assert row["per_seed"][0] == row["per_seed"][1]
    assert row["phase"]["r2"] == pytest.approx(row["per_seed"][0]["phase"]["r2"])
    assert {r["stream"] for r in told["models"] if r["model"] == "b"} == {"frames", "parts", "fused"}
    assert "frame_to_window" not in told["htt"]["b"]
    assert "<svg" in page


def test_what_has_no_encoder_is_refused(corpus: Corpus) -> None:
    with pytest.raises(LmmError, match="no encoder"):
        probe(corpus, contestants("zero-velocity", "xyz"), 1, lambda *_: None)
