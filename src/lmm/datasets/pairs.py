"""Pairs: stores → stretches of clean motion, each with a text: what motion-language models learn and are tested on.

Origins of texts: ``label`` (Bandai Namco's contents and styles, UI-PRMD's exercises, IRDS's gestures), ``description``
(CMU's index; any store's own captions), ``measured`` (`lmm.analysis.facts`), ``sentence`` (KIT-ML: evaluation only).

Splits are the store's, by subject. Bandai Namco's actors are not named and its store splits by combination of content
and style; here ZERO_SHOT combinations are held out altogether, and of the others takes: 80, 10, 10 %. docs/pairs.md
tells counts and thresholds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lmm.analysis.facts import Facts, facts
from lmm.core.errors import InputError
from lmm.core.motion import Motion
from lmm.datasets import sentences
from lmm.datasets.store import Store, split_of
from lmm.datasets.windows import mirror
from lmm.sources.files import Input

LONGEST_S, SHORTEST_S = 10.0, 0.8  # of a stretch
TRAIN, EVALUATION, ZERO = "train", "evaluation", "zero-shot"

# Content and style (as `sentences.STYLES` names it). No mirror image of one of them is trained on either.
ZERO_SHOT = frozenset(
    {
        ("bow", "proud"), ("bow", "sad"), ("bye", "elderly"), ("byebye", "chimpira"), ("dash", "proud"),
        ("guide", "tired"), ("raise-up-both-hands", "youthful"), ("run", "youthful"), ("walk", "elderly"),
        ("walk", "masculine"), ("walk-back", "active"), ("wave-right-hand", "masculine"),
    }
)  # fmt: skip

# Contents that go on throughout a take: a stretch of it shows them, too. Others are whole or not at all.
LASTING = {"walk", "run", "dash", "walk-back", "walk-left", "walk-right", "dance-short", "kick", "punch", "slash"} | {
    f"wave-{side}" for side in ("left-hand", "right-hand", "both-hands")
}
DIRECTIONS = {
    "walk": "forward", "run": "forward", "dash": "forward", "walk-turn-left": "forward", "walk-turn-right": "forward",
    "walk-back": "backwards", "walk-left": "forward left", "walk-right": "forward right",
}  # fmt: skip
HANDS = {"bye": "right", "byebye": "both"}  # as measured: 14 of 14 takes; 11 of 14, the others not told
KIT_LICENCE = "KIT Motion-Language Dataset (Plappert et al. 2016): no licence stated, evaluation only"


@dataclass(frozen=True, eq=False)
class Pair:
    """A stretch of a clean motion with one text.

    motion   clean BODY_25 in metres, SHORTEST_S to LONGEST_S long; `start_s` is its place in the clip
    text     an English sentence
    origin   ``label``, ``description``, ``measured`` or ``sentence``
    id       the clip's in its store
    subject  the store's
    split    ``train``, ``val``, ``test``, ``zero-shot`` or ``evaluation``
    licence  of motion and text
    label    what the text says, for evaluation, as far as it is known: content, style, correct, limb (arm, leg), side
             (left, right, both), turn (left, right), direction (as `Facts.direction`)
    """

    motion: Motion
    text: str
    origin: str
    id: str
    subject: str
    split: str
    licence: str
    label: dict[str, str]

    def mirrored(self) -> Pair | None:
        """Return the pair in a mirror: motion, text and label; None where the text cannot be mirrored safely."""
        text = sentences.mirrored(self.text)
        if text is None:
            return None
        label = {k: sentences.mirrored(v) or v for k, v in self.label.items()}
        return replace(self, motion=mirror(self.motion), text=text, label=label)


def read_pairs(
    stores: Iterable[str | Path | Store], seed: int = 0, variants: int = 1, kit: str | Path | None = None
) -> list[Pair]:
    """Return the pairs of stores, in their order: the same for the same seed.

    A training stretch has up to `variants` different texts of each origin that it has, others one. `kit` is a
    ``pairs.jsonl`` with KIT-ML's sentences for CMU trials: their split is ``evaluation``. Motions in pixels have none.
    Raises InputError if a store or the list cannot be read.
    """
    spoken = read_kit(Path(kit)) if kit is not None else {}
    out: list[Pair] = []
    for store in stores:
        for clip in (store if isinstance(store, Store) else Store(store)).motions():
            if clip.space == "world":
                out += _pairs(clip, seed, variants)
                out += _spoken(clip, spoken.get(str(clip.meta.get("trial")), []))
    return out


def pair_split(clip: Motion) -> str:
    """Return the split of a store's clip in pairs: the store's, or zero-shot, or by take (see the module)."""
    labels = clip.meta.get("labels", {})
    if "content" in labels and "style" in labels:
        return ZERO if (labels["content"], _style(labels)) in ZERO_SHOT else split_of(str(clip.meta["id"]))
    return str(clip.meta["split"])


def stretches(clip: Motion) -> list[Motion]:
    """Return a clip in equal stretches of at most LONGEST_S, none if it is shorter than SHORTEST_S."""
    if clip.seconds < SHORTEST_S:
        return []
    count = max(1, int(np.ceil(clip.num_frames / (LONGEST_S * clip.fps))))
    bounds = np.linspace(0, clip.num_frames, count + 1).round().astype(int)
    return [clip.crop(int(a), int(b)) if count > 1 else clip for a, b in pairwise(bounds)]


def _pairs(clip: Motion, seed: int, variants: int) -> Iterator[Pair]:
    split = pair_split(clip)
    parts = stretches(clip)
    for n, motion in enumerate(parts):
        told = facts(motion)
        for origin, say in (("label", _label), ("description", _description), ("measured", _measured)):
            texts: dict[str, dict[str, str]] = {}
            for k in range(variants if split == TRAIN else 1):
                said = say(motion, told, len(parts) > 1, (seed, clip.meta["id"], n, k))
                if said is not None:
                    texts.setdefault(*said)
            for text, label in texts.items():
                yield _pair(motion, text, origin, split, label)


def _pair(motion: Motion, text: str, origin: str, split: str, label: dict[str, str], licence: str = "") -> Pair:
    meta = motion.meta
    licence = "; ".join(filter(None, [str(meta.get("licence", "")), licence]))
    return Pair(motion, text, origin, str(meta["id"]), str(meta["subject"]), split, licence, label)


def texts(motion: Motion, told: Facts | None, part: bool, key: tuple[object, ...]) -> list[tuple[str, str]]:
    """Return (origin, text) of a stretch of a clip with its facts: a label's, a description's and what is measured."""
    tellers = {"label": _label, "description": _description, "measured": _measured}
    said = {origin: say(motion, told, part, key) for origin, say in tellers.items()}
    return [(origin, text[0]) for origin, text in said.items() if text is not None]


Said = tuple[str, dict[str, str]]
Key = tuple[object, ...]


def _label(motion: Motion, told: Facts | None, part: bool, key: Key) -> Said | None:
    labels = motion.meta.get("labels", {})
    if "content" in labels and "style" in labels:
        return _content(str(labels["content"]), _style(labels), told, part, key)
    if part:
        return None
    if motion.meta.get("format") == "uiprmd" and "movement" in labels:
        movement, correct = str(labels["movement"]), bool(labels["correct"])
        side = _moving(told, limb_of(labels))
        label = {"content": f"exercise-{movement}", "correct": str(correct).lower(), **side}
        return sentences.exercise(movement, correct, side.get("side"), *key), label
    if "gesture_name" in labels:
        name = str(labels["gesture_name"]).removesuffix(" left").removesuffix(" right")
        side = _moving(told, None if name == "shoulder forward elevation" else limb_of(labels))
        label = {"content": name.replace(" ", "-"), "correct": str(bool(labels["correct"])).lower(), **side}
        quality, position = str(labels["quality"]), str(labels["position"])
        return sentences.gesture(name, quality, position, side.get("side"), *key), label
    return None


def _content(content: str, style: str, told: Facts | None, part: bool, key: Key) -> Said | None:
    """Tell a Bandai Namco label, unless the stretch may not show it, or what is measured contradicts it."""
    if part and content not in LASTING:
        return None
    label = {"content": content, "style": style}
    last = content.split("-")[-2:]
    if last[-1] in ("hand", "hands") or content in HANDS:
        label |= {"side": HANDS.get(content, last[0]), "limb": "arm"}
        if told and {told.arm, label["side"]} == {"left", "right"}:
            return None
    if content.startswith("walk-turn"):
        label["turn"] = last[-1]
        if told and told.turn != label["turn"]:
            return None
    if content in DIRECTIONS:
        aside = {"walk-left": 1, "walk-right": -1}.get(content, 0)
        if told and aside * told.left_m < 0:
            return None
        if told is None or told.direction == DIRECTIONS[content]:
            label["direction"] = DIRECTIONS[content]
    return sentences.styled(content, style, *key), label


def _moving(told: Facts | None, limb: str | None) -> dict[str, str]:
    side = moving_side(told, limb)
    return {"side": side, "limb": limb} if side and limb else {}


def moving_side(told: Facts | None, limb: str | None) -> str | None:
    """Return the side, left or right, whose limb (arm, leg) moves, if it is measured beyond doubt."""
    if told is None or limb is None:
        return None
    side = told.leg if limb == "leg" else told.arm or told.raises
    return side if side in ("left", "right") else None


def limb_of(labels: dict[str, Any]) -> str | None:
    """Return the limb that an exercise or a gesture moves, where it is one."""
    if "gesture_name" in labels:
        return "leg" if str(labels["gesture_name"]).startswith("side tap") else "arm"
    movement = str(labels.get("movement", ""))
    return "leg" if movement in ("02", "06") else "arm" if "07" <= movement <= "10" else None


def _description(motion: Motion, told: Facts | None, part: bool, key: Key) -> Said | None:
    labels = motion.meta.get("labels", {})
    captions: Sequence[str] = motion.meta.get("captions") or ()
    if not captions or not {"content", "movement", "gesture_name"}.isdisjoint(labels):
        return None
    text = sentences.described(sentences.chosen(captions, *key, "caption"), part, *key)
    return None if text is None else (text, {})


def _measured(motion: Motion, told: Facts | None, part: bool, key: Key) -> Said | None:
    """Tell what is measured; not of a leg where an arm exercises (depth sensors lose a leg that another one hides)."""
    said = None if told is None else sentences.measured(told, *key)
    if said and said[1].get("limb") == "leg" and limb_of(motion.meta.get("labels", {})) == "arm":
        return None
    return said


def _style(labels: dict[str, Any]) -> str:
    return sentences.STYLES.get(str(labels["style"]), str(labels["style"]))


def read_kit(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return trial → rows with KIT-ML's sentences: start_s, end_s, captions. Raises InputError."""
    out: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(Input(path).text().split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if row["caption_source"] == "KIT-ML":
                start, end = float(row["start_s"]), float(row["end_s"])
                if not 0 <= start < end < 1e6:
                    raise ValueError(f"the span {start:g} to {end:g} s")
                kept = {"start_s": start, "end_s": end, "captions": [str(c) for c in row["captions"]]}
                out.setdefault(str(row["trial"]), []).append(kept)
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise InputError(
                path, f"line {number} is no pair ({e})", "trial, start_s, end_s, captions and caption_source are needed"
            ) from None
    return out


def _spoken(clip: Motion, rows: list[dict[str, Any]]) -> Iterator[Pair]:
    for row in rows:
        a, b = (min(clip.num_frames, round(row[k] * clip.fps)) for k in ("start_s", "end_s"))
        if SHORTEST_S <= (b - a) / clip.fps <= LONGEST_S:
            for text in row["captions"]:
                yield _pair(clip.crop(a, b), text, "sentence", EVALUATION, {}, KIT_LICENCE)
