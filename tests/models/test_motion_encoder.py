"""The motion encoder against loops, its padding, and what it reads of a motion."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from lmm.core.errors import MotionError
from lmm.core.motion import make_motion
from lmm.models.assistant import Assistant
from lmm.models.assistant_config import AssistantConfig
from lmm.models.motion_encoder import NUMBERS, Clip, MotionEncoder, read_clip, side_by_side
from lmm.pipeline.features import MIDHIP, FeatureSpec, decode, encode
from lmm.skeletons import BODY_25

LIKE = torch.zeros(1)


def config(**changes: Any) -> AssistantConfig:
    return AssistantConfig(size="tiny", llm_width=8, **{**Assistant.sizes["tiny"], "dropout": 0.0, **changes})


def clip(rng: np.random.Generator, frames: int, missing: float = 0.2) -> Clip:
    seen = rng.random((frames, 25)) >= missing
    seen[:, [3, 9]] = False  # nobody shows them
    places = rng.standard_normal((frames, 25, 3)).astype(np.float32) * seen[..., None]
    return Clip(places, seen, rng.standard_normal((frames, 3)).cumsum(0).astype(np.float32), 15.0)


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, exists: list[bool]) -> Tensor:
    """Return multi-head attention of (N, d) to (M, d), head by head and pair by pair."""
    size, out = query.shape[1] // heads, torch.zeros_like(query)
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        for i in range(len(query)):
            places = [j for j in range(len(key)) if exists[j]]
            logits = torch.stack([(query[i, part] * key[j, part]).sum() / size**0.5 for j in places])
            for share, j in zip(torch.softmax(logits, 0), places, strict=True):
                out[i, part] += share * value[j, part]
    return out


def slow(encoder: MotionEncoder, one: Clip) -> Tensor:
    """Return the tokens (N, width) of one clip, patch by patch and joint by joint, as the module's text says."""
    p = encoder.patch
    count = -(-len(one.places) // p)
    rows = []
    for n in range(count):
        tokens, exists = [encoder.joint[0]], [True]
        for j in range(25):
            numbers = torch.zeros(p, NUMBERS)
            for i, t in enumerate(range(n * p, min((n + 1) * p, len(one.places)))):
                if one.observed[t, j]:
                    numbers[i, :3] = torch.from_numpy(one.places[t, j])
                    numbers[i, 6] = 1
                    if t and one.observed[t - 1, j]:
                        numbers[i, 3:6] = 0.2 * 15 * torch.from_numpy(one.places[t, j] - one.places[t - 1, j])
            tokens.append(numbers.flatten() @ encoder.enter[j] + encoder.joint[1 + j])
            exists.append(bool(numbers[:, 6].any()))
        x = torch.stack(tokens)
        for layer in encoder.joints.layers:
            a, y = layer.attention, layer.norm_attention(x)
            key, value = a.key_value(y).chunk(2, dim=-1)
            x = x + a.out(attend(a.query(y), key, value, a.heads, exists))
            x = x + layer.feed(layer.norm_feed(x))
        x = encoder.joints.norm(x)
        f = x[0] @ encoder.leave[0]
        for j in range(25):
            if exists[1 + j]:
                f = f + x[1 + j] @ encoder.leave[1 + j] / 5
        path = torch.from_numpy(np.concatenate([one.path, np.repeat(one.path[-1:], p, 0)]))
        mean, end = path[n * p : (n + 1) * p].mean(0), path[(n + 1) * p - 1]
        before = path[n * p - 1] if n else torch.zeros(3)
        rows.append(f + encoder.path(torch.cat([mean, 15 / p * (end - before)])))
    x = torch.stack(rows)
    for layer in encoder.layers:
        size = x.shape[1] // layer.heads
        query, key, value = layer.enter(layer.norm_attention(x)).chunk(3, dim=-1)
        query, key = (turned(v, layer.heads, size) for v in (query, key))
        x = x + layer.leave(attend(query, key, value, layer.heads, [True] * count))
        x = x + layer.feed(layer.norm_feed(x))
    out: Tensor = encoder.norm(x)
    return out


def turned(x: Tensor, heads: int, size: int) -> Tensor:
    """Return x (N, width) with the pair (i, i + size / 2) of each head turned by n · 1000^(-2i / size)."""
    out = x.clone()
    for n in range(len(x)):
        for h in range(heads):
            for i in range(size // 2):
                a, b = h * size + i, h * size + i + size // 2
                angle = torch.tensor(n * 1000 ** (-2 * i / size))
                out[n, a] = x[n, a] * angle.cos() - x[n, b] * angle.sin()
                out[n, b] = x[n, b] * angle.cos() + x[n, a] * angle.sin()
    return out


def test_tokens_are_those_of_the_equations() -> None:
    torch.manual_seed(0)
    encoder, rng = MotionEncoder(config()), np.random.default_rng(0)
    clips = [clip(rng, 10), clip(rng, 4)]
    tokens, exists = encoder(side_by_side(clips, 3, LIKE))
    assert exists.tolist() == [[True] * 4, [True, True, False, False]]
    for one, row, real in zip(clips, tokens, exists, strict=True):
        torch.testing.assert_close(row[real], slow(encoder, one), atol=1e-5, rtol=1e-4)
        assert not row[~real].any()


def test_a_motion_reads_the_same_beside_others() -> None:
    torch.manual_seed(1)
    encoder, rng = MotionEncoder(config()).eval(), np.random.default_rng(1)
    short, long = clip(rng, 7), clip(rng, 31, missing=0.0)
    alone, _ = encoder(side_by_side([short], 3, LIKE))
    beside, exists = encoder(side_by_side([long, short], 3, LIKE))
    torch.testing.assert_close(beside[1][exists[1]], alone[0], atol=1e-5, rtol=1e-4)


def test_nothing_seen_is_still_a_number() -> None:
    encoder = MotionEncoder(config())
    blind = Clip(np.zeros((6, 25, 3), np.float32), np.zeros((6, 25), bool), np.zeros((6, 3), np.float32), 15.0)
    assert torch.isfinite(encoder(side_by_side([blind], 3, LIKE))[0]).all()


def walking(frames: int = 90, fps: float = 30.0) -> Any:
    rng = np.random.default_rng(3)
    rest = rng.standard_normal((25, 3)) * 0.3 + [0, 1, 0]
    t = np.arange(frames)[:, None, None] / fps
    joints: NDArray[Any] = rest + np.concatenate([0 * t, 0 * t, 1.2 * t], axis=2)
    return make_motion(joints + 0.1 * np.sin(3 * t + rest), fps, BODY_25, "world")


def test_a_clip_holds_the_motion() -> None:
    """Places and path together give the motion again, as the features they are made of do."""
    motion = walking(fps=15.0)
    spec = FeatureSpec(layout="xyz", mean=tuple(0.1 * np.arange(75) % 1), std=tuple(0.5 + 0.01 * np.arange(75)))
    one, found = read_clip(motion, spec, 900), encode(motion, spec)
    mean, std = (np.reshape(v, (25, 3)) for v in (spec.mean, spec.std))
    values = one.places.copy()
    values[:, MIDHIP] = (np.diff(one.path, axis=0, prepend=0) - mean[MIDHIP]) / std[MIDHIP]
    again = decode(values.reshape(-1, 75), one.observed, spec, found.transform)
    np.testing.assert_allclose(again.positions, motion.positions, atol=1e-4)


def test_of_a_long_motion_the_end_is_read() -> None:
    one = read_clip(walking(), FeatureSpec(layout="xyz"), 30)
    assert len(one.places) == 30
    assert one.start_s == pytest.approx(45 / 15 - 2, abs=1 / 15)
    assert one.seconds == pytest.approx(2)


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(MotionError, match="layout xyz"):
        read_clip(walking().replace(space="image", size=(10, 10)), FeatureSpec(layout="xyz"), 900)
    empty = Clip(np.zeros((0, 25, 3), np.float32), np.zeros((0, 25), bool), np.zeros((0, 3), np.float32), 15.0)
    with pytest.raises(MotionError, match="without frames"):
        side_by_side([replace(empty)], 3, LIKE)
