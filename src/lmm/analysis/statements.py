"""What an answer in words states, and where it was measured otherwise.

Numbers are read with their units, and words of sides and directions; what states nothing agrees with everything. Yes
and no are read with the question's words. English.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lmm.analysis.questions import Kind, Measurement, plain, shown

CLOSE = {"count": 0.0, "degrees": 10.0, "seconds": 0.5, "metres": 0.3, "speed": 0.2}  # stated this near: the same ...
CLOSE_SHARE = 0.15  # ... or within this share; counts have to be exact
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()
_NUMBER = rf"(?:\d+(?:\.\d+)?|{'|'.join(NUMBERS)})"
_UNIT = {
    "degrees": r"(?:°|degrees?\b|deg\b)",
    "seconds": r"(?:s\b|secs?\b|seconds?\b)",
    "metres": r"(?:m\b|met(?:re|er)s?\b)(?!\s*(?:/|per|a second))",
    "speed": r"(?:m/s\b|met(?:re|er)s? (?:per|a) second\b)",
}
_ANY_UNIT = rf"(?:{'|'.join(_UNIT.values())}|%|per ?cent\b|k?g\b|cm\b|centimet\w+|km\b|minutes?\b|frames?\b|fps\b)"
_ANOTHER = r"(?:arms?|hands?|legs?|feet|knees|sides|elbows|people|persons|motions|clips|recordings|videos)\b"
_NO_COUNT = re.compile(
    rf"\b{_NUMBER}(?:\s*(?:-|–|to|and)\s*{_NUMBER})?\s*-?(?:{_ANY_UNIT}|\s{_ANOTHER})"
    r"|\b(?:at|after|from|until|around) \d+\.\d+"
    r"|\b(?:first|second|this|that|which|no|each|other|left|right|another) one\b"
    r"|\bone of\b|\b\d+\.\d+",
    re.I,
)
_WORDS: dict[str, dict[str, str]] = {
    "way": {
        "forward": r"forwards?|ahead|straight on",
        "backwards": r"backwards?",
        "left": r"left(?:wards?)?",
        "right": r"right(?:wards?)?",
        "on the spot": r"on the spot|in place|stays?|stands? still|stationary",
    },
    "turn": {
        "left": r"left(?:wards?)?|anti-?clockwise|counter-?clockwise",
        "right": r"right(?:wards?)?|(?<!anti)(?<!anti-)(?<!counter)(?<!counter-)clockwise",
        "no": r"straight|(?:does|do|did) not turn|doesn't turn|no turn|never turns",
    },
    "side": {"left": r"left", "right": r"right", "both": r"both"},
    "which": {"first": r"first", "second": r"second"},
}
_YES, _NO = re.compile(r"^\W*(?:yes|correct|indeed|right,)\b", re.I), re.compile(r"^\W*no\b(?! one)", re.I)


def disagreement(question: str, answer: str, found: Sequence[Measurement]) -> str | None:
    """Return one line that tells what `answer` states and was measured otherwise; None where nothing is."""
    lines = []
    for kind in dict.fromkeys(m.kind for m in found):
        of_kind = [m for m in found if m.kind == kind]
        values = [m.value for m in of_kind]
        said, denied = _stated(kind, question, answer)
        wrong = [v for v in said if not any(_agree(kind, v, w) for w in values)]
        if kind == "way" and not denied and set(said) == set(str(values[0]).split()):
            wrong = []  # forward and left, of ``forward left``
        if denied:
            wrong = [v for v in said if any(_agree(kind, v, w) for w in values)]
        if wrong:
            says = " and ".join(shown(kind, v) for v in dict.fromkeys(wrong))
            told = ", ".join(
                f"{m}{'' if m.motion is None or _alone(found) else f' ({_nth(m.motion)})'}" for m in of_kind
            )
            lines.append(f"the answer says {'not ' if denied else ''}{says}; measured is {told}")
    return None if not lines else ". ".join(line[0].upper() + line[1:] for line in lines) + "."


def _alone(found: Sequence[Measurement]) -> bool:
    return len({m.motion for m in found} - {None}) < 2


def _nth(motion: int) -> str:
    return ("first", "second")[motion] if motion < 2 else f"{motion + 1}th"


def _stated(kind: Kind, question: str, answer: str) -> tuple[list[float | str], bool]:
    """Return the values of a kind that an answer states, and whether it denies them."""
    text = plain(answer)
    if said := _values(kind, text):
        return (["both"] if kind == "side" and len(said) > 1 else said), False
    yes, no = bool(_YES.search(text)), bool(_NO.search(text))
    asked = _values(kind, plain(question)) if yes or no else []
    return (asked, no) if len(asked) == 1 else ([], False)  # left or right is no question of yes or no


def _values(kind: Kind, text: str) -> list[float | str]:
    if kind in _WORDS:
        words = [w for w, pattern in _WORDS[kind].items() if re.search(rf"\b(?:{pattern})\b", text)]
        # the first, but not the second: who names both says what cannot be read from words alone
        return [] if kind in ("turn", "which") and len(words) > 1 else [*words]
    if kind == "count":
        text = _NO_COUNT.sub(" ", text)
        text = re.sub(r"\b(?:once|twice|thrice)\b", lambda m: {"once": "1", "twice": "2", "thrice": "3"}[m[0]], text)
        return [_number(n) for n in re.findall(rf"(?<![\w.]){_NUMBER}(?![\w.]*\d)\b", text)]
    return [_number(n) for n in re.findall(rf"(?<![\w.])({_NUMBER})\s*-?{_UNIT[kind]}", text)]


def _number(word: str) -> float:
    return float(NUMBERS.index(word)) if word in NUMBERS else float(word)


def _agree(kind: Kind, said: float | str, found: float | str) -> bool:
    if isinstance(said, str) or isinstance(found, str):
        return said == found
    return abs(abs(said) - abs(found)) <= max(CLOSE[kind], CLOSE_SHARE * abs(found) if kind != "count" else 0.0)
