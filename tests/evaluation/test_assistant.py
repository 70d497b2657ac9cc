"""The protocol `assistant`: each score by hand, folds that keep subjects apart, rivals, the whole way on a store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets.test_instructions import uiprmd
from datasets.test_pairs import write_store
from lmm.cli.main import run as lmm
from lmm.core.errors import LmmError
from lmm.datasets.answers import answered
from lmm.datasets.instructions import Conversation, Motions, instructions
from lmm.datasets.synthetic import repetitions, swing
from lmm.evaluation.askers import Constant, Majority, Peaks, Rocket, Rules
from lmm.evaluation.assistant import Told, Worse, _rows, entered, run
from lmm.evaluation.assistant_cases import Fold, Reading, folds, kept, setting
from lmm.evaluation.assistant_scores import moments, scores
from lmm.evaluation.bootstrap import resamples
from lmm.evaluation.robustness import jitter
from lmm.models.assistant import Assistant
from models.test_assistant import llm  # noqa: F401

ONE = np.ones((1, 1))


def told(kind: str, truth: dict[str, Any], subject: str = "a", **changes: Any) -> Conversation:
    words = answered(kind, truth, {"limb": "arm", "reason": "single"}, Random(0))
    messages = [{"role": "user", "content": f"{kind}?"}, {"role": "assistant", "content": words}]
    about = {"device": "kinect", "count": 1, "exercise": "deep squat", "correct": True}
    why, recipe = {"of": "uiprmd", "about": about}, {"pieces": [{"id": "x"}]}
    made = Conversation(f"{kind}/{truth}", [recipe], messages, kind, truth, [[]], "train", subject, "", why)
    return replace(made, **changes)


def score(kind: str, truths: list[dict[str, Any]], answers: list[str]) -> dict[str, float]:
    asked = [told(kind if t != {"answerable": False} else "unanswerable", t) for t in truths]
    found = scores(kind, asked, answers, np.ones((1, len(asked))))
    return {k: float(v[0]) for k, v in found.items()}


def test_accuracy_and_its_mean_over_truths():
    found = score("side", [{"side": s} for s in ("left", "left", "left", "right")], ["left.", "left", "right", "hm"])
    assert found["accuracy"] == 0.5
    assert found["stated"] == 0.75
    assert found["balanced"] == pytest.approx((2 / 3 + 0) / 2)


def test_f1_is_the_mean_of_both_classes():
    truths = [{"correct": c} for c in (True, True, True, False)]
    found = score("correct", truths, ["yes.", "yes.", "no.", "that cannot be told"])
    # correct: TP 2, FP 0, FN 1; incorrect: TP 0, FP 1, FN 1
    assert found["f1"] == pytest.approx((4 / 5 + 0) / 2)
    assert found["accuracy"] == 0.5
    assert found["stated"] == 0.75


def test_what_states_no_number_counts_as_zero():
    found = score("count", [{"count": n} for n in (3, 4, 5, 1)], ["three times.", "5", "it cannot be told", ""])
    assert found == {"exact": 0.25, "off_by_one": 0.5, "mae": (0 + 1 + 5 + 1) / 4, "stated": 0.5}


def test_angles_and_durations_within_what_is_said():
    angle = score("angle", [{"degrees": 90}] * 3, ["about 100 degrees.", "105 degrees", "nothing"])
    assert angle["within"] == pytest.approx(1 / 3)
    assert angle["mae"] == pytest.approx((10 + 15 + 90) / 3)
    long = score("duration", [{"seconds": 40}, {"seconds": 4}], ["about 44 seconds.", "about 6 seconds."])
    assert long["within"] == 0.5
    assert long["mae"] == 3


def test_refusals_count_over_all_conversations():
    truths = [{"answerable": False}] * 2 + [{"answerable": True}] * 4
    answers = ["that cannot be told.", "three times."] + ["yes."] * 3 + ["the leg is not seen, so it cannot be told."]
    asked = [told("unanswerable" if not t["answerable"] else "correct", {"correct": True}) for t in truths[2:]]
    asked = [told("unanswerable", {"answerable": False})] * 2 + asked
    found = scores("unanswerable", asked, answers, np.ones((1, 6)))
    assert {k: float(v[0]) for k, v in found.items()} == {"balanced": 0.625, "refused": 0.5, "false_refusals": 0.25}


@given(st.integers(1, 20), st.integers(0, 20))
def test_an_answer_in_any_phrasing_of_the_truth_is_right(true: int, seed: int):
    words = answered("count", {"count": true}, {}, Random(seed))
    assert score("count", [{"count": true}], [words])["exact"] == 1
    assert score("count", [{"count": true + 1}], [words])["off_by_one"] == 1


def test_key_frames_near_instants_beside_evenly_spaced_ones():
    c = told("count", {"count": 2}, moments_s=[[1.0, 9.0]])
    found = moments([c], [[[1.3, 1.4, 5.0, 9.6]]], [[10.0]], ONE)
    # evenly spaced: 1.25, 3.75, 6.25, 8.75
    assert {k: float(v[0]) for k, v in found.items()} == {"hit": 0.5, "found": 0.5, "even_hit": 0.5, "even_found": 1.0}


def test_folds_keep_subjects_apart_and_nothing_of_them_is_learned():
    asked = [told("count", {"count": n}, s) for s in "abc" for n in range(1, 6)]
    for fold in folds(asked, ["a", "b"], "test", 3):
        assert {c.subject for c in fold.test} == {fold.name}
        assert len(fold.test) == 3
        assert len(fold.train) == 10
        assert fold.name not in {c.subject for c in fold.train}
    with pytest.raises(LmmError, match="to test"):
        folds(asked, [], "test", 3)
    # a subject with conversations in split train is not learned from if one of its others is tested
    mixed = [*asked, told("count", {"count": 1}, "a", split="test")]
    assert {c.subject for c in folds(mixed, [], "test", 3)[0].train} == {"b", "c"}


def test_kept_are_the_same_each_time_and_of_each_kind_and_setting():
    asked = [
        told(k, {k: 1} if k == "count" else {"correct": True}, s)
        for s in "ab"
        for k in ("count", "correct")
        for _ in range(9)
    ]
    assert kept(asked, 4) == kept(asked, 4)
    assert len(kept(asked, 4)) == 16
    assert setting(asked[0]) == "kinect: one repetition"


def test_an_interval_of_a_difference_is_of_the_same_resamples():
    asked = [told("exercise", {"exercise": "deep squat"}, s) for s in "abcdef" for _ in range(10)]
    right, wrong = ["the deep squat."] * 60, ["the side lunge."] * 60
    answers = [right[i] if i % 10 < 5 else wrong[i] for i in range(60)]
    both = {
        "ours": Told(list(answers), [None] * 60),
        "same": Told(list(answers), [None] * 60),
        "worse": Told(list(wrong), [None] * 60),
    }
    rows = {(r["model"], r["group"]): r for r in _rows(asked, both)}
    assert rows["same", "all"]["against"] == {"difference": 0.0, "ci95": [0.0, 0.0]}
    assert rows["worse", "all"]["against"]["difference"] == 0.5
    assert rows["ours", "all"]["by_subject"] == dict.fromkeys("abcdef", 0.5)
    weights = resamples([c.subject for c in asked])
    share = scores("exercise", asked, answers, weights)["accuracy"]
    np.testing.assert_allclose(rows["ours", "all"]["ci95"]["accuracy"], np.percentile(share[1:], [2.5, 97.5]))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three subjects, two exercises that look unlike, done fully or half."""
    clips = []
    for s in ("s01", "s02", "s03"):
        for e in range(3):
            for movement, made in (("07", repetitions(1, 2.0 + e / 4)), ("09", swing(30.0, 0.8, 3.0 + e / 4))):
                for correct in (True, False):
                    m = uiprmd(made, movement, correct, e)
                    clips.append(m.replace(meta={**m.meta, "id": f"{m.meta['id']}_{s}", "subject": f"uiprmd_{s}"}))
    return write_store(tmp_path_factory.mktemp("stores") / "s", clips).path


@pytest.fixture(scope="module")
def motions(store: Path) -> Motions:
    return Motions([store])


@pytest.fixture(scope="module")
def fold(motions: Motions) -> Fold:
    return folds(list(instructions(motions, 0, 99)), ["uiprmd_s03"], "test", 100)[0]


def accuracy(kind: str, asker: Any, fold: Fold, motions: Motions) -> float:
    asker.fit(fold, motions)
    asked = [c for c in fold.test if c.kind == kind]
    found = scores(kind, asked, asker.answers(asked, motions), np.ones((1, len(asked))))
    return float(found.get("accuracy", found.get("exact"))[0])  # type: ignore[index]


def test_rules_and_minirocket_know_exercises_of_a_subject_never_seen(fold, motions):
    assert accuracy("exercise", Rules(), fold, motions) > 0.9
    assert accuracy("exercise", Rocket(), fold, motions) > 0.9
    assert accuracy("exercise", Majority(), fold, motions) < 0.9


def test_rules_measure_what_was_measured(fold, motions):
    for kind in ("duration", "angle", "side"):
        rules = Rules()
        rules.fit(fold, motions)
        asked = [c for c in fold.test if c.kind == kind]
        found = scores(kind, asked, rules.answers(asked, motions), np.ones((1, len(asked))))
        assert float(found.get("accuracy", found.get("within"))[0]) > 0.9, kind


def test_majority_answers_each_question_with_its_commonest_truth(fold, motions):
    majority = Majority()
    majority.fit(fold, motions)
    never = [c for c in fold.test if c.provenance.get("reason") == "never"]
    assert never
    assert all("cannot be told" in a for a in majority.answers(never, motions))


def test_a_question_is_read_as_training_answered_it(fold):
    reading = Reading(fold.train)
    asked = [c for c in fold.test if c.kind not in ("unanswerable",)]
    assert np.mean([reading.of(c)[0] == c.kind for c in asked]) > 0.9


def test_counters(fold, motions):
    asked = [c for c in fold.test if c.kind == "count"]
    constant, peaks = Constant(), Peaks()
    constant.fit(fold, motions)
    assert len(set(constant.answers(asked, motions))) == 1
    raises = [c for c in asked if c.provenance["about"]["exercise"] == "shoulder abduction"]
    right = [int(a) == c.truth["count"] for a, c in zip(peaks.answers(raises, motions), raises, strict=True)]
    assert len(right) > 5
    assert np.mean(right) > 0.9


def test_worse_motions_are_worse_by_what_is_said_and_the_same_each_time(motions, fold):
    recipe = fold.test[0].motions[0]
    worse = Worse(motions, jitter, 0.05)
    off = worse.motion(recipe).positions - motions.motion(recipe).positions
    assert np.nanstd(off) == pytest.approx(0.05, rel=0.05)
    np.testing.assert_array_equal(worse.motion(recipe).positions, Worse(motions, jitter, 0.05).motion(recipe).positions)


@pytest.mark.slow
def test_rivals_by_the_command_line(store, tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        lmm(["eval", "assistant", "--data", str(store), "--models", "controls", "--samples", "12", "-o", str(out)]) == 0
    )
    results = json.loads((out / "results.json").read_text())
    assert [f["name"] for f in results["folds"]] == ["uiprmd_s01", "uiprmd_s02", "uiprmd_s03"]
    rows = {(r["kind"], r["model"]): r for r in results["scores"] if r["group"] == "all"}
    assert rows["exercise", "rules"]["accuracy"] > rows["exercise", "majority"]["accuracy"]
    assert len(rows["exercise", "rules"]["by_subject"]) == 3
    assert ("angle", "minirocket") not in rows
    page = (out / "report.html").read_text()
    assert "Unanswerable" in page
    assert "s03" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert "exercise accuracy" in capsys.readouterr().out


def test_each_fold_is_asked_by_the_model_that_never_saw_it(fold, motions, llm, tmp_path):  # noqa: F811
    for name in ("uiprmd_s02", "uiprmd_s03"):
        Assistant.from_llm(llm, "tiny").save_pretrained(tmp_path / "folds" / name / "best")
    (model,) = entered(f"ours={tmp_path / 'folds'}", "cpu")
    assert model.folders == {n: tmp_path / "folds" / n / "best" for n in ("uiprmd_s02", "uiprmd_s03")}
    asked = [c for c in fold.test if len(c.messages) == 2][:24]
    small = replace(fold, test=asked)
    results = run([small], [model, Majority()], motions, lambda done, total: None)
    said = model.answers(asked, motions)
    # side by side as one after another
    assert said[5] == model.model.text(list(model.model.answer(model._asked([asked[5]], motions)[0], max_tokens=48)))
    resting = [c for c in asked if any(c.moments_s)]
    for c, keys in zip(resting, model.looks(resting, motions), strict=True):
        for recipe, own in zip(c.motions, keys, strict=True):
            # a token is three frames, of which the last one may hang over the end
            assert own
            assert all(0 <= t <= motions.motion(recipe).seconds + 0.2 for t in own)
    assert {r["model"] for r in results["scores"]} == {"ours", "majority"}
    assert results["seconds_per_answer"]["ours"] > 0
    entered(f"one={tmp_path / 'folds' / 'uiprmd_s02' / 'best'}", "cpu")
    with pytest.raises(LmmError, match="comes twice"):
        entered(f"a={tmp_path / 'folds'},a={tmp_path / 'folds'}", "cpu")


def test_what_is_no_assistant_is_refused(tmp_path):
    with pytest.raises(LmmError, match="no assistant"):
        entered(f"ours={tmp_path}", "cpu")
