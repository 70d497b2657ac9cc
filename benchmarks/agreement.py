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
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lmm
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
MAX_LAG_S, MIN_OVERLAP = 1.0, 0.7
MIN_RANGE_DEG = 15.0  # a joint that moves less has no curve to correlate
LEFT_HANDED = {"s07"}  # who works with the left side (README of the data); in the hurdle step s02 does too


# ---- UI-PRMD: one repetition, two devices ---------------------------------------------------------------------------


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
    """A cleaned recording: seconds from its start (T,), BODY_25 positions (T, 25, 3) in metres, angles (T, A) in degrees."""

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


def _between(a: Array, b: Array) -> Array:
    return np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), (a * b).sum(-1)))


def _unit(v: Array) -> Array:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def angle_names() -> list[str]:
    return [f"{n} {s}" for n in ANGLES[:-1] for s in "RL"] + [ANGLES[-1]]


def joint_angles(p: Array) -> Array:
    """Return (T, A) degrees, in the order of `angle_names`, from BODY_25 positions (T, 25, 3). Definitions: docs/validation.md."""
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
    """One constant lag, at which the centred angle curves have the highest pooled cross-correlation; the overlap only."""
    best: tuple[float, Array, Array] | None = None
    for lag in np.arange(-MAX_LAG_S, MAX_LAG_S + 1e-9, 1 / 60):  # Kinect time = Vicon time + lag
        first, last = max(0.0, -lag), min(v.seconds, k.seconds - lag)
        if last - first < MIN_OVERLAP * max(v.seconds, k.seconds):
            continue
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
    """Return the rotation R and shift t of least squares with R source + t = target (Kabsch 1976); points (N, 3), no scale."""
    seen = np.isfinite(source).all(-1) & np.isfinite(target).all(-1)
    a, b = source[seen].mean(0), target[seen].mean(0)
    u, _, vt = np.linalg.svd((source[seen] - a).T @ (target[seen] - b))
    turn = vt.T @ np.diag([1, 1, np.sign(np.linalg.det(vt.T @ u.T))]) @ u.T
    return turn, b - turn @ a


@dataclass(frozen=True, eq=False)
class Difference:
    """Kinect minus Vicon over one repetition.

    distance (25,) cm, mean over time · offset (25, 3) cm to the body's right, up and forward, mean over time ·
    varying (25,) cm, what is left without that offset · angle, bias, correlation, range (A,) degrees; the correlation is
    NaN where Vicon's range is under MIN_RANGE_DEG · turn (3, 3) takes Kinect's axes to Vicon's · lag_s
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
    """Compare a Vicon with a Kinect take: `timing` pairs the instants, one rotation and shift of the whole repetition the places."""
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
        mean(np.linalg.norm(difference, axis=-1)), mean(local), mean(np.linalg.norm(local - mean(local), axis=-1)),
        mean(np.abs(ak - av)), mean(ak - av), np.where(moved >= MIN_RANGE_DEG, r, np.nan), moved, turn, float(np.median(tk - tv)),
    )  # fmt: skip


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


def moving_side(t: Take, limb: str) -> str:
    """Return the side, R or L, whose `limb` joint travels more about its root (the hips' or shoulders' middle)."""
    root = t.positions[:, J["MidHip" if limb == "Ankle" else "Neck"]]
    spread = {s: float(np.sqrt(np.nanvar(t.positions[:, J[s + limb]] - root, axis=0).sum())) for s in "RL"}
    return max(spread, key=lambda s: spread[s])


def known_side(r: Repetition) -> str:
    return "L" if r.subject in LEFT_HANDED or (r.movement, r.subject) == ("m02", "s02") else "R"


def jitter_mm(t: Take) -> Array:
    """Return (25,) mm: root mean square distance from the recording smoothed by a cubic over 0.5 s (what no body does)."""
    from scipy.signal import savgol_filter

    whole = np.isfinite(t.positions).all((0, 2))
    rest = np.where(whole[:, None], t.positions - savgol_filter(np.where(whole[:, None], t.positions, 0), 15, 3, axis=0), np.nan)
    return 1000 * np.sqrt(mean((rest**2).sum(-1)))


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
    others = [Repetition(r.movement, r.subject, f"e0{i}", r.correct) for i in (1, 2, 3, 5) if f"e0{i}" != r.episode]
    return {
        "another repetition": [o for o in others if o.path(data, "kinect").is_file()],
        "another subject": [o for o in every if (o.movement, o.episode, o.correct) == (r.movement, r.episode, r.correct) and o.subject != r.subject] or [],
        "another movement": [o for o in every if (o.subject, o.episode, o.correct) == (r.subject, r.episode, r.correct) and o.movement != r.movement],
    }  # fmt: skip


def uiprmd(data: Path) -> dict[str, Any]:
    every = repetitions(data)
    if not every:
        sys.exit(f"error: {data}: has no folder uiprmd with Vicon and Kinect recordings. Give the recordings with --data.")
    subjects = [r.subject for r in every]
    pairs = [(take(r.path(data, "vicon")), take(r.path(data, "kinect"))) for r in every]
    found = [compare(v, k) for v, k in pairs]
    result: dict[str, Any] = {"pairs": len(every), "subjects": sorted(set(subjects)), "movements": sorted({r.movement for r in every})}
    print(f"UI-PRMD: {len(every)} repetitions recorded by Vicon and Kinect, {len(set(subjects))} subjects, {len(result['movements'])} movements\n")

    def row(values: Iterable[float], of: list[str] = subjects) -> dict[str, float]:
        v = list(values)
        m, low, high = interval(v, of)
        return {"mean": m, "low": low, "high": high, "n": int(np.isfinite(v).sum())}

    def text(x: dict[str, float], digits: int = 1) -> str:
        return f"{x['mean']:6.{digits}f} [{x['low']:5.{digits}f},{x['high']:6.{digits}f}]"

    # Time: which pairing, and what it gives to the right and to a wrong recording
    wrong = [partners(r, every, data) for r in every]
    result["timing"] = {}
    print(f"{'timing':10} {'position cm':>22} {'angle deg':>22} {'another subject: cm':>22} {'deg':>8}")
    for name, timing in TIMINGS.items():
        right = found if timing is by_lag else [compare(v, k, timing) for v, k in pairs]
        bad = [compare(v, take(w["another subject"][0].path(data, "kinect")), timing) for (v, _), w in zip(pairs, wrong, strict=True) if w["another subject"]]
        whose = [r.subject for r, w in zip(every, wrong, strict=True) if w["another subject"]]
        t = {"position_cm": row(map(position_cm, right)), "angle_deg": row(map(angle_deg, right)), "other_cm": row(map(position_cm, bad), whose), "other_deg": row(map(angle_deg, bad), whose)}
        result["timing"][name] = t
        print(f"{name:10} {text(t['position_cm']):>22} {text(t['angle_deg']):>22} {text(t['other_cm']):>22} {t['other_deg']['mean']:8.1f}")
    lags = np.abs([d.lag_s for d in found])
    result["lag_s"] = {"median": float(np.median(lags)), "p95": float(np.percentile(lags, 95))}
    tilt = np.degrees(np.arccos([np.clip(d.turn[1, 1], -1, 1) for d in found]))
    result["tilt_deg"] = {"median": float(np.median(tilt)), "p95": float(np.percentile(tilt, 95))}
    print(f"|lag| {result['lag_s']['median']:.2f} s (median), {result['lag_s']['p95']:.2f} s (95 %); the two verticals differ by {result['tilt_deg']['median']:.1f}° (median), {result['tilt_deg']['p95']:.1f}° (95 %)\n")

    result["joints"] = {}
    jitter = {d: np.nanmean([jitter_mm(p[i]) for p in pairs], axis=0) for i, d in enumerate(("vicon", "kinect"))}
    print(f"{'joint':10} {'cm, 95 % interval':>20} {'n':>4}   offset right, up, forward   varying   jitter mm: Vicon Kinect")
    for name in COMPARED:
        j = J[name]
        offset = mean(np.stack([d.offset[j] for d in found]))
        x = {**row(d.distance[j] for d in found), "offset_cm": [round(float(o), 2) for o in offset], "varying_cm": float(np.nanmean([d.varying[j] for d in found])), "jitter_mm": {k: float(v[j]) for k, v in jitter.items()}}
        result["joints"][name] = x
        print(f"{name:10} {text(x)} {x['n']:4}   {offset[0]:+8.1f} {offset[1]:+6.1f} {offset[2]:+6.1f} {x['varying_cm']:12.1f} {x['jitter_mm']['vicon']:14.1f} {x['jitter_mm']['kinect']:6.1f}")
    result["bones"] = {}
    print("\nlengths (right side), cm: Vicon, Kinect")
    for name, (a, b) in BONES.items():
        lengths = [[100 * float(np.nanmedian(np.linalg.norm(t.positions[:, J[a]] - t.positions[:, J[b]], axis=1))) for t in p] for p in pairs]
        v, k = np.mean(lengths, axis=0)
        result["bones"][name] = {"vicon_cm": float(v), "kinect_cm": float(k)}
        print(f"  {name:16} {v:5.1f} {k:5.1f}")

    result["angles"] = {}
    swapped = [compare(v, k.swapped()) for v, k in pairs]
    print(f"\n{'angle':20} {'degrees, 95 % interval':>22} {'bias':>6} {'correlation':>20} {'n':>5}   sides swapped: degrees, correlation")
    for name in ANGLES:
        columns = [i for i, a in enumerate(angle_names()) if a.startswith(name)]
        of = subjects * len(columns)

        def column(field: str, source: list[Difference], columns: list[int] = columns) -> list[float]:
            return [float(getattr(d, field)[c]) for c in columns for d in source]

        x = {"degrees": row(column("angle", found), of), "bias": float(np.nanmean(column("bias", found))), "correlation": row(column("correlation", found), of)}
        x["swapped"] = {"degrees": float(np.nanmean(column("angle", swapped))), "correlation": float(np.nanmean(column("correlation", swapped)))}
        result["angles"][name] = x
        print(f"{name:20} {text(x['degrees']):>22} {x['bias']:+6.1f} {text(x['correlation'], 2):>20} {x['correlation']['n']:5}   {x['swapped']['degrees']:6.1f} {x['swapped']['correlation']:6.2f}")

    result["movements_table"] = {}
    print(f"\n{'movement':8} {'n':>3} {'cm':>6} {'deg':>6} {'r':>6}   per subject, cm")
    for m in result["movements"]:
        of_m = [(r, d) for r, d in zip(every, found, strict=True) if r.movement == m]
        per = {s: float(np.mean([position_cm(d) for r, d in of_m if r.subject == s])) for s in result["subjects"] if any(r.subject == s for r, _ in of_m)}
        x = {"n": len(of_m), "position_cm": float(np.mean([position_cm(d) for _, d in of_m])), "angle_deg": float(np.mean([angle_deg(d) for _, d in of_m])), "correlation": float(np.nanmean([d.correlation for _, d in of_m])), "subjects": per}
        result["movements_table"][m] = x
        print(f"{m:8} {x['n']:3} {x['position_cm']:6.1f} {x['angle_deg']:6.1f} {x['correlation']:6.2f}   " + " ".join(f"{s} {c:.1f}" for s, c in per.items()))

    result["controls"] = controls(data, every, pairs, found, swapped, wrong, row)
    result["sides"] = sides(every, pairs)
    return result


def controls(data: Path, every: list[Repetition], pairs: list[tuple[Take, Take]], found: list[Difference], swapped: list[Difference], wrong: list[dict[str, list[Repetition]]], row: Callable[..., dict[str, float]]) -> dict[str, Any]:  # fmt: skip
    """Compare each Vicon recording with the Kinect recordings of something else; count how often the right one is nearest."""
    out: dict[str, Any] = {"the same repetition": {"position_cm": row(map(position_cm, found)), "angle_deg": row(map(angle_deg, found))}}
    out["sides swapped"] = {"position_cm": row(map(position_cm, swapped)), "angle_deg": row(map(angle_deg, swapped))}
    for kind in ("another repetition", "another subject", "another movement"):
        cm, deg, ranked, chance = [], [], [], []
        for (v, _), d, w in zip(pairs, found, wrong, strict=True):
            others = [compare(v, take(o.path(data, "kinect"))) for o in w[kind]]
            cm.append(float(np.mean([position_cm(o) for o in others])) if others else np.nan)
            deg.append(float(np.mean([angle_deg(o) for o in others])) if others else np.nan)
            if others:
                ranked.append(all(similarity(o) < similarity(d) for o in others))
                chance.append(1 / (1 + len(others)))
        out[kind] = {"position_cm": row(cm), "angle_deg": row(deg), "first": int(np.sum(ranked)), "of": len(ranked), "chance": float(np.mean(chance))}
    print(f"\n{'Kinect recording of':22} {'cm':>6} {'deg':>6}   the right one is nearest")
    for kind, x in out.items():
        nearest = f"{x['first']} of {x['of']} ({100 * x['first'] / x['of']:.0f} %; by chance {100 * x['chance']:.0f} %)" if "of" in x else ""
        print(f"{kind:22} {x['position_cm']['mean']:6.1f} {x['angle_deg']['mean']:6.1f}   {nearest}")
    return out


def similarity(d: Difference) -> float:
    """How alike two recordings are: minus the mean of what varies (cm), free of constant offsets between the devices."""
    return -float(np.nanmean(d.varying[[J[n] for n in FITTED]]))


def sides(every: list[Repetition], pairs: list[tuple[Take, Take]]) -> dict[str, Any]:
    """Which side moves in the one-sided movements, by each device, against what is known."""
    limbs = {"m02": "Ankle", "m06": "Ankle", "m07": "Wrist", "m08": "Wrist", "m09": "Wrist", "m10": "Wrist"}
    out: dict[str, Any] = {}
    print(f"\n{'side that moves':16} {'n':>3} {'devices agree':>14} {'Vicon as known':>15} {'Kinect as known':>16}")
    for m, limb in limbs.items():
        seen = [(known_side(r), moving_side(v, limb), moving_side(k, limb), r) for r, (v, k) in zip(every, pairs, strict=True) if r.movement == m]
        x = {"n": len(seen), "agree": sum(v == k for _, v, k, _ in seen), "vicon": sum(s == v for s, v, _, _ in seen), "kinect": sum(s == k for s, _, k, _ in seen)}
        x["disagree"] = [f"{r.subject} {r.episode} {'correct' if r.correct else 'incorrect'}: known {s}, Vicon {v}, Kinect {k}" for s, v, k, r in seen if not s == v == k]
        out[m] = x
        print(f"{m:16} {x['n']:3} {x['agree']:14} {x['vicon']:15} {x['kinect']:16}   {'; '.join(x['disagree'])}")
    return out


# ---- Pose2Sim: four videos' keypoints, and the TRC made of them -----------------------------------------------------


@dataclass(frozen=True, eq=False)
class View:
    """A calibrated camera of OpenCV's model: x = K distort((R X + t) / z), with k1, k2, p1, p2."""

    matrix: Array
    distortion: Array
    rotation: Array
    translation: Array

    def distorted(self, n: Array) -> Array:
        k1, k2, p1, p2 = self.distortion
        x, y = n[..., 0], n[..., 1]
        r2 = x * x + y * y
        radial = 1 + k1 * r2 + k2 * r2 * r2
        return np.stack([x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1)

    def project(self, points: Array) -> Array:
        """Pixels (..., 2) of points (..., 3) in the calibration's metres."""
        local = points @ self.rotation.T + self.translation
        return self.distorted(local[..., :2] / local[..., 2:]) @ self.matrix[:2, :2].T + self.matrix[:2, 2]

    def undistorted(self, pixels: Array) -> Array:
        """Normalised image points (..., 2) of pixels, by fixed-point iteration."""
        wanted = (pixels - self.matrix[:2, 2]) / np.diag(self.matrix)[:2]
        n = wanted.copy()
        for _ in range(5):
            n = n + wanted - self.distorted(n)
        return n


def views(path: Path) -> list[View]:
    from scipy.spatial.transform import Rotation

    cameras = [c for name, c in sorted(tomllib.loads(path.read_text("utf-8")).items()) if name != "metadata"]
    return [View(np.array(c["matrix"]), np.array(c["distortions"]), Rotation.from_rotvec(c["rotation"]).as_matrix(), np.array(c["translation"])) for c in cameras]


MIN_SCORE, MAX_ERROR_PX = 0.3, 15.0  # a keypoint's score, and its distance from the reprojection of the others' point


def triangulate(cameras: list[View], pixels: Array, scores: Array) -> tuple[Array, Array]:
    """Return points (T, J, 3) and the used (C, T, J) from pixels (C, T, J, 2) and scores (C, T, J).

    Direct linear transformation weighted with the scores (Hartley and Zisserman, Multiple View Geometry, 12.2), by as many
    cameras as agree within a mean reprojection error of MAX_ERROR_PX: all, else the best three, else the best two.
    """
    seen = np.isfinite(pixels).all(-1) & (scores >= MIN_SCORE)
    rows = []
    for camera, p in zip(cameras, pixels, strict=True):
        n = camera.undistorted(p)
        m = np.concatenate([camera.rotation, camera.translation[:, None]], axis=1)
        rows.append(np.stack([n[..., :1] * m[2] - m[0], n[..., 1:] * m[2] - m[1]], axis=-2))
    equations = np.nan_to_num(np.stack(rows)) * np.where(seen, scores, 0)[..., None, None]  # (C, T, J, 2, 4)
    points, used = np.full((*pixels.shape[1:3], 3), np.nan), np.zeros(seen.shape, bool)
    for size in range(len(cameras), 1, -1):
        least = np.full(pixels.shape[1:3], MAX_ERROR_PX)
        open_ = ~used.any(0)
        for group in combinations(range(len(cameras)), size):
            of = list(group)
            system = np.moveaxis(equations[of], 0, -3).reshape(*pixels.shape[1:3], -1, 4)
            h = np.linalg.svd(system)[2][..., -1, :]
            with np.errstate(divide="ignore", invalid="ignore"):
                made = h[..., :3] / h[..., 3:]
                error = np.mean([np.linalg.norm(cameras[c].project(made) - pixels[c], axis=-1) for c in of], axis=0)
            better = open_ & seen[of].all(0) & (error <= least)
            least = np.where(better, error, least)
            points = np.where(better[..., None], made, points)
            used = np.where(better, np.isin(np.arange(len(cameras)), of)[:, None, None], used)
    return points, used


def videos(folder: Path, format: str | None = None) -> list[list[lmm.Motion]]:
    """For each camera its people, as BODY_25."""
    folders = sorted((folder / "openpose_body25b_json").glob("cam*_json"))
    return [[lmm.to_body25(m) for m in lmm.read_people(f, source_fps=60, format=format)] for f in folders]


def whole(motion: lmm.Motion, frames: int) -> tuple[Array, Array]:
    """Pixels (frames, 25, 2) and scores of a track put on the recording's own frame numbers."""
    first = round(motion.start_s * motion.fps)
    pixels, scores = np.full((frames, 25, 2), np.nan), np.zeros((frames, 25))
    n = min(motion.num_frames, frames - first)
    pixels[first : first + n], scores[first : first + n] = motion.positions[:n], motion.confidence[:n]
    return pixels, scores


def people_of_all_cameras(cameras: list[View], seen: list[list[lmm.Motion]], frames: int) -> tuple[Array, Array, Array, Array]:
    """Return pixels, scores, points and use of the people, one a camera, who triangulate best (most cameras kept)."""
    best: tuple[Array, Array, Array, Array] | None = None
    for chosen in product(*seen):
        tracks = [whole(m, frames) for m in chosen]
        pixels, scores = np.stack([p for p, _ in tracks]), np.stack([s for _, s in tracks])
        points, use = triangulate(cameras, pixels, scores)
        if best is None or use.sum() > best[3].sum():
            best = pixels, scores, points, use
    assert best is not None
    return best


def pose2sim(data: Path, format: str | None = None, loud: bool = True) -> dict[str, Any]:
    folder = data / "pose2sim_balancing"
    motion = lmm.to_body25(lmm.read(folder / "trc" / "S00_P00_T01_BalancingTrial_0-100.trc"))
    truth = motion.positions[..., [2, 0, 1]].astype(np.float64)  # the calibration's z is up: (z, x, y) of the TRC
    cameras = views(folder / "calibration" / "Calib_qualisys.toml")
    pixels, scores, points, use = people_of_all_cameras(cameras, videos(folder, format), len(truth))
    distance = 1000 * np.linalg.norm(points - truth, axis=-1)
    error = np.stack([np.linalg.norm(c.project(truth) - p, axis=-1) for c, p in zip(cameras, pixels, strict=True)])
    error[scores < MIN_SCORE] = np.nan
    compared = [n for n in BODY_25.joints if np.isfinite(truth[:, J[n]]).any()]
    where = [J[n] for n in compared]
    both = np.isfinite(distance[:, where])
    out: dict[str, Any] = {
        "frames": len(truth), "triangulated": float(both.mean()),
        "median_mm": float(np.nanmedian(distance[:, where])), "p95_mm": float(np.nanpercentile(distance[:, where], 95)),
        "under_10_mm": float((distance[:, where][both] < 10).mean()),
        "median_px": float(np.nanmedian(error[..., where])), "p95_px": float(np.nanpercentile(error[..., where], 95)),
        "cameras_used": float(use[..., where].sum(0)[both].mean()), "joints": {},
    }  # fmt: skip
    shifts = {}
    for shift in (-2, -1, 0, 1, 2):
        a, b = truth[max(0, shift) : len(truth) + min(0, shift)], points[max(0, -shift) : len(truth) + min(0, -shift)]
        shifts[str(shift)] = float(1000 * np.nanmedian(np.linalg.norm(a - b, axis=-1)))
    out["frame_shift_mm"] = shifts
    for name in compared:
        d, e = distance[:, J[name]], error[..., J[name]]
        seen = np.isfinite(d)
        out["joints"][name] = {
            "median_mm": float(np.median(d[seen])) if seen.any() else float("nan"), "p95_mm": float(np.percentile(d[seen], 95)) if seen.any() else float("nan"), "used": float(seen.mean()),
            "px": [float(np.median(c[np.isfinite(c)])) if np.isfinite(c).any() else float("nan") for c in e], "seen": [float(np.isfinite(c).mean()) for c in e], "cameras": float(use[..., J[name]].sum(0)[seen].mean()) if seen.any() else 0.0,
        }  # fmt: skip
    if loud:
        print(f"\nPose2Sim: {len(truth)} frames, four cameras, triangulated here against the TRC; and the TRC projected into each camera")
        print(f"{'joint':10} {'mm: median':>11} {'95 %':>7} {'frames used':>12} {'cameras':>8}   pixels: cam01 cam02 cam03 cam04")
        for name, x in out["joints"].items():
            print(f"{name:10} {x['median_mm']:11.2f} {x['p95_mm']:7.1f} {100 * x['used']:10.0f} % {x['cameras']:8.1f}          " + " ".join(f"{p:5.1f}" for p in x["px"]))
    kind = format or "detected (BODY_25B)"
    print(f"\nread as {kind}: median {out['median_mm']:.2f} mm (95 % {out['p95_mm']:.1f}), {100 * out['under_10_mm']:.0f} % under 10 mm, {100 * out['triangulated']:.0f} % triangulated; {out['median_px']:.1f} px (95 % {out['p95_px']:.1f})")
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
    result = {"benchmark": "agreement", "date": date.today().isoformat(), "commit": git.stdout.strip(), "lmm": lmm.__version__}
    result |= {"uiprmd": uiprmd(given.data), "pose2sim": pose2sim(given.data), "pose2sim_as_body25": pose2sim(given.data, "openpose-body25", loud=False)}
    line = json.dumps(result)
    print(f"\n{line}")
    if given.out:
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(line + "\n", "utf-8")


if __name__ == "__main__":
    main()
