"""Instructions: conversations about motions, each with the truth that its last answer states, and where that is from.

`instructions` makes them of stores: from labels, and from what is measured beyond doubt. `read_instructions` and
`write_instructions` keep them as JSON lines, in which motions are recipes (`recipes`) and messages are in the form that
TRL and Hugging Face use, so that users add their own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from lmm.core.errors import InputError, LmmError
from lmm.core.writing import write_bytes
from lmm.datasets.answers import QUESTIONS as QUESTIONS
from lmm.datasets.answers import parse_answer as parse_answer
from lmm.datasets.pairs import KIT_LICENCE, read_kit
from lmm.datasets.questions import asked
from lmm.datasets.recipes import Motions as Motions
from lmm.datasets.recipes import Recipe, checked
from lmm.datasets.scenes import scenes
from lmm.datasets.store import Store
from lmm.sources.files import Input

GENERATOR = "lmm-1"
MAX_LINES, MAX_LINE = 2_000_000, 100_000
MAX_MESSAGES, MAX_MESSAGE, MAX_MOMENTS = 100, 10_000, 1000


@dataclass(frozen=True)
class Conversation:
    """One conversation about one motion, or about two that are compared.

    motions     recipes
    messages    {"role": "user" or "assistant", "content"}, in turn, the user first, the assistant last
    kind        of the last question, one of QUESTIONS, or a name of the user's own
    truth       what the last answer states: what `parse_answer(kind, answer)` returns; empty where that is not known
    moments_s   for each motion, the instants in seconds from its beginning on which the answer rests: the height of
                each repetition, the greatest bend; none where no instant says it
    split       ``train``, ``val``, ``test``, ``zero-shot`` or ``evaluation``
    licence     of motions and words
    provenance  source (label, measured or caption), of (the data), generator, about (labels of the motion), and where
                a kind has them, form (which question it is) and reason (why it cannot be answered)
    """

    id: str
    motions: list[Recipe]
    messages: list[dict[str, str]]
    kind: str
    truth: dict[str, Any]
    moments_s: list[list[float]]
    split: str
    subject: str
    licence: str
    provenance: dict[str, Any]

    @property
    def question(self) -> str:
        """The last question."""
        return self.messages[-2]["content"]

    @property
    def answer(self) -> str:
        """The last answer."""
        return self.messages[-1]["content"]


def instructions(
    stores: Iterable[str | Path | Store] | Motions, seed: int = 0, per_motion: int = 4, kit: str | Path | None = None
) -> Iterator[Conversation]:
    """Yield conversations about the clips of stores, in their order: the same for the same seed.

    Each motion, a clip or a sequence of joined clips, has up to `per_motion` conversations of different kinds. `kit` is
    a ``pairs.jsonl`` with KIT-ML's sentences for CMU trials: their split is ``evaluation``.
    Raises InputError if a store or the list cannot be read.
    """
    motions = stores if isinstance(stores, Motions) else Motions(stores)
    spoken = read_kit(Path(kit)) if kit is not None else {}
    for scene in scenes(motions, seed, spoken, KIT_LICENCE):
        about = scene.about
        for n, turn in enumerate(asked(scene, seed, per_motion)):
            yield Conversation(
                id=f"{scene.name}/{n}",
                motions=turn.motions,
                messages=turn.messages,
                kind=turn.kind,
                truth=turn.truth,
                moments_s=turn.moments_s,
                split=scene.split,
                subject=scene.subject,
                licence=scene.licence,
                provenance={**turn.why, "of": scene.of, "generator": f"{GENERATOR}/{seed}", "about": about},
            )


def write_instructions(conversations: Iterable[Conversation], path: str | Path) -> int:
    """Write conversations as JSON lines, whole or not at all; return how many. Raises InputError."""
    lines = [json.dumps(vars(c), ensure_ascii=False) for c in conversations]
    write_bytes(Path(path), "".join(line + "\n" for line in lines).encode())
    return len(lines)


def read_instructions(path: str | Path) -> list[Conversation]:
    """Return the conversations of a JSON lines file. Paths of motions in it are relative to its folder.

    Only motions and messages are needed. Raises InputError naming the first line that is none.
    """
    path = Path(path)
    out = []
    for number, line in enumerate(Input(path).text().split("\n"), start=1):
        if line.strip():
            if number > MAX_LINES or len(line) > MAX_LINE:
                raise InputError(path, f"line {number} is over the limit of {MAX_LINES} lines of {MAX_LINE} characters")
            try:
                out.append(_conversation(json.loads(line), path.parent, number))
            except (LmmError, ValueError, KeyError, TypeError, RecursionError) as e:
                raise InputError(
                    path, f"line {number} is no conversation ({e})", "docs/instructions.md says what one is"
                ) from None
    return out


def _conversation(row: Any, folder: Path, number: int) -> Conversation:
    if not isinstance(row, dict):
        raise LmmError("a line is a JSON object")
    if unknown := row.keys() - {f.name for f in fields(Conversation)}:
        raise LmmError(f"it has {min(unknown)!r}")
    motions = [checked(m) for m in _list(row, "motions", 2)]
    if not motions:
        raise LmmError("motions are one recipe or two")
    for recipe in motions:
        if "path" in recipe:
            recipe["path"] = str(folder / recipe["path"])
    moments = _list(row, "moments_s", 2) or [[] for _ in motions]
    if len(moments) != len(motions) or not all(_instants(m) for m in moments):
        raise LmmError("moments_s has a list of seconds for each motion")
    return Conversation(
        id=_text(row, "id", str(number)),
        motions=motions,
        messages=_messages(row["messages"]),
        kind=_text(row, "kind", "own"),
        truth=_object(row, "truth"),
        moments_s=[[float(t) for t in m] for m in moments],
        split=_text(row, "split", "train"),
        subject=_text(row, "subject", ""),
        licence=_text(row, "licence", ""),
        provenance=_object(row, "provenance"),
    )


def _messages(given: Any) -> list[dict[str, str]]:
    if not isinstance(given, list) or not 0 < len(given) <= MAX_MESSAGES or len(given) % 2:
        raise LmmError("messages are questions and answers in turn")
    for k, message in enumerate(given):
        role = "assistant" if k % 2 else "user"
        if not isinstance(message, dict) or message.keys() != {"role", "content"} or message["role"] != role:
            raise LmmError(f"message {k + 1} has role {role!r} and content")
        if not isinstance(message["content"], str) or not 0 < len(message["content"].strip()) <= MAX_MESSAGE:
            raise LmmError(f"message {k + 1} has no text, or one over {MAX_MESSAGE} characters")
    return given


def _instants(given: Any) -> bool:
    return (
        isinstance(given, list)
        and len(given) <= MAX_MOMENTS
        and all(isinstance(t, (int, float)) and not isinstance(t, bool) and 0 <= t < 1e6 for t in given)
    )


def _list(row: dict[str, Any], name: str, most: int) -> list[Any]:
    value = row.get(name, [])
    if not isinstance(value, list) or len(value) > most:
        raise LmmError(f"{name} is a list of at most {most}")
    return value


def _text(row: dict[str, Any], name: str, default: str) -> str:
    value = row.get(name, default)
    if not isinstance(value, str) or len(value) > MAX_MESSAGE:
        raise LmmError(f"{name} is a text")
    return value


def _object(row: dict[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name, {})
    if not isinstance(value, dict):
        raise LmmError(f"{name} is a JSON object")
    return value
