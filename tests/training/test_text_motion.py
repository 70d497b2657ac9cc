"""The evaluator's pairs and their mirror images, and a run of it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.core.errors import LmmError, MotionError
from lmm.datasets.ingest import ingest
from lmm.datasets.pairs import Pair
from lmm.datasets.sentences import mirrored
from lmm.datasets.synthetic import gait, repetitions
from lmm.models.text_motion import TextMotion
from lmm.pipeline.codec_features import encode, mirror
from lmm.training.loop import train
from lmm.training.text_motion import Drawer, TextMotionRunConfig, Told, told


def pair(text: str, origin: str = "measured", clip: str = "a", **label: str) -> Pair:
    return Pair(repetitions(1), text, origin, clip, "s", "train", "CC0", label)


def test_labels_are_told_alike_by_different_sentences_and_features_are_made_once() -> None:
    a, b, c = told([
        pair("raises the right hand", "label", content="raise", side="right"),
        pair("lifts the right arm", "label", content="raise", side="right"),
        pair("raises the right hand", "measured", side="right"),
    ])  # fmt: skip
    assert a.key == b.key != c.key
    assert a.features is b.features is c.features
    np.testing.assert_array_equal(a.features, encode(repetitions(1))[0])
    other = a.mirrored()
    assert other is not None
    assert (other.text, other.key) == ("raises the left hand", a.key.replace("right", "left"))
    np.testing.assert_array_equal(other.features, mirror(a.features))


def test_a_motion_that_cannot_be_encoded_is_left_out_with_all_that_is_said_of_it() -> None:
    still = repetitions(1)
    hidden = replace(pair("waves", clip="b"), motion=still.replace(positions=np.full_like(still.positions, np.nan)))
    with pytest.raises(MotionError):
        encode(hidden.motion)
    assert [t.text for t in told([hidden, pair("bows"), replace(hidden, text="jumps")])] == ["bows"]


def features_of(drawn: Sequence[np.ndarray], own: np.ndarray) -> list[str]:
    images = {"own": own, "mirrored": mirror(own)}
    return [next(name for name, image in images.items() if np.array_equal(x, image)) for x in drawn]


def test_a_pair_with_a_side_comes_with_its_mirror_image() -> None:
    x = np.random.default_rng(0).normal(size=(20, 49)).astype(np.float32)
    drawer = Drawer([Told(x, "raises the left hand", "k left")], [1.0])
    batch = drawer.draw(np.random.default_rng(1), 6, cut=0.0)
    assert list(batch.texts) == ["raises the left hand", "raises the right hand"] * 3
    assert list(batch.keys) == ["k left", "k right"] * 3
    assert features_of(batch.features, x) == ["own", "mirrored"] * 3


def test_without_a_side_either_image_may_come_and_unsafe_texts_stay_as_they_are() -> None:
    x = np.random.default_rng(0).normal(size=(20, 49)).astype(np.float32)
    bows = Drawer([Told(x, "bows", "bow")], [1.0]).draw(np.random.default_rng(1), 40, cut=0.0)
    assert set(bows.texts) == {"bows"}
    assert set(features_of(bows.features, x)) == {"own", "mirrored"}
    assert mirrored("there is nothing left") is None
    odd = Drawer([Told(x, "there is nothing left", "odd")], [1.0]).draw(np.random.default_rng(1), 8, cut=0.0)
    assert set(features_of(odd.features, x)) == {"own"}


def test_weights_say_how_often_and_ends_are_cut() -> None:
    x = np.zeros((100, 49), np.float32)
    drawn = Drawer([Told(x, "bows", "b"), Told(x, "sits", "s")], [3.0, 1.0]).draw(np.random.default_rng(0), 2000)
    assert drawn.texts.count("bows") / 2000 == pytest.approx(0.75, abs=0.04)
    lengths = {len(f) for f in drawn.features}
    assert 80 <= min(lengths) < 85
    assert max(lengths) == 100


@pytest.fixture(scope="module")
def moves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Walks and raised arms in train and val."""
    folder = tmp_path_factory.mktemp("moves")
    rows = []
    for i in range(10):
        motion = gait(3.0, 30.0, seed=i, turn_deg_per_s=(-40.0, 0.0, 40.0)[i % 3]) if i % 2 else repetitions(1 + i % 3)
        motion.save(folder / f"m{i}.lmm.npz")
        rows.append(f'{{"file_name": "m{i}.lmm.npz", "subject": "s{i}", "split": "{"val" if i > 5 else "train"}"}}')
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    ingest(folder, folder.parent / "moves_store", workers=1)
    return folder.parent / "moves_store"


@pytest.fixture
def given(moves: Path) -> dict[str, Any]:
    return {
        "model": "text-motion", "size": "tiny", "data": [{"store": str(moves)}], "epochs": 2, "epoch_windows": 128,
        "batch": 8, "lr": 5e-3, "warmup_steps": 2, "val_windows": 16, "least_words": 1, "ema": 0.5,
    }  # fmt: skip


def test_a_run_learns_and_leaves_a_model(given: dict[str, Any], tmp_path: Path) -> None:
    best = train(TextMotionRunConfig(**given), tmp_path / "run")
    with (tmp_path / "run" / "log.csv").open() as f:
        losses = [float(r["loss"]) for r in csv.DictReader(f)]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])
    model = TextMotion.from_pretrained(best)
    motions, texts = [repetitions(2), gait(3.0, 30.0, seed=77)], ["raises the right hand", "walks forward"]
    near = model.embed_text(texts) @ model.embed_motion([encode(m)[0] for m in motions]).T
    assert near[0, 0] > near[0, 1]
    assert near[1, 1] > near[1, 0]
    assert {"left", "right"} <= set(model.config.vocabulary)
    assert "text-to-motion" in (best / "README.md").read_text()


def test_what_cannot_be_trained_is_said_in_one_line(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(LmmError, match=r"options\.heads"):
        train(TextMotionRunConfig(**{**given, "options": {"heads": 0}}), tmp_path / "a")
    with pytest.raises(LmmError, match="splits train and val"):
        train(TextMotionRunConfig(**{**given, "data": [{**given["data"][0], "val": False}]}), tmp_path / "b")
