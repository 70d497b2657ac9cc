"""Joint centres from skin markers: the rules that `skeletons/tables/markers.toml` names.

A rule maps markers (N, T, 3), float64 metres, NaN where missing, to one joint (T, 3). All follow any rotation and
shift of the scene, and a mirror image with right and left exchanged. `side` is 1 for the right, -1 for the left.
A rule bridges the gaps that it can from markers seen in the same frame, so that a clip need not change its rule.

Right-handed coordinates are assumed where a direction is a cross product. `right` is the body's right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MARKER_RADIUS = 0.007  # of the usual 14 mm markers, m
# Half of the mean adult breadth over the bones, m (bi-epicondylar femur 10 cm, bimalleolar 7.2 cm, bi-epicondylar
# humerus 7 cm), plus the marker's radius: the distance from a lateral marker to the joint centre.
KNEE_OFFSET = 0.050 + MARKER_RADIUS
ANKLE_OFFSET = 0.036 + MARKER_RADIUS
ELBOW_OFFSET = 0.035 + MARKER_RADIUS
SHOULDER_DROP = 0.050 + MARKER_RADIUS  # acromion to humeral head centre, Vicon's shoulder offset of an adult
# Between the ASIS of adults there are some 24 cm, standard deviation 2. Markers farther apart lie on soft tissue, and
# the regression for the hips would carry them far down and out (44 cm in UI-PRMD's s05: hips 31 cm apart).
WIDEST_PELVIS = 0.30

# From the middle of the front head markers, and from the middle of all four, along (forward, right, up), m. From the
# adult means of head length 19.5 cm, breadth over the tragi 14.4 cm; the band sits about 7 cm above the tragi.
NOSE_FROM_FRONT = (0.025, 0.0, -0.075)
EAR_FROM_MIDDLE = (0.0, 0.072, -0.065)
# From the middle of the temple markers, which lie at the height of the eyes.
NOSE_FROM_TEMPLES = (0.085, 0.0, -0.040)


def _unit(v: Array) -> Array:
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    return np.asarray(v / np.where(length > 1e-9, length, np.nan))


def _dot(a: Array, b: Array) -> Array:
    return np.asarray((a * b).sum(axis=-1, keepdims=True))


def _seen(points: Array) -> Array:
    return np.asarray(np.isfinite(points).all(axis=-1))


def _median(values: Array) -> float:
    """Median of the numbers in `values`, NaN if there are none."""
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def fill_rigid(points: Array) -> Array:
    """Return markers (N, T, 3) of one rigid segment with gaps filled from three or more that are seen.

    The shape is the median over the frames that show all markers, each laid on the first of them by the least-squares
    rotation of W. Kabsch, Acta Cryst. A32:922 (1976). Without such a frame nothing is filled.
    """
    seen = _seen(points)
    whole = np.flatnonzero(seen.all(axis=0))
    gaps = np.flatnonzero((seen.sum(axis=0) >= 3) & ~seen.all(axis=0))
    if not (len(whole) and len(gaps)):
        return points
    frames = points.transpose(1, 0, 2)
    ones = np.ones((len(whole), len(points)))
    shape = np.median(_fit(frames[whole], np.broadcast_to(frames[whole[0]], frames[whole].shape), ones), axis=0)
    target = frames[gaps]
    laid = _fit(np.broadcast_to(shape, target.shape), np.nan_to_num(target), seen.T[gaps].astype(np.float64))
    out = points.copy()
    out[:, gaps] = np.where(seen[:, gaps, None], points[:, gaps], laid.transpose(1, 0, 2))
    return out


def _fit(source: Array, target: Array, weight: Array) -> Array:
    """Lay `source` (F, N, 3) rigidly on `target` (F, N, 3), weights (F, N); return it moved."""
    w = weight[..., None] / weight.sum(axis=1)[:, None, None]
    a, b = (w * source).sum(axis=1, keepdims=True), (w * target).sum(axis=1, keepdims=True)
    u, _, vt = np.linalg.svd(np.swapaxes(w * (source - a), 1, 2) @ (target - b))
    flip = np.ones(u.shape[:-1])
    flip[:, 2] = np.linalg.det(u @ vt)
    return np.asarray((source - a) @ (u * flip[:, None]) @ vt + b)


def fill_mirrored(points: Array) -> Array:
    """Return right, left, right, left markers (4, T, 3) with one missing marker mirrored from its partner.

    The mirror is the plane midway between the pair that is seen. For markers that a whole file lacks.
    """
    out = points.copy()
    for a, b, lost, partner in ((0, 1, 2, 3), (0, 1, 3, 2), (2, 3, 0, 1), (2, 3, 1, 0)):
        normal = _unit(points[a] - points[b])
        mirrored = points[partner] - 2 * _dot(points[partner] - (points[a] + points[b]) / 2, normal) * normal
        out[lost] = np.where(_seen(points[lost])[:, None], points[lost], mirrored)
    return out


def _pelvis(markers: Array) -> tuple[Array, Array, Array]:
    """Middle of the ASIS, axes (T, 3, 3) with rows forward, right, up, and (width, depth) of the pelvis, metres."""
    if len(markers) == 4:
        markers = fill_mirrored(fill_rigid(markers))
        back = (markers[2] + markers[3]) / 2
    else:
        markers = fill_rigid(markers)
        back = markers[2]
    front = (markers[0] + markers[1]) / 2
    right = _unit(markers[0] - markers[1])
    up = _unit(np.cross(right, front - back))
    axes = np.stack([np.cross(up, right), right, up], axis=1)
    size = np.array(
        [_median(np.linalg.norm(markers[0] - markers[1], axis=1)), _median(np.linalg.norm(front - back, axis=1))]
    )
    return front, axes, size


def hip(markers: Array, parameters: dict[str, float]) -> Array:
    """Hip joint centre from right and left ASIS, and right and left PSIS or the sacrum; `side` 0 is between the hips.

    Harrington et al., J Biomech 40:595-602 (2007), the regression on pelvic width and depth (their equations for
    adults and children together): 0.24 depth + 9.9 mm behind, 0.33 width + 7.3 mm beside, 0.30 width + 10.9 mm below
    the middle of the ASIS. The width is taken as WIDEST_PELVIS at most.
    """
    front, axes, (width, depth) = _pelvis(markers)
    width = min(width, WIDEST_PELVIS)
    local = np.array([-0.24 * depth - 0.0099, parameters["side"] * (0.33 * width + 0.0073), -0.30 * width - 0.0109])
    return np.asarray(front + np.einsum("i,tij->tj", local, axes))


def chord(proximal: Array, marker: Array, wand: Array, lateral: Array, offset: float) -> Array:
    """Joint centre `offset` from a lateral marker, such that it sees the marker and the proximal joint at 90 degrees.

    The chord function of Plug-in Gait (Kadaba et al., J Orthop Res 8:383-392, 1990; Davis et al., Hum Mov Sci
    10:575-587, 1991): the centre lies in the plane of marker, proximal joint and `wand`, away from the wand. The
    plane's turn about the limb is measured from `lateral` (T, 3); where the wand is hidden its median turn is used,
    and `lateral` itself where the wand is never seen.
    """
    along = proximal - marker
    length = np.linalg.norm(along, axis=-1, keepdims=True)
    along = _unit(along)
    out = _unit(lateral - _dot(lateral, along) * along)
    side = np.cross(along, out)
    turn = np.arctan2(_dot(wand - marker, side), _dot(wand - marker, out))
    usual = np.arctan2(_median(np.sin(turn)), _median(np.cos(turn)))
    turn = np.where(np.isfinite(turn), turn, usual if np.isfinite(usual) else 0.0)
    cos = offset / np.maximum(length, offset)
    away = -(np.cos(turn) * out + np.sin(turn) * side)
    return np.asarray(marker + offset * (cos * along + np.sqrt(1 - cos**2) * away))


def knee(markers: Array, parameters: dict[str, float]) -> Array:
    """Knee centre from the pelvis markers, the thigh wand and the lateral knee marker, in this order; see `chord`."""
    pelvis = markers[:-2]
    _, axes, _ = _pelvis(pelvis)
    lateral = parameters["side"] * axes[:, 1]
    return chord(hip(pelvis, parameters), markers[-1], markers[-2], lateral, KNEE_OFFSET)


def knee_lateral(markers: Array, parameters: dict[str, float]) -> Array:
    """Knee centre from the pelvis markers and the lateral knee marker: `knee` with the pelvis giving the side."""
    return knee(np.insert(markers, -1, np.nan, axis=0), parameters)


def ankle(markers: Array, parameters: dict[str, float]) -> Array:
    """Ankle centre from the markers of `knee`, the shank wand and the lateral ankle marker; see `chord`."""
    centre = knee(markers[:-2], parameters)
    return chord(centre, markers[-1], markers[-2], markers[-3] - centre, ANKLE_OFFSET)


def ankle_lateral(markers: Array, parameters: dict[str, float]) -> Array:
    """Ankle centre from the pelvis markers, the lateral knee and the lateral ankle marker."""
    centre = knee_lateral(markers[:-1], parameters)
    nowhere = np.full_like(markers[0], np.nan)
    return chord(centre, markers[-1], nowhere, markers[-2] - centre, ANKLE_OFFSET)


def shoulder(markers: Array, parameters: dict[str, float]) -> Array:
    """Shoulder centre: below an acromion marker, from the right and left acromion and the pelvis markers.

    Down is from the middle of the acromia to that of the pelvis, square to the line of the shoulders. `side` 0 is the
    middle of the two shoulders. Plug-in Gait places it at the same offset, by a chord in the thorax frame.
    """
    pelvis = fill_mirrored(fill_rigid(markers[2:])) if len(markers) == 6 else fill_rigid(markers[2:])
    back = (pelvis[2] + pelvis[3]) / 2 if len(pelvis) == 4 else pelvis[2]
    middle = (markers[0] + markers[1]) / 2
    across = _unit(markers[0] - markers[1])
    down = ((pelvis[0] + pelvis[1]) / 2 + back) / 2 - middle
    down = _unit(down - _dot(down, across) * across)
    top = {1.0: markers[0], -1.0: markers[1], 0.0: middle}[float(parameters["side"])]
    return np.asarray(top + SHOULDER_DROP * down)


def shoulder_alone(markers: Array, _: dict[str, float]) -> Array:
    """Shoulder centre where only one acromion is marked, then the upper and the lower trunk (two markers each)."""
    down = _unit((markers[3] + markers[4] - markers[1] - markers[2]) / 2)
    return np.asarray(markers[0] + SHOULDER_DROP * down)


def wrist(markers: Array, _: dict[str, float]) -> Array:
    """Middle of the radial and ulnar wrist markers; the one that there is where a clip never shows both."""
    both = _seen(markers).all(axis=0)
    if both.any():
        return np.asarray(markers.mean(axis=0))
    return np.asarray(markers[int(np.argmax(_seen(markers).sum(axis=1)))])


def elbow(markers: Array, parameters: dict[str, float]) -> Array:
    """Elbow centre from the lateral elbow and both wrist markers, then the markers of `shoulder`.

    As in Plug-in Gait: `chord` with the normal of the plane through shoulder, elbow marker and wrist for its wand. The
    medial side is the one that a flexed elbow shows.
    """
    marker, hand, top = markers[0], wrist(markers[1:3], {}), shoulder(markers[3:], parameters)
    medial = parameters["side"] * np.cross(top - marker, hand - marker)
    return chord(top, marker, marker - medial, -medial, ELBOW_OFFSET)


def _head(markers: Array) -> tuple[Array, Array]:
    """Markers right front, left front, right back, left back (4, T, 3) without gaps; axes forward, right, up."""
    markers = fill_mirrored(fill_rigid(markers))
    forward = _unit(markers[0] + markers[1] - markers[2] - markers[3])
    right = markers[0] + markers[2] - markers[1] - markers[3]
    right = _unit(right - _dot(right, forward) * forward)
    return markers, np.stack([forward, right, np.cross(right, forward)], axis=1)


def nose(markers: Array, _: dict[str, float]) -> Array:
    """Nose from the head band's right front, left front, right back and left back markers, by mean head sizes."""
    markers, axes = _head(markers)
    return np.asarray((markers[0] + markers[1]) / 2 + np.einsum("i,tij->tj", np.array(NOSE_FROM_FRONT), axes))


def ear(markers: Array, parameters: dict[str, float]) -> Array:
    """Ear (tragus) from the same markers as `nose`."""
    markers, axes = _head(markers)
    local = np.array(EAR_FROM_MIDDLE) * (1, parameters["side"], 1)
    return np.asarray(markers.mean(axis=0) + np.einsum("i,tij->tj", local, axes))


def nose_from_temples(markers: Array, _: dict[str, float]) -> Array:
    """Nose from right temple, left temple and top of the head."""
    middle = (markers[0] + markers[1]) / 2
    right = _unit(markers[0] - markers[1])
    forward = _unit(np.cross(markers[2] - middle, right))
    axes = np.stack([forward, right, np.cross(right, forward)], axis=1)
    return np.asarray(middle + np.einsum("i,tij->tj", np.array(NOSE_FROM_TEMPLES), axes))


RULES: dict[str, Callable[[Array, dict[str, float]], Array]] = {
    "hip": hip,
    "knee": knee,
    "knee_lateral": knee_lateral,
    "ankle": ankle,
    "ankle_lateral": ankle_lateral,
    "shoulder": shoulder,
    "shoulder_alone": shoulder_alone,
    "elbow": elbow,
    "wrist": wrist,
    "nose": nose,
    "ear": ear,
    "nose_from_temples": nose_from_temples,
}
