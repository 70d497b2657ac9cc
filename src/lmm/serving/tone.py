"""The colours to ask of viser for lines, so that the screen shows those that were meant.

viser's page takes the colours of lines for linear light and puts them through the ACES film curve, as three.js does;
dots and panels are shown as they are. The curve is S. Hill's fit, of the ACES reference rendering transform.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

INTO = np.array([[0.59719, 0.35458, 0.04823], [0.07600, 0.90834, 0.01566], [0.02840, 0.13383, 0.83777]]) / 0.6
OUT_OF = np.array([[1.60475, -0.53108, -0.07367], [-0.10208, 1.10813, -0.00605], [-0.00327, -0.07276, 1.07602]])
A, B, C, D, E = 0.0245786, 0.000090537, 0.983729, 0.4329510, 0.238081  # (x² + Ax - B) / (Cx² + Dx + E)


def for_lines(colours: Array) -> Array:
    """Return uint8 (..., 3) that viser shows as the sRGB `colours` (..., 3); nothing is shown brighter than 226."""
    shown = colours / 255
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    y = np.clip(light @ np.linalg.inv(OUT_OF).T, 0, 0.999)
    a, b, c = 1 - C * y, A - D * y, B + E * y
    x = (-b + np.sqrt(b * b + 4 * a * c)) / (2 * a)
    return np.asarray(np.rint(np.clip(x @ np.linalg.inv(INTO).T, 0, 1) * 255).astype(np.uint8))
