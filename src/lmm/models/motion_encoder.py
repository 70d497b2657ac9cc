"""Native motion → tokens: attention among the joints of a moment, then along time. Nothing is made discrete.

"Human Motion Instruction Tuning", CVPR 2025 (no code released) asks for a spatio-temporal transformer on (T, J, 3);
how it is laid out is ours. A token of joint j is `patch` frames of it, as the tubelets of A. Arnab et al., "ViViT",
2021, section 3.2: their places p, velocities v and whether they were seen o,

    x_nj = W_j [p, v, o]_nj + b_j          n the patch, W_j each joint's own

To the joints of a patch comes a token of no joint; all of them attend to each other (pre-norm transformer layers), and
joints that are not seen in the patch are not attended to. Then

    f_n = U_0 x_n0 + Σ_j seen_nj U_j x_nj / √J + P [path]_n          path: where the body is, from where it began

goes through pre-norm layers along time with rotary positions (J. Su et al., "RoFormer", 2021), each of which sees the
whole motion. Padding is on the right and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.core.errors import MotionError
from lmm.core.motion import Motion
from lmm.models.assistant_config import AssistantConfig
from lmm.models.blocks import Encoder, FeedForward
from lmm.models.one_token import rotate
from lmm.pipeline.features import MIDHIP, NECK, NUM_JOINTS, FeatureSpec, encode, moments
from lmm.pipeline.resample import resample

Array = NDArray[Any]
ROTARY_BASE = 1000.0  # periods of 2π to 2π · 1000 tokens: at 5 a second from a second to twenty minutes
VIDEO_FPS = 2.0
NUMBERS = 7  # of a joint in a frame: place, velocity, seen


@dataclass(frozen=True, eq=False)
class Clip:
    """A motion as an assistant reads it, and the frames of its video, if there are some.

    places     (T, 25, 3) float32, standardised, relative to the mid-hip (or neck), 0 where not seen and in that joint
    observed   (T, 25) bool
    path       (T, 3) float32, body lengths: the mid-hip's (or neck's) way since the first frame; it is held in gaps
    fps        frames a second
    start_s    time of the first frame; later than the motion's own where only its end is read
    video      (N, 3, H, W) uint8 RGB at `VIDEO_FPS`, from the first frame on, or None
    """

    places: Array
    observed: Array
    path: Array
    fps: float
    start_s: float = 0.0
    video: Tensor | None = None

    @property
    def seconds(self) -> float:
        return len(self.places) / self.fps


def read_clip(motion: Motion, spec: FeatureSpec, longest: int, video: Tensor | None = None) -> Clip:
    """Return a BODY_25 motion in metres at the rate of `spec`, at most its last `longest` frames.

    `video` (N, 3, H, W) uint8 begins with the motion, at VIDEO_FPS; what lies beyond the frames that are read is left.

    Raises MotionError if it is in pixels or another skeleton, or neither mid-hip nor neck is ever seen.
    """
    begin = motion.start_s
    motion = resample(motion, spec.fps)
    if motion.num_frames > longest:
        motion = motion.crop(motion.num_frames - longest, motion.num_frames)
    found = encode(motion, spec)
    places = found.values.reshape(-1, NUM_JOINTS, 3)
    centre = MIDHIP if found.transform.centre == "MidHip" else NECK
    mean, std = moments(spec, found.transform.centre)
    step = np.where(found.observed[:, centre, None], places[:, centre] * std[centre] + mean[centre], 0)
    places = places.copy()
    places[:, centre] = 0
    if video is not None:
        first = round((motion.start_s - begin) * VIDEO_FPS)
        video = video[first : first + max(1, round(motion.seconds * VIDEO_FPS))]
    path = np.cumsum(step, axis=0).astype(np.float32)
    return Clip(places, found.observed, path, spec.fps, motion.start_s, video)


@dataclass(frozen=True, eq=False)
class Frames:
    """Clips side by side, padded on the right: places (B, T, 25, 3), observed (B, T, 25), path (B, T, 3), valid (B, T);
    T is a multiple of the patch."""

    places: Tensor
    observed: Tensor
    path: Tensor
    valid: Tensor


def side_by_side(clips: list[Clip], patch: int, like: Tensor) -> Frames:
    """Return clips as tensors on the device and of the dtype of `like`. Raises MotionError for an empty one."""
    if not all(len(c.places) for c in clips):
        raise MotionError("a motion without frames was given.")
    frames = -(-max(len(c.places) for c in clips) // patch) * patch
    out = (
        np.zeros((len(clips), frames, NUM_JOINTS, 3), np.float32),
        np.zeros((len(clips), frames, NUM_JOINTS), np.bool_),
        np.zeros((len(clips), frames, 3), np.float32),
        np.zeros((len(clips), frames), np.bool_),
    )
    for i, c in enumerate(clips):
        n = len(c.places)
        out[0][i, :n], out[1][i, :n], out[2][i, :n], out[3][i, :n] = c.places, c.observed, c.path, True
        out[2][i, n:] = c.path[-1]
    tensors = [torch.from_numpy(x).to(like.device, like.dtype if x.dtype == np.float32 else None) for x in out]
    return Frames(*tensors)


class MotionEncoder(nn.Module):
    """See the module."""

    def __init__(self, config: AssistantConfig) -> None:
        super().__init__()
        c = config
        self.patch, self.fps = c.patch_frames, c.spec.fps
        numbers = NUMBERS * c.patch_frames
        self.enter = nn.Parameter(torch.randn(NUM_JOINTS, numbers, c.joint_width) * numbers**-0.5)
        self.joint = nn.Parameter(torch.randn(1 + NUM_JOINTS, c.joint_width))
        self.joints = Encoder(c.joint_layers, c.joint_width, c.joint_heads, 2 * c.joint_width, 0.0)
        self.leave = nn.Parameter(torch.randn(1 + NUM_JOINTS, c.joint_width, c.width) * c.joint_width**-0.5)
        self.path = nn.Linear(3 * 2, c.width)
        self.layers = nn.ModuleList(TimeLayer(c.width, c.heads, c.hidden, c.dropout) for _ in range(c.layers))
        self.norm = nn.LayerNorm(c.width)

    def forward(self, frames: Frames) -> tuple[Tensor, Tensor]:
        """Return tokens (B, N, width), one a patch, and which of them exist (B, N)."""
        seen, p = frames.observed & frames.valid[..., None], self.patch
        used = seen.flatten(0, 1).any(0).nonzero()[:, 0]  # joints that nobody shows cost nothing
        seen, places = seen[:, :, used], frames.places[:, :, used]
        velocity = self.fps * F.pad(places.diff(dim=1), (0, 0, 0, 0, 1, 0))
        moves = seen & F.pad(seen[:, :-1], (0, 0, 1, 0))
        x = torch.cat([places * seen[..., None], 0.2 * velocity * moves[..., None], seen[..., None].to(places)], dim=-1)
        x = x.unflatten(1, (-1, p)).transpose(2, 3).flatten(3)  # (B, N, J, patch · NUMBERS)
        x = torch.einsum("bnjf,jfw->bnjw", x, self.enter[used]) + self.joint[1 + used]
        x = torch.cat([self.joint[0].expand(*x.shape[:2], 1, -1), x], dim=2)
        seen = F.pad(seen.unflatten(1, (-1, p)).any(2), (1, 0), value=True)  # (B, N, 1 + J)
        mask = None if bool(seen.all()) else seen.flatten(0, 1)[:, None, None]
        x = self.joints(x.flatten(0, 1), mask).view(x.shape)
        x = x * seen[..., None]
        f = x[:, :, 0] @ self.leave[0] + x[:, :, 1:].flatten(2) @ self.leave[1 + used].flatten(0, 1) * NUM_JOINTS**-0.5
        path = frames.path.unflatten(1, (-1, p))
        moved = self.fps / p * (path[:, :, -1] - F.pad(path[:, :-1, -1], (0, 0, 1, 0)))
        exists = frames.valid.unflatten(1, (-1, p)).any(2)
        f = f + self.path(torch.cat([path.mean(2), moved], dim=-1))
        mask = None if bool(exists.all()) else exists[:, None, None]
        angles = rotary(f.shape[1], f.shape[2] // self.layers[0].heads, f)
        for layer in self.layers:
            f = layer(f, angles, mask)
        return self.norm(f) * exists[..., None], exists


class TimeLayer(nn.Module):
    """Self-attention with rotary positions, then feed-forward, each added to what came in."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = FeedForward(width, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, angles: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        made = self.enter(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).transpose(1, 3)
        query, key, value = made.unbind(2)  # (B, heads, N, width / heads)
        y = F.scaled_dot_product_attention(rotate(query, *angles), rotate(key, *angles), value, attn_mask=mask)
        x = x + self.dropout(self.leave(y.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed(self.norm_feed(x)))


def rotary(tokens: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and sin (tokens, size) of the angles by which `rotate` turns each token."""
    rates = ROTARY_BASE ** -(torch.arange(size // 2, device=like.device, dtype=torch.float64) / (size // 2))
    angle = torch.arange(tokens, device=like.device)[:, None] * rates
    angle = torch.cat([angle, angle], dim=-1)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)
