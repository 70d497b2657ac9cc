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

MIN_TRACK_S = 0.25  # detections that last no longer are ghosts, unless there is nothing else
MAX_GAP_S = 0.5  # a person unseen for longer is a new one
GATE = 0.25  # the farthest match from one frame to the next, in body sizes ...
GATE_PER_S = 1.5  # ... and how much farther for each second that a person was unseen
LEAP = 1.0  # likewise, beyond which who is alone in every frame is somebody else ...
JITTER, FASTEST = (
    0.25,
    6.0,
)  # ... and no one is farther than an estimator's noise and a sprinter's way, in sizes a second
UNLIKE = 0.1  # cost, in body sizes, of a pair that has no joint in common; decides between near rivals only
VELOCITY_MEMORY_S = 0.15
MOST_AT_ONCE = 8  # people up to whom steps are looked through for all frames at once
CHUNK = 2048  # frames at a time
FAR = 1e9


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

    def add(self, frame: int, detection: int, pose: Array, size: float, fps: float) -> None:
        before, ahead = self.pose, self.predicted(frame)
        both = (pose[:, 2] > 0) & (before[:, 2] > 0)
        weight = np.minimum(pose[both, 2], before[both, 2])
        if weight.sum() > 0:
            moved = weight @ (pose[both, :2] - before[both, :2]) / weight.sum() / (frame - self.frames[-1])
            new = min(1.0, max(1 / len(self.frames), 1 / (VELOCITY_MEMORY_S * fps)))
            self.velocity = self.velocity + new * (moved - self.velocity)
        ahead[:, 2] *= 0.5
        self.pose = np.where(pose[:, 2:] > 0, pose, ahead)
        self.size = max(size, 0.9 * self.size)
        self.frames.append(frame)
        self.detections.append(detection)

    def follow(self, detections: list[int], poses: Array, sizes: Array, fps: float) -> None:
        """Add `poses` (N, J, 3) of the N frames that follow, all at once; as `add` but for joints out of sight."""
        count = len(poses)
        chain = np.concatenate([self.pose[None], poses])
        weight = np.minimum(chain[1:, :, 2], chain[:-1, :, 2])
        total = weight.sum(axis=1)
        moved = (weight[:, None] @ (chain[1:, :, :2] - chain[:-1, :, :2]))[:, 0] / np.maximum(total, 1e-12)[:, None]
        new = np.clip(1 / (len(self.frames) + np.arange(count)), min(1, 1 / (VELOCITY_MEMORY_S * fps)), 1) * (total > 0)
        x, y = self.velocity.tolist()
        for (dx, dy), share in zip(moved.tolist(), new.tolist(), strict=True):
            x, y = x + share * (dx - x), y + share * (dy - y)
        self.velocity = np.array([x, y])
        seen = chain[..., 2] > 0
        last = np.where(seen.any(axis=0), count - np.argmax(seen[::-1], axis=0), 0)
        self.pose = chain[last, np.arange(chain.shape[1])]
        self.pose[:, :2] += self.velocity * (count - last)[:, None]
        self.pose[:, 2] *= 0.5 ** (count - last)
        fading = 0.9 ** np.arange(count, -1, -1)
        self.size = float((fading * np.concatenate([[self.size], sizes])).max())
        self.frames += range(self.frames[-1] + 1, self.frames[-1] + 1 + count)
        self.detections += detections


def people(frames: list[Array], fps: float) -> tuple[list[tuple[int, Array]], list[str]]:
    """Return each person that `link` finds, as the first frame and (T, J, 3), NaN where unseen; and notes.

    Tracks under MIN_TRACK_S are left out, which a note says, unless there are no others.
    """
    tracks = link(frames, fps)
    lasting = [t for t in tracks if len(t[0]) >= MIN_TRACK_S * fps] or tracks
    left_out = len(tracks) - len(lasting)
    notes = [f"{left_out} track(s) shorter than {MIN_TRACK_S:g} s left out"] if left_out else []
    if not lasting:
        return [], notes
    together = np.concatenate(frames)
    begin = np.cumsum([0, *map(len, frames)])
    found = []
    for at, which in lasting:
        first = int(at[0])
        points = np.full((int(at[-1]) + 1 - first, *together.shape[1:]), np.nan, np.float32)
        points[at - first] = together[begin[at] + which]
        found.append((first, points))
    return found, notes


def link(frames: list[Array], fps: float) -> list[tuple[Array, Array]]:
    """Return one (frame indices, detection indices) pair of int arrays a person, the most seen person first.

    frames  for each frame the detections, (P_t, J, 3): x, y in pixels, score; a score of 0 or NaN is a missing joint
    fps     frames per second

    Where no frame has more than one person there is one track, broken where it leaps to somebody else, faster than
    people move; who is back within 0.5 s goes on in the track that was left. Otherwise a detection joins the track
    whose prediction (constant velocity) is nearest, by the mean distance of the joints seen in both over the person's
    size (diagonal of the box of its joints); one too far from all begins a new track, and a track unseen for more than
    0.5 s ends.
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
    sizes = _sizes(together)
    if bool(np.all(np.diff(at) > 0)):
        pieces = _pieces(together[rows], sizes[rows], at / fps)
        ranked = sorted(pieces, key=lambda p: -float(together[rows[p], :, 2].sum()))
        return [(at[p], (rows - begin[at])[p]) for p in ranked if len(p)]
    spans = [slice(a, b) for a, b in pairwise(begin.tolist())]
    steps = _clear_steps(together, sizes, begin, visible)
    live: list[_Track] = []
    done: list[_Track] = []
    clear_until = -1
    for t, span in enumerate(spans):
        if t <= clear_until:
            continue
        pose, people = together[span], np.flatnonzero(visible[span])
        done += [k for k in live if t - k.frames[-1] > max(1.0, MAX_GAP_S * fps)]
        live = [k for k in live if t - k.frames[-1] <= max(1.0, MAX_GAP_S * fps)]
        matched = _match(live, pose[people], sizes[span][people], t, fps)
        for k, d in matched:
            live[k].add(t, int(people[d]), pose[people[d]], float(sizes[span][people[d]]), fps)
        taken = {d for _, d in matched}
        new = [int(p) for d, p in enumerate(people) if d not in taken]
        live += [_Track(pose[p], float(sizes[span][p]), [t], [p]) for p in new]
        clear_until = t
        while clear_until < len(spans) - 1 and steps[clear_until] is not None:
            clear_until += 1
        for track in live if clear_until > t else ():
            if track.frames[-1] == t:
                way = [track.detections[-1]]
                for step in steps[t:clear_until]:
                    if not step or step[way[-1]] < 0:
                        break
                    way.append(step[way[-1]])
                if len(way) > 1:
                    found = begin[t + 1 : t + len(way)] + np.array(way[1:])
                    track.follow(way[1:], together[found], sizes[found], fps)
    done += live

    def rank(track: _Track) -> tuple[float, int, float]:
        found = together[begin[track.frames] + track.detections]
        return -float(found[..., 2].sum()), track.frames[0], float(found[0, :, 0].sum())

    done.sort(key=rank)
    return [(np.array(k.frames), np.array(k.detections)) for k in done]


def _pieces(poses: Array, sizes: Array, seconds: Array) -> list[Array]:
    """Return the indices in `poses` (N, J, 3), one person a frame, of each person: cut at leaps, joined on return."""
    rows = np.arange(len(poses))
    leaps = np.flatnonzero(~_near(poses[:-1], poses[1:], sizes[:-1], sizes[1:], np.diff(seconds))) + 1
    found: list[Array] = []
    for piece in np.split(rows, leaps):
        first = piece[0] if len(piece) else 0
        lasts = [(i, f[-1]) for i, f in enumerate(found) if seconds[first] - seconds[f[-1]] <= MAX_GAP_S]
        back = [
            i
            for i, last in lasts
            if _near(poses[last], poses[first], sizes[last], sizes[first], seconds[first] - seconds[last])
        ]
        if back:
            found[back[-1]] = np.concatenate([found[back[-1]], piece])
        else:
            found.append(piece)
    return found


def _near(a: Array, b: Array, a_size: Array, b_size: Array, seconds: Array) -> Array:
    """Return whether poses `b` (..., J, 3) may be who was in `a` some `seconds` before; sizes and result (...)."""
    both = np.minimum(a[..., 2], b[..., 2])
    moved = (both * np.linalg.norm(b[..., :2] - a[..., :2], axis=-1)).sum(-1) / np.maximum(both.sum(-1), 1e-12)
    limit = np.minimum(LEAP + GATE_PER_S * seconds, JITTER + FASTEST * seconds)
    return np.asarray(moved <= limit * np.maximum(np.maximum(a_size, b_size), 1e-6))


def _clear_steps(together: Array, sizes: Array, begin: Array, visible: Array) -> list[list[int] | None]:
    """For each frame, the detection of the next that continues each of its own (−1: none), if beyond doubt, else None.

    Beyond doubt: each person of the next frame continues one of this, its nearest both ways, well within the gate and
    nearer than any rival by half of it. Then the cheapest assignment is this one, and is not sought frame by frame.
    """
    counts = np.diff(begin)
    most = int(counts.max())
    out: list[list[int] | None] = [None] * len(counts)
    if most > MOST_AT_ONCE:
        return out
    slots = np.arange(most)
    there = slots < counts[:, None]
    there[there] = visible
    for first in range(0, len(counts) - 1, CHUNK):
        last = min(first + CHUNK, len(counts) - 1)
        then = slice(first + 1, last + 1)
        at, i, j = np.nonzero(there[first:last, :, None] & there[then, None])
        a, b = begin[first:last][at] + i, begin[then][at] + j
        (ax, ay, a_score), (bx, by, b_score) = together[a].T, together[b].T
        weight = np.minimum(a_score, b_score)
        total = weight.sum(axis=0)
        away = (weight * np.sqrt((ax - bx) ** 2 + (ay - by) ** 2)).sum(axis=0) / np.maximum(total, 1e-12)
        cost = np.full((last - first, most, most), FAR)
        cost[at, i, j] = np.where(total > 0, away / np.maximum(np.maximum(sizes[a], sizes[b]), 1e-6), FAR)
        nearest, back = cost.argmin(axis=2), cost.argmin(axis=1)
        best = cost.min(axis=2)
        mutual = np.take_along_axis(back, nearest, axis=1) == slots
        rival = np.full(best.shape, FAR)
        if most > 1:
            in_column = np.take_along_axis(np.sort(cost, axis=1)[:, 1], nearest, axis=1)
            rival = np.minimum(np.sort(cost, axis=2)[..., 1], in_column)
        sure = mutual & (best <= GATE / 2) & (rival - best >= GATE / 2)
        following = np.where(sure, nearest, -1).tolist()
        for t in np.flatnonzero(there[then].any(axis=1) & (sure.sum(axis=1) == there[then].sum(axis=1))):
            out[first + t] = following[t]
    return out


def _match(tracks: list[_Track], people: Array, sizes: Array, frame: int, fps: float) -> list[tuple[int, int]]:
    """Return (track, person) index pairs of the cheapest assignment of `people` (P, J, 3), without those too far."""
    if not tracks or not len(people):
        return []
    from scipy.optimize import linear_sum_assignment

    ahead = np.stack([k.predicted(frame) for k in tracks])
    weight = np.minimum(ahead[:, None, :, 2], people[None, :, :, 2])
    distance = np.linalg.norm(ahead[:, None, :, :2] - people[None, :, :, :2], axis=-1)
    total = weight.sum(axis=-1)
    size = np.maximum(np.array([k.size for k in tracks])[:, None], sizes)
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
    x, y, score = np.moveaxis(pose, -1, 0)
    pose[~(np.isfinite(x) & np.isfinite(y) & np.isfinite(score) & (score > 0))] = 0
    return pose


def _sizes(poses: Array) -> Array:
    """Return the diagonal of the box of the joints seen in each of `poses` (N, J, 3); 0 where none is seen."""
    x, y, score = poses.T
    seen = score > 0
    width, height = (np.where(seen, v, -np.inf).max(axis=0) - np.where(seen, v, np.inf).min(axis=0) for v in (x, y))
    return np.where(seen.any(axis=0), np.hypot(width, height), 0.0)
