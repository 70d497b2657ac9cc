"""Streams, cross-attention both ways and gate equal a slow reference; a stream that is left out is gone."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lmm.models.blocks import time_encoding
from lmm.models.htt import Htt
from lmm.models.network import Context, Network
from lmm.tokens import PARTS

Contexts = Callable[..., Context]
JOINTS = (
    "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel"
).split()
WIDTH, FPS = 32, 15


def slow_streams(network: Any, context: Context, b: int, valid: np.ndarray, slow: SimpleNamespace) -> dict[str, Any]:
    """What `HttEncoder.streams` promises for row `b` of a batch, whose frames are padding where `valid` is False."""
    e, x = network.encoder, context.frames[b].numpy()
    frames = len(x)

    def at(frame: int) -> np.ndarray:
        return time_encoding(torch.tensor([(frame + 1 - frames) / FPS]), WIDTH)[0].double().numpy()

    def cross(side: Any, y: np.ndarray, other: np.ndarray, seen: np.ndarray) -> np.ndarray:
        memory = slow.norm(side.norm_other, other)
        y = y + slow.attention(side.attention, slow.norm(side.norm, y), memory, lambda _, j: bool(seen[j]))
        return y + slow.feed(side.feed, slow.norm(side.norm_feed, y))

    def both_ways(pair: Any, a: np.ndarray, c: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        for left, right in zip(pair.left, pair.right, strict=True):
            new_a = cross(left, a, c, seen)
            new_c = cross(right, c, a, valid)  # of what `a` was before this layer
            a, c = new_a, new_c
        return a, c

    rows = [slow.affine(e.frames.embed, slow.tokens(context, b)[t]) + at(t) for t in range(frames)]
    f = slow.encoder(e.frames.encoder, np.stack(rows), valid)
    out: dict[str, Any] = {}
    if e.has_windows:
        starts = range(0, frames, 5)
        rows = [slow.affine(e.embed_window, np.concatenate([x[s + i] for i in range(5)])) + at(s + 4) for s in starts]
        seen = np.array([valid[s : s + 5].any() for s in starts])
        w = slow.encoder(e.windows, np.stack(rows), seen)
        if e.fusion:
            f, w = both_ways(e.frame_window, f, w, seen)
        out["windows"] = np.stack([w[t // 5] for t in range(frames)])
    if e.has_parts:
        rows, names = [], e.part_names.detach().numpy()
        for t, (k, joints) in product(range(frames), enumerate(PARTS.values())):
            slots = np.zeros(21)
            for i, joint in enumerate(joints):
                at_joint = 3 * JOINTS.index(joint)
                slots[3 * i : 3 * i + 3] = x[t, at_joint : at_joint + 3]
            rows.append(slow.affine(e.embed_part, slots) + at(t) + names[k])
        seen = np.repeat(valid, 5)
        p = slow.encoder(e.parts, np.stack(rows), seen)
        if e.fusion:
            f, p = both_ways(e.frame_part, f, p, seen)
        out["parts"] = np.stack([p[5 * t : 5 * t + 5].mean(axis=0) for t in range(frames)])
    if not out:
        return {"frames": f, "fused": f}
    gate = 1 / (1 + np.exp(-slow.affine(e.gate, np.concatenate([f, *out.values()], axis=1))))
    others = sum(out.values()) / len(out)
    return {"frames": f, **out, "gate": gate, "fused": gate * f + (1 - gate) * others}


@torch.no_grad()
@pytest.mark.parametrize(
    "options", [{}, {"fusion": False}, {"windows": False}, {"parts": False}], ids=["all", "unfused", "no-w", "no-p"]
)
def test_streams_equal_a_slow_reference(
    make: Callable[..., Network], contexts: Contexts, slow: SimpleNamespace, options: dict[str, bool]
) -> None:
    network: Any = make("htt", options=options)
    context = contexts(network, size=2, frames=15, last=7)  # the second row's first window is padding, its next in part
    got = network.encoder.streams(context)
    for b, valid in enumerate((np.ones(15, bool), np.arange(15) >= 8)):
        expected = slow_streams(network, context, b, valid, slow)
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(got[name][b][valid], value[valid], rtol=0, atol=1e-10, err_msg=name)
    assert torch.equal(network.encoder(context), got["fused"])


OPTIONS = [dict(zip(("windows", "parts", "fusion"), given, strict=True)) for given in product((True, False), repeat=3)]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(k for k, v in o.items() if v) or "none")
def test_what_is_left_out_has_no_weights(
    make: Callable[..., Network], batch: Callable[..., Any], options: dict[str, bool]
) -> None:
    network: Any = make("htt", options=options)
    names = {n.split(".")[1] for n, _ in network.named_parameters() if n.startswith("encoder.")}
    expected = {"frames"}
    if options["windows"]:
        expected |= {"embed_window", "windows", "gate", *(["frame_window"] if options["fusion"] else [])}
    if options["parts"]:
        expected |= {"embed_part", "part_names", "parts", "gate", *(["frame_part"] if options["fusion"] else [])}
    assert names == expected
    total, _ = network.loss(network.example(batch()), 0.0)
    total.backward()
    for name, p in network.named_parameters():
        assert p.grad is not None and bool(torch.isfinite(p.grad).all()) and bool((p.grad != 0).any()), name  # noqa: PT018
    b = batch()
    assert network.forecast(b.context, b.valid, b.observed, 4).shape == (3, 1, 4, 75)


def test_joints_of_the_reference_are_those_of_body_25() -> None:
    from lmm.skeletons import BODY_25

    assert tuple(JOINTS) == BODY_25.joints


def test_every_stream_reads_the_whole_context(make: Callable[..., Network], contexts: Contexts) -> None:
    """The memory's last row depends on every valid frame."""
    network: Any = make("htt")
    assert isinstance(network, Htt)
    context = contexts(network, size=1, frames=20)
    frames = context.frames.clone().requires_grad_()
    given = Context(frames, context.observed, context.mask, context.anchor, context.known, context.root, context.places)
    network.encoder(given)[0, -1].sum().backward()
    assert bool((frames.grad[0].abs().amax(dim=1) > 0).all())
