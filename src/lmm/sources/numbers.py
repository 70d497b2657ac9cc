"""Fast and strict parsing of blocks of decimal numbers in text formats."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError


def parse_block(text: str, columns: int, source: str | Path, first_line: int = 1, separator: str = " ") -> NDArray[Any]:
    """Return float64 (rows, columns) from lines of numbers; blank lines at the end are ignored.

    Numbers on one row may be split by any white space when `separator` is a space. Raises InputError that names the
    first line which holds something else, or another count of numbers.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            values = np.fromstring(text, dtype=np.float64, sep=separator)
        except ValueError:
            values = np.empty(0)
    rows = [line for line in text.splitlines() if line.strip()]
    if values.size == len(rows) * columns and values.size:
        return values.reshape(-1, columns)
    # The slow road: find the culprit, or accept what np.fromstring was too strict for.
    out = np.empty((len(rows), columns))
    for i, line in enumerate(text.splitlines()):
        fields = line.split() if separator == " " else [f.strip() for f in line.rstrip("\r\n").split(separator)]
        if not line.strip():
            continue
        try:
            if len(fields) != columns:
                raise InputError(source, f"line {first_line + i} has {len(fields)} numbers, {columns} were expected", "The file may be cut or damaged: export it again")
            out[i if len(rows) > i else -1] = [float(f) for f in fields]
        except ValueError as e:
            raise InputError(source, f"line {first_line + i}: {e}", "The file may be damaged: export it again") from None
    return out
