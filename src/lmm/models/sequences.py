"""Text and motion by turns: what a motion-language model reads, as one padded batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lmm.core.errors import LmmError

PADDING, TEXT, LATENT, BOM, EOM = range(5)  # kinds of tokens; from LATENT on, motion's


@dataclass(frozen=True, eq=False)
class Segment:
    """A stretch of text or of motion.

    tokens  token ids (N,) int64, or latents (N, latent width) float
    learn   whether it counts in the loss: text by next-token prediction, motion by flow and exit
    ends    whether motion ends with its last latent, and was not cut there; only then does the exit head learn of it
    """

    tokens: Tensor
    learn: bool = True
    ends: bool = True

    @property
    def is_motion(self) -> bool:
        return self.tokens.is_floating_point()


Sequence = list[Segment]


@dataclass(frozen=True, eq=False)
class Batch:
    """B sequences, padded on the right to T tokens. Places in the loss are numbers of tokens, row after row.

    kinds, ids    (B, T) int64; ids 0 where a token is not text
    latents       (latents of all rows, latent width), in order of their tokens
    flow_at, flow_target    (F,) the token before each learnt latent, and (F, latent width) the latent
    exit_at, exit_target    (E,) each learnt latent, and (E,) whether the motion ends there
    text_at, text_target    (X,) the token before each learnt token of text, and (X,) its id
    start_at, start_target  (S,) each token of text, and (S,) whether motion follows
    """

    kinds: Tensor
    ids: Tensor
    latents: Tensor
    flow_at: Tensor
    flow_target: Tensor
    exit_at: Tensor
    exit_target: Tensor
    text_at: Tensor
    text_target: Tensor
    start_at: Tensor
    start_target: Tensor

    def to(self, device: torch.device, dtype: torch.dtype) -> Batch:
        """Return it on a device, latents as `dtype`."""
        moved = {k: v.to(device, dtype if v.is_floating_point() else None) for k, v in vars(self).items()}
        return replace(self, **moved)


def pack(sequences: Iterable[Sequence], bos: list[int], latent_width: int, still: bool = False) -> Batch:
    """Return sequences as a batch: `bos` before each, BOM and EOM around each motion.

    `still` leaves EOM off a motion at the end of a sequence: it goes on. Raises LmmError for a sequence without tokens
    or latents of another width.
    """
    rows = [_Row(s, bos, latent_width, still) for s in sequences]
    if not rows or not all(r.kinds for r in rows):
        raise LmmError("a sequence without text and motion was given. Give some of either.")
    longest = max(len(r.kinds) for r in rows)
    kinds, ids = torch.zeros(2, len(rows), longest, dtype=torch.int64)
    for i, r in enumerate(rows):
        kinds[i, : len(r.kinds)], ids[i, : len(r.ids)] = torch.tensor(r.kinds), torch.tensor(r.ids)

    def places(name: str) -> Tensor:
        return torch.tensor([i * longest + p for i, r in enumerate(rows) for p in getattr(r, name)], dtype=torch.int64)

    def values(name: str) -> Tensor:
        return torch.tensor([v for r in rows for v in getattr(r, name)], dtype=torch.int64)

    def latents(name: str) -> Tensor:
        return torch.cat([torch.empty(0, latent_width), *(x for r in rows for x in getattr(r, name))])

    return Batch(
        kinds=kinds,
        ids=ids,
        latents=latents("latents"),
        flow_at=places("flow_at"),
        flow_target=latents("flow_target"),
        exit_at=places("exit_at"),
        exit_target=values("exit_target"),
        text_at=places("text_at"),
        text_target=values("text_target"),
        start_at=places("start_at"),
        start_target=values("start_target"),
    )


class _Row:
    """One sequence's tokens, and its places in the loss."""

    def __init__(self, sequence: Sequence, bos: list[int], latent_width: int, still: bool) -> None:
        self.kinds: list[int] = []
        self.ids: list[int] = []
        self.latents: list[Tensor] = []
        self.flow_at: list[int] = []
        self.flow_target: list[Tensor] = []
        self.exit_at: list[int] = []
        self.exit_target: list[int] = []
        self.text_at: list[int] = []
        self.text_target: list[int] = []
        self.start_at: list[int] = []
        self.start_target: list[int] = []
        self._add([TEXT] * len(bos), bos)
        for i, segment in enumerate(sequence):
            if segment.is_motion:
                self._motion(segment, latent_width, ended=not (still and i == len(sequence) - 1))
            else:
                self._text(segment, followed=i + 1 < len(sequence) and sequence[i + 1].is_motion)

    def _add(self, kinds: list[int], ids: list[int]) -> None:
        self.kinds += kinds
        self.ids += ids

    def _motion(self, segment: Segment, latent_width: int, ended: bool) -> None:
        latents, begin = segment.tokens, len(self.kinds)
        number = len(latents)
        if number and tuple(latents.shape[1:]) != (latent_width,):
            raise LmmError(f"latents of shape {tuple(latents.shape)} were given. Give (N, {latent_width}).")
        self._add([BOM, *[LATENT] * number, *[EOM] * ended], [0] * (1 + number + ended))
        if not number:
            return
        self.latents.append(latents)
        if segment.learn:
            self.flow_at += range(begin, begin + number)
            self.flow_target.append(latents)
            known = number if segment.ends else number - 1
            self.exit_at += range(begin + 1, begin + 1 + known)
            self.exit_target += [int(i == number - 1) for i in range(known)]

    def _text(self, segment: Segment, followed: bool) -> None:
        ids, begin = segment.tokens.tolist(), len(self.kinds)
        self._add([TEXT] * len(ids), ids)
        if segment.learn:
            first = 0 if begin else 1  # before the first token of all there is nothing to tell it from
            self.text_at += range(begin + first - 1, begin + len(ids) - 1)
            self.text_target += ids[first:]
        self.start_at += range(begin, begin + len(ids))
        self.start_target += [int(followed and i == len(ids) - 1) for i in range(len(ids))]
