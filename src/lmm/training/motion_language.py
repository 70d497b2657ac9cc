"""The motion-language model: what is set, which pairs it learns from, and how a run of it is prepared.

The stages are runs that start from each other: first adapter and heads beside a motion branch that is still the text
branch's copy, then all that is motion's, then flow and exit alone on motions that move (configs/motion-language-*).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from torch import Tensor

from lmm.core.errors import InputError, LmmError, MotionError
from lmm.datasets.corpus import script
from lmm.datasets.pairs import Pair, read_pairs
from lmm.datasets.sentences import mirrored
from lmm.models.codec import Codec
from lmm.models.loading import find
from lmm.models.motion_language import CODEC, PARTS, MotionLanguageModel, Part
from lmm.models.motion_language_config import MotionLanguageConfig
from lmm.models.sequences import Segment, Sequence
from lmm.pipeline.codec_features import encode, mirror
from lmm.training.card import card, weights_licence
from lmm.training.config import RunConfig, check_even, check_options, wrong_option
from lmm.training.kinds import Kind, Run, kinds

STRIDE = 4  # frames a latent
NEIGHBOURS = 4  # times the batch: stretches of like length, of which a batch is drawn
VAL_STEP = 1 << 31  # in place of a step


class MotionLanguageRunConfig(RunConfig):
    """The settings of `RunConfig`, and:

    llm              a folder or a name on the hub, of a Llama or Qwen model; not with ``start_from``
    codec            a shipped codec's name, or a folder
    options          fields of `models.motion_language_config.MotionLanguageConfig`: noise, drop_text, weights ...
    trains           the parts that learn: adapter, markers, branch, flow, exit, start
    scales           of the learning rate, by part; 1 for those not named
    text_to_motion   share of sequences in which motion follows text; in the others text follows motion
    chained          share of those in which text and motion follow on an earlier motion, where a clip has one
    mirror           share in which left and right are exchanged, in motion and text
    variants         texts of one stretch and origin
    least_speed      m/s: stretches in which the body's joints move less are left out
    """

    llm: str | None = None
    codec: str = "codec"
    options: dict[str, Any] = Field(default={})
    trains: tuple[Part, ...] = Field(default=PARTS, min_length=1)
    scales: dict[Part, Annotated[float, Field(gt=0)]] = Field(default={})
    text_to_motion: float = Field(default=0.8, ge=0, le=1)
    chained: float = Field(default=0.1, ge=0, le=1)
    mirror: float = Field(default=0.5, ge=0, le=1)
    variants: int = Field(default=8, ge=1, le=100)
    least_speed: float = Field(default=0.0, ge=0)


@dataclass(frozen=True, eq=False)
class Stretch:
    """A stretch of motion with all that is said of it; index 0 as it is, 1 in a mirror.

    latents  (N, width) each
    texts    origin → token ids of each text; the mirror's, where a text can be mirrored
    before   latents of what went before in the same clip and then of this one, or None
    """

    latents: tuple[Tensor, Tensor]
    texts: tuple[dict[str, list[Tensor]], dict[str, list[Tensor]]]
    before: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None


def prepare(config: MotionLanguageRunConfig, device: torch.device) -> Run:
    """Return the run of a config. Raises LmmError or InputError if a model, a store or an option does not fit."""
    if (config.llm is None) == (config.start_from is None):
        raise LmmError("a motion-language model begins with llm (stage 1) or with start_from (later): set one of them.")
    check_even(config)
    check_options(config.options, MotionLanguageConfig.model_fields, ["llm", "width", "latent_width", "scripts"])
    pairs = read_pairs([c.store for c in config.data], config.seed, config.variants)
    sides = {side: [p for p in pairs if p.split == side] for side in ("train", "val")}
    for side, found in sides.items():
        if not found:
            raise LmmError(f"no store has pairs of text and motion in split {side}.")
    source = find(config.codec, "codec") if config.start_from is None else Path(config.start_from) / CODEC
    codec = Codec.from_pretrained(source)
    licences = {p.licence for p in sides["train"]} | {codec.config.licence}
    told = {
        "licence": weights_licence(licences),
        "trained_on": "; ".join(f"{Path(c.store).name}" for c in config.data)
        + f" ({len(sides['train'])} texts of {len({(p.id, p.motion.start_s) for p in sides['train']})} stretches)",
        "scripts": sorted({script(c) for p in sides["train"] for c in p.text if c.isalpha()}),
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


def _model(config: MotionLanguageRunConfig, told: dict[str, Any]) -> MotionLanguageModel:
    try:
        if config.llm is not None:
            return MotionLanguageModel.from_llm(config.llm, config.size, **{**told, **config.options})
        begun = str(config.start_from)
        model = MotionLanguageModel.from_pretrained(begun)
        if model.config.size != config.size:
            raise InputError(begun, f"is of size {model.config.size}", "Set size so")
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
    last: tuple[str, NDArray[Any], float] | None = None  # clip, features, where they end, of the stretch before
    for (clip, start), said in by_place.items():
        motion = said[0].motion
        try:
            if config.least_speed and _speed(motion) < config.least_speed:
                continue
            features, _ = encode(motion)
        except MotionError:
            continue
        before = None
        if last is not None and last[0] == clip and abs(last[2] - start) < 1.5 / motion.fps:
            whole = np.concatenate([last[1][len(last[1]) % STRIDE :], features])
            cut = len(last[1]) // STRIDE
            both = [_latents(codec, x) for x in (whole, mirror(whole))]
            before = (both[0][:cut], both[0][cut:]), (both[1][:cut], both[1][cut:])
        last = (clip, features, start + motion.seconds)
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
    if chained and stretch.before is not None:
        earlier, latents = stretch.before[side]
        return [Segment(earlier, learn=False), Segment(text, learn=False), Segment(latents)]
    return [Segment(text, learn=False), Segment(latents)]


kinds.register(MotionLanguageModel.architecture)(Kind(MotionLanguageRunConfig, prepare))
