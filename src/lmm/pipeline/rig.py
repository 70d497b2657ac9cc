"""Positions → a rig: bones of constant length, a rest pose, and how every joint is rotated in every frame.

What animation files (BVH, glTF) hold and positions lack. Inverse kinematics from the root outwards: a joint's rotation
is the one that turns the bones to its children from the rest pose to where the children are (W. Kabsch, "A solution for
the best rotation to relate two sets of vectors", 1976), and what they leave open is as its parent has it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.geometry import forward_kinematics
from lmm.core.motion import Motion
from lmm.core.skeleton import TO

Array = NDArray[Any]
RIGID_M = 0.005  # children of one joint that keep their places to each other as well as this are turned as one
LEAST_LENGTH = 1e-6  # metres: a shorter bone has no direction
AS_PARENT = 1e-6  # weight of the parent's rotation, where the bones' is 1
LOOSE = 1e-2  # weight of a child that does not move with its siblings

# Where bones of BODY_25 point at rest: a T-pose that faces +z, its left at +x. Faces and feet are as measured.
T_POSE = {
    "Neck": (0, 1, 0),
    "Nose": (0, 0.8, 0.6),
    "REye": (-0.5, 0.7, 0),
    "LEye": (0.5, 0.7, 0),
    "REar": (-0.5, 0, -1),
    "LEar": (0.5, 0, -1),
    **dict.fromkeys(("RShoulder", "RElbow", "RWrist", "RHip"), (-1, 0, 0)),
    **dict.fromkeys(("LShoulder", "LElbow", "LWrist", "LHip"), (1, 0, 0)),
    **dict.fromkeys(("RKnee", "RAnkle", "LKnee", "LAnkle"), (0, -1, 0)),
    "RBigToe": (0, -0.3, 1),
    "LBigToe": (0, -0.3, 1),
    "RSmallToe": (-1, 0, -0.3),
    "LSmallToe": (1, 0, -0.3),
    "RHeel": (0, -0.6, -0.8),
    "LHeel": (0, -0.6, -0.8),
}


@dataclass(frozen=True, eq=False)
class Rig:
    """A skeleton at rest and how it moves.

    joints     names, parents before children; ``A_to_B`` stands at A and turns the bone to B alone
    parents    index of each joint's parent, -1 for the first
    offsets    (J, 3) metres from the parent, at rest, where all axes are the world's (y up); 0 for the first
    rotations  (T, J, 3, 3) in the parent's axes
    root       (T, 3) metres: where the first joint is
    """

    joints: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Array
    rotations: Array
    root: Array

    def depth(self, joint: int) -> int:
        """Return how many joints are above one."""
        count = 0
        while (joint := self.parents[joint]) >= 0:
            count += 1
        return count

    def positions(self) -> Array:
        """Return (T, J, 3) metres."""
        return forward_kinematics(self.parents, self.rotations, self.offsets, self.root)


def rig(motion: Motion) -> Rig:
    """Return the rig of a motion in metres. Joints that are never seen are left out; gaps are bridged bone by bone.

    Each bone has its median length, and each joint is aimed at from where its parent came to lie, so that bones whose
    length varies in the motion shift what hangs on them by no more than that. Raises MotionError if the motion is not
    in metres, or its joints hang on no common root.
    """
    if motion.space != "world":
        raise MotionError("joint rotations can be made of 3D motions in metres only.")
    order, parents = _tree(motion)
    places, lengths = _bridged(motion, order, parents)
    rest = _rest(motion, order, parents, places, lengths)
    joints = [motion.skeleton.joints[j] for j in order]
    names, tree, offsets = [joints[0]], [-1], [np.zeros(3)]
    world = [np.broadcast_to(np.eye(3), (motion.num_frames, 3, 3))]
    at = {0: 0}  # joint's number in `order` → in the rig
    where = {0: places[:, 0]}
    for j in range(len(order)):
        children = [c for c in range(len(order)) if parents[c] == j]
        if not children:
            continue
        own = at[j]
        before = world[tree[own]] if tree[own] >= 0 else world[own]
        goals = places[:, children] - where[j][:, None]
        turned, loose = _turned(rest[children], goals, before)
        world[own] = turned
        for k, c in enumerate(children):
            parent, frame = own, turned
            if loose[k]:
                frame = _rotation(rest[[c]], goals[:, [k]], turned)
                names.append(_unlike(f"{joints[j]}{TO}{joints[c]}", joints + names))
                tree.append(own)
                offsets.append(np.zeros(3))
                world.append(frame)
                parent = len(names) - 1
            at[c] = len(names)
            names.append(joints[c])
            tree.append(parent)
            offsets.append(rest[c])
            world.append(frame)
            where[c] = where[j] + frame @ rest[c]
    stacked = np.stack(world, axis=1)
    local = np.stack(
        [stacked[:, i] if p < 0 else stacked[:, p].transpose(0, 2, 1) @ stacked[:, i] for i, p in enumerate(tree)],
        axis=1,
    )
    return Rig(tuple(names), tuple(tree), np.stack(offsets), local, places[:, 0])


def _tree(motion: Motion) -> tuple[list[int], list[int]]:
    """Return the joints that are ever seen, parents first, and for each the place of its parent among them."""
    skeleton, seen = motion.skeleton, np.any(motion.observed, axis=0)
    above: dict[int, int] = {}
    for j in np.flatnonzero(seen).tolist():
        p = skeleton.parents[j]
        while p >= 0 and not seen[p]:
            p = skeleton.parents[p]
        above[j] = p
    roots = [j for j, p in above.items() if p < 0]
    if len(roots) != 1 or len(above) < 2:
        names = ", ".join(skeleton.joints[j] for j in roots[:3]) + (" ..." if len(roots) > 3 else "")
        raise MotionError(
            f"joint rotations need one tree of bones, and of {len(above)} joints seen {len(roots)} hang on no other"
            f"{f' ({names})' if names else ''}. Markers need --to body_25, and people their hips."
        )
    order = list(roots)
    for j in order:
        order += [c for c, p in above.items() if p == j]
    return order, [-1, *(order.index(above[j]) for j in order[1:])]


def _bridged(motion: Motion, order: list[int], parents: list[int]) -> tuple[Array, Array]:
    """Return positions (T, J, 3) without gaps, and the median length of each bone (J,), 0 for the root.

    In a gap a bone's direction and length go evenly from what they were to what they will be.
    """
    given, seen = motion.positions[:, order].astype(np.float64), motion.observed[:, order]
    clock = motion.clock
    out, lengths = np.empty_like(given), np.zeros(len(order))
    for j, p in enumerate(parents):
        told = seen[:, j] if p < 0 else seen[:, j] & seen[:, p]
        if not told.any():
            raise MotionError(
                f"joint {motion.skeleton.joints[order[j]]} is never seen together with the one it hangs on: no bone "
                "can be measured."
            )
        vectors = given[told, j] - (0 if p < 0 else given[told, p])
        filled = np.stack([np.interp(clock, clock[told], vectors[:, d]) for d in range(3)], axis=-1)
        if p < 0:
            out[:, j] = filled
        else:
            out[:, j] = np.where(seen[:, [j]], given[:, j], out[:, p] + filled)
            lengths[j] = np.median(np.linalg.norm(vectors, axis=-1))
    return out, lengths


def _rest(motion: Motion, order: list[int], parents: list[int], places: Array, lengths: Array) -> Array:
    """Return the bones at rest (J, 3): of BODY_25 a T-pose, else the pose of the most typical frame.

    Siblings lie to each other as in that frame, in which their distances are nearest to the medians.
    """
    siblings = [[c for c, p in enumerate(parents) if p == j] for j in range(len(order))]
    off = np.zeros(len(places))
    for group in siblings:
        for k, a in enumerate(group):
            apart = np.linalg.norm(places[:, [a]] - places[:, group[k + 1 :]], axis=-1)
            off = np.maximum(off, np.abs(apart - np.median(apart, axis=0)).max(axis=1, initial=0))
    typical = places[int(np.argmin(off))]
    bones = np.zeros((len(order), 3))
    bones[1:] = typical[1:] - typical[parents[1:]]
    size = np.linalg.norm(bones, axis=-1, keepdims=True)
    bones = np.where(size > LEAST_LENGTH, bones / np.maximum(size, LEAST_LENGTH), [0.0, 1.0, 0.0]) * lengths[:, None]
    if all(motion.skeleton.joints[j] in T_POSE for j in order[1:]):
        for group in (g for g in siblings if g):
            wanted = np.array([T_POSE[motion.skeleton.joints[order[c]]] for c in group], float)
            wanted /= np.linalg.norm(wanted, axis=-1, keepdims=True)
            turn = _rotation(bones[group], wanted[None], np.eye(3)[None])[0]
            bones[group] = bones[group] @ turn.T
            for c, direction in zip(group, wanted, strict=True):
                if motion.skeleton.joints[order[c]] in ("Neck", "Nose"):  # they bend away from hips and shoulders
                    bones[c] = direction * lengths[c]
    return bones


def _turned(bones: Array, goals: Array, before: Array) -> tuple[Array, list[bool]]:
    """Return the rotation (T, 3, 3) of a joint with `bones` (K, 3), and which of them does not move with the others.

    The one that fits worst is let loose, until the others fit; two always do as well as they can.
    """
    weights = np.ones(len(bones))
    lengths = np.linalg.norm(bones, axis=-1)
    unit, aims = _directions(bones), _directions(goals)
    while True:
        turn = _best(unit * weights[:, None], aims, before)
        apart = np.linalg.norm(bones @ turn.transpose(0, 2, 1) - aims * lengths[:, None], axis=-1)
        error = apart.max(axis=0)
        fixed = weights == 1
        if (error[fixed] <= RIGID_M).all() or fixed.sum() <= 2:
            return turn, [bool(e > RIGID_M) for e in error]
        weights[int(np.argmax(np.where(fixed, error / np.maximum(lengths, LEAST_LENGTH), -1)))] = LOOSE


def _unlike(name: str, others: list[str]) -> str:
    while name in others:
        name += "_"
    return name


def _rotation(bones: Array, goals: Array, before: Array) -> Array:
    """Return the rotations (T, 3, 3) that turn directions of `bones` (K, 3) best to those of `goals` (T, K, 3).

    Where they leave it open, they are as `before` (T, 3, 3).
    """
    return _best(_directions(bones), _directions(goals), before)


def _directions(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), LEAST_LENGTH))


def _best(unit: Array, aims: Array, before: Array) -> Array:
    u, _, vt = np.linalg.svd(aims.transpose(0, 2, 1) @ unit + AS_PARENT * before)
    sign = np.ones((len(u), 3))
    sign[:, 2] = np.linalg.det(u @ vt)
    return np.asarray((u * sign[:, None]) @ vt)
