"""How low the steps of a diffusion model can go before its forecasts suffer.

    python benchmarks/few_steps.py MODEL --data STORE [--split val] [--layout xyc] [--views 3] [--steps 1,2,3,5,10,20]
                                   [--threads 2] [--out FILE.json]

Scores one model at several numbers of steps by the protocol of `lmm eval forecast`. Choose on `val`, never on
the test subjects.
"""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import Any

import torch

from lmm.evaluation.cases import Corpus
from lmm.evaluation.contestants import Contestant
from lmm.evaluation.forecast import forecast
from lmm.models.loading import load

COLUMNS = ("frame_1", "frame_15", "frame_30", "overall")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--layout", default="xyc", choices=("xyc", "xyz"))
    parser.add_argument("--views", type=int, default=3)
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--steps", default="1,2,3,5,10,20")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network: Any = load(options.model, options.layout)
    models = []
    for steps in map(int, options.steps.split(",")):
        model = copy.deepcopy(network)
        model.steps = steps
        models.append(Contestant(f"{steps} steps", [model]))
    corpus = Corpus.of(options.data, options.split, options.layout, options.views)
    results, _ = forecast(corpus, models, options.samples, lambda *_: None)
    for row in results["models"]:
        mse = " / ".join(f"{row['mse'][c]:.3f}" for c in COLUMNS)
        energy = " ".join(f"{e:.2f}" for e in row["energy_ratio"])
        told = ", ".join(
            f"{k} {row[k]:.3f}" for k in ("energy_score", "coverage_90", "seconds_per_window") if row.get(k) is not None
        )
        print(f"{row['model']:10} {row['samples']:3} samples  mse {mse}  energy {energy}  {told}")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
