"""Which side, way and turn a text asks for, and whether a motion does it: measured from the joints, by no encoder.

A text-motion encoder that takes left for right scores such mistakes as right. So left and right, forwards and
backwards are read from the words and compared with `lmm.analysis.facts` of the motion. The real motions' own score
says how far the measurement itself can be trusted.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from lmm.analysis.facts import LIKE, Facts, facts
from lmm.core.motion import Motion

ARM = r"(?:hands?|arms?|wrists?|elbows?|fists?|shoulders?)"
LEG = r"(?:leg|foot|knee|ankle|thigh|hip)s?"
GOES = re.compile(
    r"\b(?:(?:walk|run|jog|step|march|dash|jump|hop|stroll|strid|sprint|trot|travel|shuffl)\w*\b"
    r"|(?:mov|go)(?:e|es|ing) (?=forward|ahead|backward|sideways|diagonally|to the|left|right))"
)
TURN = re.compile(
    r"\b(?:turn|rotat|spin|pivot|curv|circl)\w*\b[^.,;]*?\b(left|right|(?:counter-?|anti-?)?clockwise)\b"
    rf"(?! {ARM}| {LEG})|\b(left|right) (?:turn|curve)\b"
)
SIDEWAYS = re.compile(r"\b(?:to(?:wards?)? (?:the|its|his|her|their) (left|right)|(left|right)wards?)\b")


@dataclass(frozen=True)
class Said:
    """What a text asks for; None where it does not say.

    arm        ``left``, ``right`` or ``both``: the hand or arm that it names
    leg        likewise, ``left`` or ``right``
    direction  ``forward``, ``backwards``, ``left``, ``right``, ``forward left`` or ``forward right`` of the heading
    turn       ``left`` or ``right``
    """

    arm: str | None = None
    leg: str | None = None
    direction: str | None = None
    turn: str | None = None


def said(text: str) -> Said:
    """Return what a text asks for; what it contradicts itself in, or says one after the other, counts as not said."""
    text = text.lower()
    turn = _only({_turn(a or b) for a, b in TURN.findall(text)})
    rest = TURN.sub(" ", text)
    return Said(_limb(rest, ARM), _limb(rest, LEG), _way(rest), turn)


def did(motion: Motion) -> Said | None:
    """Return what a motion does, in the same words; None where the body is not seen well enough.

    The arm that is raised above the shoulder, else the one whose wrist moves by more than LIKE times as much about the
    neck, else both. The others are told where they are beyond doubt (`lmm.analysis.facts`).
    """
    found = facts(motion)
    return None if found is None else Said(_arm(found), found.lifts or found.leg, found.direction, found.turn)


def kept(text: str, done: Said | None) -> dict[str, bool]:
    """Return for each thing that a text asks for whether it was done: ``arm``, ``leg``, ``direction``, ``turn``.

    What a motion does not tell beyond doubt is not done. Empty where the text asks for nothing.
    """
    asked = {k: v for k, v in asdict(said(text)).items() if v is not None}
    return {k: done is not None and _fits(v, getattr(done, k)) for k, v in asked.items()}


def _fits(asked: str, done: str | None) -> bool:
    """Diagonally to the left is to the left."""
    return done == asked or (asked in ("left", "right") and done == f"forward {asked}")


def _arm(found: Facts) -> str | None:
    if found.raises:
        return found.raises
    if len(found.arm_range) < 2:
        return None
    right, left = found.arm_range["right"], found.arm_range["left"]
    return "both" if max(right, left) < LIKE * min(right, left) else "right" if right > left else "left"


def _limb(text: str, limb: str) -> str | None:
    if re.search(rf"\b(?:left and right|right and left)[ -]{limb}\b", text):
        return "both"
    sides = set(re.findall(rf"\b(left|right|both)(?:[ -]\w+)?[ -]{limb}\b", text))
    return _only(sides if limb == ARM else sides - {"both"})  # nobody lifts both legs; both knees bend


def _way(text: str) -> str | None:
    if not GOES.search(text):
        return None
    side = _only({a or b for a, b in SIDEWAYS.findall(text)})
    text = re.sub(r"\b(?:straight )?ahead\b", "forward", text)
    along = {way for way in ("forward", "backward") if re.search(rf"\b{way}s?\b", text)}
    if along == {"backward"}:
        return None if side else "backwards"
    if side:
        return f"forward {side}" if along == {"forward"} or "diagonally" in text else side
    return "forward" if along == {"forward"} else None


def _turn(word: str) -> str:
    return {"clockwise": "right"}.get(word, "left" if word.endswith("clockwise") else word)


def _only(found: set[str | None]) -> str | None:
    found = found - {None}
    return found.pop() if len(found) == 1 else None
