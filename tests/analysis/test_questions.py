"""Questions about motions whose answers are known, and answers that are right or wrong about them."""

from __future__ import annotations

import tomllib
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.analysis.questions import Measurement, Subject, measured
from lmm.analysis.statements import NUMBERS, disagreement
from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait, repetitions, standing, swing
from lmm.datasets.windows import mirror
from lmm.skeletons import BODY_25

FIVE, WALK, TURN = repetitions(5), gait(seconds=5, speed_mps=1.3), gait(seconds=6, turn_deg_per_s=25)


def found(question: str, *motions: Motion) -> dict[str, float | str]:
    return {m.what: m.value for m in measured(question, [Subject(m) for m in motions])}


@pytest.mark.parametrize(
    ("question", "motion", "what", "value"),
    [
        ("How many repetitions are there?", FIVE, "repetitions", 5),
        ("How often does the person raise the arm?", FIVE, "repetitions", 5),
        ("How many jumps do you see?", WALK, "jumps", 0),
        ("How long does this last?", FIVE, "duration", 12),
        ("How many degrees is the right arm raised?", FIVE, "right shoulder elevation, most", 120),
        ("Which way does the person go?", WALK, "goes", "forward"),
        ("Does the person walk backwards?", WALK, "goes", "forward"),
        ("Where is the person walking to?", standing(), "goes", "on the spot"),
        ("To which side does the person turn?", TURN, "turns to", "left"),
        ("By how many degrees does the person turn?", TURN, "turn", 150),
        ("Does she turn?", WALK, "turns to", "no"),
        ("Which arm moves?", FIVE, "arm that moves", "right"),
        ("Is it the left or the right arm?", mirror(FIVE), "arm that moves", "left"),
        ("How far does the person walk?", WALK, "way over the ground", 6.5),
        ("How fast does he walk?", WALK, "speed over the ground", 1.3),
    ],
)
def test_what_a_question_asks_for_is_measured(question: str, motion: Motion, what: str, value: float | str) -> None:
    told = found(question, motion)
    assert told[what] == (value if isinstance(value, str) else pytest.approx(value, rel=0.06))


@pytest.mark.parametrize(
    "question",
    [
        "What is the person's name?",
        "Is the exercise done correctly?",
        "What happens next?",
        "How old is the person?",
        "Describe the motion.",
    ],
)
def test_of_what_cannot_be_measured_nothing_is(question: str) -> None:
    assert found(question, FIVE) == {}


def test_the_time_of_a_repetition_is_without_its_rest() -> None:
    each = {period: found("How long does each repetition take?", repetitions(4, period)) for period in (1.5, 3.0)}
    for period, told in each.items():
        assert 0.6 * period < float(told["a repetition, mean"]) <= period


def phrasings() -> dict[str, Any]:
    return tomllib.loads((resources.files("lmm.datasets") / "instructions.toml").read_text("utf-8"))


def test_of_what_no_motion_shows_nothing_is_measured() -> None:
    for thing in phrasings()["never"]:
        for question in thing["questions"]:
            assert found(question.format(limb="arm"), FIVE) == {}, question


@pytest.mark.parametrize("kind", ["exercise", "correct", "side", "count"])
def test_questions_that_assistants_learn_are_measured_by_their_kind(kind: str) -> None:
    told = {"exercise": set(), "correct": set(), "side": {"side"}, "count": {"count"}}[kind]
    known = phrasings()
    for question in known["questions"][kind]:
        for name in (*known["exercises"].values(), *known["gestures"].values()):
            asked = measured(question.format(exercise=name, limb="arm"), [Subject(FIVE)])
            assert {m.kind for m in asked} == told, question.format(exercise=name, limb="arm")


def test_no_direction_is_told_of_a_question_about_turning() -> None:
    assert "goes" not in found("Which way does the person turn?", TURN)


def test_sides_that_are_named_are_those_measured() -> None:
    assert list(found("How deep does the left knee bend?", WALK)) == ["left knee, most"]
    assert list(found("How far does the knee bend?", WALK)) == ["right knee, most", "left knee, most"]


@pytest.mark.parametrize(
    ("question", "name", "which"),
    [
        ("Which one has more repetitions?", "more repetitions", "second"),
        ("Which one is longer?", "longer", "second"),
        ("Which is faster?", "faster", "first"),
        ("Which is slower?", "slower", "second"),
    ],
)
def test_two_motions_are_compared(question: str, name: str, which: str) -> None:
    few, many = repetitions(3, 1.5), repetitions(5, 3.0)
    assert found(question, few, many)[name] == which
    assert name not in found(question, few, few)  # no clear difference


@given(st.integers(0, 20), st.integers(0, 20), st.booleans(), st.sampled_from(["{} squats.", "I count {}.", "{}"]))
def test_a_count_that_is_stated_has_to_be_the_one_measured(real: int, said: int, word: bool, form: str) -> None:
    answer = form.format(NUMBERS[said] if word else said)
    line = disagreement("How many?", answer, [Measurement("count", "repetitions", real)])
    assert (line is None) == (real == said)
    if line:
        assert line == f"The answer says {said}; measured is repetitions: {real}."


@given(st.floats(30, 150), st.floats(30, 150))
def test_an_angle_may_be_rounded(real: float, said: float) -> None:
    answer = f"The left knee bends to {said:.0f} degrees, 3 times."
    line = disagreement("How deep?", answer, [Measurement("degrees", "left knee, most", real)])
    assert (line is None) == (abs(round(said) - real) <= max(10, 0.15 * real))


@pytest.mark.parametrize(
    ("kind", "value", "question", "answer", "agrees"),
    [
        ("count", 5, "How many?", "It cannot be told from the motion.", True),
        ("count", 5, "How many?", "Five squats, each to about 90 degrees in 2.5 s, with both arms ahead.", True),
        ("count", 5, "How many?", "At 1.5 s the first one, then four more: 5 in all.", False),  # it says 4, too
        ("count", 2, "How many?", "The person squats twice.", True),
        ("count", 3, "Are there three squats?", "Yes.", True),
        ("count", 3, "Are there three squats?", "No.", False),
        ("count", 3, "Are there four squats?", "No.", True),
        ("count", 3, "Are there four squats?", "Yes, there are.", False),
        ("side", "left", "Which arm?", "The right arm.", False),
        ("side", "both", "Which arm?", "The left and the right arm.", True),
        ("side", "left", "Is it the left or the right arm?", "Yes.", True),
        ("turn", "left", "Does he turn left?", "No.", False),
        ("turn", "no", "Does he turn?", "The person goes straight ahead.", True),
        ("turn", "right", "Which way?", "Clockwise.", True),
        ("turn", "right", "Which way?", "Anticlockwise.", False),
        ("turn", "right", "Which way?", "Counter-clockwise.", False),
        ("way", "forward left", "Where to?", "Forward and to the left.", True),
        ("way", "forward", "Where to?", "The person goes backwards.", False),
        ("way", "on the spot", "Where to?", "The person stays where they are.", True),
        ("seconds", 12.0, "How long?", "About 12 seconds.", True),
        ("seconds", 12.0, "How long?", "About 20 s.", False),
        ("which", "first", "Which is faster?", "The second one.", False),
        ("which", "first", "Which is faster?", "The first one.", True),
    ],
)
def test_only_what_is_stated_otherwise_disagrees(
    kind: str, value: float | str, question: str, answer: str, agrees: bool
) -> None:
    line = disagreement(question, answer, [Measurement(kind, "it", value)])  # type: ignore[arg-type]
    assert (line is None) is agrees


def test_two_angles_of_which_one_is_meant() -> None:
    both = [Measurement("degrees", "right knee, most", 90.0), Measurement("degrees", "left knee, most", 40.0)]
    assert disagreement("?", "The left knee bends to 40°.", both) is None
    line = disagreement("?", "The left knee bends to 65°.", both)
    assert line == "The answer says 65°; measured is right knee, most: 90°, left knee, most: 40°."


def test_what_pictures_show_is_measured_as_far_as_it_can_be() -> None:
    flat = swing(90.0, 0.5).positions[..., :2] * [200, -200] + [300, 400]
    picture = make_motion(flat, 30.0, BODY_25, "image", size=(640, 480))
    assert found("Which arm moves?", picture) == {}
    assert "duration" in found("How long is it?", picture)
