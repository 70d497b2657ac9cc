"""The Hierarchical Temporal Transformer (HTT): frames, phrases of five frames, and body parts, read together.

    frames  (B, T, 75)        4 layers ─┬─ cross-attention both ways ─┬─ cross-attention both ways ─┐
    windows (B, T / 5, 375)   3 layers ─┘          2 layers           │          2 layers           ├─ gate ─ decoder
    parts   (B, T · 5, 21)    3 layers ───────────────────────────────┘                             │   4 layers
    windows, parts ─────────────────────────────────────────────────────────────────────────────────┘

After the overview of the Large Movement Model, phase I: 18.8 M parameters at size ``base``. That count fixes a
feed-forward network in each direction of every cross-attention layer and a gate of 3 · width → width; its formula is
ours: g = σ(W [f; w; p]), fused = g ⊙ f + (1 − g) ⊙ (w + p) / 2, with every window and the mean of the five parts
brought to frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lmm.core.registry import architectures
from lmm.models.autoregressive import Autoregressive
from lmm.models.blocks import Attention, Encoder, FeedForward, time_encoding
from lmm.models.config import NetworkConfig
from lmm.models.flat import FrameEncoder
from lmm.models.network import Context
from lmm.pipeline.features import NUM_JOINTS
from lmm.tokens import PART_SLOTS, PARTS, WINDOW, to_parts, to_windows

NUM_PARTS = len(PARTS)
WINDOW_LAYERS, PART_LAYERS, FUSION_LAYERS = 3, 3, 2


class CrossLayer(nn.Module):
    """One side of a bidirectional cross-attention layer: x looks at the other stream, then a feed-forward network."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        c = config
        self.norm, self.norm_other, self.norm_feed = (nn.LayerNorm(c.width) for _ in range(3))
        self.attention = Attention(c.width, c.heads)
        self.feed = FeedForward(c.width, c.hidden)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None) -> Tensor:
        memory = self.attention.keys_values(self.norm_other(other))
        x = x + self.dropout(self.attention(self.norm(x), memory, mask))
        return x + self.dropout(self.feed(self.norm_feed(x)))


class CrossAttention(nn.Module):
    """Two streams that look at each other, layer by layer, both at what the layer before left."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.left = nn.ModuleList(CrossLayer(config) for _ in range(FUSION_LAYERS))
        self.right = nn.ModuleList(CrossLayer(config) for _ in range(FUSION_LAYERS))

    def forward(self, a: Tensor, b: Tensor, mask_a: Tensor | None, mask_b: Tensor | None) -> tuple[Tensor, Tensor]:
        for left, right in zip(self.left, self.right, strict=True):
            a, b = left(a, b, mask_b), right(b, a, mask_a)
        return a, b


class HttEncoder(nn.Module):
    """A context → (B, T, width). A stream that is left out (an ablation) has no weights and is not in the gate."""

    def __init__(self, config: NetworkConfig, windows: bool = True, parts: bool = True, fusion: bool = True) -> None:
        super().__init__()
        c = config
        self.fps, self.width = c.spec.fps, c.width
        self.frames = FrameEncoder(c, c.layers)
        self.has_windows, self.has_parts, self.fusion = windows, parts, fusion
        if windows:
            self.embed_window = nn.Linear(WINDOW * 3 * NUM_JOINTS, c.width)
            self.windows = Encoder(WINDOW_LAYERS, c.width, c.heads, c.hidden, c.dropout)
        if parts:
            self.embed_part = nn.Linear(PART_SLOTS * 3, c.width)
            self.part_names = nn.Parameter(torch.randn(NUM_PARTS, c.width) * 0.02)
            self.parts = Encoder(PART_LAYERS, c.width, c.heads, c.hidden, c.dropout)
        if fusion and windows:
            self.frame_window = CrossAttention(c)
        if fusion and parts:
            self.frame_part = CrossAttention(c)
        if windows or parts:
            self.gate = nn.Linear((1 + windows + parts) * c.width, c.width)

    def forward(self, context: Context) -> Tensor:
        return self.streams(context)["fused"]

    def streams(self, context: Context) -> dict[str, Tensor]:
        """Return what each stream ends in, at every frame, (B, T, width), the ``gate`` and the ``fused`` memory."""
        x, mask = context.frames, context.mask
        count = x.shape[1]
        frame_mask = None if mask is None else mask[:, 0, 0]
        f = self.frames(context)
        out = {}
        if self.has_windows:
            # a window's time is that of its last frame
            seconds = torch.arange(WINDOW - count, 1, WINDOW, device=x.device) / self.fps
            tokens = self.embed_window(to_windows(x).flatten(2)) + time_encoding(seconds, self.width).to(x)
            window_mask = None
            if frame_mask is not None:
                window_mask = frame_mask.unflatten(1, (-1, WINDOW)).any(2)[:, None, None, :]
            w = self.windows(tokens, window_mask)
            if self.fusion:
                f, w = self.frame_window(f, w, mask, window_mask)
            out["windows"] = w.repeat_interleave(WINDOW, dim=1)
        if self.has_parts:
            seconds = torch.arange(1 - count, 1, device=x.device) / self.fps
            tokens = self.embed_part(to_parts(x)) + time_encoding(seconds, self.width).to(x)[:, None] + self.part_names
            part_mask = None if frame_mask is None else frame_mask.repeat_interleave(NUM_PARTS, 1)[:, None, None, :]
            p = self.parts(tokens.flatten(1, 2), part_mask)
            if self.fusion:
                f, p = self.frame_part(f, p, mask, part_mask)
            out["parts"] = p.unflatten(1, (-1, NUM_PARTS)).mean(dim=2)
        if not out:
            return {"frames": f, "fused": f}
        gate = torch.sigmoid(self.gate(torch.cat([f, *out.values()], dim=-1)))
        others = torch.stack(list(out.values())).mean(dim=0)
        return {"frames": f, **out, "gate": gate, "fused": gate * f + (1 - gate) * others}


@architectures.register("htt")
class Htt(Autoregressive):
    """See the module. Options: those of `Flat`; ``windows``, ``parts``, ``fusion`` false leave a stream out."""

    sizes = {  # noqa: RUF012
        "tiny": {"width": 32, "heads": 2, "hidden": 64, "layers": 2, "decoder_layers": 2},
        "small": {"width": 96, "heads": 6, "hidden": 384, "layers": 4, "decoder_layers": 4},
        "base": {"width": 256, "heads": 8, "hidden": 1024, "layers": 4, "decoder_layers": 4},
    }
    architecture = "htt"

    def __init__(self, config: NetworkConfig) -> None:
        streams = (bool(config.options.get(n, True)) for n in ("windows", "parts", "fusion"))
        super().__init__(config, HttEncoder(config, *streams))
