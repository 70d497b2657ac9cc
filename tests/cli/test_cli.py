"""The command line as a user meets it: outputs, fields, exit codes, and errors of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import lmm
from lmm.cli.main import run
from lmm.datasets.synthetic import gait

LMM = Path(sys.executable).with_name("lmm")


@pytest.fixture
def walk(tmp_path: Path) -> Path:
    return gait(seconds=4.0, fps=60.0).save(tmp_path / "walk.lmm.npz")[0]


def test_info_has_the_fields_of_the_contract(walk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(walk), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {k: told[k] for k in ("format", "skeleton", "people", "fps", "frames", "space", "missing_fraction")} == {
        "format": "lmm",
        "skeleton": "body_25",
        "people": 1,
        "fps": 60.0,
        "frames": 240,
        "space": "world",
        "missing_fraction": 0.0,
    }
    assert told["seconds"] == pytest.approx(4.0)
    assert told["motions"][0]["quality"]["warnings"] == []
    assert run(["info", str(walk)]) == 0
    assert "left_is_left" in capsys.readouterr().out


def test_convert_writes_by_extension_and_rate(walk: Path, tmp_path: Path) -> None:
    assert run(["convert", str(walk), str(tmp_path / "a.trc"), "--fps", "30"]) == 0
    m = lmm.read(tmp_path / "a.trc")
    assert m.fps == 30
    assert m.num_frames == 120
    assert run(["convert", str(tmp_path / "a.trc"), str(tmp_path / "b.lmm.npz"), "--to", "body_25"]) == 0
    assert lmm.read(tmp_path / "b.lmm.npz").skeleton.name == "body_25"


def test_bvh_of_other_skeletons_is_said_to_be_in_centimetres(
    walk: Path, tmp_path: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = shared_data / "cmu_bvh_samples" / "07_01.bvh"
    assert run(["convert", str(raw), str(tmp_path / "raw.bvh")]) == 0
    assert "--units cm" in capsys.readouterr().err
    assert run(["convert", str(walk), str(tmp_path / "walk.bvh")]) == 0
    assert "--units" not in capsys.readouterr().err


def test_forecast_keeps_samples_and_context(walk: Path, tmp_path: Path) -> None:
    out = tmp_path / "f.lmm.npz"
    arguments = ["forecast", str(walk), "--model", "zero-velocity", "--seconds", "1", "--samples", "2", "--seed", "3"]
    assert run([*arguments, "-o", str(out)]) == 0
    future = lmm.read(out)
    assert future.samples is not None
    assert future.samples.shape == (2, 15, 25, 3)
    assert future.meta["forecast"] == {"seconds": 1.0, "samples": 2, "seed": 3}
    assert run([*arguments, "-o", str(tmp_path / "f.trc")]) == 0
    assert sorted(p.name for p in tmp_path.glob("f_*.trc")) == ["f_00.trc", "f_01.trc"]


@pytest.mark.parametrize("kind", ["png", "html"])
def test_render_and_forecast_draw(walk: Path, tmp_path: Path, kind: str) -> None:
    assert run(["render", str(walk), str(walk), "--compare", "-o", str(tmp_path / f"a.{kind}")]) == 0
    assert run(["forecast", str(walk), "-o", str(tmp_path / f"b.{kind}")]) == 0
    assert all((tmp_path / f"{n}.{kind}").stat().st_size > 5000 for n in "ab")


def test_ingest_prints_one_json_object_and_returns_3_if_some_are_refused(
    walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ingest", str(walk), "--out", str(tmp_path / "one"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["clips"], told["frames"], told["refused"]) == (1, 1, 120, [])
    assert told["seconds"] > 0
    (tmp_path / "bad.bvh").write_text("HIERARCHY")
    assert run(["ingest", str(walk), str(tmp_path / "bad.bvh"), "--out", str(tmp_path / "two"), "--json"]) == 3
    refused = json.loads(capsys.readouterr().out)["refused"]
    assert [Path(r["file"]).name for r in refused] == ["bad.bvh"]
    assert refused[0]["reason"].endswith(".")
    assert run(["info", str(tmp_path / "two"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == "store"
    assert run(["render", str(tmp_path / "two"), "--person", "walk", "-o", str(tmp_path / "clip.png")]) == 0


def test_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "info", "zero-velocity", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "name",
        "kind",
        "size",
        "parameters",
        "layout",
        "licence",
        "trained_on",
    }
    assert run(["models", "check"]) == 0
    assert run(["models", "list"]) == 0
    assert "constant-velocity" in capsys.readouterr().out


def test_demo_runs_the_main_job(walk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["demo", str(walk), "-o", str(tmp_path / "out")]) == 0
    for line in capsys.readouterr().out.split():
        assert Path(line).stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["info", "nowhere"], "nowhere: no such file"),
        (["info", "/dev/zero"], "neither a regular file nor a folder"),
        (["frobnicate"], "frobnicate"),
        (["info"], "path"),
        (["info", "WALK", "--source-fps", "x"], "source-fps"),
        (["info", "WALK", "--source-fps", "-1"], "--source-fps"),
        (["info", "WALK", "--units", "feet"], "--units"),
        (["info", "WALK", "--up", "w"], "--up"),
        (["info", "WALK", "--format", "bvvh"], "Did you mean 'bvh'"),
        (["convert", "WALK", "x.docx"], ".lmm.npz"),
        (["convert", "WALK", "/nowhere/x.trc"], "cannot be written"),
        (["convert", "WALK", "x.trc", "--to", "smpl_22"], "body_25 only"),
        (["render", "WALK", "-o", "x.bmp"], ".png"),
        (["forecast", "WALK", "-o", "x.trc", "--model", "oracle"], "unknown model 'oracle'"),
        (["forecast", "WALK", "-o", "x.trc", "--seconds", "0"], "seconds|0 s"),
        (["ingest", "WALK", "--out", "WALK"], "is a file"),
        (["ingest", "nowhere", "--out", "x"], "no such file"),
        (["ingest", "WALK", "--out", "x", "--fps", "24"], "15 or 30"),
        (["models", "info", "oracle"], "unknown model"),
    ],
)
def test_errors_are_one_line_and_exit_2(
    walk: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert run([str(walk) if a == "WALK" else a for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert re.search(says, captured.err)


def test_several_people_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = [[100.0 + 400 * k, 100.0 + i, 0.9] * 18 for k in range(2) for i in range(1)]
    for t in range(20):
        frame = {"version": 1.3, "people": [{"pose_keypoints_2d": p} for p in people]}
        (tmp_path / f"c_{t:012d}_keypoints.json").write_text(json.dumps(frame))
    assert run(["render", str(tmp_path), "--source-fps", "30", "-o", str(tmp_path / "x.png")]) == 2
    assert "2 people: 0, 1" in capsys.readouterr().err


def test_the_installed_command(walk: Path) -> None:
    done = subprocess.run([LMM, "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == f"lmm {lmm.__version__}"
    done = subprocess.run([LMM, "info", "nowhere"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    head = subprocess.run(f"{LMM} info {walk} | head -1", shell=True, capture_output=True, text=True)
    assert head.stderr == ""


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from lmm.cli.main import run; run(['--help']); print({m.split('.')[0] for m in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    loaded = done.stdout.splitlines()[-1]
    for heavy in ("numpy", "scipy", "pyarrow", "torch", "pydantic", "PIL", "av"):
        assert f"'{heavy}'" not in loaded


def test_what_is_implausible_is_said_wherever_a_file_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    walk = gait(seconds=2.0, fps=30.0)
    walk.replace(positions=walk.positions * 10).save(tmp_path / "giant.lmm.npz")
    assert run(["convert", str(tmp_path / "giant.lmm.npz"), str(tmp_path / "a.trc"), "--clean"]) == 0
    assert "warning: trunk_m is 5.0" in capsys.readouterr().err


def test_no_more_threads_than_a_machine_has(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["describe", "walk.bvh", "--threads", "100000000"]) == 2  # torch would die of it
    assert "--threads" in capsys.readouterr().err


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_interrupted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lmm.core.registry.writer_for", stop)
    assert run(["convert", "walk.bvh", "walk.trc"]) == 130
    assert "--resume" in capsys.readouterr().err


@pytest.mark.parametrize("package", ["torch", "huggingface_hub"])
def test_a_package_that_is_not_installed_is_named(package: str, tmp_path: Path) -> None:
    without = f"import sys; sys.modules[{package!r}] = None; from lmm.cli.main import main; main()"
    command = [sys.executable, "-c", without, "generate", "walk", "-o", str(tmp_path / "walk.bvh")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert (
        done.stderr
        == f"error: this needs the package {package}: pip install 'large-movement-model[models,language]'.\n"
    )
