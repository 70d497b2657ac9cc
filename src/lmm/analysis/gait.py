"""What probes ask for: whether a person walks at an instant of a 3D motion, how fast, and where in the stride.

Labels come from the kinematics alone, from a second and a half on both sides of the instant, so that they know more
than an encoder that has seen the past only. Fore-aft signals are places about the mid-hip along the heading; amplitude
and phase of a signal are those of its component at the stride's frequency f, as seen through a Hann window:

    c = 2 / Σw · Σ w(t) · (x(t) − x̄) · exp(−2πi f t),   x(t) ≈ |c| · cos(2π f t + arg c) about t = 0

This is the analytic signal at the instant, whose argument is Hilbert's phase (D. Gabor, "Theory of Communication",
1946), kept to the stride's own frequency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.geometry import heading
from lmm.core.motion import Motion
from lmm.skeletons import BODY_25

Array = NDArray[Any]
HALF_FRAMES, RATE = 22, 15.0  # on each side, at this rate: short, since most walks of motion capture are
SHORTEST_S, LONGEST_S = 0.5, 1.6  # a stride: 240 to 75 steps a minute
JOINTS = ("Hip", "Knee", "Ankle", "Wrist")
HEADING_S = 1.0  # the heading is smoothed over about a stride, which the pelvis turns with
NEAR_BEST = 0.9  # of the best lag's correlation: then a shorter lag is the stride, the best one two of them

LEAST_PERIODICITY = 0.8  # correlation of the ankles' separation with itself one stride later
LEAST_ALTERNATION = 0.6  # likewise half a stride later, where legs have changed places: reversed in sign
LEAST_STEP = 0.3  # amplitude of the separation, leg lengths
LEAST_SPEED = 0.3  # of the mid-hip along the heading, leg lengths a second
LEAST_SWING = 0.05  # amplitude of a wrist, leg lengths: arms that hang still have no phase


@dataclass(frozen=True)
class Target:
    """One thing to probe for: `columns` of `Gait.targets`, its `unit`; angles are probed as cosine and sine."""

    title: str
    columns: tuple[int, ...]
    unit: str
    form: str = ".1f"

    @property
    def circular(self) -> bool:
        return len(self.columns) == 2


TARGETS = {
    "cadence": Target("Cadence", (0,), "steps/min"),
    "phase": Target("Gait phase", (1, 2), "degrees"),
    "arm_leg_phase": Target("Arm–leg phase", (3, 4), "degrees"),
    "leg_symmetry": Target("Leg symmetry", (5,), "share", ".3f"),
    "arm_symmetry": Target("Arm symmetry", (6,), "share", ".3f"),
}
COLUMNS = 7


@dataclass(frozen=True)
class Gait:
    """The gait about one instant. Lengths are in leg lengths, angles in radians, undefined numbers NaN.

    cadence_spm   steps a minute: two a stride, whose length in time is the lag of the best autocorrelation
    phase         of the ankles' separation, right minus left: 0 where the right foot is furthest ahead
    arm_leg       phase of the right wrist less that of the left ankle: 0 where they swing together, as is usual
    leg_symmetry  (right − left) / mean of the ankles' amplitudes; `arm_symmetry` of the wrists'
    periodicity, alternation, step, speed   what tells walking: see the constants of this module
    """

    cadence_spm: float
    phase: float
    arm_leg: float
    leg_symmetry: float
    arm_symmetry: float
    periodicity: float
    alternation: float
    step: float
    speed: float

    @property
    def walks(self) -> bool:
        """Whether walking or running is plausible."""
        return (
            self.periodicity >= LEAST_PERIODICITY
            and self.alternation >= LEAST_ALTERNATION
            and self.step >= LEAST_STEP
            and self.speed >= LEAST_SPEED
        )

    @property
    def targets(self) -> Array:
        """The numbers (7,) that a probe is to tell, in the order of TARGETS."""
        angles = [f(a) for a in (self.phase, self.arm_leg) for f in (np.cos, np.sin)]
        return np.array([self.cadence_spm, *angles, self.leg_symmetry, self.arm_symmetry])


def gait_at(motion: Motion, frame: int) -> Gait | None:
    """Return the gait about a frame of a BODY_25 motion in metres; None where nothing repeats, hips, knees or ankles
    are missing in a frame of the three seconds, or these do not lie within the motion."""
    half = round(HALF_FRAMES * motion.fps / RATE)
    if frame < half or frame + half >= motion.num_frames:
        return None
    piece = motion.positions[frame - half : frame + half + 1].astype(np.float64)
    at = {name: piece[:, BODY_25.index[name]] for name in ("MidHip", *(s + j for s in "RL" for j in JOINTS))}
    if not all(np.isfinite(at[name]).all() for name in at if not name.endswith("Wrist")):
        return None
    leg = np.mean([np.median(_length(at, side)) for side in "RL"])
    forward = _forward(at["LHip"] - at["RHip"], motion.fps)

    def ahead(name: str) -> Array:
        return np.asarray(((at[name] - at["MidHip"]) * forward).sum(axis=1) / leg)

    separation = ahead("RAnkle") - ahead("LAnkle")
    found = stride(separation, motion.fps)
    if found is None:
        return None
    period, periodicity, alternation = found
    c = {name: component(ahead(name), 1 / period, motion.fps) for name in ("RAnkle", "LAnkle", "RWrist", "LWrist")}
    both = component(separation, 1 / period, motion.fps)
    swings = {side: abs(c[f"{side}Wrist"]) >= LEAST_SWING for side in "RL"}
    return Gait(
        cadence_spm=120 / period,
        phase=float(np.angle(both)),
        arm_leg=float(np.angle(c["RWrist"] / c["LAnkle"])) if swings["R"] else np.nan,
        leg_symmetry=_asymmetry(c["RAnkle"], c["LAnkle"]),
        arm_symmetry=_asymmetry(c["RWrist"], c["LWrist"]) if swings["R"] or swings["L"] else np.nan,
        periodicity=periodicity,
        alternation=alternation,
        step=abs(both),
        speed=float((np.diff(at["MidHip"], axis=0) * forward[1:]).sum() / (2 * half / motion.fps) / leg),
    )


def separation(motion: Motion) -> Array:
    """Return how far the right ankle is ahead of the left (T,), in metres: the signal that labels are made of."""
    lateral, apart = (
        motion.positions[:, BODY_25.index[a]].astype(np.float64) - motion.positions[:, BODY_25.index[b]]
        for a, b in (("LHip", "RHip"), ("RAnkle", "LAnkle"))
    )
    return np.asarray((apart * _forward(lateral, motion.fps)).sum(axis=1))


def stride(x: Array, fps: float) -> tuple[float, float, float] | None:
    """Return the period of a signal (T,) in seconds, and its correlation with itself a period, and (reversed) half a
    period later; None if no lag of SHORTEST_S to LONGEST_S is a peak."""
    x = x - x.mean()
    lags = np.arange(1, min(len(x) - 2, int(np.ceil(LONGEST_S * fps)) + 1) + 1)
    c = np.array([_correlation(x[:-lag], x[lag:]) for lag in lags])
    inside = (lags[1:-1] >= SHORTEST_S * fps) & (lags[1:-1] <= LONGEST_S * fps)
    peaks = 1 + np.flatnonzero(inside & (c[1:-1] >= c[:-2]) & (c[1:-1] > c[2:]))
    if not peaks.size or c[peaks].max() <= 0:
        return None
    i = peaks[c[peaks] >= NEAR_BEST * c[peaks].max()][0]
    before, top, after = c[i - 1 : i + 2]
    period = float(lags[i] + 0.5 * (before - after) / (before - 2 * top + after))  # of the parabola through the three
    return period / fps, float(top), -float(np.interp(period / 2, lags, c))


def component(x: Array, frequency: float, fps: float) -> complex:
    """Return amplitude and phase, as one complex number, of a signal (T,) at `frequency` at its middle frame."""
    window = np.hanning(len(x) + 2)[1:-1]
    window /= window.sum()
    seconds = (np.arange(len(x)) - (len(x) - 1) / 2) / fps
    return complex(2 * (window * (x - window @ x)) @ np.exp(-2j * np.pi * frequency * seconds))


def _forward(lateral: Array, fps: float) -> Array:
    """Return unit vectors (T, 3) along the heading of right-to-left vectors (T, 3), smoothed over HEADING_S."""
    angle = heading(lateral)
    kernel = np.hanning(min(round(HEADING_S * fps) | 1, len(angle)) + 2)[1:-1]
    x, z = (np.convolve(side, kernel, "same") for side in (np.sin(angle), np.cos(angle)))
    return np.asarray(np.stack([x, np.zeros_like(x), z], axis=1) / np.maximum(np.hypot(x, z), 1e-12)[:, None])


def _length(at: dict[str, Array], side: str) -> Array:
    chain = np.stack([at[side + joint] for joint in JOINTS[:3]])
    return np.asarray(np.linalg.norm(np.diff(chain, axis=0), axis=2).sum(axis=0))


def _correlation(a: Array, b: Array) -> float:
    return float(a @ b / max(np.sqrt((a @ a) * (b @ b)), 1e-12))


def _asymmetry(right: complex, left: complex) -> float:
    return 2 * (abs(right) - abs(left)) / (abs(right) + abs(left))
