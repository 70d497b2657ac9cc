"""What an assistant sees, as tokens of its language model: encoders, feature enhancer, Cross Talker, projections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.core.errors import LmmError
from lmm.models.assistant_config import AssistantConfig
from lmm.models.blocks import time_encoding
from lmm.models.codec import quantise
from lmm.models.cross_talker import CrossTalker, FeatureEnhancer, Talk
from lmm.models.motion_encoder import VIDEO_FPS, Clip, MotionEncoder, side_by_side
from lmm.models.video_encoder import VideoEncoder

MOST_MOTIONS = 2  # of one question


@dataclass(frozen=True, eq=False)
class Percepts:
    """What is seen in P pairs of a motion and a question.

    tokens     (P, U, llm_width): marker, key frames, segments, quantity
    is_token   (P, U)
    gist       (P, hidden), what the answer rests on, as the gist of a question's motions is made of
    gate       (P, hidden), which of it the question is about
    heard      (P, L, llm_width), to be added to the words of the question
    talk       the Cross Talker's
    seconds    (N,) from the start of the clip, of the tokens that it saw
    """

    tokens: Tensor
    is_token: Tensor
    gist: Tensor
    gate: Tensor
    heard: Tensor
    talk: Talk
    seconds: Tensor


class Perception(nn.Module):
    """See the module.

    `word_size` is the standard deviation of the language model's embeddings, which tokens take; `vision` a pretrained
    vision model.
    """

    word_size: Tensor

    def __init__(self, config: AssistantConfig, word_size: float, vision: Any = None) -> None:
        super().__init__()
        self.config = c = config
        self.motion = MotionEncoder(c) if c.motion else None
        self.video = VideoEncoder(c, vision) if c.video else None
        self.video_in = nn.Linear(self.video.width, c.width) if self.video is not None else None
        into_levels = [nn.Linear(c.width, len(c.levels)), nn.Linear(len(c.levels), c.width)] if c.levels else []
        self.levels = nn.ModuleList(into_levels)
        self.words_in = nn.Linear(c.llm_width, c.width)
        self.enhancer = FeatureEnhancer(c.width, c.heads, c.hidden, c.dropout, video=c.motion and c.video)
        self.talker = CrossTalker(c.width, c.heads, c.keys, c.segments, c.largest_radius_s, c.selection)
        self.key_norm, self.segment_norm = nn.LayerNorm(c.width), nn.LayerNorm(c.width)
        self.key_out, self.segment_out, self.quantity_out, self.marker_out = (
            Projection(c.width, c.llm_width) for _ in range(4)
        )
        self.gist_in = nn.ModuleList(nn.Linear(3 * c.width, 4 * c.width) for _ in range(MOST_MOTIONS))
        self.gist_gate = nn.Linear(c.width, 4 * c.width)
        self.gist_out = nn.Linear(4 * c.width, len(c.lexicon))
        self.register_buffer("word_size", torch.tensor(word_size))
        self.heard_out = nn.Linear(c.width, c.llm_width)
        nn.init.zeros_(self.heard_out.weight)
        nn.init.zeros_(self.heard_out.bias)
        self.marker = nn.Parameter(torch.randn(MOST_MOTIONS, c.llm_width))

    def forward(self, clips: list[Clip], of: list[int], which: list[int], words: Tensor, is_word: Tensor) -> Percepts:
        """Return what is seen in the clips numbered `of` (P), each number `which` (P) of its question's motions.

        `words` (P, L, llm_width) are the questions, `is_word` (P, L). Raises LmmError if there is nothing to look at.
        """
        c = self.config
        # the scale of embeddings is the language model's own affair
        x = self.words_in(F.rms_norm(words, words.shape[-1:]))
        places = time_encoding(torch.arange(words.shape[1], device=words.device) / 8, c.width).to(x)
        text = self.enhancer.words(x + places, is_word)
        frames, exists, seconds = self._frames(clips)
        row = torch.tensor(of, device=words.device)
        talk = self.talker(frames[row], exists[row], seconds, text, is_word)
        lasts = torch.tensor([clip.seconds for clip in clips], device=words.device)[row]
        marker = self.marker[torch.tensor(which, device=words.device)] + self.marker_out(
            time_encoding(lasts, c.width).to(x)
        )
        when = time_encoding(seconds[talk.chosen], c.width).to(x)
        order = torch.arange(c.segments, device=words.device) / 2
        keys, segments = self.key_norm(talk.keys), self.segment_norm(talk.segments)
        quantity = fourier(talk.quantity, c.width)
        tokens = torch.cat(
            [
                marker[:, None],
                self.key_out(keys + when),
                self.segment_out(segments + time_encoding(order, c.width).to(x)),
                self.quantity_out(quantity)[:, None],
            ],
            dim=1,
        )
        known = torch.cat([_mean(keys, talk.is_key), _mean(segments, talk.is_segment), quantity], dim=1)
        both = torch.stack([into(known) for into in self.gist_in])  # of the first motion, of the second
        gist = both[torch.tensor(which, device=words.device), torch.arange(len(of), device=words.device)]
        one = talk.is_key.new_ones(len(of), 1)
        return Percepts(
            self.word_size * tokens,
            torch.cat([one, talk.is_key, talk.is_segment, one], dim=1),
            gist,
            self.gist_gate(_mean(text, is_word)),
            self.word_size * self.heard_out(talk.words),
            talk,
            seconds,
        )

    def said(self, percepts: Percepts, rows: Tensor, count: int) -> Tensor:
        """Return the logits (count, lexicon) of the words that the answers to `count` questions hold.

        `rows` (P) are the questions that the pairs belong to. A question's motions are added up before they are looked
        at together, and what it is about is let through (E. Perez and others, "FiLM", 2018: the scale alone).
        """
        shape = count, percepts.gist.shape[1]
        x = percepts.gist.new_zeros(shape).index_add(0, rows, percepts.gist)
        gate = percepts.gate.new_zeros(shape).index_copy(0, rows, percepts.gate)
        out: Tensor = self.gist_out(F.gelu(x) * gate)
        return out

    def _frames(self, clips: list[Clip]) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the talker sees of clips (B, N, width), what of it exists (B, N), and when it was (N,) s."""
        c, like = self.config, self.marker
        video = shown = None
        if self.video is not None and any(clip.video is not None and len(clip.video) for clip in clips):
            video, shown = self._video(clips)
        if self.motion is None:
            if video is None or shown is None or not shown.any(1).all():
                raise LmmError("this assistant looks at video alone, and a motion came without. Give its video.")
            return video, shown, (torch.arange(video.shape[1], device=video.device) + 0.5).to(video) / VIDEO_FPS
        x, exists = self.motion(side_by_side(clips, c.patch_frames, like))
        if c.levels:
            x = self.levels[1](quantise(self.levels[0](x), c.levels))
        x = self.enhancer(x, exists, video, shown)
        seconds = (torch.arange(x.shape[1], device=x.device) + 0.5) * (c.patch_frames / c.spec.fps)
        return x, exists, seconds.to(x)

    def _video(self, clips: list[Clip]) -> tuple[Tensor, Tensor]:
        """Return a token of each frame of video (B, V, width), and which exist (B, V)."""
        assert self.video is not None
        assert self.video_in is not None
        like, rows = self.marker, []
        for clip in clips:
            if clip.video is None or not len(clip.video):
                rows.append(like.new_zeros(0, self.config.width))
            else:
                rows.append(self.video_in(self.video(clip.video[None].to(like.device))[0]))
        x = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        shown = torch.arange(x.shape[1], device=x.device) < torch.tensor([[len(r)] for r in rows], device=x.device)
        when = time_encoding(torch.arange(x.shape[1], device=x.device) / VIDEO_FPS, self.config.width).to(x)
        return x + when, shown


class Projection(nn.Sequential):
    """Into the language model's width, of size 1; what leaves is made as large as words, and so are training steps."""

    def __init__(self, width: int, llm_width: int) -> None:
        super().__init__(nn.Linear(width, llm_width), nn.GELU(), nn.Linear(llm_width, llm_width))
        nn.init.normal_(self[2].weight, std=2 * llm_width**-0.5)


def fourier(x: Tensor, width: int) -> Tensor:
    """Return sines and cosines (..., width) of a quantity x (...), with periods of 1/2 to 64; they pass gradients."""
    periods = torch.logspace(-1, 6, width // 2, base=2.0, dtype=x.dtype, device=x.device)
    angle = 2 * torch.pi * x[..., None] / periods
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def _mean(x: Tensor, exists: Tensor) -> Tensor:
    """Return the mean (P, width) of the tokens (P, N, width) that exist (P, N)."""
    return (x * exists[..., None]).sum(1) / exists.sum(1, keepdim=True)
