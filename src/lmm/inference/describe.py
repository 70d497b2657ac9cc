"""Motion to text."""

from __future__ import annotations

import torch

from lmm.core.errors import LmmError
from lmm.core.motion import Motion
from lmm.inference.speaker import DEFAULT, Speaker, check_seed, load_speaker

MAX_TOKENS = 64


def describe(motion: Motion, model: str | Speaker = DEFAULT, temperature: float = 0.0, seed: int = 0) -> str:
    """Return what the last ten seconds of a motion show, in the words of a motion-language model.

    The likeliest next word each time, or drawn at a `temperature`. Raises MotionError if the motion is not in the world
    or lacks joints that the codec needs, LmmError if the model, the temperature or the seed cannot be used.
    """
    if not 0 <= temperature <= 10:
        raise LmmError(f"temperature must be 0 to 10, got {temperature:g}.")
    check_seed(seed)
    speaker = load_speaker(model)
    seen, _ = speaker.read(motion)
    generator = torch.Generator(speaker.device).manual_seed(seed)
    ids = speaker.model.describe([seen], generator, MAX_TOKENS, temperature)
    return str(speaker.tokenizer.decode(ids, skip_special_tokens=True)).strip()
