"""The errors that lmm raises on purpose. Everything else is a bug.

LmmError                something a user can act on; one line, no traceback
├── InputError          a file or value cannot be used: what, where, what to do
│   └── NotMotionError  a valid file that holds no readable movement (a text, a video, a calibration)
└── MotionError         an operation does not apply to this motion
"""

from __future__ import annotations

from pathlib import Path


class LmmError(Exception):
    """Base of all errors whose message is meant for the user: one printable line, whatever it quotes."""

    def __str__(self) -> str:
        return one_line(super().__str__(), 1000)


class InputError(LmmError):
    """A file cannot be used. The message is ``FILE: what is wrong. What to do.``

    `source` is the file or folder, `problem` what is wrong with it, `remedy` what the user can do.
    """

    def __init__(self, source: str | Path, problem: str, remedy: str = "") -> None:
        self.source = str(source)
        self.problem = _sentence(problem)
        self.remedy = _sentence(remedy)
        super().__init__(source, problem, remedy)

    @property
    def reason(self) -> str:
        """What is wrong and what to do, without the file."""
        return f"{self.problem} {self.remedy}".strip()

    def __str__(self) -> str:
        return f"{one_line(self.source)}: {self.reason}"


class NotMotionError(InputError):
    """The file is recognised or readable, but holds no movement that lmm reads."""


class MotionError(LmmError):
    """The operation does not apply to this motion; the message says why and what to do."""


def one_line(text: object, limit: int = 300) -> str:
    """Return `text` on one printable line of at most `limit` characters."""
    flat = " ".join(str(text).split())
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in flat)
    return printable if len(printable) <= limit else printable[: limit - 1] + "…"


def _sentence(text: str) -> str:
    text = one_line(text)
    return text if not text or text[-1] in ".?!…" else text + "."
