"""Answers: whatever is said of a truth, the truth is read out of it again."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.datasets.answers import NUMBERS, QUESTIONS, answered, exercises, parse_answer, phrased, phrases

NEXT = ["walks forward", "runs to the left", "turns right", "stands still", "raises the left hand", "jumps",
        "walks forward and to the right", "walks backwards", "raises both hands", "bends the knees"]  # fmt: skip
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "exercise": st.sampled_from(exercises()),
    "correct": st.booleans(),
    "side": st.sampled_from(["left", "right", "both"]),
    "count": st.integers(1, 40),
    "direction": st.sampled_from(list(phrases()["directions"])),
    "turn": st.sampled_from(["left", "right", "none"]),
    "sequence": st.lists(st.sampled_from(exercises()), min_size=1, max_size=4, unique=True),
    "duration": st.integers(1, 600),
    "angle": st.integers(0, 36).map(lambda n: 5 * n),
    "compare": st.sampled_from(["first", "second", "same"]),
    "caption": st.sampled_from(["a person walks forward", "someone waves with both hands, full of energy"]),
    "next": st.sampled_from(NEXT),
}
KEYS = {"duration": "seconds", "angle": "degrees"}


@pytest.mark.parametrize("kind", VALUES)
@given(data=st.data())
def test_every_phrasing_states_its_truth(kind, data):
    truth = {KEYS.get(kind, kind): data.draw(VALUES[kind])}
    limb = data.draw(st.sampled_from(["arm", "leg"]))
    text = answered(kind, truth, {"limb": limb}, random.Random(data.draw(st.integers(0, 1000))))
    assert parse_answer(kind, text) == truth
    assert parse_answer("unanswerable", text) == {"answerable": True}
    assert text == text.lower()


@pytest.mark.parametrize("reason", ["never", "unseen", "single", "stays", "absent"])
def test_refusals_state_nothing_else(reason):
    slots = {"reason": reason, "part": "left leg", "exercise": "side lunge"}
    for n in range(20):
        for thing in [t["thing"] for t in phrases()["never"]]:
            text = answered("unanswerable", {"answerable": False}, {**slots, "thing": thing}, random.Random(n))
            assert parse_answer("unanswerable", text) == {"answerable": False}
            assert all(parse_answer(kind, text) is None for kind in VALUES)


def test_kinds_are_those_that_are_read():
    assert set(QUESTIONS) == {*VALUES, "unanswerable"}
    assert parse_answer("own", "anything") is None
    assert parse_answer("unanswerable", "  ") is None


@pytest.mark.parametrize(
    ("kind", "text", "truth"),
    [
        ("count", "There are 7 squats", {"count": 7}),
        ("count", "I see TWELVE.", {"count": 12}),
        ("count", "thrice", {"count": 3}),
        ("count", "several", None),
        ("correct", "The form is wrong", {"correct": False}),
        ("correct", "Yes, well done", {"correct": True}),
        ("correct", "maybe", None),
        ("side", "first the left, then the right", {"side": "both"}),
        ("turn", "straight on", {"turn": "none"}),
        ("direction", "she walks back", {"direction": "backwards"}),
        ("direction", "left or right", None),
        ("duration", "12.4 s", {"seconds": 12}),
        ("angle", "around 93 degrees", {"degrees": 95}),
        ("compare", "first or second", None),
        ("exercise", "a squat", None),
        ("next", "Then the person turns left.", {"next": "turns left"}),
    ],
)
def test_words_of_others_are_read_too(kind, text, truth):
    assert parse_answer(kind, text) == truth


def test_questions_fill_all_that_they_name():
    for kind, options in phrases()["questions"].items():
        for form in options if isinstance(options, dict) else [""]:
            for n in range(30):
                text = phrased(kind, {"exercise": "deep squat", "limb": "arm", "side": "left"}, random.Random(n), form)
                assert "{" not in text
                assert text == text.lower()


def test_no_exercise_is_part_of_another_and_numbers_are_words():
    names = exercises()
    assert len(names) == 14
    assert not any(a in b for a in names for b in names if a != b)
    assert NUMBERS[12] == "twelve"


@given(st.sampled_from([*QUESTIONS, "own"]), st.text(st.characters(codec="ascii"), max_size=80))
def test_any_text_is_read_or_not(kind, text):
    told = parse_answer(kind, text)
    assert told is None or len(told) == 1
