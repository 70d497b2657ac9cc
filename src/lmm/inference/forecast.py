"""Forecast: a motion → what may come next, in the motion's own pixels or metres."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import RECORDED, SYNTHESISED, Motion
from lmm.models.forecaster import Forecaster
from lmm.models.loading import load
from lmm.pipeline.clean import clean
from lmm.pipeline.features import Layout, decode, encode
from lmm.pipeline.resample import resample

Array = NDArray[Any]
MAX_SECONDS, MAX_SAMPLES = 120.0, 1000
DEFAULT = "constant-velocity"


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
    generator = np.random.default_rng(seed)
    known = [context] * samples
    futures: list[list[Motion]] = [[] for _ in range(samples)]
    for start in range(0, horizon, network.block_frames):
        frames = min(network.block_frames, horizon - start)
        shared = start == 0  # all samples still have one context: it is encoded once
        features = [encode(m, spec) for m in (known[:1] if shared else known)]
        x = np.stack([f.values for f in features])
        observed = np.stack([f.observed for f in features])
        valid = np.ones(x.shape[:2], bool)
        draws = network.forecast(x, valid, observed, frames, samples if shared else 1, generator)
        for s in range(samples):
            of = features[0] if shared else features[s]
            values = draws[0, s] if shared else draws[s, 0]
            seen = np.broadcast_to(of.observed.any(axis=0), (frames, of.observed.shape[1]))
            block = decode(values, seen, spec, of.transform.after_context())
            futures[s].append(block)
            known[s] = _joined(known[s], block, network.context_frames)
    positions = np.stack([np.concatenate([b.positions for b in blocks]) for blocks in futures])
    # a joint that the context only had by estimation is no better known in the future
    estimated = (~context.observed | (context.flags == SYNTHESISED)).all(axis=0)
    flags = np.broadcast_to(np.where(estimated, SYNTHESISED, RECORDED), positions.shape[1:3])
    first = futures[0][0]
    told = {"seconds": horizon / spec.fps, "samples": samples, "seed": seed}
    kept = {k: v for k, v in cleaned.meta.items() if k in ("source", "format", "subject", "trial", "person", "licence")}
    return first.replace(
        positions=positions[0],
        confidence=np.concatenate([b.confidence for b in futures[0]]),
        flags=flags,
        samples=positions,
        context=context,
        meta={**kept, "model": network.info.name, "forecast": told},
    )


def _joined(before: Motion, after: Motion, frames: int) -> Motion:
    """Return the last `frames` of two motions that follow each other."""
    joined = before.replace(
        positions=np.concatenate([before.positions, after.positions]),
        confidence=np.concatenate([before.confidence, after.confidence]),
        flags=None,
    )
    return joined.crop(max(0, joined.num_frames - frames), joined.num_frames)
