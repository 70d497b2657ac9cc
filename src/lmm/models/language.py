"""Language models of transformers: read as they are, if of a family whose layers are known here, and written."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch

from lmm.core.errors import InputError, LmmError, one_line

FAMILIES = ("llama", "qwen2", "qwen3")
ROTARY = ("default", "linear", "llama3", "yarn")  # the others change with the length of what is read
MOST = {"hidden_size": 16_384, "intermediate_size": 131_072, "num_hidden_layers": 256, "vocab_size": 1_000_000}
HUB_TIMEOUT_S = 10.0
WHOLE = ("TokenizersBackend", "PreTrainedTokenizerFast")


def load_language_model(name: str | Path, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return the causal model and its tokenizer (None where there is none) of a folder, or of a name on the hub.

    Code that comes with a model is not run, and nothing is unpickled. Raises InputError if it cannot be had, is of
    another family, or attends to less than all that came before.
    """
    try:
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, logging
        from transformers.models.auto.tokenization_auto import get_tokenizer_config
    except ImportError as e:
        raise LmmError(
            f"language models need the package {e.name}: pip install 'large-movement-model[language]'."
        ) from None
    source = str(name) if Path(name).is_dir() else _fetched(str(name))
    logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except Exception as e:  # each library below has its own errors for what is absent or damaged
        raise _refused(source, e, "Give a folder with a language model, or its name on the hub") from None
    if config.model_type not in FAMILIES:
        raise InputError(
            source, f"is a language model of the family {config.model_type}", f"Give one of {', '.join(FAMILIES)}"
        )
    for field, most in MOST.items():
        if not 0 < getattr(config, field) <= most:
            raise InputError(
                source, f"states a {field} of {getattr(config, field)}", f"Give a model with {most} at most"
            )
    if "sliding_attention" in (getattr(config, "layer_types", None) or ()):
        raise InputError(source, "has layers that attend to a window only", "Set use_sliding_window to false")
    rotary = (config.rope_parameters or {}).get("rope_type", "default")
    if rotary not in ROTARY:
        raise InputError(source, f"has rotary positions of type {rotary}", f"Give a model with {', '.join(ROTARY)}")
    try:
        model, told = AutoModelForCausalLM.from_pretrained(
            source, dtype=dtype, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except Exception as e:
        raise _refused(source, e, "Copy it again") from None
    missing = sorted(told["missing_keys"])
    if missing:
        raise InputError(source, f"lacks {len(missing)} weights, the first {missing[0]}", "Copy it again")
    try:
        # for some families AutoTokenizer puts the family's own in place of a tokenizer that is saved whole
        whole = get_tokenizer_config(source).get("tokenizer_class") in WHOLE
        kind = PreTrainedTokenizerFast if whole else AutoTokenizer
        tokenizer = kind.from_pretrained(source, trust_remote_code=False)
    except Exception:
        return model, None
    tokens = 1 + max(tokenizer.get_vocab().values(), default=0)
    if tokens > config.vocab_size:
        raise InputError(
            source, f"has a tokenizer of {tokens} tokens for {config.vocab_size} embeddings", "Copy both again"
        )
    return model, tokenizer


def save_language_model(model: Any, tokenizer: Any, folder: Path, shard: str) -> None:
    """Write a model and its tokenizer, in shards of at most `shard`."""
    model.save_pretrained(folder, max_shard_size=shard)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)


def _fetched(name: str) -> str:
    """Return a name that the hub knows, or the folder in its cache if it was fetched before and cannot be asked now.

    It is asked once: transformers would try again and again, for most of a minute. Raises InputError if it is nowhere.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    try:
        HfApi().model_info(name, timeout=HUB_TIMEOUT_S)
    except Exception as e:  # no network, no such model, no name
        with contextlib.suppress(ValueError):  # no name
            kept = try_to_load_from_cache(name, "config.json")
            if isinstance(kept, str):
                return str(Path(kept).parent)
        problem = f"is no folder, and the hub does not give a model of that name ({one_line(e, 160)})"
        raise InputError(name, problem, "Give a folder with a language model, or its name on the hub") from None
    return name


def _refused(source: str, error: Exception, remedy: str) -> InputError:
    return InputError(source, f"holds no language model that can be read ({one_line(error, 160)})", remedy)
