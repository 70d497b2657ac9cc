"""An assistant trained on walks: stages, exact resumption, and motions that are changed a little."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmm
from lmm.core.errors import LmmError
from lmm.datasets.instructions import Conversation, write_instructions
from lmm.datasets.recipes import Motions
from lmm.models.assistant import Assistant
from lmm.models.conversation import Asked
from lmm.models.motion_encoder import Clip, read_clip
from lmm.pipeline.features import FeatureSpec
from lmm.training.assistant import paced, worn
from lmm.training.kinds import kind
from lmm.training.loop import train

pytest.importorskip("transformers", reason="needs the extra language")
SHORT = {"epochs": 1, "epoch_windows": 8, "batch": 4, "questions": 2, "warmup_steps": 1, "val_windows": 4}
WORDS = "How many steps? It is a walk of two. The person walks ahead. What a day it was, and how long!\n\n"


def settings(model: str, walks: Path, **more: Any) -> Any:
    fields = {"model": model, "size": "tiny", "data": [{"store": str(walks)}], **more}
    return kind(model).settings.model_validate(fields)


@pytest.fixture(scope="module")
def language(walks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    text = tmp_path_factory.mktemp("text") / "words.txt"
    text.write_text("".join(f"Chapter {i}. {WORDS * 12}\n\n" for i in range(60)))
    short = {k: v for k, v in SHORT.items() if k != "questions"}
    config = settings("language", walks, text=[str(text)], vocabulary=300, length=16, **short)
    return train(config, tmp_path_factory.mktemp("language") / "run")


@pytest.fixture(scope="module")
def asked(walks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = []
    for clip in lmm.Store(walks).motions():
        for n, (question, answer) in enumerate([("how many steps?", "two."), ("what is it?", "it is a walk.")]):
            said = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            recipe = {"pieces": [{"id": clip.meta["id"]}]}
            rows.append(
                Conversation(
                    f"{clip.meta['id']}/{n}", [recipe], said, ("count", "exercise")[n], {}, [[1.0, 2.0]],
                    clip.meta["split"], clip.meta["subject"], "CC0", {},
                )
            )  # fmt: skip
    path = tmp_path_factory.mktemp("asked") / "asked.jsonl"
    write_instructions(rows, path)
    return path


def run(walks: Path, asked: Path, **more: Any) -> Any:
    return settings("assistant", walks, **{**SHORT, "instructions": [str(asked)], "checkpoint_steps": 1, **more})


def test_stages_train_what_they_say_and_go_on_to_the_bit(
    language: Path, walks: Path, asked: Path, tmp_path: Path
) -> None:
    first = train(run(walks, asked, llm=str(language), trains=["projection", "talker"]), tmp_path / "first")
    one, begun = Assistant.from_pretrained(first), Assistant.from_llm(language, "tiny")
    for (_, a), (_, b) in zip(one.llm.named_parameters(), begun.llm.named_parameters(), strict=True):
        assert (a == b).all()
    second = run(walks, asked, start_from=str(first))
    whole = train(second, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(row: dict[str, Any]) -> None:
        raise Stop

    with pytest.raises(Stop):
        train(second, tmp_path / "parts", report=stop)
    parts = train(second, tmp_path / "parts", resume=True)
    for name in ("model.safetensors", "llm/model.safetensors"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
        assert (whole / name).read_bytes() != (first / name).read_bytes()
    clip = one.read(next(lmm.Store(walks).motions()))
    assert isinstance(list(one.answer(_question(clip), max_tokens=3)), list)
    shutil.rmtree(tmp_path / "parts")


def _question(clip: Clip) -> Any:
    return Asked("how many steps?", (clip,))


def test_a_run_that_cannot_be_is_refused(language: Path, walks: Path, asked: Path, tmp_path: Path) -> None:
    for more, said in [
        ({}, "set one of them"),
        ({"llm": str(language), "options": {"spec": {}}}, r"options\.spec"),
        ({"llm": str(language), "options": {"keys": 0}}, r"options\.keys"),
        ({"llm": str(language), "trains": ["video"]}, "none of the parts video"),
        ({"llm": str(language), "weights": {"count": 0, "exercise": 0}}, "no conversations in split train"),
    ]:
        with pytest.raises(LmmError, match=said):
            train(run(walks, asked, **more), tmp_path / said[:4])


def test_another_pace_is_the_same_way_in_another_time(walks: Path) -> None:
    store = Motions([walks])
    clip = read_clip(next(store.clips()), FeatureSpec(layout="xyz"), 900)
    fast = paced(clip, 1.25)
    assert fast.seconds == pytest.approx(clip.seconds / 1.25, abs=0.1)
    np.testing.assert_allclose(fast.path[-1], clip.path[-1], atol=1e-6)
    np.testing.assert_allclose(fast.places[-1], clip.places[-1], atol=1e-6)
    np.testing.assert_allclose(paced(clip, 1.0).places, clip.places)


def test_what_is_hidden_is_hidden_and_noise_is_in_body_lengths() -> None:
    rng = np.random.default_rng(0)
    clip = Clip(np.zeros((400, 25, 3), np.float32), np.ones((400, 25), bool), np.zeros((400, 3), np.float32), 15.0)
    std = np.full((25, 3), 0.5)
    whole = worn(clip, rng, 0.02, 0.0, std)
    assert whole.observed.all()
    assert (whole.places * std).std() == pytest.approx(0.02, rel=0.02)
    torn = worn(replace(clip, places=clip.places + 1), rng, 0.0, 0.3, std)
    assert 0.3 < torn.observed.mean() < 0.7
    assert not torn.places[~torn.observed].any()
