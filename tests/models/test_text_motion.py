"""The evaluator: gradients, padding, what is no negative, sides and ways, files; and that it learns left from right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from lmm.core.errors import InputError, MotionError
from lmm.models.text_motion import (
    PairBatch,
    TextMotion,
    contrary,
    vocabulary,
    words,
)

FEATURES = 7
TEXTS = ["a person raises the left hand", "a person raises the right hand", "someone walks forwards", "a bow"]


def model(**changes: Any) -> TextMotion:
    torch.manual_seed(0)
    fields = {"mean": (0.5,) * FEATURES, "std": (2.0,) * FEATURES, "vocabulary": vocabulary(TEXTS), "dropout": 0.0}
    return TextMotion.of_size("tiny", **{**fields, **changes})


def motions(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(n, FEATURES)).astype(np.float32) for n in lengths]


def test_embeddings_have_length_one_and_do_not_depend_on_who_is_beside() -> None:
    m, given = model(), motions(5, 60, 61, 200)
    together = m.embed_motion(given)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-6)
    for x, row in zip(given, together, strict=True):
        np.testing.assert_allclose(m.embed_motion([x])[0], row, atol=1e-6)
    said = m.embed_text(TEXTS)
    for text, row in zip(TEXTS, said, strict=True):
        np.testing.assert_allclose(m.embed_text([text])[0], row, atol=1e-6)


def test_many_motions_come_back_in_order() -> None:
    m, given = model(), motions(*np.random.default_rng(3).integers(1, 60, size=150))
    np.testing.assert_allclose(m.embed_motion(given)[[7, 100]], m.embed_motion([given[7], given[100]]), atol=1e-6)


def test_of_long_motions_the_middle_is_seen() -> None:
    m = model(longest_frames=30)
    long = motions(90)[0]
    np.testing.assert_allclose(m.embed_motion([long]), m.embed_motion([long[30:60]]), atol=1e-6)


def test_texts_of_any_kind_are_read() -> None:
    m = model()
    odd = m.embed_text(["", "!!", "zebra", "щука", "a person " * 5000, "A PERSON, raises; the LEFT hand."])
    assert np.isfinite(odd).all()
    np.testing.assert_array_equal(odd[2], odd[3])  # unknown words are one word
    np.testing.assert_allclose(odd[5], m.embed_text(TEXTS[:1])[0], atol=1e-6)
    assert m.embed_text([]).shape == (0, 16)
    assert m.embed_words(TEXTS[0]).shape == (6, 32)
    assert m.embed_words("").shape == (0, 32)


def test_the_order_of_words_is_read() -> None:
    a, b = model().embed_text(["the left hand", "hand left the"])
    assert not np.allclose(a, b)


def test_motions_that_do_not_fit_are_refused() -> None:
    for bad in (np.zeros((0, FEATURES)), np.zeros((5, FEATURES + 1)), np.full((5, FEATURES), np.nan), np.zeros(5)):
        with pytest.raises(MotionError, match="motion 0"):
            model().embed_motion([bad])


def test_a_contrary_changes_the_side_or_else_the_way() -> None:
    assert contrary("walks forward, raising the left arm") == "walks forward, raising the right arm"
    assert contrary("walks forwards") == "walks backwards"
    assert contrary("raises the left and right hand") is None
    assert contrary("turns clockwise") == "turns anticlockwise"
    assert contrary("waves") is None


def test_the_vocabulary_holds_opposites_of_what_it_holds() -> None:
    assert vocabulary(["the left foot goes", "the left foot"], least=2) == ("foot", "left", "right", "the")
    assert words("It's the LEFT-hand") == ["it's", "the", "left", "hand"]


def slow_loss(m: TextMotion, texts: list[str], keys: list[str], features: list[np.ndarray]) -> float:
    """InfoNCE pair by pair."""
    motion, text = torch.from_numpy(m.embed_motion(features)), torch.from_numpy(m.embed_text(texts))
    scale = float(m.log_scale.detach().exp())
    total = 0.0
    for i in range(len(texts)):
        others = [j for j in range(len(texts)) if j == i or (keys[j] != keys[i] and texts[j] != texts[i])]
        to_text = [scale * float(motion[i] @ text[j]) for j in others]
        to_motion = [scale * float(motion[j] @ text[i]) for j in others]
        own = scale * float(motion[i] @ text[i])
        other = contrary(texts[i])
        if other is not None:
            against = scale * float(motion[i] @ torch.from_numpy(m.embed_text([other]))[0])
            to_text.append(against)
            total += float(F.softplus(torch.tensor(against - own)))
        total += sum(float(torch.logsumexp(torch.tensor(x), 0)) - own for x in (to_text, to_motion)) / 2
    return total


def test_the_loss_equals_that_of_pair_by_pair() -> None:
    m = model().eval()
    texts, keys = [*TEXTS, TEXTS[3], "bowing"], ["0", "1", "2", "3", "4", "3"]
    features = motions(30, 20, 40, 12, 18, 7)
    total, number = m.loss(m.example(PairBatch(features, texts, keys)), 0.0)
    assert int(number) == 6
    assert float(total.detach()) == pytest.approx(slow_loss(m, texts, keys, features), rel=1e-4)


def test_the_gradient_is_that_of_the_loss() -> None:
    m = model().double().eval()
    batch = m.example(PairBatch(motions(12, 18, 6, 6), TEXTS, list("0123")))
    total, _ = m.loss(batch, 0.0)
    total.backward()
    for p in (m.patch.weight, m.words.weight, m.log_scale):
        flat, grad = p.data.view(-1), p.grad.view(-1)
        i = int(grad.abs().argmax())
        before = float(flat[i])
        values = []
        for step in (1e-5, -1e-5):
            flat[i] = before + step
            values.append(float(m.loss(batch, 0.0)[0].detach()))
        flat[i] = before
        assert float(grad[i]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3)


def test_equal_keys_alone_leave_nothing_to_tell_apart() -> None:
    m = model().eval()
    total, _ = m.loss(m.example(PairBatch(motions(9, 9), ["a bow", "bowing"], ["bow", "bow"])), 0.0)
    assert float(total.detach()) == pytest.approx(0, abs=1e-5)


def test_it_learns_left_from_right() -> None:
    """Feature 0 moves for the left hand, feature 1 for the right: told apart by the mirrored pairs and contraries."""
    m = model(mean=(0.0,) * FEATURES, std=(1.0,) * FEATURES)
    optimizer = torch.optim.AdamW(m.parameters(), 3e-3)
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[list[np.ndarray], list[str]]:
        sides = rng.integers(2, size=n)
        x = 0.3 * rng.normal(size=(n, 24, FEATURES))
        x[np.arange(n), :, sides] += np.sin(np.arange(24) / 3)
        return list(x.astype(np.float32)), [TEXTS[s] for s in sides]

    m.train()
    for _ in range(60):
        features, texts = draw(16)
        total, number = m.loss(m.example(PairBatch(features, texts, texts)), 0.0)
        optimizer.zero_grad()
        (total / number).backward()
        optimizer.step()
    features, texts = draw(100)
    motion = m.embed_motion(features)
    own, other = m.embed_text(texts), m.embed_text([TEXTS[1 - TEXTS.index(t)] for t in texts])
    assert ((motion * own).sum(1) > (motion * other).sum(1)).mean() > 0.9


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    m, given = model(), motions(30, 44)
    m.save_pretrained(tmp_path)
    again = TextMotion.from_pretrained(tmp_path)
    np.testing.assert_array_equal(again.embed_motion(given), m.embed_motion(given))
    np.testing.assert_array_equal(again.embed_text(TEXTS), m.embed_text(TEXTS))
    assert again.config.parameters == sum(p.numel() for p in m.parameters())
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors", ".md"}


def test_folders_that_hold_no_evaluator_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model of lmm"):
        TextMotion.from_pretrained(tmp_path)
    model().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="no weights that fit"):
        TextMotion.from_pretrained(tmp_path)
    path.write_bytes(whole)
    state = load_file(path)
    state.pop("places")
    save_file(state, path)
    with pytest.raises(InputError, match="no weights that fit"):
        TextMotion.from_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"text-motion"', '"codec"'))
    with pytest.raises(InputError, match="not text-motion"):
        TextMotion.from_pretrained(tmp_path)
