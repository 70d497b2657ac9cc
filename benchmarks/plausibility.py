"""Ingest every folder of ../shared/data with the options that its README justifies, and tabulate what came of it.

    python benchmarks/plausibility.py [--workers 2]

For each: inputs, clips, frames, refused inputs (with the reason), clips with a warning, and the range of each quality
figure. The table stands in docs/plausibility.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import lmm

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# folder → the options that its README justifies
FOLDERS: dict[str, dict[str, Any]] = {
    "bandai": {},
    "body25_static_poses": {},
    "bvh_samples": {"units": "in"},  # "in inches to judge by the hip height"
    "c3d_samples": {},
    "c3d_samples/kineticstoolkit": {"up": "y"},  # "y up in kineticstoolkit"
    "cmu": {},
    "cmu_bvh_samples": {},
    "coco17_keypoints": {},
    "humanml3d_cmu": {},
    "irds_kinect_v2": {},
    "openpose_body25_json": {"source_fps": 25},  # "all clips 25 fps"
    "openpose_coco18_json": {},  # "frame rate: not stated by the source"
    "pose2sim_balancing": {"source_fps": 60},  # "100 frames at 60 fps"
    "sports2d_demo_video": {},
    "text": {},
    "trc_opensim": {},
    "trc_opensim/dataWithEformat.trc": {"up": "y"},  # upper limb only: the body does not show it
    "uiprmd": {},
}
FIGURES = ("missing", "trunk_m", "hip_height_m", "bone_length_cv", "speed_p99_mps", "upright", "left_is_left")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    workers = parser.parse_args().workers
    print("| folder | options | inputs | clips | frames | refused | warned | " + " | ".join(FIGURES) + " |")
    print("|---" * (7 + len(FIGURES)) + "|")
    totals = [0, 0, 0]
    reasons: dict[tuple[str, str], int] = {}
    for folder, options in FOLDERS.items():
        with tempfile.TemporaryDirectory() as out:
            report = lmm.ingest(DATA / folder, Path(out) / "store", workers=workers, **options)
            clips = lmm.Store(Path(out) / "store").clips()
            figures = [json.loads(q) for q in clips["quality"].to_pylist()]
        shown = " ".join(f"--{k.replace('_', '-')} {v}" for k, v in options.items())
        cells = [
            f"`{folder}`",
            shown,
            report.files,
            report.clips,
            report.frames,
            len(report.refused),
            len(report.warnings),
        ]
        print("| " + " | ".join(map(str, [*cells, *(_range(figures, f) for f in FIGURES)])) + " |", flush=True)
        for warning in report.warnings:
            print(f"warning {warning}")
        for row in report.refused:
            key = (folder, row["reason"])
            reasons[key] = reasons.get(key, 0) + 1
        totals = [a + b for a, b in zip(totals, (report.clips, report.frames, len(report.warnings)), strict=True)]
    print(f"\n{totals[0]} clips, {totals[1]} frames, {totals[2]} warnings. Refused:\n")
    for (folder, reason), count in reasons.items():
        print(f"- `{folder}`, {count}: {reason}")


def _range(figures: list[dict[str, Any]], name: str) -> str:
    values = [f[name] for f in figures if f.get(name) is not None]
    return f"{min(values):.2g} to {max(values):.2g}" if values else "–"


if __name__ == "__main__":
    main()
