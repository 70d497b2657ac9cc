"""How fast the forecasters are, and how far from what the machine can do.

    python benchmarks/forecast.py [--threads 2] [--device cpu|cuda] [--rounds 7] [--out FILE.json]

For each network at sizes small and base: seconds for one forecast of 2 s after 8 s of context, with 1 and 10 samples,
its floating-point operations (counted by torch), and the share of the machine's own rate that this makes: that of a
product of two square matrices, measured in the same run. For the autoregressive networks: decoding with keys and values
kept, against the same decoder recomputed at every frame with the encoding kept. Weights are random: speed does not
depend on them. The least of the rounds counts; all is printed, and kept with --out.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from lmm.core.registry import architectures
from lmm.models.network import Context, Network
from lmm.pipeline.features import FeatureSpec

CONTEXT, HORIZON = 120, 30


def least(rounds: int, cuda: bool, *works: Callable[[], Any]) -> list[float]:
    """Return the least seconds of `rounds` runs of each work, which take turns, after one to warm up."""
    found: list[list[float]] = [[] for _ in works]
    for _ in range(rounds + 1):
        for work, seconds in zip(works, found, strict=True):
            start = time.perf_counter()
            work()
            if cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return [min(seconds[1:]) for seconds in found]


def machine_rate(rounds: int, device: str) -> float:
    """Return the floating-point operations a second of a product of two square matrices, fp32."""
    n = 1024 if device == "cpu" else 8192
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    return 2 * n**3 / least(rounds + 10, device == "cuda", lambda: a @ b)[0]


def arguments(batch: int, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x = torch.randn(batch, CONTEXT, 75, device=device)
    return (
        x,
        torch.ones(batch, CONTEXT, dtype=torch.bool, device=device),
        torch.ones(batch, CONTEXT, 25, dtype=torch.bool, device=device),
    )


@torch.inference_mode()
def afresh(network: Any, context: Context, memory: torch.Tensor) -> torch.Tensor:
    """Decode with the encoding kept and everything else computed again for every frame."""
    inputs = context.anchor[:, None]
    for _ in range(HORIZON):
        memories = network.decoder.decoder.memories(memory)
        inputs = torch.cat([inputs, network.decoder(inputs, memories, context)[:, -1:]], dim=1)
    return inputs[:, 1:]


def forecasts(network: Network, rate: float, rounds: int, device: str) -> list[dict[str, Any]]:
    rows = []
    for samples in (1, 10):
        given = arguments(1, device)

        def run(given: Any = given, samples: int = samples) -> Any:
            return network.forecast(*given, HORIZON, samples, np.random.default_rng(0))

        with FlopCounterMode(display=False) as counter:
            run()
        (seconds,) = least(rounds, device == "cuda", run)
        operations = counter.get_total_flops()
        rows.append(
            {
                "samples": samples,
                "seconds": seconds,
                "operations": operations,
                "share_of_machine": operations / seconds / rate,
            }
        )
    return rows


def cached(network: Any, rounds: int, device: str) -> list[dict[str, Any]]:
    rows = []
    for batch in (1, 10, 32):
        with torch.inference_mode():
            context = network.context(*arguments(batch, device))
            memory = network.encoder(context)

            def keep(context: Any = context, memory: Any = memory) -> Any:
                with torch.inference_mode():
                    return network.decoder.generate(memory, context, HORIZON, 1)

            def again(context: Any = context, memory: Any = memory) -> Any:
                return afresh(network, context, memory)

            torch.testing.assert_close(keep()[:, 0], again(), rtol=1e-3, atol=1e-3)
            kept, fresh = least(rounds, device == "cuda", keep, again)
        rows.append({"batch": batch, "cached_seconds": kept, "recomputed_seconds": fresh, "ratio": fresh / kept})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rate = machine_rate(options.rounds, options.device)
    result: dict[str, Any] = {
        "threads": options.threads,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else platform.machine(),
        "torch": torch.__version__,
        "machine_gflops": rate / 1e9,
        "models": {},
    }
    print(f"a product of matrices: {rate / 1e9:.0f} GFLOP/s, {options.threads} threads, {options.device}")
    for name in architectures:
        for size in ("small", "base"):
            torch.manual_seed(0)
            network = architectures.get(name).of_size(size, FeatureSpec(layout="xyc")).to(options.device).eval()
            rows = forecasts(network, rate, options.rounds, options.device)
            if hasattr(network, "decoder") and hasattr(network.decoder, "innovation"):
                network.decoder.innovation.copy_(0.01 * torch.eye(75))  # so that several samples differ
            found: dict[str, Any] = {"parameters": network.info.parameters, "forecast": rows}
            steps = getattr(network, "steps", None)
            if steps:
                found["steps"] = steps
            told = ", ".join(
                f"{r['samples']} samples {r['seconds'] * 1e3:.1f} ms ({r['share_of_machine']:.0%} of the machine)"
                for r in rows
            )
            print(f"{name}-{size}{f' ({steps} steps)' if steps else ''}: {told}")
            if hasattr(network, "decoder") and hasattr(network.decoder, "innovation"):
                found["decoding"] = cached(network, options.rounds, options.device)
                for r in found["decoding"]:
                    print(f"    batch {r['batch']}: keys and values kept, {r['ratio']:.1f} times as fast as recomputed")
            result["models"][f"{name}-{size}"] = found
    print(json.dumps(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
