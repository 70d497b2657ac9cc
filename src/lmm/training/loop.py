"""The training loop: one for all networks, plain, and exactly resumable.

Step k of a run is a function of the weights before it and of (seed, k): its windows, dropout and noise are drawn from
that pair. A checkpoint of the weights, their average and the optimizer is therefore all that there is to resume; after
a kill at any moment the run goes on from the last one and ends with the same bits.
"""

from __future__ import annotations

import contextlib
import copy
import csv
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lmm.core.errors import InputError, LmmError
from lmm.core.writing import write_bytes
from lmm.training.checkpoint import load_checkpoint, save_checkpoint
from lmm.training.config import RunConfig
from lmm.training.kinds import Run, kind

LOG = "log.csv"
VAL_NOISE = 1 << 30  # in place of a process's number
FIELDS = ("step", "epoch", "loss", "val_loss", "lr", "grad_norm", "seconds")
Report = Callable[[dict[str, Any]], None]


def train(
    config: RunConfig, out: Path, resume: bool = False, device: str = "cpu", report: Report | None = None
) -> Path:
    """Train as `config` says and return the folder of the best weights, ``OUT/best``.

    `out` holds config.json, log.csv, tensorboard/, the last checkpoints and best/, the model's folder. `report` is
    called after each step with the numbers of the log. On several processes (torchrun) the batch is shared among them.
    Raises InputError if `out` holds another run, LmmError if the data do not fit or the loss is no longer finite.
    """
    # as torchrun tells each process
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if config.batch < world:
        raise LmmError(f"a batch of {config.batch} windows cannot be shared by {world} processes. Raise batch.")
    if rank == 0:
        _claim(out, config, resume)
    if world > 1:
        dist.init_process_group("nccl" if device == "cuda" else "gloo")
        if device == "cuda":
            torch.cuda.set_device(rank % torch.cuda.device_count())
    try:
        with torch.random.fork_rng():
            return _train(config, out, torch.device(device), report or (lambda _: None), rank, world)
    finally:
        if world > 1:
            dist.destroy_process_group()


def _train(config: RunConfig, out: Path, device: torch.device, report: Report, rank: int, world: int) -> Path:
    torch.manual_seed(config.seed)
    run = kind(config.model).prepare(config, device)
    network = run.network
    frozen = {id(p): p for p in network.parameters() if not p.requires_grad}
    average = copy.deepcopy(network, frozen).requires_grad_(False).eval()  # which shares what is not trained
    optimizer = torch.optim.AdamW(_groups(run), config.lr, weight_decay=config.weight_decay)
    begun: dict[str, Any] = {"step": 0, "best": math.inf, "bad_epochs": 0, "val_loss": None}
    state = load_checkpoint(out, network, average, optimizer) or begun
    log = _Log(out, state["step"], rank, tuple(getattr(network, "told", ())))
    start = time.monotonic()
    steps = _batches(run, config, state["step"], rank, world)
    for step, batch in zip(range(state["step"], config.steps), steps, strict=False):
        if config.patience and state["bad_epochs"] >= config.patience:
            break
        lr = learning_rate(config, step)
        torch.manual_seed(_seed(config.seed, step, rank))
        loss, norm = _step(network, run.place(batch), optimizer, lr, step / config.steps, config, world)
        _follow(average, network, min(config.ema, (1 + step) / (10 + step)))
        state["step"] = step + 1
        row = {"step": step + 1, "epoch": step // config.steps_per_epoch, "loss": loss, "lr": lr, "grad_norm": norm}
        row |= {"seconds": round(time.monotonic() - start, 3), **getattr(network, "told", {})}
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise LmmError(
                f"the loss or its gradient is no longer finite at step {step + 1}. The last checkpoint and {out}/best "
                "are whole: try a smaller lr in a new run."
            )
        if (step + 1) % config.steps_per_epoch == 0:
            state["val_loss"] = row["val_loss"] = validate(average, run.val, config)
            better = state["val_loss"] < state["best"]
            state["best"] = min(state["best"], state["val_loss"])
            state["bad_epochs"] = 0 if better else state["bad_epochs"] + 1
            if better and rank == 0:
                _save_best(run, average, out, state)
        log.write(row)
        if rank == 0 and (state["step"] % config.checkpoint_steps == 0 or state["step"] == config.steps):
            save_checkpoint(out, network, average, optimizer, state)
        report(row)
    return out / "best"


def learning_rate(config: RunConfig, step: int) -> float:
    """Return the rate at `step`: linear warm-up, then constant or half a cosine down to 2 % of it."""
    warm = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.schedule == "constant":
        return config.lr * warm
    done = max(0, step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return config.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


@torch.no_grad()
def validate(network: nn.Module, batches: list[Any], config: RunConfig) -> float:
    """Return the network's validation loss over fixed windows with fixed noise."""
    network.eval()
    total = count = 0.0
    for i, batch in enumerate(batches):
        torch.manual_seed(_seed(config.seed, i, VAL_NOISE))
        loss, number = network.validation(batch)
        total, count = total + float(loss), count + float(number)
    return total / max(count, 1)


def _step(
    network: nn.Module, batch: Any, optimizer: Any, lr: float, progress: float, config: RunConfig, world: int
) -> tuple[float, float]:
    network.train()
    kind = next(network.parameters()).device.type
    with torch.autocast(kind, torch.bfloat16) if config.precision == "bf16" else contextlib.nullcontext():
        loss, count = network.loss(batch, progress)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    sums = torch.stack([loss.detach().double(), count.double()])
    if world > 1:
        _sum_over_processes([*gradients, sums])
    for g in gradients:
        g.div_(sums[1].clamp(min=1))
    norm = torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]
    mean = float(sums[0] / sums[1].clamp(min=1))
    if math.isfinite(mean) and math.isfinite(float(norm)):
        optimizer.step()
    return mean, float(norm)


def _sum_over_processes(tensors: list[Tensor]) -> None:
    for t in tensors:
        dist.all_reduce(t)


def _groups(run: Run) -> list[dict[str, Any]]:
    return run.groups or [{"params": [p for p in run.network.parameters() if p.requires_grad], "scale": 1.0}]


@torch.no_grad()
def _follow(average: nn.Module, network: nn.Module, decay: float) -> None:
    pairs = zip(average.parameters(), network.parameters(), strict=True)
    ours, theirs = zip(*((a, n) for a, n in pairs if n.requires_grad), strict=True)
    torch._foreach_lerp_(ours, theirs, 1 - decay)


def _save_best(run: Run, average: nn.Module, out: Path, state: dict[str, Any]) -> None:
    """Write ``best/`` beside the one before, then put it in its place: weights and card are always of one step."""
    best, fresh, before = out / "best", out / ".best", out / ".before"
    for left in (fresh, before):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    run.save(average, fresh, state)
    if best.exists():
        best.rename(before)
    fresh.rename(best)
    shutil.rmtree(before, ignore_errors=True)


class _Steps(Dataset[Any]):
    """Batch number i of a run; each is cut when asked for, in whichever process."""

    def __init__(self, run: Run, steps: int, part: slice) -> None:
        self._batch, self._steps, self._part = run.batch, steps, part

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Any:
        return self._batch(step, self._part)


def _batches(run: Run, config: RunConfig, start: int, rank: int, world: int) -> Iterator[Any]:
    steps = _Steps(run, config.steps, slice(rank, None, world))
    loader = DataLoader(
        steps, batch_size=None, sampler=range(start, config.steps), num_workers=config.workers, collate_fn=_same
    )
    return iter(loader)


def _same(batch: Any) -> Any:
    return batch


def _seed(*numbers: int) -> int:
    """Return one seed of several numbers (SplitMix64's mixing, so that neighbours do not resemble each other)."""
    x = 0
    for n in numbers:
        x = (x + n + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 31
    return x >> 1


def _claim(out: Path, config: RunConfig, resume: bool) -> None:
    """Make the run's folder. A folder with another run, or with this one unless it is to be resumed, is refused."""
    path, text = out / "config.json", json.dumps(config.model_dump(mode="json"), indent=1)
    if path.is_file() and (out / LOG).is_file():  # without a log nothing has been trained that could be lost
        if path.read_text("utf-8") != text:
            raise InputError(out, "holds a run of another config", "Give another --out, or the config of that run")
        if not resume:
            raise InputError(out, "holds this run already", "Go on with it by --resume, or give another --out")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_bytes(path, text.encode())


class _Log:
    """log.csv and tensorboard/, cut back to the step from which a run goes on. Only the first process writes.

    `parts` are the names of what is logged besides FIELDS.
    """

    def __init__(self, out: Path, step: int, rank: int, parts: tuple[str, ...]) -> None:
        self._writes, self._parts, self._fields = rank == 0, parts, (*FIELDS, *parts)
        self._board: Any = None
        if not self._writes:
            return
        self._path = out / LOG
        rows = []
        if self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as f:
                rows = [r for r in csv.DictReader(f) if r.get("seconds") and int(r["step"]) <= step]
        with self._path.open("w", newline="", encoding="utf-8") as f:
            writer = csv.DictWriter(f, self._fields)
            writer.writeheader()
            writer.writerows(rows)
        with contextlib.suppress(ImportError):  # an extra
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1)

    def write(self, row: dict[str, Any]) -> None:
        if not self._writes:
            return
        with self._path.open("a", newline="", encoding="utf-8") as f:
            csv.DictWriter(f, self._fields).writerow(row)
        if self._board is not None:
            for name in ("loss", "val_loss", "lr", "grad_norm", *self._parts):
                if row.get(name) is not None:
                    self._board.add_scalar(name, row[name], row["step"])
