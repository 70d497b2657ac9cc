"""`.csv`, a wide table for spreadsheets and data frames: one row a frame.

Columns: ``time_s``, then ``<joint>_x, <joint>_y[, <joint>_z], <joint>_confidence`` for each joint; pixels (y down), or
metres (y up) where there is a z. Missing positions are empty cells with confidence 0. Numbers have the digits that give
the same float back. `lmm.sources.keypoint_csv` reads it again (3D with ``--units m --up y``).
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from lmm.core.motion import Motion
from lmm.exports import needs, one_motion


@one_motion(".csv")
def encode(motion: Motion, path: Path) -> bytes:
    """Return the file. Raises InputError for normalised motions."""
    needs(motion, path, "image", "world")
    parts = [*"xyz"[: motion.num_dims], "confidence"]
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["time_s", *(f"{j}_{p}" for j in motion.skeleton.joints for p in parts)])
    for time, points, confidence in zip(
        motion.clock.tolist(), motion.positions.tolist(), motion.confidence.tolist(), strict=True
    ):
        cells = [f"{time:.12g}" if motion.times is None else repr(time)]
        for point, c in zip(points, confidence, strict=True):
            cells += ["" if v != v else f"{v:.9g}" for v in point]
            cells.append(f"{c:.9g}")
        table.writerow(cells)
    return out.getvalue().encode()
