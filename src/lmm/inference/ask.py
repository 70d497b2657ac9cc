"""Questions about motions, answered in words, beside what was measured of the same.

An assistant (`lmm.models.assistant`) says the words and which moments they rest on. What the question is about is also
measured (`lmm.analysis.questions`); where the words state something else, a line says so. What comes next is forecast.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lmm.analysis.questions import Measurement, Subject, measured
from lmm.analysis.statements import disagreement
from lmm.core.errors import InputError, LmmError, MotionError, one_line
from lmm.core.motion import Motion
from lmm.inference.speaker import check_seed
from lmm.inference.what_next import what_next
from lmm.models.assistant import Assistant
from lmm.models.conversation import Asked, KeyFrame
from lmm.models.loading import find
from lmm.models.motion_encoder import VIDEO_FPS, Clip
from lmm.models.perception import MOST_MOTIONS
from lmm.pipeline.clean import clean
from lmm.pipeline.features import MIDHIP, NECK

DEFAULT = Assistant.architecture
MAX_QUESTION = 1000  # characters
MAX_TOKENS = 96  # of an answer
PICTURE = 224  # pixels, of the frames of a video
REMEMBERED = 4  # earlier questions and answers that the assistant is told
BODY_M = 0.5  # from neck to mid-hip, of people whose motion knows no metres
NEXT = re.compile(
    r"\b(?:(?:comes?|happens?|do|does) next\b(?! to)|next\s*\?|(?:happens?|comes?|do(?:es)?) (?:then|after(?:wards)?)\b"
    r"|will (?:the|he|she|they|it)\b|(?:about|going) to do|what follows)",
    re.I,
)
_LOADING = threading.Lock()


@dataclass(frozen=True, eq=False)
class Answer:
    """An answer, and what it rests on.

    question, text   what was asked; what the assistant says
    key_frames       of each motion the moments looked at, highest scores first (`lmm.models.conversation.KeyFrame`)
    measured         what lmm measures of that which the question asks for
    disagreement     one line, if the text states other than was measured
    next             what forecasts show, if it was asked what comes next; `forecast` is their motion, with samples
    notes            what else to know, such as that only the end of a long motion was read
    model            the assistant's name
    """

    question: str
    text: str
    key_frames: tuple[tuple[KeyFrame, ...], ...]
    measured: tuple[Measurement, ...]
    disagreement: str | None
    next: str | None
    forecast: Motion | None
    notes: tuple[str, ...]
    model: str

    def summary(self) -> dict[str, Any]:
        """Return it as plain JSON, without the forecast's frames."""
        return {
            "question": self.question,
            "text": self.text,
            "key_frames": [
                {
                    "motion": i,
                    "time_s": round(k.time_s, 3),
                    "weight": round(k.weight, 4),
                    "radius_s": round(k.radius_s, 3),
                }
                for i, of_motion in enumerate(self.key_frames)
                for k in of_motion
            ],
            "measured": [m.summary() for m in self.measured],
            "disagreement": self.disagreement,
            "next": self.next,
            "notes": list(self.notes),
            "model": self.model,
        }

    def lines(self, moments: bool = True) -> list[str]:
        """Return what there is to read beside the text: `moments`, measurements, disagreement, forecasts, notes."""
        several = len(self.key_frames) > 1
        out = []
        for i, of_motion in enumerate(self.key_frames if moments else ()):
            times = ", ".join(f"{k.time_s:.1f}" for k in sorted(of_motion, key=lambda k: k.time_s))
            if times:
                out.append(f"looked at{f' in motion {i + 1}' if several else ''}: {times} s")
        which = {m: f" (motion {m + 1})" if several else "" for m in range(len(self.key_frames))}
        if self.measured:
            told = [f"{m}{which.get(m.motion, '') if m.motion is not None else ''}" for m in self.measured]
            out.append(f"measured: {' · '.join(told)}")
        if self.disagreement:
            out.append(f"disagreement: {self.disagreement}")
        if self.next:
            out.append(f"forecast: {self.next}")
        return [*out, *(f"note: {n}" for n in self.notes)]


class Chat:
    """Questions, one after another, about one motion, or about two that are compared.

    answers  those that were given, in order; the assistant is told the last REMEMBERED of them
    """

    def __init__(
        self,
        motions: Motion | Sequence[Motion],
        model: str | Assistant = DEFAULT,
        video: str | Path | None = None,
        device: str = "cpu",
    ) -> None:
        """Read the motions; `video` shows the first. Motions in pixels are read as flat figures, without depth.

        Raises LmmError if the model cannot be used, MotionError if a motion cannot be read or there are over two.
        """
        given = [motions] if isinstance(motions, Motion) else list(motions)
        if not 1 <= len(given) <= MOST_MOTIONS:
            raise MotionError(f"{len(given)} motions were given to ask about. Give 1 to {MOST_MOTIONS}.")
        self.assistant = load_assistant(model, device)
        self.answers: list[Answer] = []
        cleaned = [m if "cleaning" in m.meta else clean(m) for m in given]
        self._motions = cleaned
        self._subjects = [Subject(m) for m in cleaned]
        self._notes: list[str] = []
        self._clips = tuple(self._read(m, video if i == 0 else None) for i, m in enumerate(cleaned))

    @property
    def model(self) -> str:
        return self.assistant.config.name

    @property
    def seconds(self) -> list[float]:
        """How long each motion is."""
        return [m.seconds for m in self._motions]

    def ask(self, question: str, temperature: float = 0.0, seed: int = 0) -> Answer:
        """Return the answer to a question; see `stream`."""
        for _ in self.stream(question, temperature, seed):
            pass
        return self.answers[-1]

    def stream(self, question: str, temperature: float = 0.0, seed: int = 0) -> Iterator[str]:
        """Yield the text of an answer piece by piece; when it ends, the whole `Answer` is the last of `answers`.

        The likeliest next word each time, or drawn at a `temperature`. Raises LmmError if the question is empty, too
        long or no Unicode, or the numbers are out of range.
        """
        question = _checked(question)
        if not 0 <= temperature <= 10:
            raise LmmError(f"temperature must be 0 to 10, got {temperature:g}.")
        check_seed(seed)
        # in lower case, as it has learnt them
        history = tuple((a.question.lower(), a.text) for a in self.answers[-REMEMBERED:])
        asked = Asked(question.lower(), self._clips, history)
        generator = torch.Generator(next(self.assistant.parameters()).device).manual_seed(seed)
        ids: list[int] = []
        told = ""
        for token in self.assistant.answer(asked, generator, MAX_TOKENS, temperature):
            ids.append(token)
            text = self.assistant.text(ids)
            if text.startswith(told) and not text.endswith("�"):  # which is half of a letter
                yield text[len(told) :]
                told = text
        self.answers.append(self._answer(question, asked, self.assistant.text(ids), seed))
        if rest := self.answers[-1].text[len(told) :]:
            yield rest

    def _answer(self, question: str, asked: Asked, text: str, seed: int) -> Answer:
        found = measured(question, self._subjects)
        following, future, notes = None, None, list(self._notes)
        if NEXT.search(question):
            try:
                following, future = what_next(self._motions[0], seed=seed)
            except LmmError as e:
                notes.append(f"no forecast: {one_line(e)}")
        return Answer(
            question,
            text,
            tuple(looked.key_frames for looked in self.assistant.look(asked)),
            tuple(found),
            disagreement(question, text, found),
            following,
            future,
            tuple(notes),
            self.model,
        )

    def _read(self, motion: Motion, video: str | Path | None) -> Clip:
        body = motion
        if motion.space == "image":
            body = flat(motion)
            self._notes.append("the motion is in pixels: it was read as a flat figure, without depth")
        config = self.assistant.config
        longest = config.longest_frames / config.spec.fps
        if motion.seconds > longest:
            self._notes.append(f"of {motion.seconds:.1f} s only the last {longest:g} s were read")
            kept = int((motion.clock > motion.clock[-1] - longest).sum())
            body = body.crop(motion.num_frames - kept, motion.num_frames)
        if video is not None and not config.video:
            self._notes.append(f"{config.name} looks at no video: only motion was read")
            video = None
        return self.assistant.read(body, None if video is None else pictures(video, body.start_s, body.seconds))


def ask(
    motions: Motion | Sequence[Motion],
    question: str,
    model: str | Assistant = DEFAULT,
    video: str | Path | None = None,
    temperature: float = 0.0,
    seed: int = 0,
) -> Answer:
    """Return the answer to one question about a motion, or about two; see `Chat`."""
    return Chat(motions, model, video).ask(question, temperature, seed)


def load_assistant(name: str | Assistant = DEFAULT, device: str = "cpu") -> Assistant:
    """Return the assistant of a name or folder (see `models.loading.find`), loaded once."""
    if isinstance(name, Assistant):
        return name
    with _LOADING:
        return _load(str(find(name, DEFAULT)), device)


@lru_cache(maxsize=2)
def _load(folder: str, device: str) -> Assistant:
    model: Assistant = Assistant.from_pretrained(folder).to(device).eval()
    return model


def flat(motion: Motion) -> Motion:
    """Return a clean motion in pixels as a figure without depth: in metres, y up, in the plane z = 0.

    The scale is that of a body with BODY_M from neck to mid-hip. Raises MotionError if these are never seen together.
    """
    length = np.linalg.norm(motion.positions[:, NECK] - motion.positions[:, MIDHIP], axis=1)
    length = length[np.isfinite(length)]
    if not len(length) or not (body := float(np.percentile(length, 90))) > 0:
        raise MotionError("neck and hips are never seen together. Give a motion that shows the trunk.")
    places = np.zeros((*motion.positions.shape[:2], 3), np.float32)
    places[..., :2] = motion.positions * [1, -1] * (BODY_M / body)
    places -= np.nanmin(places[..., 1]) * np.array([0, 1, 0], np.float32)
    places[~motion.observed] = np.nan
    return motion.replace(positions=places, space="world", size=None)


def pictures(video: str | Path, start_s: float, seconds: float) -> Tensor:
    """Return the frames of a video (N, 3, H, W), uint8 RGB, at VIDEO_FPS from `start_s` of its clock on.

    They are centred squares, PICTURE pixels wide. Raises InputError if it is no video, or shows nothing then.
    """
    from PIL import Image

    from lmm.video.decoding import Video

    out: list[Any] = []
    for time, picture in Video(video).frames():
        if time < start_s + len(out) / VIDEO_FPS - 1e-3:
            continue
        if time > start_s + seconds or len(out) >= seconds * VIDEO_FPS:
            break
        height, width = picture.shape[:2]
        side = min(height, width)
        box = ((width - side) // 2, (height - side) // 2, (width + side) // 2, (height + side) // 2)
        image = Image.fromarray(np.ascontiguousarray(picture))
        out.append(np.asarray(image.resize((PICTURE, PICTURE), Image.Resampling.BILINEAR, box)).transpose(2, 0, 1))
    if not out:
        raise InputError(video, f"shows nothing from {start_s:g} s on", "Give the video of the motion")
    return torch.from_numpy(np.stack(out))


def _checked(question: str) -> str:
    question = " ".join(question.split())
    if any("\ud800" <= c <= "\udfff" for c in question):
        raise LmmError("the question holds bytes that are not UTF-8. Ask in Unicode letters.")
    if not any(c.isalnum() for c in question):
        raise LmmError("the question is empty. Ask something, such as 'How many repetitions?'.")
    if len(question) > MAX_QUESTION:
        raise LmmError(f"the question has {len(question)} characters, over {MAX_QUESTION}. Ask it shorter.")
    return question
