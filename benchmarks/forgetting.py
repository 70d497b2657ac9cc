"""What motion costs language: a branch beside the frozen language model, against the same weights tuned for both.

    python benchmarks/forgetting.py CONFIG.yaml --text TEXT [--steps 1000] [--set name=value ...]

CONFIG is that of a motion-language run that begins with ``llm``. Both are trained on the same batches for the same
number of steps: once as lmm does (all of the branch, and the heads), once with the language model's own layers in the
branch's place, which then learn. Printed are the loss on the run's validation pairs, and the perplexity of TEXT before
and after, by the language model alone: in the first case it cannot change, and is computed all the same.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from lmm.datasets.corpus import blocks, read_documents
from lmm.training.kinds import Run, kind, read_train_config
from lmm.training.loop import validate

LENGTH, BLOCKS = 128, 200


@torch.inference_mode()
def perplexity(model: Any, text: Path) -> float:
    """Return the perplexity of the first BLOCKS blocks of a text, by the language model alone."""
    ids = torch.from_numpy(blocks(read_documents(text), model.tokenizer, LENGTH)[:BLOCKS]).long()
    total = 0.0
    for block in ids.split(16):
        logits = model.llm(block[:, :-1]).logits
        total += float(F.cross_entropy(logits.flatten(0, 1), block[:, 1:].flatten(), reduction="sum"))
    return math.exp(total / ids[:, 1:].numel())


def tune(run: Run, parameters: list[torch.nn.Parameter], config: Any, steps: int) -> None:
    """Train `parameters` for `steps` steps at the config's rate, falling to nothing."""
    optimizer = torch.optim.AdamW(parameters, config.lr, weight_decay=0.0)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = config.lr * min(1.0, (step + 1) / config.warmup_steps) * (1 - step / steps)
        torch.manual_seed(step)
        run.network.train()
        loss, count = run.network.loss(run.batch(step, slice(None)), step / steps)
        optimizer.zero_grad(set_to_none=True)
        (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", dest="changes", action="append", default=[])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    everything = ["trains=[adapter, markers, branch, flow, exit, start]", *options.changes]
    config: Any = read_train_config(options.config, everything)
    for name in ("a branch beside frozen language", "the language model's own weights"):
        run = kind(config.model).prepare(config, torch.device("cpu"))
        model: Any = run.network
        before = perplexity(model, options.text)
        if name.startswith("the language"):
            model.motion.layers, model.motion.norm = model.llm.model.layers, model.llm.model.norm
            model.requires_grad_(True)
        tune(run, [p for p in model.parameters() if p.requires_grad], config, options.steps)
        loss = validate(model, run.val, config)
        print(f"{name}: validation loss {loss:.4f}, perplexity {before:.2f} -> {perplexity(model, options.text):.2f}")


if __name__ == "__main__":
    main()
