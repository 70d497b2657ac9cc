"""How far long work is: told where it is done, heard by whoever shows it, and nobody between has to pass it on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int], None]
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def reporting(listener: Listener) -> Iterator[None]:
    """Call `listener` with (done, in all or 0 if unknown) while the block runs, whenever work in it gets on."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def advance(done: int, total: int) -> None:
    """Tell that `done` of `total` steps (0: nobody knows) are done."""
    listener = _listener.get()
    if listener is not None:
        listener(done, total)
