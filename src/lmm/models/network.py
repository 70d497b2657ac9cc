"""What every learned forecaster is besides its network: its record, its files, its masks, NumPy in and out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from huggingface_hub import ModelHubMixin, snapshot_download
from torch import Tensor, nn

from lmm.core.errors import InputError, MotionError
from lmm.models.blocks import attention_mask, to_tensor
from lmm.models.bones import hold_lengths
from lmm.models.config import NetworkConfig, read_config
from lmm.models.files import load_weights, save_model
from lmm.models.forecaster import ModelInfo
from lmm.pipeline.features import MIDHIP, NECK, NUM_JOINTS, FeatureSpec
from lmm.skeletons import BODY_25
from lmm.tokens import pad_left


@dataclass(frozen=True, eq=False)
class Context:
    """What a network sees, T a multiple of 5.

    frames    (B, T, 75), 0 where a joint is not seen
    observed  (B, T, 25) bool: the joint is seen, and is one that the training data recorded
    mask      (B, 1, 1, T) bool, False at padding on the left; None where there is none
    anchor    (B, 75), the last seen value of every feature, 0 where there is none
    known     (B, 75), 1 for features of joints that the context shows, else 0
    root      (B, 75) bool, True for the features that hold the root's displacement
    places    (75,) bool, True for coordinates, False for confidences
    heights   (B, T), how much higher the lowest foot was than now; None where the root's height is told, not the foot's
    """

    frames: Tensor
    observed: Tensor
    mask: Tensor | None
    anchor: Tensor
    known: Tensor
    root: Tensor
    places: Tensor
    heights: Tensor | None = None

    @property
    def up(self) -> Tensor:
        """(B, 75) bool, True for the root's second coordinate: upwards."""
        return self.root & (torch.arange(self.root.shape[-1], device=self.root.device) % 3 == 1)


@dataclass(frozen=True, eq=False)
class Example:
    """A batch to train on.

    target  (B, H, 75), the anchor where there is nothing to see
    exists  (B, 1, 1, H) bool, False after the end of a clip; None where no clip ends
    counts  (B, H, 75) bool, what losses count
    """

    context: Context
    target: Tensor
    exists: Tensor | None
    counts: Tensor


class Network(nn.Module, ModelHubMixin, ABC):
    """A learned forecaster; subclasses say how to `generate` and what `loss` they train with.

    `save_pretrained(folder)` writes config.json, model.safetensors (in shards under 16 MiB) and README.md;
    `from_pretrained(folder or name on the hub)` reads them. Nothing is unpickled.
    """

    sizes: ClassVar[dict[str, dict[str, Any]]]
    architecture: ClassVar[str]
    fewest_draws = 1
    joints: Tensor
    places: Tensor

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.features, self.context_frames, self.block_frames = config.spec, config.context_frames, config.block_frames
        self.register_buffer("joints", torch.tensor(config.joints), persistent=False)
        dims = torch.tensor([True, True, config.spec.layout == "xyz"])
        self.register_buffer("places", dims.repeat(NUM_JOINTS), persistent=False)

    @classmethod
    def of_size(cls, size: str, spec: FeatureSpec, **changes: Any) -> Network:
        """Return a new network with random weights (torch's global generator)."""
        if size not in cls.sizes:
            raise MotionError(f"{cls.architecture} has no size {size!r}; it has {', '.join(cls.sizes)}.")
        return cls(
            NetworkConfig(
                **{"architecture": cls.architecture, "size": size, "spec": spec, **cls.sizes[size], **changes}
            )
        )

    @property
    def info(self) -> ModelInfo:
        return self.config.info(sum(p.numel() for p in self.parameters()))

    @abstractmethod
    def generate(self, context: Context, frames: int, samples: int, generator: torch.Generator) -> Tensor:
        """Return (B, samples, frames, 75); features of joints that the context does not show stay 0."""

    @abstractmethod
    def loss(self, batch: Example, progress: float) -> tuple[Tensor, Tensor]:
        """Return the sum of squared errors over what counts, and how many numbers counted.

        `progress` runs from 0 to 1 over the training, for schedules. Random numbers come from torch's global generator.
        """

    def validation(self, batch: Example) -> tuple[Tensor, Tensor]:
        """Return what chooses the best weights, as `loss` does; autoregressive networks are rolled out for it."""
        return self.loss(batch, 0.0)

    def fit(self, batches: Iterable[Example]) -> None:
        """Measure on training windows what the network needs besides weights. Called once, before training."""

    def calibrate(self, batches: Iterable[Example]) -> None:
        """Measure on validation windows what sampling needs. Called on weights that are to be kept."""

    def context(self, frames: Tensor, valid: Tensor, observed: Tensor) -> Context:
        """Return what the network sees of `frames` (B, T, 75)."""
        seen = observed & valid[..., None] & self.joints
        frames = torch.where(seen.repeat_interleave(3, dim=-1), frames, 0)
        order = torch.arange(1, frames.shape[1] + 1, device=frames.device)
        last = (seen * order[:, None]).amax(dim=1)  # (B, 25), 0 where never seen
        at = (last - 1).clamp(min=0)[:, None, :, None].expand(-1, 1, -1, 3)
        anchor = frames.unflatten(-1, (NUM_JOINTS, 3)).gather(1, at)[:, 0]  # where never seen, frames are 0
        known = (last > 0).repeat_interleave(3, dim=-1).to(frames.dtype)
        root = self._root((observed & valid[..., None])[:, :, MIDHIP].any(1))
        return Context(frames, seen, attention_mask(valid), anchor.flatten(1), known, root, self.places)

    def _root(self, on_hips: Tensor) -> Tensor:
        """Return (B, 75): True for the coordinates of the mid-hip, or of the neck where it is not centred `on_hips`."""
        root = torch.zeros(len(on_hips), NUM_JOINTS, 3, dtype=torch.bool, device=on_hips.device)
        root[:, MIDHIP], root[:, NECK] = on_hips[:, None], ~on_hips[:, None]
        return root.flatten(1) & self.places

    def example(self, batch: Any) -> Example:
        """Return a `datasets.windows.Batch` as tensors on the network's device."""
        like = next(self.parameters())
        context, valid, observed, target = (
            to_tensor(x, like) for x in (batch.context, batch.valid, batch.observed, batch.target)
        )
        present, recorded = (to_tensor(x, like) & self.joints for x in (batch.present, batch.recorded))
        seen = self.context(context, valid, observed)
        target = torch.where(present.repeat_interleave(3, dim=-1), target, seen.anchor[:, None])
        return Example(seen, target, attention_mask(present.any(-1)), recorded.repeat_interleave(3, dim=-1))

    @torch.inference_mode()
    def forecast(
        self, context: Any, valid: Any, observed: Any, horizon_frames: int, samples: int = 1, generator: Any = None
    ) -> Any:
        """See `Forecaster.forecast`. Joints that the training data lacked go along with their nearest trained parent.

        In 3D, bones keep the length that they have in the context.

        Raises MotionError beyond `block_frames`: longer horizons are rolled out (`lmm.inference.forecast`).
        """
        if not 1 <= horizon_frames <= self.block_frames:
            raise MotionError(
                f"{self.config.name} forecasts 1 to {self.block_frames} frames at once, {horizon_frames} asked."
            )
        self.eval()
        like = next(self.parameters())
        x, v, o = (to_tensor(a, like) for a in (context, valid, observed))
        x, v, o = x[:, -self.context_frames :], v[:, -self.context_frames :], o[:, -self.context_frames :]
        pad = pad_left(x.shape[1])
        x, o = (nn.functional.pad(a, (0, 0, pad, 0)) for a in (x, o))
        v = nn.functional.pad(v, (pad, 0))
        out = self.generate(self.context(x, v, o), horizon_frames, samples, _torch_generator(generator, like.device))
        out = self._carried(out, x, o & v[..., None])
        if self.features.layout == "xyz":
            out = hold_lengths(out, x, o & v[..., None], self.features)
        out = out.contiguous()  # equal samples share no memory
        if isinstance(context, Tensor):
            return out
        return (out.float() if out.dtype == torch.bfloat16 else out).cpu().numpy()  # NumPy has no bfloat16

    def _carried(self, future: Tensor, context: Tensor, seen: Tensor) -> Tensor:
        """Let joints that were never trained keep their last offset from the nearest parent that was."""
        if bool(self.joints.all()):
            return future
        out, rows = future.clone(), torch.arange(len(context), device=context.device)
        # standardised values differ in unit from joint to joint: offsets are taken in body lengths
        std = torch.tensor(np.reshape(self.features.std, (NUM_JOINTS, 3)), dtype=future.dtype, device=future.device)
        centre = torch.where(seen[:, :, MIDHIP].any(1), MIDHIP, NECK)
        dims = 2 if self.features.layout == "xyc" else 3
        shape = (*future.shape[:-1], NUM_JOINTS, 3)
        places = out.view(shape)
        past = torch.where(seen[..., None], context.unflatten(-1, (NUM_JOINTS, 3)), 0)
        for joint in [j for j in range(NUM_JOINTS) if not bool(self.joints[j])]:
            parent = BODY_25.parents[joint]
            while parent >= 0 and not bool(self.joints[parent]):
                parent = BODY_25.parents[parent]
            frames = torch.arange(1, context.shape[1] + 1, device=context.device)
            last = (seen[:, :, joint] * frames).amax(1).sub(1).clamp(min=0)
            now = past[rows, last, joint]
            places[..., joint, :] = now[:, None, None]
            if parent >= 0:
                moved = (places[..., parent, :dims] - past[rows, last, parent, :dims][:, None, None]) * std[
                    parent, :dims
                ]
                moves = (centre != parent) & seen[rows, last, parent] & seen[rows, last, joint]
                places[..., joint, :dims] += torch.where(moves[:, None, None, None], moved / std[joint, :dims], 0)
        return out

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(self, self.config, Path(save_directory), self.config.name)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **given: Any) -> Any:
        """Return the network of a folder, or of a name on the hub, ready to forecast.

        Raises InputError if a folder holds no config, or weights that do not fit it.
        """
        if Path(pretrained_model_name_or_path).is_dir():  # before the hub's reader, which trusts what it reads
            read_config(Path(pretrained_model_name_or_path), NetworkConfig)
        return super().from_pretrained(pretrained_model_name_or_path, **given)

    @classmethod
    def _from_pretrained(cls, *, model_id: str, local_files_only: bool = False, **given: Any) -> Network:
        folder = Path(model_id)
        if not folder.is_dir():
            kept = {k: given[k] for k in ("revision", "cache_dir", "force_download", "token") if k in given}
            allowed = ["*.safetensors", "*.json", "README.md"]
            folder = Path(
                snapshot_download(model_id, local_files_only=local_files_only, allow_patterns=allowed, **kept)
            )
        config = read_config(folder, NetworkConfig)
        if config.architecture != cls.architecture:
            raise InputError(folder, f"holds a network of architecture {config.architecture}, not {cls.architecture}")
        network = cls(config)
        load_weights(network, folder)
        return network.eval()


def mean_loss(prediction: Tensor, target: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of squared errors where `counts` is True, and how many there are."""
    return (torch.where(counts, prediction - target, 0) ** 2).sum(), counts.sum()


def _torch_generator(generator: Any, device: torch.device) -> torch.Generator:
    if isinstance(generator, torch.Generator):
        return generator
    rng = generator if generator is not None else np.random.default_rng()
    made: torch.Generator = torch.Generator(device).manual_seed(int(rng.integers(1 << 62)))
    return made
