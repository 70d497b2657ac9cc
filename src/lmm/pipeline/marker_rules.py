"""Joint centres from skin markers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

RULES: dict[str, Callable[[NDArray[Any], dict[str, float]], NDArray[Any]]] = {}
