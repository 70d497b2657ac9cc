"""`lmm eval assistant`: every contestant is asked every conversation of the subjects held out; words → scores.

Questions are those of `datasets.instructions`, all kinds that a motion has, at most `samples` of each subject, kind and
setting. Folds are what is held out together: where a model's folder holds folders named by subjects (tools/folds.py
makes them), each subject is asked by the model that never saw it, and all are pooled; else a split is asked. Rivals
(`askers`) are fitted on the training conversations of each fold. Intervals: cluster bootstrap over subjects, paired.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError
from lmm.core.motion import Motion
from lmm.datasets.answers import QUESTIONS
from lmm.datasets.instructions import Conversation, Motions, instructions
from lmm.datasets.recipes import Recipe
from lmm.evaluation import robustness
from lmm.evaluation.askers import RIVALS, Asker, Trained
from lmm.evaluation.assistant_cases import PER_MOTION, REFUSES, SEED, Fold, folds, setting
from lmm.evaluation.assistant_report import report
from lmm.evaluation.assistant_scores import MAIN, moments, scores
from lmm.evaluation.bootstrap import RESAMPLES, confidence, resamples
from lmm.evaluation.language import NO_MODEL

Array = NDArray[Any]
Row = dict[str, Any]
Progress = Callable[[int, int], None]
QUESTIONS_OF_EACH = 100  # of a subject, kind and setting
CURVES = 10  # one in so many is asked again of motions made worse
LEAST = 20  # conversations of a group that has a row
WORSE: dict[str, tuple[Any, tuple[float, ...], str]] = {
    "noise": (robustness.jitter, (0.0, 0.01, 0.02, 0.05, 0.1), "standard deviation of each joint, m"),
    "dropped joints": (robustness.drop_joints, (0, 2, 4, 8, 12), "joints hidden throughout"),
    "dropped frames": (robustness.drop_frames, (0.0, 0.1, 0.3, 0.5, 0.7), "share of frames hidden"),
}
CURVED = ("exercise", "correct", "count")


@dataclass(eq=False)
class Told:
    """What one contestant said to each of the conversations, None where it was not asked; key frames likewise."""

    answers: list[str | None]
    keys: list[list[list[float]] | None]
    seconds: float = 0.0
    worse: dict[str, dict[float, list[str | None]]] = field(default_factory=dict)


def evaluate_assistant(
    data: str, models: str, split: str | None, samples: int | None, device: str, progress: Progress
) -> tuple[Row, str]:
    """Return results.json's content and report.html. `data` are stores, separated by commas; `models` LABEL=FOLDER,
    with commas between them, or ``controls`` for rivals alone. Raises LmmError if one of them cannot be used."""
    motions = Motions([s.strip() for s in data.split(",") if s.strip()])
    trained = entered(models, device)
    subjects = {frozenset(t.folders) for t in trained}
    if len(subjects) > 1:
        raise LmmError("the models were trained on different folds: compare those of the same subjects held out.")
    held = sorted(subjects.pop() - {""}) if subjects else []
    whole = list(instructions(motions, SEED, PER_MOTION))
    if not trained and split is None:  # rivals alone: each subject of UI-PRMD by the others
        held = sorted({c.subject for c in whole if c.provenance.get("of") == "uiprmd"})
    parts = folds(whole, held, split or "test", samples or QUESTIONS_OF_EACH)
    results = run(parts, [*trained, *(make() for make in RIVALS.values())], motions, progress)
    results = {"protocol": "assistant", "store": data, "split": "folds" if held else split or "test"} | results
    return results, report(results)


def entered(models: str, device: str) -> list[Trained]:
    """Return the assistants that ``LABEL=FOLDER,...`` names. Raises LmmError where a folder holds none."""
    out: dict[str, Trained] = {}
    for item in (part.strip() for part in models.split(",")):
        label, _, name = item.rpartition("=")
        if item == NO_MODEL:
            continue
        label, folder = label or Path(name).name, Path(name)
        found = {"": folder} if _is_model(folder) else {}
        if not found and folder.is_dir():
            children = ((p.name, p / "best" if (p / "best").is_dir() else p) for p in sorted(folder.iterdir()))
            found = {n: p for n, p in children if _is_model(p)}
        if not found or label in out:
            raise LmmError(
                f"--models: {item!r} {'comes twice' if label in out else 'is no assistant, nor folds of one'}."
            )
        out[label] = Trained(label, found, device)
    return list(out.values())


def run(parts: Sequence[Fold], askers: Sequence[Asker], motions: Motions, progress: Progress) -> Row:
    """Ask all, and return rows of scores."""
    import time

    asked = [c for fold in parts for c in fold.test]
    told = {a.label: Told([None] * len(asked), [None] * len(asked)) for a in askers}
    some = [i for i, c in enumerate(asked) if c.kind in CURVED]
    again = set(some[::CURVES])
    done, begin, total = 0, 0, len(parts) * len(askers)
    for fold in parts:
        numbers = range(begin, begin + len(fold.test))
        for asker in askers:
            asker.fit(fold, motions)
            own = told[asker.label]
            rows = [i for i in numbers if asker.kinds is None or asked[i].kind in asker.kinds]
            since = time.monotonic()
            for i, answer in zip(rows, asker.answers([asked[i] for i in rows], motions), strict=True):
                own.answers[i] = answer
            own.seconds += time.monotonic() - since
            if isinstance(asker, Trained):
                looked = [i for i in rows if any(asked[i].moments_s)]
                for i, keys in zip(looked, asker.looks([asked[i] for i in looked], motions), strict=True):
                    own.keys[i] = keys
            if asker.label not in ("majority", "constant"):
                _again(asker, [i for i in rows if i in again], asked, motions, own)
            done += 1
            progress(done, total)
        begin += len(fold.test)
    lengths = [[motions.motion(m).seconds for m in c.motions] for c in asked]
    return {
        "folds": [{"name": f.name, "train": len(f.train), "test": len(f.test)} for f in parts],
        "seconds_per_answer": {k: t.seconds / max(1, sum(a is not None for a in t.answers)) for k, t in told.items()},
        "scores": _rows(asked, told),
        "moments": _moment_rows(asked, told, lengths),
        "curves": _curves(asked, told),
        "said": _examples(asked, told),
        "intervals": f"95 %, {RESAMPLES} resamples of subjects, then of their conversations; differences paired",
    }


def _again(asker: Asker, rows: list[int], asked: Sequence[Conversation], motions: Motions, own: Told) -> None:
    for name, (change, levels, _) in WORSE.items():
        for level in levels:
            worse = Worse(motions, change, level)
            kept = own.worse.setdefault(name, {}).setdefault(level, [None] * len(asked))
            for i, answer in zip(rows, asker.answers([asked[i] for i in rows], worse) if rows else [], strict=True):
                kept[i] = answer


class Worse(Motions):
    """Motions that are made worse, each the same way every time."""

    def __init__(self, motions: Motions, change: Any, level: float) -> None:
        self._of, self._change, self._level = motions, change, level

    def motion(self, recipe: Recipe) -> Motion:
        rng = np.random.default_rng(zlib.crc32(json.dumps(recipe, sort_keys=True).encode()))
        motion = self._of.motion(recipe)
        changed: Motion = self._change(motion, motion.num_frames, self._level, 1.0, rng)[0]
        return changed


def groups(c: Conversation) -> list[str]:
    """Return the rows in which a conversation counts."""
    exercise = (c.provenance.get("about") or {}).get("exercise")
    return ["all", setting(c), *([str(exercise)] if exercise and c.kind in ("exercise", "correct", "count") else [])]


def _rows(asked: Sequence[Conversation], told: dict[str, Told]) -> list[Row]:
    """Return a row for each kind, group and contestant, with what it differs from the first contestant's main score."""
    out = []
    for kind in QUESTIONS:
        own = [i for i, c in enumerate(asked) if kind in (c.kind, REFUSES)]
        names = list(
            dict.fromkeys(g for i in own for g in ([*groups(asked[i])][:2] if kind == REFUSES else groups(asked[i])))
        )
        for group in ["all", *sorted(set(names) - {"all"})] if own else []:
            here = [i for i in own if group in groups(asked[i])]
            if len(here) < LEAST or (kind == REFUSES and not any(asked[i].kind == REFUSES for i in here)):
                continue
            subjects = [asked[i].subject for i in here]
            people = sorted(set(subjects))
            each = np.array([[float(s == p) for s in subjects] for p in people])
            weights = np.concatenate([resamples(subjects), each])
            first: Array | None = None
            for label, t in told.items():
                answers = [t.answers[i] for i in here]
                if None in answers:
                    continue
                found = scores(kind, [asked[i] for i in here], [str(a) for a in answers], weights)
                row = _row({"kind": kind, "group": group, "model": label}, found, len(people))
                row |= {"conversations": len(here), "subjects": len(people), "main": MAIN[kind]}
                row["by_subject"] = dict(
                    zip(people, (_number(v) for v in found[MAIN[kind]][-len(people) :]), strict=True)
                )
                main = found[MAIN[kind]][: -len(people)]
                if first is None:
                    first, row["against"] = main, None
                else:
                    low, high = confidence(first - main)
                    row["against"] = {"difference": _number(first[0] - main[0]), "ci95": [_number(low), _number(high)]}
                out.append(row)
    return out


def _moment_rows(asked: Sequence[Conversation], told: dict[str, Told], lengths: list[list[float]]) -> list[Row]:
    out = []
    for label, t in told.items():
        for kind in ("all", *QUESTIONS):
            here = [i for i, k in enumerate(t.keys) if k is not None and kind in ("all", asked[i].kind)]
            if len(here) >= LEAST:
                weights = resamples([asked[i].subject for i in here])
                found = moments(
                    [asked[i] for i in here], [t.keys[i] or [] for i in here], [lengths[i] for i in here], weights
                )
                out.append(_row({"model": label, "kind": kind, "conversations": len(here)}, found, 0))
    return out


def _curves(asked: Sequence[Conversation], told: dict[str, Told]) -> list[Row]:
    out = []
    for label, t in told.items():
        for name, levels in t.worse.items():
            for kind in CURVED:
                for level, answers in levels.items():
                    here = [i for i, a in enumerate(answers) if a is not None and asked[i].kind == kind]
                    if len(here) >= LEAST:
                        weights = resamples([asked[i].subject for i in here])
                        found = scores(kind, [asked[i] for i in here], [str(answers[i]) for i in here], weights)
                        row: Row = {
                            "model": label,
                            "change": name,
                            "unit": WORSE[name][2],
                            "level": level,
                            "kind": kind,
                        }
                        out.append(_row(row | {"conversations": len(here)}, found, 0))
    return out


def _row(row: Row, found: dict[str, Array], people: int) -> Row:
    """Return the row with the estimates and intervals of scores (1 + resamples + people,)."""
    drawn = {k: v[: len(v) - people] for k, v in found.items()}
    row |= {k: _number(v[0]) for k, v in drawn.items()}
    row["ci95"] = {k: [_number(x) for x in confidence(v)] for k, v in drawn.items()}
    return row


def _examples(asked: Sequence[Conversation], told: dict[str, Told]) -> list[Row]:
    """Return the middle conversation of each kind, whatever came of it, and what all said."""
    out = []
    for kind in QUESTIONS:
        own = [i for i, c in enumerate(asked) if c.kind == kind]
        if own:
            i = own[len(own) // 2]
            said = {label: t.answers[i] for label, t in told.items() if t.answers[i] is not None}
            out.append(
                {"kind": kind, "id": asked[i].id, "question": asked[i].question, "right": asked[i].answer, "said": said}
            )
    return out


def _is_model(folder: Path) -> bool:
    try:
        return json.loads((folder / "config.json").read_text("utf-8")).get("architecture") == "assistant"
    except (OSError, ValueError, AttributeError):
        return False


def _number(x: Any) -> float | None:
    return float(x) if np.isfinite(x) else None
