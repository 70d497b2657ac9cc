"""`TextMotion`: texts and motions in one space, near each other where the one tells the other. The evaluator.

Two small transformers, whose mean over tokens becomes an embedding of length 1. They learn by symmetric InfoNCE over
the pairs of a batch, without counting as negatives what is told by the same label or text: M. Petrovich, M. Black and
G. Varol, "TMR: Text-to-Motion Retrieval", 2023, sections 3.2 and 3.3. Such encoders confuse left with right, since most
negatives are other actions; so a text that names a side or a way is also held against the same text with the opposite
(`contrary`), and a batch should hold the motion's mirror image with it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.core.errors import InputError, MotionError
from lmm.datasets.sentences import mirrored
from lmm.models.blocks import Encoder, attention_mask, time_encoding
from lmm.models.config import MAX_LAYERS, MAX_WIDTH, model_name, read_config
from lmm.models.files import load_weights, save_model

Array = NDArray[Any]
FPS = 30.0
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
PADDING, UNKNOWN, FIRST_WORD = 0, 1, 2  # numbers of words
UNSEEN_SHARE = 0.05  # of the words while training, so that a word that was never seen means little
HARDEST = 1.0  # weight of the contrary texts' own loss
PASS = 64  # motions or texts embedded at once

WAYS = {"forward": "backward", "forwards": "backwards", "backward": "forward", "backwards": "forwards"}


def contrary(text: str) -> str | None:
    """Return the text with sides exchanged or, if it names none, ways (forwards, backwards); None if it names neither.

    A text that names both sides alike ("left and right hand") has no contrary.
    """
    turned = WORD.sub(lambda m: WAYS.get(m[0].lower(), m[0]), text)
    for other in (mirrored(text) or text, turned):
        if Counter(words(other)) != Counter(words(text)):
            return other
    return None


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return WORD.findall(text.lower())


class TextMotionConfig(BaseModel):
    """All that makes a `TextMotion` again, besides its weights.

    width, heads, hidden          of both transformers; motion_layers, text_layers: their depths
    embedding                     numbers of an embedding
    patch_frames, longest_frames  a token is so many frames; of longer motions the middle is seen
    longest_words                 of longer texts the beginning is read
    mean, std                     (F,), of the codec's features
    vocabulary                    the words that are known; others are read as one unknown word
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    architecture: str = "text-motion"
    size: str
    width: int = Field(gt=0, le=MAX_WIDTH, multiple_of=2)
    heads: int = Field(gt=0, le=256)
    hidden: int = Field(gt=0, le=4 * MAX_WIDTH)
    motion_layers: int = Field(gt=0, le=MAX_LAYERS)
    text_layers: int = Field(gt=0, le=MAX_LAYERS)
    embedding: int = Field(gt=0, le=MAX_WIDTH)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    patch_frames: int = Field(default=6, gt=0, le=60)
    longest_frames: int = Field(default=300, gt=0, le=10_000)
    longest_words: int = Field(default=64, gt=0, le=1024)
    mean: tuple[float, ...] = Field(min_length=1, max_length=1024)
    std: tuple[float, ...] = Field(min_length=1, max_length=1024)
    vocabulary: tuple[str, ...] = Field(max_length=100_000)
    licence: str = "Apache-2.0"
    trained_on: str = "nothing"
    parameters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _possible(self) -> TextMotionConfig:
        if self.width % self.heads:
            raise ValueError(f"a width of {self.width} is not shared evenly by {self.heads} heads")
        if len(self.mean) != len(self.std) or min(self.std) <= 0:
            raise ValueError("mean and std must be as many numbers, and std above 0")
        return self

    @property
    def name(self) -> str:
        """``text-motion-<size>``, with ``-nc`` where the data forbid commercial use."""
        return model_name(self.architecture, self.size, licence=self.licence)


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Pairs to learn from.

    features  the codec's features of each motion, (T, F) at 30 FPS
    texts     of each motion
    keys      what is told: pairs of equal keys are no negatives of each other
    """

    features: Sequence[Array]
    texts: Sequence[str]
    keys: Sequence[str]


@dataclass(frozen=True, eq=False)
class PairTensors:
    """`PairBatch` as the network takes it: standardised frames (B, N · patch, F) and which patches exist (B, N); words
    (B, L) of texts and of their contraries; which have one (B,); and (B, B) which other pairs are no negatives."""

    frames: Tensor
    patches: Tensor
    texts: Tensor
    contraries: Tensor
    has_contrary: Tensor
    same: Tensor


class TextMotion(nn.Module):
    """Embeds motions and texts, each (B, embedding) of length 1, so that a product of two is their cosine."""

    sizes: ClassVar[dict[str, dict[str, int]]] = {
        "tiny": {"width": 32, "heads": 2, "hidden": 64, "motion_layers": 1, "text_layers": 1, "embedding": 16},
        "small": {"width": 128, "heads": 4, "hidden": 384, "motion_layers": 4, "text_layers": 2, "embedding": 128},
    }
    mean: Tensor
    std: Tensor

    def __init__(self, config: TextMotionConfig) -> None:
        super().__init__()
        self.config = c = config
        self.register_buffer("mean", torch.tensor(c.mean), persistent=False)
        self.register_buffer("std", torch.tensor(c.std), persistent=False)
        self._numbers = {w: i for i, w in enumerate(c.vocabulary, FIRST_WORD)}
        self.patch = nn.Linear(len(c.mean) * c.patch_frames, c.width)
        self.words = nn.Embedding(FIRST_WORD + len(c.vocabulary), c.width, padding_idx=PADDING)
        self.places = nn.Parameter(0.02 * torch.randn(1 + c.longest_words, c.width))
        self.motion_encoder = Encoder(c.motion_layers, c.width, c.heads, c.hidden, c.dropout)
        self.text_encoder = Encoder(c.text_layers, c.width, c.heads, c.hidden, c.dropout)
        self.motion_out = nn.Linear(c.width, c.embedding)
        self.text_out = nn.Linear(c.width, c.embedding)
        self.log_scale = nn.Parameter(torch.tensor(np.log(1 / 0.1), dtype=torch.float32))

    @classmethod
    def of_size(cls, size: str, **fields: Any) -> TextMotion:
        """Return a new model with random weights (torch's global generator); `fields` are those of its config."""
        if size not in cls.sizes:
            raise MotionError(f"text-motion has no size {size!r}; it has {', '.join(cls.sizes)}.")
        return cls(TextMotionConfig(**{"size": size, **cls.sizes[size], **fields}))

    def embed_motion(self, features: Sequence[Array]) -> Array:
        """Return the embeddings (B, embedding) of motions, each the codec's features (T, F) at 30 FPS, T ≥ 1.

        Raises MotionError if the number of features is another, a motion is empty or a number is not finite.
        """
        order = sorted(range(len(features)), key=lambda i: len(features[i]))  # alike lengths together: less padding
        out = np.empty((len(features), self.config.embedding), np.float32)
        self.eval()
        with torch.inference_mode():
            for part in _parts(order):
                out[part] = self.motions(*self.patched([features[i] for i in part])).cpu().numpy()
        return out

    def embed_text(self, texts: Sequence[str]) -> Array:
        """Return the embeddings (B, embedding) of texts. Empty ones and unknown words are read too, as little."""
        self.eval()
        with torch.inference_mode():
            found = [self.texts(self.numbers(part)).cpu().numpy() for part in _parts(texts)]
        return np.concatenate(found) if found else np.empty((0, self.config.embedding), np.float32)

    def embed_words(self, text: str) -> Array:
        """Return an embedding (words, width) of each word of a text in its context, for `bert_score`."""
        self.eval()
        with torch.inference_mode():
            return np.asarray(self._read(self.numbers([text]))[0, 1:].cpu().numpy())[: len(words(text))]

    def patched(self, features: Sequence[Array]) -> tuple[Tensor, Tensor]:
        """Return standardised frames (B, N · patch, F), the last repeated, and which patches exist (B, N)."""
        c = self.config
        cut = []
        for i, x in enumerate(features):
            if np.ndim(x) != 2 or not len(x) or np.shape(x)[1] != len(c.mean) or not np.isfinite(x).all():
                raise MotionError(
                    f"motion {i}: expected finite features (T, {len(c.mean)}) of one frame or more, got {np.shape(x)}."
                )
            start = max(0, (len(x) - c.longest_frames) // 2)
            cut.append(np.asarray(x, np.float32)[start : start + c.longest_frames])
        number = [-(-len(x) // c.patch_frames) for x in cut]
        frames = np.stack([np.pad(x, ((0, max(number) * c.patch_frames - len(x)), (0, 0)), mode="edge") for x in cut])
        like = self.mean
        exists = torch.arange(max(number)) < torch.tensor(number)[:, None]
        return (torch.from_numpy(frames).to(like) - like) / self.std, exists.to(like.device)

    def numbers(self, texts: Sequence[str]) -> Tensor:
        """Return the numbers of words (B, L), padded on the right, L ≥ 1."""
        found = [[self._numbers.get(w, UNKNOWN) for w in words(t)[: self.config.longest_words]] for t in texts]
        out = torch.full((len(found), max([1, *map(len, found)])), PADDING)
        for row, n in zip(out, found, strict=True):
            row[: len(n)] = torch.tensor(n, dtype=torch.long)
        return out.to(self.mean.device)

    def motions(self, frames: Tensor, patches: Tensor) -> Tensor:
        """Return embeddings (B, embedding) of `patched` motions."""
        x = self.patch(frames.unflatten(1, (-1, self.config.patch_frames)).flatten(2))
        seconds = torch.arange(x.shape[1], device=x.device) * self.config.patch_frames / FPS
        x = x + time_encoding(seconds, x.shape[2])
        y = self.motion_encoder(x, attention_mask(patches))
        return F.normalize(self.motion_out(_mean(y, patches)), dim=-1)

    def texts(self, numbers: Tensor) -> Tensor:
        """Return embeddings (B, embedding) of `numbers` of words."""
        exists = F.pad(numbers != PADDING, (1, 0), value=True)
        return F.normalize(self.text_out(_mean(self._read(numbers), exists)), dim=-1)

    def _read(self, numbers: Tensor) -> Tensor:
        if self.training:
            unseen = (torch.rand(numbers.shape, device=numbers.device) < UNSEEN_SHARE) & (numbers != PADDING)
            numbers = numbers.masked_fill(unseen, UNKNOWN)
        x = F.pad(self.words(numbers), (0, 0, 1, 0)) + self.places[: 1 + numbers.shape[1]]  # the first place is no word
        return self.text_encoder(x, attention_mask(F.pad(numbers != PADDING, (1, 0), value=True)))

    def example(self, batch: PairBatch) -> PairTensors:
        """Return a batch as tensors on the model's device."""
        other = [contrary(t) for t in batch.texts]
        key, text = (np.unique(np.array(x, str), return_inverse=True)[1] for x in (batch.keys, batch.texts))
        same = (key[:, None] == key) | (text[:, None] == text)
        np.fill_diagonal(same, False)
        device = self.mean.device
        return PairTensors(
            *self.patched(batch.features),
            self.numbers(batch.texts),
            self.numbers([o or "" for o in other]),
            torch.tensor([o is not None for o in other], device=device),
            torch.from_numpy(same).to(device),
        )

    def loss(self, batch: PairTensors, progress: float) -> tuple[Tensor, Tensor]:
        """Return the sum over pairs of the symmetric InfoNCE, plus that of each contrary text alone, and the number."""
        motion, text = self.motions(batch.frames, batch.patches), self.texts(batch.texts)
        against = (motion * self.texts(batch.contraries)).sum(-1)
        scale = self.log_scale.clamp(max=float(np.log(100))).exp()
        cosine = motion @ text.T
        logits = (scale * cosine).masked_fill(batch.same, -torch.inf)
        own = torch.arange(len(motion), device=motion.device)
        extra = (scale * against).masked_fill(~batch.has_contrary, -torch.inf)
        to_text = F.cross_entropy(torch.cat([logits, extra[:, None]], dim=1), own, reduction="sum")
        to_motion = F.cross_entropy(logits.T, own, reduction="sum")
        hardest = F.softplus(scale * (against - cosine.diagonal()))[batch.has_contrary].sum()
        return (to_text + to_motion) / 2 + HARDEST * hardest, torch.tensor(len(motion), device=motion.device)

    def validation(self, batch: PairTensors) -> tuple[Tensor, Tensor]:
        """Return `loss`, which chooses the best weights."""
        return self.loss(batch, 1.0)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors (in shards under 16 MiB) and, where there is none, a README.md."""
        save_model(self, self.config, Path(folder), self.config.name)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> TextMotion:
        """Return the model of a folder. Raises InputError if there is none, or its weights do not fit."""
        config = read_config(Path(folder), TextMotionConfig)
        if config.architecture != "text-motion":
            raise InputError(folder, f"holds a model of architecture {config.architecture}, not text-motion")
        model = cls(config)
        load_weights(model, Path(folder))
        return model.eval()


def vocabulary(texts: Iterable[str], least: int = 1) -> tuple[str, ...]:
    """Return the words of texts and of their contraries, of `least` texts or more, the most frequent first."""
    found: Counter[str] = Counter()
    for text in texts:
        found.update({*words(text), *words(contrary(text) or "")})
    return tuple(sorted((w for w, n in found.items() if n >= least), key=lambda w: (-found[w], w)))


def _parts(items: Sequence[Any]) -> list[Any]:
    return [items[i : i + PASS] for i in range(0, len(items), PASS)]


def _mean(x: Tensor, exists: Tensor) -> Tensor:
    """Return the mean (B, width) of the tokens (B, N, width) that exist (B, N)."""
    weight = exists.to(x.dtype) / exists.sum(1, keepdim=True)
    return (weight[:, :, None] * x).sum(1)
