"""Do different recordings of one movement agree? Real ones: marker and depth cameras, and video against its TRC.

    python benchmarks/agreement.py [--data ../shared/data] [--out benchmarks/results/agreement-DATE.json]

UI-PRMD: each repetition was filmed by Vicon (markers) and Kinect (depth) at once; both become BODY_25 motions by
`lmm.clean`. Pose2Sim: four cameras' OpenPose JSON, triangulated here, against the TRC that Pose2Sim made of it.
Controls that must be worse are measured beside: other people, repetitions, movements, sides, and a wrong joint order.
The definitions and what the numbers mean are in docs/validation.md.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lmm
import triangulation
from lmm.skeletons import BODY_25

Array = NDArray[Any]
J = BODY_25.index
FITTED = [f"{s}{n}" for n in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle") for s in "RL"]
COMPARED = ["Neck", "MidHip", *FITTED, "RBigToe", "LBigToe"]
BONES = {
    "shoulder width": ("RShoulder", "LShoulder"), "hip width": ("RHip", "LHip"), "trunk": ("Neck", "MidHip"),
    "upper arm": ("RShoulder", "RElbow"), "forearm": ("RElbow", "RWrist"),
    "thigh": ("RHip", "RKnee"), "shank": ("RKnee", "RAnkle"),
}  # fmt: skip
# Kept in step by name: mean absolute differences and correlations are pooled over the two sides.
ANGLES = ("knee flexion", "hip flexion", "elbow flexion", "shoulder elevation", "shoulder forward", "trunk lean")
POINTS = 101  # samples of a repetition
MIN_OVERLAP = 0.7  # of the shorter recording
MIN_RANGE_DEG = 15.0  # a joint that moves less has no curve to correlate
ONE_SIDED = {"m02": "Ankle", "m06": "Ankle", "m07": "Wrist", "m08": "Wrist", "m09": "Wrist", "m10": "Wrist"}
STANDING, MAX_STANCE_CM = ("m01", "m05", "m07", "m08", "m09", "m10"), 5.0  # movements with both feet on one spot
EPISODES = ("e01", "e02", "e03", "e05")  # those that the shared data has
LEFT_HANDED = {"s07"}  # who works with the left side (README of the data); in the hurdle step s02 does too


@dataclass(frozen=True, order=True)
class Repetition:
    """One repetition of a movement, recorded by both devices."""

    movement: str
    subject: str
    episode: str
    correct: bool

    def path(self, data: Path, device: str) -> Path:
        folder = data / "uiprmd" / ("correct" if self.correct else "incorrect") / device / "positions"
        tail = "" if self.correct else "_inc"
        return folder / f"{self.movement}_{self.subject}_{self.episode}_positions{tail}.txt.gz"


def repetitions(data: Path) -> list[Repetition]:
    """Every repetition that has both a Vicon and a Kinect file, sorted."""
    found = []
    for path in sorted((data / "uiprmd").glob("*/vicon/positions/m*.txt.gz")):
        movement, subject, episode = path.name.split("_")[:3]
        repetition = Repetition(movement, subject, episode, "incorrect" not in path.parts)
        if repetition.path(data, "kinect").is_file():
            found.append(repetition)
    return found


@dataclass(frozen=True, eq=False)
class Take:
    """A cleaned recording: seconds (T,) from its start, BODY_25 positions (T, 25, 3) in m, angles (T, A), degrees."""

    clock: Array
    positions: Array
    angles: Array

    @property
    def seconds(self) -> float:
        return float(self.clock[-1])

    def swapped(self) -> Take:
        """The same recording with right and left labels exchanged."""
        positions = self.positions[:, list(BODY_25.mirrored)]
        return Take(self.clock, positions, joint_angles(positions))


@cache
def take(path: Path) -> Take:
    motion = lmm.clean(lmm.read(path))
    positions = motion.positions.astype(np.float64)
    return Take(motion.clock - motion.clock[0], positions, joint_angles(positions))


@dataclass(frozen=True, eq=False)
class Pair:
    repetition: Repetition
    vicon: Take
    kinect: Take


def _between(a: Array, b: Array) -> Array:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def _unit(v: Array) -> Array:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def angle_names() -> list[str]:
    return [f"{n} {s}" for n in ANGLES[:-1] for s in "RL"] + [ANGLES[-1]]


def joint_angles(p: Array) -> Array:
    """Return (T, A) degrees, named by `angle_names`, of BODY_25 positions (T, 25, 3); defined in docs/validation.md."""
    trunk = p[:, J["MidHip"]] - p[:, J["Neck"]]
    across = p[:, J["RShoulder"]] - p[:, J["LShoulder"]]
    forward = _unit(np.cross(-trunk, across))  # up x right
    out: dict[str, Array] = {"trunk lean": _between(-trunk, np.array([0.0, 1.0, 0.0]))}
    for s in "RL":
        thigh, shank = p[:, J[s + "Knee"]] - p[:, J[s + "Hip"]], p[:, J[s + "Ankle"]] - p[:, J[s + "Knee"]]
        arm, forearm = p[:, J[s + "Elbow"]] - p[:, J[s + "Shoulder"]], p[:, J[s + "Wrist"]] - p[:, J[s + "Elbow"]]
        out[f"knee flexion {s}"] = _between(thigh, shank)
        out[f"hip flexion {s}"] = _between(trunk, thigh)
        out[f"elbow flexion {s}"] = _between(arm, forearm)
        out[f"shoulder elevation {s}"] = _between(trunk, arm)
        out[f"shoulder forward {s}"] = np.degrees(np.arcsin(np.clip((_unit(arm) * forward).sum(-1), -1, 1)))
    return np.stack([out[n] for n in angle_names()], axis=1)


def at(clock: Array, values: Array, when: Array) -> Array:
    """Return `values` (T, ...) linearly interpolated at the seconds `when`; NaN beside a gap."""
    flat = values.reshape(len(values), -1)
    return np.stack([np.interp(when, clock, c) for c in flat.T], axis=1).reshape(len(when), *values.shape[1:])


def by_fraction(v: Take, k: Take) -> tuple[Array, Array]:
    """Time normalisation: both recordings from 0 to 100 % of their own duration."""
    part = np.linspace(0, 1, POINTS)
    return part * v.seconds, part * k.seconds


def by_lag(v: Take, k: Take) -> tuple[Array, Array]:
    """One constant lag: the highest pooled cross-correlation of the centred angle curves; the overlap only."""
    best: tuple[float, Array, Array] | None = None
    need = MIN_OVERLAP * min(v.seconds, k.seconds)
    lags = np.arange(math.ceil(60 * (need - v.seconds)), 60 * (k.seconds - need)) / 60
    for lag in lags:  # Kinect time = Vicon time + lag
        first, last = max(0.0, -lag), min(v.seconds, k.seconds - lag)
        when = np.linspace(first, last, POINTS)
        a, b = (_centred(at(t.clock, t.angles, w)) for t, w in ((v, when), (k, when + lag)))
        score = float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
        if best is None or score > best[0]:
            best = score, when, when + lag
    return best[1:] if best else by_fraction(v, k)


def by_warping(v: Take, k: Take) -> tuple[Array, Array]:
    """Dynamic time warping of the centred angle curves within 15 % of the duration (Sakoe and Chiba 1978)."""
    tv, tk = by_fraction(v, k)
    a, b = _centred(at(v.clock, v.angles, tv)), _centred(at(k.clock, k.angles, tk))
    cost = np.linalg.norm(a[:, None] - b[None], axis=-1)
    n, band = POINTS, int(0.15 * POINTS)
    total = np.full((n + 1, n + 1), np.inf)
    total[0, 0] = 0
    for i in range(n):
        for j in range(max(0, i - band), min(n, i + band + 1)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    i, j, path = n, n, []
    while i and j:
        path.append((i - 1, j - 1))
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda c: total[c])
    rows, columns = np.array(path[::-1]).T
    return tv[rows], tk[columns]


def _centred(curves: Array) -> Array:
    return np.nan_to_num(curves - np.nanmean(curves, axis=0))


Timing = Callable[[Take, Take], tuple[Array, Array]]
TIMINGS: dict[str, Timing] = {"duration": by_fraction, "lag": by_lag, "warping": by_warping}


def rigid(source: Array, target: Array) -> tuple[Array, Array]:
    """Return rotation R and shift t, R source + t = target by least squares (Kabsch 1976); points (N, 3), no scale."""
    seen = np.isfinite(source).all(-1) & np.isfinite(target).all(-1)
    a, b = source[seen].mean(0), target[seen].mean(0)
    u, _, vt = np.linalg.svd((source[seen] - a).T @ (target[seen] - b))
    turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    return turn, b - turn @ a


@dataclass(frozen=True, eq=False)
class Difference:
    """Kinect minus Vicon over one repetition.

    distance (25,) cm, mean over time · offset (25, 3) cm to the body's right, up and forward, mean over time ·
    varying (25,) cm, what is left without that offset · angle, bias, correlation, range (A,) degrees; the correlation
    is NaN where Vicon's range is under MIN_RANGE_DEG · turn (3, 3) takes Kinect's axes to Vicon's · lag_s
    """

    distance: Array
    offset: Array
    varying: Array
    angle: Array
    bias: Array
    correlation: Array
    range: Array
    turn: Array
    lag_s: float


def compare(v: Take, k: Take, timing: Timing = by_lag) -> Difference:
    """Compare two takes: `timing` pairs the instants, and one rotation and shift of the whole repetition the places."""
    tv, tk = timing(v, k)
    pv, pk = at(v.clock, v.positions, tv), at(k.clock, k.positions, tk)
    fitted = [J[n] for n in FITTED]
    turn, shift = rigid(pk[:, fitted].reshape(-1, 3), pv[:, fitted].reshape(-1, 3))
    difference = 100 * (pk @ turn.T + shift - pv)
    # the body's own axes in each frame: up is the world's
    right = (pv[:, J["RShoulder"]] - pv[:, J["LShoulder"]] + pv[:, J["RHip"]] - pv[:, J["LHip"]]) * (1, 0, 1)
    up = np.broadcast_to([0.0, 1.0, 0.0], right.shape)
    axes = np.stack([_unit(right), up, np.cross(up, _unit(right))], axis=1)
    local = np.einsum("tij,tnj->tni", axes, difference)
    av, ak = at(v.clock, v.angles, tv), at(k.clock, k.angles, tk)
    with np.errstate(invalid="ignore"):
        moved = np.nanmax(av, 0) - np.nanmin(av, 0)
        cv, ck = _centred(av), _centred(ak)
        r = (cv * ck).sum(0) / np.sqrt((cv**2).sum(0) * (ck**2).sum(0))
    return Difference(
        distance=mean(np.linalg.norm(difference, axis=-1)),
        offset=mean(local),
        varying=mean(np.linalg.norm(local - mean(local), axis=-1)),
        angle=mean(np.abs(ak - av)),
        bias=mean(ak - av),
        correlation=np.where(moved >= MIN_RANGE_DEG, r, np.nan),
        range=moved,
        turn=turn,
        lag_s=float(np.median(tk - tv)),
    )


def mean(values: Array) -> Array:
    """Mean over the first axis of the numbers there are; NaN where there are none."""
    seen = np.isfinite(values)
    return np.where(seen, values, 0).sum(0) / np.where(seen.any(0), seen.sum(0), np.nan)


def position_cm(d: Difference) -> float:
    """Mean distance over the fitted joints, cm."""
    return float(np.nanmean(d.distance[[J[n] for n in FITTED]]))


def angle_deg(d: Difference) -> float:
    """Mean absolute difference over all angles, degrees."""
    return float(np.nanmean(d.angle))


def varying_cm(d: Difference) -> float:
    """Mean over the fitted joints of what varies, cm: how unlike two recordings are but for constant offsets."""
    return float(np.nanmean(d.varying[[J[n] for n in FITTED]]))


def moving_side(t: Take, limb: str) -> str:
    """Return the side, R or L, whose `limb` joint travels more about its root (the hips' or shoulders' middle)."""
    root = t.positions[:, J["MidHip" if limb == "Ankle" else "Neck"]]
    spread = {s: float(np.sqrt(np.nanvar(t.positions[:, J[s + limb]] - root, axis=0).sum())) for s in "RL"}
    return max(spread, key=lambda s: spread[s])


def known_side(r: Repetition) -> str:
    return "L" if r.subject in LEFT_HANDED or (r.movement, r.subject) == ("m02", "s02") else "R"


def stance_cm(t: Take) -> float:
    """Return how far apart the ankles stand, on the floor, cm."""
    apart = np.nanmedian(t.positions[:, J["RAnkle"]] - t.positions[:, J["LAnkle"]], axis=0)
    return float(100 * np.hypot(apart[0], apart[2]))


def stance_differences(pairs: list[Pair]) -> dict[str, float]:
    """For each subject the median difference of `stance_cm` of the devices, in movements that stand on one spot.

    It does not depend on angles, timing or alignment. A subject with over MAX_STANCE_CM stood differently before the
    two devices: the files are of different takes.
    """
    found: dict[str, list[float]] = {}
    for p in pairs:
        if p.repetition.movement in STANDING:
            found.setdefault(p.repetition.subject, []).append(abs(stance_cm(p.vicon) - stance_cm(p.kinect)))
    return {s: float(np.median(d)) for s, d in sorted(found.items())}


def jitter_mm(t: Take) -> Array:
    """Return (25,) mm: root mean square distance from the same recording smoothed by cubics over 0.5 s."""
    from scipy.signal import savgol_filter

    whole = np.isfinite(t.positions).all(axis=(0, 2))
    out = np.full(len(whole), np.nan)
    rest = t.positions[:, whole] - savgol_filter(t.positions[:, whole], 15, 3, axis=0)
    out[whole] = 1000 * np.sqrt((rest**2).sum(-1).mean(0))
    return out


def interval(values: Iterable[float], subjects: list[str], draws: int = 2000) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval by bootstrap of whole subjects; NaN are left out."""
    v, s = np.array(list(values), float), np.array(subjects)
    groups = [v[(s == name) & np.isfinite(v)] for name in sorted(set(subjects))]
    sums, counts = np.array([g.sum() for g in groups]), np.array([len(g) for g in groups])
    if not counts.sum():
        return (float("nan"),) * 3
    chosen = np.random.default_rng(0).integers(len(groups), size=(draws, len(groups)))
    drawn = sums[chosen].sum(1) / np.maximum(counts[chosen].sum(1), 1)
    low, high = np.percentile(drawn[counts[chosen].sum(1) > 0], [2.5, 97.5])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def partners(r: Repetition, every: list[Repetition], data: Path) -> dict[str, list[Repetition]]:
    """The Kinect recordings to mistake for that of `r`: other subjects, repetitions and movements."""
    repeated = [Repetition(r.movement, r.subject, e, r.correct) for e in EPISODES if e != r.episode]
    alike = [o for o in every if (o.episode, o.correct) == (r.episode, r.correct)]
    return {
        "another repetition": [o for o in repeated if o.path(data, "kinect").is_file()],
        "another subject": [o for o in alike if o.movement == r.movement and o.subject != r.subject],
        "another movement": [o for o in alike if o.movement != r.movement and o.subject == r.subject],
    }


def numbers(values: Iterable[float], subjects: list[str]) -> dict[str, float]:
    v = list(values)
    m, low, high = interval(v, subjects)
    return {"mean": m, "low": low, "high": high, "n": int(np.isfinite(v).sum())}


def text(x: dict[str, float], digits: int = 1) -> str:
    return f"{x['mean']:6.{digits}f} [{x['low']:5.{digits}f},{x['high']:6.{digits}f}]"


def uiprmd(data: Path) -> dict[str, Any]:
    """Print and return the agreement of Vicon and Kinect; see docs/validation.md."""
    files = repetitions(data)
    if not files:
        sys.exit(
            f"error: {data}: has no Vicon and Kinect recordings in a folder uiprmd. Give the recordings with --data."
        )
    pairs = [Pair(r, take(r.path(data, "vicon")), take(r.path(data, "kinect"))) for r in files]
    result: dict[str, Any] = {"files": len(pairs), "sides": sides(pairs), "stance_cm": stance_differences(pairs)}
    print(
        "\nfeet apart, difference of the devices: "
        + ", ".join(f"{s} {d:.1f} cm" for s, d in result["stance_cm"].items())
    )
    apart = {s for s, d in result["stance_cm"].items() if d > MAX_STANCE_CM}
    result["other_takes"] = {
        s: {
            "n": len(d),
            "position_cm": float(np.mean([*map(position_cm, d)])),
            "angle_deg": float(np.mean([*map(angle_deg, d)])),
        }
        for s in sorted(apart)
        for d in [[compare(p.vicon, p.kinect) for p in pairs if p.repetition.subject == s]]
    }
    for s, x in result["other_takes"].items():
        print(
            f"not the same takes, left out below: {s}, {x['n']} repetitions, "
            f"{x['position_cm']:.1f} cm, {x['angle_deg']:.1f} degrees"
        )
    pairs = [p for p in pairs if p.repetition.subject not in apart]
    subjects = [p.repetition.subject for p in pairs]
    found = [compare(p.vicon, p.kinect) for p in pairs]
    print(f"\nUI-PRMD: {len(pairs)} repetitions by Vicon and Kinect, {len(set(subjects))} subjects")
    result |= {"pairs": len(pairs), "subjects": sorted(set(subjects)), "timing": timings(data, pairs, found)}
    lag = np.abs([d.lag_s for d in found])
    tilt = np.degrees(np.arccos([np.clip(d.turn[1, 1], -1, 1) for d in found]))
    for name, unit, v in (
        ("lag_s", "lag between the devices, s", lag),
        ("tilt_deg", "tilt of their verticals, degrees", tilt),
    ):
        result[name] = {"median": float(np.median(v)), "p95": float(np.percentile(v, 95))}
        print(f"{unit}: median {result[name]['median']:.2f}, 95 % under {result[name]['p95']:.2f}")
    result["joints"] = joints(pairs, found)
    result["bones"] = bones(pairs)
    swapped = [compare(p.vicon, p.kinect.swapped()) for p in pairs]
    result["angles"] = angles(found, swapped, subjects)
    result["movements"] = movements(pairs, found)
    result["controls"] = controls(data, pairs, found, swapped)
    return result


def timings(data: Path, pairs: list[Pair], found: list[Difference]) -> dict[str, Any]:
    """Each way to pair the instants, for the right recording and for that of another subject."""
    out = {}
    subjects = [p.repetition.subject for p in pairs]
    every = [p.repetition for p in pairs]
    print(f"{'timing':10} {'position cm':>22} {'angle degrees':>22}   another subject: cm, degrees")
    for name, timing in TIMINGS.items():
        right = found if timing is by_lag else [compare(p.vicon, p.kinect, timing) for p in pairs]
        wrong = []
        for p in pairs:
            others = partners(p.repetition, every, data)["another subject"]
            wrong += [compare(p.vicon, take(o.path(data, "kinect")), timing) for o in others[:1]]
        x: dict[str, Any] = {
            "position_cm": numbers(map(position_cm, right), subjects),
            "angle_deg": numbers(map(angle_deg, right), subjects),
            "other_cm": float(np.mean([*map(position_cm, wrong)])),
            "other_deg": float(np.mean([*map(angle_deg, wrong)])),
        }
        out[name] = x
        print(
            f"{name:10} {text(x['position_cm']):>22} {text(x['angle_deg']):>22} "
            f"{x['other_cm']:9.1f} {x['other_deg']:8.1f}"
        )
    return out


def joints(pairs: list[Pair], found: list[Difference]) -> dict[str, Any]:
    """Each joint: distance, constant offset in the body's axes, what varies, and the jitter of each device."""
    out = {}
    vicon = mean(np.stack([jitter_mm(p.vicon) for p in pairs]))
    kinect = mean(np.stack([jitter_mm(p.kinect) for p in pairs]))
    print(
        f"\n{'joint':10} {'cm, 95 % interval':>20}    n   offset right, up, forward  varying   jitter mm: Vicon, Kinect"
    )
    for name in COMPARED:
        j = J[name]
        offset = [round(float(o), 2) for o in mean(np.stack([d.offset[j] for d in found]))]
        x: dict[str, Any] = {
            **numbers((d.distance[j] for d in found), [p.repetition.subject for p in pairs]),
            "offset_cm": offset,
            "varying_cm": float(np.nanmean([d.varying[j] for d in found])),
            "jitter_mm": [float(vicon[j]), float(kinect[j])],
        }
        out[name] = x
        shown = " ".join(f"{o:+6.1f}" for o in offset)
        print(f"{name:10} {text(x)} {x['n']:4}      {shown} {x['varying_cm']:12.1f} {vicon[j]:17.1f} {kinect[j]:6.1f}")
    return out


def bones(pairs: list[Pair]) -> dict[str, list[float]]:
    """Mean of the median lengths, cm, by Vicon and by Kinect."""

    def length(t: Take, a: str, b: str) -> float:
        return 100 * float(np.nanmedian(np.linalg.norm(t.positions[:, J[a]] - t.positions[:, J[b]], axis=1)))

    out = {
        n: [
            float(np.mean([length(t, *ab) for t in ts]))
            for ts in zip(*((p.vicon, p.kinect) for p in pairs), strict=True)
        ]
        for n, ab in BONES.items()
    }
    print(
        "\nlengths, right side, cm (Vicon, Kinect): " + ", ".join(f"{n} {v:.1f} {k:.1f}" for n, (v, k) in out.items())
    )
    return out


def angles(found: list[Difference], swapped: list[Difference], subjects: list[str]) -> dict[str, Any]:
    """Each angle, both sides together: absolute difference, bias and correlation; and with Kinect's sides exchanged."""
    out = {}
    print(
        f"\n{'angle':20} {'degrees':>20} {'bias':>6} {'correlation':>20} {'n':>5}   "
        "sides exchanged: degrees, correlation"
    )
    for name in ANGLES:
        columns = [i for i, a in enumerate(angle_names()) if a.startswith(name)]

        def pooled(field: str, of: list[Difference], columns: list[int] = columns) -> list[float]:
            return [float(getattr(d, field)[c]) for c in columns for d in of]

        whose = subjects * len(columns)
        x: dict[str, Any] = {
            "degrees": numbers(pooled("angle", found), whose),
            "bias": float(np.nanmean(pooled("bias", found))),
            "correlation": numbers(pooled("correlation", found), whose),
            "swapped": [float(np.nanmean(pooled(f, swapped))) for f in ("angle", "correlation")],
        }
        out[name] = x
        r = x["correlation"]
        print(
            f"{name:20} {text(x['degrees'])} {x['bias']:+6.1f} {text(r, 2)} {r['n']:5} "
            f"{x['swapped'][0]:10.1f} {x['swapped'][1]:6.2f}"
        )
    return out


def movements(pairs: list[Pair], found: list[Difference]) -> dict[str, Any]:
    out = {}
    print(f"\n{'movement':8} {'n':>4} {'cm':>6} {'deg':>6} {'r':>6}   cm of each subject")
    for m in sorted({p.repetition.movement for p in pairs}):
        of = [(p.repetition.subject, d) for p, d in zip(pairs, found, strict=True) if p.repetition.movement == m]
        x: dict[str, Any] = {
            "n": len(of),
            "position_cm": float(np.mean([position_cm(d) for _, d in of])),
            "angle_deg": float(np.mean([angle_deg(d) for _, d in of])),
            "correlation": float(np.nanmean([d.correlation for _, d in of])),
            "subjects_cm": {
                n: float(np.mean([position_cm(d) for s, d in of if s == n])) for n in sorted({s for s, _ in of})
            },
        }
        out[m] = x
        each = ", ".join(f"{s} {c:.1f}" for s, c in x["subjects_cm"].items())
        print(f"{m:8} {x['n']:4} {x['position_cm']:6.1f} {x['angle_deg']:6.1f} {x['correlation']:6.2f}   {each}")
    return out


def controls(data: Path, pairs: list[Pair], found: list[Difference], swapped: list[Difference]) -> dict[str, Any]:
    """Vicon against Kinect recordings of something else; how often the right one is nearest (see `varying_cm`)."""
    every, subjects = [p.repetition for p in pairs], [p.repetition.subject for p in pairs]
    out: dict[str, Any] = {}
    for kind, of in (("the same repetition", found), ("sides exchanged", swapped)):
        out[kind] = {
            "position_cm": numbers(map(position_cm, of), subjects),
            "angle_deg": numbers(map(angle_deg, of), subjects),
        }
    for kind in ("another repetition", "another subject", "another movement"):
        cm, deg, first, chance, whose = [], [], 0, [], []
        for p, d in zip(pairs, found, strict=True):
            others = [compare(p.vicon, take(o.path(data, "kinect"))) for o in partners(p.repetition, every, data)[kind]]
            if others:
                cm.append(float(np.mean([*map(position_cm, others)])))
                deg.append(float(np.mean([*map(angle_deg, others)])))
                first += varying_cm(d) < min(map(varying_cm, others))
                chance.append(1 / (1 + len(others)))
                whose.append(p.repetition.subject)
        rank = {"first": int(first), "of": len(chance), "chance": float(np.mean(chance))}
        out[kind] = {"position_cm": numbers(cm, whose), "angle_deg": numbers(deg, whose), **rank}
    print(f"\n{'Kinect recording of':20} {'cm':>6} {'deg':>6}   the right one is nearest")
    for kind, x in out.items():
        near = f"{x['first']} of {x['of']}; {100 * x['chance']:.0f} % by chance" if "of" in x else ""
        print(f"{kind:20} {x['position_cm']['mean']:6.1f} {x['angle_deg']['mean']:6.1f}   {near}")
    return out


def sides(pairs: list[Pair]) -> dict[str, Any]:
    """Which side moves in the one-sided movements, by each device, against what is known."""
    out: dict[str, Any] = {}
    print(f"{'side that moves':16} {'n':>3} {'devices agree':>14} {'Vicon right':>12} {'Kinect right':>13}")
    for m, limb in ONE_SIDED.items():
        of = [p for p in pairs if p.repetition.movement == m]
        seen = [(known_side(p.repetition), moving_side(p.vicon, limb), moving_side(p.kinect, limb)) for p in of]
        x = {
            "n": len(of),
            "agree": sum(v == k for _, v, k in seen),
            "vicon": sum(s == v for s, v, _ in seen),
            "kinect": sum(s == k for s, _, k in seen),
        }
        out[m] = x
        print(f"{m:16} {x['n']:3} {x['agree']:14} {x['vicon']:12} {x['kinect']:13}")
    return out


def main() -> None:
    here = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=here.parent / "../shared/data")
    parser.add_argument("--out", type=Path, help="also keep the JSON line in this file")
    given = parser.parse_args()
    if not given.data.is_dir():
        sys.exit(f"error: {given.data}: no such folder. Give the recordings with --data.")
    git = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=here)
    result: dict[str, Any] = {"benchmark": "agreement", "date": date.today().isoformat(), "commit": git.stdout.strip()}
    result["uiprmd"] = uiprmd(given.data)
    result["pose2sim"] = triangulation.compare(given.data)
    result["pose2sim_as_body25"] = triangulation.compare(given.data, "openpose-body25")
    triangulation.show(result["pose2sim"], result["pose2sim_as_body25"])
    line = json.dumps(result)
    print(f"\n{line}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(line + "\n", "utf-8")


if __name__ == "__main__":
    main()
