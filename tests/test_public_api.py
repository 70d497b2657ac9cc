"""Public names are frozen: a change here is a change for users, and needs a line in CHANGELOG.md."""

from __future__ import annotations

import inspect

import lmm


def test_public_names() -> None:
    assert lmm.__all__ == [
        "__version__", "Motion", "Skeleton", "LmmError", "InputError", "MotionError", "read", "read_people", "clean",
        "to_body25", "forecast", "generate", "describe", "ask", "Chat", "analyse", "render", "ingest", "Store",
        "tokens",
    ]  # fmt: skip
    for name in lmm.__all__:
        assert getattr(lmm, name) is not None


def test_signatures_of_the_contract() -> None:
    read = list(inspect.signature(lmm.read).parameters)
    assert read[:6] == ["path", "format", "person", "source_fps", "units", "up"]
    assert list(inspect.signature(lmm.forecast).parameters) == ["motion", "model", "seconds", "samples", "seed"]


def test_public_things_have_docstrings() -> None:
    for name in lmm.__all__[1:]:
        assert inspect.getdoc(getattr(lmm, name)), name
