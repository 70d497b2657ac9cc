"""The store: what goes in comes out, splits are by person, damage and unfinished work are told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError
from lmm.datasets.ingest import ingest
from lmm.datasets.store import Store, split_of
from lmm.datasets.synthetic import gait


@pytest.fixture
def takes(tmp_path: Path) -> Path:
    """Five walks of two people, one file that is no motion, one that is only a note."""
    folder = tmp_path / "takes"
    folder.mkdir()
    rows = []
    for i in range(5):
        name = f"walk{i}.lmm.npz"
        gait(seconds=1.5 + 0.2 * i, fps=60.0, seed=i).save(folder / name)
        rows.append({"file_name": name, "subject": f"s{i % 2}", "captions": [f"walk {i}"]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "broken.bvh").write_text("HIERARCHY\nROOT x")
    (folder / "README.md").write_text("notes")
    return folder


def test_what_goes_in_comes_out(takes: Path, tmp_path: Path) -> None:
    report = ingest(takes, tmp_path / "store", workers=1)
    assert (report.files, report.clips, len(report.refused), len(report.ignored)) == (6, 5, 1, 2)
    assert "MOTION" in report.refused[0]["reason"]
    store = Store(tmp_path / "store")
    store.verify()
    motions = list(store.motions())
    assert [m.meta["id"] for m in motions] == [f"takes/walk{i}" for i in range(5)]
    for i, m in enumerate(motions):
        expected = lmm.clean(lmm.read(takes / f"walk{i}.lmm.npz"))
        np.testing.assert_array_equal(m.positions, expected.positions)
        np.testing.assert_array_equal(m.confidence, expected.confidence)
        np.testing.assert_array_equal(m.flags, expected.flags)
        assert m.fps == 30
        assert m.meta["captions"] == [f"walk {i}"]
    assert store.motion("takes/walk3").num_frames == motions[3].num_frames
    with pytest.raises(InputError, match="no clip 'x'"):
        store.motion("x")


def test_other_engines_can_query_it(takes: Path, tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    ingest(takes, tmp_path / "store", workers=1)
    query = f"select subject, sum(frames) from '{tmp_path}/store/clips/*.parquet' group by subject order by subject"
    rows = duckdb.sql(query).fetchall()
    assert [r[0] for r in rows] == ["s0", "s1"]
    assert sum(r[1] for r in rows) == Store(tmp_path / "store").manifest["frames"]


def test_a_person_is_on_one_side_of_the_split(takes: Path, tmp_path: Path) -> None:
    ingest(takes, tmp_path / "store", workers=1)
    clips = Store(tmp_path / "store").clips().to_pylist()
    for subject in ("s0", "s1"):
        assert {c["split"] for c in clips if c["subject"] == subject} == {split_of(subject)}
    shares = [split_of(f"person {i}") for i in range(2000)]
    assert shares.count("train") / 2000 == pytest.approx(0.8, abs=0.03)
    assert shares.count("test") / 2000 == pytest.approx(0.1, abs=0.03)


def test_workers_do_not_change_the_store(takes: Path, tmp_path: Path) -> None:
    for n in (1, 2):
        ingest(takes, tmp_path / str(n), workers=n)
    assert files_of(tmp_path / "1") == files_of(tmp_path / "2")


def files_of(store: Path) -> dict[str, bytes]:
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


def test_a_store_is_not_written_over(takes: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    ingest(takes, out, workers=1)
    with pytest.raises(InputError, match="--resume"):
        ingest(takes, out, workers=1)
    before = files_of(out)
    assert ingest(takes, out, workers=1, resume=True).clips == 5
    assert files_of(out) == before
    with pytest.raises(InputError, match="other inputs"):
        ingest(takes, out, workers=1, resume=True, fps=15)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        ingest(takes, mine, workers=1)


def test_damage_and_unfinished_work_are_told(takes: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    ingest(takes, out, workers=1)
    part = next((out / "clips").iterdir())
    part.write_bytes(part.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="checksum"):
        Store(out).verify()
    part.unlink()
    with pytest.raises(InputError, match="missing"):
        list(Store(out).motions())
    (out / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"not finished.*--resume"):
        Store(out)
    with pytest.raises(InputError, match="is not a store"):
        Store(takes)


def test_rates(takes: Path, tmp_path: Path) -> None:
    ingest(takes, tmp_path / "fifteen", workers=1, fps=15)
    assert {m.fps for m in Store(tmp_path / "fifteen").motions()} == {15}


def test_options_fill_in_and_overrule_nothing(takes: Path, tmp_path: Path) -> None:
    from lmm.datasets.synthetic import standing

    folder = tmp_path / "mixed"
    folder.mkdir()
    gait(seconds=2.0, fps=60.0).save(folder / "stated.lmm.npz")
    standing(1.0, 50.0).save(folder / "unstated.csv")
    ingest(folder, tmp_path / "store", workers=1, source_fps=25, units="m", up="y")
    seconds = {m.meta["id"]: m.seconds for m in Store(tmp_path / "store").motions()}
    assert seconds["mixed/stated"] == pytest.approx(2.0, abs=0.05)
    assert "mixed/unstated" in seconds


def test_splits_given_and_partners_on_one_side(takes: Path, tmp_path: Path) -> None:
    rows = [
        {"file_name": f"walk{i}.lmm.npz", "split": s} for i, s in enumerate(("validation", "dev", "test", "train", "x"))
    ]
    (takes / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = ingest(takes, tmp_path / "store", workers=1)
    assert Store(tmp_path / "store").clips()["split"].to_pylist() == ["val", "val", "test", "train"]
    assert any("'x' is not train" in r["reason"] for r in report.refused)
    from lmm.sources.cmu import subject_of

    assert subject_of("60_01")["split_group"] == subject_of("61_01.bvh")["split_group"] == "cmu_60"


def test_a_take_without_a_named_subject_is_one_subject_with_all_its_cameras(tmp_path: Path) -> None:
    frame = {"version": 1.3, "people": [{"pose_keypoints_2d": [100.0 + 9 * i for i in range(54)]}]}
    for camera in ("cam1", "cam2"):
        (tmp_path / "take" / camera).mkdir(parents=True)
        for t in range(20):
            (tmp_path / "take" / camera / f"a_{t:012d}_keypoints.json").write_text(json.dumps(frame))
    ingest(tmp_path / "take", tmp_path / "store", workers=1, source_fps=30)
    store = Store(tmp_path / "store")
    assert store.clips()["subject"].to_pylist() == ["take", "take"]
    assert store.manifest["subjects_unknown"] == 2
    assert store.manifest["fps"] == [30.0]


def test_an_ingest_killed_before_its_first_shard_can_be_resumed(takes: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    ingest(takes, out, workers=1)
    whole = files_of(out)
    for left in (["plan.json"], []):  # what each of the first steps leaves behind
        again = tmp_path / f"again{len(left)}"
        again.mkdir()
        (again / ".plan.json.half").write_text("{")
        for name in left:
            (again / name).write_bytes((out / name).read_bytes())
        ingest(takes, again, workers=1, resume=True)
        assert files_of(again) == whole


def test_changed_inputs_are_not_mixed_with_what_was_done(takes: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    ingest(takes, out, workers=1)
    (takes / "metadata.jsonl").write_text('{"file_name": "walk0.lmm.npz", "subject": "other"}')
    with pytest.raises(InputError, match="other inputs"):
        ingest(takes, out, workers=1, resume=True)


def test_two_ingests_into_one_folder_are_kept_apart(takes: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    out = tmp_path / "store"
    ingest(takes, out, workers=1)
    with (out / "plan.json").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another ingest"):
            ingest(takes, out, workers=1, resume=True)
