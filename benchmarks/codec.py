"""How well motion codecs give motions back, and what they cost.

    python benchmarks/codec.py CODEC... --data STORE [--data STORE ...] [--split test] [--threads 1] [--out FILE.json]

A CODEC is a folder, or the name of one that comes with lmm. The table's columns are those of
`lmm.evaluation.reconstruction`, and how many times faster than real time whole clips are encoded and decoded.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

from lmm.datasets.pairs import pair_split
from lmm.datasets.store import Store
from lmm.evaluation.reconstruction import reconstruction
from lmm.models.codec import Codec
from lmm.models.loading import find
from lmm.pipeline.codec_features import FPS

COLUMNS = {
    "mpjpe_mm": "8.1f", "mpjpe_path_mm": "13.1f", "mpjpe_clip_mm": "13.1f", "sjpe": "6.3f", "sjpe_noise": "10.3f",
    "sjpe_static": "11.3f", "jerk_difference": "15.1f", "jerk": "6.1f", "bytes_per_second": "16.1f",
    "times_real_time": "15.0f",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("codecs", nargs="+", metavar="CODEC")
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for store in options.data:
        motions = [m for m in Store(store).motions() if pair_split(m) == options.split]
        print(f"{store.name}, split {options.split}: {len(motions)} clips")
        print(" ".join(["codec".ljust(40), *(name.rjust(int(f.split(".")[0])) for name, f in COLUMNS.items())]))
        for name in options.codecs:
            codec = Codec.from_pretrained(find(name, "codec"))
            start = time.perf_counter()
            row = reconstruction(codec, motions)
            row["times_real_time"] = row["frames"] / FPS / (time.perf_counter() - start)
            rows.append({"codec": name, "store": store.name, "split": options.split, **row})
            print(" ".join([name[-40:].ljust(40), *(format(row[column], f) for column, f in COLUMNS.items())]))
    if options.out:
        options.out.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
