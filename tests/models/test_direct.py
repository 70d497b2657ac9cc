"""Direct regression equals a slow reference; the multilayer perceptron has the paper's transform, size and shape."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.fft import dct, idct

from lmm.core.errors import MotionError
from lmm.models.blocks import time_encoding
from lmm.models.dct_mlp import DctMlp, cosines, held
from lmm.models.network import Context, Network
from lmm.pipeline.features import FeatureSpec

Contexts = Callable[..., Context]


@torch.no_grad()
def test_direct_equals_a_slow_reference(
    make: Callable[..., Network], contexts: Contexts, slow: SimpleNamespace
) -> None:
    network: Any = make("direct")
    context = contexts(network, last=7)
    got = network.generate(context, 8, 2, torch.Generator()).numpy()
    valid = np.arange(20) >= np.array([0, 0, 13])[:, None]
    past = time_encoding(torch.arange(-19, 1) / 15, 32).double().numpy()
    coming = time_encoding(torch.arange(1, 9) / 15, 32).double().numpy()
    for b in range(3):
        x = slow.affine(network.encoder.embed, slow.tokens(context, b)) + past
        memory = slow.encoder(network.encoder.encoder, x, valid[b])
        y = slow.decoder(network.decoder, network.queries.numpy() + coming, memory, valid[b], causal=False)
        anchor = context.anchor[b].numpy()
        linear = np.stack([slow.regressors(context, b, anchor) @ w for w in network.regression.numpy()])
        expected = anchor + (slow.affine(network.head, y) + linear) * context.known[b].numpy()
        for s in range(2):
            np.testing.assert_allclose(got[b, s], expected, rtol=0, atol=1e-10)


def test_cosine_transform_is_scipys_and_orthonormal() -> None:
    for count in (1, 2, 32, 50):
        matrix, x = cosines(count).numpy(), np.random.default_rng(0).normal(size=(count, 3))
        np.testing.assert_allclose(matrix @ x, dct(x, axis=0, norm="ortho"), atol=1e-12)
        np.testing.assert_allclose(matrix.T @ x, idct(x, axis=0, norm="ortho"), atol=1e-12)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(count), atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("frames", [20, 40])
def test_dct_mlp_equals_a_slow_reference(
    make: Callable[..., Network], contexts: Contexts, slow: SimpleNamespace, frames: int
) -> None:
    """With fewer frames than it reads, and with more."""
    network: Any = make("dct-mlp")
    context = contexts(network, frames=frames, last=12)
    got = network.generate(context, 8, 2, torch.Generator()).numpy()
    seen, x = context.observed.numpy(), context.frames.numpy().reshape(3, frames, 25, 3)
    for b in range(3):
        full = np.zeros((frames, 25, 3))
        for joint in np.flatnonzero(seen[b].any(0)):
            for t in range(frames):
                before = np.flatnonzero(seen[b, : t + 1, joint])
                full[t, joint] = x[b, before[-1] if len(before) else np.flatnonzero(seen[b, :, joint])[0], joint]
        rows = np.concatenate([np.repeat(full[:1], 32, axis=0), full])[-32:].reshape(32, 75)
        y = slow.affine(network.enter, dct(rows, axis=0, norm="ortho"))
        for block in network.blocks:
            y = y + slow.norm(block.norm, slow.affine(block.layer, y.T).T)
        change = idct(slow.affine(network.leave, y), axis=0, norm="ortho")[:8]
        expected = context.anchor[b].numpy() + change * context.known[b].numpy()
        for s in range(2):
            np.testing.assert_allclose(got[b, s], expected, rtol=0, atol=1e-5)  # its cosines are kept in float32


def test_dct_mlp_has_the_papers_size() -> None:
    """For the paper's 66 numbers a frame, 48 blocks of 50 frames are the 0.14 M that it states; here there are 75."""
    frames, blocks, paper, here = 50, 48, 66, 75
    count = [blocks * (frames * frames + frames + 2 * d) + 2 * (d * d + d) for d in (paper, here)]
    assert round(count[0] / 1e6, 2) == 0.14
    spec = FeatureSpec(layout="xyc")
    assert DctMlp.of_size("small", spec).info.parameters == DctMlp.of_size("base", spec).info.parameters == count[1]


def test_dct_mlp_starts_from_holding_the_pose(contexts: Contexts) -> None:
    network = DctMlp.of_size("tiny", FeatureSpec(layout="xyc"), block_frames=8).double()
    context = contexts(network)
    torch.testing.assert_close(network(context), context.anchor[:, None].expand(-1, 8, -1), rtol=0, atol=1e-5)


def test_dct_mlp_learns_velocities_too(make: Callable[..., Network], batch: Callable[..., Any]) -> None:
    network: Any = make("dct-mlp")
    example = network.example(batch())
    total, count = network.loss(example, 0.0)
    future, target = network(example.context).detach().numpy(), example.target.numpy()
    counts, anchor = example.counts.numpy(), example.context.anchor.numpy()
    expected = 0.0
    for b, t, k in np.argwhere(counts):
        expected += (future[b, t, k] - target[b, t, k]) ** 2
        if t == 0 or counts[b, t - 1, k]:
            before = (anchor[b, k], anchor[b, k]) if t == 0 else (future[b, t - 1, k], target[b, t - 1, k])
            expected += ((future[b, t, k] - before[0]) - (target[b, t, k] - before[1])) ** 2
    np.testing.assert_allclose(float(total.detach()), expected, rtol=1e-10)
    assert int(count) == counts.sum()


def test_dct_mlp_refuses_longer_blocks_than_it_reads() -> None:
    with pytest.raises(MotionError, match="reads 32 frames and cannot forecast 33"):
        DctMlp.of_size("tiny", FeatureSpec(layout="xyc"), block_frames=33)


def test_held_frames_have_no_gaps(make: Callable[..., Network], contexts: Contexts) -> None:
    context = contexts(make("dct-mlp"))
    full = held(context).unflatten(-1, (25, 3))
    assert torch.equal(full[context.observed], context.frames.unflatten(-1, (25, 3))[context.observed])
    assert bool((full[:, :, context.observed.any(1).all(0)] != 0).all())
