"""How far joints move when a motion becomes a rig of constant bones, as in BVH and glTF files.

    python benchmarks/rigs.py STORE [STORE ...] [--every 1]

Millimetres between each joint's place in the motion and on the rig, over all clips (every N-th) of stores in metres.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from lmm.core.errors import MotionError
from lmm.datasets.store import Store
from lmm.pipeline.rig import rig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    for path in options.stores:
        found: dict[str, list[np.ndarray]] = {"all joints": [], "ankles": []}
        clips = refused = 0
        for number, motion in enumerate(Store(path).motions()):
            if number % options.every:
                continue
            try:
                made = rig(motion)
            except MotionError:
                refused += 1
                continue
            clips += 1
            places = made.positions()
            for j, name in enumerate(motion.skeleton.joints):
                if name in made.joints:
                    apart = np.linalg.norm(places[:, made.joints.index(name)] - motion.positions[:, j], axis=-1)
                    for what in ("all joints", *(["ankles"] if "Ankle" in name else [])):
                        found[what].append(1000 * apart[np.isfinite(apart)])
        told = []
        for what, parts in found.items():
            x = np.concatenate(parts)
            told.append(
                f"{what} mean {x.mean():.2f}, 99 % within {np.quantile(x, 0.99):.1f}, all within {x.max():.0f} mm"
            )
        print(f"{path.name}: {clips} clips, {refused} refused; {'; '.join(told)}")


if __name__ == "__main__":
    main()
