"""Sentences about movement: from labels, from short descriptions, and from what was measured; and their mirror images.

All choices are functions of a key, so that the same clip, seed and number give the same sentence anywhere. Sentences
are lower case, without a full stop. The phrases are in ``sentences.toml`` beside this module.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from lmm.analysis.facts import FAST_MPS, KNEE_DEEP_DEG, SLOW_MPS, Facts
from lmm.core.errors import LmmError

T = TypeVar("T")

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times", 5: "five times"}
STYLES = {"masculinity": "masculine", "old": "elderly", "exhausted": "tired"}  # one manner under two names

_SWAP = {"left": "right", "leftward": "rightward", "leftwards": "rightwards", "clockwise": "anticlockwise"}
_SWAP |= {b: a for a, b in _SWAP.items()}
_SIDES = re.compile(rf"\b(?:{'|'.join(sorted(_SWAP, key=len, reverse=True))})\b", re.I)
_UNSAFE = re.compile(
    r"\b(?:lefts|rights|lefty|righty|leftover|leftovers|counter-?\s?clockwise|southpaw)\b"
    r"|\b(?:all|that's|is|are|was|were|be|been|has|have|had|having|nothing|something)\s+(?:left|right)\b"
    r"|\b(?:left|right)\s+(?:away|now|here|there|then|after|before|angles?|in front|behind|the|their|his|her|a|an)\b",
    re.I,
)


def chosen(options: Sequence[T], *key: object) -> T:
    """Return one of `options`, always the same for the same key."""
    digest = hashlib.sha256("\0".join(map(str, key)).encode()).digest()
    return options[int.from_bytes(digest[:8], "big") % len(options)]


def styled(content: str, style: str, *key: object) -> str:
    """Return a sentence for a Bandai Namco content (``wave-left-hand``) in a style (``tired``).

    Raises LmmError if there are no phrases for one of them.
    """
    phrases, manner = _known("contents", content), _known("styles", STYLES.get(style, style))
    subject = chosen(_table()["subjects"], *key, "subject")
    what = chosen(phrases, *key, "what")
    if style == "normal":
        forms = ["plain", "plain", "after", "phrase"]
    else:
        forms = ["before", "after", "adjective", "phrase"] + ["apart"] * ("states" in manner)
    form = chosen(forms, *key, "form")
    if form == "plain":
        return f"{subject} {what}"
    if form in ("before", "after"):
        adverb = chosen(manner["adverbs"], *key, "adverb")
        before = form == "before" and " " not in adverb and not what.startswith("is ")
        return f"{subject} {adverb} {what}" if before else f"{subject} {what} {adverb}"
    if form == "adjective":
        adjective = chosen(manner["adjectives"], *key, "adjective")
        return f"{'an' if adjective[0] in 'aeiou' else 'a'} {adjective} person {what}"
    if form == "apart":
        return f"{subject} {what}, {chosen(manner['states'], *key, 'state')}"
    return f"{subject} {what} {chosen(manner['phrases'], *key, 'phrase')}"


def exercise(movement: str, correct: bool, side: str | None, *key: object) -> str:
    """Return a sentence for a UI-PRMD movement (``01`` to ``10``), with the side if it is known.

    Raises LmmError if there are no phrases for it.
    """
    quality = "correct" if correct else "incorrect"
    return _done(_known("exercises", movement), side, chosen(_table()["quality"][quality], *key, "quality"), key)


def gesture(name: str, quality: str, position: str, side: str | None, *key: object) -> str:
    """Return a sentence for an IRDS gesture (``elbow flexion``), with the side that moved if it is known.

    Raises LmmError if there are no phrases for it.
    """
    tail = chosen(_known("quality", quality), *key, "quality") + chosen(_known("position", position), *key, "position")
    return _done(_known("gestures", name), side, tail, key)


def contents() -> dict[str, list[str]]:
    """Return the phrases of each content that labels tell (`Pair.label`), without subject, style and quality."""
    told = _table()
    out = dict(told["contents"])
    out |= {f"exercise-{movement}": options for movement, options in told["exercises"].items()}
    out |= {name.replace(" ", "-"): options for name, options in told["gestures"].items()}
    return {
        name: [o.format(side=side) for o in options for side in (("left", "right") if "{side}" in o else ("",))]
        for name, options in out.items()
    }


def described(description: str, part: bool, *key: object) -> str | None:
    """Return a sentence for a trial that CMU's index describes, or for a part; None if nothing is sure of the part.

    A description that has no phrases returns as it is, and None for a part.
    """
    told = _table()["descriptions"]
    entry = told.get(description) or told.get(description.split(" - ")[0])
    if entry is None:
        return None if part else " ".join(description.split())
    options = entry.get("part", []) if part else entry["whole"]
    if not options:
        return None
    return f"{chosen(_table()['subjects'], *key, 'subject')} {chosen(options, *key, 'what')}"


def measured(facts: Facts, *key: object) -> tuple[str, dict[str, str]] | None:
    """Return a sentence of what was measured, and the side and direction that it tells; None if nothing is sure."""
    label: dict[str, str] = {}
    clauses = [
        c
        for c in (_way(facts, label, key), _turn(facts, label, key), _limbs(facts, label, key), _body(facts, key))
        if c
    ]
    if not clauses and facts.still:
        clauses = [chosen(["stays almost still", "hardly moves", "keeps still"], *key, "still")]
    if not clauses:
        return None
    said = clauses[0] if len(clauses) == 1 else f"{', '.join(clauses[:-1])} and {clauses[-1]}"
    if facts.stays and not facts.still and not facts.turn and chosen([True, False, False], *key, "spot"):
        said += chosen([" on the spot", ", staying in place", " without going anywhere"], *key, "place")
    return f"{chosen(_table()['subjects'], *key, 'subject')} {said}", label


def mirrored(text: str) -> str | None:
    """Return the text with left and right exchanged, in words; None where that is unsafe (``right away``, ``is left``).

    What it returns is safe, and its mirror image is the text again. A text without sides is its own.
    """
    if _UNSAFE.search(text):
        return None
    words = _SIDES.findall(text)
    if any(w not in (w.lower(), w.upper(), w.capitalize()) for w in words):
        return None

    def swapped(match: re.Match[str]) -> str:
        word = match[0]
        other = _SWAP[word.lower()]
        return other if word.islower() else other.upper() if word.isupper() else other.capitalize()

    return _SIDES.sub(swapped, text)


def _way(facts: Facts, label: dict[str, str], key: tuple[object, ...]) -> str | None:
    direction = facts.direction
    if direction is None:
        return None
    label["direction"] = direction
    upright = facts.jumps == 0 and facts.bow_deg < 35
    walks, runs = facts.walks and upright, facts.runs
    verb = "walks" if walks else "runs" if runs else chosen(["moves", "goes"], *key, "verb")
    pace = ""
    if walks and facts.speed_mps < SLOW_MPS:
        pace = chosen([" slowly", " at a slow pace"], *key, "pace")
    elif walks and facts.speed_mps > FAST_MPS:
        pace = chosen([" quickly", " briskly", " at a fast pace"], *key, "pace")
    left = direction.split()[-1]
    where = {
        "forward": ["forward", "forward", "ahead"] + (["straight ahead"] * 2 if facts.straight else []),
        "backwards": ["backwards", "backward"],
    }.get(direction) or (
        [f"sideways to the {left}", f"to the {left}"]
        if direction == left
        else [f"diagonally forward to the {left}", f"forward and to the {left}"]
    )
    said = f"{verb} {chosen(where, *key, 'where')}"
    metres = round(facts.way_m)
    if facts.straight and 2 <= metres <= 10 and chosen([True, False], *key, "metres"):
        said += chosen([f" for about {NUMBERS[metres]} metres", f" about {NUMBERS[metres]} metres"], *key, "about")
    return said + pace


def _turn(facts: Facts, label: dict[str, str], key: tuple[object, ...]) -> str | None:
    side = facts.turn
    if side is None or facts.bow_deg > 90:  # head over heels has no heading
        return None
    label["turn"] = side
    degrees = abs(facts.turn_deg)
    options = [f"turns to the {side}", f"turns {side}"]
    if 75 <= degrees <= 105:
        options += [f"turns {side} by about ninety degrees", f"makes a quarter turn to the {side}"]
    elif 155 <= degrees <= 205:
        options = [f"turns around to the {side}", f"makes a half turn to the {side}", f"turns to the {side}"]
    elif 330 <= degrees <= 390 and not facts.stays and facts.direction:
        options = [f"turns all the way round to the {side}", f"makes a full turn to the {side}"]
    elif degrees > 500:
        options = [f"keeps turning to the {side}", f"turns round and round to the {side}"]
    return chosen(options, *key, "turn")


def _limbs(facts: Facts, label: dict[str, str], key: tuple[object, ...]) -> str | None:
    """Tell of hands, or of a leg, where nobody goes anywhere."""
    if facts.direction or facts.turn or not facts.lifted:
        return None
    leg = facts.lifts or (None if facts.crouches else facts.leg)
    if leg is not None:
        label |= {"side": leg, "limb": "leg"}
        if facts.lifts:
            often = _often(facts.lifted[leg], key)
            return (
                chosen([f"lifts the {leg} foot", f"raises the {leg} leg", f"lifts the {leg} leg"], *key, "leg") + often
            )
        return f"moves the {leg} leg"
    if not facts.stays:
        return None
    hand = facts.raises
    if hand is not None:
        label |= {"side": hand, "limb": "arm"}
        which = "both hands" if hand == "both" else f"the {hand} hand"
        high = [f"raises {which}", f"lifts {which}"]
        if all(facts.overhead.get(s) for s in (("right", "left") if hand == "both" else (hand,))):
            high += [f"raises {which} above the head", f"lifts {which} overhead"]
        else:
            high += [f"raises {which} above the shoulder" + "s" * (hand == "both")]
        return chosen(high, *key, "hand") + _often(facts.raised["right" if hand == "both" else hand], key)
    arm = facts.arm
    if arm is None or facts.crouches:
        return None
    label |= {"side": arm, "limb": "arm"}
    both = arm == "both"
    return f"moves {'both arms' if both else f'the {arm} arm'}" + ("" if both else chosen(["", " only"], *key, "only"))


def _body(facts: Facts, key: tuple[object, ...]) -> str | None:
    """Tell of jumps, crouches and leaning forward."""
    if facts.runs or facts.bow_deg > 100:
        return None
    if facts.jumps:
        if facts.jumps > 5:
            return chosen(["jumps again and again", "keeps jumping", "jumps many times"], *key, "jump")
        return f"jumps{_often(facts.jumps, key) or chosen(['', ' once'], *key, 'once')}"
    if facts.direction:
        return None
    if facts.crouches and facts.knee_deg > KNEE_DEEP_DEG:
        return chosen(["bends both knees deeply", "goes down low, bending both knees"], *key, "knees") + _often(
            facts.crouches, key
        )
    if facts.crouches:
        return chosen(["bends both knees", "bends the knees"], *key, "knees") + _often(facts.crouches, key)
    if facts.bow_deg > 45:
        return chosen(["leans forward", "bends the upper body forward", "bends forward"], *key, "bow")
    return None


def _often(count: int, key: tuple[object, ...]) -> str:
    if count < 2:
        return ""
    return f" {TIMES[count]}" if count in TIMES else chosen([" many times", " again and again"], *key, "often")


def _done(phrases: Sequence[str], side: str | None, tail: str, key: tuple[object, ...]) -> str:
    fitting = [p for p in phrases if "{side}" in p] if side else []
    fitting = fitting or [p for p in phrases if "{side}" not in p]
    what = chosen(fitting, *key, "what").format(side=side)
    return f"{chosen(_table()['subjects'], *key, 'subject')} {what}{tail}"


def _known(kind: str, name: str) -> Any:
    found = _table()[kind].get(name)
    if found is None:
        raise LmmError(f"there are no sentences for {name!r}: add it to {kind} in sentences.toml.")
    return found


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads((resources.files("lmm.datasets") / "sentences.toml").read_text("utf-8"))
