"""Recipes: motions of clips and files, and recipes that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasets.test_pairs import clip, write_store
from lmm.core.errors import InputError, LmmError
from lmm.datasets.recipes import Motions, checked
from lmm.datasets.synthetic import gait, repetitions
from lmm.datasets.windows import mirror
from lmm.skeletons import BODY_25


@pytest.fixture
def motions(tmp_path: Path) -> Motions:
    return Motions([write_store(tmp_path / "s", [clip(gait(seconds=5), "a"), clip(repetitions(1), "b")])])


def test_a_clip_is_itself(motions):
    assert np.array_equal(motions.motion({"pieces": [{"id": "a"}]}).positions, motions.clip("a").positions)


def test_cut_mirrored_and_hidden(motions):
    whole = motions.clip("a")
    piece = {"id": "a", "start_s": 1, "end_s": 2.5}
    made = motions.motion({"pieces": [piece], "mirror": True, "without": ["left leg"]})
    image = mirror(whole.crop(30, 75))
    hidden = [BODY_25.index[j] for j in ("LHip", "LKnee", "LAnkle", "LBigToe", "LSmallToe", "LHeel")]
    seen = [j for j in range(25) if j not in hidden]
    assert np.array_equal(made.positions[:, seen], image.positions[:, seen], equal_nan=True)
    assert np.isnan(made.positions[:, hidden]).all()
    assert not made.observed[:, hidden].any()


def test_joined_at_speeds(motions):
    pieces = [{"id": "b", "speed": 0.8}, {"id": "b", "speed": 1.25, "pause_s": 1.0}]
    made = motions.motion({"pieces": pieces})
    assert made.num_frames == round(120 / 0.8) + 30 + round(120 / 1.25)
    assert motions.motion({"pieces": pieces}) is made


def test_a_file(tmp_path, motions):
    gait(seconds=3).save(tmp_path / "walk.lmm.npz")
    made = motions.motion({"path": str(tmp_path / "walk.lmm.npz"), "start_s": 1, "mirror": True})
    assert made.num_frames == 60
    assert "cleaning" in made.meta
    with pytest.raises(InputError, match=r"none\.bvh"):
        motions.motion({"path": str(tmp_path / "none.bvh")})


def test_unknown_clips_and_empty_cuts(motions):
    with pytest.raises(LmmError, match="no store given here has the clip 'c'"):
        motions.motion({"pieces": [{"id": "c"}]})
    with pytest.raises(LmmError, match="7 to None s of a motion of 5"):
        motions.motion({"pieces": [{"id": "a", "start_s": 7}]})


def test_two_stores_with_one_id(tmp_path):
    stores = [write_store(tmp_path / n, [clip(gait(seconds=1), "a")]) for n in "st"]
    with pytest.raises(LmmError, match="two of the stores"):
        list(Motions(stores).clips())


@pytest.mark.parametrize(
    "recipe",
    [
        None, [], {}, {"pieces": []}, {"pieces": {}}, {"pieces": [{}]}, {"pieces": [{"id": 3}]}, {"pieces": ["a"]},
        {"pieces": [{"id": "a"}], "path": "b"}, {"pieces": [{"id": "a", "speed": 0}]}, {"path": ""}, {"path": 3},
        {"pieces": [{"id": "a", "speed": True}]}, {"pieces": [{"id": "a", "pause_s": float("nan")}]},
        {"pieces": [{"id": "a", "start_s": -1}]}, {"pieces": [{"id": "a"}], "mirror": 1}, {"path": "a", "fast": 1},
        {"pieces": [{"id": "a"}], "without": ["tail"]}, {"pieces": [{"id": "a"}] * 101}, {"path": "a", "end_s": "x"},
        {"pieces": [{"id": "a"}], "without": "left leg"}, {"pieces": [{"id": "a"}], "start_s": 1},
    ],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(recipe: Any):
    with pytest.raises(LmmError):
        checked(recipe)
