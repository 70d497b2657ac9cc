"""The evaluator of texts and motions: which pairs it learns from, with their mirror images, and how a run begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from lmm.core.errors import LmmError, MotionError
from lmm.datasets.pairs import TRAIN, Pair, read_pairs
from lmm.datasets.sentences import mirrored
from lmm.models.text_motion import PairBatch, TextMotion, TextMotionConfig, vocabulary
from lmm.pipeline.codec_features import encode, mirror, statistics
from lmm.training.card import card, weights_licence
from lmm.training.config import RunConfig, check_options, wrong_option
from lmm.training.forecaster import VAL_SEED
from lmm.training.kinds import Kind, Run, kinds

Array = NDArray[Any]
SHORTER = 0.2  # the most that is cut off a motion's ends while training, in all


class TextMotionRunConfig(RunConfig):
    """The settings of `RunConfig`, and:

    options       fields of `models.text_motion.TextMotionConfig`: width, embedding, dropout ...
    data          a store's weight is of one of its pairs, relative to one of another store's
    variants      different texts of a stretch of motion and origin; an epoch's windows are pairs
    least_words   texts that hold a word, for it to be known
    """

    options: dict[str, bool | int | float | str] = Field(default={})
    variants: int = Field(default=4, ge=1, le=64)
    least_words: int = Field(default=2, ge=1)


@dataclass(frozen=True, eq=False)
class Told:
    """A motion's features (T, 49) with a text, and what is told: equal keys tell the same."""

    features: Array
    text: str
    key: str

    def mirrored(self) -> Told | None:
        """Return the pair in a mirror; None where its text cannot be mirrored safely."""
        text = mirrored(self.text)
        return None if text is None else Told(mirror(self.features), text, mirrored(self.key) or self.key)


def told(pairs: Sequence[Pair]) -> list[Told]:
    """Return what pairs tell; a stretch's features are made once. Labels are told alike by different sentences.

    Pairs whose motion the codec's features cannot tell are left out.
    """
    made: dict[tuple[str, float], Array | None] = {}
    out = []
    for p in pairs:
        place = (p.id, p.motion.start_s)
        if place not in made:
            try:
                made[place] = encode(p.motion)[0]
            except MotionError:
                made[place] = None
        features = made[place]
        if features is None:
            continue
        label = " ".join(f"{k} {v}" for k, v in sorted(p.label.items()))
        out.append(Told(features, p.text, label if p.origin == "label" else p.text))
    return out


class Drawer:
    """Draws batches of pairs, each pair that names a side together with its mirror image; others in half of the cases
    as their mirror image."""

    def __init__(self, pairs: Sequence[Told], weights: Sequence[float]) -> None:
        self._pairs = pairs
        self._weights = np.asarray(weights, float) / np.sum(weights)

    def draw(self, rng: np.random.Generator, size: int, cut: float = SHORTER) -> PairBatch:
        """Return a batch of `size` pairs; of each motion up to the share `cut` is left out at its ends."""
        drawn: list[Told] = []
        while len(drawn) < size:
            pair = self._pairs[rng.choice(len(self._pairs), p=self._weights)]
            other = pair.mirrored()
            if other is None:
                drawn.append(pair)
            elif other.text == pair.text:
                drawn.append(other if rng.random() < 0.5 else pair)
            else:
                drawn += [pair, other]
        drawn = drawn[:size]
        cuts = [_shorter(p.features, rng, cut) for p in drawn]
        return PairBatch(cuts, [p.text for p in drawn], [p.key for p in drawn])


def _shorter(features: Array, rng: np.random.Generator, cut: float) -> Array:
    off = round(rng.random() * cut * len(features))
    start = rng.integers(off + 1)
    return features[start : start + len(features) - off]


def prepare(config: TextMotionRunConfig, device: torch.device) -> Run:
    """Return the run of a config. Raises LmmError if a store or an option does not fit, or nothing is left to learn."""
    check_options(config.options, TextMotionConfig.model_fields, ["mean", "std", "vocabulary"])
    config.without("start_from")
    sides: dict[str, list[Told]] = {TRAIN: [], "val": []}
    weights: dict[str, list[float]] = {TRAIN: [], "val": []}
    names, licences = [], set()
    for corpus in config.data:
        pairs = read_pairs([corpus.store], config.seed, config.variants)
        found = {side: told([p for p in pairs if p.split == side]) for side in sides if side == TRAIN or corpus.val}
        for side, kept in found.items():
            sides[side] += kept
            weights[side] += [corpus.weight] * len(kept)
        licences |= {p.licence for p in pairs if p.split == TRAIN}
        names.append(f"{Path(corpus.store).name} ({len(found[TRAIN])} pairs)")
    if not all(sides.values()):
        raise LmmError("the stores need pairs of motion and text in splits train and val, the latter to choose by.")
    train = sides[TRAIN]
    mean, std = statistics(x for p in train for x in (p.features, mirror(p.features)))
    words = vocabulary((p.text for p in train), config.least_words)
    fields: dict[str, Any] = {"mean": mean, "std": std, "vocabulary": words}
    fields |= {"licence": weights_licence(licences), "trained_on": "; ".join(names)}
    torch.manual_seed(config.seed)
    try:
        network = TextMotion.of_size(config.size, **fields | config.options).to(device)
    except ValidationError as e:
        raise wrong_option(e) from None
    drawer, held_out = Drawer(train, weights[TRAIN]), Drawer(sides["val"], weights["val"])

    def batch(step: int, part: slice) -> PairBatch:
        """A process's share is a batch of its own: pairs are told apart within it."""
        rng = np.random.default_rng((config.seed, step, part.start or 0))
        return drawer.draw(rng, len(range(config.batch)[part]))

    size = min(config.batch, config.val_windows)
    fixed = [
        network.example(held_out.draw(np.random.default_rng((VAL_SEED, i)), size, cut=0.0))
        for i in range(max(1, config.val_windows // size))
    ]

    def save(average: TextMotion, folder: Path, state: dict[str, Any]) -> None:
        average.save_pretrained(folder)
        (folder / "README.md").write_text(_card(average, config, state), "utf-8")

    return Run(network, batch, network.example, fixed, save)


def _card(model: TextMotion, config: TextMotionRunConfig, state: dict[str, Any]) -> str:
    c = model.config
    text = f"""Texts and motions as {c.embedding} numbers, near each other where the one tells the other: the evaluator
of `lmm eval generation` and `caption`. {sum(p.numel() for p in model.parameters()):,} parameters,
{len(c.vocabulary)} words.

- **Data**: {c.trained_on}
- **Licence of the weights**: {c.licence}
- **Training**: {state["step"]} steps of {config.batch} pairs; seed {config.seed}; validation loss {state["best"]:.5f}.
  Made again by `lmm train` from the run's config.json.
- **Limits**: it knows the words and movements of these data. Scores compare only where this same encoder gave them.
"""
    return card(f"Text-motion encoder, {c.size}", c.licence, ["text-to-motion", "evaluation"], text)


kinds.register("text-motion")(Kind(TextMotionRunConfig, prepare))
