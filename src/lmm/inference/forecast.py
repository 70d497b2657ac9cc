"""Forecast: a motion → what may come next, in the motion's own pixels or metres."""

from __future__ import annotations

import numpy as np

from lmm.core.errors import MotionError
from lmm.core.motion import RECORDED, SYNTHESISED, Motion
from lmm.inference.rollout import roll_out
from lmm.models.forecaster import Forecaster
from lmm.models.loading import load
from lmm.pipeline.clean import clean
from lmm.pipeline.features import Layout
from lmm.pipeline.resample import resample

MAX_SECONDS, MAX_SAMPLES = 120.0, 1000
DEFAULT = "diffusion"


def forecast(
    motion: Motion, model: str | Forecaster = DEFAULT, seconds: float = 2.0, samples: int = 1, seed: int = 0
) -> Motion:
    """Return the forecast of `seconds` after the end of `motion`, at the model's rate, on BODY_25.

    The result's `positions` (T, 25, D) are the first of its `samples` (S, T, 25, D), in the space and place of the
    source; `context` is the cleaned motion that was seen, and `start_s` continues its clock. Joints that the context
    never shows stay missing, those that it only had by estimation are flagged so. Horizons beyond the model's block are
    rolled out: each block is decoded to motion and the features of the new context are made afresh, for each sample by
    itself.

    Raises MotionError if the motion cannot be converted or centred, or the numbers are out of range.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise MotionError(f"a forecast of {seconds:g} s was asked for; between 0 and {MAX_SECONDS:g} s are possible.")
    if not 1 <= samples <= MAX_SAMPLES:
        raise MotionError(f"{samples} samples were asked for; 1 to {MAX_SAMPLES} are possible.")
    layout: Layout = "xyc" if motion.num_dims == 2 else "xyz"
    network: Forecaster = load(model, layout) if isinstance(model, str) else model
    spec = network.features
    cleaned = resample(motion if "cleaning" in motion.meta else clean(motion), spec.fps)
    context = cleaned.crop(max(0, cleaned.num_frames - network.context_frames), cleaned.num_frames)
    horizon = max(1, round(seconds * spec.fps))
    futures = roll_out([context], network, horizon, samples, np.random.default_rng(seed))[0]
    positions = np.stack([f.positions for f in futures])
    # a joint that the context only had by estimation is no better known in the future
    estimated = (~context.observed | (context.flags == SYNTHESISED)).all(axis=0)
    flags = np.broadcast_to(np.where(estimated, SYNTHESISED, RECORDED), positions.shape[1:3])
    told = {"seconds": horizon / spec.fps, "samples": samples, "seed": seed}
    kept = {k: v for k, v in cleaned.meta.items() if k in ("source", "format", "subject", "trial", "person", "licence")}
    return futures[0].replace(
        flags=flags,
        samples=positions,
        context=context,
        meta={**kept, "model": network.info.name, "forecast": told},
    )
