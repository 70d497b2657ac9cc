"""Any skeleton → BODY_25, by the rules of its table. Pure: space, rate and clock are unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import MISSING, RECORDED, SYNTHESISED, Motion
from lmm.pipeline import marker_rules
from lmm.skeletons import Rule, Table, table

Array = NDArray[Any]
# rule(inputs (N, T, D), parameters) → (T, D); NaN where it cannot tell
RuleFunction = Callable[[Array, dict[str, float]], Array]


def _copy(inputs: Array, _: dict[str, float]) -> Array:
    return np.asarray(inputs[0])


def _midpoint(inputs: Array, _: dict[str, float]) -> Array:
    return np.asarray(inputs.mean(axis=0))


ENOUGH = 0.95  # of the best rule's frames, for a rule that the table prefers
RULES: dict[str, RuleFunction] = {"joint": _copy, "midpoint": _midpoint, **marker_rules.RULES}


def to_body25(motion: Motion) -> Motion:
    """Return the motion on the BODY_25 skeleton, with `flags` that tell recorded from synthesised joints.

    Where a table gives several rules for a joint, one serves the whole clip, so that a joint never jumps between
    definitions: the first that yields at least 95 % of the frames of the best. Confidence is the lowest of the inputs'
    times the rule's factor. Raises MotionError if the skeleton has no table, or no joint of it can be made.
    """
    if not motion.skeleton.table:
        raise MotionError(f"skeleton {motion.skeleton.name} has no correspondence to BODY_25.")
    rules = table(motion.skeleton.table)
    target = table("body_25").skeleton
    if motion.skeleton.joints == target.joints:
        return motion if motion.skeleton == target else motion.replace(skeleton=target)
    where = rules.resolve(motion.skeleton.joints)
    shape = (motion.num_frames, target.num_joints)
    positions = np.full((*shape, motion.num_dims), np.nan, np.float32)
    confidence = np.zeros(shape, np.float32)
    flags = np.full(shape, MISSING, np.uint8)
    for j, name in enumerate(target.joints):
        best = _best(motion, rules, where, rules.rules.get(name, ()))
        if best is not None:
            rule, positions[:, j], confidence[:, j] = best
            flags[:, j] = SYNTHESISED if rule.synthesised else RECORDED
    if not (confidence > 0).any():
        raise MotionError(f"no BODY_25 joint can be made from {', '.join(motion.skeleton.joints[:8])} ...")
    meta = {**motion.meta, "skeleton": motion.skeleton.name, "table": rules.name}
    return motion.replace(positions=positions, confidence=confidence, skeleton=target, flags=flags, meta=meta)


def _best(
    motion: Motion, rules: Table, where: dict[str, int], candidates: tuple[Rule, ...]
) -> tuple[Rule, Array, Array] | None:
    made = [
        (rule, *_apply(motion, rule, [where[i] for i in rule.inputs]))
        for rule in candidates
        if rule.kind != "absent" and all(i in where for i in rule.inputs)
    ]
    most = max(((confidence > 0).sum() for _, _, confidence in made), default=0)
    return next((m for m in made if (m[2] > 0).sum() >= ENOUGH * most), None) if most else None


def _apply(motion: Motion, rule: Rule, index: list[int]) -> tuple[Array, Array]:
    """Return the joint's positions (T, D) and confidence (T,) by `rule` from the joints at `index`."""
    inputs = np.moveaxis(motion.positions[:, index].astype(np.float64), 1, 0)
    made = RULES[rule.kind](inputs, rule.parameters)
    # a rule may do without some inputs in some frames: those carry no confidence, and do not lower it
    scores = np.where(motion.confidence[:, index] > 0, motion.confidence[:, index], np.inf).min(axis=1)
    seen = np.isfinite(made).all(axis=-1) & np.isfinite(scores)
    return made, np.where(seen, scores, 0) * rule.factor
