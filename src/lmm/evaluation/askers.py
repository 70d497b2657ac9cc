"""What an assistant is compared with, and the assistant itself: each answers conversations in words.

A rival is fitted on the training conversations of a fold. None is told the kind of a question: it is looked up among
the training questions (`assistant_cases.Reading`), which tells a question that no motion answers, too.

majority    the commonest truth of the training answers to the same question, names of exercises and sides blanked
rules       what `lmm.analysis` measures (sides, ways, turns, repetitions, angles, seconds), and the nearest mean of the
            training subjects' ranges of joint angles for exercises and their form. Most truths of kind angle, duration,
            direction, turn and side are such measurements: there it is what the others try to tell, and no rival
minirocket  `MiniRocket` and a ridge classifier, exercise and form; of a mirrored copy of each motion, too
constant    the count with the least mean absolute error in training; `peaks` those of the first principal component
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lmm.analysis.angles import joint_angles
from lmm.analysis.facts import facts
from lmm.analysis.repetitions import repetitions
from lmm.core.motion import Motion
from lmm.datasets.answers import answered, exercises
from lmm.datasets.instructions import Conversation, Motions
from lmm.datasets.pairs import moving_side
from lmm.datasets.windows import mirror
from lmm.evaluation.assistant_cases import REFUSES, Fold, Reading, blanked, pieces
from lmm.evaluation.counting import best_guess, peaks
from lmm.evaluation.minirocket import MiniRocket, Ridge

Array = NDArray[Any]
CANNOT = "that cannot be told from the motion."
ANGLES = (
    "knee",
    "hip_flexion",
    "hip_abduction",
    "elbow",
    "shoulder_flexion",
    "shoulder_abduction",
    "ankle",
)  # in ranges by side
LENGTHS, MOST = {1: 64, 2: 128}, {1: 600, 2: 200}  # of one repetition, of more: samples MiniRocket reads, motions
LEAST_SEEN, OUTER = 0.9, 98
BATCH, MAX_TOKENS = 16, 48


class Asker(Protocol):
    """Whoever answers. `kinds` are those it has answers of its own for; None: all."""

    label: str
    kinds: tuple[str, ...] | None

    def fit(self, fold: Fold, motions: Motions) -> None: ...

    def answers(self, asked: Sequence[Conversation], motions: Motions) -> list[str]: ...


class Majority:
    label: str = "majority"
    kinds: tuple[str, ...] | None = None

    def fit(self, fold: Fold, motions: Motions) -> None:
        self._said: dict[str, Counter[str]] = defaultdict(Counter)
        for c in fold.train:  # the commonest truth, in the first words that stated it
            self._said[blanked(c)][_stated(c)] += 1
        self._words = {_stated(c): c.answer for c in reversed(fold.train)}

    def answers(self, asked: Sequence[Conversation], motions: Motions) -> list[str]:
        found = (self._said.get(blanked(c)) for c in asked)
        return [CANNOT if f is None else self._words[f.most_common(1)[0][0]] for f in found]


class Constant:
    label: str = "constant"
    kinds: tuple[str, ...] | None = ("count",)

    def fit(self, fold: Fold, motions: Motions) -> None:
        self._guess = best_guess([c.truth["count"] for c in fold.train if c.kind == "count"] or [1])

    def answers(self, asked: Sequence[Conversation], motions: Motions) -> list[str]:
        return [str(self._guess)] * len(asked)


class Peaks:
    label: str = "peaks"
    kinds: tuple[str, ...] | None = ("count",)

    def fit(self, fold: Fold, motions: Motions) -> None:
        pass

    def answers(self, asked: Sequence[Conversation], motions: Motions) -> list[str]:
        return [str(peaks(motions.motion(c.motions[0]))) for c in asked]


class Rocket:
    """Exercises and their form, one repetition and several by classifiers of their own."""

    label: str = "minirocket"
    kinds: tuple[str, ...] | None = ("exercise", "correct")

    def __init__(self) -> None:
        self._read: dict[str, Array] = {}

    def fit(self, fold: Fold, motions: Motions) -> None:
        self._fitted: dict[int, tuple[Array, MiniRocket, Ridge, dict[str, Ridge]]] = {}
        for group in LENGTHS:
            # each motion once
            some = [c for c in fold.train if c.kind in ("exercise", "correct") and _group(c) == group]
            known = {str(c.motions[0]): c for c in some}
            known = dict(list(known.items())[:: 1 + len(known) // MOST[group]])
            abouts = [c.provenance["about"] for c in known.values()]
            named, right = [str(a["exercise"]) for a in abouts], [bool(a["correct"]) for a in abouts]
            if len(set(named)) < 2:
                continue
            both = [self._kept(c, motions, flip) for flip in (False, True) for c in known.values()]
            x = np.stack(both)
            seen = np.abs(x).max((0, 2)) > 0
            transform = MiniRocket.fit(x[:, seen], np.random.default_rng(0))
            features = transform.transform(x[:, seen])
            form: dict[str, Ridge] = {}
            for name in set(named):
                rows = np.flatnonzero(np.array(named * 2) == name)
                if len({(right * 2)[i] for i in rows}) == 2:
                    form[name] = Ridge.fit(features[rows], [(right * 2)[i] for i in rows])
            self._fitted[group] = (seen, transform, Ridge.fit(features, named * 2), form)

    def answers(self, asked: Sequence[Conversation], motions: Motions) -> list[str]:
        out = [CANNOT] * len(asked)
        for group, (seen, transform, exercise, form) in self._fitted.items():
            rows = [i for i, c in enumerate(asked) if _group(c) == group]
            if not rows:
                continue
            x = np.stack([self._series(asked[i], motions, False) for i in rows])[:, seen]
            features = transform.transform(x)
            for i, name, values in zip(rows, exercise.predict(features), features, strict=True):
                if asked[i].kind == "exercise":
                    out[i] = _said("exercise", {"exercise": name})
                elif name in form:
                    out[i] = _said("correct", {"correct": form[name].predict(values[None])[0]})
        return out

    def _series(self, c: Conversation, motions: Motions, flip: bool) -> Array:
        """Return what an assistant reads of the first motion, resampled to one length (78, T)."""
        from lmm.models.motion_encoder import read_clip
        from lmm.pipeline.features import FeatureSpec

        motion = motions.motion(c.motions[0])
        clip = read_clip(mirror(motion) if flip else motion, FeatureSpec(layout="xyz"), 900)
        values = np.concatenate([clip.places.reshape(len(clip.path), -1), clip.path], 1)
        at = np.linspace(0, len(values) - 1, LENGTHS[_group(c)])
        return np.stack([np.interp(at, np.arange(len(values)), v) for v in values.T]).astype(np.float32)

    def _kept(self, c: Conversation, motions: Motions, flip: bool) -> Array:
        """Return the series of a training motion, which is read once for all folds."""
        key = f"{flip}{c.motions[0]}"
        if key not in self._read:
            self._read[key] = self._series(c, motions, flip)
        return self._read[key]


class Trained:
    """An assistant: `folders` of its weights, by the name of the fold whose subjects it never saw; or one, named "".

    `looks` are the key frames and quantities of the conversations last answered whose answer rests on instants.
    """

    kinds: tuple[str, ...] | None = None

    def __init__(self, label: str, folders: dict[str, Path], device: str = "cpu") -> None:
        self.label, self.folders, self.device = label, folders, device

    def fit(self, fold: Fold, motions: Motions) -> None:
        """Load the weights of a fold: nothing is trained."""
        from lmm.models.assistant import Assistant

        self.model = Assistant.from_pretrained(self.folders.get(fold.name) or self.folders[""]).to(self.device).eval()

    def answers(self, asked: Sequence[Conversation], motions: Motions) -> list[str]:
        out: list[str] = []
        for begin in range(0, len(asked), BATCH):
            some = asked[begin : begin + BATCH]
            out += self.model.answers(self._asked(some, motions), None, MAX_TOKENS, 0.0)
        return out

    def looks(self, asked: Sequence[Conversation], motions: Motions) -> list[list[list[float]]]:
        """Return for each conversation and motion the key frames, seconds from the motion's beginning."""
        out = []
        for c in asked:
            found = self.model.key_frames(self._asked([c], motions)[0])
            starts = [motions.motion(m).start_s for m in c.motions]
            out.append([[k.time_s - start for k in keys] for keys, start in zip(found, starts, strict=False)])
        return out

    def _asked(self, some: Sequence[Conversation], motions: Motions) -> list[Any]:
        from lmm.models.conversation import Asked

        clips: dict[str, Any] = {}
        for recipe in (m for c in some for m in c.motions):
            if str(recipe) not in clips:
                clips[str(recipe)] = self.model.read(motions.motion(recipe))
        out = []
        for c in some:
            said = [m["content"] for m in c.messages[:-2]]
            history = tuple(zip(said[::2], said[1::2], strict=True))
            out.append(Asked(c.question, tuple(clips[str(m)] for m in c.motions), history))
        return out


class Rules:
    label: str = "rules"
    kinds: tuple[str, ...] | None = None

    def fit(self, fold: Fold, motions: Motions) -> None:
        self._reading = Reading(fold.train)
        self._majority = Majority()
        self._majority.fit(fold, motions)
        known = {str(c.motions[0]): c for c in fold.train if c.kind in ("exercise", "correct")}
        found: dict[tuple[str, bool], list[Array]] = defaultdict(list)
        for c in known.values():
            about = c.provenance["about"]
            found[str(about["exercise"]), bool(about["correct"])].append(self._of(motions.motion(c.motions[0])))
        everything = np.stack([v for rows in found.values() for v in rows]) if found else np.zeros((1, 1))
        self._spread = np.maximum(np.nanstd(everything, axis=0), 1.0)
        self._means = {k: np.nanmean(np.stack(v), axis=0) for k, v in found.items()}

    def answers(self, asked: Sequence[Conversation], motions: Motions) -> list[str]:
        out = []
        for c in asked:
            kind, form = self._reading.of(c)
            truth = None if kind == REFUSES else self._truth(kind, form, c, [motions.motion(m) for m in c.motions])
            if truth is None:
                out.append(CANNOT if kind not in ("caption", "next") else self._majority.answers([c], motions)[0])
            else:
                out.append(_said(kind, truth))
        return out

    def _truth(self, kind: str, form: str, c: Conversation, found: list[Motion]) -> dict[str, Any] | None:
        motion, question = found[0], c.question.lower()
        if kind == "compare":
            return self._compare(form, found)
        if kind == "sequence":
            return self._sequence(form, question, motion)
        if kind == "angle":
            side, joint = "left" if "left" in question else "right", {"arm": "shoulder_elevation"}.get(form, form)
            values = joint_angles(motion).get(f"{side}_{joint}")
            if values is None or np.isfinite(values).mean() < LEAST_SEEN:
                return None
            return {"degrees": 5 * round(float(np.nanpercentile(values, OUTER)) / 5)}
        simple: dict[str, Callable[[], Any]] = {
            "exercise": lambda: {"exercise": self._nearest(motion)[0]},
            "correct": lambda: {"correct": self._form(motion) > 0},
            "count": lambda: {"count": len(repetitions(motion))},
            "duration": lambda: {"seconds": round(motion.seconds)},
        }
        if kind in simple:
            return simple[kind]() if self._means or kind in ("count", "duration") else None
        told = facts(motion)
        if told is None:
            return None
        if kind == "side":
            moves = moving_side(told, "leg" if "leg" in question else "arm")
            return {"side": moves} if moves else None
        if kind == "direction":
            return {"direction": told.direction} if told.direction else None
        return {"turn": told.turn or "none"} if kind == "turn" else None

    def _compare(self, form: str, found: list[Motion]) -> dict[str, Any] | None:
        if len(found) < 2:
            return None
        if form == "correct" and self._means:
            a, b = (self._form(m) for m in found)
        elif form == "more":
            a, b = (float(len(repetitions(m))) for m in found)
        elif form == "longer":
            a, b = (m.seconds for m in found)
        else:
            told = [facts(m) for m in found]
            if told[0] is None or told[1] is None:
                return None
            if form == "deeper":
                a, b = told[0].knee_deg, told[1].knee_deg
            elif told[0].direction and told[1].direction:
                a, b = told[0].speed_mps, told[1].speed_mps
            else:
                a, b = -found[0].seconds, -found[1].seconds
        return {"compare": "first" if a > b else "second" if b > a else "same"}

    def _sequence(self, form: str, question: str, motion: Motion) -> dict[str, Any] | None:
        """Name each repetition, and take those of one name that follow each other as one."""
        order: list[str] = []
        for r in repetitions(motion) if self._means else []:
            begin, end = (round((t - motion.start_s) * motion.fps) for t in (r.start_s, r.end_s))
            if end - begin > 3:
                name = self._nearest(motion.crop(max(begin, 0), min(end, motion.num_frames)))[0]
                order += [name] if not order or order[-1] != name else []
        if not order:
            return None
        asked = next((e for e in exercises() if e in question), None)
        if form in ("after", "before"):
            step = 1 if form == "after" else -1
            at = order.index(asked) + step if asked in order else -1
            return {"sequence": [order[at]]} if 0 <= at < len(order) else None
        return {"sequence": order if form == "order" else [order[0 if form == "first" else -1]]}

    def _nearest(self, motion: Motion) -> tuple[str, bool]:
        off = self._away(self._of(motion))
        return min(off, key=lambda k: off[k])

    def _form(self, motion: Motion) -> float:
        """Return how much nearer the nearest exercise's correct mean is than its incorrect one."""
        values = self._of(motion)
        off, name = self._away(values), self._nearest(motion)[0]
        return off.get((name, False), np.inf) - off.get((name, True), np.inf)

    def _away(self, values: Array) -> dict[tuple[str, bool], float]:
        """Return the mean square distance, in spreads, over what is seen."""
        off = {k: (values - m) / self._spread for k, m in self._means.items()}
        return {k: float(np.nanmean(v**2)) if np.isfinite(v).any() else np.inf for k, v in off.items()}

    def _of(self, motion: Motion) -> Array:
        """Return least, greatest and range of angles in degrees: of the side that moves more, then of the other."""
        angles = joint_angles(motion)
        sides = []
        for side in ("left", "right"):
            rows = [_range(angles.get(f"{side}_{name}")) for name in ANGLES]
            sides.append(np.concatenate(rows))
        sides.sort(key=lambda v: -np.nansum(v[2::3]))
        return np.concatenate([*sides, _range(angles.get("trunk_forward"))])


def _range(values: Array | None) -> Array:
    if values is None or np.isfinite(values).mean() < 0.5:
        return np.full(3, np.nan)
    low, high = np.nanpercentile(values, [2, 98])
    return np.array([low, high, high - low])


def _group(c: Conversation) -> int:
    return min(pieces(c), 2)


def _stated(c: Conversation) -> str:
    return f"{c.kind} {sorted(c.truth.items())}"


def _said(kind: str, truth: dict[str, Any]) -> str:
    return answered(kind, truth, {"limb": "limb"}, Random(0))


RIVALS: dict[str, Callable[[], Asker]] = {
    "majority": Majority, "rules": Rules, "minirocket": Rocket, "constant": Constant, "peaks": Peaks,
}  # fmt: skip
