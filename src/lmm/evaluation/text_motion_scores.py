"""Scores of text-to-motion: of embeddings (N, D) in which a text lies near its motion, and of the movement itself.

R-precision, MM-Dist, FID, Diversity and MModality are those of C. Guo et al., "Generating Diverse and Natural 3D Human
Motions from Text", 2022, section 5 and appendix. They depend on the encoder (`lmm.models.text_motion`), which has to be
named with them. More Diversity or MModality is not better: what is near the real motions' is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm.core.errors import LmmError
from lmm.core.motion import Motion
from lmm.skeletons import BODY_25

Array = NDArray[Any]
GROUP = 32
PAIRS = 300
REPETITIONS = 20
LOW_M, SLIDING_MPS = 0.05, 0.5  # a foot that low, in two adjacent frames, and that fast along the floor skates
FEET = tuple(BODY_25.index[n] for n in ("LBigToe", "RBigToe"))


class Estimate(NamedTuple):
    """A mean over repetitions and half the width of its 95 % interval, 1.96 · std / √repetitions."""

    mean: float
    margin: float


def estimate(values: ArrayLike) -> Estimate:
    """Return the mean of `values` (repetitions,), as papers print it. The interval tells how far the draw of groups,
    pairs and samples moves the score, not how far other people's motions would. NaN are passed over."""
    x = np.asarray(values, float)
    x = x[np.isfinite(x)]
    if not x.size:
        return Estimate(np.nan, np.nan)
    return Estimate(float(x.mean()), float(1.96 * x.std() / np.sqrt(x.size)))


def groups(texts: Sequence[str], rng: np.random.Generator, size: int = GROUP) -> Array:
    """Return (G, size) numbers of pairs: as many groups as there can be, the texts of a group all distinct.

    A group takes the `size` texts that have most pairs left, which is the most groups that can be made; which pair of
    a text, which of equals and the order are drawn. What fills no whole group is left out: smaller groups are easier.
    Raises LmmError if there are fewer than `size` distinct texts.
    """
    left: dict[str, list[int]] = {}
    for i in rng.permutation(len(texts)):
        left.setdefault(texts[i], []).append(int(i))
    if len(left) < size:
        raise LmmError(f"R-precision needs {size} different texts, there are {len(left)}. Test on more clips.")
    names = list(left)
    number = np.array([len(left[n]) for n in names])
    out = []
    while (number > 0).sum() >= size:
        shuffled = rng.permutation(len(names))
        chosen = shuffled[np.argsort(-number[shuffled], kind="stable")[:size]]
        out.append([left[names[c]].pop() for c in chosen])
        number[chosen] -= 1
    return rng.permuted(np.array(out), axis=1)


def distances(a: Array, b: Array) -> Array:
    """Return the Euclidean distances (..., N, M) of (..., N, D) from (..., M, D)."""
    squares = (a**2).sum(-1)[..., :, None] + (b**2).sum(-1)[..., None, :] - 2 * a @ np.swapaxes(b, -1, -2)
    return np.sqrt(np.maximum(squares, 0))


def r_precision(texts: Array, motions: Array, drawn: Array, top: int = 3) -> Array:
    """Return the share (top,) of texts whose own motion is among the 1, 2 ... nearest of its group's.

    `texts` and `motions` (N, D) are embeddings, `drawn` (G, size) the `groups`. Of motions that are equally near, the
    own counts as the last: a model that always moves alike gets nothing by it. Chance is 1/size, 2/size ...
    """
    d = distances(np.asarray(texts, float)[drawn], np.asarray(motions, float)[drawn])
    own = np.einsum("gii->gi", d)[..., None]
    rank = (d <= own).sum(axis=-1)  # 1 is the nearest
    return np.array([(rank <= k).mean() for k in range(1, top + 1)])


def mm_dist(texts: Array, motions: Array) -> float:
    """Return the mean distance of each motion's embedding (N, D) from its text's."""
    return float(np.linalg.norm(np.subtract(texts, motions), axis=-1).mean())


def fid(a: Array, b: Array) -> float:
    """Return the Fréchet distance of normal distributions with the means and covariances of (N, D) and (M, D).

    |μa − μb|² + tr(A + B − 2 (AB)^½), with tr (AB)^½ the sum of the roots of the eigenvalues of A^½ B A^½, which is
    symmetric and positive: no complex rounding, also where there are fewer motions than dimensions. FID falls with the
    number of motions (its bias is about 1/N): compare only at equal N. M. Heusel et al., "GANs Trained by a Two
    Time-Scale Update Rule", 2017, equation 6. Raises LmmError with fewer than two motions.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    if min(len(a), len(b)) < 2:
        raise LmmError("FID needs two motions or more on each side.")
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    apart = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    return float(max(apart + np.trace(cov_a) + np.trace(cov_b) - 2 * shared, 0))


def diversity(motions: Array, rng: np.random.Generator, pairs: int = PAIRS) -> float:
    """Return the mean distance between the embeddings of `pairs` random pairs of different motions (N, D)."""
    n = len(motions)
    if n < 2:
        return float("nan")
    first = rng.integers(n, size=pairs)
    second = (first + rng.integers(1, n, size=pairs)) % n
    return float(np.linalg.norm(motions[first] - motions[second], axis=-1).mean())


def multimodality(samples: Array) -> float:
    """Return the mean distance between two motions of one text, over all pairs of samples (N, S, D), S ≥ 2."""
    count = samples.shape[1]
    i, j = np.triu_indices(count, 1)
    return float(np.linalg.norm(samples[:, i] - samples[:, j], axis=-1).mean()) if count > 1 else float("nan")


def skating_ratio(motion: Motion, floor: float = 0.0) -> float:
    """Return the share of frames in which a foot skates: a big toe lower than LOW_M above the floor (metres) in two
    adjacent frames, and faster than SLIDING_MPS horizontally between them. NaN where no foot is seen.

    K. Karunratanakul et al., "Guided Motion Diffusion", 2023, section 5. Where a recording's floor lies is the
    caller's to say: `lowest`.
    """
    feet = _feet(motion)
    step = np.diff(feet[..., [0, 2]], axis=0)
    speed = np.linalg.norm(step, axis=-1) * motion.fps
    seen = np.isfinite(speed).any(axis=1)
    with np.errstate(invalid="ignore"):
        low = feet[..., 1] - floor < LOW_M
        skates = (low[1:] & low[:-1] & (speed > SLIDING_MPS)).any(axis=1)
    return float(skates[seen].mean()) if seen.any() else float("nan")


def jitter(motion: Motion) -> float:
    """Return the mean size of the joints' jerk, the third difference times fps³, in m/s³. It depends on the rate."""
    jerk = np.linalg.norm(np.diff(motion.positions.astype(float), n=3, axis=0), axis=-1) * motion.fps**3
    seen = np.isfinite(jerk)
    return float(jerk[seen].mean()) if seen.any() else float("nan")


def penetration(motion: Motion, floor: float = 0.0) -> float:
    """Return how deep, in metres, the lowest big toe is under the floor, in the mean over frames (0 above it)."""
    height = _feet(motion)[..., 1] - floor
    seen = np.isfinite(height).any(axis=1)
    if not seen.any():
        return float("nan")
    return float(np.maximum(-np.nanmin(height[seen], axis=1), 0).mean())


def lowest(motion: Motion, percent: float = 5.0) -> float:
    """Return the height that big toes are under in `percent` of what is seen: a recording's floor, in metres."""
    height = _feet(motion)[..., 1]
    height = height[np.isfinite(height)]
    return float(np.percentile(height, percent)) if height.size else float("nan")


def _feet(motion: Motion) -> Array:
    if (motion.skeleton is not BODY_25 and motion.skeleton.name != BODY_25.name) or motion.space != "world":
        raise LmmError("feet are judged in BODY_25 motions in metres. Use lmm.convert and a 3D source.")
    return motion.positions[:, FEET].astype(float)
