"""Checking instructions: every truth is found again, from the labels of the clips and from the motion as it is made.

Nothing here uses how a conversation was made: motions are made of their recipes, mirrored and joined, and measured as
a user's file would be.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from lmm.analysis.angles import joint_angles
from lmm.analysis.facts import facts
from lmm.analysis.repetitions import repetitions
from lmm.core.motion import Motion
from lmm.datasets.answers import parse_answer
from lmm.datasets.instructions import Conversation
from lmm.datasets.pairs import DIRECTIONS
from lmm.datasets.questions import ANGLES, happens
from lmm.datasets.recipes import Motions, Recipe
from lmm.datasets.scenes import Measured
from lmm.datasets.sentences import mirrored
from lmm.datasets.windows import mirror
from lmm.tokens import PARTS

NEAR_DEG, NEAR_S = 5.0, 0.51  # roundings, and what an end that is cut to the frame adds
MOMENT_S = 0.5  # between a moment and a top that is measured on the whole motion

Found = tuple[str, Any, Any]  # against what, what the conversation says, what is found: None where nothing is


def check(conversations: Iterable[Conversation], motions: Motions) -> dict[tuple[str, str], Counter[str]]:
    """Return (kind, against what) → how often it is found ``same``, ``other``, or ``not told`` beyond doubt."""
    out: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for c in conversations:
        for against, said, found in _found(c, motions):
            out[c.kind, against]["not told" if found is None else "same" if found == said else "other"] += 1
    return out


def _found(c: Conversation, motions: Motions) -> Iterator[Found]:
    yield "answer", c.truth, parse_answer(c.kind, c.answer)
    recipe = c.motions[0]
    if "pieces" not in recipe:
        return
    labels = [Measured(motions.clip(p["id"])) for p in recipe["pieces"]]
    names = [m.exercise for m in labels]
    content = str(labels[0].labels.get("content", ""))
    content = mirrored(content) or content if recipe.get("mirror") else content
    parts = content.split("-")
    motion = motions.motion(recipe)
    form = c.provenance.get("form", "")
    if any(c.moments_s):
        yield "moments inside", True, all(0 <= t <= motion.seconds for t in c.moments_s[0])
    if c.kind == "exercise":
        yield "labels", [c.truth["exercise"]] * len(names), names
    elif c.kind == "correct":
        yield "labels", {c.truth["correct"]}, {bool(m.labels["correct"]) for m in labels}
    elif c.kind == "count":
        tops = [r.top_s for r in repetitions(motion)]
        yield "labels", c.truth["count"], len(names)
        yield "measured", c.truth["count"], len(tops)
        if len(tops) == len(c.moments_s[0]):
            yield "moments", True, bool(np.abs(np.subtract(tops, c.moments_s[0])).max(initial=0) <= MOMENT_S)
    elif c.kind == "side":
        if len(parts) > 2 and parts[-1] in ("hand", "hands"):
            yield "labels", c.truth["side"], parts[-2]
        else:
            told = facts(motion)
            yield (
                "measured",
                c.truth["side"],
                told and (told.leg if labels[0].limb == "leg" else told.arm or told.raises),
            )
    elif c.kind == "direction":
        told = facts(motion)
        yield "measured", c.truth["direction"], told and told.direction
        if content in DIRECTIONS and len(labels) == 1:
            yield "labels", c.truth["direction"], DIRECTIONS[content]
    elif c.kind == "turn":
        told = facts(motion)
        yield "measured", c.truth["turn"], told and (told.turn or ("none" if told.straight else None))
        if content.startswith("walk-turn"):
            yield "labels", c.truth["turn"], parts[-1]
    elif c.kind == "sequence":
        order = [str(n) for k, n in enumerate(names) if k == 0 or names[k - 1] != n]
        told_order = c.truth["sequence"]
        at = order.index(told_order[0]) if told_order[0] in order else -9
        near = {"first": at == 0, "last": at == len(order) - 1, "order": told_order == order}
        asked = c.question
        near |= {
            "after": at > 0 and order[at - 1] in asked,
            "before": -1 < at < len(order) - 1 and order[at + 1] in asked,
        }
        yield "labels", True, near[form]
    elif c.kind == "duration":
        yield "measured", True, abs(motion.seconds - c.truth["seconds"]) <= NEAR_S
    elif c.kind == "angle":
        yield "measured", True, abs(_angle(motion, form, c.question) - c.truth["degrees"]) <= NEAR_DEG
    elif c.kind == "compare":
        yield "measured" if form not in ("correct", "more") else "labels", c.truth["compare"], _compared(c, motions)
    elif c.kind == "next":
        told = facts(_rest(recipe, motions))
        yield "measured", c.truth["next"], told and happens(told)
    elif c.kind == "unanswerable":
        reason = c.provenance["reason"]
        if reason == "single":
            yield reason, 1, len(c.motions)
        elif reason == "unseen":
            part = recipe["without"][0]
            joints = [motion.joint(j) for j in PARTS[part]]
            yield reason, True, part.split()[0] in c.question and not np.isfinite(joints).any()
        elif reason == "stays":
            told = facts(motion)
            yield reason, True, told and told.stays
        elif reason == "absent":
            yield reason, False, any(str(n) in c.question for n in names)


def _angle(motion: Motion, form: str, question: str) -> float:
    side = "left" if "left" in question.split() else "right"
    values = joint_angles(motion)[ANGLES[form][1].format(side=side)]
    return float(np.nanpercentile(values, 98))


def _compared(c: Conversation, motions: Motions) -> str | None:
    form = c.provenance["form"]
    pieces = [r["pieces"] for r in c.motions]
    a, b = (motions.motion(r) for r in c.motions)
    if form == "more":
        return "same" if len(pieces[0]) == len(pieces[1]) else "first" if len(pieces[0]) > len(pieces[1]) else "second"
    if form == "correct":
        right = [{bool(motions.clip(p["id"]).meta["labels"]["correct"]) for p in some} for some in pieces]
        return {(True, False): "first", (False, True): "second"}.get((right[0] == {True}, right[1] == {True}))
    if form == "longer" or (form == "faster" and Measured(motions.clip(pieces[0][0]["id"])).exercise):
        return "first" if (a.seconds > b.seconds) == (form == "longer") else "second"
    told = [facts(a), facts(b)]
    if told[0] is None or told[1] is None:
        return None
    if form == "deeper":
        return "first" if told[0].knee_deg > told[1].knee_deg else "second"
    return "first" if told[0].speed_mps > told[1].speed_mps else "second"


def _rest(recipe: Recipe, motions: Motions) -> Motion:
    """Return the two seconds of the clip after the cut; not those after the end of the stretch that was cut."""
    piece = recipe["pieces"][0]
    clip = motions.clip(piece["id"])
    begin = round(piece["end_s"] * clip.fps)
    rest = clip.crop(begin, min(clip.num_frames, begin + round(2 * clip.fps)))
    return mirror(rest) if recipe.get("mirror") else rest
