"""What an encoder makes of a context, and what HTT's gate and attention do meanwhile: the material of `probe`.

Torch is imported inside functions: the protocols beside this one need none for baselines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.evaluation.cases import CONTEXT, FPS, Batch
from lmm.evaluation.pinned import standardise
from lmm.tokens import PARTS, WINDOW, pad_left

Array = NDArray[Any]


def untrained(network: Any, seed: int) -> Any:
    """Return a network of the same make with the random weights of a seed."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        twin = type(network)(network.config)
    return twin.to(next(network.parameters()).device).eval()


def seen_by(network: Any, batch: Batch) -> Any:
    """Return a batch as the `Context` that a network sees, T a multiple of 5 and at most its longest context."""
    from torch.nn.functional import pad

    from lmm.models.blocks import to_tensor

    like = next(network.parameters())
    frames = standardise(batch.context, batch.observed, network.features, batch.on_hips)
    x, v, o = (to_tensor(a, like)[:, -network.context_frames :] for a in (frames, batch.valid, batch.observed))
    missing = pad_left(x.shape[1])
    return network.context(pad(x, (0, 0, missing, 0)), pad(v, (missing, 0)), pad(o, (0, 0, missing, 0)))


def encoded(network: Any, batch: Batch) -> dict[tuple[str, str], Array]:
    """Return each stream's vectors (B, width) by (stream, pooling): at the last frame, and the mean over frames."""
    import torch

    with torch.inference_mode():
        context = seen_by(network.eval(), batch)
        parted = hasattr(network.encoder, "streams")
        streams = network.encoder.streams(context) if parted else {"memory": network.encoder(context)}
        valid = torch.ones(context.frames.shape[:2]) if context.mask is None else context.mask[:, 0, 0]
        share = valid.to(context.frames)[..., None] / valid.sum(1).to(context.frames)[:, None, None]
        out = {}
        for name, x in streams.items():
            if name != "gate":
                out[name, "last"] = x[:, -1].double().cpu().numpy()
                out[name, "mean"] = (x * share).sum(1).double().cpu().numpy()
    return out


def is_gated(network: Any) -> bool:
    """Return whether a network's encoder has a gate to glance at."""
    return hasattr(network.encoder, "gate")


@dataclass(frozen=True, eq=False)
class Glance:
    """What HTT does in windows: for each frame, counted back from the last, NaN before the context begins.

    gate     (B, T, 3): mean over widths, 10th and 90th percentile; 1 passes the frame stream alone
    windows  (B, L, T): attention of the last frame to the window that holds a frame, mean over heads; per layer
    parts    (B, L, T, 5): likewise to the body parts of a frame
    Attention is in multiples of an even one: 1 everywhere if all tokens counted alike.
    """

    gate: Array
    windows: Array | None
    parts: Array | None


def glance(network: Any, batch: Batch) -> Glance:
    """Return what an HTT does with a batch."""
    import torch

    encoder = network.encoder
    shares: dict[tuple[str, int], Any] = {}
    sides = {name: getattr(encoder, f"frame_{name}", None) for name in ("window", "part")}
    hooks = [
        layer.attention.register_forward_pre_hook(
            lambda module, given, at=(name, i): shares.__setitem__(at, last_attention(module, *given))
        )
        for name, side in sides.items()
        if side is not None
        for i, layer in enumerate(side.left)
    ]
    try:
        with torch.inference_mode():
            context = seen_by(network.eval(), batch)
            gate = encoder.streams(context)["gate"]
    finally:
        for hook in hooks:
            hook.remove()
    count = gate.shape[1]
    valid = np.ones(gate.shape[:2], bool) if context.mask is None else context.mask[:, 0, 0].cpu().numpy()
    levels = torch.quantile(gate, torch.tensor([0.1, 0.9]).to(gate), dim=-1)
    gates = torch.stack([gate.mean(-1), *levels], dim=-1).cpu().numpy()
    found: dict[str, Array | None] = {"window": None, "part": None}
    for name, side in sides.items():
        if side is not None:
            share = np.stack([shares[name, i].mean(1).cpu().numpy() for i in range(len(side.left))], axis=1)
            if name == "window":
                tokens = valid.reshape(len(valid), -1, WINDOW).any(axis=2).sum(axis=1)
                share = (share * tokens[:, None, None]).repeat(WINDOW, axis=-1)
            else:
                tokens = valid.sum(axis=1) * len(PARTS)
                share = (share * tokens[:, None, None]).reshape(*share.shape[:2], count, len(PARTS))
            shape = (len(valid), 1, count) + (1,) * (share.ndim - 3)
            found[name] = np.where(valid.reshape(shape), share, np.nan)
    return Glance(np.where(valid[..., None], gates, np.nan), found["window"], found["part"])


def last_attention(module: Any, x: Any, memory: Any, mask: Any = None, causal: bool = False) -> Any:
    """Return softmax(q kᵀ / √d) of the last of the tokens x (B, N, width) to a memory: (B, heads, M)."""
    query = module.query(x[:, -1:]).unflatten(-1, (module.heads, -1)).transpose(1, 2)
    scores = (query @ memory[0].transpose(-1, -2)) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(dim=-1)[:, :, 0]


def looked(glances: Sequence[Glance]) -> dict[str, Any]:
    """Return means over all windows of gate and attention, by frame, the last frame last; and over frames."""
    gate = _by_frame([g.gate for g in glances], 1)
    out: dict[str, Any] = {
        "seconds": [(i - CONTEXT + 1) / FPS for i in range(CONTEXT)],
        "gate": {"mean": _mean(gate[..., 0]), "by_frame": [_mean(x) for x in gate[..., 0].T]},
    }
    out["gate"] |= {"percentile_10": _mean(gate[..., 1]), "percentile_90": _mean(gate[..., 2])}
    windows = [g.windows for g in glances if g.windows is not None]
    if windows:
        shares = _by_frame(windows, 2)
        out["frame_to_window"] = [[_mean(shares[:, i, t]) for t in range(CONTEXT)] for i in range(shares.shape[1])]
    parts = [g.parts for g in glances if g.parts is not None]
    if parts:
        shares = _by_frame(parts, 2)
        out["frame_to_part"] = [
            {
                part: {"mean": _mean(shares[:, i, :, p]), "by_frame": [_mean(x) for x in shares[:, i, :, p].T]}
                for p, part in enumerate(PARTS)
            }
            for i in range(shares.shape[1])
        ]
    return out


def _by_frame(arrays: Sequence[Array], axis: int) -> Array:
    """Return arrays of different T (on `axis`) as one of CONTEXT frames, NaN before each begins."""
    pads = ([(0, 0)] * axis + [(CONTEXT - a.shape[axis], 0)] + [(0, 0)] * (a.ndim - axis - 1) for a in arrays)
    return np.concatenate([np.pad(a, p, constant_values=np.nan) for a, p in zip(arrays, pads, strict=True)])


def _mean(x: Array) -> float | None:
    known = x[np.isfinite(x)]
    return float(known.mean()) if known.size else None
