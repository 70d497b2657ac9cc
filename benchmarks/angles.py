"""Our joint angles against those of marker models: C3D files of Plug-in Gait hold both markers and model angles.

    python benchmarks/angles.py FILE.c3d [...]

For each angle: root mean square difference, the same less the mean difference (definitions differ by constants: ours
have no static trial), and correlation, over all frames of all files, right and left; in degrees.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import ezc3d
import numpy as np

import lmm
from lmm.analysis.angles import joint_angles

# ours → (Plug-in Gait's label, component, sign): adduction is positive there
PAIRS = {
    "knee": ("KneeAngles", 0, 1),
    "hip_flexion": ("HipAngles", 0, 1),
    "hip_abduction": ("HipAngles", 1, -1),
    "ankle": ("AnkleAngles", 0, 1),
    "elbow": ("ElbowAngles", 0, 1),
}


def main() -> None:
    rows: dict[str, list[tuple[float, float, float, float]]] = defaultdict(list)
    for file in map(Path, sys.argv[1:]):
        model = ezc3d.c3d(str(file))
        labels = model["parameters"]["POINT"]["LABELS"]["value"]
        told = model["data"]["points"]
        ours = joint_angles(lmm.to_body25(lmm.read(file)))
        for name, (label, component, sign) in PAIRS.items():
            for side in ("right", "left"):
                key = f"{side[0].upper()}{label}"
                if key not in labels or f"{side}_{name}" not in ours:
                    continue
                theirs = sign * told[component, labels.index(key)]
                mine = ours[f"{side}_{name}"]
                known = np.isfinite(theirs) & np.isfinite(mine) & (np.abs(told[:3, labels.index(key)]).sum(0) > 0)
                if known.sum() < 10:
                    continue
                off = mine[known] - theirs[known]
                rms, rest = np.sqrt((off**2).mean()), off.std()
                spread = theirs[known].std()
                same = np.corrcoef(mine[known], theirs[known])[0, 1] if spread > 2 else np.nan
                rows[name].append((rms, rest, same, np.ptp(theirs[known])))
                print(f"{file.name:32} {side:6} {name:14} rms {rms:5.1f}  less mean {rest:5.1f}  r {same:5.2f}")
    print("\nmedian over files and sides")
    for name, values in rows.items():
        rms, rest, same, span = np.nanmedian(np.array(values), axis=0)
        print(f"{name:14} rms {rms:5.1f}  less mean {rest:5.1f}  r {same:5.2f}  range of theirs {span:5.1f}")


if __name__ == "__main__":
    main()
