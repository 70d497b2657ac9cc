"""How well a motion codec gives motions back: places, the root's path, jerk, and what a second costs.

All in the standard body (neck to mid-hip 0.50 m), at 30 FPS, over the 16 joints of `pipeline.codec_features`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lmm.core.motion import Motion
from lmm.models.codec import STRIDE, Codec
from lmm.pipeline.codec_features import FPS, Decoder, Placement, encode

Array = NDArray[Any]
PIECE = 4 * FPS  # frames over which the root's errors may add up


def reconstruction(codec: Codec, motions: Iterable[Motion]) -> dict[str, float]:
    """Return the scores of a codec on whole `motions`; every frame weighs alike.

    mpjpe_mm         of joints relative to the root, in each frame's own heading, and of the root's height
    mpjpe_path_mm    in the world, both placed alike at every fourth second: the root's path counts
    mpjpe_clip_mm    in the world, both placed alike in the first frame alone
    sjpe             symmetric jerk percentage error, in [0, 1] (`jerk_error`); of it ``sjpe_noise`` where the rebuilt
                     motion jerks more than the real one, ``sjpe_static`` where less
    jerk_difference  of the mean jerk magnitudes, rebuilt less real, m/s³; ``jerk`` is the real one
    bytes_per_second of latents, as float16, or of codes
    frames           how many
    """
    sums: dict[str, float] = {}
    frames = 0
    for motion in motions:
        y, _ = encode(motion)
        with torch.inference_mode():
            latents = codec.encode(torch.from_numpy(y).to(codec.mean)[None])
            x = codec.decode(latents)[0, : len(y)].float().cpu().numpy()
        scores = _scores(x, y)
        frames += len(y)
        for name, value in scores.items():
            sums[name] = sums.get(name, 0.0) + value * len(y)
    told = {name: value / max(frames, 1) for name, value in sums.items()}
    return {**told, "bytes_per_second": codec.config.bits_per_latent / 8 * FPS / STRIDE, "frames": frames}


def _scores(x: Array, y: Array) -> dict[str, float]:
    still = np.concatenate([np.zeros((len(x), 3), np.float32), np.ones((len(x), 46), np.float32)], axis=1)
    pose = [Decoder(Placement()).push(v * still) for v in (x, y)]
    whole = [Decoder(Placement()).push(v) for v in (x, y)]
    pieces = [
        _distance(Decoder(Placement()).push(x[i : i + PIECE]), Decoder(Placement()).push(y[i : i + PIECE]))
        for i in range(0, len(x), PIECE)
    ]
    return {
        "mpjpe_mm": 1000 * float(_distance(*pose).mean()),
        "mpjpe_path_mm": 1000 * float(np.concatenate(pieces).mean()),
        "mpjpe_clip_mm": 1000 * float(_distance(*whole).mean()),
        **jerk_error(whole[0], whole[1]),
    }


def _distance(a: Array, b: Array) -> Array:
    return np.asarray(np.linalg.norm(a - b, axis=-1))


def jerk(positions: Array) -> Array:
    """Return the jerk's magnitude (T - 3, J), units/s³, of `positions` (T, J, 3): third differences at 30 FPS."""
    return np.asarray(np.linalg.norm(np.diff(positions, n=3, axis=0), axis=-1) * FPS**3)


def jerk_error(rebuilt: Array, real: Array) -> dict[str, float]:
    """Return sjpe, its two parts, and mean jerks of places (T, J, 3); zeros with fewer than 4 frames.

    sJPE is the mean over frames and joints of |J' − J| / (J' + J), with J' the jerk of the rebuilt motion and J that of
    the real one: 0 is right, 1 is a motion that freezes or trembles throughout. After the metric of the name in J. Cho
    and others, "DisCoRD: Discrete Tokens to Continuous Motion via Rectified Flow Decoding", 2024, which parts it in the
    same way into noise (J' > J) and too little movement.
    """
    if len(real) < 4:
        return dict.fromkeys(("sjpe", "sjpe_noise", "sjpe_static", "jerk_difference", "jerk"), 0.0)
    ours, theirs = jerk(rebuilt), jerk(real)
    share = (ours - theirs) / np.maximum(ours + theirs, 1e-9)
    return {
        "sjpe": float(np.abs(share).mean()),
        "sjpe_noise": float(np.maximum(share, 0).mean()),
        "sjpe_static": float(np.maximum(-share, 0).mean()),
        "jerk_difference": float(ours.mean() - theirs.mean()),
        "jerk": float(theirs.mean()),
    }
