"""Token views: shapes, slots by name, and inverses that are exact to the bit."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm.core.errors import MotionError
from lmm.skeletons import BODY_25
from lmm.tokens import PARTS, WINDOW, from_parts, from_windows, pad_left, to_parts, to_windows, window_mask

torch = pytest.importorskip("torch")

BATCHES = st.sampled_from([(), (1,), (3,), (2, 3), (0,), (2, 0)])


def any_bits(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """float32 of random bits, so with NaNs of every payload, infinities, subnormals and -0."""
    bits = np.random.default_rng(seed).integers(0, 2**32, shape, dtype=np.uint32)
    bits[..., ::7] |= np.uint32(0x7F800001)
    bits[..., ::11] = 0x80000000
    return bits.view(np.float32)


def there_and_back(x: Any) -> list[Any]:
    frames = x.shape[-2]
    windows, parts = to_windows(x), to_parts(x)
    batch = tuple(x.shape[:-2])
    assert tuple(windows.shape) == (*batch, -(-frames // 5), 5, 75)
    assert tuple(parts.shape) == (*batch, frames, 5, 21)
    assert windows.dtype == parts.dtype == x.dtype
    return [from_windows(windows, frames), from_parts(parts)]


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 31), BATCHES, st.integers(0, 2**32 - 1))
def test_exact_to_the_bit(frames: int, batch: tuple[int, ...], seed: int) -> None:
    x = any_bits((*batch, frames, 75), seed)
    for back in there_and_back(x):
        assert isinstance(back, np.ndarray)
        assert back.shape == x.shape
        assert back.tobytes() == x.tobytes()
    t = torch.from_numpy(x.view(np.int32)).view(torch.float32)
    for back in there_and_back(t):
        assert back.shape == t.shape
        assert torch.equal(back.contiguous().view(torch.int32), t.view(torch.int32))
    assert np.array_equal(to_windows(t).view(torch.int32).numpy(), to_windows(x).view(np.int32))
    assert np.array_equal(to_parts(t).view(torch.int32).numpy(), to_parts(x).view(np.int32))


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int64, np.bool_, ">f4"])
def test_any_dtype_and_layout_of_memory(dtype: Any) -> None:
    x = np.arange(2 * 7 * 75).reshape(75, 7, 2).astype(dtype).T
    for back in there_and_back(x):
        assert back.dtype == x.dtype
        assert np.array_equal(back, x)


def test_gradient_and_device_are_kept() -> None:
    x = torch.randn(2, 7, 75, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 7, 75, dtype=torch.float64)
    for back in there_and_back(x):
        x.grad = None
        (back * weight).sum().backward()
        assert torch.equal(x.grad, weight)
    meta = torch.empty(2, 7, 75, device="meta", dtype=torch.bfloat16)
    assert all(b.device.type == "meta" and b.dtype == torch.bfloat16 for b in there_and_back(meta))
    assert to_parts(torch.nn.Parameter(torch.zeros(1, 75))).shape == (1, 5, 21)


def test_windows_by_hand() -> None:
    x = np.arange(1, 7 * 75 + 1, dtype=np.float32).reshape(7, 75)
    windows = to_windows(x)
    assert np.array_equal(windows[0], x[:5])
    assert np.array_equal(windows[1, :2], x[5:])
    assert not windows[1, 2:].any()
    assert window_mask(7).tolist() == [[True] * 5, [True, True, False, False, False]]
    assert window_mask(0).shape == (0, 5)
    assert window_mask(5).all()
    windows[:] = 0
    assert x.all()  # a copy


def test_parts_by_name() -> None:
    assert sorted(n for part in PARTS.values() for n in part) == sorted(BODY_25.joints)
    x = np.arange(1, 76, dtype=np.float32).reshape(1, 75)
    parts = to_parts(x)[0].reshape(5, 7, 3)
    for row, names in zip(parts, PARTS.values(), strict=True):
        for slot, name in enumerate(names):
            assert np.array_equal(row[slot], x.reshape(25, 3)[BODY_25.index[name]])
        assert not row[len(names) :].any()
    padded = to_parts(x)
    padded[..., 1, 9:] = np.nan  # the inverse drops the padding, whatever it became
    assert np.array_equal(from_parts(padded), x)


def test_pad_left_makes_whole_windows() -> None:
    assert [pad_left(n) for n in (0, 1, 4, 5, 6, 120)] == [0, 4, 1, 0, 4, 0]
    assert all((n + pad_left(n)) % WINDOW == 0 for n in range(30))


def test_wrong_shapes_are_refused() -> None:
    for function, shape in (
        (to_windows, (5, 74)),
        (to_windows, (75,)),
        (to_parts, (2, 5, 25, 3)),
        (to_parts, ()),
        (from_parts, (5, 5, 20)),
        (from_parts, (5, 105)),
    ):
        for x in (np.zeros(shape), torch.zeros(shape)):
            with pytest.raises(MotionError, match="must have shape"):
                function(x)  # type: ignore[operator]
    with pytest.raises(MotionError, match="must have shape"):
        from_windows(np.zeros((2, 4, 75)), 8)
    for frames in (5, 11, -1):
        with pytest.raises(MotionError, match="do not make"):
            from_windows(np.zeros((2, 5, 75)), frames)
    with pytest.raises(MotionError, match="NumPy array or a torch tensor"):
        to_windows([[0.0] * 75])
    with pytest.raises(MotionError, match="negative"):
        window_mask(-1)


def test_torch_is_not_imported() -> None:
    check = "import sys, lmm.tokens, lmm.pipeline.features, lmm.pipeline.cameras; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
