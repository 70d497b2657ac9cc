"""Skeletons from labels in a file: which table fits, and which way is up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError, MotionError, NotMotionError, one_line
from lmm.core.geometry import y_up_from
from lmm.core.skeleton import Skeleton, left_right_pairs
from lmm.skeletons import Table, best_table

HIERARCHIES = ("mocap", "bandai", "daz", "keypoints")
POINTS = ("markers", "keypoints", "mocap", "uiprmd_kinect")


def labelled_skeleton(
    name: str, labels: list[str], parents: tuple[int, ...], candidates: tuple[str, ...], path: Path
) -> tuple[Skeleton, Table]:
    """Return the skeleton of a file that names its joints or markers, and its table.

    Labels that occur again get a number. Raises NotMotionError if no table makes a body of them.
    """
    seen: dict[str, int] = {}
    unique = []
    for label in (one_line(x, 100) for x in labels):
        seen[label] = seen.get(label, 0) + 1
        unique.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    table = best_table(unique, candidates)
    if table is None:
        shown = ", ".join(unique[:8]) + (" ..." if len(unique) > 8 else "")
        raise NotMotionError(
            path,
            f"has no names of a human body that lmm knows ({shown})",
            "Add them to a table in src/lmm/skeletons/tables; see CONTRIBUTING.md",
        )
    try:
        return Skeleton(name, tuple(unique), parents, left_right_pairs(unique), table.name), table
    except MotionError as e:
        raise InputError(path, f"has no usable skeleton: {e}", "Export it again") from None


def turn_y_up(
    positions: NDArray[Any], labels: tuple[str, ...], table: Table, up: str | None, stated: str | None, path: Path
) -> tuple[NDArray[Any], str]:
    """Return positions (T, J, 3) turned to y up, and how the vertical was known.

    The user's `up` goes first, then what the file states, then the body: the table's (lower, upper) pairs must agree
    on one axis (mean direction within 40 degrees of it). Raises InputError that names --up if they do not.
    """
    if up or stated:
        return y_up_from(
            up or stated or "y", positions
        ), f"{up or stated} up, {'as given' if up else 'as the file says'}"
    where = table.resolve(labels)
    total = np.zeros(3)
    for low, high in table.below_above:
        if low in where and high in where:
            d = positions[:, where[high]] - positions[:, where[low]]
            d = d[np.isfinite(d).all(axis=1)]
            if len(d):
                total += np.median(d, axis=0)
    length = float(np.linalg.norm(total))
    k = int(np.argmax(np.abs(total)))
    if length == 0 or abs(total[k]) < 0.766 * length:
        raise InputError(path, "does not say which axis is up, and the body does not show it", "Give --up y or --up z")
    axis = ("" if total[k] > 0 else "-") + "xyz"[k]
    return y_up_from(axis, positions), f"{axis} up, judged by the body"
