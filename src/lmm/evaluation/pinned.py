"""The pinned evaluation statistics: one unit for all models, whatever they were trained on.

    python -m lmm.evaluation.pinned STORE... --layout xyc --views 9

makes ``statistics/<layout>.json`` anew, from the windows (`forecast`'s cuts) of the stores' train splits. The files
that come with lmm were made so from CMU and Bandai Namco.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from lmm.evaluation.cases import FPS, HORIZON, Corpus
from lmm.pipeline.features import NUM_JOINTS, Features, FeatureSpec, Layout, moments, statistics
from lmm.skeletons import BODY_25

Array = NDArray[Any]


class Statistics(BaseModel):
    """What scores are measured in.

    spec    mean and standard deviation of each feature, in body lengths
    joints  those that the data recorded: the only ones that are scored, since no statistics of others are known
    data    what they were made from
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: FeatureSpec
    joints: tuple[str, ...]
    data: str

    @property
    def scored(self) -> Array:
        """bool (25,)."""
        return np.array([name in self.joints for name in BODY_25.joints])

    def std(self, on_hips: Array) -> Array:
        """Return the standard deviations (B, 1, 25, 3) of windows centred on the mid-hip, or not, (B,)."""
        return _per_window(self.spec, on_hips)[1]


def pinned(layout: Layout) -> Statistics:
    """Return the statistics that come with lmm."""
    return Statistics.model_validate_json(_file(layout).read_text("utf-8"))


def standardise(values: Array, observed: Array, spec: FeatureSpec, on_hips: Array) -> Array:
    """Return features (B, T, 75) in body lengths, standardised by a model's `spec`; 0 where not `observed`."""
    mean, std = _per_window(spec, on_hips)
    x = values.reshape(*values.shape[:2], NUM_JOINTS, 3)
    return np.where(observed[..., None], (x - mean) / std, 0).reshape(values.shape).astype(np.float32)


def restore(values: Array, spec: FeatureSpec, on_hips: Array) -> Array:
    """Return a model's forecasts (B, S, T, 75) in body lengths."""
    mean, std = (m[:, None] for m in _per_window(spec, on_hips))
    x = values.reshape(*values.shape[:3], NUM_JOINTS, 3)
    return np.asarray((x * std + mean).reshape(values.shape))


def _per_window(spec: FeatureSpec, on_hips: Array) -> tuple[Array, Array]:
    hips, neck = moments(spec, "MidHip"), moments(spec, "Neck")
    chosen = [np.where(on_hips[:, None, None], h, n)[:, None] for h, n in zip(hips, neck, strict=True)]
    return chosen[0], chosen[1]


def measure(corpora: list[Corpus]) -> Statistics:
    """Return the statistics of the windows of `corpora`."""
    recorded = np.zeros(NUM_JOINTS, bool)

    def windows() -> Iterator[Features]:
        for corpus in corpora:
            for batch in corpus.batches(corpus.cases(HORIZON, HORIZON // 2, HORIZON), HORIZON):
                recorded[:] |= batch.recorded.any(axis=(0, 1))
                yield from (w.features for w in batch.windows)

    spec = statistics(windows())
    joints = tuple(name for name, known in zip(BODY_25.joints, recorded, strict=True) if known)
    made = " + ".join(f"{c.name} ({c.split}, {len(c.motions)} clips)" for c in corpora)
    return Statistics(spec=spec, joints=joints, data=f"{made}, {len(corpora[0].cameras)} views, {FPS:g} FPS")


def _file(layout: Layout) -> Any:
    return resources.files("lmm.evaluation") / "statistics" / f"{layout}.json"


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="+", type=Path)
    parser.add_argument("--layout", choices=get_args(Layout), required=True)
    parser.add_argument("--views", type=int, default=9)
    given = parser.parse_args()
    made = measure([Corpus.of(s, "train", given.layout, given.views) for s in given.stores])
    out = Path(str(_file(given.layout)))
    out.write_text(made.model_dump_json(indent=1) + "\n", "utf-8")
    print(f"{out}: {made.data}; joints {', '.join(made.joints)}")


if __name__ == "__main__":
    _main()
