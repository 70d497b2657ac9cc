"""The stand-in language model: a small Llama with its own tokenizer, from random weights, on text and captions.

It takes the place of a pretrained model where none can be had. What is saved is a folder of `transformers`
(``AutoModelForCausalLM.from_pretrained``, ``AutoTokenizer.from_pretrained``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from lmm.core.errors import LmmError
from lmm.datasets.corpus import blocks, train_tokenizer, training_documents
from lmm.datasets.pairs import read_pairs
from lmm.datasets.store import Store
from lmm.models.language import save_language_model
from lmm.models.network import SHARD
from lmm.training.config import RunConfig, check_even
from lmm.training.kinds import Kind, Run, kinds

VARIANTS = 8  # texts of one stretch of motion
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2},
    "small": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4},
}


class LanguageConfig(RunConfig):
    """The settings of `RunConfig`, and:

    text         UTF-8 files; documents are taken apart by `datasets.corpus`
    data         stores, whose captions of split train are learned too
    vocabulary   tokens
    length       tokens of a window
    captions     the share of windows that are of captions, not of text
    """

    text: tuple[str, ...] = Field(min_length=1)
    vocabulary: int = Field(default=4096, ge=264, le=200_000)
    length: int = Field(default=128, ge=8, le=4096)
    captions: float = Field(default=0.3, ge=0, le=1)


class Language(nn.Module):
    """A causal language model under the loop's interface."""

    def __init__(self, llm: Any) -> None:
        super().__init__()
        self.llm = llm

    def loss(self, tokens: Tensor, progress: float) -> tuple[Tensor, Tensor]:
        """Return the summed cross-entropy of each next token, and how many there are; `tokens` (B, N)."""
        logits = self.llm(tokens[:, :-1]).logits
        total = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="sum")
        return total, torch.tensor(tokens[:, 1:].numel(), device=tokens.device)

    def validation(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.loss(tokens, 0.0)


def prepare(config: LanguageConfig, device: torch.device) -> Run:
    """Return the run of a config. Raises LmmError if text is missing or too short, or the size is unknown."""
    if config.size not in SIZES:
        raise LmmError(f"language has no size {config.size!r}; it has {', '.join(SIZES)}.")
    if config.start_from is not None:
        raise LmmError(
            "a stand-in language model begins with random weights and tokens of its own: leave start_from out."
        )
    check_even(config)
    stores = [Store(corpus.store) for corpus in config.data]
    captions = [p.text for p in read_pairs(stores, config.seed, VARIANTS) if p.split == "train"]
    text, held_out = training_documents(config.text)
    spoken, held_captions = training_documents([], _shuffled(captions, config.seed))
    tokenizer = train_tokenizer(text + sorted(set(spoken)), config.vocabulary)
    sources = [blocks(t, tokenizer, config.length) for t in (text, spoken)]
    shares = np.array([1 - config.captions, config.captions])
    torch.manual_seed(config.seed)
    llm = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=4096,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **SIZES[config.size],
        )
    )

    def batch(step: int, part: slice) -> np.ndarray[Any, Any]:
        rng = np.random.default_rng((config.seed, step))
        which = rng.choice(len(sources), config.batch, p=shares)
        return np.stack([sources[i][rng.integers(len(sources[i]))] for i in which])[part]

    def place(tokens: np.ndarray[Any, Any]) -> Tensor:
        return torch.as_tensor(tokens, dtype=torch.long, device=device)

    def save(average: Any, folder: Path, state: dict[str, Any]) -> None:
        save_language_model(average.llm, tokenizer, folder, SHARD)
        told = {"text": [Path(t).name for t in config.text], "captions": len(captions), "state": state}
        (folder / "trained_on.json").write_text(json.dumps(told, indent=1), "utf-8")

    held = [blocks(t, tokenizer, config.length) for t in (held_out, held_captions)]
    val = np.concatenate(held)[
        np.random.default_rng(config.seed).permutation(sum(map(len, held)))[: config.val_windows]
    ]
    batches = [place(val[i : i + config.batch]) for i in range(0, len(val), config.batch)]
    return Run(Language(llm).to(device), batch, place, batches, save)


def _shuffled(documents: list[str], seed: int) -> list[str]:
    return [documents[i] for i in np.random.default_rng(seed).permutation(len(documents))]


kinds.register("language")(Kind(LanguageConfig, prepare))
