"""What steps of the flow, and guidance, do to motions made from text: the trade of speed and quality.

    python benchmarks/flow_steps.py MODEL --data STORE [STORE ...] [--split val] [--steps 2 5 10 20 50] [--guidance 1]
        [--pairs 128] [--encoder text-motion-small-nc] [--out FILE.json]

Every text of `--pairs` pairs with labels is said once with each setting, from the same noise. R-precision, MM-Dist and
FID have 95 % intervals over 20 groupings, the others by bootstrap over subjects (docs/language_evaluation.md).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from lmm.evaluation.generation import Generator, generation
from lmm.evaluation.language_cases import Cases, Slice, language_cases
from lmm.inference.generate import generate
from lmm.inference.speaker import load_speaker
from lmm.models.loading import find
from lmm.models.text_motion import TextMotion

COLUMNS = ("r_precision_1", "r_precision_3", "mm_dist", "fid", "side", "direction", "turn", "skating", "jitter",
           "length_error", "seconds_per_motion_second")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--steps", type=int, nargs="+", default=[2, 5, 10, 20, 50])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.0])
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--encoder", default="text-motion-small-nc")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    speaker = load_speaker(options.model)
    given = language_cases(options.data, options.split, options.pairs)
    label = next(s for s in given.slices if s.origin == "label")
    cases = Cases(given.store, given.split, [Slice(label.origin, label.zero_shot, label.pairs)], given.train)

    def entered(steps: int, guidance: float) -> Generator:
        def make(pair: object, seed: int) -> object:
            return generate(pair.text, speaker, seed=seed, steps=steps, guidance=guidance)  # type: ignore[attr-defined]

        return Generator(f"{steps} steps, guidance {guidance:g}", make, 1, {"steps": steps, "guidance": guidance})  # type: ignore[arg-type]

    contestants = [entered(s, g) for s in options.steps for g in options.guidance]
    encoder = TextMotion.from_pretrained(find(options.encoder, "text-motion"))
    results, _ = generation(cases, contestants, encoder, 1, lambda done, total: None)
    print("| | " + " | ".join(COLUMNS) + " |\n|" + "---|" * (1 + len(COLUMNS)))
    for row in results["models"]:
        told = []
        for name in COLUMNS:
            value, around = row.get(name), row["ci95"].get(name)
            text = "–" if value is None else f"{value:.3f}"
            told.append(text if value is None or not around else f"{text} [{around[0]:.3f}, {around[1]:.3f}]")
        print(f"| {row['model']} | " + " | ".join(told) + " |")
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
