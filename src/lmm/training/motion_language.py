"""The motion-language model: what is set, which pairs it learns from, and how a run of it is prepared.

The stages are runs that start from each other: first adapter and heads beside a motion branch that is still the text
branch's copy, then all that is motion's, then flow and exit alone on motions that move (configs/motion-language-*).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor

from lmm.core.errors import InputError, LmmError, MotionError, one_line
from lmm.datasets.corpus import script
from lmm.datasets.pairs import Pair, read_pairs
from lmm.datasets.sentences import mirrored
from lmm.models.codec import STRIDE, Codec
from lmm.models.config import read_config
from lmm.models.loading import find
from lmm.models.motion_language import CODEC, PARTS, MotionLanguageModel, Part
from lmm.models.motion_language_config import MotionLanguageConfig
from lmm.models.sequences import Segment, Sequence
from lmm.pipeline.codec_features import Encoder, joint_positions, mirror, place
from lmm.training.card import card, weights_licence
from lmm.training.config import RunConfig, check_options, wrong_option
from lmm.training.kinds import Kind, Run, kinds
from lmm.training.language import TRAINED_ON

SHORTEST = 4  # latents of a motion that is gone on from, and of what follows: half a second
NEIGHBOURS = 4  # times the batch: stretches of like length, of which a batch is drawn
SHAPE = {"llm", "width", "latent_width", "head_blocks", "head_width"}  # of the config: what weights must fit
VAL_STEP = 1 << 31  # in place of a step


class MotionLanguageRunConfig(RunConfig):
    """The settings of `RunConfig`, and:

    llm              a folder or a name on the hub, of a Llama or Qwen model; not with ``start_from``
    codec            a shipped codec's name, or a folder
    val_subjects     subjects of split train that choose the weights, too, and are not learned from
    options          fields of `models.motion_language_config.MotionLanguageConfig`: noise, drop_text, weights ...
    trains           the parts that learn: adapter, markers, branch, flow, exit, start
    scales           of the learning rate, by part; 1 for those not named
    text_to_motion   share of sequences in which motion follows text; in the others text follows motion
    chained          share of those in which text and motion follow on an earlier motion: the stretch before in the same
                     clip, where there is one, or a part of the same stretch
    mirror           share in which left and right are exchanged, in motion and text
    variants         texts of one stretch and origin
    least_speed      m/s: stretches in which the body's joints move less are left out
    """

    llm: str | None = None
    codec: str = "codec"
    val_subjects: tuple[str, ...] = ()
    options: dict[str, Any] = Field(default={})
    trains: tuple[Part, ...] = Field(default=PARTS, min_length=1)
    scales: dict[Part, Annotated[float, Field(gt=0)]] = Field(default={})
    text_to_motion: float = Field(default=0.8, ge=0, le=1)
    chained: float = Field(default=0.2, ge=0, le=1)
    mirror: float = Field(default=0.5, ge=0, le=1)
    variants: int = Field(default=8, ge=1, le=100)
    least_speed: float = Field(default=0.0, ge=0)


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of motion with all that is said of it; index 0 as it is, 1 in a mirror.

    latents  (N, width) each
    texts    origin → token ids of each text; the mirror's, where a text can be mirrored
    before   latents of what went before in the same clip and then of this one, or None
    ends     False where the clip was cut: the exit head does not learn of it
    """

    latents: tuple[Tensor, Tensor]
    texts: tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]]
    before: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None
    ends: bool = True


def prepare(config: MotionLanguageRunConfig, device: torch.device) -> Run:
    """Return the run of a config. Raises LmmError or InputError if a model, a store or an option does not fit."""
    config.without("weight", "val")
    if (config.llm is None) == (config.start_from is None):
        raise LmmError("a motion-language model begins with llm (stage 1) or with start_from (later): set one of them.")
    check_options(config.options, MotionLanguageConfig.model_fields, ["llm", "width", "latent_width", "scripts"])
    pairs = read_pairs([c.store for c in config.data], config.seed, config.variants)
    sides: dict[str, list[Pair]] = {"train": [], "val": []}
    for p in pairs:
        side = "val" if p.split == "train" and p.subject in config.val_subjects else p.split
        sides.get(side, []).append(p)
    for side, found in sides.items():
        if not found:
            raise LmmError(f"no store has pairs of text and motion in split {side}.")
    licences = {p.licence for p in sides["train"]}
    scripts = {script(c) for p in sides["train"] for c in p.text if c.isalpha()}
    trained_on = "; ".join(f"{Path(c.store).name}" for c in config.data)
    trained_on += (
        f" ({len(sides['train'])} texts of {len({(p.id, p.motion.start_s) for p in sides['train']})} stretches)"
    )
    if config.start_from is None:
        codec = Codec.from_pretrained(find(config.codec, "codec"))
        licences |= licence_of(str(config.llm))
    else:
        codec = Codec.from_pretrained(Path(config.start_from) / CODEC)
        before = read_config(Path(config.start_from), MotionLanguageConfig)
        licences.add(before.licence)
        scripts |= set(before.scripts)
        if before.trained_on != trained_on:
            trained_on += f"; on top of {before.trained_on}"
    told = {
        "licence": weights_licence(licences | {codec.config.licence}),
        "trained_on": trained_on,
        "scripts": sorted(scripts),
        "latent_width": codec.config.latent_width,
    }
    torch.manual_seed(config.seed)
    model = _model(config, told).to(device)
    if model.tokenizer is None or model.tokenizer.eos_token_id is None:
        raise InputError(config.llm or str(config.start_from), "has no tokenizer that knows an end of text", "Add one")
    model.train_only(*config.trains)
    data = {side: _stretches(found, codec, model.tokenizer, config) for side, found in sides.items()}
    orders = {side: sorted(range(len(s)), key=lambda i: len(s[i].latents[0])) for side, s in data.items()}
    end = torch.tensor([model.tokenizer.eos_token_id])

    def drawn(side: str, seed: tuple[int, ...], count: int) -> list[Sequence]:
        rng, stretches = np.random.default_rng(seed), data[side]
        chosen = _neighbours(rng, orders[side], count)
        return [_sequence(rng, stretches[i], config, end) for i in chosen]

    def batch(step: int, part: slice) -> list[Sequence]:
        return drawn("train", (config.seed, step), config.batch)[part]

    def save(average: MotionLanguageModel, folder: Path, state: dict[str, Any]) -> None:
        folder.mkdir(parents=True)
        (folder / "README.md").write_text(_card(average, config, state), "utf-8")
        average.save_pretrained(folder)
        codec.save_pretrained(folder / CODEC)

    size = min(config.batch, config.val_windows)
    val = [drawn("val", (VAL_STEP, i), size) for i in range(max(1, config.val_windows // size))]
    return Run(model, batch, lambda x: x, val, save, model.parameter_groups(config.scales))


def _card(model: MotionLanguageModel, config: MotionLanguageRunConfig, state: dict[str, Any]) -> str:
    c = model.config
    text = f"""Words to motion and motion to words, in one language model: `lmm generate "a person waves" -o wave.bvh`,
`lmm describe wave.bvh`. {sum(p.numel() for p in model.motion.parameters()):,} parameters of motion beside a language
model ({c.llm or "in llm/"}) that is left as it was.

- **Data**: {c.trained_on}
- **Licence of the weights**: {c.licence}
- **Training**: last stage ({", ".join(config.trains)}) {state["step"]} steps of {config.batch} sequences; seed
  {config.seed}; validation loss {state["best"]:.4f}. Made again by `lmm train` from the run's config.json.
- **Limits**: it knows the movements and words of its data, and little else. See docs/motion_language.md.
"""
    return card(c.name, c.licence, ["text-to-motion", "motion-to-text"], text)


def licence_of(llm: str) -> set[str]:
    """Return the licence of a language model that `lmm train` wrote; others tell theirs elsewhere."""
    path = Path(llm) / TRAINED_ON
    try:
        told = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        return {str(told["licence"])} if "licence" in told else set()
    except (OSError, ValueError, TypeError) as e:
        raise InputError(path, f"cannot be read ({one_line(e, 160)})", "Train the language model again") from None


def _model(config: MotionLanguageRunConfig, told: dict[str, Any]) -> MotionLanguageModel:
    try:
        if config.llm is not None:
            return MotionLanguageModel.from_llm(config.llm, config.size, **{**told, **config.options})
        begun = str(config.start_from)
        model = MotionLanguageModel.from_pretrained(begun)
        if model.config.size != config.size:
            raise InputError(begun, f"is of size {model.config.size}", "Set size so")
        if fixed := SHAPE & config.options.keys():
            raise LmmError(
                f"options.{min(fixed)}: is that of {begun}, whose weights the run begins with. Leave it out."
            )
        kept = model.config.model_dump() | told | config.options
        model.config = type(model.config).model_validate(kept)
    except ValidationError as e:
        raise wrong_option(e) from None
    return model


def _stretches(pairs: list[Pair], codec: Codec, tokenizer: Any, config: MotionLanguageRunConfig) -> list[Stretch]:
    """Return pairs as stretches, each once; those that the codec cannot take, or that hardly move, are left out."""
    by_place: dict[tuple[str, float], list[Pair]] = {}
    for pair in pairs:
        by_place.setdefault((pair.id, pair.motion.start_s), []).append(pair)
    out: list[Stretch] = []
    last: tuple[str, NDArray[Any], float] | None = None  # clip, joints, where they end, of the stretch before
    for (clip, start), said in by_place.items():
        motion = said[0].motion
        try:
            if config.least_speed and _speed(motion) < config.least_speed:
                continue
            points = joint_positions(motion)
            features = _features(points)
        except MotionError:
            continue
        before = None
        if last is not None and last[0] == clip and abs(last[2] - start) < 1.5 / motion.fps:
            whole = _features(np.concatenate([last[1][len(last[1]) % STRIDE :], points]))  # it moves on at the seam
            cut = len(last[1]) // STRIDE
            both = [_latents(codec, x) for x in (whole, mirror(whole))]
            before = (both[0][:cut], both[0][cut:]), (both[1][:cut], both[1][cut:])
            out[-1] = replace(out[-1], ends=False)  # it was cut here
        last = (clip, points, start + motion.seconds)
        texts: tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]] = ({}, {})
        for pair in said:
            for side, text in enumerate((pair.text, mirrored(pair.text))):
                if text is not None:
                    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
                    texts[side].setdefault(pair.origin, []).append(torch.tensor(ids))
        latents = (_latents(codec, features), _latents(codec, mirror(features)))
        out.append(Stretch(latents, texts, before))
    if not out:
        raise LmmError("none of the pairs has a motion that the codec takes.")
    return out


def _features(points: NDArray[Any]) -> NDArray[Any]:
    return Encoder(place(points)).push(points)


@torch.inference_mode()
def _latents(codec: Codec, features: NDArray[Any]) -> Tensor:
    return codec.encode(torch.from_numpy(features)[None])[0].clone()


def _speed(motion: Any) -> float:
    """Return the mean speed of the joints, m/s."""
    return float(np.nanmean(np.linalg.norm(np.diff(motion.positions, axis=0), axis=-1)) * motion.fps)


def _neighbours(rng: np.random.Generator, order: list[int], count: int) -> list[int]:
    """Return stretches of like lengths, so that little is padded: from `order`, by length."""
    wide = min(len(order), NEIGHBOURS * count)
    first = int(np.clip(rng.integers(-wide, len(order)), 0, len(order) - wide))
    return [order[first + int(i)] for i in rng.integers(wide, size=count)]


def _sequence(rng: np.random.Generator, stretch: Stretch, config: MotionLanguageRunConfig, end: Tensor) -> Sequence:
    to_motion, chained, side = rng.random() < config.text_to_motion, rng.random() < config.chained, 0
    if rng.random() < config.mirror and stretch.texts[1]:
        side = 1
    origins = sorted(stretch.texts[side])
    texts = stretch.texts[side][origins[rng.integers(len(origins))]]
    text, latents = texts[rng.integers(len(texts))], stretch.latents[side]
    if not to_motion:
        return [Segment(latents, learn=False), Segment(torch.cat([text, end]))]
    if chained and len(latents) >= 2 * SHORTEST:
        if stretch.before is not None and rng.random() < 0.5:
            earlier, latents = stretch.before[side]
        else:  # what is said of the whole goes on from a part of it
            cut = int(rng.integers(SHORTEST, len(latents) - SHORTEST + 1))
            earlier, latents = latents[:cut], latents[cut:]
        return [Segment(earlier, learn=False), Segment(text, learn=False), Segment(latents, ends=stretch.ends)]
    return [Segment(text, learn=False), Segment(latents, ends=stretch.ends)]


kinds.register(MotionLanguageModel.architecture)(Kind(MotionLanguageRunConfig, prepare))
