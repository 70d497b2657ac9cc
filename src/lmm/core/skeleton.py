"""The skeleton type: named joints, their parents, and which joints are left/right partners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lmm.core.errors import MotionError

MAX_JOINTS = 2_000
TO = "_to_"  # in ``A_to_B``, a joint that animation files have at A to turn the bone to B alone


@dataclass(frozen=True)
class Skeleton:
    """Named joints in a fixed order.

    `parents[j]` is the index of joint j's parent, or -1 for a root (or a marker, which has none); a parent comes
    before or after its child, but the graph has no cycle. `pairs` holds (right, left) joint names. `table` names the
    correspondence table (``lmm.skeletons``) that converts this skeleton to BODY_25; it may differ from `name` for
    skeletons read from a file.

    Raises MotionError on duplicate names, unknown parents, a cycle, or more than MAX_JOINTS joints.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...] = ()
    table: str = ""

    def __post_init__(self) -> None:
        if len(self.joints) > MAX_JOINTS:
            raise MotionError(f"skeleton {self.name}: {len(self.joints)} joints are over the limit of {MAX_JOINTS}.")
        if len(set(self.joints)) != len(self.joints):
            twice = sorted({j for j in self.joints if self.joints.count(j) > 1})
            raise MotionError(f"skeleton {self.name}: joint names occur twice: {', '.join(twice[:5])}.")
        if len(self.parents) != len(self.joints):
            raise MotionError(f"skeleton {self.name}: {len(self.joints)} joints but {len(self.parents)} parents.")
        for j in range(len(self.joints)):
            seen, k = 0, j
            while k >= 0:
                if k >= len(self.joints) or seen > len(self.joints):
                    raise MotionError(f"skeleton {self.name}: the parents of joint {self.joints[j]!r} form no tree.")
                k, seen = self.parents[k], seen + 1
        unknown = [n for pair in self.pairs for n in pair if n not in self.index]
        if unknown:
            raise MotionError(f"skeleton {self.name}: left/right pairs name unknown joints: {', '.join(unknown[:5])}.")

    @cached_property
    def index(self) -> dict[str, int]:
        """Joint name → position in `joints`."""
        return {name: j for j, name in enumerate(self.joints)}

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) index pairs, one per joint that has a parent."""
        return tuple((p, j) for j, p in enumerate(self.parents) if p >= 0)

    @cached_property
    def mirrored(self) -> tuple[int, ...]:
        """For each joint the index of its partner on the other side (itself where it has none)."""
        swap = list(range(len(self.joints)))
        for right, left in self.pairs:
            r, l_ = self.index[right], self.index[left]
            swap[r], swap[l_] = l_, r
        return tuple(swap)


def left_right_pairs(joints: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the (right, left) names among `joints` that differ in nothing but their side, as in RKnee and LKnee.

    The side stands first or last in the name, after a prefix such as ``subject:``.
    """
    known = set(joints)
    pairs: dict[str, str] = {}
    for name in joints:
        head, colon, tail = name.rpartition(":")
        for right, left in (("Right", "Left"), ("right", "left"), ("RIGHT", "LEFT"), ("R", "L"), ("r", "l")):
            partners = [left + tail[len(right) :]] if tail.startswith(right) else []
            partners += [tail[: -len(right)] + left] if tail.endswith(right) else []
            for partner in (head + colon + p for p in partners):
                if partner in known and partner not in pairs.values():
                    pairs.setdefault(name, partner)
    return tuple(pairs.items())
