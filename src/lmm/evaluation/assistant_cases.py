"""Which conversations an assistant is tested on, which ones its rivals may learn from, and how a question is read."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

from lmm.core.errors import LmmError
from lmm.datasets.answers import exercises
from lmm.datasets.instructions import Conversation

SEED, PER_MOTION = 6, 99  # of the conversations: of each motion, every kind that it has
REFUSES = "unanswerable"


@dataclass(frozen=True)
class Fold:
    """What is tested together: conversations of subjects held out, and those of the others that may be learned from."""

    name: str
    train: list[Conversation]
    test: list[Conversation]


def folds(conversations: Sequence[Conversation], subjects: Iterable[str], split: str, most: int) -> list[Fold]:
    """Return a fold for each of `subjects`, all of whose conversations are its test; with none, one of a whole split.

    Of each subject, kind and setting `most` are kept in a test. Raises LmmError if a test is empty, or a training set.
    """
    names = list(subjects)
    tests = {n: [c for c in conversations if c.subject == n] for n in names} or {
        split: [c for c in conversations if c.split == split]
    }
    out = []
    for name, test in tests.items():
        held = {c.subject for c in test}
        # one of train that is about a subject of the test is not learned from, wherever subjects have several takes
        train = [c for c in conversations if c.split == "train" and c.subject not in held]
        for what, found in (("to test", test), ("to learn from", train)):
            if not found:
                raise LmmError(f"{name}: there are no conversations {what}. Name other stores, or another --split.")
        out.append(Fold(name, train, kept(test, most)))
    return out


def kept(conversations: Sequence[Conversation], most: int) -> list[Conversation]:
    """Return at most `most` of each subject, kind and setting, drawn evenly and the same each time, in their order."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for i, c in enumerate(conversations):
        groups[c.subject, c.kind, setting(c)].append(i)
    draw = Random(SEED)
    chosen = [i for g in groups.values() for i in draw.sample(g, min(most, len(g)))]
    return [conversations[i] for i in sorted(chosen)]


def setting(conversation: Conversation) -> str:
    """Return where a motion is from, device or data, and whether it is one repetition, several, or an order."""
    p = conversation.provenance
    about = p.get("about") or {}
    name = str(about.get("device") or p.get("of") or "own data")
    if about.get("order"):
        return f"{name}: several exercises"
    count = about.get("count")
    if not count:
        return name
    return f"{name}: {'one repetition' if pieces(conversation) == 1 else 'repetitions'}"


def pieces(conversation: Conversation) -> int:
    """Return of how many clips the first motion is made."""
    return len(conversation.motions[0].get("pieces", "1"))


def blanked(conversation: Conversation) -> str:
    """Return the question without names of exercises and sides, and how many motions there are."""
    text = conversation.question.lower()
    for name in sorted(exercises(), key=len, reverse=True):
        text = text.replace(name, "_")
    text = re.sub(r"\b(?:left|right)\b", "_", text)
    return f"{len(conversation.motions)} {text}"


class Reading:
    """What a question asks, looked up among the questions of training: no words are understood."""

    def __init__(self, train: Sequence[Conversation]) -> None:
        self._known: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for c in train:
            self._known[blanked(c)][c.kind, str(c.provenance.get("form", ""))] += 1

    def of(self, conversation: Conversation) -> tuple[str, str]:
        """Return kind and form; ``unanswerable`` only where training never answered such a question."""
        found = self._known.get(blanked(conversation), Counter())
        answered = [(n, k) for k, n in found.items() if k[0] != REFUSES]
        return max(answered)[1] if answered else (REFUSES, "")
