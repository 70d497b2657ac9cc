"""The Cross Talker's equations against loops, and gradients through what it selects."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lmm.models.cross_talker import EDGE_S, CrossTalker, FeatureEnhancer, Talk

WIDTH, HEADS, N, L = 8, 2, 11, 5
SECONDS = (torch.arange(N) + 0.5) * 0.2


def talker(selection: Any = "talker", keys: int = 3, segments: int = 4) -> CrossTalker:
    torch.manual_seed(0)
    made: CrossTalker = CrossTalker(WIDTH, HEADS, keys, segments, 2.0, selection).double()
    return made


def given(rows: int = 2) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Frames and words of rows; the last row is shorter in both."""
    torch.manual_seed(1)
    frames, words = torch.randn(rows, N, WIDTH).double(), torch.randn(rows, L, WIDTH).double()
    exists, is_word = torch.ones(rows, N, dtype=torch.bool), torch.ones(rows, L, dtype=torch.bool)
    exists[-1, 7:], is_word[-1, 3:] = False, False
    return frames, exists, words, is_word


def talk(model: CrossTalker, frames: Tensor, exists: Tensor, words: Tensor, is_word: Tensor) -> Talk:
    found: Talk = model(frames, exists, SECONDS.double(), words, is_word)
    return found


def attend(a: Any, x: Tensor, memory: Tensor, logs: list[list[float]] | None = None) -> Tensor:
    """Return attention of x (N, d) to memory (M, d) with `logs` added to the logits, pair by pair."""
    size, rows = WIDTH // HEADS, []
    key, value = a.key_value(memory).chunk(2, dim=-1)
    for i, query in enumerate(a.query(x)):
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            weights = [
                torch.exp((query[part] * key[j, part]).sum() / math.sqrt(size)) * math.exp(logs[i][j] if logs else 0)
                for j in range(len(memory))
            ]
            heads.append(sum(w * value[j, part] for j, w in enumerate(weights)) / sum(weights))
        rows.append(torch.cat(heads))
    return a.out(torch.stack(rows))


@pytest.mark.parametrize("row", [0, 1])
def test_every_equation(row: int) -> None:
    model, (frames, exists, words, is_word) = talker(), given()
    found = talk(model, frames, exists, words, is_word)
    n, length = int(exists[row].sum()), int(is_word[row].sum())
    x, text = model.norm_frames(frames[row, :n]), words[row, :length]
    # (1)
    scores = []
    asked, shown = model.score_words(text), model.score_frames(x)
    shares = [[float((q * k).sum().detach()) / math.sqrt(WIDTH) for k in shown] for q in asked]
    shares = [[math.exp(v) / sum(map(math.exp, line)) for v in line] for line in shares]
    scores = [max(line[j] for line in shares) for j in range(n)]
    torch.testing.assert_close(found.scores[row, :n], torch.tensor(scores).double())
    # (2)
    chosen = sorted(sorted(range(n), key=lambda j: -scores[j])[:3])
    assert found.chosen[row].tolist() == chosen
    assert found.is_key[row].all()
    # (3)
    radius = [2.0 / (1 + math.exp(-float(model.radius(x[k])))) for k in chosen]
    torch.testing.assert_close(found.radius_s[row], torch.tensor(radius).double())
    logs = [
        [-math.log1p(math.exp((abs(float(SECONDS[j] - SECONDS[k])) - r) / EDGE_S)) for j in range(n)]
        for k, r in zip(chosen, radius, strict=True)
    ]
    # (4)
    h = attend(model.local, x[chosen], x, logs)
    # (5)
    parts: list[list[int]] = [[] for _ in range(4)]
    for j in range(n):
        parts[j * 4 // n].append(j)
    segments = torch.stack([x[p].mean(0) for p in parts])
    torch.testing.assert_close(found.segments[row], segments)
    y = h + attend(model.whole, model.norm_local(h), model.norm_segments(segments))
    # (6)
    keys, said = model.norm_keys(y), model.norm_words(text)
    torch.testing.assert_close(found.keys[row], y + attend(model.to_words, keys, said))
    torch.testing.assert_close(found.words[row, :length], text + attend(model.to_keys, said, keys))
    # (7)
    question = model.gate_words(text.mean(0))
    gates = [
        1 / (1 + math.exp(-float((model.gate_frames(f) * question).sum()) / math.sqrt(WIDTH) - float(model.gate_bias)))
        for f in x
    ]
    torch.testing.assert_close(found.gates[row, :n], torch.tensor(gates).double())
    assert not found.gates[row, n:].any()
    torch.testing.assert_close(found.quantity[row], torch.tensor(sum(gates)).double())


def test_padding_changes_nothing() -> None:
    model, (frames, exists, words, is_word) = talker(), given()
    before = talk(model, frames, exists, words, is_word)
    frames = torch.where(exists[..., None], frames, 7.0)
    words = torch.where(is_word[..., None], words, 7.0)
    after = talk(model, frames, exists, words, is_word)
    for name in ("keys", "segments", "gates", "radius_s", "chosen"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=0, atol=0)
    alone = model(frames[1:, :7], exists[1:, :7], SECONDS[:7].double(), words[1:, :3], is_word[1:, :3])
    torch.testing.assert_close(alone.keys[0], before.keys[1])
    torch.testing.assert_close(alone.words[0], before.words[1, :3])


def test_what_a_key_frame_is_worth_reaches_its_score() -> None:
    """The gradient of h_k with regard to log s_k is that of the gate, h_k itself; numbers are untouched."""
    model, (frames, exists, words, is_word) = talker(), given()
    found = talk(model, frames, exists, words, is_word)
    found.keys.sum().backward()
    for name in ("score_words", "score_frames", "radius"):
        grad = getattr(model, name).weight.grad
        assert torch.isfinite(grad).all(), name
        assert grad.abs().max() > 1e-6, name
    free = talker("uniform")
    free.load_state_dict(model.state_dict())
    talk(free, frames, exists, words, is_word).keys.sum().backward()
    assert free.score_words.weight.grad is None  # without selection no score is learned


def test_the_straight_through_gradient_is_that_of_the_logarithm() -> None:
    model, (frames, exists, words, is_word) = talker(), given(1)
    scores = torch.rand(1, N, dtype=torch.float64, requires_grad=True)
    model._scores = lambda *_: scores  # type: ignore[method-assign]
    seen: list[Tensor] = []  # h without its gate, and with it
    got: list[Tensor] = []
    model.local.register_forward_hook(lambda _, __, out: seen.append(out))
    model.norm_local.register_forward_pre_hook(lambda _, inputs: got.append(inputs[0]))
    found = talk(model, frames, exists, words, is_word)
    weight = torch.randn_like(got[0])
    (got[0] * weight).sum().backward()
    assert scores.grad is not None
    for k, j in enumerate(found.chosen[0].tolist()):
        wanted = (seen[0][0, k] * weight[0, k]).sum() / scores[0, j]
        torch.testing.assert_close(scores.grad[0, j], wanted.detach())
    torch.testing.assert_close(got[0], seen[0])


def test_the_radius_has_the_gradient_of_its_window() -> None:
    model, (frames, exists, words, is_word) = talker(), given(1)

    def value(bias: float) -> float:
        with torch.no_grad():
            model.radius.bias.fill_(bias)
        return float(talk(model, frames, exists, words, is_word).keys.square().sum())

    with torch.no_grad():
        model.radius.bias.fill_(0.2)
    model.zero_grad()
    talk(model, frames, exists, words, is_word).keys.square().sum().backward()
    assert model.radius.bias.grad is not None
    assert float(model.radius.bias.grad) == pytest.approx((value(0.2 + 1e-5) - value(0.2 - 1e-5)) / 2e-5, rel=1e-4)


@pytest.mark.parametrize(("frames", "wanted"), [(11, [1, 5, 9]), (3, [0, 1, 2]), (2, [0, 1]), (1, [0])])
def test_without_selection_key_frames_are_evenly_spaced(frames: int, wanted: list[int]) -> None:
    model, (x, exists, words, is_word) = talker("uniform"), given(1)
    exists[0] = torch.arange(N) < frames
    found = talk(model, x, exists, words, is_word)
    assert found.chosen[0][found.is_key[0]].tolist() == wanted


def test_a_short_motion_has_fewer_key_frames_and_segments() -> None:
    model, (x, exists, words, is_word) = talker(keys=20), given()
    exists[1] = torch.arange(N) < 2
    found = talk(model, x, exists, words, is_word)
    assert found.is_key.sum(1).tolist() == [N, 2]
    assert found.is_segment.sum(1).tolist() == [4, 2]
    assert all(torch.isfinite(v).all() for v in (found.keys, found.segments, found.words, found.gates))


def test_motion_looks_at_video_where_there_is_some() -> None:
    torch.manual_seed(2)
    model = FeatureEnhancer(WIDTH, HEADS, 16, 0.0, video=True)
    x, video = torch.randn(2, N, WIDTH), torch.randn(2, 4, WIDTH)
    exists, shown = torch.ones(2, N, dtype=torch.bool), torch.tensor([[True, True, True, False], [False] * 4])
    out, without = model(x, exists, video, shown), model(x, exists, None, None)
    torch.testing.assert_close(out[1], without[1])
    assert (out[0] - without[0]).abs().max() > 1e-3
    torch.testing.assert_close(model(x, exists, torch.where(shown[..., None], video, 9.0), shown), out)
