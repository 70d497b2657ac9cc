"""The centre of mass, of segments between joints.

Masses and places of the segments' own centres after P. de Leva, "Adjustments to Zatsiorsky-Seluyanov's segment inertia
parameters", Journal of Biomechanics 29, 1996, table 4, the mean of women and men. Approximate beyond that: the head's
centre is taken a third of the trunk's length above the neck, and weighs with the trunk; hands go with forearms, a
quarter of whose length beyond the wrist; a foot's centre lies a third of the way from ankle to big toe.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.motion import Motion
from lmm.skeletons import BODY_25

Array = NDArray[Any]

# proximal joint, distal joint, share of the body's mass, place of the centre along the segment from the proximal joint
SEGMENTS = [("MidHip", "Neck", 0.4302 + 0.0681, 0.67)] + [
    segment
    for s in "RL"
    for segment in (
        (s + "Shoulder", s + "Elbow", 0.0263, 0.5763),
        (s + "Elbow", s + "Wrist", 0.0150 + 0.0059, 0.68),
        (s + "Hip", s + "Knee", 0.1447, 0.3854),
        (s + "Knee", s + "Ankle", 0.0457, 0.4438),
        (s + "Ankle", s + "BigToe", 0.0133, 0.33),
    )
]


def centre_of_mass(motion: Motion) -> Array:
    """Return the centre of mass (T, D) of a BODY_25 motion, in its own space; NaN where trunk or a leg is missing.

    Arms and feet that are missing in a frame are left out there, and the rest weighs as the whole.
    """
    total, mass = np.zeros((motion.num_frames, motion.num_dims)), np.zeros(motion.num_frames)
    whole = np.ones(motion.num_frames, bool)
    for proximal, distal, share, along in SEGMENTS:
        a, b = (motion.positions[:, BODY_25.index[j]].astype(np.float64) for j in (proximal, distal))
        centre = a + along * (b - a)
        known = np.isfinite(centre).all(1)
        total[known] += share * centre[known]
        mass[known] += share
        if proximal[1:] in ("idHip", "Hip", "Knee"):
            whole &= known
    return np.where(whole[:, None], total / np.maximum(mass, 1e-9)[:, None], np.nan)
