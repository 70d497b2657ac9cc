"""What is known of the CMU database's BVH releases: their unit, their T-pose, and their missing thorax.

The releases (B. Hahne, cgspeed.com) do not state their unit. The MotionBuilder-friendly one is in ASF units (1/0.45
inch), starts with a T-pose, and gives the thorax bone (Spine1 to Neck and collars) and the wrist bones zero length, so
that the upper body sits about 12 cm low. The Daz-friendly one is one fixed figure at 10.4 mm a unit (fitted).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

LICENCE = "CMU Graphics Lab Motion Capture Database, free for all uses; acknowledge mocap.cs.cmu.edu, NSF EIA-0196217"
ASF_UNIT_M = 0.0254 / 0.45
DAZ_UNIT_M = 0.0104
THORAX_TO_UPPER_BACK = 1.012  # 1.00 to 1.04 in the ASF files of nine subjects
HAND_TO_FOREARM = 0.5  # exactly so in every CMU ASF


@dataclass
class Release:
    """How a recognised release is read. `repairs` holds new offsets, file units, by joint name."""

    unit_m: float
    notes: list[str] = field(default_factory=list)
    repairs: dict[str, NDArray[Any]] = field(default_factory=dict)


# (lower spine, upper back, thorax end, collars, elbows → wrists → hands) under the two naming schemes of the release
_NAMES = (
    (
        "Spine",
        "Spine1",
        ("Neck", "LeftShoulder", "RightShoulder"),
        (("LeftHand", "LeftFingerBase"), ("RightHand", "RightFingerBase")),
    ),
    ("Chest", "Chest2", ("lowerneck", "LeftCollar", "RightCollar"), (("LeftWrist", "lhand"), ("RightWrist", "rhand"))),
)


def release(names: list[str], offsets: NDArray[Any]) -> Release | None:
    """Return how to read a BVH of these joints (with end sites) and offsets (J, 3) if it is one of CMU's, else None."""
    where = {n: i for i, n in enumerate(names)}
    if (
        "abdomen" in where
        and "lButtock" in where
        and np.allclose(offsets[where["abdomen"]], (0, 20.6881, -0.73152), atol=1e-3)
    ):
        return Release(
            DAZ_UNIT_M,
            ["CMU's Daz-friendly release: the motion is retargeted to one figure, bone lengths are not the actor's"],
        )
    if not ({"LHipJoint", "RHipJoint", "LThumb", "RThumb"} <= set(where)):
        return None
    for lower, upper, ends, hands in _NAMES:
        if {lower, upper, *ends} <= set(where):
            found = Release(ASF_UNIT_M)
            if not any(offsets[where[e]].any() for e in ends):
                thorax = offsets[where[upper]] * THORAX_TO_UPPER_BACK
                found.repairs |= dict.fromkeys(ends, thorax)
                found.notes.append(
                    "the thorax has zero length in this release; repaired by the rule for CMU (1.012 x the upper back)"
                )
            for wrist, hand in hands:
                if wrist in where and hand in where and not offsets[where[hand]].any():
                    found.repairs[hand] = offsets[where[wrist]] * HAND_TO_FOREARM
            return found
    return None


def t_pose_frames(root_rotations: NDArray[Any]) -> int:
    """Return how many leading frames are the release's T-pose: their root rotation (T, 3) is exactly zero."""
    turned = root_rotations.any(axis=1)
    return int(np.argmax(turned)) if turned.any() else 0


def subject_of(name: str) -> dict[str, str]:
    """Return subject, trial and split group from a CMU trial or file name such as ``07_01.bvh``.

    Subjects 60 and 61 dance with each other in the same trials, and share a split group.
    """
    match = re.match(r"(\d{2,3})_(\d{2})", name)
    if not match:
        return {}
    group = "60" if match[1] == "61" else match[1]
    return {"subject": f"cmu_{match[1]}", "trial": f"{match[1]}_{match[2]}", "split_group": f"cmu_{group}"}
