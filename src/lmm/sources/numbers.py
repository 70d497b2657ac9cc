"""Fast and strict parsing of blocks of decimal numbers in text formats."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm.core.errors import InputError

MAX_NUMBER = 1e12


def parse_block(text: str, columns: int, source: str | Path, first_line: int = 1, separator: str = " ") -> NDArray[Any]:
    """Return float64 (rows, columns) from lines of numbers; blank lines at the end are ignored.

    Numbers on one row may be split by any white space when `separator` is a space. Raises InputError that names the
    first line which holds something else, or another count of numbers.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    values = np.empty(0)
    if separator == " " or all(line.count(separator) == columns - 1 for line in lines):
        with warnings.catch_warnings(), contextlib.suppress(ValueError):
            warnings.simplefilter("ignore")
            # np.fromstring takes a line end for white space, but for no other separator
            values = np.fromstring(text.replace(separator, " "), dtype=np.float64, sep=" ")
    if values.size == len(lines) * columns and values.size:
        return values.reshape(-1, columns)
    # The slow road: find the culprit, or accept what np.fromstring was too strict for.
    out = []
    for number, line in enumerate(text.splitlines(), start=first_line):
        fields = line.split() if separator == " " else [f.strip() for f in line.split(separator)]
        if not line.strip():
            continue
        if len(fields) != columns:
            raise InputError(
                source,
                f"line {number} has {len(fields)} numbers, {columns} were expected",
                "The file may be cut or damaged: export it again",
            )
        try:
            out.append(np.array([float(f) for f in fields]))
        except ValueError as e:
            raise InputError(source, f"line {number}: {e}", "The file may be damaged: export it again") from None
    return np.stack(out) if out else np.empty((0, columns))


def bounded(values: ArrayLike, what: str, source: str | Path) -> None:
    """Raise InputError if a number in `values` is not finite, or beyond MAX_NUMBER: sums of products would overflow."""
    found = np.asarray(values, np.float64)
    bad = found[~(np.abs(found) <= MAX_NUMBER)]
    if bad.size:
        raise InputError(
            source,
            f"has {what} that is not finite or beyond {MAX_NUMBER:g} ({bad.flat[0]:g})",
            "The file may be damaged: export it again",
        )
