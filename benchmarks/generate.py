"""How fast is motion made from text, and how fast could it be?

    python benchmarks/generate.py [--shape qwen2.5-0.5b] [--size base] [--dtype bf16] [--steps 10 50] [--threads 2]

A motion-language model of the shape of a known language model, with random weights, continues a prompt of 16 words;
the codec turns each latent into 4 frames as it comes. Every latent reads all weights of the motion branch once, those
of the flow head's blocks once a step, and those that tell the blocks of the time once. The floor is the time that
memory needs for these bytes (weights only), at the speed at which one large product of oneDNN reads weights of this
type, measured in the same round. "/ floor" is how many times longer a latent takes, codec and all: of the clock, and of
the processor's time, which other work on the machine slows less. Its own line tells the products that there are for
one row, in GB/s of weights. With --minutes a stream of that length is run at the end, and the process's memory told.
"""

from __future__ import annotations

import argparse
import itertools
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from lmm.models.codec import Codec
from lmm.models.motion_language import MotionLanguageModel
from lmm.models.motion_language_config import MotionLanguageConfig
from lmm.models.one_token import fused
from lmm.models.sequences import Segment

SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    "15m": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 8},
    "qwen2.5-0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151_936,
    },
    "llama-3.2-1b": {
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "vocab_size": 128_256,
    },
}
TYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
FRAMES = 4  # of a latent
PROMPT = Segment(torch.arange(100, 116))


def build(shape: str, size: str, dtype: torch.dtype, device: str) -> MotionLanguageModel:
    """Return a model with random weights of which none is zero."""
    given = {"vocab_size": 4096, "tie_word_embeddings": True, "num_key_value_heads": 4, **SHAPES[shape]}
    torch.set_default_dtype(dtype)
    with torch.device(device):
        llm = transformers.AutoModelForCausalLM.from_config(transformers.Qwen2Config(**given), dtype=dtype)
        torch.set_default_dtype(torch.float32)
        heads = MotionLanguageModel.sizes[size]
        model = MotionLanguageModel(MotionLanguageConfig(size=size, width=llm.config.hidden_size, **heads), llm)
        with torch.no_grad():
            model.motion.flow.modulation.weight.normal_(std=0.02)
            model.motion.flow.leave.weight.normal_(std=0.02)
            model.motion.exit.bias.fill_(-100)  # it never ends
    return model.eval()


def bytes_read(model: MotionLanguageModel) -> tuple[int, int]:
    """Return the bytes of weights that a latent reads, and those that each step of the flow adds."""
    m = model.motion
    step = sum(p.nbytes for p in [*m.flow.blocks.parameters(), *m.flow.enter.parameters(), *m.flow.leave.parameters()])
    head = sum(p.nbytes for p in m.flow.parameters()) - step - sum(p.nbytes for p in m.flow.time.parameters())
    branch = sum(p.nbytes for p in [*m.layers.parameters(), *m.norm.parameters(), *m.adapter.parameters()])
    return branch + head, step


class Clock:
    """Seconds of the wall and of the processor, over a ``with``."""

    def __init__(self, device: str) -> None:
        self._device = device

    def __enter__(self) -> Clock:
        self.wall, self.processor = -time.perf_counter(), -time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()
        self.wall += time.perf_counter()
        self.processor += time.process_time()


def products(dtype: torch.dtype, shape: dict[str, int]) -> dict[str, float]:
    """Return GB/s at which one row is multiplied by the gate and up layers of this shape, in ways that torch has."""
    width, hidden = shape["hidden_size"], shape["intermediate_size"]
    layers = [torch.nn.Linear(width, 2 * hidden, bias=False, dtype=dtype) for _ in range(8)]  # more than caches hold
    row = torch.randn(1, width, dtype=dtype)
    laid_out = [fused(layer) for layer in layers]
    works = {
        "nn.Linear": [lambda w=layer: w(row) for layer in layers],
        "torch.mv": [lambda w=layer.weight: torch.mv(w, row[0]) for layer in layers],
        "oneDNN, laid out": [lambda w=layer: w(row) for layer in laid_out],
    }
    found = {}
    for name, calls in works.items():
        times = []
        for call in [*calls, *calls * 5]:
            with Clock("cpu") as clock:
                call()
            times.append(clock.wall)
        best = [min(times[i :: len(calls)]) for i in range(len(calls))]
        found[name] = 1e-9 * sum(layer.weight.nbytes for layer in layers) / sum(best)
    return found


def resident_mb() -> float:
    """Return the process's memory in MB (Linux), or NaN."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), float("nan"))


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="qwen2.5-0.5b")
    parser.add_argument("--size", choices=MotionLanguageModel.sizes, default="base")
    parser.add_argument("--dtype", choices=TYPES, default="bf16")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--latents", type=int, default=15, help="of a round")
    parser.add_argument("--minutes", type=float, default=0, help="length of the stream by which memory is told")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device, dtype = given.device, TYPES[given.dtype]
    model = build(given.shape, given.size, dtype, device)
    if device == "cpu":
        for name in TYPES:
            ways = products(TYPES[name], SHAPES[given.shape])
            print(f"one row, {name}, GB/s of weights:", ", ".join(f"{k} {v:.1f}" for k, v in ways.items()))
    codec = Codec.of_size("small").to(device).eval()
    model._made_ready("motion")
    once, each = bytes_read(model)
    large = torch.nn.Linear(8192, 16384, bias=False, device=device, dtype=dtype)
    row, product = torch.randn(1, 8192, device=device, dtype=dtype), fused(large)
    product(row)

    def stream(steps: int, number: int) -> Any:
        random = torch.Generator().manual_seed(0)
        return model.generate(
            [PROMPT], random, steps=steps, guidance=given.guidance, min_latents=number, max_latents=number
        )

    found: dict[str, Any] = {
        "shape": given.shape,
        "size": given.size,
        "dtype": given.dtype,
        "guidance": given.guidance,
        "threads": given.threads,
        "torch": torch.__version__,
        "machine": platform.machine() if device == "cpu" else torch.cuda.get_device_name(),
        "parameters_read": (once + each) // dtype.itemsize,
        "mb_a_latent": once / 1e6,
        "mb_a_step": each / 1e6,
    }
    for steps in given.steps:
        going = stream(steps, (given.rounds + 1) * given.latents + 200)
        state = None
        for latent in itertools.islice(going, given.latents):  # warm up, and fill some of the window
            _, state = codec.decode_chunk(latent[None, None], state)
        rows = []
        for _ in range(given.rounds):
            passes = []
            for _ in range(8):
                with Clock(device) as clock:
                    product(row)
                passes.append((clock.wall, clock.processor))
            wall, processor = (min(x) for x in zip(*passes, strict=True))
            latents: list[torch.Tensor] = []
            with Clock(device) as model_clock:
                latents.extend(itertools.islice(going, given.latents))
            with Clock(device) as codec_clock:
                for latent in latents:
                    _, state = codec.decode_chunk(latent[None, None], state)
            with Clock(device) as first:
                codec.decode_chunk(next(stream(steps, 1))[None, None], None)
            passes_a_latent = (once + steps * each) / large.weight.nbytes
            a_latent = (model_clock.wall + codec_clock.wall) / given.latents
            work = (model_clock.processor + codec_clock.processor) / given.latents
            rows.append(
                {
                    "gb_s": 1e-9 * large.weight.nbytes / wall,
                    "floor_ms": 1e3 * passes_a_latent * wall,
                    "ms": 1e3 * a_latent,
                    "codec_ms": 1e3 * codec_clock.wall / given.latents,
                    "over_floor": a_latent / (passes_a_latent * wall),
                    "frames_s": FRAMES / a_latent,
                    "processor_ms": 1e3 * work,
                    "processor_over_floor": work / (passes_a_latent * processor),
                    "first_frame_ms": 1e3 * first.wall,
                    "first_frame_processor_ms": 1e3 * first.processor,
                }
            )
        middle = {k: statistics.median(r[k] for r in rows) for k in rows[0]}
        best = min(rows, key=lambda r: r["ms"])
        found[f"steps_{steps}"] = {"median": middle, "best": best, "rounds": rows}
        print(
            f"{steps:3} steps: {middle['ms']:6.1f} ms a latent (codec {middle['codec_ms']:.1f}), "
            f"{middle['frames_s']:6.1f} frames/s; floor {middle['floor_ms']:5.1f} ms at {middle['gb_s']:.1f} GB/s, "
            f"/ floor {middle['over_floor']:.2f}; best round {best['ms']:.1f} ms, {best['frames_s']:.1f} frames/s, "
            f"/ floor {best['over_floor']:.2f}\n{'':11}processor {middle['processor_ms']:6.1f} ms a latent, / floor "
            f"{middle['processor_over_floor']:.2f}; first frame {middle['first_frame_ms']:.0f} ms, processor "
            f"{middle['first_frame_processor_ms']:.0f} ms",
            flush=True,
        )
    if given.minutes:
        number = round(given.minutes * 60 * 7.5)
        memory, start, state = [], time.perf_counter(), None
        for i, latent in enumerate(stream(given.steps[0], number)):
            _, state = codec.decode_chunk(latent[None, None], state)
            if i % max(1, number // 10) == number // 20:
                memory.append(resident_mb())
        seconds = time.perf_counter() - start
        found["stream"] = {"minutes": given.minutes, "seconds": seconds, "resident_mb": memory}
        print(
            f"{given.minutes:g} minutes of motion in {seconds:.0f} s ({FRAMES * number / seconds:.1f} frames/s); "
            f"memory {memory[0]:.0f} MB at first, {memory[-1]:.0f} MB at last, {max(memory):.0f} MB at most"
        )
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
