"""Scenes: the motions that instructions ask about, with what labels and measurement say of them.

A scene is a clip (a stretch of a long one), or clips of one person that are joined: repetitions of one exercise, or
different exercises. What is measured is measured when it is asked for, once a clip.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from lmm.analysis.facts import Facts, facts
from lmm.analysis.repetitions import Repetition, repetitions
from lmm.core.motion import Motion
from lmm.datasets.answers import phrases
from lmm.datasets.joining import layout
from lmm.datasets.pairs import HANDS, limb_of, moving_side, pair_split, stretches
from lmm.datasets.recipes import Motions, Recipe
from lmm.datasets.sentences import mirrored

OTHER = {"left": "right", "right": "left"}
MOST = 12  # repetitions of a sequence
SPEEDS, PAUSES_S = (0.8, 1.25), (0.3, 1.5)  # of sequences; the longest pause is one of the two
ONCE = ("bow", "raise-up-left-hand", "raise-up-right-hand", "raise-up-both-hands")  # contents done once in a take
ORDERED = 3  # different exercises of a sequence, at most


@dataclass(frozen=True, eq=False)
class Measured:
    """A clip, or a stretch of it (`part`), with what labels and measurement say of it."""

    motion: Motion
    part: bool = False

    @property
    def labels(self) -> dict[str, Any]:
        return self.motion.meta.get("labels") or {}

    @cached_property
    def told(self) -> Facts | None:
        return facts(self.motion)

    @cached_property
    def repeated(self) -> list[Repetition]:
        return repetitions(self.motion)

    @property
    def top_s(self) -> float:
        """When it is furthest from rest, seconds from its beginning."""
        if not self.repeated:
            return self.motion.seconds / 2
        return max(self.repeated, key=lambda r: r.reach).top_s - self.motion.start_s

    @cached_property
    def exercise(self) -> str | None:
        """The name of the exercise that the labels tell."""
        if self.motion.meta.get("format") == "uiprmd":
            found = phrases()["exercises"].get(str(self.labels.get("movement")))
        else:
            name = str(self.labels.get("gesture_name", "")).removesuffix(" left").removesuffix(" right")
            found = phrases()["gestures"].get(name)
        return None if found is None or self.part else str(found)

    @cached_property
    def once(self) -> bool:
        """Whether something is done exactly once: by label, and for contents that are no exercise, as measured, too."""
        if self.exercise:
            return True
        content = self.labels.get("content")
        if content not in ONCE or self.part or self.told is None or len(self.repeated) != 1:
            return False
        return content == "bow" or sum(self.told.raised.values()) == (2 if "both" in str(content) else 1)

    @cached_property
    def limb(self) -> str | None:
        """The limb (arm, leg) that has a side in what is done."""
        content = str(self.labels.get("content", ""))
        return "arm" if content.endswith(("hand", "hands")) or content in HANDS else limb_of(self.labels)

    @cached_property
    def side(self) -> str | None:
        """The side whose limb does it: as measured beyond doubt; of hands as labelled, if measurement agrees."""
        content = str(self.labels.get("content", ""))
        if content.endswith(("hand", "hands")):
            side = content.split("-")[-2]
            return side if self.told is not None and self.told.arm == side else None
        return None if self.labels.get("content") else moving_side(self.told, self.limb)


@dataclass(frozen=True, eq=False)
class Scene:
    """A motion that questions are asked of.

    name      its id, from which all choices are drawn
    recipe    how it is made
    parts     the clip, or those that are joined, in order
    placed    where each part begins in it, and how long it is there, frames
    partners  scenes of the same person that it can be compared with, itself among them
    spoken    sentences about it that somebody else wrote: then it is for evaluation only
    """

    name: str
    recipe: Recipe
    parts: list[Measured]
    placed: list[tuple[int, int]]
    partners: list[Scene] = field(default_factory=list)
    spoken: tuple[str, ...] = ()
    spoken_licence: str = ""

    @property
    def first(self) -> Measured:
        return self.parts[0]

    @property
    def meta(self) -> dict[str, Any]:
        return self.first.motion.meta

    @property
    def subject(self) -> str:
        return str(self.meta["subject"])

    @property
    def licence(self) -> str:
        return "; ".join(filter(None, [str(self.meta.get("licence", "")), self.spoken_licence]))

    @cached_property
    def split(self) -> str:
        return "evaluation" if self.spoken else pair_split(self.first.motion)

    @property
    def of(self) -> str:
        return str(self.meta["id"]).split("/")[0]

    @property
    def mirrored(self) -> bool:
        return bool(self.recipe["mirror"])

    @property
    def seconds(self) -> float:
        return sum(self.placed[-1]) / self.first.motion.fps

    @property
    def single(self) -> bool:
        return len(self.parts) == 1 and "speed" not in self.recipe["pieces"][0]

    @cached_property
    def order(self) -> list[str]:
        """The exercises, one after another; of repetitions one."""
        names = [p.exercise for p in self.parts if p.exercise]
        return [n for k, n in enumerate(names) if k == 0 or names[k - 1] != n]

    @property
    def exercise(self) -> str | None:
        return self.order[0] if len(self.order) == 1 else None

    @cached_property
    def count(self) -> int | None:
        """How often the one thing that it shows is done."""
        return len(self.parts) if len(self.order) <= 1 and all(p.once for p in self.parts) else None

    @cached_property
    def tops_s(self) -> list[float]:
        """When each part is furthest from rest, seconds from the scene's beginning."""
        return [
            round((begin + p.top_s * p.motion.fps * (frames - 1) / max(1, p.motion.num_frames - 1)) / p.motion.fps, 2)
            for p, (begin, frames) in zip(self.parts, self.placed, strict=True)
        ]

    @cached_property
    def told(self) -> Facts | None:
        """What is measured of a single clip, as the scene shows it."""
        told = self.first.told if self.single else None
        return _mirrored(told) if told and self.mirrored else told

    @property
    def limb(self) -> str | None:
        return self.first.limb if len(self.order) <= 1 else None

    @cached_property
    def side(self) -> str | None:
        """The side whose limb does it: measured on half of the parts at least, contradicted by none."""
        found = [p.side for p in self.parts if p.side]
        if len(set(found)) != 1 or 2 * len(found) < len(self.parts):
            return None
        return OTHER.get(found[0], found[0]) if self.mirrored else found[0]

    @property
    def about(self) -> dict[str, Any]:
        """Labels, for evaluation."""
        out: dict[str, Any] = {k: self.first.labels[k] for k in ("correct", "position") if k in self.first.labels}
        if len(self.order) > 1:
            out = {"order": self.order}
        for name in ("content", "style"):
            if name in self.first.labels:
                said = str(self.first.labels[name])
                out[name] = mirrored(said) or said if self.mirrored else said
        if self.exercise:
            out |= {"exercise": self.exercise, "count": self.count}
        if self.meta.get("format") == "uiprmd":
            out["device"] = _device(self.meta)
        return out


def scenes(motions: Motions, seed: int, kit: dict[str, list[dict[str, Any]]], kit_licence: str) -> Iterator[Scene]:
    """Yield the scenes of the clips, in their order: each clip itself, then what is joined with it first.

    `kit` has trial → rows with start_s, end_s and captions: each row is a scene for evaluation.
    """
    measured = [Measured(c) for c in motions.clips()]
    groups: dict[tuple[str, ...], list[Measured]] = defaultdict(list)
    people: dict[tuple[str, ...], list[Measured]] = defaultdict(list)
    for clip in measured:
        groups[_group(clip)].append(clip)
        if clip.exercise:
            people[_person(clip)].append(clip)
    partners: dict[tuple[str, ...], list[Scene]] = defaultdict(list)
    out: list[Scene] = []
    for clip in measured:
        name = str(clip.motion.meta["id"])
        draw = random.Random(f"{seed}\0{name}\0scene")
        made = _singles(name, clip, draw)
        if clip.exercise or (clip.labels.get("content") in ONCE and draw.random() < 0.25):
            made.append(_repeated(name, clip, groups[_group(clip)], draw))
        if clip.exercise and draw.random() < 0.5:
            made += _ordered(name, clip, people[_person(clip)], draw)
        for row in kit.get(str(clip.motion.meta.get("trial")), []):
            made += _spoken(name, clip, row, kit_licence)
        for scene in made:
            if len(scene.order) <= 1 and not scene.spoken:
                same = partners[(*_person(clip), str(clip.exercise), scene.split)]
                scene = replace(scene, partners=same)
                same.append(scene)
            out.append(scene)
    yield from out


def _device(meta: dict[str, Any]) -> str:
    return "vicon" if "vicon" in str(meta.get("skeleton")) else "kinect"


def _person(clip: Measured) -> tuple[str, ...]:
    """Return what clips have in common that can be joined in any order: a person and a device."""
    return str(clip.motion.meta["subject"]), str(clip.motion.meta.get("skeleton")), str(clip.labels.get("position"))


def _group(clip: Measured) -> tuple[str, ...]:
    """Return what repetitions have in common."""
    labels = clip.labels
    what = (str(clip.exercise), str(labels.get("gesture_name")), str(labels.get("correct")))
    return (*_person(clip), *what, str(labels.get("dataset")), pair_split(clip.motion))


def _singles(name: str, clip: Measured, draw: random.Random) -> list[Scene]:
    out = []
    parts = stretches(clip.motion)
    for n, part in enumerate(parts):
        piece: dict[str, Any] = {"id": name}
        if len(parts) > 1:
            begin = part.start_s - clip.motion.start_s
            piece |= {"start_s": round(begin, 4), "end_s": round(begin + part.seconds, 4)}
        some = clip if len(parts) == 1 else Measured(part, part=True)
        recipe = {"pieces": [piece], "mirror": draw.random() < 0.5}
        out.append(Scene(f"{name}#{n}", recipe, [some], [(0, part.num_frames)]))
    return out


def _repeated(name: str, first: Measured, group: list[Measured], draw: random.Random) -> Scene:
    """Return 1 to MOST repetitions, of the group."""
    return _joined(f"{name}#repeated", [first, *(draw.choice(group) for _ in range(draw.randrange(MOST)))], draw)


def _ordered(name: str, first: Measured, clips: list[Measured], draw: random.Random) -> list[Scene]:
    """Return a sequence of different exercises of a person, each done once or twice; none if there is only one."""
    chosen = [first]
    for other in draw.sample(clips, len(clips)):
        if len(chosen) < draw.randint(2, ORDERED) and other.exercise not in [c.exercise for c in chosen]:
            chosen.append(other)
    repeated = [c for c in chosen for _ in range(draw.randint(1, 2))]
    return [_joined(f"{name}#ordered", repeated, draw)] if len(chosen) > 1 else []


def _joined(name: str, clips: Sequence[Measured], draw: random.Random) -> Scene:
    longest = draw.choice(PAUSES_S)
    speeds = [round(draw.uniform(*SPEEDS), 2) for _ in clips]
    pauses = [0.0, *(round(draw.uniform(0, longest), 2) for _ in clips[1:])]
    pieces = [
        {"id": str(c.motion.meta["id"]), "speed": s, "pause_s": p}
        for c, s, p in zip(clips, speeds, pauses, strict=True)
    ]
    placed = layout([c.motion.num_frames for c in clips], clips[0].motion.fps, speeds, pauses)
    return Scene(name, {"pieces": pieces, "mirror": draw.random() < 0.5}, list(clips), placed)


def _spoken(name: str, clip: Measured, row: dict[str, Any], licence: str) -> list[Scene]:
    begin, end = (min(clip.motion.num_frames, round(row[k] * clip.motion.fps)) for k in ("start_s", "end_s"))
    if end - begin < clip.motion.fps:
        return []
    piece = {"id": name, "start_s": row["start_s"], "end_s": row["end_s"]}
    part = Measured(clip.motion.crop(begin, end), part=True)
    recipe = {"pieces": [piece], "mirror": False}
    return [
        Scene(f"{name}#kit{row['start_s']:g}", recipe, [part], [(0, end - begin)], [], tuple(row["captions"]), licence)
    ]


def _mirrored(told: Facts) -> Facts:
    def sides(values: dict[str, Any]) -> dict[str, Any]:
        return {OTHER[k]: v for k, v in values.items()}

    return replace(
        told,
        left_m=-told.left_m,
        turn_deg=-told.turn_deg,
        arm_range=sides(told.arm_range),
        leg_range=sides(told.leg_range),
        raised=sides(told.raised),
        overhead=sides(told.overhead),
        lifted=sides(told.lifted),
    )
