"""Surprise: how unexpected a movement is, moment by moment and region by region, under a forecaster.

A compensation, a stumble, or a tremor is what a model of usual movement does not expect. Every STEP_S seconds the model
forecasts SAMPLES futures of HORIZON_S from what it has seen; the surprise of a region is how far the truth is from
their mean, in their standard deviations: the root mean square over the region's joints and the frames of the horizon,

    s = sqrt( mean( (truth - mean)² / (variance + FLOOR²) ) ),

about 1 where the model knows its own uncertainty. It tells what is rare in the model's training data, not what is
wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import Motion
from lmm.inference.rollout import roll_out
from lmm.models.forecaster import Forecaster
from lmm.models.loading import load
from lmm.pipeline.clean import clean
from lmm.pipeline.features import MIDHIP, NECK, Layout
from lmm.pipeline.resample import resample
from lmm.skeletons import BODY_25
from lmm.tokens import PARTS

Array = NDArray[Any]

STEP_S, HORIZON_S, LEAST_CONTEXT_S = 0.5, 0.5, 1.0
SAMPLES, BATCH = 20, 16
FLOOR = 0.02  # body lengths: what cameras and markers cannot tell


@dataclass(frozen=True, eq=False)
class Surprise:
    """`times` (N,) seconds on the motion's clock, the ends of the contexts; `regions` name → (N,), NaN where unseen."""

    times: Array
    regions: dict[str, Array]
    model: str

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON: model, time_s, and regions, null where unseen."""
        regions = {k: [round(float(v), 3) if np.isfinite(v) else None for v in s] for k, s in self.regions.items()}
        return {"model": self.model, "time_s": self.times.round(3).tolist(), "regions": regions}


def surprise(motion: Motion, model: str | Forecaster = "diffusion", seed: int = 0) -> Surprise:
    """Return the surprise of a motion, for each body part of `lmm.tokens.PARTS`; see the module.

    Raises MotionError if it is shorter than LEAST_CONTEXT_S and HORIZON_S together.
    """
    layout: Layout = "xyc" if motion.num_dims == 2 else "xyz"
    network: Forecaster = load(model, layout) if isinstance(model, str) else model
    fps = network.features.fps
    whole = resample(motion if "cleaning" in motion.meta else clean(motion), fps)
    horizon = round(HORIZON_S * fps)
    ends = np.arange(round(LEAST_CONTEXT_S * fps), whole.num_frames - horizon + 1, round(STEP_S * fps))
    if not len(ends):
        raise MotionError(f"it lasts {whole.seconds:.2f} s; surprise needs {LEAST_CONTEXT_S + HORIZON_S:g} s or more.")
    generator = np.random.default_rng(seed)
    told: dict[str, list[float]] = {name: [] for name in PARTS}
    for first in range(0, len(ends), BATCH):
        some = ends[first : first + BATCH]
        contexts = [whole.crop(max(0, int(e) - network.context_frames), int(e)) for e in some]
        for end, context, futures in zip(
            some, contexts, roll_out(contexts, network, horizon, SAMPLES, generator), strict=True
        ):
            truth = whole.positions[end : end + horizon]
            found = _of_parts(np.stack([f.positions for f in futures]), truth, _body_length(context))
            for name, value in found.items():
                told[name].append(value)
    return Surprise(whole.clock[ends - 1], {k: np.array(v) for k, v in told.items()}, network.info.name)


def _of_parts(samples: Array, truth: Array, unit: float) -> dict[str, float]:
    """Return part → surprise, of samples (S, T, 25, D) and truth (T, 25, D); positions about the mid-hip."""
    samples, truth = (p.astype(np.float64) - p[..., [MIDHIP], :] for p in (samples, truth))
    off = ((truth - samples.mean(0)) ** 2 / (samples.var(0) + (FLOOR * unit) ** 2)).mean(-1)
    out = {}
    for name, joints in PARTS.items():
        values = off[:, [BODY_25.index[j] for j in joints if j != "MidHip"]]
        known = np.isfinite(values)
        seen = known.any(0).sum() >= 2  # one joint, a hip or shoulder, tells nothing of a limb
        out[name] = float(np.sqrt(values[known].mean())) if seen else np.nan
    return out


def _body_length(context: Motion) -> float:
    trunk = np.linalg.norm(context.positions[:, NECK] - context.positions[:, MIDHIP], axis=1)
    return float(np.nanpercentile(trunk, 90)) if np.isfinite(trunk).any() else np.nan
