"""Conversations about motions: what is asked, what was looked at, and how tokens lie side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lmm.models.motion_encoder import Clip
from lmm.models.perception import Percepts

BUMP_S = 0.15  # standard deviation of the bump that stands for a moment


@dataclass(frozen=True, eq=False)
class Asked:
    """A question about motions.

    question   the last that was said
    clips      one motion, or two to compare; clips that are the same object are looked at once a batch
    history    earlier questions and answers
    answer     what is right, to learn from
    moments_s  of each motion the instants on which the answer rests, seconds from the clip's beginning; None: untold
    """

    question: str
    clips: tuple[Clip, ...] = ()
    history: tuple[tuple[str, str], ...] = ()
    answer: str | None = None
    moments_s: tuple[tuple[float, ...] | None, ...] = ()


@dataclass(frozen=True)
class KeyFrame:
    """A moment on which an answer rests: when (the motion's own clock), its score, and how far its window reaches."""

    time_s: float
    weight: float
    radius_s: float


@dataclass(frozen=True)
class Looked:
    """What was looked at in one motion: key frames, those of the highest scores first, and the sum of the gates."""

    key_frames: tuple[KeyFrame, ...]
    quantity: float


@dataclass(frozen=True, eq=False)
class Read:
    """B conversations as the language model takes them, padded on the right to T tokens.

    embedded   (B, T, llm_width)
    own        (B, T) True at the assistant's own tokens
    exists     (B, T)
    learn_at   (X,) number, row after row, of the token before each token of an answer
    learn      (X,) that token's id
    percepts   of each pair of a question and a motion; None where nothing is looked at
    pairs      (row, which motion) of each pair
    said       (B, vocabulary) logits of the words that the answer holds (`Perception.said`); None like `percepts`
    """

    embedded: Tensor
    own: Tensor
    exists: Tensor
    learn_at: Tensor
    learn: Tensor
    percepts: Percepts | None
    pairs: list[tuple[int, int]]
    said: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """Tokens of B conversations, padded on the right to T. Places are numbers of tokens, row after row.

    ids            (B, T) of words; 0 where there is none
    exists         (B, T)
    own_at, own    (O,) places of the assistant's own tokens, and which they are: 0 the answer marker, then those of
                   pair 0, pair 1 ...
    learn_at, learn   (X,) place before each token of an answer, and that token's id
    """

    ids: Tensor
    exists: Tensor
    own_at: Tensor
    own: Tensor
    learn_at: Tensor
    learn: Tensor

    def to(self, device: torch.device) -> Rows:
        return replace(self, **{k: v.to(device) for k, v in vars(self).items()})


def own_tokens(rows: int, pairs: list[tuple[int, int]], is_token: list[list[bool]]) -> list[list[int]]:
    """Return for each row which own tokens it has before its answer, of pairs (row, motion) in order."""
    out: list[list[int]] = [[] for _ in range(rows)]
    for p, ((row, _), exists) in enumerate(zip(pairs, is_token, strict=True)):
        out[row] += [1 + p * len(exists) + u for u, there in enumerate(exists) if there]
    return out


def lay_out(before: list[list[int]], after: list[list[int]], own: list[list[int]]) -> Rows:
    """Return rows of: words `before`, tokens of its `own`, the answer marker, words `after`."""
    ids, exists = padded([[*b, *[0] * (len(o) + 1), *a] for b, o, a in zip(before, own, after, strict=True)])
    own_at: list[int] = []
    learn_at: list[int] = []
    for row, (b, o, a) in enumerate(zip(before, own, after, strict=True)):
        begin = row * ids.shape[1] + len(b)
        own_at += range(begin, begin + len(o) + 1)
        learn_at += range(begin + len(o), begin + len(o) + len(a))
    which = [u for o in own for u in (*o, 0)]
    learn = [i for a in after for i in a]
    return Rows(ids, exists, *(torch.tensor(x, dtype=torch.int64) for x in (own_at, which, learn_at, learn)))


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Return rows of ids (B, longest), 0 on the right of each, and where they are (B, longest)."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.int64)
    exists = torch.zeros(ids.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        exists[i, : len(row)] = True
    return ids, exists


def bumps(moments_s: tuple[float, ...], seconds: Tensor) -> Tensor:
    """Return a Gaussian of unit mass over the tokens at `seconds` (N,) for each moment, summed: (N,)."""
    moments = torch.tensor(moments_s, dtype=seconds.dtype, device=seconds.device)
    shares = torch.softmax(-0.5 * ((seconds - moments[:, None]) / BUMP_S) ** 2, dim=-1)
    return shares.sum(0)
