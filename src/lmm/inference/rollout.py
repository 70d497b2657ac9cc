"""Rolling out: each block of a forecast becomes motion, and the motion the context of the next block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.motion import Motion
from lmm.models.forecaster import Forecaster
from lmm.pipeline.features import Features, FeatureTransform, decode, encode

Array = NDArray[Any]


def roll_out(
    contexts: Sequence[Motion], network: Forecaster, frames: int, samples: int, generator: Any
) -> list[list[Motion]]:
    """Return, for each context, `samples` futures of `frames` frames in its own pixels or metres.

    Contexts are BODY_25 motions at the model's rate, of any lengths; all are forecast together, block by block. The
    first block draws all samples from one context; then each sample goes on by itself, from features made afresh but
    for the body length: that of the context holds, or its errors would multiply from block to block. Joints that a
    context never shows stay missing. Raises MotionError if a context cannot be centred or measured.
    """
    latest = [_last(c, network.context_frames) for c in contexts]
    futures: list[list[Motion]] = []
    transforms: list[FeatureTransform | None] = [None] * len(latest)
    for start in range(0, frames, network.block_frames):
        length = min(network.block_frames, frames - start)
        features = [encode(m, network.features, of=t) for m, t in zip(latest, transforms, strict=True)]
        count = samples if not start else network.fewest_draws if samples > 1 else 1
        draws = _forecast(network, features, length, count, generator)
        draws = draws[:, : 1 if start else samples]
        blocks = [_decoded(v, f, network) for f, drawn in zip(features, draws, strict=True) for v in drawn]
        if not start:
            latest = [context for context in latest for _ in range(samples)]
            transforms = [f.transform for f in features for _ in range(samples)]
            futures = [[] for _ in latest]
        for future, block in zip(futures, blocks, strict=True):
            future.append(block)
        latest = [_last(joined([m, b]), network.context_frames) for m, b in zip(latest, blocks, strict=True)]
    whole = [joined(blocks) for blocks in futures]
    return [whole[i * samples : (i + 1) * samples] for i in range(len(contexts))]


def joined(motions: Sequence[Motion]) -> Motion:
    """Return motions that follow each other as one, with the clock and the record of the first."""
    return motions[0].replace(
        positions=np.concatenate([m.positions for m in motions]),
        confidence=np.concatenate([m.confidence for m in motions]),
        flags=None,
    )


def _last(motion: Motion, frames: int) -> Motion:
    return motion.crop(max(0, motion.num_frames - frames), motion.num_frames)


def _decoded(values: Array, of: Features, network: Forecaster) -> Motion:
    seen = np.broadcast_to(of.observed.any(axis=0), (len(values), of.observed.shape[1]))
    return decode(values, seen, network.features, of.transform.after_context())


def _forecast(network: Forecaster, features: Sequence[Features], length: int, samples: int, generator: Any) -> Array:
    """Return (B, samples, length, 75) after features of any lengths, padded on the left to the longest."""
    longest = max(len(f.values) for f in features)
    valid = np.arange(longest) >= longest - np.array([len(f.values) for f in features])[:, None]
    x = np.stack([np.pad(f.values, ((longest - len(f.values), 0), (0, 0))) for f in features])
    observed = np.stack([np.pad(f.observed, ((longest - len(f.observed), 0), (0, 0))) for f in features])
    return np.asarray(network.forecast(x, valid, observed, length, samples, generator))
