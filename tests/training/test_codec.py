"""A codec trains by the one loop, goes on from its checkpoints, and leaves a folder that reads and writes motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lmm.core.errors import InputError, LmmError
from lmm.datasets.ingest import ingest
from lmm.datasets.pairs import pair_split
from lmm.datasets.store import Store
from lmm.datasets.synthetic import gait
from lmm.models.codec import Codec
from lmm.models.loading import describe, find
from lmm.pipeline.codec_features import NUM_FEATURES, encode
from lmm.training.codec import CodecRunConfig, prepare
from lmm.training.kinds import read_train_config
from lmm.training.loop import train


@pytest.fixture
def codec_settings(walks: Path) -> dict[str, Any]:
    return {
        "model": "codec",
        "size": "tiny",
        "data": [{"store": str(walks)}],
        "epochs": 2,
        "epoch_windows": 8,
        "batch": 4,
        "frames": 32,
        "warmup_steps": 2,
        "val_windows": 4,
        "checkpoint_steps": 1,
    }


@pytest.mark.parametrize("bottleneck", ["continuous", "fsq"])
def test_a_codec_trains_and_is_found(bottleneck: str, codec_settings: dict[str, Any], tmp_path: Path) -> None:
    config = tmp_path / "codec.yaml"
    config.write_text(yaml.safe_dump(codec_settings))
    best = train(read_train_config(config, [f"options.bottleneck={bottleneck}"]), tmp_path / "run")
    codec = Codec.from_pretrained(find(str(best), "codec"))
    assert describe(str(best)).parameters == sum(p.numel() for p in codec.parameters())
    assert codec.config.trained_on.startswith("walks")
    assert bottleneck in (best / "README.md").read_text()
    latents = codec.encode(torch.from_numpy(encode(gait(seconds=2))[0])[None])
    assert latents.shape == (1, 15, codec.config.latent_width)
    assert codec.decode(latents).shape == (1, 60, NUM_FEATURES)


def test_takes_that_pairs_hold_out_are_held_out_here_too(codec_settings: dict[str, Any], tmp_path: Path) -> None:
    """Whatever the store says: its split of Bandai Namco's takes is by content and style, that of pairs by take."""
    (tmp_path / "takes").mkdir()
    for i in range(12):
        walk = gait(seconds=2.0, fps=30.0, seed=i)
        labels = {"content": "walk", "style": "masculine" if i == 11 else "normal"}  # walk, masculine: zero-shot
        walk.replace(meta={**walk.meta, "subject": "walker", "labels": labels, "licence": "CC0"}).save(
            tmp_path / "takes" / f"{i}.lmm.npz"
        )
    ingest(tmp_path / "takes", tmp_path / "takes_store", workers=1)
    splits = [pair_split(m) for m in Store(tmp_path / "takes_store").motions()]
    assert set(splits) > {"train", "zero-shot"}
    data = {"data": [{"store": str(tmp_path / "takes_store")}, *codec_settings["data"]]}
    run = prepare(CodecRunConfig(**{**codec_settings, **data}), torch.device("cpu"))
    assert run.network.config.trained_on.startswith(f"takes_store ({splits.count('train')} clips")


def test_a_run_that_stopped_goes_on_to_the_bit(codec_settings: dict[str, Any], tmp_path: Path) -> None:
    config = CodecRunConfig(**codec_settings)
    train(config, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(row: dict[str, Any]) -> None:
        if row["step"] == 3:
            raise Stop

    with pytest.raises(Stop):
        train(config, tmp_path / "parts", report=stop)
    train(config, tmp_path / "parts", resume=True)
    for file in sorted(p.name for p in (tmp_path / "whole" / "best").iterdir()):
        assert (tmp_path / "parts" / "best" / file).read_bytes() == (tmp_path / "whole" / "best" / file).read_bytes()
    further = train(
        CodecRunConfig(**{**codec_settings, "start_from": str(tmp_path / "whole" / "best"), "seed": 1}), tmp_path / "on"
    )
    assert Codec.from_pretrained(further).config.mean == Codec.from_pretrained(tmp_path / "whole" / "best").config.mean


def test_settings_that_do_not_hold_are_named(codec_settings: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(LmmError, match=r"options\.bottleneck"):
        train(CodecRunConfig(**{**codec_settings, "options": {"bottleneck": "vq"}}), tmp_path / "run")
    with pytest.raises(InputError):
        train(CodecRunConfig(**{**codec_settings, "start_from": str(tmp_path / "none")}), tmp_path / "other")
