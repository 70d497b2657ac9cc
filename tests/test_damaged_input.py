"""Damaged and hostile input ends in a motion or one clear line: 300 fixed mutations; 10⁵ by benchmarks/fuzz.py."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmm
from damage import DATA, Sample, attempt, damage, samples
from lmm.core.errors import InputError, LmmError
from lmm.datasets.synthetic import gait
from lmm.sources.finding import find_inputs

ROOT = Path(__file__).resolve().parents[1]
LMM = Path(sys.executable).with_name("lmm")
FORMATS = (
    "amc", "arrays", "bvh", "coco", "collection", "humanml3d", "keypoint-csv", "kinect-v2", "lmm", "ntu-rgbd",
    "openpose", "other", "sidecar", "trc", "uiprmd",
)  # fmt: skip
RUNS = 18  # of each format: 270, and 30 of those that C libraries read


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return samples(DATA, tmp_path_factory.mktemp("samples"))


@pytest.mark.parametrize("format", FORMATS)
def test_mutations(format: str, found: list[Sample], tmp_path: Path) -> None:
    alike = [s for s in found if s.format == format]
    if not alike:
        pytest.skip("needs the real data in ../shared/data, which is not part of the repository")
    for run in range(RUNS):
        rng = np.random.default_rng([run, FORMATS.index(format)])
        sample = alike[run % len(alike)]
        kind, path = damage(sample, tmp_path / str(run), rng)
        try:
            attempt(path, sample.options)
        except Exception as e:
            raise AssertionError(f"run {run}, {sample.path}: {kind}: {e}") from e


def test_mutations_of_formats_that_c_libraries_read() -> None:
    """In another process, which a crash would take with it."""
    command = [
        sys.executable,
        ROOT / "benchmarks" / "fuzz.py",
        "--runs",
        "30",
        "--workers",
        "1",
        "--format",
        "c3d,netcdf",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_samples_are_good(found: list[Sample]) -> None:
    """What is damaged here is readable before, but for files that hold no movement, and forecasts."""
    known = (
        "a forecast with samples",
        "is JSON without keypoints",
        "scattered images",
        "single images",
        "single held poses",
    )
    for sample in found:
        if not sample.library and sample.format != "other":
            told = attempt(sample.folder / sample.path, sample.options)
            assert told == "accepted" or any(k in told for k in known), sample.path


def refusal(path: Path, **options: Any) -> str:
    """Return the one line with which `path` is refused."""
    told = attempt(path, {"units": "m", **options})
    assert told.startswith("refused: "), told
    return told


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing.bvh").touch()
    (tmp_path / "dangling.bvh").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.bvh").symlink_to(tmp_path / "loop.bvh")
    os.mkfifo(tmp_path / "pipe.bvh")
    for name, says in (
        ("empty", "empty folder"), ("nothing.bvh", "is empty"), (".", "folder"), ("dangling.bvh", "no such file"),
        ("loop.bvh", "cannot be opened"), ("x" * 300, "cannot be opened"), ("y/" * 3000, "cannot be opened"),
        ("nul\0.bvh", "cannot be opened"), ("pipe.bvh", "neither a regular file"),
        ("/dev/null", "neither a regular file"), ("/dev/zero", "neither a regular file"),
    ):  # fmt: skip
        assert says in refusal(tmp_path / name), name


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.bvh").write_text("HIERARCHY")
    (tmp_path / "a.bvh").chmod(0)
    assert "cannot be read" in refusal(tmp_path / "a.bvh")


def test_folders_that_lead_in_circles(tmp_path: Path) -> None:
    """Links to folders above are walked once; pipes, links to nothing and names that are no text are refused each."""
    walk = tmp_path / "walk.lmm.npz"
    gait(seconds=1).save(walk)
    (tmp_path / "sub").mkdir()
    for i in range(3):
        (tmp_path / "sub" / f"up{i}").symlink_to(tmp_path)
    (tmp_path / "loop.bvh").symlink_to(tmp_path / "loop.bvh")
    os.mkfifo(tmp_path / "pipe.bvh")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.lmm.npz")).write_bytes(walk.read_bytes())
    deep = tmp_path / "deep" / ("a/" * 100)
    deep.mkdir(parents=True)
    entries, _ = find_inputs([tmp_path])
    assert [e.path for e in entries if e.format] == [walk]
    reasons = " ".join(e.error.reason for e in entries if e.error)
    for says in ("not UTF-8", "neither a regular file", "cannot be opened", "folders deep"):
        assert says in reasons
    report = lmm.ingest(tmp_path, tmp_path.with_name("store"), workers=1)
    assert (report.clips, len(report.refused)) == (1, 4)


FRAME = json.dumps({"people": [{"pose_keypoints_2d": [100.0, 200.0, 0.9] * 25}]})


def npy(shape: str, body: bytes = b"\0" * 64) -> bytes:
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + body


def test_bombs(tmp_path: Path) -> None:
    """Sizes are bounded by what is there, not by what is claimed, before anything is allocated."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("a_000_keypoints.json", FRAME)
        z.writestr("a_001_keypoints.json", b" " * (17 << 20))
    assert "is larger than" in refusal(tmp_path / "a.zip")
    for claim in ("(1000000000000, 22, 3)", "(1000000, 22, 3)", "(-1, 22, 3)"):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as z:
            z.writestr("x.npy", npy(claim))
        refusal(tmp_path / "a.npz")
        (tmp_path / "a.npy").write_bytes(npy(claim))
        refusal(tmp_path / "a.npy")
    header = tarfile.TarInfo("a")
    header.type, header.size = tarfile.XHDTYPE, 8 << 30
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    refusal(tmp_path / "a.tar.gz")
    (tmp_path / "a.bvh.gz").write_bytes(gzip.compress(b"HIERARCHY\nROOT Hips\n" + b"1\n" * 5_100_000, 1))
    assert "over 5000000 lines" in refusal(tmp_path / "a.bvh.gz")
    (tmp_path / "deep.bvh").write_text("HIERARCHY\nROOT Hips\n{\n" + "JOINT a\n{\nOFFSET 0 0 0\n" * 20_000 + "MOTION\n")
    assert "nested too deeply" in refusal(tmp_path / "deep.bvh")
    body = "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 3 Xposition Yposition Zposition\n}\n"
    body += "MOTION\nFrames: %s\nFrame Time: 0.01\n%s"
    (tmp_path / "a.bvh").write_text(body % (999_999_999, "0 0 0\n"))
    assert "claims 999999999 frames" in refusal(tmp_path / "a.bvh")
    (tmp_path / "a.bvh").write_text(body % (1_000_000, "0\n" * 1_000_000))
    assert "line 10 has 1 numbers" in refusal(tmp_path / "a.bvh")


def test_heaps_that_hdf5_walks_for_ever(found: list[Sample], tmp_path: Path) -> None:
    sample = next((s for s in found if s.format == "netcdf"), None)
    if sample is None:
        pytest.skip("needs the extra interop")
    content = (sample.folder / sample.path).read_bytes()
    at = content.index(b"GCOL") + 64
    (tmp_path / "a.nc").write_bytes(content[:at] + bytes(64) + content[at + 64 :])
    assert "damaged texts" in refusal(tmp_path / "a.nc")


def test_json_bombs(tmp_path: Path) -> None:
    for content in (
        '{"pose_keypoints": 1, "people": ' + "[" * 100_000,
        '[{"image_id": 1, "keypoints": ' + "[" * 100_000,
        '{"people": [' + ",".join(['{"pose_keypoints_2d": []}'] * 300_000) + "]}",
        json.dumps({"people": [{"pose_keypoints_2d": [[1, 2]] * 75}]}),
        json.dumps({"people": [{"pose_keypoints_2d": [10**400] * 75}]}),
        json.dumps({"people": [{"pose_keypoints_2d": ["1"] * 74 + [{}]}]}),
    ):
        (tmp_path / "a.json").write_text(content)
        refusal(tmp_path / "a.json")
    for number in ("999999999999999", "1" * 40):
        folder = tmp_path / number
        folder.mkdir()
        for n in (1, number):
            (folder / f"a_{n}_keypoints.json").write_text(FRAME)
        attempt(folder, {})


def test_archives_touch_nothing_outside(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("/etc/a_001_keypoints.json", "../../a_002_keypoints.json"):
            info = tarfile.TarInfo(name)
            info.size = len(FRAME)
            tar.addfile(info, io.BytesIO(FRAME.encode()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("a_003_keypoints.json")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    attempt(tmp_path / "a.tar", {"format": "openpose-body25"})
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar"]
    assert not (tmp_path.parent.parent / "a_002_keypoints.json").exists()


WRONG: tuple[Any, ...] = (
    None, True, -1, 1e-300, 1e308, float("nan"), "x", "", [], {}, [1], 10**400, "\ud800", [[1]], [None] * 25,
    ["a"] * 25, [[1, 2]] * 25, [f"\x1b[{i}m" for i in range(25)], ["x" * 5000 + str(i) for i in range(25)],
    [*range(1, 25), 0], "x" * 300,
)  # fmt: skip


def test_wrong_types_in_a_header(tmp_path: Path) -> None:
    path = tmp_path / "a.lmm.npz"
    gait(seconds=1).save(path)
    with np.load(path) as kept:
        arrays = {k: kept[k] for k in kept.files}
    header = json.loads(arrays["header"].tobytes())
    skeleton = [{**header, "skeleton": {**header["skeleton"], k: v}} for k in header["skeleton"] for v in WRONG]
    meta = [
        {**header, "meta": {k: v}}
        for k in ("captions", "labels", "subject", "split", "licence", "source")
        for v in WRONG
    ]
    for changed in [*({**header, k: v} for k in header for v in WRONG), *skeleton, *meta]:
        np.savez(path, **{**arrays, "header": np.frombuffer(json.dumps(changed).encode(), np.uint8)})
        attempt(path, {})
    shape = arrays["positions"].shape
    for name in ("positions", "confidence", "flags", "times", "samples"):
        for array in (
            np.zeros(0),
            np.array(["a"]),
            np.zeros(shape, complex),
            np.full(shape, 1e30),
            np.full(shape[:2], 9),
            np.linspace(0, 1e300, shape[0]),
        ):
            np.savez(path, **{**arrays, name: array})
            attempt(path, {})


def test_wrong_types_in_a_collection(found: list[Sample], tmp_path: Path) -> None:
    folder = tmp_path / "c"
    shutil.copytree(next(s for s in found if s.format == "collection").folder / "c", folder)
    skeleton, rows = (
        json.loads((folder / "skeleton.json").read_text()),
        (folder / "index.jsonl").read_text().splitlines(),
    )
    cyclic = [1, 0, *skeleton["parents"][2:]]
    for key in skeleton:
        for value in (*WRONG, cyclic, [99] * 14, [0.5] * 14, [10**400] * 14, [-2] * 14):
            (folder / "skeleton.json").write_text(json.dumps({**skeleton, key: value}))
            attempt(folder, {"up": "y"})
    (folder / "skeleton.json").write_text(json.dumps({**skeleton, "scale_m_per_unit": float("nan")}))
    assert "impossible scale" in refusal(folder, units=None)
    (folder / "skeleton.json").write_text(json.dumps({**skeleton, "parents": cyclic}))
    assert "form no tree" in refusal(folder)
    (folder / "skeleton.json").write_text(json.dumps(skeleton))
    for key in ("clip", "frames", "fps", "description", "content", "subject"):
        for value in WRONG:
            (folder / "index.jsonl").write_text(json.dumps({**json.loads(rows[0]), key: value}) + "\n" + rows[1])
            attempt(folder, {})


def test_names_cannot_command_the_terminal(tmp_path: Path) -> None:
    walk = gait(seconds=1)
    path = tmp_path / "a\x1b[2J.lmm.npz"
    walk.save(path)
    (tmp_path / "metadata.jsonl").write_text(
        json.dumps({"file_name": path.name, "subject": "\x1b]0;owned\x07", "captions": ["\x9b31m", "\ud800"]})
    )
    for arguments in (["info", path], ["info", path, "--json"], ["ingest", tmp_path, "--out", tmp_path / "s"]):
        done = subprocess.run([LMM, *map(str, arguments)], capture_output=True, timeout=60, check=False)
        shown = (done.stdout + done.stderr).decode()
        assert "Traceback" not in shown
        assert all(c.isprintable() or c == "\n" for c in shown), shown


def test_command_line(found: list[Sample], tmp_path: Path) -> None:
    """Exit code 2 and one line for one input; 3 where others of many were fine."""
    (tmp_path / "in").mkdir()
    gait(seconds=1).save(tmp_path / "in" / "good.lmm.npz")
    bad = {
        "cut.lmm.npz": (tmp_path / "in" / "good.lmm.npz").read_bytes()[:3000],
        "a.bvh": b"HIERARCHY\nROOT x\n{\n",
        "b.trc": b"PathFileType\t4\n\xff",
        "c.json": b'{"people": [{}]}' + b'"pose_keypoints"',
    }
    for name, content in bad.items():
        (tmp_path / "in" / name).write_bytes(content)
        done = subprocess.run(
            [LMM, "info", tmp_path / "in" / name], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr + done.stdout
    done = subprocess.run(
        [LMM, "ingest", tmp_path / "in", "--out", tmp_path / "store", "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    told = json.loads(done.stdout)
    assert told["clips"] == 1
    assert sorted(Path(r["file"]).name for r in told["refused"]) == sorted(bad)


def test_numbers_out_of_bounds_are_refused_by_motion_itself() -> None:
    walk = gait(seconds=1)
    for change in (
        {"positions": np.full(walk.positions.shape, 1e10)}, {"positions": np.array("a")}, {"fps": 1e-300}, {"fps": 1e9},
        {"start_s": 1e15}, {"start_s": float("nan")}, {"size": (0, 5)}, {"size": (1 << 40, 5)},
        {"times": np.linspace(0, 1e12, walk.num_frames)}, {"times": np.zeros(walk.num_frames)},
        {"flags": np.full(walk.confidence.shape, 9)}, {"confidence": np.full(walk.confidence.shape, np.inf)},
    ):  # fmt: skip
        with pytest.raises(LmmError):
            walk.replace(**change)
    with pytest.raises(LmmError, match="frames last"):
        lmm.clean(walk.replace(times=np.arange(walk.num_frames) * 1000.0))
    with pytest.raises(InputError):
        lmm.read("/nowhere\x1b[2J\n")
