"""A motion-language model ready to use: its network with its tokenizer, and its codec, loaded together; and prompts."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion
from lmm.datasets.corpus import script
from lmm.models.codec import STRIDE, Codec
from lmm.models.loading import find
from lmm.models.motion_language import CODEC, MotionLanguageModel
from lmm.models.sequences import Segment
from lmm.pipeline.clean import clean
from lmm.pipeline.codec_features import FPS, Decoder, encode
from lmm.pipeline.resample import resample

MAX_PROMPT = 1000  # characters
LAST_S = 10.0  # of a motion that is read, as long as those of the training
MAX_SEED = 1 << 63
DEFAULT = MotionLanguageModel.architecture

_LOADING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Speaker:
    """`model` predicts the latents of `codec` after words, and words after latents."""

    model: MotionLanguageModel
    codec: Codec

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str = "cpu") -> Speaker:
        """Load a folder that `lmm train` wrote: the model, with ``codec/`` and ``llm/`` in it.

        Raises InputError if a part is missing, damaged, or does not fit the others.
        """
        model = MotionLanguageModel.from_pretrained(folder).to(device)
        codec = Codec.from_pretrained(Path(folder) / CODEC).to(device)
        ours, its = model.config.latent_width, codec.config.latent_width
        if ours != its:
            raise InputError(folder, f"its codec has latents of {its} numbers, not {ours}", "Copy the folder again")
        if model.tokenizer is None:
            raise InputError(folder, "its language model has no tokenizer", "Copy the folder again")
        return cls(model, codec)

    @property
    def name(self) -> str:
        return self.model.config.name

    @property
    def tokenizer(self) -> Any:
        return self.model.tokenizer

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def words(self, text: str) -> Segment:
        """Return a prompt's tokens. Raises LmmError if it is empty, too long, no Unicode, or in letters never
        trained on."""
        text = " ".join(text.split())
        if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
            raise LmmError("the prompt holds bytes that are not UTF-8. Say it in Unicode letters.")
        if not text:
            raise LmmError("the prompt is empty. Say what the person does, such as 'a person waves'.")
        if len(text) > MAX_PROMPT:
            raise LmmError(f"the prompt has {len(text)} characters, over {MAX_PROMPT}. Say it shorter.")
        known = self.model.config.scripts
        letters = {script(c) for c in text if c.isalpha()}
        if not letters:
            raise LmmError("the prompt has no words. Say what the person does, such as 'a person waves'.")
        if known and (strange := sorted(letters - set(known))):
            raise LmmError(
                f"the prompt has {', '.join(strange).title()} letters; {self.name} was trained on "
                f"{', '.join(known).title()} ones. Write it in English."
            )
        # split_special_tokens: a prompt that spells the end of text does not end it
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return Segment(torch.tensor(ids), learn=False)

    def read(self, motion: Motion, seconds: float = LAST_S) -> tuple[Segment, Decoder]:
        """Return the latents of the last `seconds` of a motion, and what decodes features that follow them.

        The motion's last frame is that of the last latent; up to three are left out at the beginning for it. Raises
        MotionError if it is not in the world, or lacks joints that the codec needs.
        """
        motion = resample(clean(motion), FPS)
        frames = min(motion.num_frames, round(seconds * FPS))
        left_out = frames % STRIDE if frames > STRIDE else 0
        features, placement = encode(motion.crop(motion.num_frames - frames + left_out, motion.num_frames))
        after = Decoder(placement)
        after.push(features)
        with torch.inference_mode():
            latents = self.codec.encode(torch.from_numpy(features)[None].to(self.device))[0]
        return Segment(latents.float().cpu()), after

    def decode(self, latents: torch.Tensor, state: Any) -> tuple[NDArray[Any], Any]:
        """Return the features (4 N, F) of the next latents (N, latent width), and the codec's state after them."""
        with torch.inference_mode():
            features, state = self.codec.decode_chunk(latents[None].to(self.device), state)
        return features[0].float().cpu().numpy(), state


def load_speaker(name: str | Speaker = DEFAULT, device: str = "cpu") -> Speaker:
    """Return the motion-language model of a name or folder (see `models.loading.find`), loaded once."""
    if isinstance(name, Speaker):
        return name
    with _LOADING:  # two clients of a server that ask at once wait for one model
        return _load(str(find(name, DEFAULT)), device)


def check_seed(seed: int) -> None:
    """Raise LmmError if torch's generators take no such seed."""
    if not 0 <= seed < MAX_SEED:
        raise LmmError(f"a seed must be 0 to {MAX_SEED - 1}, got {seed}.")


@lru_cache(maxsize=2)
def _load(folder: str, device: str) -> Speaker:
    return Speaker.from_pretrained(folder, device)
