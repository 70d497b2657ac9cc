"""Sentences are ordinary, deterministic, and true of motions with known answers; mirroring is an involution."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.analysis.facts import facts
from lmm.core.errors import LmmError
from lmm.core.motion import Motion
from lmm.datasets import sentences
from lmm.datasets.sentences import described, exercise, gesture, measured, mirrored, styled
from lmm.datasets.synthetic import gait, repetitions, standing
from lmm.datasets.windows import mirror

TABLE = sentences._table()
WORDS = st.sampled_from(
    "left right Left RIGHT leftwards clockwise anticlockwise all is the away turns upright bright , . lefts".split()
)
ORDINARY = re.compile(r"[a-z]+(?:[-']?[a-z]+)*(?:,? [a-z]+(?:[-'][a-z]+)*)*")


def said_of(motion: Motion) -> list[tuple[str, dict[str, str]]]:
    told = facts(motion)
    assert told is not None
    found = [measured(told, i) for i in range(40)]
    return [f for f in found if f is not None]


def every_sentence() -> list[str]:
    keys = range(25)
    out = [styled(c, s, k) for c, s, k in itertools.product(TABLE["contents"], TABLE["styles"], keys)]
    out += [exercise(m, c, s, k) for m, c, s, k in
            itertools.product(TABLE["exercises"], (True, False), (None, "left", "right"), keys)]  # fmt: skip
    out += [gesture(g, q, p, s, k) for g, q, p, s, k in itertools.product(
            TABLE["gestures"], TABLE["quality"], TABLE["position"], (None, "left"), range(6))]  # fmt: skip
    for d, part, k in itertools.product(TABLE["descriptions"], (True, False), keys):
        out += filter(None, [described(d, part, k)])
    return out


def test_every_sentence_is_ordinary_and_mirrors_back():
    told = every_sentence()
    assert len(set(told)) > 3000
    for text in told:
        assert ORDINARY.fullmatch(text), text
        assert "{" not in text
        there = mirrored(text)
        assert there is not None, text
        assert mirrored(there) == text


def test_sides_in_sentences_are_the_labels():
    for content, style, k in itertools.product(TABLE["contents"], TABLE["styles"], range(20)):
        words = set(re.split(r"\W+", styled(content, style, k)))
        for side in ("left", "right"):
            if side in content.split("-"):
                assert side in words
                assert words.isdisjoint({"left", "right"} - {side})


def test_every_style_is_heard_unless_normal():
    for content, (style, manner) in itertools.product(TABLE["contents"], TABLE["styles"].items()):
        words = [w for kind in ("adverbs", "adjectives", "states", "phrases") for w in manner.get(kind, [])]
        for k in range(10):
            assert style == "normal" or any(w in styled(content, style, k) for w in words)


def test_the_same_key_gives_the_same_sentence():
    assert styled("walk", "sad", 0, "clip", 3) == styled("walk", "sad", 0, "clip", 3)
    assert len({styled("wave-left-hand", "exhausted", i) for i in range(200)}) > 60
    assert styled("walk", "old", 1) == styled("walk", "elderly", 1)


def test_measured_sentences_are_true():
    for text, label in said_of(gait(seconds=5, turn_deg_per_s=18)):
        assert re.search(r"\bwalks (forward|ahead)\b", text), text
        assert "left" in text
        assert "right" not in text
        assert label == {"direction": "forward", "turn": "left"}
    for text, _ in said_of(gait(seconds=5, speed_mps=1.3)):
        assert "turn" not in text
        if "metres" in text:
            assert "about six metres" in text
    for text, label in said_of(repetitions(3)):
        assert re.search(r"(raises|lifts) the right hand.* three times", text), text
        assert label == {"side": "right", "limb": "arm"}
    for text, label in said_of(mirror(repetitions(1))):
        assert "left hand" in text
        assert "times" not in text
        assert label["side"] == "left"
    for text, label in said_of(standing()):
        assert re.search("still|hardly", text)
        assert label == {}


def test_measured_sentences_mirror_with_the_motion():
    for motion in (gait(seconds=5, turn_deg_per_s=-20), repetitions(2)):
        here, there = said_of(motion), said_of(mirror(motion))
        assert [mirrored(t) for t, _ in here] == [t for t, _ in there]


@given(st.lists(WORDS, max_size=8).map(" ".join) | st.text(max_size=40))
def test_mirroring_is_an_involution(text):
    there = mirrored(text)
    assert there is None or mirrored(there) == text


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("waves the Left hand, turning clockwise", "waves the Right hand, turning anticlockwise"),
        ("stands upright in bright light", "stands upright in bright light"),
        ("goes right away", None),
        ("all right", None),
        ("nothing is left", None),
        ("turns counterclockwise", None),
        ("lEfT", None),
    ],
)
def test_sides_are_exchanged_where_it_is_safe(text, there):
    assert mirrored(text) == there


def test_what_is_not_known_is_told():
    with pytest.raises(LmmError, match=r"juggle.*sentences\.toml"):
        styled("juggle", "sad")
    assert described("juggles three balls", False) == "juggles three balls"
    assert described("juggles three balls", True) is None
