"""Pairs: every stretch's text holds, splits leak nothing, zero-shot combinations are nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmm
from lmm.analysis.facts import facts
from lmm.core.errors import InputError
from lmm.core.motion import Motion
from lmm.datasets import sentences
from lmm.datasets.pairs import HANDS, LONGEST_S, SHORTEST_S, ZERO_SHOT, pair_split, read_pairs, stretches
from lmm.datasets.store import Store, to_row, write_part
from lmm.datasets.synthetic import gait, repetitions, standing


def write_store(folder: Path, motions: Iterable[Motion]) -> Store:
    (folder / "clips").mkdir(parents=True)
    rows = [to_row(m, m.meta["id"], m.meta["id"], "", {}) for m in motions]
    checksum = write_part(rows, folder / "clips" / "part-00000.parquet")
    part = {"file": "part-00000.parquet", "sha256": checksum, "clips": len(rows)}
    (folder / "manifest.json").write_text(json.dumps({"schema_version": 1, "parts": [part]}))
    return Store(folder)


def clip(motion: Motion, name: str, split: str = "train", **meta: Any) -> Motion:
    return motion.replace(meta={"id": name, "subject": name, "split": split, "licence": "x", "cleaning": {}, **meta})


def bandai(motion: Motion, content: str, style: str, number: int = 1) -> Motion:
    name = f"bandai/{content}_{style}_{number:03}"
    made = clip(motion, name, "test", labels={"content": content, "style": style})
    return made.replace(meta={**made.meta, "subject": f"{content}_{style}"})


def test_labels_descriptions_and_measurements_are_told_apart(tmp_path: Path):
    store = write_store(
        tmp_path / "s",
        [
            bandai(gait(seconds=5), "walk", "exhausted"),
            clip(gait(seconds=5), "cmu/07_01", captions=["slow walk"], trial="07_01"),
            clip(repetitions(1), "own/1", "val", captions=["my own words"]),
            clip(
                repetitions(1), "uiprmd/1", format="uiprmd", captions=["x"], labels={"movement": "07", "correct": False}
            ),
        ],
    )
    pairs = read_pairs([store])
    assert {(p.id, p.origin) for p in pairs} == {
        ("bandai/walk_exhausted_001", "label"), ("bandai/walk_exhausted_001", "measured"),
        ("cmu/07_01", "description"), ("cmu/07_01", "measured"),
        ("own/1", "description"), ("own/1", "measured"), ("uiprmd/1", "label"), ("uiprmd/1", "measured"),
    }  # fmt: skip
    told = {(p.id, p.origin): p for p in pairs}
    assert told["bandai/walk_exhausted_001", "label"].label == {
        "content": "walk", "style": "tired", "direction": "forward"
    }  # fmt: skip
    assert told["own/1", "description"].text == "my own words"
    assert told["own/1", "description"].split == "val"
    rehab = told["uiprmd/1", "label"]
    assert rehab.label == {"content": "exercise-07", "correct": "false", "side": "right", "limb": "arm"}
    assert "left" not in rehab.text
    assert [(p.id, p.text) for p in pairs] == [(p.id, p.text) for p in read_pairs([tmp_path / "s"])]
    assert any(a.text != b.text for a, b in zip(pairs, read_pairs([store], seed=1), strict=True))


def test_only_training_stretches_have_variants(tmp_path: Path):
    store = write_store(
        tmp_path / "s", [clip(gait(seconds=5), f"a/{s}", s, captions=["walk"]) for s in ("train", "val", "test")]
    )
    texts: dict[str, list[str]] = {}
    for p in read_pairs([store], variants=8):
        texts.setdefault(p.split, []).append(p.text)
    assert len(texts["train"]) > 8
    assert len(set(texts["train"])) == len(texts["train"])
    assert len(texts["val"]) == len(texts["test"]) == 2


@pytest.mark.parametrize("seconds", [0.5, 0.9, 10.0, 10.1, 35.0])
def test_stretches_cover_the_clip(seconds):
    whole = gait(seconds=seconds)
    parts = stretches(whole)
    if seconds < SHORTEST_S:
        assert parts == []
        return
    assert np.array_equal(np.concatenate([p.positions for p in parts]), whole.positions)
    assert all(SHORTEST_S <= p.seconds <= LONGEST_S + 1e-9 for p in parts)
    assert [p.start_s for p in parts] == pytest.approx(np.cumsum([0, *[p.seconds for p in parts[:-1]]]))


def test_what_a_stretch_may_not_show_is_not_told(tmp_path: Path):
    store = write_store(
        tmp_path / "s",
        [
            bandai(gait(seconds=21), "walk", "normal"),
            bandai(standing(seconds=21), "bow", "normal"),
            clip(gait(seconds=21), "own/1", captions=["something that was done once"]),
            clip(gait(seconds=21), "cmu/1", captions=["playground - climb, hang"]),
        ],
    )
    told = [(p.id, p.origin) for p in read_pairs([store]) if p.origin != "measured"]
    assert told == [("bandai/walk_normal_001", "label")] * 3 + [("cmu/1", "description")] * 3


def test_labels_that_the_motion_contradicts_are_left_out(tmp_path: Path):
    store = write_store(
        tmp_path / "s",
        [
            bandai(gait(seconds=5, turn_deg_per_s=20), "walk-turn-left", "sad"),
            bandai(gait(seconds=5, turn_deg_per_s=20), "walk-turn-right", "sad"),
            bandai(repetitions(1), "raise-up-right-hand", "sad"),
            bandai(repetitions(1), "raise-up-left-hand", "sad"),
        ],
    )
    kept = [p.label["content"] for p in read_pairs([store]) if p.origin == "label"]
    assert kept == ["walk-turn-left", "raise-up-right-hand"]


def test_zero_shot_combinations_are_closed_and_their_parts_are_known(shared_data: Path):
    rows = [json.loads(x) for x in (shared_data / "bandai" / "index.jsonl").read_text().splitlines()]
    there = {(r["content"], sentences.STYLES.get(r["style"], r["style"])) for r in rows}
    assert there >= ZERO_SHOT
    trained = there - ZERO_SHOT
    for content, style in ZERO_SHOT:
        assert content in {c for c, _ in trained}
        assert style in {s for _, s in trained}
        assert (sentences.mirrored(content), style) not in trained - {(content, style)}


def test_takes_of_a_combination_are_on_all_sides_and_zero_shot_on_its_own():
    still = standing(seconds=1)
    splits = [pair_split(bandai(still, "walk", "tired", n)) for n in range(300)]
    assert {s: splits.count(s) > 10 for s in set(splits)} == {"train": True, "val": True, "test": True}
    assert splits.count("train") > 210
    for style in ("elderly", "old"):
        assert {pair_split(bandai(still, "walk", style, n)) for n in range(50)} == {"zero-shot"}
    assert pair_split(clip(still, "x", "val")) == "val"


def test_pairs_are_mirrored_whole(tmp_path: Path):
    store = write_store(tmp_path / "s", [bandai(repetitions(1), "raise-up-right-hand", "sad")])
    for p in read_pairs([store]):
        there = p.mirrored()
        assert there is not None
        assert there.label["side"] == "left"
        assert "left" in there.text
        seen = facts(there.motion)
        assert seen is not None
        assert seen.arm == "left"
        back = there.mirrored()
        assert back is not None
        assert (back.text, back.label) == (p.text, p.label)
        assert np.array_equal(back.motion.positions, p.motion.positions, equal_nan=True)


def test_kit_sentences_are_for_evaluation_only(tmp_path: Path):
    store = write_store(tmp_path / "s", [clip(gait(seconds=5), "cmu/1", captions=["walk"], trial="1")])
    listed = tmp_path / "pairs.jsonl"
    row = {"trial": "1", "start_s": 1, "end_s": 3, "captions": ["A human walks."], "caption_source": "KIT-ML"}
    other = {"trial": "1", "captions": ["walk"], "caption_source": "CMU index"}
    listed.write_text("\n".join(json.dumps(r) for r in (row, other)))
    said = [p for p in read_pairs([store], kit=listed) if p.origin == "sentence"]
    assert [(p.text, p.split, p.motion.start_s, p.motion.num_frames) for p in said] == [
        ("A human walks.", "evaluation", 1.0, 60)
    ]
    assert "no licence" in said[0].licence
    assert "sentence" not in {p.origin for p in read_pairs([store])}
    listed.write_text(json.dumps({**row, "end_s": 0.5}))
    with pytest.raises(InputError, match="line 1 is no pair"):
        read_pairs([store], kit=listed)


@pytest.mark.parametrize(
    "name", ["dataset-2_walk-turn-left_normal_001", "dataset-2_walk-turn-right_active_003",
             "dataset-2_wave-left-hand_elderly_002", "dataset-2_wave-right-hand_active_005",
             "dataset-2_raise-up-both-hands_active_010", "dataset-1_walk-back_sad_001", "dataset-1_bye_happy_001"],
)  # fmt: skip
def test_measurement_agrees_with_bandai_labels(shared_data: Path, name: str):
    motion = lmm.clean(lmm.read(shared_data / "bandai", person=name))
    told = facts(motion)
    assert told is not None
    content = motion.meta["labels"]["content"]
    if "turn" in content:
        assert told.turn == content.split("-")[-1]
        assert told.direction == "forward"
    elif content == "walk-back":
        assert told.direction == "backwards"
    else:
        assert told.arm == HANDS.get(content, content.split("-")[-2] if "-" in content else "")
        assert told.stays
