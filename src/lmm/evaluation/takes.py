"""Rollouts against what came: a clip cut in two, and the parts of every score of one rolled out future."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core import metrics
from lmm.core.errors import LmmError, MotionError
from lmm.core.metrics import Parts
from lmm.core.motion import RECORDED, Motion
from lmm.datasets.windows import LEAST_DEPTH_M
from lmm.evaluation.cases import FPS, Case, Corpus
from lmm.pipeline.cameras import project
from lmm.pipeline.features import MIDHIP, NECK, FeatureSpec, encode
from lmm.skeletons import BODY_25

Array = NDArray[Any]
STILL = 0.1  # of the clip's usual speed: a second in which joints stay below it is a collapse
SECOND = int(FPS)


@dataclass(frozen=True, eq=False)
class Take:
    """A clip cut in two: `past` as the models see it, and what followed, NaN after the clip's end.

    whole     (C + H, 25, D), past and future in metres (xyz) or body lengths (xyc)
    counts    (C + H, 25): what was recorded, and is scored
    unit      one of `whole`'s units in the motion's own
    centre    the joint that stands for the root
    """

    case: Case
    past: Motion
    whole: Array
    counts: Array
    unit: float
    centre: int

    @property
    def context(self) -> int:
        return self.past.num_frames

    @property
    def now(self) -> Array:
        """The last place of each joint in the context, (25, D)."""
        past = self.whole[: self.context]
        last = np.where(np.isfinite(past[..., 0]), np.arange(len(past))[:, None], 0).max(axis=0)
        return np.asarray(past[last, np.arange(past.shape[1])])

    @property
    def usual(self) -> float:
        """The mean speed of the joints about the root, in context and truth."""
        speed = metrics.speed(self.local(self.whole), self.limbs(self.counts), FPS)
        return float(speed.total.sum() / max(speed.number.sum(), 1))

    def local(self, positions: Array) -> Array:
        """Return positions (T, 25, D) about the root."""
        return np.asarray(positions - positions[:, [self.centre]])

    def limbs(self, counts: Array) -> Array:
        """Return which of `counts` (T, 25) count about the root: not the root, and nothing where it is unknown."""
        return counts & counts[:, [self.centre]] & (np.arange(counts.shape[1]) != self.centre)


def takes(corpus: Corpus, cases: Sequence[Case], frames: int, scored: Array) -> list[Take]:
    """Return the takes of `cases`, without those whose context cannot be centred or measured.

    What virtual cameras see counts until a joint comes within LEAST_DEPTH_M of a camera's plane, as in `cut_window`;
    takes that end so within a second are left out too. Raises LmmError if none is left.
    """
    out = []
    for case in cases:
        motion, context = corpus.motions[case.clip], case.context
        piece = motion.crop(case.begin - context, min(motion.num_frames, case.begin + frames))
        if corpus.layout == "xyc" and piece.space == "world":
            film = project(piece, corpus.cameras[case.view], context)
            kept = _in_reach(piece, film.meta["camera"])
            if kept < context + SECOND:
                continue
            piece = film.crop(0, kept)
        past = piece.crop(0, context)
        try:
            transform = encode(past, FeatureSpec(layout=corpus.layout)).transform
        except MotionError:
            continue
        unit = 1.0 if corpus.layout == "xyz" else transform.scale
        missing = context + frames - piece.num_frames
        whole = np.pad(piece.positions.astype(float) / unit, ((0, missing), (0, 0), (0, 0)), constant_values=np.nan)
        recorded = piece.observed & (piece.flags == RECORDED) & past.observed.any(axis=0) & scored
        counts = np.pad(recorded, ((0, missing), (0, 0)))
        out.append(Take(case, past, whole, counts, unit, MIDHIP if transform.centre == "MidHip" else NECK))
    if not out:
        raise LmmError("no rollout could be begun: no context shows the body's centre and size.")
    return out


def _in_reach(piece: Motion, camera: dict[str, Any]) -> int:
    """Return how many frames the person stays where a camera that may stand on any side sees well."""
    away = piece.positions[..., [0, 2]] - np.asarray(camera["target_m"])[[0, 2]]
    far = np.nan_to_num(np.hypot(away[..., 0], away[..., 1])).max(axis=1) > camera["distance_m"] - LEAST_DEPTH_M
    return int(far.argmax()) if far.any() else piece.num_frames


def truth_scores(take: Take) -> dict[str, Parts]:
    """Return the parts (1, K) of the truth's own energy in each second, and of its bone lengths' variation."""
    truth, counts = take.whole[take.context :], take.counts[take.context :]
    out = {n: _by_second(x, seen, SECOND) for n, (x, seen) in _views(take, truth, counts).items()}
    return _rows(out | {"bone_length_cv": metrics.bone_length_cv(truth, counts, BODY_25.bones)})


def scores(take: Take, future: Motion, block: int) -> dict[str, Parts]:
    """Return the parts (1, K) of the scores of a future that was rolled out in blocks of `block` frames."""
    forecast, truth = future.positions.astype(float) / take.unit, take.whole[take.context :]
    came = take.counts[take.context :]
    counts = np.isfinite(forecast[..., 0]) & take.counts[: take.context].any(axis=0)
    out = {}
    theirs = _views(take, truth, came)
    for name, (x, seen) in _views(take, forecast, counts).items():
        out[name] = _by_second(x, seen, SECOND)
        y, known = theirs[name]
        both = _by_second(x, known & seen, SECOND), _by_second(y, known & seen, SECOND)
        out[name.replace("energy", "energy_ratio")] = Parts(both[0].total, both[1].total)
    out["bone_length_cv"] = metrics.bone_length_cv(forecast, counts, BODY_25.bones)
    return _rows(out | _continuity(take, forecast, counts, block) | _displacement(take, forecast, truth, came & counts))


def _views(take: Take, positions: Array, counts: Array) -> dict[str, tuple[Array, Array]]:
    root = [take.centre]
    return {
        "energy": (positions, counts),
        "energy_local": (take.local(positions), take.limbs(counts)),
        "energy_root": (positions[:, root], counts[:, root]),
    }


def _by_second(positions: Array, counts: Array, second: int) -> Parts:
    """Return the speeds between frames of the horizon, summed by second; the step into it is `_continuity`'s."""
    return metrics.per_second(metrics.speed(positions, counts, FPS), second, skipped=1)


def _continuity(take: Take, forecast: Array, counts: Array, block: int) -> dict[str, Parts]:
    """Return how large the steps into the forecast and over block borders are, and when motion dies."""
    joined = np.concatenate([take.now[None], forecast])
    seen = np.concatenate([counts[:1] & np.isfinite(take.now[:, 0]), counts])
    speed = metrics.ratio(metrics.speed(take.local(joined), take.limbs(seen), FPS))
    border = np.zeros(len(speed), bool)
    border[block::block] = True
    inner = speed[1:][~border[1:]]
    second = np.convolve(speed[1:], np.full(SECOND, 1 / SECOND), "valid")
    still = np.flatnonzero(second < STILL * take.usual)
    alive = still[0] if still.size else len(forecast)
    return {
        "first_step_ratio": Parts(speed[0], np.asarray(take.usual)),
        "border_step_ratio": Parts(speed[border].mean() if border.any() else np.zeros(()), inner.mean() * border.any()),
        "alive_seconds": Parts(np.asarray(alive / FPS), np.ones(())),
        "collapsed": Parts(np.asarray(float(still.size > 0)), np.ones(())),
    }


def _displacement(take: Take, forecast: Array, truth: Array, counts: Array) -> dict[str, Parts]:
    """Return the inner products, by second, of what was forecast (f) and what came (t), each about the last pose."""
    start = take.local(take.now[None])
    seen = take.limbs(counts & np.isfinite(take.now[:, 0]))[..., None]
    f, t = (np.where(seen, take.local(x) - start, 0) for x in (forecast, truth))
    products = {"product_ff": f * f, "product_ft": f * t, "product_tt": t * t}
    number = seen.sum(axis=(1, 2), dtype=float)
    return {n: metrics.per_second(Parts(x.sum(axis=(1, 2)), number), FPS) for n, x in products.items()}


def _rows(scores: dict[str, Parts]) -> dict[str, Parts]:
    return {name: Parts(*(np.reshape(side, (1, -1)) for side in parts)) for name, parts in scores.items()}
