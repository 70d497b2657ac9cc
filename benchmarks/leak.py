"""What a split by clip hides: runs of one model, each on its own validation windows, over holding the last pose there.

    python benchmarks/leak.py RUN [RUN ...] [--windows 1024]

For runs of `lmm train` whose configs differ in `split_by`. The windows are those that a run chooses its weights by, so
both numbers are of data that the weights were chosen on; what the split is worth is the difference of the ratios.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from lmm.models.loading import load
from lmm.models.network import mean_loss
from lmm.training.forecaster import load_data, val_batches
from lmm.training.kinds import read_train_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--windows", type=int, default=1024)
    options = parser.parse_args()
    for run in options.runs:
        config = read_train_config(run / "config.json", [f"val_windows={options.windows}"])
        network: Any = load(str(run / "best"), config.layout)
        data = load_data(config, network.context_frames, network.block_frames, network.config)
        found = torch.zeros(2, 2, dtype=torch.float64)
        with torch.inference_mode():
            for batch in map(network.example, val_batches(data.val, config)):
                held = mean_loss(batch.context.anchor[:, None], batch.target, batch.counts)
                found += torch.tensor([[float(x) for x in pair] for pair in (network.validation(batch), held)])
        model, held = (found[:, 0] / found[:, 1]).tolist()
        print(
            f"{run.name}: split by {config.split_by}, {data.told['val_clips']} clips held out: MSE {model:.4f}, "
            f"holding the pose {held:.4f}, ratio {model / held:.3f}"
        )


if __name__ == "__main__":
    main()
