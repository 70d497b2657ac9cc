"""Caption scores against sacrebleu 2.6, rouge-score 0.1.2 and pycocoevalcap 1.2, whose values are written down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm.datasets.sentences import contents
from lmm.evaluation import caption_scores as scores

SAID = [
    "a person walks forward and waves with the left hand",
    "someone jumps twice",
    "a man is dancing slowly in a circle",
    "the person raises the right arm",
    "a person sits down",
]
KNOWN = [
    ["a person walks forward while waving the left hand", "someone is walking forward and waves with the left hand"],
    ["a person jumps two times in place", "someone jumps up and down twice"],
    ["a man dances in a circle", "the person is dancing slowly round in a circle"],
    ["the person raises the left arm", "somebody lifts the right arm over the head"],
    ["a person is walking in a circle", "somebody walks slowly"],
]
FIRST = [k[:1] for k in KNOWN]


def test_bleu_equals_sacrebleu() -> None:  # tokenize="none", smooth_method="none"
    assert scores.bleu(SAID, KNOWN, 1) == pytest.approx(0.8491957379658909, abs=1e-12)
    assert scores.bleu(SAID, KNOWN, 4) == pytest.approx(0.5758248050307618, abs=1e-12)
    assert scores.bleu(SAID, FIRST, 1) == pytest.approx(0.5670616851, abs=1e-9)
    assert scores.bleu(SAID, FIRST, 4) == pytest.approx(0.2822549353, abs=1e-9)


def test_rouge_l_equals_pycocoevalcap() -> None:
    assert scores.rouge_l(SAID, KNOWN).mean() == pytest.approx(0.6699461976712417, abs=1e-12)
    each = [0.7439024390243903, 0.6288659793814433, 0.7970383275261324, 0.8333333333333334, 0.346590909090909]
    assert scores.rouge_l(SAID, KNOWN) == pytest.approx(each)
    assert scores.rouge_l(SAID, FIRST).mean() == pytest.approx(0.568708820175871, abs=1e-12)


def test_rouge_l_follows_from_the_precision_and_recall_of_rouge_score() -> None:
    found = [(0.7, 7 / 9), (1 / 3, 1 / 7), (0.625, 5 / 6), (5 / 6, 5 / 6), (0.5, 2 / 7)]
    f = [(1 + 1.44) * p * r / (r + 1.44 * p) for p, r in found]
    assert scores.rouge_l(SAID, FIRST) == pytest.approx(f)


def test_cider_equals_pycocoevalcap() -> None:
    assert scores.cider(SAID, KNOWN).mean() == pytest.approx(2.786405906709209, abs=1e-12)
    assert scores.cider(SAID, FIRST).mean() == pytest.approx(2.5311622639005784, abs=1e-12)


def test_references_said_again_score_full_marks() -> None:
    again = [k[0] for k in KNOWN]
    assert scores.bleu(again, FIRST) == pytest.approx(1)
    assert scores.rouge_l(again, FIRST) == pytest.approx([1] * 5)
    assert scores.cider(again, FIRST) == pytest.approx([10] * 5)


def test_nothing_in_common_or_nothing_said_scores_nothing() -> None:
    for said in (["zebra"] * 5, [""] * 5, ["?!"] * 5):
        assert scores.bleu(said, KNOWN) == scores.rouge_l(said, KNOWN).sum() == scores.cider(said, KNOWN).sum() == 0


def test_case_and_punctuation_do_not_count_but_endings_do() -> None:
    loud = [c.upper() + "!" for c in SAID]
    assert (scores.cider(loud, KNOWN) == scores.cider(SAID, KNOWN)).all()
    assert scores.words("It's Müller's left-hand") == ["it's", "müller's", "left", "hand"]
    assert scores.bleu(["he waves"], [["he waved"]], 1) == pytest.approx(0.5)  # raw, not lemmatised


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=7), st.lists(st.sampled_from("abc"), min_size=1, max_size=7))
def test_the_longest_common_subsequence_equals_trying_all(a: list[str], b: list[str]) -> None:
    def subsequences(x: list[str]) -> set[tuple[str, ...]]:
        return {tuple(w for i, w in enumerate(x) if mask >> i & 1) for mask in range(1 << len(x))}

    longest = max(map(len, subsequences(a) & subsequences(b)))
    p, r = longest / max(len(a), 1), longest / len(b)
    expected = (1 + 1.44) * p * r / (r + 1.44 * p) if longest else 0
    assert scores.rouge_l([" ".join(a)], [[" ".join(b)]])[0] == pytest.approx(expected)


def test_bert_score_matches_greedily() -> None:
    book = {"left": [1.0, 0.0], "right": [0.8, 0.6], "hand": [0.0, 1.0]}

    def embed(text: str) -> np.ndarray:
        return np.array([book[w] for w in text.split()], float).reshape(-1, 2) * 3  # the length does not count

    found = scores.bert_score(["left hand"], [["right"]], embed)
    assert found["precision"] == pytest.approx((0.8 + 0.6) / 2)
    assert found["recall"] == pytest.approx(0.8)
    assert found["f1"] == pytest.approx(2 * 0.7 * 0.8 / 1.5)
    assert scores.bert_score(["left hand"], [["right", "hand left"]], embed)["f1"] == pytest.approx([1])
    assert scores.bert_score([""], [["right"]], embed)["f1"] == 0


def test_equally_near_texts_are_all_found() -> None:
    nearest = scores.Nearest(["he bows", "she walks", "she walks", "they walk"])
    assert sorted(nearest.of("someone walks")) == [1, 2]
    assert nearest.of("he bows") == [0]
    assert nearest.of("zebra") == []


def test_bleu_of_part_of_the_corpus_is_that_of_the_summed_counts() -> None:
    weights = np.array([[1, 0, 2, 1, 0], [0, 1, 0, 0, 1]])
    found = scores.bleu_of(weights @ scores.bleu_counts(SAID, KNOWN, 2))
    for row, value in zip(weights, found, strict=True):
        some = np.repeat(np.arange(5), row)
        assert value == pytest.approx(scores.bleu([SAID[i] for i in some], [KNOWN[i] for i in some], 2))


def test_a_caption_is_of_the_class_that_its_words_are_nearest_to() -> None:
    classes = scores.Classes({"walk": ["a person walks forward", "someone walks"], "wave": ["a person waves a hand"]})
    assert classes.of("the person walks slowly forward") == "walk"
    assert classes.of("a hand is waved by a person: waves") == "wave"
    assert classes.of("xylophone") is None
    assert classes.of("") is None


def test_every_phrase_of_a_label_is_of_its_content_whatever_the_style() -> None:
    told = contents()
    classes = scores.Classes(told)
    assert {classes.of(f"a proud person {p}") for p in told["bow"]} == {"bow"}
    assert classes.of("somebody youthfully runs") == "run"
    assert classes.of("someone walks in reverse in a manly way") == "walk-back"
    assert classes.of("a weary person walks forward") == "walk"
    assert classes.of("a person proudly raises the left arm") == "raise-up-left-hand"
    assert not any("{" in p for phrases in told.values() for p in phrases)


def test_macro_accuracy_gives_each_class_the_same_weight() -> None:
    truth = ["walk"] * 98 + ["wave", "bow"]
    assert scores.macro_accuracy(["walk"] * 100, truth) == pytest.approx(1 / 3)
    assert scores.macro_accuracy(["wave", None, "b"], ["wave", "wave", "b"]) == pytest.approx(0.75)
