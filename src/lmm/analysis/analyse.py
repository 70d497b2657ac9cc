"""`analyse`: a motion → everything that lmm measures of it, as plain numbers and curves."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.analysis.angles import SIDES, joint_angles
from lmm.analysis.mass import centre_of_mass
from lmm.analysis.repetitions import Repetition, repetitions
from lmm.analysis.steps import Step, contacts, rhythm, steps
from lmm.core.errors import MotionError
from lmm.core.motion import Motion
from lmm.pipeline.clean import clean

Array = NDArray[Any]
OUTER = 2.0  # percent of the frames
LEAST_RANGE = 15.0  # degrees: the symmetry of smaller movements is what cameras do not tell


@dataclass(frozen=True, eq=False)
class Analysis:
    """What a motion shows. Curves are (T,), on `clock`, seconds; NaN where a joint is missing.

    motion       the cleaned BODY_25 motion that was measured
    angles       name → degrees (see `lmm.analysis.angles`)
    ranges       name → ``min``, ``max``, ``range``, degrees: of all but the OUTER percent at either end, where single
                 frames that a recording got wrong would count
    symmetry     name → asymmetry of the sides' ranges, (right - left) / mean, from -2 to 2
    repetitions  with start, end and reach
    steps, gait  of motions in metres: feet that come down, and a walk's rhythm, None if nobody walks
    contacts     side → bool (T,)
    mass         (T, D) the centre of mass, in the motion's space
    """

    motion: Motion
    angles: dict[str, Array]
    ranges: dict[str, dict[str, float]]
    symmetry: dict[str, float]
    repetitions: list[Repetition]
    steps: list[Step]
    gait: dict[str, float] | None
    contacts: dict[str, Array]
    mass: Array

    @property
    def clock(self) -> Array:
        return self.motion.clock

    def summary(self) -> dict[str, Any]:
        """Return all but the curves, as plain JSON."""
        moved = self.mass[np.isfinite(self.mass).all(1)]
        return {
            "source": self.motion.meta.get("source"),
            "person": self.motion.meta.get("person"),
            "space": self.motion.space,
            "seconds": round(self.motion.seconds, 3),
            "fps": self.motion.fps,
            "missing_fraction": round(self.motion.missing_fraction, 4),
            "ranges_deg": {k: {n: round(v, 1) for n, v in r.items()} for k, r in self.ranges.items()},
            "asymmetry": {k: round(v, 3) for k, v in self.symmetry.items()},
            "repetitions": {
                "count": len(self.repetitions),
                "each": [{"start_s": round(r.start_s, 3), "end_s": round(r.end_s, 3)} for r in self.repetitions],
            },
            "steps": [{"side": s.side, "time_s": round(s.time_s, 3)} for s in self.steps],
            "gait": self.gait and {k: round(v, 3) for k, v in self.gait.items()},
            "centre_of_mass_path": (
                round(float(np.linalg.norm(np.diff(moved, axis=0), axis=1).sum()), 3) if len(moved) > 1 else None
            ),
        }

    def table(self) -> str:
        """Return the curves as CSV: time, angles, centre of mass, contacts; empty where missing."""
        columns: dict[str, Array] = {"time_s": self.clock, **{f"{k}_deg": v for k, v in self.angles.items()}}
        columns |= {f"mass_{axis}": self.mass[:, d] for d, axis in enumerate("xyz"[: self.mass.shape[1]])}
        columns |= {f"{side}_contact": down.astype(int) for side, down in self.contacts.items()}
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([f"{v:.6g}" if np.isfinite(v) else "" for v in row])
        return out.getvalue()


def analyse(motion: Motion) -> Analysis:
    """Return what a motion shows, after cleaning (see `lmm.clean`) if it is not clean.

    Raises MotionError for forecasts with samples, and motions that cannot be converted to BODY_25.
    """
    if motion.samples is not None and len(motion.samples) > 1:
        raise MotionError("it is a forecast with several samples: analyse the motion, or one sample.")
    cleaned = motion if "cleaning" in motion.meta else clean(motion)
    angles = joint_angles(cleaned)
    ranges = {name: _range(values) for name, values in angles.items()}
    world = cleaned.space == "world"
    return Analysis(
        motion=cleaned,
        angles=angles,
        ranges=ranges,
        symmetry=_symmetry(ranges),
        repetitions=repetitions(cleaned),
        steps=steps(cleaned) if world else [],
        gait=rhythm(cleaned) if world else None,
        contacts=contacts(cleaned) if world else {},
        mass=centre_of_mass(cleaned),
    )


def _range(values: Array) -> dict[str, float]:
    low, high = np.percentile(values[np.isfinite(values)], [OUTER, 100 - OUTER])
    return {"min": float(low), "max": float(high), "range": float(high - low)}


def _symmetry(ranges: dict[str, dict[str, float]]) -> dict[str, float]:
    right, left = SIDES
    out = {}
    for name in [n.removeprefix(f"{right}_") for n in ranges if n.startswith(f"{right}_")]:
        if f"{left}_{name}" in ranges:
            a, b = (ranges[f"{side}_{name}"]["range"] for side in (right, left))
            if max(a, b) >= LEAST_RANGE:
                out[name] = 2 * (a - b) / (a + b)
    return out
