"""Questions about scenes with the answers that are true: one function a kind, None where it has none beyond doubt."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lmm.analysis.angles import joint_angles
from lmm.analysis.facts import Facts, facts
from lmm.datasets.answers import answered, exercises, phrased, phrases
from lmm.datasets.pairs import DIRECTIONS, texts
from lmm.datasets.recipes import Recipe, cut
from lmm.datasets.scenes import OTHER, Scene
from lmm.datasets.sentences import mirrored

# Body parts that an exercise does not need, and angles that it shows.
LEG_EXERCISES = frozenset(exercises()[:6]) | {"side tap"}
UNNEEDED = {"leg": ["left arm", "right arm"], "arm": ["left leg", "right leg"]}
ANGLES = {"knee": ("leg", "{side}_knee"), "elbow": ("arm", "{side}_elbow"), "arm": ("arm", "{side}_shoulder_elevation")}
LEAST_DEG, LEAST_SEEN, OUTER = 30.0, 0.9, 98  # of an angle that is asked for; percentile that is its greatest
UNLIKE, UNLIKE_DEG = 1.25, 12.0  # ratios, and angles, from which two motions differ
BEFORE_S, AFTER_S, LEAST_AFTER_S = 1.5, 2.0, 1.0  # of a cut: what is shown, what comes next
HIDDEN, TURNS = 0.15, 0.2  # share of questions with a part that is missing and not needed; with earlier turns
STAYING = 0.7  # share of the people on the spot who are not asked how they turn: most do not


@dataclass(frozen=True)
class Ask:
    """A question and its answer.

    form      which phrasings of the kind
    like      another kind whose question it is
    slots     for the phrasings
    second    what it is compared with
    recipe    where it is not the scene's
    question  a phrasing of its own
    """

    kind: str
    truth: dict[str, Any]
    source: str = "label"
    form: str = ""
    like: str = ""
    slots: dict[str, str] = field(default_factory=dict)
    moments_s: list[float] = field(default_factory=list)
    second: Scene | None = None
    recipe: Recipe | None = None
    question: str = ""


@dataclass(frozen=True)
class Turn:
    """What a conversation needs of a question: see `Conversation`; `why` is for its provenance."""

    kind: str
    truth: dict[str, Any]
    why: dict[str, str]
    motions: list[Recipe]
    moments_s: list[list[float]]
    messages: list[dict[str, str]]


def asked(scene: Scene, seed: int, most: int) -> list[Turn]:
    """Return up to `most` questions of different kinds about a scene, answered; some after earlier ones."""
    draw = random.Random(f"{seed}\0{scene.name}\0asked")
    left = {"caption": KINDS["caption"]} if scene.spoken else dict(KINDS)
    out: list[Turn] = []
    while left and len(out) < most:
        kind = draw.choices(list(left), [WEIGHTS[k] for k in left])[0]
        ask = left.pop(kind)(scene, draw)
        if ask is None:
            continue
        turn = _turn(scene, ask, draw)
        earlier = [t for t in out if t.motions == turn.motions and len(t.messages) == 2]
        if earlier and draw.random() < TURNS:
            turn = replace(turn, messages=draw.choice(earlier).messages + turn.messages)
        out.append(turn)
    return out


def _turn(scene: Scene, ask: Ask, draw: random.Random) -> Turn:
    slots = {**({"exercise": scene.exercise} if scene.exercise and ask.kind != "exercise" else {}), **ask.slots}
    question = ask.question or phrased(ask.like or ask.kind, slots, draw, ask.form)
    recipe = ask.recipe or scene.recipe
    if ask.recipe is None and ask.kind in ("exercise", "correct", "count", "side") and scene.exercise:
        limb = "leg" if scene.exercise in LEG_EXERCISES else "arm"
        if draw.random() < HIDDEN:
            recipe = {**recipe, "without": [draw.choice(UNNEEDED[limb])]}
    second = ask.second
    why = {"source": ask.source, "form": ask.form, "reason": slots.get("reason", "")}
    why = {name: value for name, value in why.items() if value}
    return Turn(
        ask.kind,
        ask.truth,
        why,
        [recipe, *([second.recipe] if second else [])],
        [ask.moments_s, *([second.tops_s if ask.moments_s else []] if second else [])],
        [
            {"role": "user", "content": question},
            {"role": "assistant", "content": answered(ask.kind, ask.truth, slots, draw)},
        ],
    )


def _exercise(scene: Scene, draw: random.Random) -> Ask | None:
    if not scene.exercise:
        return None
    return Ask("exercise", {"exercise": scene.exercise}, moments_s=scene.tops_s)


def _correct(scene: Scene, draw: random.Random) -> Ask | None:
    if not scene.exercise:
        return None
    return Ask("correct", {"correct": bool(scene.first.labels["correct"])}, moments_s=scene.tops_s)


def _count(scene: Scene, draw: random.Random) -> Ask | None:
    if not scene.count:
        return None
    return Ask("count", {"count": scene.count}, moments_s=scene.tops_s)


def _side(scene: Scene, draw: random.Random) -> Ask | None:
    if not scene.limb or not scene.side:
        return None
    tops = scene.tops_s if scene.count else []
    return Ask("side", {"side": scene.side}, "measured", slots={"limb": scene.limb}, moments_s=tops)


def _direction(scene: Scene, draw: random.Random) -> Ask | None:
    told = scene.told
    if told is None or told.direction is None:
        return None
    if DIRECTIONS.get(str(scene.about.get("content")), told.direction) != told.direction:
        return None
    return Ask("direction", {"direction": told.direction}, "measured")


def _turning(scene: Scene, draw: random.Random) -> Ask | None:
    told = scene.told
    if told is None or told.bow_deg > 90:  # head over heels has no heading
        return None
    content = str(scene.about.get("content", ""))
    if content.startswith("walk-turn") and told.turn != content.split("-")[-1]:
        return None
    if told.turn:
        return Ask("turn", {"turn": told.turn}, "measured")
    if not told.straight or (told.stays and draw.random() < STAYING):
        return None
    return Ask("turn", {"turn": "none"}, "measured")


def _sequence(scene: Scene, draw: random.Random) -> Ask | None:
    order = scene.order
    if len(order) < 2:
        return None
    form = draw.choice(["first", "last", "after", "before", "order"])
    at = {"first": 0, "last": len(order) - 1, "after": draw.randrange(1, len(order))}.get(
        form, draw.randrange(len(order) - 1)
    )
    told = order if form == "order" else [order[at]]
    near = {"after": at - 1, "before": at + 1}.get(form)
    slots = {} if near is None else {"exercise": order[near]}
    tops = [t for t, p in zip(scene.tops_s, scene.parts, strict=True) if p.exercise in told]
    return Ask("sequence", {"sequence": told}, form=form, slots=slots, moments_s=tops)


def _duration(scene: Scene, draw: random.Random) -> Ask | None:
    seconds = round(scene.seconds)
    return Ask("duration", {"seconds": seconds}, "measured") if seconds >= 1 else None


def _angle(scene: Scene, draw: random.Random) -> Ask | None:
    """Ask for the greatest bend; of a limb that is hidden by nothing, though now and then the other one is."""
    if not scene.single:
        return None
    limb = None if not scene.exercise else "leg" if scene.exercise in LEG_EXERCISES else "arm"
    form = draw.choice([f for f, (of, _) in ANGLES.items() if limb in (None, of)])
    side = draw.choice(["left", "right"])
    if scene.exercise and scene.limb and scene.side in OTHER:
        side = scene.side
    of, name = ANGLES[form]
    values = joint_angles(scene.first.motion).get(name.format(side=OTHER[side] if scene.mirrored else side))
    if values is None or np.isfinite(values).mean() < LEAST_SEEN:
        return None
    most = float(np.nanpercentile(values, OUTER))
    if most < LEAST_DEG:
        return None
    at = int(np.nanargmin(np.abs(values - most))) / scene.first.motion.fps
    hidden = {**scene.recipe, "without": [f"{OTHER[side]} {of}"]} if draw.random() < HIDDEN else None
    truth = {"degrees": 5 * round(most / 5)}
    return Ask("angle", truth, "measured", form, slots={"side": side}, moments_s=[round(at, 2)], recipe=hidden)


def _compare(scene: Scene, draw: random.Random) -> Ask | None:
    for _ in range(8):
        form = draw.choice(list(phrases()["questions"]["compare"]))
        others = [p for p in scene.partners if p.single or form not in ("faster", "deeper")]
        other = draw.choice(others) if others else scene
        if other.parts[0] is scene.parts[0]:
            continue
        told = _differ(scene, other, form)
        if told is not None:
            tops = scene.tops_s if scene.count else []
            source = "label" if form in ("correct", "more") else "measured"
            return Ask("compare", {"compare": told}, source, form, moments_s=tops, second=other)
    return None


def _differ(a: Scene, b: Scene, form: str) -> str | None:
    """Return which of two scenes has more of something; None if it is not beyond doubt."""
    if form == "correct":
        right = [s.first.labels["correct"] for s in (a, b) if s.exercise]
        return None if len(set(right)) < 2 else "first" if right[0] else "second"
    if form == "more":
        if not a.count or not b.count or a.exercise != b.exercise or a.count == b.count == 1:
            return None
        return "first" if a.count > b.count else "second" if b.count > a.count else "same"
    if form == "longer":
        return _more(a.seconds, b.seconds)
    if not a.single or not b.single:
        return None
    if form == "faster" and a.exercise:
        return _more(b.seconds, a.seconds)  # one repetition each
    if a.told is None or b.told is None:
        return None
    if form == "deeper" and a.exercise in ("deep squat", "sit to stand"):
        apart = a.told.knee_deg - b.told.knee_deg
        return None if abs(apart) < UNLIKE_DEG else "first" if apart > 0 else "second"
    if form == "faster" and a.told.direction and b.told.direction and min(a.told.speed_mps, b.told.speed_mps) > 0.3:
        return _more(a.told.speed_mps, b.told.speed_mps)
    return None


def _more(a: float, b: float) -> str | None:
    return "first" if a > UNLIKE * b else "second" if b > UNLIKE * a else None


def _caption(scene: Scene, draw: random.Random) -> Ask | None:
    if scene.spoken:
        return Ask("caption", {"caption": draw.choice(scene.spoken).strip().rstrip(".").lower()}, "caption")
    if not scene.single:
        return None
    motion = scene.first.motion
    options = texts(motion, scene.first.told, scene.first.part, (scene.name, draw.random()))
    if not options:
        return None
    origin, text = options[0]  # a label before a description before what is measured
    said = mirrored(text) if scene.mirrored else text
    source = {"description": "caption"}.get(origin, origin)
    return None if said is None else Ask("caption", {"caption": said.rstrip(".").lower()}, source)


def _next(scene: Scene, draw: random.Random) -> Ask | None:
    """Cut the motion, and ask for what the rest is measured to show."""
    after = AFTER_S if scene.first.part else LEAST_AFTER_S
    if not scene.single or scene.seconds < BEFORE_S + after or scene.exercise:
        return None
    motion = scene.first.motion
    at = round(draw.uniform(BEFORE_S, scene.seconds - after), 2)
    told = facts(cut(motion, at, at + AFTER_S))
    follows = None if told is None else happens(told)
    if follows is None:
        return None
    piece = scene.recipe["pieces"][0]
    begin = piece.get("start_s", 0.0)
    recipe = {**scene.recipe, "pieces": [{**piece, "start_s": begin, "end_s": round(begin + at, 4)}]}
    said = mirrored(follows) if scene.mirrored else follows
    return Ask("next", {"next": said}, "measured", recipe=recipe)


def happens(told: Facts) -> str | None:
    """Return the one thing that a short motion plainly shows, one of [next] of ``instructions.toml``."""
    if told.bow_deg > 90:
        return None
    if told.jumps:
        return "jumps"
    if told.turn:
        return f"turns {told.turn}"
    if told.direction and (told.walks or told.runs):
        direction = told.direction.split()
        where = f"forward and to the {direction[1]}" if len(direction) == 2 else direction[0]
        where = f"to the {where}" if where in OTHER else where
        return f"{'runs' if told.runs else 'walks'} {where}"
    if not told.stays:
        return None
    if told.still:
        return "stands still"
    if told.raises and not told.crouches:
        return "raises both hands" if told.raises == "both" else f"raises the {told.raises} hand"
    return "bends the knees" if told.crouches else None


def _unanswerable(scene: Scene, draw: random.Random) -> Ask | None:
    """Ask for what no motion shows, or for what this one does not, in words that another one would answer."""
    truth = {"answerable": False}
    reasons = ["never", "never", "single", "unseen", "stays", "absent"]
    for reason in draw.sample(reasons, len(reasons)):
        slots = {"reason": reason}
        if reason == "never":
            labelled = "style" if "style" in scene.first.labels else "" if scene.order else "description"
            never = draw.choice([n for n in phrases()["never"] if n.get("unless") != labelled])
            question = draw.choice(never["questions"]).format(limb=draw.choice(["arm", "leg"]))
            return Ask("unanswerable", truth, slots={**slots, "thing": never["thing"]}, question=question)
        if reason == "single":
            form = draw.choice(list(phrases()["questions"]["compare"]))
            return Ask("unanswerable", truth, form=form, like="compare", slots=slots)
        if reason == "unseen":
            form, side = draw.choice(list(ANGLES)), draw.choice(["left", "right"])
            part = f"{side} {ANGLES[form][0]}"
            recipe = {**scene.recipe, "without": [part]}
            slots |= {"part": part, "side": side}
            return Ask("unanswerable", truth, form=form, like="angle", slots=slots, recipe=recipe)
        if reason == "stays" and scene.told and scene.told.stays:
            return Ask("unanswerable", truth, "measured", like="direction", slots=slots)
        if reason == "absent" and scene.order:
            other = draw.choice([e for e in exercises() if e not in scene.order])
            form = draw.choice(["after", "before"])
            return Ask("unanswerable", truth, form=form, like="sequence", slots={**slots, "exercise": other})
    return None


KINDS: dict[str, Callable[[Scene, random.Random], Ask | None]] = {
    "exercise": _exercise, "correct": _correct, "side": _side, "count": _count, "direction": _direction,
    "turn": _turning, "sequence": _sequence, "duration": _duration, "angle": _angle, "compare": _compare,
    "caption": _caption, "next": _next, "unanswerable": _unanswerable,
}  # fmt: skip
# How often a kind is asked where it can be: relative.
WEIGHTS = {
    "exercise": 3, "correct": 3, "side": 2, "count": 3, "direction": 2, "turn": 1, "sequence": 6, "duration": 0.5,
    "angle": 2, "compare": 1, "caption": 1, "next": 1, "unanswerable": 2,
}  # fmt: skip
