"""Scenes: the motions that instructions ask about, with what labels and measurement say of them, and the questions.

A scene is a clip (a stretch of a long one), or a sequence of clips of one person, joined: repetitions of one exercise.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from lmm.analysis.facts import Facts, facts
from lmm.analysis.repetitions import repetitions
from lmm.core.motion import Motion
from lmm.datasets.answers import answered, phrased, phrases
from lmm.datasets.joining import layout
from lmm.datasets.pairs import limb_of, moving_side, pair_split, stretches
from lmm.datasets.recipes import Motions, Recipe

OTHER = {"left": "right", "right": "left"}
MOST = 12  # repetitions of a sequence
SPEEDS, PAUSES_S = (0.8, 1.25), (0.3, 1.5)  # of sequences: the longest pause is one of the two
# How often a kind is asked where it can be: relative.
WEIGHTS = {"exercise": 3.0, "correct": 3.0, "side": 2.0, "count": 3.0, "unanswerable": 2.0}


@dataclass(frozen=True, eq=False)
class Measured:
    """What is measured of a clip or a stretch, once. `top_s`: when it is furthest from rest."""

    motion: Motion

    @cached_property
    def told(self) -> Facts | None:
        return facts(self.motion)

    @cached_property
    def top_s(self) -> float:
        found = repetitions(self.motion)
        if not found:
            return self.motion.seconds / 2
        return max(found, key=lambda r: r.reach).top_s - self.motion.start_s

    @cached_property
    def limb(self) -> str | None:
        return limb_of(self.motion.meta.get("labels", {}))

    @cached_property
    def side(self) -> str | None:
        """The side whose limb exercises, if it is measured beyond doubt."""
        return moving_side(self.told, self.limb)


@dataclass(frozen=True)
class Asked:
    """A question about a scene that is answered: what a conversation needs of it."""

    kind: str
    truth: dict[str, Any]
    source: str = "label"
    slots: dict[str, str] = field(default_factory=dict)
    form: str = ""
    moments_s: list[list[float]] = field(default_factory=list)
    motions: list[Recipe] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Scene:
    """A motion that questions are asked of, and what is known about it."""

    name: str
    recipe: Recipe
    parts: list[Measured]  # the clip, or those that are joined
    tops_s: list[float]
    seconds: float

    @property
    def meta(self) -> dict[str, Any]:
        return self.parts[0].motion.meta

    @property
    def subject(self) -> str:
        return str(self.meta["subject"])

    @property
    def licence(self) -> str:
        return str(self.meta.get("licence", ""))

    @property
    def split(self) -> str:
        return pair_split(self.parts[0].motion)

    @property
    def of(self) -> str:
        return str(self.meta["id"]).split("/")[0]

    @property
    def mirrored(self) -> bool:
        return bool(self.recipe["mirror"])

    @cached_property
    def exercise(self) -> str | None:
        return exercise_of(self.meta)

    @property
    def about(self) -> dict[str, Any]:
        """Labels, for evaluation."""
        labels = self.meta.get("labels", {})
        out: dict[str, Any] = {k: labels[k] for k in ("correct", "position", "content", "style") if k in labels}
        if self.exercise:
            out |= {"exercise": self.exercise, "count": len(self.tops_s)}
        if self.meta.get("format") == "uiprmd":
            out["device"] = device_of(self.meta)
        return out

    @cached_property
    def side(self) -> str | None:
        """The side whose limb exercises: measured on a part of the scene at least, and contradicted by none."""
        found = {p.side for p in self.parts} - {None}
        side = found.pop() if len(found) == 1 else None
        return OTHER.get(side, side) if side and self.mirrored else side

    def asked(self, seed: int, most: int) -> list[Asked]:
        """Return up to `most` questions of different kinds, with answers."""
        draw = random.Random(f"{seed}\0{self.name}\0asked")
        known: dict[str, list[Asked]] = defaultdict(list)
        for ask in self._asks(draw):
            known[ask.kind].append(ask)
        out = []
        while known and len(out) < most:
            kind = draw.choices(list(known), [WEIGHTS[k] for k in known])[0]
            out.append(self._said(draw.choice(known.pop(kind)), draw))
        return out

    def _said(self, ask: Asked, draw: random.Random) -> Asked:
        slots = {"limb": "arm", **({"exercise": self.exercise} if self.exercise else {}), **ask.slots}
        if ask.kind == "unanswerable" and "question" in slots:
            question = slots["question"].format(**slots)
        else:
            if ask.kind == "exercise":
                slots.pop("exercise", None)
            question = phrased(slots.get("like", ask.kind), slots, draw, ask.form)
        answer = answered(ask.kind, ask.truth, slots, draw)
        return Asked(
            ask.kind,
            ask.truth,
            ask.source,
            moments_s=ask.moments_s or [[]],
            motions=ask.motions or [self.recipe],
            messages=[{"role": "user", "content": question}, {"role": "assistant", "content": answer}],
        )

    def _asks(self, draw: random.Random) -> Iterator[Asked]:
        tops = [[round(t, 2) for t in self.tops_s]]
        if self.exercise:
            yield Asked("exercise", {"exercise": self.exercise}, moments_s=tops)
            yield Asked("correct", {"correct": bool(self.meta["labels"]["correct"])}, moments_s=tops)
            yield Asked("count", {"count": len(self.tops_s)}, moments_s=tops)
        limb = self.parts[0].limb
        if self.side and limb:
            yield Asked("side", {"side": self.side}, "measured", {"limb": limb}, moments_s=tops)
        never = draw.choice(phrases()["never"])
        slots = {"reason": "never", "thing": never["thing"], "question": draw.choice(never["questions"])}
        yield Asked("unanswerable", {"answerable": False}, slots=slots)


def exercise_of(meta: dict[str, Any]) -> str | None:
    """Return the name of the exercise that a clip's labels tell, None if they tell none."""
    labels = meta.get("labels", {})
    if meta.get("format") == "uiprmd" and "movement" in labels:
        found = phrases()["exercises"].get(labels["movement"])
    else:
        name = str(labels.get("gesture_name", "")).removesuffix(" left").removesuffix(" right")
        found = phrases()["gestures"].get(name)
    return None if found is None else str(found)


def device_of(meta: dict[str, Any]) -> str:
    """Return kinect or vicon, of a UI-PRMD clip."""
    return "vicon" if "vicon" in str(meta.get("skeleton")) else "kinect"


def scenes(motions: Motions, seed: int) -> Iterator[Scene]:
    """Yield the scenes of the clips, in their order: of an exercise's clip itself, then a sequence that begins with it."""
    measured: dict[str, Measured] = {str(c.meta["id"]): Measured(c) for c in motions.clips()}
    groups: dict[tuple[str, ...], list[Measured]] = defaultdict(list)
    for clip in measured.values():
        groups[_group(clip.motion.meta)].append(clip)
    for name, clip in measured.items():
        draw = random.Random(f"{seed}\0{name}\0scene")
        yield from _single(clip, draw)
        if exercise_of(clip.motion.meta):
            yield _sequence(name, clip, groups[_group(clip.motion.meta)], draw)


def _group(meta: dict[str, Any]) -> tuple[str, ...]:
    """Return what clips have in common that can be joined as repetitions."""
    labels = meta.get("labels", {})
    return (
        str(meta["subject"]),
        str(meta.get("skeleton")),
        str(exercise_of(meta)),
        str(labels.get("gesture_name")),
        str(labels.get("correct")),
    )


def _single(clip: Measured, draw: random.Random) -> Iterator[Scene]:
    name = str(clip.motion.meta["id"])
    parts = stretches(clip.motion)
    for n, part in enumerate(parts):
        piece: dict[str, Any] = {"id": name}
        if len(parts) > 1:
            begin = part.start_s - clip.motion.start_s
            piece |= {"start_s": round(begin, 4), "end_s": round(begin + part.seconds, 4)}
        some = clip if len(parts) == 1 else Measured(part)
        tops = [some.top_s] if exercise_of(clip.motion.meta) else []
        recipe = {"pieces": [piece], "mirror": draw.random() < 0.5}
        yield Scene(f"{name}#{n}", recipe, [some], tops, part.seconds)


def _sequence(name: str, first: Measured, group: list[Measured], draw: random.Random) -> Scene:
    """Return 1 to MOST repetitions, of the group, at varied speeds with pauses."""
    count = draw.randint(1, MOST)
    clips = [first, *(draw.choice(group) for _ in range(count - 1))]
    longest = draw.choice(PAUSES_S)
    speeds = [round(draw.uniform(*SPEEDS), 2) for _ in clips]
    pauses = [0.0, *(round(draw.uniform(0, longest), 2) for _ in clips[1:])]
    pieces = [
        {"id": str(c.motion.meta["id"]), "speed": s, "pause_s": p}
        for c, s, p in zip(clips, speeds, pauses, strict=True)
    ]
    fps = first.motion.fps
    placed = layout([c.motion.num_frames for c in clips], fps, speeds, pauses)
    tops = [
        (begin + c.top_s * fps * (frames - 1) / max(1, c.motion.num_frames - 1)) / fps
        for c, (begin, frames) in zip(clips, placed, strict=True)
    ]
    recipe = {"pieces": pieces, "mirror": draw.random() < 0.5}
    return Scene(f"{name}#repeated", recipe, clips, tops, sum(placed[-1]) / fps)
