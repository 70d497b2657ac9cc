"""Who is who: joins the unordered detections of several people in the frames of a video into one track a person.

Used by the sources of 2D pose estimators (OpenPose, COCO), which list people in any order and give them no identity.
Each frame is matched to the known tracks by the assignment that minimises the sum of the distances between predicted
and detected joints (H. W. Kuhn, "The Hungarian Method for the Assignment Problem", 1955), as in the tracker of
A. Bewley et al., "Simple Online and Realtime Tracking", ICIP 2016, with joints in place of boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_GAP_S = 0.5  # a person unseen for longer is a new one
GATE = 0.25  # the farthest match from one frame to the next, in body sizes ...
GATE_PER_S = 1.5  # ... and how much farther for each second that a person was unseen
UNLIKE = 0.1  # cost, in body sizes, of a pair that has no joint in common; decides between near rivals only
VELOCITY_MEMORY_S = 0.15


@dataclass
class _Track:
    """A person so far. `pose` (J, 3) is the last seen place of every joint, carried along where it is out of sight."""

    pose: Array
    size: float
    frames: list[int]
    detections: list[int]
    velocity: Array = field(default_factory=lambda: np.zeros(2))

    def predicted(self, frame: int) -> Array:
        out = self.pose.copy()
        out[:, :2] += self.velocity * (frame - self.frames[-1])
        return out

    def add(self, frame: int, detection: int, pose: Array, fps: float) -> None:
        before, ahead = self.pose, self.predicted(frame)
        both = (pose[:, 2] > 0) & (before[:, 2] > 0)
        weight = np.minimum(pose[both, 2], before[both, 2])
        if weight.sum() > 0:
            moved = weight @ (pose[both, :2] - before[both, :2]) / weight.sum() / (frame - self.frames[-1])
            new = min(1.0, max(1 / len(self.frames), 1 / (VELOCITY_MEMORY_S * fps)))
            self.velocity = self.velocity + new * (moved - self.velocity)
        ahead[:, 2] *= 0.5
        self.pose = np.where(pose[:, 2:] > 0, pose, ahead)
        self.size = max(_size(pose), 0.9 * self.size)
        self.frames.append(frame)
        self.detections.append(detection)


def link(frames: list[Array], fps: float) -> list[tuple[Array, Array]]:
    """Return one (frame indices, detection indices) pair of int arrays a person, the most seen person first.

    frames  for each frame the detections, (P_t, J, 3): x, y in pixels, score; a score of 0 or NaN is a missing joint
    fps     frames per second

    Where no frame has more than one person there is one track. Else a detection joins the track whose prediction
    (constant velocity) is nearest, by the mean distance of the joints seen in both over the person's size (diagonal of
    the box of its joints); one too far from all begins a new track, and a track unseen for more than 0.5 s ends.
    The order of the detections within a frame does not matter. What an estimator sees twice or in pieces makes tracks
    of a few frames, which are the caller's to drop. Detections without any joint are in no track.
    """
    if not frames:
        return []
    together = _cleaned(np.concatenate(frames))
    begin = np.cumsum([0, *map(len, frames)])
    visible = np.asarray((together[:, :, 2] > 0).any(axis=1))
    rows = np.flatnonzero(visible)
    at = np.searchsorted(begin, rows, side="right") - 1
    if bool(np.all(np.diff(at) > 0)):
        return [(at, rows - begin[at])] if len(rows) else []
    spans = [slice(a, b) for a, b in pairwise(begin.tolist())]
    poses = [together[s] for s in spans]
    seen = [np.flatnonzero(visible[s]) for s in spans]
    live: list[_Track] = []
    done: list[_Track] = []
    for t, (pose, people) in enumerate(zip(poses, seen, strict=True)):
        done += [k for k in live if t - k.frames[-1] > max(1.0, MAX_GAP_S * fps)]
        live = [k for k in live if t - k.frames[-1] <= max(1.0, MAX_GAP_S * fps)]
        matched = _match(live, pose[people], t, fps)
        for k, d in matched:
            live[k].add(t, int(people[d]), pose[people[d]], fps)
        taken = {d for _, d in matched}
        new = [int(p) for d, p in enumerate(people) if d not in taken]
        live += [_Track(pose[p], _size(pose[p]), [t], [p]) for p in new]
    done += live
    weight = {
        id(k): sum(float(poses[t][d, :, 2].sum()) for t, d in zip(k.frames, k.detections, strict=True)) for k in done
    }
    done.sort(key=lambda k: (-weight[id(k)], k.frames[0], float(poses[k.frames[0]][k.detections[0], :, 0].sum())))
    return [(np.array(k.frames), np.array(k.detections)) for k in done]


def _match(tracks: list[_Track], people: Array, frame: int, fps: float) -> list[tuple[int, int]]:
    """Return (track, person) index pairs of the cheapest assignment of `people` (P, J, 3), without those too far."""
    if not tracks or not len(people):
        return []
    from scipy.optimize import linear_sum_assignment

    ahead = np.stack([k.predicted(frame) for k in tracks])
    weight = np.minimum(ahead[:, None, :, 2], people[None, :, :, 2])
    distance = np.linalg.norm(ahead[:, None, :, :2] - people[None, :, :, :2], axis=-1)
    total = weight.sum(axis=-1)
    size = np.maximum(np.array([k.size for k in tracks])[:, None], [_size(p) for p in people])
    cost = (weight * distance).sum(axis=-1) / np.maximum(total, 1e-12) / np.maximum(size, 1e-6)
    unseen_s = np.array([frame - k.frames[-1] for k in tracks]) / fps
    gate = (GATE + GATE_PER_S * unseen_s)[:, None]
    allowed = (total > 0) & (cost <= gate)
    # Where an estimator splits a body in two for a frame, the whole person goes back to the track that knows the whole.
    either = np.maximum(ahead[:, None, :, 2], people[None, :, :, 2]).sum(axis=-1)
    cost += UNLIKE * (1 - total / np.maximum(either, 1e-12))
    # A pair that is not allowed costs more than any that is, so that it never displaces one.
    never = 1 + (float(gate.max()) + UNLIKE) * (min(cost.shape) + 1)
    rows, columns = linear_sum_assignment(np.where(allowed, cost, never))
    return [(int(r), int(c)) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]


def _cleaned(frame: Array) -> Array:
    """Return float64 (P, J, 3) with 0, 0, 0 for each joint that is not finite or has no score."""
    pose = np.array(frame, dtype=np.float64)
    pose[~(np.isfinite(pose).all(axis=-1) & (pose[..., 2] > 0))] = 0
    return pose


def _size(pose: Array) -> float:
    """Return the diagonal of the box of the joints seen in `pose` (J, 3)."""
    at = pose[pose[:, 2] > 0, :2]
    return float(np.linalg.norm(np.ptp(at, axis=0))) if len(at) else 0.0
