"""Plausibility of a BODY_25 motion: figures, and checks with stated limits. Nothing here changes the motion."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.motion import FLAG_NAMES, MISSING, REMOVED, Motion

Array = NDArray[Any]

# figure → (lowest, highest, what a value outside means). See docs/plausibility.md.
LIMITS: dict[str, tuple[float, float, str]] = {
    "trunk_m": (0.30, 0.75, "the trunk is not of human size: check --units"),
    "thigh_m": (0.28, 0.60, "the thigh is not of human size: check --units"),
    "upper_arm_m": (0.18, 0.42, "the upper arm is not of human size: check --units"),
    "bone_length_cv": (0.0, 0.12, "bones change their length: tracking is poor, or joints are confused"),
    "hip_height_m": (0.05, 1.35, "the hips are not at a human height above the feet: check --units and --up"),
    "speed_p99_mps": (0.0, 15.0, "joints move faster than people do: check --source-fps and --units"),
    # 15 m/s of a trunk of 0.5 m
    "speed_p99_trunks_ps": (0.0, 30.0, "joints leap: they were lost or confused, or --source-fps is wrong"),
}
UPRIGHT_LIMIT = 0.5
LEFT_LIMIT = 0.6


def quality(motion: Motion) -> dict[str, Any]:
    """Return the figures of a BODY_25 motion, and ``warnings``, a list of sentences (empty if all checks pass).

    missing, removed, interpolated, synthesised: fractions of samples · joints: joints ever observed · trunk_m, thigh_m,
    upper_arm_m: median lengths · bone_length_cv: median over trunk and limb bones of std / mean · hip_height_m: median
    height of the hips above the lower foot · speed_p99_mps: 99th percentile over the frames of the fastest joint's
    speed · upright: fraction of frames with the neck above the hips · left_is_left: fraction of frames in which the
    left side lies to the left of where knees bend and flat feet point (else any foot, else the face); None if unknown.
    Lengths and speeds are in
    metres for world motions and in trunk lengths for image motions (there only the speed has a limit: perspective
    changes them).
    """
    p = motion.positions.astype(np.float64)
    at = motion.skeleton.index
    flags = motion.flags
    figures: dict[str, Any] = {
        "missing": _round(((flags == MISSING) | (flags == REMOVED)).mean()),
        **{
            name: _round((flags == k).mean())
            for k, name in enumerate(FLAG_NAMES)
            if name in ("removed", "interpolated", "synthesised")
        },
        "joints": int(motion.observed.any(axis=0).sum()),
    }

    def length(a: str, b: str) -> Array:
        return np.asarray(np.linalg.norm(p[:, at[a]] - p[:, at[b]], axis=-1))

    trunk = _median(length("Neck", "MidHip"))
    world = motion.space == "world"
    unit = 1.0 if world else trunk
    suffix = ("_m", "_mps") if world else ("_trunks", "_trunks_ps")
    if world:
        figures["trunk_m"] = _round(trunk)
        figures["thigh_m"] = _round(_median(np.concatenate([length("RHip", "RKnee"), length("LHip", "LKnee")])))
        figures["upper_arm_m"] = _round(
            _median(np.concatenate([length("RShoulder", "RElbow"), length("LShoulder", "LElbow")]))
        )
        bones = [("Neck", "MidHip")] + [
            (f"{s}{a}", f"{s}{b}")
            for s in "RL"
            for a, b in (("Shoulder", "Elbow"), ("Elbow", "Wrist"), ("Hip", "Knee"), ("Knee", "Ankle"))
        ]
        cv = [c for c in (_cv(length(a, b)) for a, b in bones) if c is not None]
        figures["bone_length_cv"] = _round(float(np.median(cv))) if cv else None
    up = -1 if motion.space == "image" else 1
    feet = np.stack([p[:, at[n], 1] * up for n in ("RAnkle", "LAnkle", "RBigToe", "LBigToe", "RHeel", "LHeel")])
    figures["hip_height" + suffix[0]] = _round(
        _median(p[:, at["MidHip"], 1] * up - _nanmin(feet)) / unit if unit else None
    )
    figures["speed_p99" + suffix[1]] = _round(_fastest(motion, p) / unit if unit else None)
    above = (p[:, at["Neck"], 1] - p[:, at["MidHip"], 1]) * up
    above = above[np.isfinite(above)]
    figures["upright"] = _round((above > 0).mean()) if len(above) else None
    figures["left_is_left"] = _left_is_left(p, at) if world else _left_is_left_2d(p, at, trunk)
    figures["warnings"] = _warnings(figures)
    return figures


def _warnings(figures: dict[str, Any]) -> list[str]:
    out = []
    for name, (low, high, meaning) in LIMITS.items():
        value = figures.get(name)
        if value is not None and not low <= value <= high:
            out.append(f"{name} is {value:g}, expected {low:g} to {high:g}: {meaning}.")
    if figures["upright"] is not None and figures["upright"] < UPRIGHT_LIMIT:
        out.append(f"the neck is above the hips in only {figures['upright']:.0%} of the frames: check --up.")
    if figures["left_is_left"] is not None and figures["left_is_left"] < LEFT_LIMIT:
        out.append("looks mirrored: left and right joints are on the wrong sides for the way the person faces.")
    return out


def _left_is_left(p: Array, at: dict[str, int]) -> float | None:
    """Fraction of frames in which lateral × up agrees with where feet point and knees bend, or else the face points."""
    lateral = _nanmean(np.stack([p[:, at[f"L{s}"]] - p[:, at[f"R{s}"]] for s in ("Shoulder", "Hip")]))
    forward = np.stack([-lateral[:, 2], lateral[:, 0]], -1)
    feet = [p[:, at[f"{s}BigToe"]] - p[:, at[f"{s}{b}"]] for s in "RL" for b in ("Ankle", "Heel")]
    flat = [_where(f, np.hypot(f[:, 0], f[:, 2]) > 0.6 * np.linalg.norm(f, axis=1)) for f in feet]
    legs = [(p[:, at[f"{s}Hip"]], p[:, at[f"{s}Knee"]], p[:, at[f"{s}Ankle"]]) for s in "RL"]
    bends = [(2 * k - h - a, np.linalg.norm(h - k, axis=1) + np.linalg.norm(k - a, axis=1)) for h, k, a in legs]
    knees = [_where(b, np.linalg.norm(b, axis=1) > 0.3 * length) for b, length in bends]
    face = [p[:, at["Nose"]] - p[:, at[f"{s}Ear"]] for s in "RL"]
    told = np.full(len(p), np.nan)
    for evidence in (knees, flat, feet, face):
        pointing = _nanmean(np.stack(evidence))[:, [0, 2]]
        agree = (pointing * forward).sum(axis=-1)
        sizes = np.linalg.norm(pointing, axis=-1) * np.linalg.norm(forward, axis=-1)
        clear = np.isnan(told) & (np.abs(agree) > 0.3 * sizes)
        told[clear] = agree[clear] > 0
    told = told[np.isfinite(told)]
    return _round(told.mean()) if len(told) else None


def _where(vectors: Array, telling: Array) -> Array:
    """Keep the vectors (T, 3) of telling frames: a foot in the air may point anywhere, a straight leg does not bend."""
    return np.where(telling[:, None], vectors, np.nan)


def _left_is_left_2d(p: Array, at: dict[str, int], trunk: float) -> float | None:
    """Fraction of frames in which face and shoulders agree on which side is left (a mirrored video cannot be told)."""
    face = _nanmean(np.stack([p[:, at[f"L{s}"], 0] - p[:, at[f"R{s}"], 0] for s in ("Eye", "Ear")]))
    body = _nanmean(np.stack([p[:, at[f"L{s}"], 0] - p[:, at[f"R{s}"], 0] for s in ("Shoulder", "Hip")]))
    clear = np.isfinite(face * body) & (np.abs(face) > 0.08 * trunk) & (np.abs(body) > 0.3 * trunk)
    return _round((face[clear] * body[clear] > 0).mean()) if clear.any() else None


def _fastest(motion: Motion, p: Array) -> float:
    if motion.num_frames < 2:
        return float("nan")
    speed = np.linalg.norm(np.diff(p, axis=0), axis=-1) / np.diff(motion.clock)[:, None]
    speed = np.where(np.isfinite(speed), speed, -1).max(axis=1)
    return float(np.percentile(speed[speed >= 0], 99)) if (speed >= 0).any() else float("nan")


def _median(x: Array) -> float:
    x = x[np.isfinite(x)]
    return float(np.median(x)) if len(x) else float("nan")


def _cv(x: Array) -> float | None:
    x = x[np.isfinite(x)]
    return float(x.std() / x.mean()) if len(x) > 1 and x.mean() > 0 else None


def _nanmean(x: Array) -> Array:
    seen = np.isfinite(x)
    count = seen.sum(axis=0)
    return np.where(count > 0, np.where(seen, x, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _nanmin(x: Array) -> Array:
    low = np.where(np.isfinite(x), x, np.inf).min(axis=0)
    return np.where(np.isfinite(low), low, np.nan)


def _round(x: float | None) -> float | None:
    return None if x is None or not np.isfinite(x) else round(float(x), 4)
