"""Four cameras' OpenPose JSON against the TRC that was made of it: triangulation, and projection of the TRC.

The second half of `agreement.py`. Pose2Sim's trial has BODY_25B keypoints of four calibrated cameras and the TRC that
Pose2Sim triangulated from them. Here `lmm` reads both, and an independent triangulation must give the TRC.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lmm
from lmm.skeletons import BODY_25

Array = NDArray[Any]
J = BODY_25.index
MIDDLES = {"Neck": ("RShoulder", "LShoulder"), "MidHip": ("RHip", "LHip")}


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
        return np.stack(
            [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y],
            -1,
        )

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
    return [
        View(
            np.array(c["matrix"]),
            np.array(c["distortions"]),
            Rotation.from_rotvec(c["rotation"]).as_matrix(),
            np.array(c["translation"]),
        )
        for c in cameras
    ]


MIN_SCORE, MAX_ERROR_PX = 0.3, 15.0  # a keypoint's score, and its distance from the reprojection of the others' point


def triangulate(cameras: list[View], pixels: Array, scores: Array) -> tuple[Array, Array]:
    """Return points (T, J, 3) and the used (C, T, J) from pixels (C, T, J, 2) and scores (C, T, J).

    Direct linear transformation weighted with the scores (Hartley and Zisserman, Multiple View Geometry, 12.2), by as
    many cameras as agree within a mean reprojection error of MAX_ERROR_PX: all, else the best three, else the best two.
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


@dataclass(frozen=True, eq=False)
class Triangulated:
    """Pixels (C, T, 25, 2), scores and used (C, T, 25), points (T, 25, 3), and the person's id in each camera."""

    pixels: Array
    scores: Array
    points: Array
    used: Array
    people: list[str]


def people_of_all_cameras(cameras: list[View], seen: list[list[lmm.Motion]], frames: int) -> Triangulated:
    """Return the people, one a camera, who triangulate best: for whom most cameras agree."""
    made = []
    for chosen in product(*seen):
        tracks = [whole(m, frames) for m in chosen]
        pixels, scores = np.stack([p for p, _ in tracks]), np.stack([s for _, s in tracks])
        made.append(
            Triangulated(pixels, scores, *triangulate(cameras, pixels, scores), [m.meta["person"] for m in chosen])
        )
    return max(made, key=lambda m: m.used.sum())


def compare(data: Path, format: str | None = None) -> dict[str, Any]:
    """Compare the JSON, read as `format` (default: detected), with the TRC: per joint in mm in space and in pixels."""
    folder = data / "pose2sim_balancing"
    motion = lmm.to_body25(lmm.read(folder / "trc" / "S00_P00_T01_BalancingTrial_0-100.trc"))
    truth = motion.positions[..., [2, 0, 1]].astype(np.float64)  # the calibration's z is up: (z, x, y) of the TRC
    cameras = views(folder / "calibration" / "Calib_qualisys.toml")
    found = people_of_all_cameras(cameras, videos(folder, format), len(truth))
    points = found.points.copy()
    for n, (a, b) in MIDDLES.items():  # as the TRC's are: the middle of points in space
        points[:, J[n]] = (points[:, J[a]] + points[:, J[b]]) / 2
    joints = {n: J[n] for n in BODY_25.joints if np.isfinite(truth[:, J[n]]).any()}
    where = list(joints.values())
    mm = 1000 * np.linalg.norm(points - truth, axis=-1)
    of_pixels = 1000 * np.linalg.norm(found.points - truth, axis=-1)
    px = np.stack([np.linalg.norm(c.project(truth) - p, axis=-1) for c, p in zip(cameras, found.pixels, strict=True)])
    px[found.scores < MIN_SCORE] = np.nan
    seen = np.isfinite(mm[:, where])
    return {
        "frames": len(truth),
        "people": found.people,
        "used": float(seen.mean()),
        "under_10_mm": float((mm[:, where][seen] < 10).mean()),
        "mm": spread(mm[:, where]),
        "px": spread(px[..., where]),
        "frame_shift_mm": {str(s): shifted_mm(truth[:, where], points[:, where], s) for s in (-2, -1, 0, 1, 2)},
        "middles_of_pixels_mm": {n: spread(of_pixels[:, J[n]])["median"] for n in MIDDLES},
        "joints": {
            n: {
                "mm": spread(mm[:, j]),
                "used": float(np.isfinite(mm[:, j]).mean()),
                "cameras": float(found.used[..., j].sum(0).mean()),
                "px": [spread(c[:, j])["median"] for c in px],
            }
            for n, j in joints.items()
        },
    }


def spread(values: Array) -> dict[str, float]:
    """Median and 95th percentile of the numbers in `values`; NaN if there are none."""
    v = values[np.isfinite(values)]
    return (
        {"median": float(np.median(v)), "p95": float(np.percentile(v, 95))}
        if v.size
        else dict.fromkeys(("median", "p95"), np.nan)
    )


def shifted_mm(truth: Array, points: Array, shift: int) -> float:
    """Return the median distance, mm, of `points` to the TRC `shift` frames later."""
    n = len(truth)
    a, b = truth[max(0, shift) : n + min(0, shift)], points[max(0, -shift) : n - max(0, shift)]
    return spread(1000 * np.linalg.norm(a - b, axis=-1))["median"]


def show(x: dict[str, Any], wrong: dict[str, Any]) -> None:
    """Print the comparison `x`, and in a line that of the control `wrong`."""
    print(f"\nPose2Sim: {x['frames']} frames, four cameras; people that go together: {', '.join(x['people'])}")
    print(
        "median mm if the TRC is shifted by frames: "
        + ", ".join(f"{s}: {d:.2f}" for s, d in x["frame_shift_mm"].items())
    )
    print(
        "triangulated from the middles in the pictures, mm: "
        + ", ".join(f"{n} {d:.1f}" for n, d in x["middles_of_pixels_mm"].items())
    )
    print(
        f"{'joint':10} {'mm: median':>11} {'95 %':>7} {'frames used':>12} {'cameras':>8}   "
        "TRC in the pictures, px: cam01 ... cam04"
    )
    for name, j in x["joints"].items():
        pixels = " ".join(f"{p:5.1f}" for p in j["px"])
        print(
            f"{name:10} {j['mm']['median']:11.2f} {j['mm']['p95']:7.2f} "
            f"{100 * j['used']:10.0f} % {j['cameras']:8.1f}   {pixels}"
        )
    for name, y in (("as detected, BODY_25B", x), ("as BODY_25, wrongly", wrong)):
        mm, px = y["mm"], y["px"]
        print(
            f"read {name}: median {mm['median']:.2f} mm (95 %: {mm['p95']:.2f}), "
            f"{100 * y['under_10_mm']:.0f} % under 10 mm, {100 * y['used']:.0f} % of points; "
            f"in the pictures {px['median']:.1f} px (95 %: {px['p95']:.1f})"
        )
