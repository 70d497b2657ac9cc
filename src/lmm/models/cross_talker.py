"""The feature enhancer and the Cross Talker: which moments of a motion answer a question, and what is seen there.

"Human Motion Instruction Tuning", CVPR 2025 (no code released). With F_T (L, d) the words of a question and F_M (N, d)
the tokens of a motion at times t (seconds):

    A = softmax_j(F_T W_Q (F_M W_K)ᵀ / √d)      s_j = max_i A_ij                              (1) frame scores
    k = the K tokens with the largest s          g_k = s_k / stop(s_k)                        (2) key frames
    r_k = R sigmoid(w · F_M,k + b)               w_kj = sigmoid((r_k - |t_j - t_k|) / τ)      (3) soft windows
    h_k = g_k attention(F_M,k; F_M; log w_k)                                                  (4) local attention
    y_k = h_k + attention(h_k; segments)         a segment is the mean of a stretch of F_M    (5)
    Y' = Y + attention(Y; F_T)                   F_T' = F_T + attention(F_T; Y)               (6) both ways

In (4) log w_k is added to the logits before the softmax: what lies outside the window has no weight, and at its edge,
over about τ, the weight falls smoothly, so r_k has a gradient. g_k is 1, and its gradient is that of log s_k: what a
key frame is worth reaches its score (straight through). τ = 0.1 s. Ours besides: a gate for every token,

    c_j = sigmoid(mean_i(F_T,i) W_U · F_M,j W_G / √d + b)      quantity = Σ_j c_j             (7)

which can put one unit of mass on each thing that a question counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.models.blocks import Attention, EncoderLayer

EDGE_S = 0.1
LEAST = 1e-9


class FeatureEnhancer(nn.Module):
    """Self-attention in each stream, then motion attends to video."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, video: bool) -> None:
        super().__init__()
        self.text = EncoderLayer(width, heads, hidden, dropout)
        self.motion = EncoderLayer(width, heads, hidden, dropout)
        self.video = EncoderLayer(width, heads, hidden, dropout) if video else None
        self.cross = Attention(width, heads) if video else None
        self.norm = nn.LayerNorm(width) if video else None

    def forward(self, motion: Tensor, exists: Tensor, video: Tensor | None, shown: Tensor | None) -> Tensor:
        """Return motion (B, N, d), `exists` (B, N), enhanced by itself and by video (B, V, d), `shown` (B, V).

        A motion without video is left as it is by the second step.
        """
        x = self.motion(motion, _mask(exists))
        if video is None or shown is None or self.video is None or self.cross is None or self.norm is None:
            return x
        has = shown.any(1)
        looked = shown | ~has[:, None]  # a softmax over nothing is not a number
        y = self.video(video, _mask(looked))
        return x + has[:, None, None] * self.cross(self.norm(x), self.cross.keys_values(y), _mask(looked))

    def words(self, text: Tensor, exists: Tensor) -> Tensor:
        """Return words (B, L, d), `exists` (B, L), each in the light of the others."""
        out: Tensor = self.text(text, _mask(exists))
        return out


@dataclass(frozen=True, eq=False)
class Talk:
    """What the Cross Talker makes of B motions and their questions. Key frames are in order of time.

    keys, is_key        (B, K, d) and (B, K): a motion of fewer tokens has fewer
    segments, is_segment   (B, S, d) and (B, S)
    words               (B, L, d) F_T'
    chosen              (B, K) the token of each key frame
    scores              (B, N) s of every token
    radius_s            (B, K)
    gates               (B, N), 0 where there is no token
    gate_logits         (B, N) before the sigmoid
    exists              (B, N)
    """

    keys: Tensor
    is_key: Tensor
    segments: Tensor
    is_segment: Tensor
    words: Tensor
    chosen: Tensor
    scores: Tensor
    radius_s: Tensor
    gates: Tensor
    gate_logits: Tensor
    exists: Tensor

    @property
    def quantity(self) -> Tensor:
        return self.gates.sum(1)


class CrossTalker(nn.Module):
    """See the module."""

    def __init__(
        self,
        width: int,
        heads: int,
        keys: int,
        segments: int,
        largest_radius_s: float,
        selection: Literal["talker", "uniform"] = "talker",
    ) -> None:
        super().__init__()
        self.keys, self.segments, self.largest, self.selection = keys, segments, largest_radius_s, selection
        self.score_words, self.score_frames = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.gate_words, self.gate_frames = (nn.Linear(width, width) for _ in range(2))
        self.gate_bias = nn.Parameter(torch.tensor(-1.5))
        self.radius = nn.Linear(width, 1)
        self.local, self.whole, self.to_words, self.to_keys = (Attention(width, heads) for _ in range(4))
        self.norm_frames, self.norm_local, self.norm_segments, self.norm_keys, self.norm_words = (
            nn.LayerNorm(width) for _ in range(5)
        )

    def forward(self, frames: Tensor, exists: Tensor, seconds: Tensor, words: Tensor, is_word: Tensor) -> Talk:
        """Return what is seen in `frames` (B, N, d) at `seconds` (N,) in the light of `words` (B, L, d)."""
        x = self.norm_frames(frames)
        scores = self._scores(x, exists, words, is_word)
        chosen, is_key = self._chosen(scores, exists)
        at = chosen[..., None].expand(-1, -1, x.shape[2])
        queries = x.gather(1, at)
        radius = self.largest * torch.sigmoid(self.radius(queries)[..., 0])
        away = (seconds[chosen][..., None] - seconds).abs()
        window = F.logsigmoid((radius[..., None] - away) / EDGE_S)
        window = window.masked_fill(~exists[:, None], -torch.inf)
        seen = self.local(queries, self.local.keys_values(x), window[:, None])
        if self.selection == "talker":
            picked = scores.gather(1, chosen).clamp(min=LEAST)
            seen = seen * (picked / picked.detach())[..., None]
        segments, is_segment = self._segments(x, exists)
        y = seen + self.whole(
            self.norm_local(seen), self.whole.keys_values(self.norm_segments(segments)), _mask(is_segment)
        )
        keys, text = self.norm_keys(y), self.norm_words(words)
        told = y + self.to_words(keys, self.to_words.keys_values(text), _mask(is_word))
        heard = words + self.to_keys(text, self.to_keys.keys_values(keys), _mask(is_key))
        logits = self._gate_logits(x, words, is_word)
        gates = torch.sigmoid(logits) * exists
        return Talk(told, is_key, segments, is_segment, heard, chosen, scores, radius, gates, logits, exists)

    def _scores(self, x: Tensor, exists: Tensor, words: Tensor, is_word: Tensor) -> Tensor:
        logits = self.score_words(words) @ self.score_frames(x).transpose(1, 2) * x.shape[2] ** -0.5
        shares = torch.softmax(logits.masked_fill(~exists[:, None], -torch.inf), dim=-1)
        return shares.masked_fill(~is_word[..., None], 0).amax(1)

    def _chosen(self, scores: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens of key frames (B, K) in order of time, and which of them exist."""
        count, number = min(self.keys, scores.shape[1]), exists.sum(1, keepdim=True)
        if self.selection == "uniform":
            place = torch.arange(count, device=scores.device)
            few = number.clamp(max=count)
            chosen = ((2 * place + 1) * number).div(2 * few, rounding_mode="floor").clamp(max=scores.shape[1] - 1)
            is_key = place < few
        else:
            chosen = scores.detach().masked_fill(~exists, -1).topk(count, dim=1).indices
            chosen = chosen.sort(dim=1).values  # what does not exist is on the right
            is_key = exists.gather(1, chosen)
        return torch.where(is_key, chosen, 0), is_key

    def _segments(self, x: Tensor, exists: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means (B, S, d) of S stretches of equal length, and which exist (B, S): a token each at least."""
        number = exists.sum(1, keepdim=True)
        parts = number.clamp(max=self.segments)
        order = torch.arange(x.shape[1], device=x.device)
        part = (order * parts).div(number, rounding_mode="floor")
        member = (part[:, None] == torch.arange(self.segments, device=x.device)[:, None]) & exists[:, None]
        share = member.to(x) / member.sum(2, keepdim=True).clamp(min=1)
        return share @ x, member.any(2)

    def _gate_logits(self, x: Tensor, words: Tensor, is_word: Tensor) -> Tensor:
        share = is_word.to(x) / is_word.sum(1, keepdim=True)
        asked = self.gate_words((share[..., None] * words).sum(1))
        return (self.gate_frames(x) @ asked[..., None])[..., 0] * x.shape[2] ** -0.5 + self.gate_bias


def _mask(exists: Tensor) -> Tensor | None:
    return None if bool(exists.all()) else exists[:, None, None]
