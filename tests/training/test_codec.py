"""A codec trains by the one loop, goes on from its checkpoints, and leaves a folder that reads and writes motion."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from lmm.core.errors import InputError, LmmError
from lmm.datasets.synthetic import gait
from lmm.models.codec import Codec
from lmm.models.loading import describe, find
from lmm.training.codec import CodecRunConfig
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
    latents, placement = codec.read(gait(seconds=2))
    assert latents.shape == (15, codec.config.latent_width)
    assert codec.write(latents, placement).num_frames == 60


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
