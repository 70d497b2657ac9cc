"""What all architectures promise: sizes, masks, padding, shapes, joints that were never trained, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm.core.errors import InputError, MotionError
from lmm.core.registry import architectures
from lmm.models.network import Network
from lmm.pipeline.features import MIDHIP, NUM_JOINTS, FeatureSpec
from lmm.skeletons import BODY_25
from lmm.tokens import PARTS

Make = Callable[..., Network]
Batches = Callable[..., Any]
EYE, EAR, NOSE, NECK = (BODY_25.index[j] for j in ("REye", "REar", "Nose", "Neck"))
WRIST = 4  # never seen in the batches of conftest


def ask(network: Network, b: Any, frames: int = 8, samples: int = 1) -> np.ndarray:
    out = network.forecast(b.context, b.valid, b.observed, frames, samples, np.random.default_rng(0))
    assert isinstance(out, np.ndarray)
    return out


@pytest.mark.parametrize(("name", "millions"), [("flat", 11.1), ("htt", 18.8), ("diffusion", 11.4)])
def test_base_has_the_references_parameters(name: str, millions: float) -> None:
    network = architectures.get(name).of_size("base", FeatureSpec(layout="xyc"))
    assert network.info.parameters == pytest.approx(millions * 1e6, rel=0.01)


@pytest.mark.parametrize("name", ["flat", "direct", "htt", "diffusion"])
def test_small_has_two_to_three_millions(name: str) -> None:
    assert 2e6 < architectures.get(name).of_size("small", FeatureSpec(layout="xyz")).info.parameters < 3e6


def test_unknown_size() -> None:
    with pytest.raises(MotionError, match="flat has no size 'huge'; it has tiny, small, base"):
        architectures.get("flat").of_size("huge", FeatureSpec(layout="xyc"))


@pytest.mark.parametrize("garbage", [1e6, np.nan])
def test_what_is_not_seen_changes_nothing(architecture: str, make: Make, batch: Batches, garbage: float) -> None:
    network, b = make(architecture), batch(last=13)
    before = ask(network, b)
    unseen = ~(b.observed & b.valid[..., None])
    b.context.reshape(3, 20, 25, 3)[unseen] = garbage
    b.observed[~b.valid] = True
    np.testing.assert_array_equal(ask(network, b), before)


@pytest.mark.parametrize("frames", [20, 13, 6, 1])
def test_padding_changes_nothing(architecture: str, make: Make, batch: Batches, frames: int) -> None:
    """A context alone equals the same context in a batch, after frames of padding that hold garbage."""
    network, b = make(architecture), batch(size=1, frames=frames)
    alone = ask(network, b)
    rng = np.random.default_rng(1)
    for more in (-frames % 5, -frames % 5 + 5, -frames % 5 + 20):
        if more + frames > network.context_frames:
            continue
        wide = np.concatenate([rng.normal(size=(1, more, 75)), b.context], axis=1)
        valid = np.concatenate([np.zeros((1, more), bool), b.valid], axis=1)
        observed = np.concatenate([np.ones((1, more, 25), bool), b.observed], axis=1)
        out = network.forecast(wide, valid, observed, 8, 1, np.random.default_rng(0))
        np.testing.assert_allclose(out, alone, rtol=0, atol=1e-10)


def test_only_the_last_frames_are_read(architecture: str, make: Make, batch: Batches) -> None:
    network, b = make(architecture, context_frames=15), batch()
    before = ask(network, b)
    b.context[:, :5] += 100
    np.testing.assert_array_equal(ask(network, b), before)


def test_shapes_kinds_and_samples(architecture: str, make: Make, batch: Batches) -> None:
    network, b = make(architecture), batch()
    out = ask(network, b, 5, 3)
    assert out.shape == (3, 3, 5, 75)
    assert np.isfinite(out).all()
    assert np.array_equal(out[:, 0], out[:, 1]) == (architecture != "diffusion")
    tensors = [torch.from_numpy(x) for x in (b.context, b.valid, b.observed)]
    same = network.forecast(*tensors, 5, 3, np.random.default_rng(0))
    assert isinstance(same, torch.Tensor)
    assert np.array_equal(same.numpy(), out)
    out[0, 0] = 7  # each sample is memory of its own
    assert not (out[0, 1] == 7).any()
    single = network.float()
    assert ask(single, b).dtype == np.float32
    assert np.isfinite(ask(network.bfloat16(), b)).all()
    assert network.info.name == f"{architecture}-tiny-xyc"


def test_unknown_joints_stay_zero_and_known_ones_start_at_the_anchor(
    architecture: str, make: Make, batch: Batches
) -> None:
    network, b = make(architecture), batch()
    out = ask(network, b).reshape(3, 8, 25, 3)
    assert (out[:, :, WRIST] == 0).all()
    context = network.context(*(torch.from_numpy(x) for x in (b.context, b.valid, b.observed)))
    joints, seen = b.context.reshape(3, 20, 25, 3), b.observed & b.valid[..., None]
    for row in range(3):
        for joint in range(NUM_JOINTS):
            frames = np.flatnonzero(seen[row, :, joint])
            expected = joints[row, frames[-1], joint] if len(frames) else np.zeros(3)
            np.testing.assert_array_equal(context.anchor[row, 3 * joint : 3 * joint + 3], expected)
            assert bool((context.known[row, 3 * joint : 3 * joint + 3] == float(len(frames) > 0)).all())


def test_horizons_beyond_the_block(architecture: str, make: Make, batch: Batches) -> None:
    network, b = make(architecture), batch()
    for frames in (0, 9):
        with pytest.raises(MotionError, match=f"forecasts 1 to 8 frames at once, {frames} asked"):
            ask(network, b, frames)


def test_every_parameter_learns(architecture: str, make: Make, batch: Batches) -> None:
    network = make(architecture).train()
    total, count = network.loss(network.example(batch(last=12)), 0.5)
    (total / count).backward()
    for name, p in network.named_parameters():
        assert p.grad is not None, name
        assert bool(torch.isfinite(p.grad).all()), name
        assert bool((p.grad != 0).any()), name


def test_what_does_not_count_teaches_nothing(architecture: str, make: Make, batch: Batches) -> None:
    network, b = make(architecture), batch()
    losses = []
    for extra in (0.0, 100.0):
        b.target[~b.recorded.repeat(3, axis=2)] += extra
        torch.manual_seed(0)
        losses.append([float(x) for x in (y.detach() for y in network.loss(network.example(b), 0.0))])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("architecture", ["flat", "htt", "direct", "dct-mlp", "linear"])
def test_the_loss_is_a_sum_over_the_batch(architecture: str, make: Make, batch: Batches) -> None:
    """Parts of a batch on several processes add up to the whole; diffusion draws noise, other in every process."""
    network, b = make(architecture), batch(last=12)
    whole, count = network.loss(network.example(b), 0.0)
    parts = [network.loss(network.example(type(b)(*(x[i : i + 1] for x in vars(b).values()))), 0.0) for i in range(3)]
    assert float(sum(p[0] for p in parts).detach()) == pytest.approx(float(whole.detach()), rel=1e-10)
    assert int(sum(p[1] for p in parts)) == int(count)


# joints that the training data lacked


def lacking(*joints: int) -> tuple[bool, ...]:
    return tuple(j not in joints for j in range(NUM_JOINTS))


def test_untrained_joints_have_no_influence(architecture: str, make: Make, batch: Batches) -> None:
    network, b = make(architecture, joints=lacking(EYE, EAR)), batch()
    before = ask(network, b).reshape(3, 8, 25, 3)
    for joint in (EYE, EAR):
        b.context[:, :, 3 * joint : 3 * joint + 3] = 50
        b.observed[:, :, joint] = ~b.observed[:, :, joint]
        b.target[:, :, 3 * joint : 3 * joint + 3] = 50
    others = np.delete(np.arange(25), [EYE, EAR])
    np.testing.assert_array_equal(ask(network, b).reshape(3, 8, 25, 3)[:, :, others], before[:, :, others])
    assert not network.example(b).counts[..., [3 * EYE, 3 * EAR]].any()


def test_untrained_joints_go_along(architecture: str, make: Make, batch: Batches) -> None:
    """The eye and the ear keep their last place about the nose, in body lengths; confidences are held."""
    rng = np.random.default_rng(5)
    spec = FeatureSpec(layout="xyc", mean=tuple(rng.normal(size=75)), std=tuple(rng.uniform(0.2, 3, 75)))
    network, b = make(architecture, joints=lacking(EYE, EAR), spec=spec), batch(last=12)
    b.observed[0, 17:, EYE] = False
    b.observed[0, 16, [EYE, NOSE]] = True
    b.observed[1:, -1, [EYE, EAR, NOSE]] = True
    out = ask(network, b)[:, 0] * np.array(spec.std) + np.array(spec.mean)
    out, past = out.reshape(3, 8, 25, 3), (b.context * np.array(spec.std) + np.array(spec.mean)).reshape(3, 20, 25, 3)
    for row, joint, last in ((0, EYE, 16), (1, EYE, 19), (2, EYE, 19), (1, EAR, 19), (2, EAR, 19)):
        offset = past[row, last, joint, :2] - past[row, last, NOSE, :2]
        np.testing.assert_allclose(
            out[row, :, joint, :2] - out[row, :, NOSE, :2], np.broadcast_to(offset, (8, 2)), atol=1e-9
        )
        np.testing.assert_allclose(out[row, :, joint, 2], past[row, last, joint, 2], atol=1e-12)
    assert np.ptp(out[:, :, NOSE], axis=1).min() > 1e-6


def test_untrained_joints_of_the_root_stay_about_it(make: Make, batch: Batches) -> None:
    """The mid-hip's slot holds the path, not a place: what hangs from it keeps its place relative to it."""
    hip = BODY_25.index["RHip"]
    network, b = make("direct", joints=lacking(hip)), batch()
    b.observed[:, -1, hip] = True
    out = ask(network, b).reshape(3, 8, 25, 3)
    expected = b.context.reshape(3, 20, 25, 3)[:, -1:, hip]
    np.testing.assert_array_equal(out[:, :, hip], np.broadcast_to(expected, (3, 8, 3)))


def test_untrained_joints_that_the_context_lacks_stay_zero(make: Make, batch: Batches) -> None:
    network, b = make("direct", joints=lacking(EYE)), batch()
    b.observed[:, :, EYE] = False
    b.observed[:, 0, NOSE] = True
    b.context.reshape(3, 20, 25, 3)[:, :, EYE] = np.nan
    out = ask(network, b).reshape(3, 8, 25, 3)
    np.testing.assert_array_equal(out[:, :, EYE], 0)


def test_the_neck_may_be_the_centre(architecture: str, make: Make, batch: Batches) -> None:
    """Without a mid-hip the neck's slot holds the path: the nose, which hangs from it, is not moved by it."""
    network, b = make(architecture, joints=lacking(NOSE)), batch()
    b.observed[:, :, MIDHIP] = False
    b.observed[:, -1, [NECK, NOSE]] = True
    out = ask(network, b).reshape(3, 8, 25, 3)
    last = b.context.reshape(3, 20, 25, 3)[:, -1:, NOSE]
    np.testing.assert_array_equal(out[:, :, NOSE], np.broadcast_to(last, (3, 8, 3)))


def test_parents_of_parts_are_on_the_body() -> None:
    assert {j for part in PARTS.values() for j in part} == set(BODY_25.joints)


# files


def test_saved_and_read_again_it_is_the_same(architecture: str, make: Make, batch: Batches, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    spec = FeatureSpec(layout="xyc", mean=tuple(rng.normal(size=75)), std=tuple(rng.uniform(0.2, 3, 75)))
    network = make(architecture, spec=spec, joints=lacking(EYE), licence="CC-BY-NC-4.0", trained_on="x").float()
    if architecture == "diffusion":
        network.prior.spread.copy_(torch.rand(8, 75))
    network.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    read = type(network).from_pretrained(str(tmp_path))
    assert read.config == network.config.model_copy(update={"parameters": network.info.parameters})
    assert read.info == network.info
    assert read.info.name == f"{architecture}-tiny-xyc-nc"
    assert not read.training
    state, same = network.state_dict(), read.state_dict()
    assert state.keys() == same.keys()
    assert all(torch.equal(state[k], same[k]) for k in state)
    assert np.array_equal(ask(read, batch(), 8, 2), ask(network, batch(), 8, 2))
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    read.save_pretrained(tmp_path / "again")
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == first


def test_large_weights_are_cut_into_pieces(tmp_path: Path) -> None:
    network = architectures.get("flat").of_size("base", FeatureSpec(layout="xyc"))
    network.save_pretrained(tmp_path)
    pieces = list(tmp_path.glob("*.safetensors"))
    assert len(pieces) > 1
    assert max(p.stat().st_size for p in pieces) < 16 << 20
    read = architectures.get("flat").from_pretrained(str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), read.parameters(), strict=True))
    pieces[0].unlink()
    with pytest.raises(InputError, match="holds no weights that fit"):
        architectures.get("flat").from_pretrained(str(tmp_path))


def damages() -> dict[str, Callable[[Path], object]]:
    def edited(**changes: Any) -> Callable[[Path], object]:
        def edit(folder: Path) -> object:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            return (folder / "config.json").write_text(json.dumps({**config, **changes}), "utf-8")

        return edit

    def cut(name: str, keep: float) -> Callable[[Path], object]:
        def cut(folder: Path) -> object:
            data = (folder / name).read_bytes()
            return (folder / name).write_bytes(data[: int(len(data) * keep)])

        return cut

    return {
        "no config": lambda d: (d / "config.json").unlink(),
        "no weights": lambda d: (d / "model.safetensors").unlink(),
        "half a config": cut("config.json", 0.5),
        "an empty config": cut("config.json", 0.0),
        "a list": lambda d: (d / "config.json").write_text("[1, 2]", "utf-8"),
        "no text": lambda d: (d / "config.json").write_bytes(b"\xff\xfe\x00{"),
        "half the weights": cut("model.safetensors", 0.5),
        "empty weights": cut("model.safetensors", 0.0),
        "other weights": edited(width=64),
        "heads that do not divide": edited(heads=7),
        "a pickle": lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"),
        "an unknown key": edited(colour="red"),
        "too wide": edited(width=1 << 20),
        "not a number": edited(dropout="much"),
        "another architecture": edited(architecture="htt"),
    }


@pytest.mark.parametrize("damage", damages())
def test_damaged_folders_are_told_in_one_line(make: Make, tmp_path: Path, damage: str) -> None:
    network = make("flat")
    network.save_pretrained(tmp_path)
    damages()[damage](tmp_path)
    with pytest.raises(InputError) as told:
        type(network).from_pretrained(str(tmp_path))
    message = str(told.value)
    assert message.startswith(str(tmp_path))
    assert "\n" not in message
    assert len(message) < len(str(tmp_path)) * 3 + 400
