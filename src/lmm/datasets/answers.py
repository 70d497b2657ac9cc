"""Questions about a motion in words, their answers, and what an answer states.

`phrased` and `answered` choose among the phrasings of ``instructions.toml`` beside this module; `parse_answer` reads
out of any of them, and of what a model says in its own way, the truth that was put in.

kind          truth
exercise      {"exercise": a name of `exercises`}
correct       {"correct": bool}
side          {"side": left, right or both}
count         {"count": int}
direction     {"direction": as `Facts.direction`}
turn          {"turn": left, right or none}
sequence      {"sequence": names of exercises, in order}
duration      {"seconds": int}
angle         {"degrees": int, a multiple of 5}
compare       {"compare": first, second or same}
caption       {"caption": a text without its full stop}
next          {"next": a verb phrase in the third person}
unanswerable  {"answerable": False}; for other questions' answers, True
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_ONCE = {"never": 0, "once": 1, "twice": 2, "thrice": 3, "none": 0, "no": 0}
_NUMBER = re.compile(rf"\b(\d{{1,4}}(?:\.\d+)?|{'|'.join([*NUMBERS, *_ONCE])})\b")
_REFUSAL = re.compile(r"\b(?:cannot|can not|can't|unable|impossible)\b")
_WRONG = re.compile(r"\b(?:no|not|n't|incorrect(?:ly)?|wrong(?:ly)?|poor(?:ly)?|bad(?:ly)?|mistakes?)\b")
_RIGHT = re.compile(r"\b(?:yes|correct(?:ly)?|right|good|well|properly)\b")
_SIDE = re.compile(r"\b(left|right|both)\b")


@cache
def phrases() -> dict[str, Any]:
    """Return ``instructions.toml``."""
    return tomllib.loads((resources.files("lmm.datasets") / "instructions.toml").read_text("utf-8"))


@cache
def exercises() -> tuple[str, ...]:
    """Return the names of exercises, those of UI-PRMD's ten movements first."""
    return tuple(dict.fromkeys([*phrases()["exercises"].values(), *phrases()["gestures"].values()]))


def phrased(kind: str, slots: dict[str, str], draw: random.Random, form: str = "") -> str:
    """Return a question of a kind, in one of the phrasings whose slots are all known."""
    options = phrases()["questions"][kind]
    return _filled(options[form] if form else options, slots, draw)


def answered(kind: str, truth: dict[str, Any], slots: dict[str, str], draw: random.Random) -> str:
    """Return an answer that states `truth`. `slots` has what else the phrasing needs: limb, thing, part, reason."""
    options = phrases()["answers"][kind]
    if kind == "exercise":
        slots = {**slots, "exercise": truth["exercise"]}
    elif kind == "correct":
        options = options["true" if truth["correct"] else "false"]
    elif kind == "side":
        limb = slots.get("limb", "arm")
        slots = {**slots, "which": f"both {limb}s" if truth["side"] == "both" else f"the {truth['side']} {limb}"}
    elif kind == "count":
        n = truth["count"]
        word = NUMBERS[n] if n < len(NUMBERS) else str(n)
        times = {1: "once", 2: "twice"}.get(n, f"{word} times")
        slots = {**slots, "n": word, "times": times}
    elif kind == "direction":
        slots = {"where": phrases()["directions"][truth["direction"]]}
    elif kind in ("turn", "compare"):
        options = options[truth[kind]]
    elif kind == "sequence":
        options = options["one" if len(truth[kind]) == 1 else "more"]
        slots = {"exercise": truth[kind][0], "list": ", then ".join(f"the {e}" for e in truth[kind])}
    elif kind == "duration":
        slots = {"seconds": f"{truth['seconds']} second{'s' * (truth['seconds'] != 1)}"}
    elif kind == "angle":
        slots = {"d": str(truth["degrees"])}
    elif kind in ("caption", "next"):
        slots = {kind: truth[kind]}
    elif kind == "unanswerable":
        options = options[slots["reason"]]
    return _filled(options, slots, draw)


def parse_answer(kind: str, text: str) -> dict[str, Any] | None:
    """Return the truth that an answer to a question of a kind states, None if it states none.

    An answer that says that it cannot be told states nothing but that, of kind ``unanswerable``.
    """
    said = text.lower()
    refuses = bool(_REFUSAL.search(said))
    if kind == "unanswerable":
        return {"answerable": not refuses} if said.strip() else None
    read = _READERS.get(kind)
    return None if refuses or read is None else read(said)


def _exercise(said: str) -> dict[str, Any] | None:
    found = _named(said)
    return {"exercise": found[0]} if found else None


def _correct(said: str) -> dict[str, Any] | None:
    if _WRONG.search(said):
        return {"correct": False}
    return {"correct": True} if _RIGHT.search(said) else None


def _side(said: str) -> dict[str, Any] | None:
    found = set(_SIDE.findall(said))
    if found == {"left", "right"}:
        found = {"both"}
    return {"side": found.pop()} if len(found) == 1 else None


def _count(said: str) -> dict[str, Any] | None:
    number = _number(said)
    return {"count": round(number)} if number is not None else None


def _number(said: str) -> float | None:
    """Return the first number, in digits or as a word."""
    found = _NUMBER.search(said)
    if found is None:
        return None
    word = found[1]
    return float(_ONCE[word] if word in _ONCE else NUMBERS.index(word) if word in NUMBERS else word)


def _named(said: str) -> list[str]:
    """Return the exercises that are named, in their order in the text."""
    places = {said.find(name): name for name in exercises() if name in said}
    return [places[k] for k in sorted(places)]


def _direction(said: str) -> dict[str, Any] | None:
    sides = set(re.findall(r"\b(left|right)\b", said))
    forward, back = bool(re.search(r"\b(?:forward|ahead|straight)", said)), bool(re.search(r"\bback", said))
    words = ["forward"] * forward + ["backwards"] * back + sorted(sides)
    return {"direction": " ".join(words)} if " ".join(words) in phrases()["directions"] else None


def _turn(said: str) -> dict[str, Any] | None:
    if re.search(r"\b(?:no|not|neither|straight)\b", said):
        return {"turn": "none"}
    found = set(re.findall(r"\b(left|right)\b", said))
    return {"turn": found.pop()} if len(found) == 1 else None


def _sequence(said: str) -> dict[str, Any] | None:
    found = _named(said)
    return {"sequence": found} if found else None


def _duration(said: str) -> dict[str, Any] | None:
    number = _number(said)
    return {"seconds": round(number)} if number is not None else None


def _angle(said: str) -> dict[str, Any] | None:
    number = _number(said)
    return {"degrees": 5 * round(number / 5)} if number is not None else None


def _compare(said: str) -> dict[str, Any] | None:
    found = set(re.findall(r"\b(first|second|same)\b", said))
    if "same" in found:
        return {"compare": "same"}
    return {"compare": found.pop()} if len(found) == 1 else None


def _caption(said: str) -> dict[str, Any] | None:
    text = said.strip().rstrip(".").strip()
    return {"caption": text} if text else None


def _next(said: str) -> dict[str, Any] | None:
    text = re.sub(r"^(?:next,? |then,? |and |it |(?:the|a) person )+", "", said.strip()).rstrip(".").strip()
    return {"next": text} if text else None


_READERS = {
    "exercise": _exercise, "correct": _correct, "side": _side, "count": _count, "direction": _direction, "turn": _turn,
    "sequence": _sequence, "duration": _duration, "angle": _angle, "compare": _compare, "caption": _caption,
    "next": _next,
}  # fmt: skip
QUESTIONS = (*_READERS, "unanswerable")


def _filled(options: Sequence[str], slots: dict[str, str], draw: random.Random) -> str:
    fitting = [o for o in options if set(re.findall(r"\{(\w+)\}", o)) <= slots.keys()]
    return draw.choice(fitting).format(**slots)
