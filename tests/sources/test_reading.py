"""What every source has in common: metadata that can be stored and shown, options that are heeded or said not to be."""

from __future__ import annotations

from pathlib import Path

import lmm
from lmm.datasets.synthetic import standing


def test_metadata_can_be_stored_and_shown(tmp_path: Path) -> None:
    meta = {"lic\udce5nce": "x\x1b[2J", "deep": {"\udc80": [float("nan"), {"a": "\udc80"}]}}
    standing(0.5, 30.0).replace(meta=meta).save(tmp_path / "a.lmm.npz")
    told = lmm.read(tmp_path / "a.lmm.npz").meta
    repr(told).encode()
    assert all(text.isprintable() for text in (*told, str(told["deep"])))


def test_an_option_without_effect_is_told(tmp_path: Path) -> None:
    standing(0.5, 30.0).save(tmp_path / "a.lmm.npz")
    m = lmm.read(tmp_path / "a.lmm.npz", units="mm", source_fps=60)
    assert m.fps == 60
    assert any("--units has no effect" in n for n in m.meta["notes"])
