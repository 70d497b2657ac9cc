"""Make a trained model one of those that come with lmm.

    python tools/ship.py RUN/best [RESULTS.json ...]

Copies the folder to src/lmm/weights/NAME with weights as float16 (they compute as float32 again), and adds to the card
of a forecaster what `lmm eval` measured: pass the results.json of the forecasts and rollouts that hold this model under
its own name.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from lmm.models.loading import SHIPPED, describe

COLUMNS = ("frame_1", "frame_15", "frame_30", "overall")


def table(results: dict[str, Any], name: str) -> str:
    """Return the part of a card that tells one results.json, for the model called `name` and the baselines."""
    rows = [m for m in results["models"] if m["model"] in (name, "zero-velocity", "constant-velocity")]
    what = f"{results['protocol']}, {results['store']} {results['split']}: {results['windows']} windows of "
    what += f"{results['clips']} clips of {results['subjects']} subjects"
    out = [f"\n**{what}** (`lmm eval`, {results['layout']})\n"]
    if results["protocol"] == "forecast":
        head = "| model | samples | MSE at frame 1 / 15 / 30 | overall [95 %] | energy ratio by second | energy score "
        out.append(head + "| coverage of 90 % |")
        out.append("|---|---|---|---|---|---|---|")
        for row in rows:
            mse = " / ".join(f"{row['mse'][c]:.3f}" for c in COLUMNS[:3])
            low, high = row["ci95"]["mse"]["overall"]
            energy = ", ".join(f"{e:.2f}" for e in row["energy_ratio"])
            score, covered = (
                f"{row[k]:.3f}" if row.get(k) is not None else "–" for k in ("energy_score", "coverage_90")
            )
            out.append(
                f"| {row['model']} | {row['samples']} | {mse} | {row['mse']['overall']:.3f} [{low:.2f}, {high:.2f}] | "
                f"{energy} | {score} | {covered} |"
            )
    else:
        out += ["| model | energy ratio by second |", "|---|---|"]
        out += [
            f"| {r['model']} | {', '.join('–' if e is None else f'{e:.2f}' for e in r['energy_ratio'])} |" for r in rows
        ]
    return "\n".join(out) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("results", type=Path, nargs="*")
    options = parser.parse_args()
    name = describe(str(options.model)).name
    folder = SHIPPED / name
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(options.model, folder)
    for shard in sorted(folder.rglob("*.safetensors")):
        tensors = {k: v.to(torch.float16) if v.is_floating_point() else v for k, v in load_file(shard).items()}
        save_file(tensors, shard, {"format": "pt"})
    if options.results:
        tables = [table(json.loads(r.read_text("utf-8")), name) for r in options.results]
        card = folder / "README.md"
        card.write_text(card.read_text("utf-8") + "\n## Measured\n" + "".join(tables), "utf-8")
    print(folder)


if __name__ == "__main__":
    main()
