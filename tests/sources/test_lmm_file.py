"""The file that keeps everything does, bit for bit; and reading knows no format by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError, LmmError
from lmm.core.motion import make_motion
from lmm.core.registry import sources
from lmm.datasets.synthetic import gait
from lmm.sources.reading import unit_length


def test_everything_comes_back(tmp_path: Path) -> None:
    walk = gait(seconds=3.0, fps=30.0)
    future = lmm.forecast(walk, "constant-velocity", samples=3)
    path = tmp_path / "f.lmm.npz"
    assert future.save(path) == [path]
    back = lmm.read(path)
    for name in ("positions", "confidence", "flags", "samples"):
        np.testing.assert_array_equal(getattr(back, name), getattr(future, name))
    assert back.context is not None
    assert future.context is not None
    np.testing.assert_array_equal(back.context.positions, future.context.positions)
    assert (back.skeleton, back.fps, back.space, back.start_s) == (
        future.skeleton,
        future.fps,
        future.space,
        future.start_s,
    )
    assert back.meta["forecast"] == future.meta["forecast"]


def test_image_size_and_uneven_clock_come_back(tmp_path: Path) -> None:
    body = gait(1.0, 30.0).skeleton
    m = make_motion(np.ones((3, 25, 2)), 30, body, "image", size=(640, 480), times=[0, 0.1, 0.3])
    m.save(tmp_path / "m.lmm.npz")
    back = lmm.read(tmp_path / "m.lmm.npz")
    assert back.size == (640, 480)
    np.testing.assert_array_equal(back.clock, m.clock)


def test_unknown_names_suggest_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    with pytest.raises(InputError, match="Did you mean 'openpose'"):
        lmm.read(path, format="openpos")
    with pytest.raises(LmmError, match="Did you mean 'zero-velocity'"):
        lmm.forecast(gait(2.0, 30.0), "zero-velocty")
    with pytest.raises(InputError, match=r"\.lmm\.npz"):
        gait(1.0, 30.0).save(tmp_path / "a.xyz")


def test_every_source_says_what_it_is() -> None:
    for name in sources:
        s = sources.get(name)
        assert s.title
        assert s.name == name


@pytest.mark.parametrize(
    ("text", "metres"), [("mm", 0.001), ("cm", 0.01), ("in", 0.0254), ("10.4mm", 0.0104), (None, None)]
)
def test_units(text: str | None, metres: float | None) -> None:
    assert unit_length(text) == pytest.approx(metres)


@pytest.mark.parametrize("text", ["feet", "-1mm", "0mm", "1e9m", "mm mm", ""])
def test_units_that_are_none(text: str) -> None:
    with pytest.raises(LmmError, match="--units"):
        unit_length(text)


def test_a_list_beside_the_file_settles_what_it_does_not_say(tmp_path: Path) -> None:
    from lmm.datasets.synthetic import standing

    standing(0.5, 30.0).save(tmp_path / "a.csv")
    with pytest.raises(InputError, match="--"):
        lmm.read(tmp_path / "a.csv")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "a.csv", "fps": 50, "units": "m", "up": "y", "subject": "s1", "captions": ["stands"]}\n'
    )
    m = lmm.read(tmp_path / "a.csv")
    assert m.fps == 50
    assert m.meta["subject"] == "s1"
    assert lmm.read(tmp_path / "a.csv", source_fps=25).fps == 25
