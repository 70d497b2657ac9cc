"""A tiny assistant that has learnt a few answers by heart, whatever the motion: made in seconds, for what uses one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LEARNT = {  # questions in lower case, as those of lmm.datasets.instructions
    "how many repetitions are there?": "There are 5 repetitions.",
    "which arm moves?": "The left arm.",
    "what comes next?": "The person walks on.",
    "how old is the person?": "That cannot be told from a motion.",
}


def language_model(folder: Path) -> Path:
    """Write a Llama of random weights, two layers of width 32, with a tokenizer of bytes and of the answers' words."""
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([text for pair in LEARNT.items() for text in pair], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    config = transformers.LlamaConfig(
        vocab_size=400, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=1024, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def assistant(folder: Path, **changes: Any) -> Path:
    """Write the assistant; `changes` are fields of its config."""
    import torch

    from lmm.datasets.synthetic import repetitions
    from lmm.models.assistant import Asked, Assistant

    model = Assistant.from_llm(language_model(folder / "language"), "tiny", **changes)
    clip = model.read(repetitions(1, 1.0))
    batch = [Asked(q, (clip,), answer=a) for q, a in LEARNT.items()]
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 0.01)
    model.train()
    for _ in range(60):
        total, count = model.loss(batch, 0.0)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    model.save_pretrained(folder / "assistant")
    return folder / "assistant"
