"""Documents are ordinary text, the tokenizer loses nothing, blocks hold every document in order."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.core.errors import InputError, LmmError
from lmm.datasets.corpus import (
    _LONG,
    BOS,
    DOCUMENT_WORDS,
    EOS,
    MAX_WORD,
    _parted,
    blocks,
    detokenised,
    read_documents,
    train_tokenizer,
    training_documents,
)

WIKITEXT = """
 = Lobster =

 The lobster , <unk> by name , weighs 5 – 6 kg ( 11 lb ) . It isn 't " lobster red " here .

 = = North @-@ west = =

 It costs $ 4 @,@ 386 , or 2 @.@ 5 % ; Weber 's price .

 = Second =

 Other words .
"""
LOBSTER = """Lobster
The lobster, <unk> by name, weighs 5–6 kg (11 lb). It isn't "lobster red" here.
North-west
It costs $4,386, or 2.5%; Weber's price."""
CORPUS = ["the quick brown fox waves with the left hand.", "a person walks forward, then turns to the right."] * 20


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(CORPUS, 400)


def test_wikitext_becomes_ordinary_text(tmp_path: Path):
    path = tmp_path / "wiki.txt"
    path.write_text(WIKITEXT, "utf-8")
    assert read_documents(path) == [LOBSTER, "Second\nOther words."]


@given(st.lists(st.text("abc '\"().,", min_size=1, max_size=12), max_size=6))
def test_detokenising_loses_no_letter(words):
    text = " ".join(words)
    assert [c for c in detokenised(text) if c.isalpha()] == [c for c in text if c.isalpha()]


def test_plain_text_is_cut_at_paragraphs(tmp_path: Path):
    path = tmp_path / "plain.txt"
    paragraphs = [f"paragraph {i} " + "word " * 298 for i in range(10)]
    path.write_text("\n\n".join(paragraphs), "utf-8")
    found = read_documents(path)
    assert [w for d in found for w in d.split()] == " ".join(paragraphs).split()
    assert all(len(d.split()) >= DOCUMENT_WORDS for d in found[:-1])
    assert all(d.startswith("paragraph") for d in found)


def test_test_split_is_refused_whatever_its_name(tmp_path: Path, shared_data: Path):
    original = shared_data / "text" / "wikitext2_test.txt"
    with pytest.raises(InputError, match="test split"):
        training_documents([original])
    renamed = tmp_path / "harmless.txt"
    renamed.write_bytes(original.read_bytes())
    with pytest.raises(InputError, match="test split"):
        training_documents([renamed])
    assert len(read_documents(original)) > 50  # evaluation may read it


def test_sides_share_no_document_and_lose_none(tmp_path: Path):
    path = tmp_path / "plain.txt"
    path.write_text("\n\n".join(f"text {i} " + "word " * DOCUMENT_WORDS for i in range(200)), "utf-8")
    captions = ["a person walks"] * 3 + ["  "]
    train, validation = training_documents([path], captions)
    assert not set(train) & set(validation)
    assert len(train) + len(validation) == 203
    assert 2 <= len(validation) <= 25
    assert (train, validation) == training_documents([path], captions)


@given(st.text())
def test_every_text_comes_back(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_tokenizer_is_deterministic_and_survives_saving(tokenizer, tmp_path: Path):
    from transformers import AutoTokenizer

    assert train_tokenizer(CORPUS, 400).get_vocab() == tokenizer.get_vocab()
    assert len(tokenizer) <= 400
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id) == (
        0,
        1,
        2,
        3,
    )
    assert tokenizer("a <unk> b", add_special_tokens=False)["input_ids"].count(3) == 1
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(CORPUS[0])["input_ids"] == tokenizer(CORPUS[0])["input_ids"]
    assert again.eos_token == EOS


def test_bos_is_put_before_a_text_unless_it_is_not_wanted(tokenizer):
    bare = tokenizer(CORPUS[0], add_special_tokens=False)["input_ids"]
    assert tokenizer(CORPUS[0])["input_ids"] == [tokenizer.bos_token_id, *bare]
    assert tokenizer("")["input_ids"] == [tokenizer.bos_token_id]


def test_a_word_without_end_costs_no_more_than_many_words():
    """As one word it took over a minute; what other documents teach stays as it is."""
    letters = "".join(np.random.default_rng(0).choice(list("abcdefgh"), 200_000))
    start = time.process_time()
    tokenizer = train_tokenizer([letters, " " * 200_000 + "a"], 400)
    assert time.process_time() - start < 10
    assert max(map(len, tokenizer.get_vocab())) <= MAX_WORD
    assert len(tokenizer) == 400
    within = "a" * MAX_WORD
    assert _LONG.sub(_parted, f"{within} {within}\n") == f"{within} {within}\n"
    assert _LONG.sub(_parted, within + "b") == f"{within}\nb"


def test_blocks_are_the_documents_in_a_row(tokenizer):
    told = blocks(CORPUS, tokenizer, 16)
    assert told.dtype == np.int32
    assert told.shape[1] == 16
    text = tokenizer.decode(told.ravel())
    whole = "".join(BOS + d + EOS for d in CORPUS)
    assert whole.startswith(text)
    rest = tokenizer(whole[len(text) :], add_special_tokens=False)["input_ids"]
    assert len(rest) < 16


def test_what_cannot_be_is_told(tokenizer, tmp_path: Path):
    with pytest.raises(LmmError, match="at least 260"):
        train_tokenizer(CORPUS, 100)
    with pytest.raises(LmmError, match="fewer than one block"):
        blocks(["a"], tokenizer, 512)
    empty = tmp_path / "empty.txt"
    empty.write_text("\n \n")
    with pytest.raises(InputError, match="no words"):
        read_documents(empty)
