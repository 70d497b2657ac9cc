"""From text and walks to a model that speaks of walks: language, codec, stages, and what a user does with it."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.numpy import load_file

import lmm
from lmm.cli.main import run
from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion
from lmm.datasets.pairs import Pair
from lmm.datasets.synthetic import gait
from lmm.inference.describe import describe
from lmm.inference.generate import Settings, generate, stream
from lmm.inference.speaker import load_speaker
from lmm.models.codec import Codec
from lmm.models.motion_language import MotionLanguageModel
from lmm.pipeline.codec_features import encode
from lmm.training.kinds import kind, read_train_config
from lmm.training.loop import train
from lmm.training.motion_language import _stretches

pytest.importorskip("transformers", reason="needs the extra language")
SHORT = {"epochs": 1, "epoch_windows": 8, "batch": 4, "warmup_steps": 1, "val_windows": 4, "checkpoint_steps": 1}
WORDS = "The person walks ahead. Somebody else stays, and looks at the hills. What a day it was, and how long!\n\n"


def settings(model: str, walks: Path, **more: Any) -> Any:
    fields = {"model": model, "size": "tiny", "data": [{"store": str(walks)}], **SHORT, **more}
    return kind(model).settings.model_validate(fields)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text("".join(f"Chapter {i}. {WORDS * 12}\n\n" for i in range(60)))
    return path


@pytest.fixture(scope="module")
def language(text: Path, walks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings("language", walks, text=[str(text)], vocabulary=300, length=16)
    return train(config, tmp_path_factory.mktemp("language") / "run")


@pytest.fixture(scope="module")
def codec(walks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(settings("codec", walks, frames=32), tmp_path_factory.mktemp("codec") / "run")


@pytest.fixture(scope="module")
def first(language: Path, codec: Path, walks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    heads = ["adapter", "markers", "flow", "exit", "start"]
    config = settings("motion-language", walks, llm=str(language), codec=str(codec), trains=heads)
    return train(config, tmp_path_factory.mktemp("first") / "run")


@pytest.fixture(scope="module")
def speaker(first: Path, walks: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    config = settings("motion-language", walks, start_from=str(first), chained=1.0)
    return load_speaker(str(train(config, tmp_path_factory.mktemp("second") / "run")))


def test_stages_train_what_they_say_and_leave_language_alone(first: Path, speaker: Any, language: Path) -> None:
    one = MotionLanguageModel.from_pretrained(first)
    untouched = MotionLanguageModel.from_llm(language, "tiny").llm.state_dict()
    for model in (one, speaker.model):
        for name, weight in model.llm.state_dict().items():
            assert torch.equal(weight, untouched[name])
    texts = dict(one.llm.model.layers.named_parameters())
    copies = dict(one.motion.layers.named_parameters())
    assert all(torch.equal(copies[n], texts[n]) for n in texts)  # stage 1 leaves the branch a copy
    trained = dict(speaker.model.motion.layers.named_parameters())
    assert any(not torch.equal(trained[n], texts[n]) for n in texts)


def test_a_later_stage_keeps_the_shape_of_the_first(first: Path, walks: Path, tmp_path: Path) -> None:
    config = settings("motion-language", walks, start_from=str(first), options={"head_width": 32})
    with pytest.raises(LmmError, match=r"options.head_width"):
        train(config, tmp_path / "run")


def test_a_stage_that_stopped_goes_on_to_the_bit(first: Path, walks: Path, tmp_path: Path) -> None:
    config = settings("motion-language", walks, start_from=str(first), trains=["flow", "exit"])

    class Stop(Exception):
        pass

    def stop(row: dict[str, Any]) -> None:
        raise Stop

    whole = train(config, tmp_path / "whole")
    with pytest.raises(Stop):
        train(config, tmp_path / "parts", report=stop)
    parts = train(config, tmp_path / "parts", resume=True)
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()
    logs = [csv.DictReader((tmp_path / n / "log.csv").read_text().splitlines()) for n in ("whole", "parts")]
    one, other = ([{k: v for k, v in row.items() if k != "seconds"} for row in log] for log in logs)
    assert one == other
    weights = MotionLanguageModel.from_pretrained(whole).config.weights.model_dump()
    for row in one:  # the parts of the loss are in the log
        assert float(row["loss"]) == pytest.approx(sum(w * float(row[part]) for part, w in weights.items()), rel=1e-5)
    kept = load_file(max((tmp_path / "whole").glob("checkpoint-*")))
    assert {n.split(".")[2] for n in kept if n.startswith("network.motion")} == {"flow", "exit"}  # what learns is kept
    assert not any(n.startswith("network.llm") for n in kept)


def test_a_stream_is_the_whole_piece_by_piece(speaker: Any) -> None:
    whole = generate("a person walks", speaker, seconds=2.0, seed=3)
    pieces = list(stream("a person walks", speaker, Settings(seconds=2.0, seed=3)))
    assert {p.shape for p in pieces} == {(4, 25, 3)}
    np.testing.assert_allclose(np.concatenate(pieces)[:60], whole.positions, atol=1e-6)
    assert (whole.fps, whole.space, whole.num_frames, whole.skeleton.name) == (30.0, "world", 60, "body_25")
    assert np.isfinite(whole.joint("LKnee")).all()
    assert whole.meta["captions"] == ["a person walks"]
    assert abs(whole.joint("MidHip")[0, [0, 2]]).max() < 0.2
    other = generate("a person walks", speaker, seconds=2.0, seed=4)
    assert not np.allclose(other.positions, whole.positions, equal_nan=True)


@pytest.mark.parametrize("same", [False, True])
def test_a_motion_is_gone_on_from_where_it_ends(speaker: Any, same: bool) -> None:
    walk = gait(seconds=4.0, fps=30.0)
    future = generate("then turn left", speaker, seconds=1.0, after=walk, same=same)
    apart = np.linalg.norm(future.joint("MidHip")[0] - walk.joint("MidHip")[-1])
    assert apart < 0.3  # one frame further, by a codec that is barely trained here


def test_what_a_stage_began_with_stays_in_licence_and_scripts(
    first: Path, language: Path, walks: Path, tmp_path: Path
) -> None:
    assert json.loads((language / "trained_on.json").read_text())["licence"] == "Apache-2.0"
    for folder, change in ((tmp_path / "first", "start_from"), (tmp_path / "language", "llm")):
        shutil.copytree(first if change == "start_from" else language, folder)
        path = folder / ("config.json" if change == "start_from" else "trained_on.json")
        told = json.loads(path.read_text())
        path.write_text(
            json.dumps(
                {**told, "licence": "CC BY-NC 4.0", **({"scripts": ["GREEK"]} if change == "start_from" else {})}
            )
        )
        codec = {} if change == "start_from" else {"codec": str(first / "codec")}
        config = settings("motion-language", walks, **{change: str(folder)}, **codec)
        made = kind("motion-language").prepare(config, torch.device("cpu")).network.config
        assert made.licence == "CC BY-NC 4.0"
        assert set(made.scripts) == {"LATIN"} | ({"GREEK"} if change == "start_from" else set())


def test_subjects_that_choose_the_weights_are_not_learned_from(first: Path, walks: Path) -> None:
    subjects = sorted({str(m.meta["subject"]) for m in lmm.Store(walks).motions("train")})
    run = settings("motion-language", walks, start_from=str(first), val_subjects=subjects[1:])
    prepared = kind("motion-language").prepare(run, torch.device("cpu"))
    assert "of 1 stretches" in prepared.network.config.trained_on.split(";")[0]


@pytest.mark.parametrize(
    ("model", "change", "told"),
    [
        ("language", {"start_from": "there"}, "language makes no use of start_from"),
        ("text-motion", {"start_from": "there"}, "text-motion makes no use of start_from"),
        ("motion-language", {"data": [{"store": "there", "weight": 2}]}, "motion-language makes no use of weight"),
    ],
)
def test_settings_without_use_are_refused(model: str, change: dict[str, Any], told: str, text: Path) -> None:
    more = {"text": [str(text)]} if model == "language" else {}
    config = settings(model, Path("there"), **more, **change)
    with pytest.raises(LmmError, match=told):
        kind(model).prepare(config, torch.device("cpu"))


@torch.inference_mode()
def latents_of(motion: Motion, codec: Codec) -> torch.Tensor:
    return codec.encode(torch.from_numpy(encode(motion)[0])[None])[0]


def test_a_motion_that_is_gone_on_from_moves_on_at_the_seam(first: Path, tmp_path: Path) -> None:
    """The latents of both are those of the whole: the root does not stop where the clip was cut."""
    walk = gait(seconds=12.0, fps=30.0)
    walk = walk.replace(meta={**walk.meta, "id": "walk"})
    codec, tokenizer = Codec.from_pretrained(first / "codec"), MotionLanguageModel.from_pretrained(first).tokenizer
    pairs = [
        Pair(m, "a person walks", "description", "walk", "s", "train", "CC0", {})
        for m in (walk.crop(0, 180), walk.crop(180, 360))
    ]
    config = settings("motion-language", tmp_path, start_from=str(first))
    one, two = _stretches(pairs, codec, tokenizer, config)
    assert one.before is None
    assert two.before is not None
    assert (one.ends, two.ends) == (False, True)  # the first was cut, and teaches the exit head no end
    torch.testing.assert_close(torch.cat(two.before[0]), latents_of(walk, codec), atol=1e-4, rtol=1e-4)


def test_what_follows_a_motion_follows_its_last_frame(speaker: Any) -> None:
    """Whatever its length: the last latent ends with it, as in training, and places go on from there."""
    walk = gait(seconds=12.0, fps=30.0)
    for frames, latents in ((3, 1), (122, 30), (355, 75)):
        part = walk.crop(0, frames)
        seen, decoder = speaker.read(part)
        expected = latents_of(lmm.clean(part.crop(max(0, frames - 4 * latents), frames)), speaker.codec)
        torch.testing.assert_close(seen.tokens, expected)
        still = np.zeros((1, 49))  # neither turns nor moves
        np.testing.assert_allclose(decoder.push(still)[0, 7, [0, 2]], part.joint("MidHip")[-1, [0, 2]], atol=1e-3)


def test_of_what_has_begun_half_is_read(speaker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it and what comes are as long as the longest motions of training; of what went before, all of one."""
    given = []
    monkeypatch.setattr(speaker.model, "generate", lambda segments, *_, **__: given.append(segments) or iter(()))
    for same in (True, False):
        list(stream("walks", speaker, after=gait(seconds=12.0, fps=30.0), same=same))
    begun, before = (next(s for s in segments if s.is_motion).tokens for segments in given)
    assert (len(begun), len(before)) == (37, 75)


def test_the_same_words_need_a_motion_before(speaker: Any) -> None:
    with pytest.raises(LmmError, match="need a motion before"):
        generate("a person walks", speaker, same=True)


def test_motion_is_described(speaker: Any) -> None:
    walk = gait(seconds=4.0, fps=30.0)
    assert describe(walk, speaker) == describe(walk, speaker)
    assert isinstance(describe(walk, speaker, temperature=1.0, seed=1), str)
    with pytest.raises(LmmError, match="temperature must be"):
        describe(walk, speaker, temperature=-1)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("", "the prompt is empty"),
        ("  \n ", "the prompt is empty"),
        ("walk " * 2000, "over 1000"),
        ("человек идёт", "Cyrillic letters"),
        ("人が歩く", "letters"),
        ("12 34 !?", "no words"),
        ("walk \udcff", "not UTF-8"),
    ],
)
def test_prompts_that_cannot_be_used(prompt: str, told: str, speaker: Any) -> None:
    with pytest.raises(LmmError, match=told):
        generate(prompt, speaker, seconds=1.0)


@pytest.mark.parametrize(
    "field",
    [
        {"seconds": -1.0},
        {"seconds": 1e9},
        {"seconds": float("nan")},
        {"steps": 0},
        {"guidance": -2.0},
        {"seed": -1},
        {"seed": 1 << 64},
        {"same": True},
    ],
)
def test_settings_out_of_range(field: dict[str, Any], speaker: Any) -> None:
    with pytest.raises(LmmError):
        generate("a person walks", speaker, **field)


def test_the_shortest_motion_is_a_frame(speaker: Any) -> None:
    assert generate("walk", speaker, seconds=1e-9).num_frames == 1


def test_words_at_a_temperature_near_zero_are_the_likeliest(speaker: Any) -> None:
    walk = gait(seconds=2.0)
    assert describe(walk, speaker, temperature=1e-300) == describe(walk, speaker)
    for seed in (-1, 1 << 64):
        with pytest.raises(LmmError, match="seed"):
            describe(walk, speaker, seed=seed)


def test_a_prompt_that_spells_special_tokens_is_text(speaker: Any) -> None:
    end = speaker.tokenizer.eos_token
    ids = speaker.words(f"walk {end}").tokens
    assert speaker.tokenizer.eos_token_id not in ids
    assert speaker.tokenizer.decode(ids) == f"walk {end}"


def test_the_command_line(first: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "walk.lmm.npz"
    assert run(["generate", "a person walks", "--model", str(first), "--seconds", "1", "--stream", "-o", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 32
    assert lmm.read(out).num_frames == 30
    assert run(["generate", "a person walks", "--model", str(first), "--seconds", "1", "-o", f"{tmp_path}/a.bvh"]) == 0
    assert run(["describe", str(out), "--model", str(first), "--json"]) == 0
    assert '"text"' in capsys.readouterr().out
    assert run(["generate", "walk", "--model", "nobody", "-o", str(out)]) == 2
    assert "unknown model 'nobody'" in capsys.readouterr().err
    lost = tmp_path / "none" / "a.bvh"
    assert run(["generate", "walk", "--model", str(first), "-o", str(lost)]) == 2
    assert "folder that does not exist" in capsys.readouterr().err


def test_a_reader_who_leaves_costs_no_file(first: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.lmm.npz"
    arguments = ["generate", "walk", "--model", str(first), "--seconds", "2", "--stream", "-o", str(out)]
    command = [sys.executable, "-c", "from lmm.cli.main import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        told = process.stderr.read()
    assert process.returncode == 0
    assert told == f"wrote {out}\n"
    assert lmm.read(out).num_frames == 60


def test_damaged_folders_end_in_one_line(first: Path, language: Path, codec: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(first, tmp_path / name))

    broken = copy("truncated")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:999])
    with pytest.raises(InputError, match="no weights that fit"):
        load_speaker(str(broken))
    broken = copy("without")
    (broken / "model.safetensors").unlink()
    with pytest.raises(InputError):
        load_speaker(str(broken))
    broken = copy("codecless")
    shutil.rmtree(broken / "codec")
    with pytest.raises(InputError):
        load_speaker(str(broken))
    broken = copy("wordless")
    shutil.rmtree(broken / "llm")
    with pytest.raises(InputError):
        load_speaker(str(broken))
    with pytest.raises(LmmError, match="architecture codec"):
        load_speaker(str(codec))


@pytest.mark.parametrize(
    ("model", "field", "told"),
    [
        ("codec", {"options": {"size": "tiny"}}, "options.size: there is no such option"),
        ("codec", {"options": {"levels": [1]}}, "options: levels must lie between 2 and 256"),
        ("codec", {"options": {"licence": "free"}}, "options.licence"),
        ("codec", {"start_from": "somewhere", "options": {"latent": 8}}, "keeps its own"),
        ("text-motion", {"options": {"heads": 3}}, "options: a width of 32"),
        ("text-motion", {"options": {"size": "tiny"}}, "options.size"),
        ("text-motion", {"start_from": "somewhere"}, "makes no use of start_from"),
        ("language", {"start_from": "somewhere"}, "makes no use of start_from"),
        ("language", {"data": 2.0}, "makes no use of weight"),
        ("motion-language", {"options": {"width": 8}}, "options.width"),
        ("motion-language", {"options": {"licence": "free"}}, "options.licence"),
        ("motion-language", {"options": {"dtype": "int8"}}, "options.dtype"),
        ("motion-language", {"data": 2.0}, "makes no use of weight"),
    ],
)
def test_settings_that_would_go_unheeded_or_break_a_run(
    model: str, field: dict[str, Any], told: str, walks: Path, text: Path, language: Path, codec: Path, tmp_path: Path
) -> None:
    own = {"language": {"text": [str(text)]}, "motion-language": {"llm": str(language), "codec": str(codec)}}
    if "data" in field:
        field = {"data": [{"store": str(walks), "weight": field["data"]}]}
    with pytest.raises(LmmError) as refused:
        train(settings(model, walks, **own.get(model, {}), **field), tmp_path / "run")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "field",
    [{"trains": []}, {"trains": ["foo"]}, {"scales": {"brnch": 0.1}}, {"scales": {"flow": -1}}, {"seed": 1 << 64}],
)
def test_parts_and_numbers_that_there_are_not(field: dict[str, Any], walks: Path) -> None:
    with pytest.raises(ValidationError, match=next(iter(field))):
        settings("motion-language", walks, **field)


def test_a_folder_with_a_config_without_end_or_words_beyond_its_model(first: Path, tmp_path: Path) -> None:
    endless = Path(shutil.copytree(first, tmp_path / "endless"))
    (endless / "config.json").unlink()
    (endless / "config.json").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="or no file"):
        load_speaker(str(endless))
    with pytest.raises(InputError, match="too large"):
        read_train_config("/dev/zero")
    beyond = Path(shutil.copytree(first, tmp_path / "beyond"))
    path = beyond / "llm" / "tokenizer.json"
    told = json.loads(path.read_text("utf-8"))
    told["model"]["vocab"] = {word: 10 * i for word, i in told["model"]["vocab"].items()}
    path.write_text(json.dumps(told), "utf-8")
    with pytest.raises(InputError, match="has a tokenizer of"):
        load_speaker(str(beyond))


def test_a_run_that_never_began_may_be_given_another_config(walks: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(InputError, match="is not a store"):
        train(settings("codec", tmp_path / "misspelt", frames=32), out)
    config = settings("codec", walks, frames=32)
    assert train(config, out).is_dir()
    with pytest.raises(InputError, match="holds this run already"):
        train(config, out)
