"""Shared fixtures. Real data lies beside the repository (../shared/data) and never inside it."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not part of the repository")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tiny_assistant(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder of an assistant that has learnt a few answers by heart; see tests/assistants.py."""
    pytest.importorskip("transformers", reason="needs the extra language")
    from assistants import assistant

    return str(assistant(tmp_path_factory.mktemp("assistant")))
