"""Text files and captions → documents, a tokenizer and blocks of tokens: what the stand-in language model learns from.

WikiText files are recognised by their titles (`` = Title = ``) and detokenised; their ``<unk>`` stays, as one special
token. Other files are cut at empty lines into documents of about DOCUMENT_WORDS words.
WikiText: S. Merity et al., "Pointer Sentinel Mixture Models", 2016, arXiv 1609.07843.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError, LmmError
from lmm.sources.files import Input

BOS, EOS, PAD, UNK = "<s>", "</s>", "<pad>", "<unk>"
DOCUMENT_WORDS = 1000  # of a file that names no documents
VALIDATION_SHARE = 0.05
MIN_TOKENS = 256 + 4  # every byte, and the special tokens
MAX_WORD = 64  # letters, or spaces in a row, that a tokenizer learns from: merging takes the square of their number
TEST_SHA256 = "d790b833ef8cf03a90db7bf1271b7520b83c45ce07ba3c1a9699df81e239eca0"  # WikiText-2's test split

_TITLE = re.compile(r"^ ?= [^=].*[^=] = ?$", re.M)
_LONG = re.compile(rf"(\S{{{MAX_WORD}}})(?=\S)|(\s{{{MAX_WORD}}})\s+")
_SECTION = re.compile(r"^ ?(?:= ){2,}(.+?)(?: =){2,} ?$", re.M)


def read_documents(path: str | Path) -> list[str]:
    """Return the documents of a UTF-8 text file: WikiText's articles, or paragraphs put together.

    Raises InputError if the file cannot be read, is not text, or holds no words.
    """
    text = Input(Path(path)).text()
    titles = [m.start() for m in _TITLE.finditer(text)]
    if titles:
        found = [detokenised(text[a:b]) for a, b in zip(titles, [*titles[1:], len(text)], strict=True)]
    else:
        found = _packed(re.split(r"\n\s*\n", text))
    if not found:
        raise InputError(path, "holds no words", "Give a text file")
    return found


def training_documents(paths: Sequence[str | Path], captions: Iterable[str] = ()) -> tuple[list[str], list[str]]:
    """Return the documents for training, and those for validation: VALIDATION_SHARE of them, by a hash of each.

    Each caption is a document, and equal captions are on one side. Raises InputError for WikiText-2's test split, by
    name or content: perplexity is measured on it.
    """
    documents: list[str] = []
    for path in map(Path, paths):
        data = Input(path).data()
        if path.stem == "wikitext2_test" or hashlib.sha256(data).hexdigest() == TEST_SHA256:
            raise InputError(path, "is WikiText-2's test split, which no model may learn from", "Leave it out")
        documents += read_documents(path)
    documents += [c for c in captions if c.strip()]
    train: list[str] = []
    validation: list[str] = []
    for document in documents:
        share = int.from_bytes(hashlib.sha256(document.encode()).digest()[:8], "big") / 2**64
        (validation if share < VALIDATION_SHARE else train).append(document)
    return train, validation


def detokenised(text: str) -> str:
    """Return WikiText as ordinary text: `` @-@ `` is a hyphen, punctuation stands at its word, headings are lines."""
    text = _SECTION.sub(r"\1", text)
    text = _TITLE.sub(lambda m: m[0].strip(" ="), text)
    text = re.sub(r" @([-,.])@ ", r"\1", text)
    text = re.sub(r'"([^"\n]*)"', lambda m: f'"{m[1].strip()}"', text)
    text = re.sub(r" ([,.;:?!%)\]°′]|'(?:s|t|re|ve|ll|d|m)\b)", r"\1", text)
    text = re.sub(r"([(\[$£€]) ", r"\1", text)
    text = re.sub(r"(?<=\d) – (?=\d)", "–", text)
    lines = [" ".join(line.split()) for line in text.split("\n")]
    return "\n".join(line for line in lines if line)


def train_tokenizer(documents: Sequence[str], size: int) -> Any:
    """Return a byte-level BPE tokenizer of at most `size` tokens, a ``transformers.PreTrainedTokenizerFast``.

    Any text is encoded and decoded without loss. BOS, EOS, PAD and UNK are its special tokens, ids 0 to 3; BOS is put
    before a text unless ``add_special_tokens=False``. Words of over MAX_WORD letters are learned in parts. The same
    documents in the same order give the same tokenizer (R. Sennrich et al., "Neural Machine Translation of Rare Words
    with Subword Units", ACL 2016; on bytes: A. Radford et al., 2019).
    Raises LmmError if `size` is below MIN_TOKENS, there are no documents, or ``lmm[language]`` is not installed.
    """
    if size < MIN_TOKENS or not documents:
        raise LmmError(
            f"a tokenizer needs documents and at least {MIN_TOKENS} tokens, got {len(documents)} and {size}."
        )
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
        from transformers import PreTrainedTokenizerFast
    except ImportError:
        raise LmmError(
            "tokenizers need transformers. Install it: pip install 'large-movement-model[language]'"
        ) from None
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BOS, EOS, PAD, UNK],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator((_LONG.sub(_parted, d) for d in documents), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNK,
        clean_up_tokenization_spaces=False,
    )


def blocks(documents: Iterable[str], tokenizer: Any, length: int) -> NDArray[np.int32]:
    """Return documents as int32 (N, length): each begins with BOS and ends with EOS, all in a row, the rest dropped.

    Raises LmmError if they do not fill one block.
    """
    if length < 2:
        raise LmmError(f"a block needs at least 2 tokens, got {length}.")
    ids: list[int] = []
    for document in documents:
        inner = tokenizer(document, add_special_tokens=False, verbose=False)["input_ids"]
        ids += [tokenizer.bos_token_id, *inner, tokenizer.eos_token_id]
    count = len(ids) // length
    if not count:
        raise LmmError(f"the documents have {len(ids)} tokens, fewer than one block of {length}.")
    return np.array(ids[: count * length], np.int32).reshape(count, length)


def script(letter: str) -> str:
    """Return the script of a letter, such as ``LATIN``: the first word of its Unicode name."""
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def _parted(run: re.Match[str]) -> str:
    """Return letters with a new line behind them, or spaces without those that follow."""
    return f"{run[1]}\n" if run[1] else str(run[2])


def _packed(paragraphs: list[str]) -> list[str]:
    """Return paragraphs put together, in order, until each document has DOCUMENT_WORDS words."""
    documents: list[str] = []
    held: list[str] = []
    words = 0
    for paragraph in paragraphs:
        lines = [" ".join(line.split()) for line in paragraph.split("\n")]
        text = "\n".join(line for line in lines if line)
        if text:
            held.append(text)
            words += len(text.split())
        if words >= DOCUMENT_WORDS:
            documents.append("\n\n".join(held))
            held, words = [], 0
    return [*documents, "\n\n".join(held)] if held else documents
