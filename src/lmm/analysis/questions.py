"""A question in words → what lmm measures of it.

Words of the question choose rows of TOPICS, and a row measures. English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from lmm.analysis.analyse import Analysis, analyse
from lmm.analysis.angles import SIDES
from lmm.analysis.facts import Facts, facts
from lmm.core.motion import Motion

Kind = Literal["count", "degrees", "seconds", "metres", "speed", "way", "turn", "side", "which"]
UNITS = {"degrees": "°", "seconds": " s", "metres": " m", "speed": " m/s"}
CLEARLY = 1.15  # times as much, for one of two motions to be the one that has more
JOINTS = {  # words of a question → the angle's name in space, in pictures
    r"knees?|squat\w*|lunge\w*|crouch\w*": ("knee", "knee"),
    r"elbows?": ("elbow", "elbow"),
    r"hips?|thighs?": ("hip_flexion", "hip"),
    r"ankles?|foot|feet": ("ankle", "ankle"),
    r"shoulders?|arms?|hands?": ("shoulder_elevation", "shoulder_elevation"),
    r"trunk|torso|back|lean\w*|bow\w*|bend\w* forward": ("trunk_forward", "trunk_lean"),
}


@dataclass(frozen=True)
class Measurement:
    """One measured `value` of a `kind`: a number in the kind's unit (see UNITS), or a word.

    what    in words, such as ``left knee, most``
    motion  which one, from 0; None where it compares two
    """

    kind: Kind
    what: str
    value: float | str
    motion: int | None = 0

    def __str__(self) -> str:
        return f"{self.what}: {shown(self.kind, self.value)}"

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        value = self.value if isinstance(self.value, str) else round(float(self.value), 2)
        return {
            "kind": self.kind,
            "what": self.what,
            "value": value,
            "unit": UNITS.get(self.kind, "").strip(),
            "motion": self.motion,
        }


class Subject:
    """A motion, and what is measured of it when it is first asked for."""

    def __init__(self, motion: Motion) -> None:
        self._motion = motion

    @cached_property
    def analysis(self) -> Analysis:
        return analyse(self._motion)

    @cached_property
    def facts(self) -> Facts | None:
        return facts(self.analysis.motion)


Rule = Callable[[str, Subject], Iterator[Measurement]]


def measured(question: str, subjects: Sequence[Subject]) -> list[Measurement]:
    """Return what is measured of that which a question asks for: nothing, where nothing of it can be.

    With two motions, words such as ``faster`` also compare them. Raises MotionError of motions that cannot be analysed.
    """
    asked = plain(question)
    if UNSEEN.search(asked):
        return []
    rules: list[Rule] = []
    for words, without, rule in TOPICS:
        if re.search(rf"\b(?:{words})\b", asked) and not (without and re.search(rf"\b(?:{without})\b", asked)):
            rules.append(rule)
    out = [replace(m, motion=i) for i, s in enumerate(subjects) for rule in rules for m in rule(asked, s)]
    if len(subjects) == 2:
        out += _compared(asked, subjects)
    return list(dict.fromkeys(out))


def plain(text: str) -> str:
    return " ".join(text.lower().replace("’", "'").split())


def shown(kind: Kind, value: float | str) -> str:
    """Return a value with its unit."""
    if isinstance(value, str):
        return value
    digits = 0 if abs(value) >= 20 or value == round(value) else 1
    return f"{value:.{digits}f}{UNITS.get(kind, '')}"


# what is measured


def _sides(asked: str) -> list[str]:
    """Return the sides that a question is about: those it names, or both."""
    named = [side for side in SIDES if re.search(rf"\b{side}\b", asked)]
    return named or list(SIDES)


def _count(asked: str, subject: Subject) -> Iterator[Measurement]:
    told = subject.facts
    if re.search(r"\bjump\w*|\bhop\w*", asked) and told is not None:
        yield Measurement("count", "jumps", float(told.jumps))
    elif re.search(r"\b(?:steps?|strides?)\b", asked):
        yield Measurement("count", "steps", float(len(subject.analysis.steps)))
    else:
        yield Measurement("count", "repetitions", float(len(subject.analysis.repetitions)))


def _seconds(asked: str, subject: Subject) -> Iterator[Measurement]:
    if re.search(r"\b(?:each|one|every|per|a) (?:repetitions?|reps?|squats?|lunges?|time)\b|\baverage\b", asked):
        each = [r.end_s - r.start_s for r in subject.analysis.repetitions]
        if each:
            yield Measurement("seconds", "a repetition, mean", float(np.mean(each)))
    else:
        yield Measurement("seconds", "duration", subject.analysis.motion.seconds)


def _degrees(asked: str, subject: Subject) -> Iterator[Measurement]:
    least = re.search(r"\b(?:least|smallest|minim\w+|straight\w*|extend\w*|extension)\b", asked)
    extent = re.search(r"\brange\b", asked)
    told, which = ("range", "range") if extent else ("min", "least") if least else ("max", "most")
    flat = subject.analysis.motion.num_dims == 2
    for words, names in JOINTS.items():
        if not re.search(rf"\b(?:{words})\b", asked):
            continue
        name = names[flat]
        for angle in [name] if "trunk" in name else [f"{side}_{name}" for side in _sides(asked)]:
            if angle in subject.analysis.ranges:
                value = subject.analysis.ranges[angle][told]
                yield Measurement("degrees", f"{angle.replace('_', ' ')}, {which}", value)


def _way(asked: str, subject: Subject) -> Iterator[Measurement]:
    told = subject.facts
    if told is not None and (told.direction or told.stays):
        yield Measurement("way", "goes", told.direction or "on the spot")


def _turn(asked: str, subject: Subject) -> Iterator[Measurement]:
    told = subject.facts
    if told is None:
        return
    if told.turn or told.straight:
        yield Measurement("turn", "turns to", told.turn or "no")
    if told.turn:
        yield Measurement("degrees", "turn", abs(told.turn_deg))


def _side(asked: str, subject: Subject) -> Iterator[Measurement]:
    told = subject.facts
    if told is None:
        return
    arm = told.raises if re.search(r"\b(?:rais\w+|lift\w*|up)\b", asked) and told.raises else told.arm
    leg = told.lifts or told.leg
    of_arm = re.search(r"\b(?:arms?|hands?|wrists?|elbows?|shoulders?|wav\w+|reach\w*)\b", asked)
    of_leg = re.search(r"\b(?:legs?|foot|feet|knees?|ankles?|hips?|kick\w*|step\w*|lung\w+)\b", asked)
    if arm and (of_arm or not of_leg):
        yield Measurement("side", "arm that moves", arm)
    if leg and (of_leg or not of_arm):
        yield Measurement("side", "leg that moves", leg)


def _symmetry(asked: str, subject: Subject) -> Iterator[Measurement]:
    """Show the ranges of both sides where they differ most; force, and so weakness, is not seen."""
    analysis = subject.analysis
    if analysis.symmetry:
        name = max(analysis.symmetry, key=lambda n: abs(analysis.symmetry[n]))
        for side in SIDES:
            angle = f"{side}_{name}"
            yield Measurement("degrees", f"{angle.replace('_', ' ')}, range", analysis.ranges[angle]["range"])


def _metres(asked: str, subject: Subject) -> Iterator[Measurement]:
    if subject.facts is not None:
        yield Measurement("metres", "way over the ground", subject.facts.way_m)


def _speed(asked: str, subject: Subject) -> Iterator[Measurement]:
    told = subject.facts
    if told is not None and not told.stays:
        yield Measurement("speed", "speed over the ground", told.speed_mps)
    elif each := [r.end_s - r.start_s for r in subject.analysis.repetitions]:
        yield Measurement("seconds", "a repetition, mean", float(np.mean(each)))


_GO = r"(?:go|walk|mov|run|travel|step)\w*"
_TURN = r"turn\w*|rotat\w+|spin\w*"
_SIDES = r"(?:left|right)"
_DONE = (
    r"(?:repetitions?|reps|times|steps?|strides?|jumps?|hops?|squats?|lunges?|raises|lifts|waves|bows|kicks|taps|swings"
    r"|claps|punches|circles|flexions?|extensions?|abductions?|elevations?|rotations?|(?:push|sit|pull)-?ups?)"
)
UNSEEN = re.compile(  # what no motion shows: nothing is measured of a question about it
    r"\b(?:heart\w*|beats?|breath\w*|week\w*|days?|yesterday|today|kilo\w*|calor\w+|weigh\w*|old|age|years?|muscles?"
    r"|force|hurts?|pain\w*|mood|wears?|say|says|aloud|name|called|room)\b"
)
TOPICS: list[tuple[str, str, Rule]] = [  # words that choose; words that do not let; what is measured
    (rf"how many (?:[\w-]+ ){{0,3}}{_DONE}|how often|number of (?:\w+ )?{_DONE}|count\w*", "", _count),
    (r"how long|how much time|durations?|how many seconds", "", _seconds),
    (
        r"angles?|degrees|how (?:deep|far|high|low|much|bent|straight)|depth|deepest|range|b[ae]n[dt]s?|lean\w*",
        "",
        _degrees,
    ),
    (rf"directions?|which way|where\b.*{_GO}|{_GO} (?:to the )?{_SIDES}", _TURN, _way),
    (r"forwards?|backwards?|sideways", rf"{_TURN}|b[ae]n[dt]\w*|lean\w*|rais\w+|elevation", _way),
    (rf"{_TURN}|straight ahead", r"in turn|(?:shoulder|arm|hip|elbow)s? rotat\w+", _turn),
    (r"(?:which|what) (?:side|arm|leg|hand|foot|knee|elbow)", r"weak\w*|strong\w*|degrees|angle", _side),
    (
        rf"{_SIDES} or (?:the )?{_SIDES}|(?:{_SIDES}|both) (?:arms?|hands?|legs?|f[oe]{{2}}t)",
        r"degrees|angle|how",
        _side,
    ),
    (r"a?symmetr\w*|weake\w*|stronge\w*|even(?:ly)?|favou?r\w*", "", _symmetry),
    (rf"how far\b.*{_GO}|distance|how many met(?:re|er)s", r"a second|per second", _metres),
    (r"how (?:fast|slow|quick\w*)|speed|pace|tempo", "", _speed),
]


# two motions


def _compared(asked: str, subjects: Sequence[Subject]) -> Iterator[Measurement]:
    """Yield each motion's number and which has clearly more of it, of that which the question compares."""
    rows: list[tuple[str, str, bool, Callable[[Subject], Measurement | None]]] = [
        (r"more (?:repetitions?|reps|times|often|squats?|lunges?|\w+s)|most repetitions", "more repetitions", True,
         lambda s: next(_count("", s), None)),
        (r"fewer|less often", "fewer repetitions", False, lambda s: next(_count("", s), None)),
        (r"faster|quicker|fastest", "faster", True, _pace), (r"slower|slowest", "slower", False, _pace),
        (r"longer|longest", "longer", True, lambda s: next(_seconds("", s), None)),
        (r"shorter|shortest", "shorter", False, lambda s: next(_seconds("", s), None)),
        (r"deeper|deepest|bends? (?:\w+ )*(?:more|further)", "deeper", True, _bend),
        (r"shallower|less deep", "shallower", False, _bend),
    ]  # fmt: skip
    for words, name, more, measure in rows:
        if not re.search(rf"\b(?:{words})\b", asked):
            continue
        both = [measure(s) for s in subjects]
        if both[0] is None or both[1] is None or both[0].what != both[1].what:
            continue
        yield from (replace(m, motion=i) for i, m in enumerate(both) if m is not None)
        a, b = (float(m.value) for m in both if m is not None)
        clear = a != b if both[0].kind == "count" else max(a, b) >= CLEARLY * min(a, b)
        if clear:
            less_is_more = name in ("faster", "slower") and both[0].kind == "seconds"
            yield Measurement("which", name, "first" if (a > b) == (more != less_is_more) else "second", None)


def _pace(subject: Subject) -> Measurement | None:
    return next(_speed("", subject), None)


def _bend(subject: Subject) -> Measurement | None:
    told = subject.facts
    return None if told is None else Measurement("degrees", "both knees at once, most", told.knee_deg)
