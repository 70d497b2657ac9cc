"""Linear regression equals scipy's, forgets what does not count, and leaves nothing of a linear movement."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from lmm.models.linear import INPUTS, RIDGE, STRIDE, at_end, expected, horizon_regression, regress, regressed, rows
from lmm.models.network import Context, Example, Network
from lmm.pipeline.features import MIDHIP, NECK

Contexts = Callable[..., Context]


def test_regressors_equal_a_slow_reference(
    make: Callable[..., Network], contexts: Contexts, slow: SimpleNamespace
) -> None:
    context = contexts(make("linear"), last=7)
    got = at_end(context, 15.0).numpy()
    assert got.shape == (3, INPUTS)
    for b in range(3):
        np.testing.assert_allclose(got[b], slow.regressors(context, b, context.anchor[b].numpy()), atol=1e-12)


def test_regression_is_ridge_regression_over_what_counts() -> None:
    """As scipy's least squares find it, of the same problem with rows for the penalty."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(400, INPUTS)), rng.normal(size=(400, 2, 75))
    counts = np.repeat(rng.random((400, 2, 25)) < 0.8, 3, axis=-1)
    counts[:, :, 12:15] = False
    got, errors = (x.numpy() for x in regress(*(torch.from_numpy(x) for x in (inputs, targets, counts))))
    for frame, k in ((0, 0), (1, 40), (1, 74)):
        told = counts[:, frame, k]
        rows = np.concatenate([inputs[told] / np.sqrt(told.sum()), np.sqrt(RIDGE) * np.eye(INPUTS)])
        wanted = np.concatenate([targets[told, frame, k] / np.sqrt(told.sum()), np.zeros(INPUTS)])
        np.testing.assert_allclose(got[frame, :, k], scipy.linalg.lstsq(rows, wanted)[0], atol=1e-9)
    assert not got[:, :, 12:15].any()
    assert not errors[~counts].any()
    for row in np.flatnonzero(counts[:, 1, 40])[:5]:  # left out, with the penalty that all together have
        told = counts[:, 1, 40].copy()
        penalty = RIDGE * told.sum()
        told[row] = False
        rows = np.concatenate([inputs[told], np.sqrt(penalty) * np.eye(INPUTS)])
        found = scipy.linalg.lstsq(rows, np.concatenate([targets[told, 1, 40], np.zeros(INPUTS)]))[0]
        assert errors[row, 1, 40] == pytest.approx(targets[row, 1, 40] - inputs[row] @ found)


@torch.no_grad()
@pytest.mark.parametrize("name", ["linear", "direct", "flat", "htt"])
def test_a_linear_movement_is_forecast_by_regression_alone(make: Callable[..., Any], name: str) -> None:
    """Poses swing back to their rest: of a network whose own part is 0, little is left unexplained."""
    network = make(name, context_frames=20)
    for p in network.parameters():
        p.zero_()
    frames, size = 28, 3000
    rng = torch.Generator().manual_seed(0)
    x = [torch.randn(size, 75, generator=rng, dtype=torch.float64) for _ in range(2)]
    for _ in range(frames - 2):
        x.append(x[-1] + 0.9 * (x[-1] - x[-2]) - 0.05 * x[-1])
    everything = torch.stack(x, dim=1)
    context = network.context(
        everything[:, :20], torch.ones(size, 20, dtype=torch.bool), torch.ones(size, 20, 25, dtype=torch.bool)
    )
    there = everything[:, 20:]
    network.fit([Example(context, there, None, torch.ones_like(there, dtype=torch.bool))])

    def error(future: Tensor) -> float:
        return float((future - there).square().mean())

    got = network.generate(context, 8, 1, torch.Generator())[:, 0]
    assert error(got) < 0.01 * error(context.anchor[:, None].expand_as(there))


@pytest.mark.parametrize("name", ["direct", "flat", "diffusion"])
def test_option_turns_regression_off(make: Callable[..., Any], batch: Callable[..., Any], name: str) -> None:
    network, other = make(name), make(name, options={"regression": False})
    for n in (network, other):
        for key, buffer in n.named_buffers():
            if key.endswith("regression"):
                buffer.zero_()
        n.fit([n.example(batch())])
    found, left = (dict(n.named_buffers()) for n in (network, other))
    for key in [k for k in found if k.endswith("regression")]:
        assert found[key].any()
        assert not left[key].any()


@torch.no_grad()
def test_a_neck_that_holds_the_path_is_left_alone(make: Callable[..., Any], batch: Callable[..., Any]) -> None:
    """Its slot holds two kinds of things, places and displacements: regressions are of places only."""
    b = batch(size=6)
    b.observed[:3, :, MIDHIP] = False
    b.observed[:, -1, NECK] = True
    network = make("linear")
    example = network.example(b)
    placed = regressed(example.context)
    neck = slice(3 * NECK, 3 * NECK + 3)
    assert not placed[:3, neck].any()
    assert placed[3:].all()
    assert int((~placed).sum()) == 9
    change = expected(network.weight, example.context, 15.0)
    assert not change[:3, :, neck].any()
    assert change[3:, :, neck].all()
    network.fit([example])
    only = dataclasses.replace(b, **{f.name: getattr(b, f.name)[3:] for f in dataclasses.fields(b)})
    other = make("linear")
    other.fit([other.example(only)])
    torch.testing.assert_close(network.weight[..., neck], other.weight[..., neck])


def test_rows_go_on_from_frames_of_the_horizon(make: Callable[..., Any], batch: Callable[..., Any]) -> None:
    """They are what a context that ended there would give, but for the mean pose, where the frames before count."""
    network, b = make("linear"), batch()
    example = network.example(b)
    example = dataclasses.replace(example, counts=torch.ones_like(example.counts))
    change = example.target - example.context.anchor[:, None]
    inputs, steps, counts = rows([(example, change)], 15.0)
    assert inputs.shape == (6, INPUTS)
    torch.testing.assert_close(steps[:3].cumsum(1), change)
    torch.testing.assert_close(inputs[:3], at_end(example.context, 15.0))
    pose, before = example.target[:, STRIDE - 1], example.target[:, STRIDE - 2]
    torch.testing.assert_close(inputs[3:, :75], pose)
    torch.testing.assert_close(inputs[3:, 75:150], 15 * (pose - before))
    torch.testing.assert_close(steps[3:, : 8 - STRIDE].cumsum(1), example.target[:, STRIDE:] - pose[:, None])
    assert counts[3:, : 8 - STRIDE].all()
    assert not counts[3:, 8 - STRIDE :].any()
    gap = dataclasses.replace(example, counts=example.counts.clone())
    gap.counts[0, STRIDE - 2, :3] = False
    missing = rows([(gap, change)], 15.0)[2]
    assert not missing[3, :, :3].any()
    assert missing[3, : 8 - STRIDE, 3:].all()
    assert (~missing[0, :, 0]).nonzero()[:, 0].tolist() == [STRIDE - 2, STRIDE - 1]  # the steps to it and from it


def test_changes_are_regressed_as_the_sum_of_their_steps(make: Callable[..., Any], batch: Callable[..., Any]) -> None:
    """Where the same windows tell every frame, that is the regression of the changes; else it does not leap."""
    network = make("linear")
    examples = [network.example(batch(seed=s)) for s in range(4)]
    examples = [dataclasses.replace(e, counts=torch.ones_like(e.counts)) for e in examples]
    given = [(e, e.target - e.context.anchor[:, None]) for e in examples]
    short = [(dataclasses.replace(e, counts=e.counts[:, :STRIDE]), change[:, :STRIDE]) for e, change in given]
    weight, errors, told = horizon_regression(short, 15.0)
    at = torch.cat([at_end(e.context, 15.0) for e in examples])
    wanted = regress(at, torch.cat([change for _, change in short]), told)
    assert told.all()
    torch.testing.assert_close(weight, wanted[0])
    torch.testing.assert_close(errors, wanted[1], rtol=0, atol=1e-5)

    for i, (e, change) in enumerate(given):  # half of the windows lie elsewhere from the first frame on, and end early
        change[:] = 100.0 * (i % 2)
        e.counts[:, 4:] = i % 2 == 0
    assert not horizon_regression(given, 15.0)[0].diff(dim=0).any()


def test_errors_count_up_to_the_first_gap(make: Callable[..., Any], batch: Callable[..., Any]) -> None:
    network = make("linear")
    example = network.example(batch())
    counts = torch.ones_like(example.counts)
    counts[1, 4, 9:12] = False
    example = dataclasses.replace(example, counts=counts)
    change = example.target - example.context.anchor[:, None]
    _, errors, told = horizon_regression([(example, change)], 15.0)
    assert told[1, :, 9].tolist() == [True] * 4 + [False] * 4
    assert told[0].all()
    assert not errors[~told].any()
