"""The codec is causal, the same in chunks and whole, quantises as it says, and learns."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from lmm.core.errors import InputError, MotionError
from lmm.core.geometry import axis_rotation
from lmm.datasets.clips import ClipBatch
from lmm.datasets.synthetic import gait
from lmm.models.codec import PLACE, STRIDE, CausalConv, Codec, CodecConfig, Memory, quantise, reconstruction, velocities
from lmm.pipeline.codec_features import CODEC_JOINTS, FPS, NUM_FEATURES, SLICES, Decoder, Placement, decode, encode


def codec(**changes: Any) -> Codec:
    """A tiny codec of float64 whose every number matters."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    stats = {"mean": tuple(rng.normal(size=49)), "std": tuple(rng.uniform(0.5, 2, size=49))}
    made = Codec.of_size("tiny", **stats, **changes).double().eval()
    with torch.no_grad():
        for p in made.parameters():
            p += 0.1 * torch.randn_like(p)
        made.shift += 0.3
        made.scale *= 1.7
    return made


def features(frames: int, batch: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(batch, frames, NUM_FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bottleneck", ["continuous", "fsq"])
def test_shapes_and_the_last_latent_of_a_clip(bottleneck: str) -> None:
    c = codec(bottleneck=bottleneck)
    for frames in (1, 3, 4, 5, 16):
        z = c.encode(features(frames))
        assert z.shape == (2, -(-frames // 4), 32 if bottleneck == "continuous" else 6)
        assert c.decode(z).shape == (2, 4 * z.shape[1], NUM_FEATURES)
    x = features(6)
    filled = torch.cat([x, x[:, -1:], x[:, -1:]], dim=1)
    torch.testing.assert_close(c.encode(x), c.encode(filled))


def test_latents_see_no_frame_after_their_own_and_frames_no_later_latent() -> None:
    c, x = codec(), features(40)
    z = c.encode(x)
    for at in (0, 7, 8, 21):
        other = x.clone()
        other[:, at:] += 1
        same = (c.encode(other) - z).abs().amax(dim=(0, 2)) == 0
        assert same.tolist() == [n < at // STRIDE for n in range(10)]
    y = c.decode(z)
    for at in (0, 3, 9):
        other = z.clone()
        other[:, at:] += 1
        same = (c.decode(other) - y).abs().amax(dim=(0, 2)) == 0
        assert same.tolist() == [t < at * STRIDE for t in range(40)]


def edges(cuts: list[int], end: int) -> list[tuple[int, int]]:
    return list(pairwise([0, *sorted(cuts), end]))


@settings(max_examples=40, deadline=None)
@given(
    frames=st.integers(1, 70),
    cuts=st.lists(st.integers(0, 70), max_size=8),
    bottleneck=st.sampled_from(["continuous", "fsq"]),
)
def test_chunks_are_the_whole(frames: int, cuts: list[int], bottleneck: str) -> None:
    c, x = codec(bottleneck=bottleneck), features(frames)
    state, parts = None, []
    spans = edges([min(cut, frames) for cut in cuts], frames)
    for i, (a, b) in enumerate(spans):
        z, state = c.encode_chunk(x[:, a:b], state, last=i == len(spans) - 1)
        assert bottleneck == "fsq" or sum(p.shape[1] for p in parts) + z.shape[1] >= b // STRIDE  # one latent's latency
        parts.append(z)
    latents = torch.cat(parts, dim=1)
    torch.testing.assert_close(latents, c.encode(x))
    state, parts = None, []
    for a, b in edges([min(cut, latents.shape[1]) for cut in cuts], latents.shape[1]):
        y, state = c.decode_chunk(latents[:, a:b], state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, dim=1), c.decode(latents))


def test_a_stream_of_single_frames_in_float32() -> None:
    c, x = codec().float(), features(33).float()
    state, parts = None, []
    for t in range(33):
        z, state = c.encode_chunk(x[:, t : t + 1], state, last=t == 32)
        parts.append(z)
    torch.testing.assert_close(torch.cat(parts, dim=1), c.encode(x), atol=1e-5, rtol=1e-5)
    assert all(p.shape[-1] <= 18 for p in state.past)  # what is carried does not grow


def test_a_causal_convolution_is_one_written_out() -> None:
    conv = CausalConv(3, 2, 3, dilation=2).double()
    x = torch.randn(1, 3, 9, dtype=torch.float64)
    y = conv(x, Memory(None))
    for t in range(9):
        expected = conv.bias.clone()
        for k in range(3):
            at = t - 2 * (2 - k)
            if at >= 0:
                expected = expected + conv.weight[:, :, k] @ x[0, :, at]
        torch.testing.assert_close(y[0, :, t], expected)
    strided = CausalConv(3, 2, 4, stride=2).double()
    y = strided(x[..., :8], Memory(None))
    for n in range(4):
        expected = strided.bias.clone()
        for k in range(4):
            at = 2 * n - 2 + k
            if at >= 0:
                expected = expected + strided.weight[:, :, k] @ x[0, :, at]
        torch.testing.assert_close(y[0, :, n], expected)


@settings(max_examples=30, deadline=None)
@given(levels=st.lists(st.integers(2, 9), min_size=1, max_size=5), seed=st.integers(0, 1 << 30))
def test_quantised_numbers_are_levels_and_gradients_pass(levels: list[int], seed: int) -> None:
    z = 4 * torch.randn(200, len(levels), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    z.requires_grad_()
    q = quantise(z, tuple(levels))
    for i, n in enumerate(levels):
        grid = (torch.arange(n, dtype=torch.float64) - n // 2) / (n // 2)
        assert (q[:, i, None] - grid).abs().amin(1).max() < 1e-9
        if n > 2:  # all are reached, the outermost by large numbers
            wide = torch.zeros(99, len(levels), dtype=torch.float64)
            wide[:, i] = torch.linspace(-9, 9, 99)
            assert len(quantise(wide, tuple(levels))[:, i].unique()) == n
    q.sum().backward()
    half = torch.tensor([(n - 1) * 1.001 / 2 for n in levels], dtype=torch.float64)
    shift = torch.atanh(torch.tensor([0.5 * (n % 2 == 0) for n in levels], dtype=torch.float64) / half)
    expected = half * (1 - torch.tanh(z.detach() + shift) ** 2) / torch.tensor([n // 2 for n in levels])
    torch.testing.assert_close(z.grad, expected)


def test_fsq_latents_are_of_so_many_levels_and_cost_what_is_said() -> None:
    c = codec(bottleneck="fsq", levels=(8, 5, 3))
    half = torch.tensor([4, 2, 1])
    codes = (c.encode(100 * features(400)) * c.scale + c.shift) * half + half
    torch.testing.assert_close(codes, codes.round(), atol=1e-4, rtol=0)
    codes = codes.round()
    assert codes.amin(dim=(0, 1)).tolist() == [0, 0, 0]
    assert codes.amax(dim=(0, 1)).tolist() == [7, 4, 2]
    assert c.config.bits_per_latent == pytest.approx(np.log2(8 * 5 * 3))
    assert codec().config.bits_per_latent == 512


def test_calibrated_latents_have_unit_variance_and_decode_as_before() -> None:
    c, x = codec(), features(64, batch=8)
    before = c.decode(c.encode(x))
    counts = torch.ones(8, 64, dtype=torch.bool)
    counts[0, 30:] = False
    c.calibrate([ClipBatch(x, counts), ClipBatch(x + 1, counts)])
    z = torch.cat([c.encode(x)[1:].flatten(0, 1), c.encode(x)[0, :7]])
    z = torch.cat([z, c.encode(x + 1)[1:].flatten(0, 1), c.encode(x + 1)[0, :7]])
    torch.testing.assert_close(z.mean(0), torch.zeros(32, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(32, dtype=torch.float64))
    torch.testing.assert_close(c.decode(c.encode(x)), before)


def test_the_loss_counts_recorded_frames_alone() -> None:
    x, y = features(20), features(20, seed=2)
    counts = torch.rand(2, 20, generator=torch.Generator().manual_seed(0)) < 0.7
    total, count = reconstruction(x, y, counts)
    assert count == counts.sum()
    other = torch.where(counts[..., None], y, y + 100)
    torch.testing.assert_close(reconstruction(x, other, counts)[0], total)
    assert reconstruction(y, y, counts)[0] / count < 0.05
    far = y.clone()
    far[..., SLICES["joints"].start + 1] += 1.0  # one of 16 joints 1 m higher, always: its place, and no speed
    shifted = (
        reconstruction(far, y, torch.ones_like(counts))[0] - reconstruction(y, y, torch.ones_like(counts))[0]
    ) / 40
    assert float(shifted) == pytest.approx(PLACE / 16, rel=1e-2)


def test_velocities_are_those_of_the_decoded_motion() -> None:
    motion = gait(seconds=2, seed=0, turn_deg_per_s=60)
    values, _ = encode(motion)
    path = Decoder(Placement()).push(values)
    heading = np.cumsum(values[1:, 0]) / FPS
    world = np.diff(path, axis=0) * FPS
    seen = np.einsum("tab,tjb->tja", axis_rotation("y", -heading), world)
    order = [i for i in range(16) if i != CODEC_JOINTS.index("MidHip")] + [CODEC_JOINTS.index("MidHip")]
    ours = velocities(torch.from_numpy(values).double()[None])[0].numpy()
    np.testing.assert_allclose(ours, seen[:, order], atol=1e-4)


def test_gradients_of_the_loss_are_those_of_differences() -> None:
    c, batch = codec(), ClipBatch(features(12), torch.ones(2, 12, dtype=torch.bool))
    c.eval()

    def loss() -> Tensor:
        torch.manual_seed(3)
        return c.loss(batch, 0.0)[0]

    loss().backward()
    for p in (c.encoder[0].weight, c.encoder[2].wide.weight, c.decoder[-1].bias):
        assert p.grad is not None
        at = int(p.grad.abs().argmax())
        with torch.no_grad():
            p.view(-1)[at] += 1e-6
            above = loss()
            p.view(-1)[at] -= 2e-6
            below = loss()
            p.view(-1)[at] += 1e-6
        assert float(p.grad.view(-1)[at]) == pytest.approx(float((above - below) / 2e-6), rel=1e-4)


@torch.no_grad()
def validation(c: Codec, batch: ClipBatch) -> float:
    total, count = c.validation(batch)
    return float(total / count)


@pytest.mark.parametrize("bottleneck", ["continuous", "fsq"])
def test_it_learns_a_walk_and_gives_it_back(bottleneck: str) -> None:
    torch.manual_seed(0)
    motion = gait(seconds=6, seed=0)
    values = encode(motion)[0][:160]
    c = Codec.of_size(
        "tiny", width=32, bottleneck=bottleneck, mean=tuple(values.mean(0)), std=tuple(values.std(0) + 0.01)
    )
    batch = ClipBatch(torch.from_numpy(values)[None], torch.ones(1, 160, dtype=torch.bool))
    optimizer = torch.optim.AdamW(c.parameters(), 3e-3)
    first = validation(c, batch)
    for _ in range(150):
        total, count = c.loss(batch, 0.0)
        optimizer.zero_grad()
        (total / count).backward()
        optimizer.step()
    c.calibrate([batch])
    c.eval()
    assert validation(c, batch) < 0.4 * first
    values, placement = encode(motion)
    with torch.inference_mode():
        again = decode(c.decode(c.encode(torch.from_numpy(values)[None]))[0].numpy(), placement)
    joints = [j for j in range(25) if again.observed[0, j]]
    away = np.linalg.norm(again.positions[:40, joints] - motion.positions[:40, joints], axis=-1).mean()
    assert away < 0.15


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    c = codec(trained_on="walks").float()
    c.save_pretrained(tmp_path / "codec")
    again = Codec.from_pretrained(tmp_path / "codec")
    x = features(17).float()
    torch.testing.assert_close(again.encode(x), c.encode(x), atol=0, rtol=0)
    assert again.config == c.config.model_copy(update={"parameters": sum(p.numel() for p in c.parameters())})


def test_files_that_hold_no_codec_are_refused_in_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "codec"
    with pytest.raises(InputError):
        Codec.from_pretrained(folder)
    codec().float().save_pretrained(folder)
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="Copy it again"):
        Codec.from_pretrained(folder)
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('"codec"', '"flat"'))
    with pytest.raises(InputError):
        Codec.from_pretrained(folder)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(MotionError, match="no size"):
        Codec.of_size("huge")
    for bad in ({"width": 4096, "blocks": 6}, {"levels": (1, 8)}, {"std": (0.0,) * 49}, {"mean": (0.0,)}):
        with pytest.raises(ValidationError):
            CodecConfig(**{"size": "small", "width": 8, **bad})
