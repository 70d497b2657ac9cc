"""`lmm eval` as a user meets it: every protocol on a small store, the fields of the contract, errors of one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.cli.main import run
from lmm.core.errors import LmmError
from lmm.evaluation.cases import Corpus
from lmm.evaluation.contestants import Contestant, contestants
from lmm.evaluation.forecast import forecast
from lmm.evaluation.pinned import pinned
from lmm.evaluation.robustness import robustness
from lmm.evaluation.rollout import cuts

BASELINES = "zero-velocity,constant-velocity"


def evaluated(protocol: str, store: Path, out: Path, *more: str) -> dict[str, Any]:
    assert run(["eval", protocol, "--data", str(store), "--models", BASELINES, "--out", str(out), *more]) == 0
    page = (out / "report.html").read_text("utf-8")
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    found: dict[str, Any] = json.loads((out / "results.json").read_text("utf-8"))
    return found


@pytest.fixture(scope="module")
def told(store: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return evaluated("forecast", store, tmp_path_factory.mktemp("eval") / "out", "--layout", "xyc", "--views", "2")


def test_forecast_has_the_fields_of_the_contract(told: dict[str, Any]) -> None:
    # 18 s: begins at 2, 3 ... 16 s; 5 s: 2, 3; 6 s: 2, 3, 4; 5.5 s: 2, 3; all from two cameras
    assert (told["windows"], told["full_windows"], told["clips"], told["subjects"]) == (44, 18, 4, 3)
    zero, constant = told["models"]
    assert (zero["model"], zero["samples"], zero["parameters"], zero["clips"]) == ("zero-velocity", 1, 0, 4)
    assert zero["seconds_per_window"] > 0
    for row in (zero, constant):
        for name in ("mse", "mse_root", "mse_all"):
            assert set(row[name]) == {"frame_1", "frame_15", "frame_30", "overall"}
            low, high = row["ci95"][name]["overall"]
            assert low <= row[name]["overall"] <= high
        assert set(row["ade"]) == set(row["fde"]) == {"joint", "flattened"}
        assert len(row["energy_ratio"]) == 2
        assert row["coverage_90"] is None
        assert {"velocity_mse", "bone_length_cv", "energy_score", "mpjpe", "cmd"} <= set(row)
        assert set(row["by_subject"]) == {"s0", "s1", "s2"}
    np.testing.assert_allclose(zero["energy_ratio"], 0, atol=1e-6)
    assert zero["mse"]["frame_1"] < zero["mse"]["overall"]
    (against,) = [c for c in told["comparisons"] if c["model"] == "constant-velocity"]
    assert against["against"] == "zero-velocity"
    ratio = constant["mse"]["overall"] / zero["mse"]["overall"]
    assert against["ratio"]["mse"]["overall"] == pytest.approx(ratio)


def test_forecast_repeats_itself_and_writes_over_its_own_files_only(
    store: Path, tmp_path: Path, told: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    again = evaluated("forecast", store, out, "--layout", "xyc", "--views", "2")
    assert "zero-velocity, 1 sample" in capsys.readouterr().out
    for row in (*told["models"], *again["models"]):
        row.pop("seconds_per_window", None)
    assert told == again
    (out / "thesis.txt").write_text("years of work")
    assert run(["eval", "forecast", "--data", str(store), "--models", BASELINES, "--out", str(out)]) == 2
    assert "holds other files" in capsys.readouterr().err


def test_rollout(store: Path, tmp_path: Path) -> None:
    told = evaluated("rollout", store, tmp_path / "out", "--scale", "6")
    assert told["truth"]["clips"] == [4, 4, 3] + [1] * 9
    zero, constant = told["models"]
    np.testing.assert_allclose(zero["energy_ratio_local"][0], 0, atol=1e-5)
    assert (zero["alive_seconds"], zero["collapsed"]) == (0, 1)
    assert constant["alive_seconds"] == 12
    assert constant["border_step_ratio"] == pytest.approx(1, abs=0.01)
    assert constant["first_step_ratio"] == pytest.approx(1, abs=0.4)
    assert zero["displacement_correlation"][0] is None


def test_rollouts_begin_where_most_follows(store: Path) -> None:
    corpus = Corpus.of(store, "test", "xyz", 1)
    assert [(corpus.motions[c.clip].num_frames, c.begin) for c in cuts(corpus)] == [
        (270, 90),
        (75, 45),
        (90, 45),
        (83, 45),
    ]


def test_transfer_counts_one_step_everywhere(store: Path, tmp_path: Path) -> None:
    told = evaluated("transfer", store, tmp_path / "out", "--split", "test")
    lengths = (270, 75, 90, 83, 45)
    assert told["one_step"]["frames"] == sum(len(range(8, n, 3)) for n in lengths)
    assert told["windows_that_reach"]["frame_30"] == sum(len(range(8, n - 29, 15)) for n in lengths)
    zero, constant = told["models"]
    assert 0 < constant["one_step_velocity_mse"] < zero["one_step_velocity_mse"]


def test_robustness_of_a_model_that_holds_the_pose(store: Path) -> None:
    corpus = Corpus.of(store, "test", "xyz", 1)
    told, page = robustness(corpus, contestants("zero-velocity", "xyz"), 1, lambda *_: None)
    levels = told["models"][0]["robustness"]
    assert "<svg" in page
    clean = levels["jitter"]["0"]["mse"]
    assert clean < levels["jitter"]["0.01"]["mse"] < levels["jitter"]["0.1"]["mse"]
    assert levels["context_frames"]["8"]["mse"] == pytest.approx(clean, rel=0.02)  # it looks at one frame
    assert levels["dropped_frames"]["0.5"]["mse"] == pytest.approx(clean, rel=0.02)
    assert levels["mirrored"]["1"]["mse"] == pytest.approx(clean, rel=0.1)


def test_labels_and_seeds_of_a_learned_model(store: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lmm.models.direct import Direct

    torch.set_num_threads(1)
    for seed in range(2):
        torch.manual_seed(seed)
        Direct.of_size("tiny", pinned("xyz").spec).save_pretrained(tmp_path / f"direct{seed}")
    models = contestants(f"zero-velocity,flat={tmp_path}/direct0+{tmp_path}/direct1", "xyz")
    assert [(m.label, len(m.seeds)) for m in models] == [("zero-velocity", 1), ("flat", 2)]
    told, _ = forecast(Corpus.of(store, "test", "xyz", 1), models, 3, lambda *_: None)
    row = told["models"][1]
    assert (row["seeds"], row["samples"], row["stochastic"]) == (2, 1, False)
    assert row["mse"]["overall"] == pytest.approx(np.mean([s["mse"]["overall"] for s in row["per_seed"]]))
    assert {c["against"] for c in told["comparisons"]} == {"flat", "zero-velocity"}
    told, _ = forecast(Corpus.of(store, "test", "xyz", 1), models[1:] + models[:1], 3, lambda *_: None)
    assert [(c["model"], c["against"]) for c in told["comparisons"]] == [
        ("flat", "zero-velocity"),
        ("zero-velocity", "flat"),
    ]
    first = contestants(f"constant-velocity,direct={tmp_path}/direct0", "xyz")
    told, _ = forecast(Corpus.of(store, "test", "xyz", 1), first, 3, lambda *_: None)
    assert [(c["model"], c["against"]) for c in told["comparisons"]] == [("direct", "constant-velocity")]


def test_sampled_rollouts_are_asked_for_by_name(store: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from lmm.models.flat import Flat

    flat = Flat.of_size("tiny", pinned("xyz").spec)
    flat.decoder.innovation.copy_(0.1 * torch.eye(75))
    flat.save_pretrained(tmp_path / "flat")
    models = contestants(f"flat={tmp_path}/flat,sampled={tmp_path}/flat~sampled", "xyz")
    told, _ = forecast(Corpus.of(store, "test", "xyz", 1), models, 3, lambda *_: None)
    assert [(r["model"], r["samples"], r["stochastic"]) for r in told["models"]] == [
        ("flat", 1, False),
        ("sampled", 1, True),
        ("sampled", 3, True),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["forcast"], "choose one of forecast"),
        (["forecast", "--split", "val"], "no clips in split val"),
        (["forecast", "--split", "dev"], "is not known"),
        (["forecast", "--layout", "xyv"], "expected xyc or xyz"),
        (["forecast", "--views", "0"], "1 to 36"),
        (["forecast", "--samples", "0"], "1 to"),
        (["forecast", "--scale", "2"], "is for rollout"),
        (["forecast", "--models", "zero-velocty"], "did you mean 'zero-velocity'"),
        (["forecast", "--models", "zero-velocity,zero-velocity"], "comes twice"),
        (["forecast", "--models", "a=,b"], "names no model"),
        (["forecast", "--models", "zero-velocity~sampled"], "is for autoregressive networks"),
        (["rollout", "--split", "train", "--data", "nowhere"], "is not a store"),
    ],
)
def test_mistakes_are_one_line(
    store: Path, tmp_path: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["eval", arguments[0], "--data", str(store), "--models", BASELINES, "--out", str(tmp_path / "out")]
    assert run([*given, *arguments[1:]]) == 2
    error = capsys.readouterr().err
    assert says in error.lower()
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_clips_in_pixels_are_not_for_xyz_and_short_ones_for_nothing(store: Path, speaker: Any) -> None:
    corpus = Corpus.of(store, "test", None, 1)
    assert corpus.layout == "xyz"
    with pytest.raises(LmmError, match="no clip lasts"):
        corpus.cases(300, 15, 30)
    broken = speaker(pinned("xyz").spec, lambda x, h, s, rng: np.full((len(x), s, h, 75), np.nan))
    with pytest.raises(LmmError, match="not finite"):
        forecast(corpus, [Contestant("broken", [broken])], 1, lambda *_: None)
