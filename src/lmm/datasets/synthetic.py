"""Motions made by formula, with known answers: a walker, a still person, arm raises. Nothing here was recorded.

They are the bundled demonstration clip and the fixtures of tests. The walker's joint angles are smooth curves through
published key values of normal gait; every number and its source is in ``gait_curves.toml`` beside this module.
World space: metres, y up, facing +z at the start, so that the person's left is +x; the floor is y = 0.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.geometry import axis_rotation
from lmm.core.motion import Motion, make_motion
from lmm.skeletons import table

Array = NDArray[Any]

MAX_SECONDS = 600.0
SIDES = (("R", -1.0), ("L", 1.0))
STEP_RATE = 240  # integration steps per second, at least
CONTACT_SCALE = 0.004  # metres: a sole point this much above the lowest one carries 1/e of its weight


def gait(
    seconds: float = 10.0,
    fps: float = 30.0,
    height_m: float = 1.75,
    speed_mps: float | None = None,
    cadence_spm: float | None = None,
    seed: int | None = None,
    turn_deg_per_s: float = 0.0,
) -> Motion:
    """Return a walking person, (T, 25, 3).

    The hip, knee and ankle follow the curves of ``gait_curves.toml``, the left leg half a cycle after the right, whose
    heel strikes at time 0. The root is moved so that the sole points on the floor stay where they are. `cadence_spm` is
    in steps per minute; steps are as long as the curves make them (0.43 of the height), unless both it and `speed_mps`
    are given: then the leg's angles are scaled. `turn_deg_per_s` is positive to the left. `seed` adds slow changes of
    some 2 % to cadence and amplitude; without it all strides are equal.
    Raises MotionError on values outside a walking adult's range.
    """
    _check(seconds, fps)
    if not 0.5 <= height_m <= 2.5:
        raise MotionError(f"height_m must lie between 0.5 and 2.5, got {height_m}.")
    if cadence_spm is not None and not 30 <= cadence_spm <= 200:
        raise MotionError(f"cadence_spm must lie between 30 and 200, got {cadence_spm}.")
    if speed_mps is not None and not 0.2 <= speed_mps <= 2.5:
        raise MotionError(f"speed_mps must lie between 0.2 and 2.5, got {speed_mps}.")
    if not abs(turn_deg_per_s) <= 90:
        raise MotionError(f"turn_deg_per_s must lie between -90 and 90, got {turn_deg_per_s}.")
    scale = 1.0
    if cadence_spm is None:
        natural = _data()["cadence_spm"]
        cadence_spm = natural if speed_mps is None else speed_mps * 60 / _step_length(1.0, height_m)
    elif speed_mps is not None:
        scale = _scale_for(speed_mps * 60 / cadence_spm, height_m)

    sub = int(np.ceil(STEP_RATE / fps))
    frames = max(1, round(seconds * fps))
    t = np.arange((frames - 1) * sub + 1) / (fps * sub)
    rate, amplitude = np.full(len(t), cadence_spm / 120), np.full(len(t), scale)
    if seed is not None:
        rng = np.random.default_rng(seed)
        rate, amplitude = rate * _wander(rng, t), amplitude * _wander(rng, t)
    phase = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(t))])
    positions = _walk(phase, amplitude, np.radians(turn_deg_per_s) * t, height_m)[::sub]
    return _motion(positions, fps, f"walking, {_data()['citation']}")


def standing(seconds: float = 2.0, fps: float = 30.0, height_m: float = 1.75) -> Motion:
    """Return a person who stands still with hanging arms, (T, 25, 3). Raises MotionError on a bad duration or rate."""
    return swing(0.0, 1.0, seconds, fps, height_m)


def swing(
    amplitude_deg: float, frequency_hz: float, seconds: float = 4.0, fps: float = 30.0, height_m: float = 1.75
) -> Motion:
    """Return a person who stands and raises the straight right arm forwards again and again, (T, 25, 3).

    The angle between the arm and the vertical is amplitude_deg * (1 - cos(2 pi frequency_hz t)) / 2, t in seconds.
    Raises MotionError on a bad duration or rate.
    """
    _check(seconds, fps)
    t = np.arange(max(1, round(seconds * fps))) / fps
    return _stand(
        {"shoulder": np.radians(amplitude_deg) * (1 - np.cos(2 * np.pi * frequency_hz * t)) / 2}, fps, height_m
    )


def repetitions(count: int, period_s: float = 2.0, fps: float = 30.0, height_m: float = 1.75) -> Motion:
    """Return `count` raises of the straight right arm to 120 degrees, one every `period_s`, (T, 25, 3).

    The person stands still for one second before the first raise and after the last.
    Raises MotionError on a bad count, period, duration or rate.
    """
    if not (count >= 0 and period_s > 0):
        raise MotionError(f"repetitions need a count of 0 or more and a period over 0 s, got {count} and {period_s}.")
    seconds = count * period_s + 2
    _check(seconds, fps)
    t = np.clip(np.arange(round(seconds * fps)) / fps - 1, 0, count * period_s)
    return _stand({"shoulder": np.radians(120) * (1 - np.cos(2 * np.pi * t / period_s)) / 2}, fps, height_m)


def leg_angles(phase: Array) -> dict[str, Array]:
    """Return the walker's ``thigh`` (to the vertical), ``knee`` (flexion) and ``ankle`` (dorsiflexion), radians, at
    `phase` (T,) in cycles of the same side, 0 at its initial contact."""
    return {name: curve(phase) for name, curve in _curves().items()}


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads((resources.files("lmm.datasets") / "gait_curves.toml").read_text("utf-8"))


@cache
def _curves() -> dict[str, Callable[[Array], Array]]:
    from scipy.interpolate import CubicSpline

    out: dict[str, Callable[[Array], Array]] = {}
    for name, degrees in _data()["curves"].items():
        knots = np.linspace(0, 1, len(degrees) + 1)
        out[name] = CubicSpline(knots, np.radians([*degrees, degrees[0]]), bc_type="periodic")
    return out


def _sine(name: str, phase: Array) -> Array:
    s = _data()["sines"][name]
    value = s["mean"] + s["amplitude"] * np.cos(2 * np.pi * (phase - s["peak"] / 100))
    return np.asarray(value if name.endswith("_m") else np.radians(value))


def _check(seconds: float, fps: float) -> None:
    if not 0 < seconds <= MAX_SECONDS:
        raise MotionError(f"the duration must be over 0 and at most {MAX_SECONDS:g} seconds, got {seconds}.")
    if not 1 <= fps <= 1000:
        raise MotionError(f"the frame rate must lie between 1 and 1000 frames per second, got {fps}.")


def _wander(rng: np.random.Generator, t: Array) -> Array:
    """Return a slow random factor (T,) around 1, of about 2 %."""
    period_s, start = rng.uniform(2, 8, 3), rng.uniform(0, 2 * np.pi, 3)
    return np.asarray(1 + 0.016 * np.sin(2 * np.pi * t[:, None] / period_s + start).sum(axis=1))


def _walk(phase: Array, amplitude: Array, turn: Array, height_m: float) -> Array:
    """Return positions (T, 25, 3) of a walk at `phase` cycles of the right leg, with leg angles times `amplitude` and
    heading `turn`, all (T,).

    The root moves against the mean motion of the sole points, each weighted by how near to the lowest one it is; its
    height is a smooth maximum over them, which leaves up to 5 mm between sole and floor and never goes below it.
    """
    angles = {
        "pelvis_rotation": _sine("pelvis_rotation", phase) * amplitude,
        "pelvis_obliquity": _sine("pelvis_obliquity", phase) * amplitude,
        "thorax_rotation": _sine("thorax_rotation", phase),
        "sway_m": _sine("sway_m", phase) * height_m / 1.75,
    }
    for side, own in (("R", phase), ("L", phase + 0.5)):
        angles |= {side + name: a * amplitude for name, a in leg_angles(own).items()}
        angles |= {side + name: _sine(name, own) for name in ("shoulder", "elbow")}
    body = axis_rotation("y", turn)[:, None] @ _pose(angles, len(phase), height_m)[..., None]
    body = body[..., 0]

    index = table("body_25").skeleton.index
    soles = body[:, [index[side + name] for side, _ in SIDES for name in ("Heel", "BigToe")]]
    above = soles[..., 1] - soles[..., 1].min(axis=1, keepdims=True)
    weight = np.exp(-(above[1:] + above[:-1]) / (2 * CONTACT_SCALE))
    weight /= weight.sum(axis=1, keepdims=True)
    root = np.zeros((len(phase), 3))
    root[1:] = -np.cumsum((weight[..., None] * np.diff(soles, axis=0)).sum(axis=1), axis=0)
    lift = CONTACT_SCALE * np.log(np.exp(-above / CONTACT_SCALE).sum(axis=1))
    root[:, 1] = lift - body[..., 1].min(axis=1)
    return np.asarray(body + root[:, None])


def _step_length(scale: float, height_m: float) -> float:
    """Return the length in metres of one step whose leg angles are `scale` times the curves'."""
    phase = np.linspace(0, 1, 2 * STEP_RATE + 1)
    walk = _walk(phase, np.full(len(phase), scale), np.zeros(len(phase)), height_m)
    mid_hip = table("body_25").skeleton.index["MidHip"]
    return float(walk[-1, mid_hip, 2] - walk[0, mid_hip, 2]) / 2


def _scale_for(step_m: float, height_m: float) -> float:
    """Return the factor on the leg's angles that gives steps of `step_m`, by bisection."""
    low, high = 0.85, 1.15
    shortest, longest = _step_length(low, height_m), _step_length(high, height_m)
    if not shortest <= step_m <= longest:
        raise MotionError(
            f"steps of {step_m:.2f} m are out of reach for a person of {height_m:g} m "
            f"({shortest:.2f} to {longest:.2f} m); choose another speed_mps or cadence_spm."
        )
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if _step_length(middle, height_m) < step_m else (low, middle)
    return (low + high) / 2


def _pose(angles: dict[str, Array], frames: int, height_m: float) -> Array:
    """Return positions (T, 25, 3) relative to MidHip, facing +z; an angle that is not given is 0.

    The legs swing in planes along the heading, tilted sideways by the step width and the sway; the soles stay level
    from side to side. The trunk is upright and the head looks ahead.
    """
    body = {k: np.multiply(v, height_m) for part in _data()["body"].values() for k, v in part.items()}
    zero = np.zeros(frames)
    angle = {
        name: angles.get(name, zero) for name in ("pelvis_rotation", "pelvis_obliquity", "thorax_rotation", "sway_m")
    }
    at: dict[str, Array] = {"MidHip": np.zeros((frames, 3))}
    at["Neck"] = at["MidHip"] + [0, body["shoulder_height"] - body["thigh"] - body["shank"] - body["ankle_height"], 0]
    at["Nose"] = at["Neck"] + body["nose"]
    pelvis = axis_rotation("y", angle["pelvis_rotation"]) @ axis_rotation("z", -angle["pelvis_obliquity"])
    thorax = axis_rotation("y", angle["thorax_rotation"])
    leg_m = body["thigh"] + body["shank"]
    for side, sign in SIDES:
        for name in ("Eye", "Ear"):
            at[side + name] = at["Neck"] + body[name.lower()] * [sign, 1, 1]

        shoulder, elbow = (angles.get(side + name, zero) for name in ("shoulder", "elbow"))
        at[side + "Shoulder"] = at["Neck"] + thorax @ [sign * body["half_shoulders"], 0, 0]
        at[side + "Elbow"] = at[side + "Shoulder"] + _down(thorax @ _flexion(shoulder), body["upper_arm"])
        at[side + "Wrist"] = at[side + "Elbow"] + _down(thorax @ _flexion(shoulder + elbow), body["forearm"])

        thigh, knee, ankle = (angles.get(side + name, zero) for name in ("thigh", "knee", "ankle"))
        inward = sign * (body["half_hips"] - body["half_step_width"])
        tilt = axis_rotation("z", np.arcsin((angle["sway_m"] - inward) / leg_m))
        foot = _flexion(thigh - knee + ankle)
        at[side + "Hip"] = at["MidHip"] + pelvis @ [sign * body["half_hips"], 0, 0]
        at[side + "Knee"] = at[side + "Hip"] + _down(tilt @ _flexion(thigh), body["thigh"])
        at[side + "Ankle"] = at[side + "Knee"] + _down(tilt @ _flexion(thigh - knee), body["shank"])
        for name, across, ahead in (
            ("Heel", 0.0, -body["heel_behind_ankle"]),
            ("BigToe", -body["big_toe_inward"], body["toe_before_ankle"]),
            ("SmallToe", body["small_toe_outward"], body["toe_before_ankle"] - body["small_toe_back"]),
        ):
            at[side + name] = at[side + "Ankle"] + foot @ [sign * across, -body["ankle_height"], ahead]
    return np.stack([at[name] for name in table("body_25").skeleton.joints], axis=1)


def _flexion(angle: Array) -> Array:
    """Return rotations (T, 3, 3) that swing a hanging limb forwards (towards +z) by `angle` (T,)."""
    return axis_rotation("x", -angle)


def _down(rotation: Array, length_m: float) -> Array:
    return np.asarray(rotation @ [0, -length_m, 0])


def _stand(right_arm: dict[str, Array], fps: float, height_m: float) -> Motion:
    angles = {"R" + name: angle for name, angle in right_arm.items()}
    body = _pose(angles, len(next(iter(angles.values()))), height_m)
    return _motion(body - [0, body[..., 1].min(), 0], fps, "standing")


def _motion(positions: Array, fps: float, what: str) -> Motion:
    meta = {
        "source": "lmm.datasets.synthetic",
        "synthetic": True,
        "description": f"synthetic: {what}",
        "licence": "Apache-2.0",
    }
    return make_motion(positions, fps, table("body_25").skeleton, "world", meta=meta)
