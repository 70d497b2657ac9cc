"""The motion assistant: what is set, which conversations it learns from, and how a run of it is prepared.

The stages are runs that start from each other: first what projects motion into the words of a frozen language model,
then all, end to end (configs/assistant-*). A batch is a few motions with several questions each, so that each motion is
looked at once. Motions of like length go together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, ValidationError

from lmm.core.errors import LmmError, MotionError
from lmm.datasets.instructions import Conversation, Motions, instructions, read_instructions
from lmm.models.assistant import Assistant, Part
from lmm.models.assistant_config import AssistantConfig
from lmm.models.config import read_config
from lmm.models.conversation import Asked
from lmm.models.motion_encoder import Clip
from lmm.models.motion_language_config import MotionLanguageConfig
from lmm.pipeline.features import NUM_JOINTS, FeatureSpec, encode, statistics
from lmm.pipeline.resample import resample
from lmm.training.card import card, weights_licence
from lmm.training.config import RunConfig, check_options, wrong_option
from lmm.training.kinds import Kind, Run, kinds
from lmm.training.motion_language import licence_of

NEIGHBOURS = 4  # times the motions of a batch: those of like length of which they are drawn
MEASURED = 400  # motions of which statistics are taken
VAL_STEP = 1 << 31  # in place of a step
SHAPE = {"llm", "branch", "llm_width", "spec", "lexicon"}  # of the config: what the run itself tells
# What stays true of a motion that is played faster or slower, and of one with joints missing
TIMELESS = {"exercise", "correct", "fault", "side", "count", "direction", "turn", "sequence", "caption", "unanswerable"}
PARTIAL = {"exercise", "side", "count", "direction", "turn", "sequence", "caption"}


class AssistantRunConfig(RunConfig):
    """The settings of `RunConfig` (a window is a conversation), and:

    llm                a folder or a name on the hub, of a Llama or Qwen model; or
    branch             a motion-language model's folder, on which it sits; neither with ``start_from``
    instructions       JSON lines of conversations (`lmm instructions`) about the stores' clips or the user's files;
                       none: they are made of the stores
    per_motion, rounds   conversations that are made of each motion, and how often, with other words each time
    val_subjects       subjects that choose the weights, too, and are not learned from
    held_out_subjects  subjects that are left out altogether
    questions          of a motion in a batch
    weights            how often a kind of question is learned from, relative to the others: 1 for those not named
    options            fields of `models.assistant_config.AssistantConfig`: keys, selection, moments, video ...
    trains             the parts that learn: projection, motion, video, enhancer, talker, branch, llm, lora
    scales             of the learning rate, by part; 1 for those not named
    pace               a motion is played up to so much faster or slower, where no answer is of time
    noise              up to so much is added to places, body lengths (standard deviation)
    drop               joints, and frames, of which up to so great a share is hidden, where no answer needs them
    """

    llm: str | None = None
    branch: str | None = None
    instructions: tuple[str, ...] = ()
    per_motion: int = Field(default=4, ge=1, le=100)
    rounds: int = Field(default=2, ge=1, le=100)
    val_subjects: tuple[str, ...] = ()
    held_out_subjects: tuple[str, ...] = ()
    questions: int = Field(default=4, ge=1, le=64)
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(default={})
    options: dict[str, Any] = Field(default={})
    trains: tuple[Part, ...] = Field(default=("projection", "motion", "enhancer", "talker", "llm"), min_length=1)
    scales: dict[Part, Annotated[float, Field(gt=0)]] = Field(default={})
    pace: float = Field(default=0.15, ge=0, lt=1)
    noise: float = Field(default=0.02, ge=0, le=1)
    drop: float = Field(default=0.1, ge=0, lt=1)


@dataclass(frozen=True, eq=False)
class Subject:
    """Motions that are asked about together, as clips, with all conversations about them."""

    clips: tuple[Clip, ...]
    asked: tuple[Asked, ...]
    kinds: tuple[str, ...]

    @property
    def frames(self) -> int:
        return sum(len(c.places) for c in self.clips)


def prepare(config: AssistantRunConfig, device: torch.device) -> Run:
    """Return the run of a config. Raises LmmError or InputError if a model, a store or an option does not fit."""
    config.without("weight", "val")
    if sum(x is not None for x in (config.llm, config.branch, config.start_from)) != 1:
        raise LmmError("an assistant begins with llm, with branch, or with start_from: set one of them.")
    check_options(config.options, AssistantConfig.model_fields, SHAPE)
    motions = Motions([c.store for c in config.data])
    sides = _sides(_conversations(config, motions), config)
    licences = {c.licence for c in sides["train"]}
    trained_on = "; ".join(Path(c.store).name for c in config.data)
    trained_on += f" ({len(sides['train'])} conversations of {len({c.subject for c in sides['train']})} people)"
    told: dict[str, Any] = {}
    if config.start_from is not None:
        before = read_config(Path(config.start_from), AssistantConfig)
        licences.add(before.licence)
        if before.trained_on != trained_on:
            trained_on += f"; on top of {before.trained_on}"
    else:
        told["spec"] = _statistics(sides["train"], motions)
        if config.branch is not None:
            licences.add(read_config(Path(config.branch), MotionLanguageConfig).licence)
        else:
            licences |= licence_of(str(config.llm))
    told |= {"licence": weights_licence(licences), "trained_on": trained_on}
    torch.manual_seed(config.seed)
    model = _model(config, told, sides["train"]).to(device)
    model.train_only(*config.trains)
    if not model.parameter_groups():
        raise LmmError(f"trains: this assistant has none of the parts {', '.join(config.trains)}.")
    data = {side: _subjects(found, motions, model) for side, found in sides.items()}
    orders = {side: sorted(range(len(s)), key=lambda i: s[i].frames) for side, s in data.items()}
    std = np.reshape(model.config.spec.std, (NUM_JOINTS, 3))

    def drawn(side: str, seed: tuple[int, ...], number: int, part: slice, augment: bool) -> list[Asked]:
        rng = np.random.default_rng(seed)
        chosen = _neighbours(rng, orders[side], max(1, number // config.questions))
        seeds = rng.integers(1 << 62, size=len(chosen))
        out: list[Asked] = []
        for i, own in list(zip(chosen, seeds, strict=True))[part]:
            out += _questions(np.random.default_rng(own), data[side][i], config, std if augment else None)
        return out

    def batch(step: int, part: slice) -> list[Asked]:
        return drawn("train", (config.seed, step), config.batch, part, True)

    def save(average: Assistant, folder: Path, state: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(_card(average, config, state), "utf-8")
        average.save_pretrained(folder)

    size = min(config.batch, config.val_windows)
    val = [
        drawn("val", (config.seed, VAL_STEP, i), size, slice(None), False)
        for i in range(max(1, config.val_windows // size))
    ]
    return Run(model, batch, lambda x: x, val, save, model.parameter_groups(config.scales))


def _conversations(config: AssistantRunConfig, motions: Motions) -> list[Conversation]:
    if config.instructions:
        return [c for path in config.instructions for c in read_instructions(path)]
    return [c for n in range(config.rounds) for c in instructions(motions, config.seed + n, config.per_motion)]


def _sides(conversations: Iterable[Conversation], config: AssistantRunConfig) -> dict[str, list[Conversation]]:
    """Return what is learned from and what chooses the weights; without val subjects or a split val, one in ten."""
    sides: dict[str, list[Conversation]] = {"train": [], "val": []}
    for c in conversations:
        if c.subject in config.held_out_subjects or config.weights.get(c.kind, 1.0) == 0:
            continue
        side = "val" if c.split == "train" and c.subject in config.val_subjects else c.split
        sides.get(side, []).append(c)
    for side, found in sides.items():
        if not found:
            raise LmmError(f"there are no conversations in split {side}: name val_subjects, or other stores.")
    return sides


def _statistics(conversations: list[Conversation], motions: Motions) -> FeatureSpec:
    """Return how features are standardised: by their mean and spread over some of the motions."""
    plain = FeatureSpec(layout="xyz")
    recipes = list({json.dumps(m, sort_keys=True): m for c in conversations for m in c.motions}.values())
    found = []
    for i in np.random.default_rng(0).permutation(len(recipes))[:MEASURED]:
        try:
            found.append(encode(resample(motions.motion(recipes[i]), plain.fps), plain))
        except MotionError:
            continue
    return statistics(found)


def _model(config: AssistantRunConfig, told: dict[str, Any], learned: list[Conversation]) -> Assistant:
    try:
        if config.start_from is None:
            answers = {m["content"] for c in learned for m in c.messages[1::2]}
            return Assistant.from_llm(
                config.llm, config.size, branch=config.branch, answers=answers, **{**told, **config.options}
            )
        model = Assistant.from_pretrained(config.start_from, **{**told, **config.options})
    except ValidationError as e:
        raise wrong_option(e) from None
    if model.config.size != config.size:
        raise LmmError(f"{config.start_from} is of size {model.config.size}: set size so.")
    return model


def _subjects(conversations: list[Conversation], motions: Motions, model: Assistant) -> list[Subject]:
    """Return conversations by their motions; those of motions that cannot be read are left out."""
    by_motions: dict[str, list[Conversation]] = {}
    for c in conversations:
        by_motions.setdefault(json.dumps(c.motions, sort_keys=True), []).append(c)
    out = []
    for said in by_motions.values():
        try:
            whole = [motions.motion(m) for m in said[0].motions]
            clips = tuple(model.read(m) for m in whole)
        except MotionError:
            continue
        shifts = [c.start_s - m.start_s for c, m in zip(clips, whole, strict=True)]
        asked = [(a, c.kind) for c in said for a in _asked(c, clips, shifts)]
        out.append(Subject(clips, tuple(a for a, _ in asked), tuple(k for _, k in asked)))
    if not out:
        raise LmmError("none of the conversations has a motion that can be read.")
    return out


def _asked(conversation: Conversation, clips: tuple[Clip, ...], shifts: list[float]) -> list[Asked]:
    """Return each turn of a conversation; only the last one's moments are known."""
    texts = [m["content"] for m in conversation.messages]
    turns = list(zip(texts[::2], texts[1::2], strict=True))
    moments = tuple(
        tuple(t - s for t in times if t >= s) if times else None
        for times, s in zip(conversation.moments_s, shifts, strict=True)
    )
    return [
        Asked(question, clips, tuple(turns[:i]), answer, moments if i == len(turns) - 1 else ())
        for i, (question, answer) in enumerate(turns)
    ]


def _neighbours(rng: np.random.Generator, order: list[int], count: int) -> list[int]:
    """Return `count` of `order`, by length, that are of like lengths, so that little is padded."""
    wide = min(len(order), NEIGHBOURS * count)
    first = int(np.clip(rng.integers(-wide, len(order)), 0, len(order) - wide))
    return [order[first + int(i)] for i in rng.choice(wide, count, replace=count > wide)]


def _questions(rng: np.random.Generator, subject: Subject, config: AssistantRunConfig, std: Any) -> list[Asked]:
    """Return some questions about a subject's motions; with `std` (25, 3), of motions that are changed a little."""
    weight = np.array([config.weights.get(k, 1.0) for k in subject.kinds])
    few = int((weight > 0).sum()) < config.questions
    chosen = rng.choice(len(weight), config.questions, replace=few, p=weight / weight.sum())
    asked, known = [subject.asked[i] for i in chosen], {subject.kinds[i] for i in chosen}
    if std is None:
        return asked
    pace = float(rng.uniform(1 - config.pace, 1 + config.pace)) if known <= TIMELESS else 1.0
    clips = tuple(paced(c, pace) for c in subject.clips)
    noise = rng.uniform(0, config.noise)
    drop = rng.uniform(0, config.drop) if known <= PARTIAL else 0.0
    clips = tuple(worn(c, rng, noise, drop, std) for c in clips)
    times = [tuple(None if m is None else tuple(t / pace for t in m) for m in a.moments_s) for a in asked]
    return [replace(a, clips=clips, moments_s=m) for a, m in zip(asked, times, strict=True)]


def paced(clip: Clip, pace: float) -> Clip:
    """Return a clip played `pace` times as fast."""
    if pace == 1:
        return clip
    last = len(clip.places) - 1
    at = np.linspace(0, last, max(2, round(last / pace) + 1))
    low = np.minimum(at.astype(int), max(0, last - 1))
    high = np.minimum(low + 1, last)
    part = (at - low).astype(np.float32)
    seen = clip.observed[low] & clip.observed[high]
    w = part[:, None, None]
    places = ((1 - w) * clip.places[low] + w * clip.places[high]) * seen[..., None]
    path = (1 - part[:, None]) * clip.path[low] + part[:, None] * clip.path[high]
    return replace(clip, places=places, observed=seen, path=path)


def worn(clip: Clip, rng: np.random.Generator, noise: float, drop: float, std: Any) -> Clip:
    """Return a clip with `noise` in body lengths on its places, and a share `drop` of joints and frames hidden."""
    shape = clip.observed.shape
    joints, frames = rng.random(shape[1]) >= drop, rng.random((shape[0], 1)) >= drop
    seen = clip.observed & joints & frames
    shaken = clip.places + rng.standard_normal(clip.places.shape, np.float32) * (noise / std).astype(np.float32)
    return replace(clip, places=shaken * seen[..., None], observed=seen)


def _card(model: Assistant, config: AssistantRunConfig, state: dict[str, Any]) -> str:
    c = model.config
    beside = "a motion-language model (in motion-language/)" if c.branch else f"a language model ({c.llm or 'in llm/'})"
    text = f"""Questions about a person's movement, answered in words: `lmm ask clip.bvh "how many squats?"`.
{sum(p.numel() for p in model.own.parameters()):,} parameters beside {beside}.

- **Data**: {c.trained_on}
- **Licence of the weights**: {c.licence}
- **Training**: last stage ({", ".join(config.trains)}) {state["step"]} steps of {config.batch} conversations; seed
  {config.seed}; validation loss {state["best"]:.4f}. Made again by `lmm train` from the run's config.json.
- **Limits**: it knows the exercises, movements and questions of its data, and little else. It is no medical device.
"""
    return card(c.name, c.licence, ["motion-to-text", "question-answering"], text)


kinds.register(Assistant.architecture)(Kind(AssistantRunConfig, prepare))
