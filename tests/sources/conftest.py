"""What the tests of every source share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lmm.core.errors import LmmError
from lmm.core.motion import Motion
from lmm.sources.reading import read_people

MUTATIONS = 50


@pytest.fixture
def survives_damage(tmp_path: Path) -> Callable[..., None]:
    """Cut, flip, insert and repeat bytes of one file; reading the result must work or raise LmmError, nothing else.

    `path` is the file to damage, `whole` what to read (default: the damaged copy itself, under the same name).
    """

    def check(path: Path, whole: Path | None = None, **options: Any) -> None:
        good = path.read_bytes()
        target = path if whole else tmp_path / "damaged" / path.name
        target.parent.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        try:
            for i in range(MUTATIONS):
                data = bytearray(good)
                if i % 4 == 0:
                    data = data[: int(rng.integers(len(good)))]
                elif i % 4 == 1:
                    for at in rng.integers(len(good), size=int(rng.integers(1, 8))):
                        data[at] = int(rng.integers(256))
                elif i % 4 == 2:
                    at = int(rng.integers(len(good)))
                    data[at:at] = [b"NaN", b"-1", b"1e999", b"99999999999", b",", b"\n", b"\xff\x00"][
                        int(rng.integers(7))
                    ]
                else:
                    a, b = sorted(int(n) for n in rng.integers(len(good), size=2))
                    del data[a : a + (b - a) % 200]
                target.write_bytes(bytes(data))
                with contextlib.suppress(LmmError):
                    read_people(whole or target, **options)
        finally:
            if whole:
                target.write_bytes(good)

    return check


@pytest.fixture
def constant_bones() -> Callable[[Motion, Motion], Motion]:
    """Put each bone of a filtered motion back to its original length, from the root outwards, as CMU's arrays do."""

    def restore(filtered: Motion, original: Motion) -> Motion:
        old = filtered.positions.astype(float)
        new = old.copy()
        for p, c in original.skeleton.bones:
            length = np.median(np.linalg.norm(original.positions[:, c] - original.positions[:, p], axis=1))
            bone = old[:, c] - old[:, p]
            new[:, c] = new[:, p] + bone * length / np.maximum(np.linalg.norm(bone, axis=1, keepdims=True), 1e-9)
        return filtered.replace(positions=new)

    return restore
