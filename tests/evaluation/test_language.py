"""`lmm eval generation` and `caption` on a small store by formula: controls, contestants, files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm.cli.main import run
from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion, make_motion
from lmm.datasets.ingest import ingest
from lmm.datasets.pairs import Pair
from lmm.datasets.synthetic import gait, repetitions
from lmm.evaluation.caption import Describer, caption
from lmm.evaluation.generation import RETRIEVAL, SHUFFLED, Generator, Looker, generation, others
from lmm.evaluation.language_cases import Cases, Slice, language_cases
from lmm.evaluation.language_report import caption_report, generation_report
from lmm.evaluation.protocols import Settings, evaluate, summary
from lmm.models.text_motion import TextMotion, vocabulary
from lmm.pipeline.codec_features import NUM_FEATURES
from lmm.skeletons import BODY_25


def quiet(done: int, total: int) -> None:
    assert 0 < done <= total


def encoder() -> TextMotion:
    torch.manual_seed(0)
    texts = ["a person walks forward and turns left", "a person raises the right hand"]
    one = (0.0,) * NUM_FEATURES, (1.0,) * NUM_FEATURES
    return TextMotion.of_size("tiny", mean=one[0], std=one[1], vocabulary=vocabulary(texts)).eval()


def pair(motion: Motion, text: str, number: int, content: str, split: str = "test", origin: str = "label") -> Pair:
    return Pair(motion, text, origin, f"clip{number}", f"s{number % 5}", split, "CC0", {"content": content})


TURNS = {"left": 40.0, "right": -40.0}


def pairs(split: str, count: int, start: int = 0) -> list[Pair]:
    """Walks that turn left and right, at different speeds, with a different text each."""
    out = []
    for i in range(start, start + count):
        side = ("left", "right")[i % 2]
        walk = gait(2.5 + 0.1 * (i % 4), 30.0, 1.6 + 0.01 * (i % 30), turn_deg_per_s=TURNS[side], seed=i)
        out.append(pair(walk, f"a person walks and turns {side}, number {i}", i, f"walk-turn-{side}", split))
    return out


@pytest.fixture(scope="module")
def cases() -> Cases:
    tested = pairs("test", 34)
    return Cases("walks", "held-out", [Slice("label", False, tested)], pairs("train", 6, start=100))


@pytest.fixture(scope="module")
def generated(cases: Cases) -> tuple[dict[str, Any], list[Any]]:
    own = {p.text: p.motion for p in cases.slices[0].pairs}
    longer = {t: make_motion(m.positions[:60], 30.0, BODY_25, "world") for t, m in own.items()}
    record = {"parameters": 1, "licence": "CC0", "trained_on": "nothing"}
    cheats = Generator("the answers", lambda p, seed: own[p.text], 1, record)
    short = Generator("two seconds", lambda p, seed: longer[p.text], 1, record)
    same = Generator("one walk", lambda p, seed: own[next(iter(own))], 2, record)
    return generation(cases, [cheats, short, same], encoder(), 2, quiet)


def rows_of(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {r["model"]: r for r in results["models"]}


def test_a_model_that_knows_the_answers_scores_as_the_real_motions(generated: Any) -> None:
    rows = rows_of(generated[0])
    real, cheats = rows["real motions"], rows["the answers"]
    for name in ("r_precision_1", "r_precision_3", "mm_dist", "fid", "diversity", "turn", "skating", "jitter"):
        assert cheats[name] == pytest.approx(real[name], abs=1e-9), name
        assert cheats["ci95"][name] == pytest.approx(real["ci95"][name], abs=1e-9)
    assert cheats["of_real"] == pytest.approx(1)
    assert cheats["fid"] == pytest.approx(0, abs=1e-6)
    assert cheats["length_error"] == 0
    assert cheats["groups"] == 1


def test_turns_are_measured_and_shuffling_loses_them(generated: Any) -> None:
    rows = rows_of(generated[0])
    assert rows["real motions"]["turn"] == 1
    assert rows["real motions"]["asked"] == {"turn": 34}
    assert rows["one walk"]["turn"] == pytest.approx(0.5)  # always to the left
    assert rows[SHUFFLED]["turn"] < 0.8
    assert rows[RETRIEVAL]["turn"] > 0.9  # the nearest text names the side, too
    assert rows["one walk"]["ci95"]["turn"][0] < 0.5 < rows["one walk"]["ci95"]["turn"][1]


def test_lengths_and_draws_are_told(generated: Any) -> None:
    rows = rows_of(generated[0])
    assert rows["two seconds"]["length_error"] == pytest.approx(
        np.mean([0.5 + 0.1 * (i % 4) for i in range(34)]), abs=0.02
    )
    assert rows["one walk"]["draws"] == 2
    assert rows["one walk"]["multimodality"] == pytest.approx(0, abs=1e-5)
    assert rows["one walk"]["diversity"] == pytest.approx(0, abs=1e-5)
    assert rows["one walk"]["r_precision_3"] < 0.2  # all are equally near
    assert rows["two seconds"]["seconds_per_motion_second"] < 0.1


def test_every_motion_has_a_seed_of_its_own() -> None:
    """Of one seed all lengths would be drawn alike, and a model's spread would be a draw's."""
    tested, seeds = pairs("test", 3), []
    kept = Generator("kept", lambda p, seed: seeds.append(seed) or p.motion, 2)
    generation(Cases("walks", "test", [Slice("label", False, tested)], tested), [kept], encoder(), 2, quiet)
    assert len(set(seeds)) == len(seeds) == 6


def test_the_page_shows_every_contestant(generated: Any) -> None:
    results, examples = generated
    json.dumps(results, allow_nan=False)
    page = generation_report(results, examples)
    for name in ("the answers", "real motions", "shuffled texts", "R@3 / real", "data:image/png"):
        assert name in page
    assert len(summary(results)) == 2 + len(results["models"])


def test_another_text_is_another_text() -> None:
    made = [pair(repetitions(1), t, i, "c") for i, t in enumerate(["a"] * 3 + ["b"] * 4 + ["c"] * 2)]
    found = others(made)
    assert all(found[id(p)].text != p.text for p in made)
    assert len({id(q) for q in found.values()}) == len(made)


def test_a_motion_that_is_none_is_refused_with_its_text(cases: Cases) -> None:
    broken = make_motion(np.full((30, 25, 3), np.nan), 30.0, BODY_25, "world")
    small = Cases("walks", "test", [Slice("label", False, cases.slices[0].pairs[:3])], cases.train)
    with pytest.raises(LmmError, match=r"empty-handed made no motion of 'a person walks"):
        generation(small, [Generator("empty-handed", lambda p, s: broken)], encoder(), 1, quiet)


def test_a_motion_is_looked_at_once_and_forgotten() -> None:
    looker, walk = Looker(encoder()), gait(2.0, 30.0)
    assert looker.look(walk) is looker.look(walk)
    del walk
    assert not looker._seen


def test_few_texts_have_no_r_precision_but_all_else(cases: Cases) -> None:
    small = Cases("walks", "test", [Slice("label", True, cases.slices[0].pairs[:4])], cases.train)
    results, _ = generation(small, [], encoder(), 1, quiet)
    assert results["models"][0]["slice"] == "label, zero-shot"
    assert "r_precision_1" not in results["models"][0]
    assert results["models"][0]["turn"] == 1
    assert results["models"][0]["of_real"] is None


def test_the_evaluator_is_tried_on_real_pairs(generated: Any) -> None:
    told = generated[0]["evaluator"][0]
    assert told["named"] == 34
    assert 0 <= told["contrary"] <= 1
    assert 0 <= told["mirrored"] <= 1


def test_captions_and_their_controls(cases: Cases) -> None:
    part = cases.slices[0]
    exchanged = {"left": "right", "right": "left"}

    def wrong_way(p: Pair) -> str:
        return " ".join(exchanged.get(w.rstrip(","), w) for w in p.text.split())

    record = {"parameters": 1, "licence": "CC0", "trained_on": "nothing"}
    results = caption(
        cases, [Describer("wrong way", wrong_way, record), Describer("mute", lambda p: "")], encoder(), quiet
    )
    json.dumps(results, allow_nan=False)
    rows = rows_of(results)
    best, wrong, mute, majority = (rows[n] for n in ("the references", "wrong way", "mute", "majority"))
    assert best["bleu_4"] == pytest.approx(1)
    assert best["cider"] == pytest.approx(10)
    assert best["turn"] == best["macro_accuracy"] == 1
    assert best["bert_f1"] == pytest.approx(1)
    assert wrong["turn"] == 0
    assert wrong["macro_accuracy"] == 0
    assert 0 < wrong["bleu_1"] < 1
    assert mute["bleu_1"] == mute["rouge_l"] == mute["macro_accuracy"] == mute["bert_f1"] == 0
    assert majority["macro_accuracy"] == pytest.approx(0.5)
    assert majority["different"] == 1
    assert best["different"] == len(part.pairs)
    page = caption_report(results)
    assert "wrong way" in page
    assert "macro-accuracy" in page
    assert len(summary(results)) == 2 + len(results["models"])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    rows = []
    for i, p in enumerate([*pairs("train", 4), *pairs("test", 5, start=50)]):
        p.motion.save(folder / f"{i}.lmm.npz")
        rows.append({"file_name": f"{i}.lmm.npz", "subject": f"s{i}", "split": p.split, "captions": [p.text]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ingest(folder, folder.parent / "told_store", workers=1)
    return folder.parent / "told_store"


def test_slices_are_by_origin_and_no_more_than_asked(store: Path) -> None:
    found = language_cases([store])
    assert [s.name for s in found.slices] == ["description", "measured"]
    assert {p.split for s in found.slices for p in s.pairs} == {"test"}
    assert {p.split for p in found.train} == {"train"}
    assert [len(s.pairs) for s in language_cases([store], most=2).slices] == [2, 2]
    with pytest.raises(InputError, match="no texts in split val"):
        language_cases([store], "val")
    with pytest.raises(InputError, match="--split all"):
        language_cases([store], "all")


@pytest.mark.parametrize("name", ["generation", "caption"])
def test_the_command_writes_results_and_page(name: str, store: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    encoder().save_pretrained(tmp_path / "encoder")
    settings = Settings(Path(store), "controls", tmp_path / "out", samples=1, encoder=str(tmp_path / "encoder"))
    results = evaluate(name, settings, quiet)
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert "<table>" in (tmp_path / "out" / "report.html").read_text()


def test_sentences_of_kit_are_a_slice_of_their_own(
    shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    listed = shared_data / "humanml3d_cmu" / "pairs.jsonl"
    rows = [json.loads(line) for line in listed.read_text("utf-8").splitlines()]
    row = next(r for r in rows if r["caption_source"] == "KIT-ML" and 2 < r["end_s"] - r["start_s"] < 8)
    folder, told = tmp_path / "walks", []
    folder.mkdir()
    for name, split in ((row["trial"], "test"), ("another", "train")):
        walk = gait(row["end_s"] + 0.5, 30.0)
        walk.replace(meta={**walk.meta, "trial": name}).save(folder / f"{name}.lmm.npz")
        told.append({"file_name": f"{name}.lmm.npz", "subject": name, "split": split, "captions": ["walks"]})
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, told)))
    ingest(folder, tmp_path / "store", workers=1)
    encoder().save_pretrained(tmp_path / "encoder")
    command = ["eval", "caption", "--data", str(tmp_path / "store"), "--models", "controls", "--kit", str(listed)]
    assert run([*command, "--encoder", str(tmp_path / "encoder"), "--out", str(tmp_path / "out")]) == 0
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["models"]
    assert {r["slice"]: r["texts"] for r in rows}["sentence"] >= len(set(row["captions"]))
    assert "sentence" in capsys.readouterr().out


def test_an_evaluator_is_for_language_and_must_be_one(store: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--encoder"):
        evaluate("forecast", Settings(store, "zero-velocity", tmp_path / "a", encoder="x"), quiet)
    with pytest.raises(InputError, match="--kit"):
        evaluate("forecast", Settings(store, "zero-velocity", tmp_path / "a", kit=tmp_path), quiet)
    with pytest.raises(LmmError, match="nonesuch"):
        evaluate("caption", Settings(store, "controls", tmp_path / "b", encoder="nonesuch"), quiet)
    with pytest.raises(LmmError, match="nonesuch"):
        evaluate("generation", Settings(store, "nonesuch", tmp_path / "c"), quiet)
