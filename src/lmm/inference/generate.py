"""Text to motion: as a stream, piece by piece as it is made, or whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lmm.core.errors import LmmError, one_line
from lmm.core.motion import Motion, make_motion
from lmm.generative.flow import Solver
from lmm.inference.speaker import DEFAULT, LAST_S, Speaker, check_seed, load_speaker
from lmm.models.codec import STRIDE
from lmm.pipeline.codec_features import FPS, Decoder, Placement, on_body25
from lmm.skeletons import BODY_25

MAX_SECONDS = 600.0
LONGEST_S = 20.0  # if the model sees no end
BEGUN_S = 5.0  # read of what has begun: it and what is to come are as long as LAST_S, the longest motions of training


@dataclass(frozen=True)
class Settings:
    """How latents are drawn.

    seconds    how long the motion is; None: as long as the model says, at most LONGEST_S
    seed       of the noise
    steps      of the flow's solver, for each latent
    solver     ``euler`` or ``midpoint``
    guidance   1: the model as it is; above: further from what it would do without words; None: the model's own
    """

    seconds: float | None = None
    seed: int = 0
    steps: int = 10
    solver: Solver = "euler"
    guidance: float | None = None

    def latents(self) -> tuple[int, int]:
        """Return the least and the most latents. Raises LmmError if a setting is out of range."""
        if self.seconds is not None and not 0 < self.seconds <= MAX_SECONDS:
            raise LmmError(f"a motion lasts up to {MAX_SECONDS:g} s, {self.seconds:g} asked.")
        if not 1 <= self.steps <= 1000:
            raise LmmError(f"steps must be 1 to 1000, got {self.steps}.")
        check_seed(self.seed)
        if self.guidance is not None and not 0 <= self.guidance <= 20:
            raise LmmError(f"guidance must be 0 to 20, got {self.guidance:g}.")
        if self.seconds is None:
            return 1, round(LONGEST_S * FPS / STRIDE)
        count = max(1, -(-round(self.seconds * FPS) // STRIDE))
        return count, count


def stream(
    text: str,
    model: str | Speaker = DEFAULT,
    settings: Settings = Settings(),
    after: Motion | None = None,
    same: bool = False,
) -> Iterator[np.ndarray[Any, Any]]:
    """Yield places (4, 25, 3) in metres, y up, NaN for joints that the codec lacks, as they are made, at 30 FPS.

    The motion begins at the origin and faces +z; or goes on from `after`, a motion in the world that is the beginning
    of what `text` says (`same`), or that it follows. Of a motion that it follows the last LAST_S seconds are read, of
    one that has begun the last BEGUN_S. Raises LmmError if a prompt or a setting cannot be used.
    """
    if same and after is None:
        raise LmmError("words that are the same as before need a motion before. Give it, with --after.")
    speaker = load_speaker(model)
    least, most = settings.latents()
    segments = [speaker.words(text)]
    decoder, state = Decoder(Placement()), None
    if after is not None:
        seen, decoder = speaker.read(after, BEGUN_S if same else LAST_S)
        _, state = speaker.decode(seen.tokens, None)
        segments = [*segments, seen] if same else [seen, *segments]
    generator = torch.Generator(speaker.device).manual_seed(settings.seed)
    drawn = speaker.model.generate(
        segments,
        generator,
        steps=settings.steps,
        solver=settings.solver,
        guidance=speaker.model.config.guidance if settings.guidance is None else settings.guidance,
        min_latents=least,
        max_latents=most,
    )
    for latent in drawn:
        features, state = speaker.decode(latent[None], state)
        yield on_body25(decoder.push(features))


def generate(
    text: str,
    model: str | Speaker = DEFAULT,
    seconds: float | None = None,
    seed: int = 0,
    steps: int = 10,
    guidance: float | None = None,
    after: Motion | None = None,
    same: bool = False,
) -> Motion:
    """Return the motion that `text` describes; see `stream`. It is BODY_25 in the world, 30 FPS."""
    speaker = load_speaker(model)
    settings = Settings(seconds, seed, steps, guidance=guidance)
    pieces = list(stream(text, speaker, settings, after, same))
    return assembled(pieces, text, speaker, settings)


def assembled(pieces: list[np.ndarray[Any, Any]], text: str, speaker: Speaker, settings: Settings) -> Motion:
    """Return the pieces of a stream as one motion, cut to the seconds that were asked for."""
    points = np.concatenate(pieces)
    if settings.seconds is not None:
        points = points[: max(1, round(settings.seconds * FPS))]
    meta = {
        "format": "generated",
        "title": one_line(text, 80),
        "captions": [text],
        "model": speaker.name,
        "seed": settings.seed,
        "licence": speaker.model.config.licence,
    }
    return make_motion(points, FPS, BODY_25, "world", meta=meta)
