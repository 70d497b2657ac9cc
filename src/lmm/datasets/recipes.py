"""Recipes: how a motion is made of stored clips, or read from a file, so that a list of conversations holds no motion.

    {"pieces": [{"id": "...", "start_s": 0, "end_s": null, "speed": 1, "pause_s": 0}, ...], "mirror": false}
    {"path": "squat.bvh", "start_s": 1, "end_s": 4, "without": ["left leg"]}

Of a piece only the id is needed; seconds count from the clip's beginning; the pause comes before it (`joining`). Of a
path nothing else is needed. `mirror` exchanges left and right; `without` names parts of the body (`PARTS`) that are
missing throughout.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lmm.core.errors import LmmError
from lmm.core.motion import Motion
from lmm.datasets.joining import joined
from lmm.datasets.store import Store
from lmm.datasets.windows import mirror
from lmm.pipeline.clean import clean
from lmm.skeletons import BODY_25
from lmm.sources.reading import read
from lmm.tokens import PARTS

Recipe = dict[str, Any]
MAX_PIECES, MAX_TEXT = 100, 500
SPEEDS, MAX_PAUSE_S, MAX_S = (0.1, 10.0), 60.0, 1e6
KEPT = 256  # motions in memory, beside the clips


class Motions:
    """The motions of recipes. Clips are read from the stores at the first that is asked for, and kept."""

    def __init__(self, stores: Iterable[str | Path | Store] = ()) -> None:
        """Raises InputError if a store cannot be read."""
        self._stores = [s if isinstance(s, Store) else Store(s) for s in stores]
        self._clips: dict[str, Motion] | None = None
        self._made: OrderedDict[str, Motion] = OrderedDict()

    def clips(self) -> Iterator[Motion]:
        """Yield the stores' clips in metres, in their order. Raises LmmError if two have one id."""
        yield from self._read().values()

    def clip(self, name: str) -> Motion:
        """Return a clip by its id. Raises LmmError if no store has it."""
        found = self._read().get(name)
        if found is None:
            raise LmmError(f"no store given here has the clip {name!r}: name the stores that the conversations are of.")
        return found

    def motion(self, recipe: Recipe) -> Motion:
        """Return the clean BODY_25 motion of a recipe.

        Raises LmmError if the recipe is none or no store has a clip of it, InputError if its file cannot be read,
        MotionError if it cannot be converted to BODY_25 or its pieces cannot be joined.
        """
        key = json.dumps(recipe, sort_keys=True)
        if key not in self._made:
            self._made[key] = self._make(checked(recipe))
            if len(self._made) > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def _read(self) -> dict[str, Motion]:
        if self._clips is None:
            clips: dict[str, Motion] = {}
            for store in self._stores:
                for clip in store.motions():
                    name = str(clip.meta["id"])
                    if name in clips:
                        raise LmmError(f"two of the stores have a clip {name!r}: give one of them.")
                    if clip.space == "world":
                        clips[name] = clip
            self._clips = clips
        return self._clips

    def _make(self, recipe: Recipe) -> Motion:
        if "path" in recipe:
            motion = cut(clean(read(recipe["path"])), recipe.get("start_s", 0), recipe.get("end_s"))
        else:
            pieces = recipe["pieces"]
            clips = [cut(self.clip(p["id"]), p.get("start_s", 0), p.get("end_s")) for p in pieces]
            speeds = [p.get("speed", 1.0) for p in pieces]
            motion = clips[0]
            if len(pieces) > 1 or speeds[0] != 1:
                motion = joined(clips, speeds, [p.get("pause_s", 0.0) for p in pieces])
        if recipe.get("mirror"):
            motion = mirror(motion)
        return without(motion, recipe.get("without", ()))


def cut(motion: Motion, start_s: float, end_s: float | None) -> Motion:
    """Return the stretch from `start_s` to `end_s` (None: the end), seconds from the motion's beginning, to the frame.

    Raises LmmError if there is nothing in it.
    """
    begin = round(start_s * motion.fps)
    end = motion.num_frames if end_s is None else min(motion.num_frames, round(end_s * motion.fps))
    if begin >= end:
        raise LmmError(f"a recipe asks for {start_s:g} to {end_s} s of a motion of {motion.seconds:.2f} s.")
    return motion if end - begin == motion.num_frames else motion.crop(begin, end)


def without(motion: Motion, parts: Iterable[str]) -> Motion:
    """Return the motion with parts of the body (`PARTS`) missing throughout."""
    joints = [BODY_25.index[j] for part in parts for j in PARTS[part]]
    if not joints:
        return motion
    confidence = motion.confidence.copy()
    confidence[:, joints] = 0
    return motion.replace(
        positions=np.where(confidence[..., None] > 0, motion.positions, np.nan), confidence=confidence
    )


def checked(recipe: Any) -> Recipe:
    """Return a recipe that is one. Raises LmmError saying what is wrong."""
    _keys(recipe, {"pieces", "path", "start_s", "end_s", "mirror", "without"}, "a recipe")
    if ("pieces" in recipe) == ("path" in recipe):
        raise LmmError("a recipe has pieces, or a path.")
    if not isinstance(recipe.get("mirror", False), bool):
        raise LmmError("mirror is true or false.")
    parts = recipe.get("without", [])
    if not isinstance(parts, list) or not all(isinstance(p, str) and p in PARTS for p in parts):
        raise LmmError(f"without lists parts of the body: {', '.join(PARTS)}.")
    if "path" in recipe:
        if not isinstance(recipe["path"], str) or not 0 < len(recipe["path"]) <= MAX_TEXT:
            raise LmmError("a path is a text.")
        _span(recipe)
        return dict(recipe)
    pieces = recipe["pieces"]
    if not isinstance(pieces, list) or not 0 < len(pieces) <= MAX_PIECES or {"start_s", "end_s"} & recipe.keys():
        raise LmmError(f"pieces is a list of 1 to {MAX_PIECES}, each with its own start_s and end_s.")
    for piece in pieces:
        _keys(piece, {"id", "start_s", "end_s", "speed", "pause_s"}, "a piece")
        if not isinstance(piece.get("id"), str) or len(piece["id"]) > MAX_TEXT:
            raise LmmError("a piece has the id of a clip.")
        _span(piece)
        _number(piece, "speed", *SPEEDS)
        _number(piece, "pause_s", 0, MAX_PAUSE_S)
    return dict(recipe)


def _keys(given: Any, known: set[str], what: str) -> None:
    if not isinstance(given, Mapping):
        raise LmmError(f"{what} is a JSON object.")
    if unknown := sorted(map(str, given.keys() - known)):
        raise LmmError(f"{what} has {', '.join(sorted(known))}, not {unknown[0]!r}.")


def _span(given: Mapping[str, Any]) -> None:
    _number(given, "start_s", 0, MAX_S)
    if given.get("end_s") is not None:
        _number(given, "end_s", 0, MAX_S)


def _number(given: Mapping[str, Any], name: str, least: float, most: float) -> None:
    value = given.get(name, least)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
        raise LmmError(f"{name} is a number from {least:g} to {most:g}.")
