"""Small networks with weights of ordinary size, batches with gaps and padding, and the layers once more, in loops."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lmm.datasets.windows import Batch
from lmm.models.dct_mlp import DctMlp
from lmm.models.diffusion import Diffusion
from lmm.models.direct import Direct
from lmm.models.flat import Flat
from lmm.models.htt import Htt
from lmm.models.linear import Linear
from lmm.models.network import Context, Network
from lmm.pipeline.features import FeatureSpec

NETWORKS: dict[str, type[Network]] = {c.architecture: c for c in (Flat, Direct, Htt, Diffusion, DctMlp, Linear)}
BLOCK = 8


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(params=sorted(NETWORKS))
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make() -> Callable[..., Any]:
    """(architecture, **changes of the config) → a tiny network of float64, to evaluate, whose every weight matters."""

    def make(architecture: str, **changes: Any) -> Network:
        given = {"block_frames": BLOCK, "context_frames": 40, **changes}
        spec = given.pop("spec", FeatureSpec(layout="xyc"))
        network = NETWORKS[architecture].of_size("tiny", spec, **given).double().eval()
        with torch.no_grad():
            for p in network.parameters():
                p += 0.1 * torch.randn_like(p)
            for name, buffer in network.named_buffers():
                if name.endswith("regression"):
                    buffer += 0.005 * torch.randn_like(buffer)
        return network

    return make


@pytest.fixture
def network(make: Callable[..., Network]) -> Any:
    """A diffusion whose scales differ from feature to feature, and follow the context."""
    network: Any = make("diffusion")
    network.prior.spread.copy_(torch.rand(8, 75) + 0.5)
    network.prior.response.copy_(torch.randn(8, 75, 5) * 0.2)
    return network


@pytest.fixture
def batch() -> Callable[..., Batch]:
    """(size, frames, valid frames of the last row) → a batch in float64, with joints that come and go."""

    def batch(size: int = 3, frames: int = 20, last: int | None = None, seed: int = 0) -> Batch:
        rng = np.random.default_rng(seed)
        valid = np.ones((size, frames), bool)
        valid[-1, : frames - (frames if last is None else last)] = False
        observed = rng.random((size, frames, 25)) < 0.8
        observed[:, :, 4] = False  # RWrist: never seen
        observed[:, -1, 8] = True
        recorded = (rng.random((size, BLOCK, 25)) < 0.9) & (observed & valid[..., None]).any(1)[:, None]
        return Batch(
            rng.normal(size=(size, frames, 75)), valid, observed, rng.normal(size=(size, BLOCK, 75)), recorded, recorded
        )

    return batch


@pytest.fixture
def contexts(batch: Callable[..., Batch]) -> Callable[..., Context]:
    """(network, **batch) → what the network sees of a batch."""

    def contexts(network: Network, **given: Any) -> Context:
        b = batch(**given)
        return network.context(*(torch.from_numpy(x) for x in (b.context, b.valid, b.observed)))

    return contexts


@pytest.fixture(scope="session")
def slow() -> SimpleNamespace:
    """The layers of `lmm.models.blocks` after their equations, for one sequence (N, width), token by token."""

    def affine(layer: nn.Module, x: np.ndarray) -> np.ndarray:
        return x @ array(layer.weight).T + array(layer.bias)

    def norm(layer: nn.LayerNorm, x: np.ndarray) -> np.ndarray:
        mean = x.mean(axis=-1, keepdims=True)
        deviation = np.sqrt(((x - mean) ** 2).mean(axis=-1, keepdims=True) + layer.eps)
        return (x - mean) / deviation * array(layer.weight) + array(layer.bias)

    def gelu(x: np.ndarray) -> np.ndarray:
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def attention(
        layer: nn.Module, x: np.ndarray, memory: np.ndarray, looks: Callable[[int, int], bool] = lambda i, j: True
    ) -> np.ndarray:
        width = x.shape[1]
        query, both = affine(layer.query, x), affine(layer.key_value, memory)
        key, value = both[:, :width], both[:, width:]
        out = np.zeros_like(x)
        size = width // layer.heads
        for head in range(layer.heads):
            part = slice(head * size, (head + 1) * size)
            for i in range(len(x)):
                places = [j for j in range(len(memory)) if looks(i, j)]
                scores = np.array([query[i, part] @ key[j, part] / math.sqrt(size) for j in places])
                shares = np.exp(scores - scores.max())
                shares /= shares.sum()
                for share, j in zip(shares, places, strict=True):
                    out[i, part] += share * value[j, part]
        return affine(layer.out, out)

    def feed(layer: nn.Module, x: np.ndarray) -> np.ndarray:
        return affine(layer[2], gelu(affine(layer[0], x)))

    def encoder(stack: nn.Module, x: np.ndarray, valid: np.ndarray) -> np.ndarray:
        for layer in stack.layers:
            y = norm(layer.norm_attention, x)
            x = x + attention(layer.attention, y, y, lambda _, j: bool(valid[j]))
            x = x + feed(layer.feed, norm(layer.norm_feed, x))
        return norm(stack.norm, x)

    def decoder(stack: nn.Module, x: np.ndarray, memory: np.ndarray, valid: np.ndarray, causal: bool) -> np.ndarray:
        for layer in stack.layers:
            y = norm(layer.norm_self, x)
            x = x + attention(layer.self_attention, y, y, lambda i, j: j <= i or not causal)
            x = x + attention(layer.cross_attention, norm(layer.norm_cross, x), memory, lambda _, j: bool(valid[j]))
            x = x + feed(layer.feed, norm(layer.norm_feed, x))
        return norm(stack.norm, x)

    def tokens(context: Context, b: int) -> np.ndarray:
        """Return what row b of a context enters a frame encoder as."""
        frames, seen, anchor = (array(x[b]) for x in (context.frames, context.observed, context.anchor))
        out = np.zeros((len(frames), 175))
        for t in range(len(frames)):
            for k in range(75):
                out[t, k] = frames[t, k]
                out[t, 75 + k] = frames[t, k] - anchor[k] if seen[t, k // 3] else 0
            out[t, 150:] = seen[t]
        return out

    def regressors(context: Context, b: int, pose: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
        """Return what a regression reads, at 15 frames a second; `before` as the context has it."""
        frames, seen, known = (array(x[b]) for x in (context.frames, context.observed, context.known))
        out = np.zeros(251)
        for k in range(75):
            there = [frames[t, k] for t in range(len(frames)) if seen[t, k // 3]]
            past = frames[-2, k] if seen[-1, k // 3] and seen[-2, k // 3] else pose[k]
            out[k] = pose[k]
            out[75 + k] = 15 * (pose[k] - (past if before is None else before[k]))
            out[150 + k] = np.mean(there) - pose[k] if there else 0
            out[225 + k // 3] = known[k]
        out[250] = 1
        return out

    def array(x: Tensor) -> np.ndarray:
        return x.detach().numpy()

    return SimpleNamespace(
        affine=affine,
        norm=norm,
        gelu=gelu,
        attention=attention,
        feed=feed,
        encoder=encoder,
        decoder=decoder,
        tokens=tokens,
        regressors=regressors,
    )
