"""What a motion plainly shows: where it goes, how it turns, which side moves, what is raised, how often.

Of BODY_25 motions in metres. Everything is measured from joint places alone (neck, shoulders, elbows, wrists, hips,
knees, ankles), and told only where it is beyond doubt: each property is None, or empty, between its thresholds. Left
and right are the person's own. Lengths of limbs' movements are in body lengths (neck to mid-hip, about half a metre).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from lmm.analysis.angles import SIDES, joint_angles
from lmm.core.geometry import heading
from lmm.core.motion import Motion
from lmm.skeletons import BODY_25

Array = NDArray[Any]

NEEDED = ("Neck", "MidHip", "RShoulder", "LShoulder", "RHip", "LHip")
LEAST_SEEN = 0.8  # of the frames, for a joint to be measured
SMOOTH_S = 0.25  # of the way and the heading: about half a step
END_S = 0.2  # begin and end are means over this long
GRAVITY = 9.81

LEAST_WAY_M = 0.8  # travelled in all, to have a direction
ALONG = 0.85  # share of the way that adds up, seen by the person; the rest is sway, and going back
AXIS_DEG, DIAGONAL_DEG = 20.0, (25.0, 65.0)  # off forward, or sideways: along it; diagonal
STAYS_M = 0.35  # mid-hip and ankles within this of their median places: on the spot
SLOW_MPS, FAST_MPS = 0.7, 1.6  # a walk that is slow, that is fast
WALK_MPS, RUN_MPS = 1.9, 2.3  # walks are slower, runs faster ...
WALK_SPM, RUN_SPM = 140.0, 140.0  # ... and have fewer steps a minute, or more
LEVEL_M = 0.25  # a walk's mid-hip goes up and down less: else it may be stairs, or climbing
LEAST_STEP = 0.25  # body lengths between the ankles along the heading
TURN_DEG, STRAIGHT_DEG = 60.0, 25.0  # turned; went straight
TURN_BACK = 0.25  # of a turn: more against it is no turn
CIRCLE_DEG = 300.0

ARM_MOVES, ARM_STILL = 0.45, 0.25  # body lengths: range of a wrist about the neck
LEADS = 2.0  # times the range of the other side, to be the side that moves
LIKE = 1.4  # at most, for both to move
LEG_MOVES, LEG_STILL = 0.35, 0.15  # body lengths: range of an ankle about the mid-hip's place and heading
RAISED, LOWERED, OVERHEAD = 0.1, -0.25, 0.65  # body lengths: wrist above shoulder; above neck for overhead
LIFTED, DOWN = 0.35, 0.12  # body lengths: ankle above where it stands
KNEE_BENT_DEG, KNEE_DEEP_DEG, KNEE_STRAIGHT_DEG = 65.0, 95.0, 35.0
BOW_DEG, UPRIGHT_DEG = 40.0, 15.0
AIR_M, AIR_S = 0.08, 0.13  # both feet this much above where they stood, for this long, the hips falling freely
STILL_MPS = 0.06  # mean speed of the joints


@dataclass(frozen=True)
class Facts:
    """Numbers of one motion, and what they say.

    seconds       duration
    way_m         length of the mid-hip's way over the ground, m; `forward_m`, `left_m` of it along the heading and to
                  the left of it (negative: backwards, to the right)
    radius_m      greatest distance of the mid-hip and the ankles from their median places over the ground, m
    turn_deg      from the first heading to the last, positive to the left; `turned_back_deg` the greatest against it
    speed_mps     way over time; `joint_mps` mean speed of all joints
    arm_range     side → range of the wrist about the neck, body lengths; `leg_range` of the ankle over the ground
    raised        side → how often the wrist comes above the shoulder from below it
    overhead      side → the wrist comes above the head
    lifted        side → how often the foot is lifted while the other stands, on the spot
    crouches      how often both knees bend from a stand; `knee_deg` the most that both bend at once
    bow_deg       the most that the trunk leans forward from upright, 0 if it never is upright
    jumps         how often both feet are in the air, the body falling freely
    walks, runs   feet alternate at a walking, a running speed
    """

    seconds: float
    way_m: float
    forward_m: float
    left_m: float
    radius_m: float
    turn_deg: float
    turned_back_deg: float
    speed_mps: float
    joint_mps: float
    arm_range: dict[str, float]
    leg_range: dict[str, float]
    raised: dict[str, int]
    overhead: dict[str, bool]
    lifted: dict[str, int]
    crouches: int
    knee_deg: float
    bow_deg: float
    jumps: int
    walks: bool
    runs: bool

    @property
    def stays(self) -> bool:
        """Whether the person stays on the spot."""
        return self.radius_m <= STAYS_M

    @property
    def still(self) -> bool:
        """Whether the person hardly moves at all."""
        return self.stays and self.joint_mps <= STILL_MPS and max(self.arm_range.values(), default=0) < ARM_STILL

    @property
    def direction(self) -> str | None:
        """``forward``, ``backwards``, ``left``, ``right``, ``forward left``, ``forward right``, or None.

        As the person sees it, all the way: along the heading of each instant, so that a curve goes forward.
        """
        gone = float(np.hypot(self.forward_m, self.left_m))
        if self.way_m < LEAST_WAY_M or self.stays or gone < ALONG * self.way_m:
            return None
        off = float(np.degrees(np.arctan2(self.left_m, self.forward_m)))
        for name, axis in (("forward", 0.0), ("left", 90.0), ("right", -90.0)):
            if abs(off - axis) <= AXIS_DEG:
                return name
        if abs(off) >= 180 - AXIS_DEG:
            return "backwards"
        low, high = DIAGONAL_DEG
        return ("forward left" if off > 0 else "forward right") if low <= abs(off) <= high else None

    @property
    def turn(self) -> str | None:
        """``left`` or ``right``, where the person turns that way by TURN_DEG or more and hardly back; else None."""
        if abs(self.turn_deg) < TURN_DEG or self.turned_back_deg > TURN_BACK * abs(self.turn_deg):
            return None
        return "left" if self.turn_deg > 0 else "right"

    @property
    def straight(self) -> bool:
        """Whether the person hardly turns."""
        return abs(self.turn_deg) <= STRAIGHT_DEG and self.turned_back_deg <= STRAIGHT_DEG

    @property
    def arm(self) -> str | None:
        """The arm that moves: ``right``, ``left``, ``both`` alike, or None."""
        return _side(self.arm_range, ARM_MOVES, ARM_STILL)

    @property
    def leg(self) -> str | None:
        """The leg that moves more while the person stays on the spot: ``right``, ``left``, or None."""
        side = _side(self.leg_range, LEG_MOVES, LEG_STILL)
        return side if side != "both" else None

    @property
    def raises(self) -> str | None:
        """The hands that are raised above the shoulder: ``right``, ``left``, ``both``, or None."""
        up = [side for side, times in self.raised.items() if times]
        if len(up) == 2:
            return "both" if self.raised["right"] == self.raised["left"] else None
        return up[0] if up and len(self.raised) == 2 else None

    @property
    def lifts(self) -> str | None:
        """The foot that is lifted: ``right``, ``left``, or None."""
        up = [side for side, times in self.lifted.items() if times]
        return up[0] if len(up) == 1 else None


def facts(motion: Motion) -> Facts | None:
    """Return what a clean BODY_25 motion in metres shows; None where trunk, hips or shoulders are not seen.

    Raises MotionError unless the motion is BODY_25.
    """
    angles = joint_angles(motion)
    if motion.space != "world" or motion.num_frames < 4:
        return None
    at = {name: _bridged(motion, name) for name in BODY_25.joints}
    if any(at[name] is None for name in NEEDED):
        return None
    seen = {name: p for name, p in at.items() if p is not None}
    fps = motion.fps
    body = float(np.percentile(np.linalg.norm(seen["Neck"] - seen["MidHip"], axis=1), 90))
    if not body > 0.1:
        return None

    lateral = seen["LHip"] - seen["RHip"] + seen["LShoulder"] - seen["RShoulder"]
    facing = _smooth(np.unwrap(heading(lateral)), fps)
    place = _smooth(seen["MidHip"][:, [0, 2]], fps)
    step = np.diff(place, axis=0)
    middle = (facing[1:] + facing[:-1]) / 2
    forward = step[:, 0] * np.sin(middle) + step[:, 1] * np.cos(middle)
    left = step[:, 0] * np.cos(middle) - step[:, 1] * np.sin(middle)
    way = float(np.linalg.norm(step, axis=1).sum())
    edge = max(1, round(END_S * fps))
    turn = float(facing[-edge:].mean() - facing[:edge].mean())
    sign = 1.0 if turn >= 0 else -1.0
    turned = sign * (facing - facing[0])
    back = float((np.maximum.accumulate(turned) - turned).max())
    ankles = [seen[s + "Ankle"][:, [0, 2]] for s in "RL" if s + "Ankle" in seen]
    radius = max(float(np.linalg.norm(p - np.median(p, axis=0), axis=1).max()) for p in (place, *ankles))
    seconds = motion.num_frames / fps
    speed = way / max(seconds - 1 / fps, 1e-9)
    joints = np.stack(list(seen.values()), 1)

    arm_range, raised, overhead, leg_range = {}, {}, {}, {}
    for side, s in SIDES.items():
        if s + "Wrist" not in seen:
            continue
        wrist, shoulder = seen[s + "Wrist"], seen[s + "Shoulder"]
        own = _turned(wrist - seen["Neck"], facing)
        arm_range[side] = _extent(own) / body
        above = (wrist[:, 1] - shoulder[:, 1]) / body
        raised[side] = _times(above, RAISED, LOWERED, fps)
        overhead[side] = _held((wrist[:, 1] - seen["Neck"][:, 1]) / body > OVERHEAD, 0.1 * fps)
    for side, s in SIDES.items():
        if s + "Ankle" in seen:
            leg_range[side] = _extent(seen[s + "Ankle"]) / body
    level = float(np.subtract(*np.percentile(seen["MidHip"][:, 1], [95, 5])))
    cadence = _cadence(seen, body, fps)
    lifted = _lifted(seen, body, fps) if radius <= 2 * STAYS_M else {}
    knees = [angles[f"{side}_knee"] for side in SIDES if f"{side}_knee" in angles]
    both = _filled(np.minimum(*knees)) if len(knees) == 2 else np.zeros(motion.num_frames)
    lean = _filled(angles["trunk_forward"]) if "trunk_forward" in angles else np.zeros(motion.num_frames)
    return Facts(
        seconds=seconds,
        way_m=way,
        forward_m=float(forward.sum()),
        left_m=float(left.sum()),
        radius_m=radius,
        turn_deg=float(np.degrees(turn)),
        turned_back_deg=float(np.degrees(back)),
        speed_mps=speed,
        joint_mps=float(np.linalg.norm(np.diff(joints, axis=0), axis=-1).mean() * fps),
        arm_range=arm_range,
        leg_range=leg_range,
        raised=raised,
        overhead=overhead,
        lifted=lifted,
        crouches=_times(both, KNEE_BENT_DEG, KNEE_STRAIGHT_DEG, fps),
        knee_deg=float(np.percentile(both, 98)),
        bow_deg=float(np.percentile(lean, 98)) if lean.min() < UPRIGHT_DEG else 0.0,
        jumps=_jumps(seen, fps),
        walks=level < LEVEL_M and SLOW_MPS / 2 < speed < WALK_MPS and 0 < cadence < WALK_SPM,
        runs=speed > RUN_MPS and cadence > RUN_SPM,
    )


def _side(ranges: dict[str, float], moves: float, still: float) -> str | None:
    if len(ranges) < 2:
        return None
    right, left = ranges["right"], ranges["left"]
    more, less = max(right, left), min(right, left)
    if more < moves:
        return None
    if less >= moves and more <= LIKE * less:
        return "both"
    if more >= LEADS * less and less < 2 * still:
        return "right" if right > left else "left"
    return None


def _bridged(motion: Motion, name: str) -> Array | None:
    """Return a joint's places (T, 3), gaps bridged, or None where it is seen too seldom."""
    p = motion.positions[:, BODY_25.index[name]].astype(np.float64)
    known = np.isfinite(p[:, 0])
    if known.mean() < LEAST_SEEN:
        return None
    return np.stack([_filled(p[:, d]) for d in range(3)], 1)


def _filled(values: Array) -> Array:
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values))
    frames = np.arange(len(values))
    return np.interp(frames, frames[known], values[known])


def _smooth(values: Array, fps: float) -> Array:
    """Return values (T, ...) smoothed, going on at their ends as they did before."""
    sigma = SMOOTH_S * fps
    pad = min(len(values) - 1, round(4 * sigma))
    longer = np.pad(values, [(pad, pad), *[(0, 0)] * (values.ndim - 1)], mode="reflect", reflect_type="odd")
    return np.asarray(gaussian_filter1d(longer, sigma, axis=0, mode="nearest")[pad : pad + len(values)])


def _turned(v: Array, facing: Array) -> Array:
    """Return vectors (T, 3) as left, up, forward of the heading (T,)."""
    s, c = np.sin(facing), np.cos(facing)
    return np.stack([v[:, 0] * c - v[:, 2] * s, v[:, 1], v[:, 0] * s + v[:, 2] * c], 1)


def _extent(points: Array) -> float:
    """Return the diagonal of the box that holds all but 2 % of the points at either end."""
    low, high = np.percentile(points, [2, 98], axis=0)
    return float(np.linalg.norm(high - low))


def _times(values: Array, high: float, low: float, fps: float) -> int:
    """Return how often `values` go above `high`, for a tenth of a second, after having been below `low`."""
    count, ready, run = 0, False, 0
    least = max(1, round(0.1 * fps))
    for v in values:
        ready |= v < low
        run = run + 1 if v > high else 0
        if ready and run >= least:
            count, ready = count + 1, False
    return count


def _held(told: Array, frames: float) -> bool:
    run = longest = 0
    for yes in told:
        run = run + 1 if yes else 0
        longest = max(longest, run)
    return longest >= max(1, round(frames))


def _lifted(seen: dict[str, Array], body: float, fps: float) -> dict[str, int]:
    """Return how often each ankle rises while the other one stays down."""
    if not {"RAnkle", "LAnkle"} <= seen.keys():
        return {}
    height = {side: seen[s + "Ankle"][:, 1] for side, s in SIDES.items()}
    height = {side: (h - np.percentile(h, 10)) / body for side, h in height.items()}
    out = {}
    for side, other in (("right", "left"), ("left", "right")):
        out[side] = _times(np.where(height[other] < DOWN, height[side], 0.2), LIFTED, DOWN, fps)
    return out


def _cadence(seen: dict[str, Array], body: float, fps: float) -> float:
    """Return steps a minute, by how often one ankle and then the other is ahead; 0 if fewer than twice."""
    if not {"RAnkle", "LAnkle"} <= seen.keys():
        return 0.0
    apart = seen["RAnkle"] - seen["LAnkle"]
    lateral = seen["LHip"] - seen["RHip"]
    ahead = np.stack([-lateral[:, 2], lateral[:, 0]], 1)  # forward = lateral x up, over the ground
    length = np.maximum(np.linalg.norm(ahead, axis=1), 1e-9)
    along = (apart[:, 0] * ahead[:, 0] + apart[:, 2] * ahead[:, 1]) / length / body
    first = np.flatnonzero(np.abs(along) > LEAST_STEP)
    signs = np.sign(along[first])
    changes = first[1:][signs[1:] != signs[:-1]]
    if len(changes) < 2:
        return 0.0
    return float((len(changes) - 1) / (changes[-1] - changes[0]) * fps * 60)


def _jumps(seen: dict[str, Array], fps: float) -> int:
    """Return how often both ankles are AIR_M above where they stood, while the mid-hip falls freely."""
    if not {"RAnkle", "LAnkle"} <= seen.keys():
        return 0
    low = np.minimum(*(seen[s + "Ankle"][:, 1] - np.percentile(seen[s + "Ankle"][:, 1], 10) for s in "RL"))
    up = low > AIR_M
    count = 0
    edges = np.flatnonzero(np.diff(np.r_[0, up.astype(int), 0]))
    for a, b in zip(edges[::2], edges[1::2], strict=True):
        if not AIR_S * fps <= b - a <= 0.9 * fps or a == 0 or b == len(up):
            continue
        t = np.arange(b - a) / fps
        fall = 2 * np.polyfit(t, seen["MidHip"][a:b, 1], 2)[0] if b - a >= 4 else 0.0
        count += bool(-1.5 * GRAVITY < fall < -0.6 * GRAVITY)
    return count
