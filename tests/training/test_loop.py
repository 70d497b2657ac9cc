"""Training learns, resumes to the bit, and leaves a model that forecasts."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import lmm
from lmm.cli.main import run
from lmm.core.errors import InputError, LmmError
from lmm.core.registry import architectures
from lmm.datasets.store import Store
from lmm.datasets.synthetic import gait
from lmm.pipeline.cameras import Camera, project
from lmm.training.forecaster import ForecasterConfig
from lmm.training.kinds import read_train_config
from lmm.training.loop import learning_rate, train


def losses(out: Path) -> list[tuple[str, ...]]:
    with (out / "log.csv").open() as f:
        return [(r["step"], r["loss"], r["val_loss"], r["lr"], r["grad_norm"]) for r in csv.DictReader(f)]


def weights(out: Path) -> bytes:
    return max(out.glob("checkpoint-*.safetensors")).read_bytes()


@pytest.mark.parametrize("name", list(architectures))
def test_every_architecture_trains_and_forecasts(name: str, settings: dict[str, Any], tmp_path: Path) -> None:
    best = train(ForecasterConfig(**{**settings, "model": name}), tmp_path / "run")
    walk = project(gait(seconds=4.0, fps=30.0), Camera(azimuth_deg=40))
    future = lmm.forecast(walk, str(best), seconds=3.0, samples=2)
    assert future.samples is not None
    assert future.samples.shape == (2, 45, 25, 2)
    recorded = walk.observed.any(axis=0)
    assert np.isfinite(future.positions[:, recorded]).all()
    assert json.loads((best / "config.json").read_text())["architecture"] == name


def test_it_learns(settings: dict[str, Any], tmp_path: Path) -> None:
    longer = {**settings, "model": "direct", "epochs": 2, "epoch_windows": 240, "lr": 5e-3, "augmentation": None}
    longer["options"] = {"regression": False}  # which leaves little to learn of walks that are all alike
    train(ForecasterConfig(**longer), tmp_path / "run")
    rows = losses(tmp_path / "run")
    first, last = (np.mean([float(r[1]) for r in part]) for part in (rows[:10], rows[-10:]))
    assert last < 0.75 * first


def test_a_run_that_stopped_goes_on_to_the_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    config = ForecasterConfig(**{**settings, "model": "diffusion"})
    train(config, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(row: dict[str, Any]) -> None:
        if row["step"] in (2, 3):  # in the first epoch, and after its validation
            raise Stop

    for resume in (False, True):
        with pytest.raises(Stop):
            train(config, tmp_path / "parts", resume, report=stop)
    train(config, tmp_path / "parts", resume=True)
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    files = sorted(p.name for p in (tmp_path / "whole" / "best").iterdir())
    for file in files:
        assert (tmp_path / "parts" / "best" / file).read_bytes() == (tmp_path / "whole" / "best" / file).read_bytes()


@pytest.mark.slow
def test_killed_at_any_step_and_resumed_to_the_bit(config_file: Path, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("lmm")), "train", str(config_file), "--threads", "1", "--set"]
    command += ["epochs=8", "--out"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    rng, kills = np.random.default_rng(0), 0
    while True:
        more = ["--resume"] if (tmp_path / "killed" / "config.json").is_file() else []
        process = subprocess.Popen([*command, str(tmp_path / "killed"), *more], stderr=subprocess.DEVNULL)
        try:
            assert process.wait(timeout=rng.uniform(4, 8) + kills) == 0
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(0.2)
    assert kills
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_share_a_batch(config_file: Path, tmp_path: Path) -> None:
    """Without dropout the gradients of two processes add up to those of one."""
    arguments = ["train", str(config_file), "--set", "dropout=0", "--set", "options.scheduled_sampling=false", "--out"]
    assert run([*arguments, str(tmp_path / "one")]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29541"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = str(Path(sys.executable).with_name("lmm"))
    two = [*torchrun, "--no-python", program, *arguments, str(tmp_path / "two")]
    subprocess.run(two, check=True, capture_output=True, env=environment)
    one, both = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(both)
    np.testing.assert_allclose([float(r[1]) for r in one], [float(r[1]) for r in both], rtol=1e-3)


def test_a_run_starts_from_the_weights_of_another(settings: dict[str, Any], tmp_path: Path) -> None:
    small = {**settings, "model": "diffusion", "epochs": 1}
    best = train(ForecasterConfig(**small), tmp_path / "first")
    still = {**small, "start_from": str(best), "lr": 1e-12, "seed": 3, "ema": 0.0}
    again = train(ForecasterConfig(**still), tmp_path / "second")
    one, two = (load_file(f / "model.safetensors") for f in (best, again))
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_allclose(one[name], two[name], atol=1e-6)
    first, second = (json.loads((f / "config.json").read_text()) for f in (best, again))
    assert first["spec"] == second["spec"]
    assert first["trained_on"] in second["trained_on"]
    with pytest.raises(InputError, match="is a diffusion-tiny-xyc"):
        train(ForecasterConfig(**{**still, "model": "flat"}), tmp_path / "third")
    with pytest.raises(InputError, match="no model of lmm"):
        train(ForecasterConfig(**{**still, "start_from": str(tmp_path)}), tmp_path / "fourth")


def test_a_folder_of_another_run_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    config = ForecasterConfig(**{**settings, "epochs": 1})
    train(config, tmp_path / "run")
    with pytest.raises(InputError, match="another config"):
        train(ForecasterConfig(**{**settings, "lr": 1.0}), tmp_path / "run")
    with pytest.raises(InputError, match="--resume"):
        train(config, tmp_path / "run")
    newest = max((tmp_path / "run").glob("checkpoint-*"))
    newest.write_bytes(newest.read_bytes()[:500])
    with pytest.raises(InputError, match="no checkpoint of this run"):
        train(config, tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was(settings: dict[str, Any], tmp_path: Path) -> None:
    config = ForecasterConfig(**{**settings, "lr": 1e30, "schedule": "constant", "warmup_steps": 0, "clip_norm": 1e30})
    with pytest.raises(LmmError, match="no longer finite"):
        train(config, tmp_path / "run")
    kept = max((tmp_path / "run").glob("checkpoint-*"))
    assert kept.stat().st_size > 0
    assert list((tmp_path / "run").glob(".checkpoint*")) == []


def test_a_full_disk_leaves_the_last_checkpoint_whole(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ForecasterConfig(**settings)
    real = os.fdopen

    class Full:
        def __init__(self, f: Any) -> None:
            self.f = f

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self.f.close()

        def write(self, data: bytes) -> None:
            self.f.write(data[: len(data) // 2])
            raise OSError(28, "No space left on device")

    def fill(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            monkeypatch.setattr("os.fdopen", lambda *a, **k: Full(real(*a, **k)))

    with pytest.raises(InputError, match="No space left"):
        train(config, tmp_path / "run", report=fill)
    monkeypatch.undo()
    assert max((tmp_path / "run").glob("checkpoint-*")).name == "checkpoint-00000003.safetensors"
    train(config, tmp_path / "run", resume=True)
    train(config, tmp_path / "whole")
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")


def test_subjects_stay_on_their_side(settings: dict[str, Any], walks: Path, tmp_path: Path) -> None:
    from lmm.training.forecaster import load_data

    subjects = sorted({m.meta["subject"] for m in Store(walks).motions("train")})
    config = ForecasterConfig(**{**settings, "val_subjects": subjects[:1], "statistics_windows": 600})
    data = load_data(config, 120, 30)
    sides = [{m.meta["subject"] for c in s.corpora for m in c.motions} for s in (data.train, data.val)]
    assert sides[0] & sides[1] == set()
    assert subjects[0] in sides[1]
    assert all(m.meta["split"] != "test" for s in (data.train, data.val) for c in s.corpora for m in c.motions)
    # training windows have mean 0 and variance 1, feature by feature
    values = [w for i in range(300) for w in [data.train.draw((7, i))]]
    x = np.concatenate([w.features.values.reshape(-1, 25, 3)[w.features.observed] for w in values])
    assert np.abs(x.mean(axis=0)).max() < 0.15
    assert np.abs(x.std(axis=0)[:2] - 1).max() < 0.3


def test_rates_of_learning() -> None:
    config = ForecasterConfig(
        model="flat", layout="xyc", data=({"store": "s"},), epochs=10, epoch_windows=640, batch=64, warmup_steps=10
    )
    rates = [learning_rate(config, s) for s in range(config.steps)]
    assert rates[0] == pytest.approx(config.lr / 11)
    assert max(rates) == pytest.approx(config.lr, rel=1e-2)
    assert np.argmax(rates) in (9, 10, 11)
    assert rates[-1] < 0.03 * config.lr
    assert (np.diff(rates[11:]) < 0).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("lr=-1", "lr"),
        ("lr=fast", "lr"),
        ("learning_rate=1", "learning_rate"),
        ("augmentation.mirror=2", "augmentation.mirror"),
        ("data=[]", "data"),
        ("data.0.store=/nowhere", "is not a store"),
        ("size=huge", "no size 'huge'"),
        ("model=flatt", "Did you mean 'flat'"),
        ("layout=xyz", "finite|wrote"),
        ("nonsense", "expected name=value"),
    ],
)
def test_bad_configs_end_in_one_line(
    change: str, told: str, config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    code = run(["train", str(config_file), "--set", change, "--out", str(tmp_path / "run")])
    err = capsys.readouterr().err
    assert re.search(told, err), err
    assert code == (0 if change == "layout=xyz" else 2)
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "text", ["", "[1, 2]", "{", "a: &a [*a]", "model: flat", "!!python/object/apply:os.system [ls]"]
)
def test_damaged_config_files(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    assert run(["train", str(path), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml")), ids=lambda p: p.stem)
def test_configs_are_valid(path: Path) -> None:
    config = read_train_config(path)
    if not isinstance(config, ForecasterConfig):
        return  # what is particular to other kinds is tested with them
    assert config.size in architectures.get(config.model).sizes
    if path.parent.name == "configs":  # a config's name is the model's
        closed = any("bandai" in c.store for c in config.data)
        assert path.stem == "-".join([config.model, config.size, config.layout, *(["nc"] if closed else [])])
