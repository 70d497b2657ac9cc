"""Bare arrays: what they do not say is asked for by name, and nothing in them is run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError, LmmError


@pytest.fixture
def smpl(tmp_path: Path) -> Path:
    path = tmp_path / "walk.npy"
    np.save(path, np.random.default_rng(1).normal(0, 100, (30, 22, 3)))
    return path


def test_what_is_unknown_is_named(smpl: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--source-fps"):
        lmm.read(smpl)
    with pytest.raises(InputError, match="--units"):
        lmm.read(smpl, source_fps=20)
    with pytest.raises(InputError, match="--up"):
        lmm.read(smpl, source_fps=20, units="cm")
    motion = lmm.read(smpl, source_fps=20, units="cm", up="z")
    x, y, z = np.moveaxis(np.load(smpl), -1, 0) / 100
    np.testing.assert_allclose(motion.positions, np.stack([x, z, -y], axis=-1), rtol=1e-6)
    assert (motion.skeleton.table, motion.meta["format"]) == ("smpl_22", "arrays")
    np.save(tmp_path / "b.npy", np.ones((5, 17, 3)))
    with pytest.raises(InputError, match="arrays-h36m17 or arrays-coco17"):
        lmm.read(tmp_path / "b.npy", source_fps=20)
    with pytest.raises(InputError, match="which is not smpl22"):
        lmm.read(tmp_path / "b.npy", source_fps=20, format="arrays-smpl22")


def test_pixels_and_scores(tmp_path: Path) -> None:
    values = np.random.default_rng(1).uniform(20, 400, (10, 17, 3))
    values[..., 2] = np.random.default_rng(2).uniform(0.1, 1, (10, 17))
    values[3, 4] = 0
    np.save(tmp_path / "a.npy", values)
    motion = lmm.read(tmp_path / "a.npy", format="arrays-coco17", source_fps=25)
    assert (motion.space, motion.num_dims) == ("image", 2)
    np.testing.assert_array_equal(motion.confidence, values[..., 2].astype(np.float32))
    assert np.isnan(motion.positions[3, 4]).all()
    np.save(tmp_path / "b.npy", values[..., :2])
    flat = lmm.read(tmp_path / "b.npy", format="arrays-h36m17", source_fps=25)
    assert (flat.space, flat.skeleton.table) == ("image", "h36m_17")
    np.testing.assert_array_equal(flat.positions, motion.positions)


def test_the_root_may_be_the_origin(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(0, 1, (10, 17, 3))
    values[:, 0] = 0
    values[4, 5] = 0
    values[7] = 0
    np.save(tmp_path / "a.npy", values)
    motion = lmm.read(tmp_path / "a.npy", format="arrays-h36m17", source_fps=50, units="m", up="y")
    assert motion.observed[:, 0].sum() == 9
    assert not motion.observed[4, 5]
    assert not motion.observed[7].any()


def test_npz_holds_clips(tmp_path: Path) -> None:
    clips = {"b": np.ones((5, 22, 3)), "a": np.full((7, 22, 3), 2.0), "fps": np.array(20.0)}
    np.savez(tmp_path / "x.npz", **clips)  # type: ignore[arg-type]
    motions = lmm.read_people(tmp_path / "x.npz", source_fps=20, units="m", up="y")
    assert [(m.meta["item"], m.num_frames) for m in motions] == [("a", 7), ("b", 5)]
    np.savez_compressed(tmp_path / "y.npz", joints=clips["b"])
    assert lmm.read(tmp_path / "y.npz", source_fps=20, units="m", up="y").num_frames == 5
    (tmp_path / "skeleton.json").write_text("{}")
    with pytest.raises(LmmError, match="no format"):
        lmm.read(tmp_path / "y.npz", source_fps=20, units="m", up="y")


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('a pickle was opened')",))


def test_never_unpickles(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([Trap()] * 4, dtype=object), allow_pickle=True)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(np.ones((5, 22, 3))))
    for name in ("a.npy", "b.npy"):
        for format in (None, "arrays-smpl22"):
            with pytest.raises(LmmError):
                lmm.read(tmp_path / name, format=format, source_fps=20, units="m", up="y")


def test_a_header_that_promises_too_much(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((5, 22, 3)))
    data = (
        (tmp_path / "a.npy").read_bytes().replace(b"(5, 22, 3)", b"(1999999, 22, 3)"[:16]).replace(b"   \n", b"\n", 1)
    )
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(LmmError):
        lmm.read(tmp_path / "a.npy", source_fps=20, units="m", up="y")


def test_damage(smpl: Path, tmp_path: Path, survives_damage: Callable[..., None]) -> None:
    options = {"source_fps": 20, "units": "m", "up": "y"}
    survives_damage(smpl, **options)
    survives_damage(smpl, **options, format="arrays-smpl22")
    np.savez_compressed(tmp_path / "x.npz", joints=np.load(smpl))
    survives_damage(tmp_path / "x.npz", **options, format="arrays-smpl22")
