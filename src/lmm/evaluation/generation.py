"""The protocol `generation`: does the motion do what the text says? By the evaluator, and as measured.

Each contestant is a function of a pair's text and a seed. Controls take part like models: the real motions, a motion of
another text (`shuffled`), and the training motion whose text is nearest (`retrieval`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError, MotionError
from lmm.core.metrics import Parts
from lmm.core.motion import Motion
from lmm.datasets.pairs import Pair
from lmm.evaluation import text_motion_scores as scores
from lmm.evaluation.bootstrap import SEED, Tally
from lmm.evaluation.caption_scores import Nearest
from lmm.evaluation.language_cases import Cases, Slice, number, repeated, shares
from lmm.evaluation.said import Said, did, kept
from lmm.models.text_motion import TextMotion, contrary
from lmm.pipeline.codec_features import decode, encode, mirror

Array = NDArray[Any]
Progress = Callable[[int, int], None]
Make = Callable[[Pair, int], Motion]
REAL, SHUFFLED, RETRIEVAL = "real motions", "shuffled texts", "retrieval"
SHARES = ("side", "arm", "leg", "direction", "turn", "skating", "jitter", "penetration", "seconds", "length_error",
          "multimodality")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Generator:
    """What makes motions of texts, under one name: of a pair's text and a seed, another for each pair and draw.
    `draws`: how many motions of a text differ by their seed."""

    label: str
    make: Make
    draws: int = 1
    record: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Look:
    """What is measured of a motion: at 30 FPS, with the codec's joints, as a standard body, whoever made it."""

    embedding: Array
    done: Said | None
    physical: dict[str, float]


class Looker:
    """Looks at motions, at each once while it is kept."""

    def __init__(self, encoder: TextMotion) -> None:
        self._encoder = encoder
        self._seen: WeakKeyDictionary[Motion, Look] = WeakKeyDictionary()

    def look(self, motion: Motion) -> Look:
        """Raises MotionError if joints are missing or numbers are not finite."""
        if motion not in self._seen:
            features, placement = encode(motion)
            standard = decode(features, placement.model_copy(update={"scale": 1.0}))
            physical = {
                "skating": scores.skating_ratio(standard, scores.lowest(standard)),
                "jitter": scores.jitter(standard),
                "penetration": scores.penetration(standard, placement.floor),
                "seconds": standard.seconds,
            }
            self._seen[motion] = Look(self._encoder.embed_motion([features])[0], did(standard), physical)
        return self._seen[motion]


def controls(cases: Cases, part: Slice) -> list[Generator]:
    """Return the contestants that need no model."""
    other = others(part.pairs)
    nearest = Nearest([p.text for p in cases.train])

    def retrieved(pair: Pair, seed: int) -> Motion:
        found = nearest.of(pair.text) or range(len(cases.train))
        rng = np.random.default_rng((SEED, seed, part.pairs.index(pair)))
        return cases.train[found[rng.integers(len(found))]].motion

    return [
        Generator(REAL, lambda pair, _: pair.motion),
        Generator(SHUFFLED, lambda pair, _: other[id(pair)].motion),
        Generator(RETRIEVAL, retrieved, draws=scores.REPETITIONS),
    ]


def others(pairs: Sequence[Pair]) -> dict[int, Pair]:
    """Return for each pair one of another text; each pair comes up once, as far as texts allow it."""
    order = np.random.default_rng(SEED).permutation(len(pairs))
    by_text: dict[str, list[Pair]] = {}
    for i in order:
        by_text.setdefault(pairs[i].text, []).append(pairs[i])
    row = [p for group in sorted(by_text.values(), key=len, reverse=True) for p in group]
    turn = len(next(iter(sorted(by_text.values(), key=len, reverse=True))))
    return {id(p): row[(i + turn) % len(row)] for i, p in enumerate(row)}


@dataclass(frozen=True, eq=False)
class Example:
    """The middle pair of a slice, and what contestants made of its text, by their names."""

    slice: str
    text: str
    made: dict[str, Motion]


def generation(
    cases: Cases, generators: Sequence[Generator], encoder: TextMotion, draws: int, progress: Progress
) -> tuple[dict[str, Any], list[Example]]:
    """Return results.json's content, a row for each contestant and slice, and examples to look at. `draws`: motions of
    a text, at most.

    Raises LmmError if a generator makes what is no motion.
    """
    looker, done = Looker(encoder), 0
    rows: list[dict[str, Any]] = []
    evaluator: list[dict[str, Any]] = []
    examples: list[Example] = []
    entries = [(part, [*controls(cases, part), *generators]) for part in cases.slices]
    total = sum(len(part.pairs) * min(draws, g.draws) for part, entered in entries for g in entered)
    for part, entered in entries:
        texts = encoder.embed_text([p.text for p in part.pairs])
        truth = [looker.look(p.motion) for p in part.pairs]
        evaluator.append({**part.record, **trusted(part, encoder, looker, texts)})
        in_slice = []
        examples.append(Example(part.name, part.pairs[len(part.pairs) // 2].text, {}))
        for generator in entered:
            count = min(draws, generator.draws)
            looks: list[list[Look]] = [[] for _ in part.pairs]
            spent = made = 0.0
            for k in range(count):
                for i, pair in enumerate(part.pairs):
                    start = time.perf_counter()
                    motion = generator.make(pair, k * len(part.pairs) + i)  # else all lengths of a draw are alike
                    spent += time.perf_counter() - start
                    if k == 0 and i == len(part.pairs) // 2:
                        examples[-1].made[generator.label] = motion
                    looks[i].append(_looked(looker, motion, generator.label, pair.text))
                    made += looks[i][-1].physical["seconds"]
                    done += 1
                    progress(done, total)
            row = {"model": generator.label, "draws": count, **generator.record, **part.record}
            row["seconds_per_motion_second"] = spent / made if generator.record else None
            in_slice.append(row | score(part, looks, truth, texts))
        rows += _compared(in_slice)
    results = {
        "protocol": "generation",
        "store": cases.store,
        "split": cases.split,
        "fps": 30,
        "repetitions": scores.REPETITIONS,
        "group": scores.GROUP,
        "encoder": told_of(encoder),
        "intervals": {
            "level": 0.95,
            "repetitions": "r_precision, mm_dist, fid, diversity: 1.96 · std / √20 over draws of groups and samples",
            "bootstrap": f"{', '.join(SHARES)}: cluster bootstrap, subjects, then pairs within",
        },
        "evaluator": evaluator,
        "models": rows,
    }
    return results, examples


def told_of(encoder: TextMotion) -> dict[str, Any]:
    """Return what the results tell of the evaluator: scores by another one do not compare."""
    c = encoder.config
    return {
        "name": c.name,
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "trained_on": c.trained_on,
        "licence": c.licence,
    }


def score(part: Slice, looks: Sequence[Sequence[Look]], truth: Sequence[Look], texts: Array) -> dict[str, Any]:
    """Return the scores of motions made of a slice's texts, `looks` of each pair and draw, with ``ci95``."""
    motions = np.array([[one.embedding for one in of] for of in looks], float)  # (N, draws, D)
    real = np.array([one.embedding for one in truth], float)
    found: dict[str, list[float]] = {"mm_dist": [], "fid": [], "diversity": []}
    names = [f"r_precision_{k}" for k in (1, 2, 3)]
    enough = len({p.text for p in part.pairs}) >= scores.GROUP
    number_of_groups = 0
    for r in range(scores.REPETITIONS):
        rng = np.random.default_rng((SEED, r))
        own = motions[:, r % motions.shape[1]]
        if enough:
            drawn = scores.groups([p.text for p in part.pairs], rng)
            number_of_groups = len(drawn)
            for name, value in zip(names, scores.r_precision(texts, own, drawn), strict=True):
                found.setdefault(name, []).append(float(value))
        found["mm_dist"].append(scores.mm_dist(texts, own))
        found["fid"].append(scores.fid(own, real) if len(own) > 1 else np.nan)
        found["diversity"].append(scores.diversity(own, rng))
    values, around = repeated(found)
    tally = Tally(len(part.pairs))
    for k in range(motions.shape[1]):
        for i, (pair, of) in enumerate(zip(part.pairs, looks, strict=True)):
            tally.add(np.array([i]), _parts(pair, of[k], truth[i]))
    if motions.shape[1] > 1:
        apart = np.array([scores.multimodality(m[None]) for m in motions])
        tally.add(np.arange(len(apart)), {"multimodality": Parts(apart, np.ones(len(apart)))})
    more, around_more = shares(tally, SHARES, [p.subject for p in part.pairs])
    return {
        **values,
        **more,
        "groups": number_of_groups,
        "asked": {n: int(tally.clips_of(n).sum()) for n in SHARES[:5] if n in tally},
        "ci95": {**around, **around_more},
        "repetitions": {n: found[n] for n in names if n in found},
    }


def _parts(pair: Pair, look: Look, truth: Look) -> dict[str, Parts]:
    told = kept(pair.text, look.done)
    out = {name: _one(float(right)) for name, right in told.items()}
    sides = [told[n] for n in ("arm", "leg") if n in told]
    if sides:
        out["side"] = _one(float(all(sides)))
    out |= {name: _one(value) for name, value in look.physical.items()}
    out["length_error"] = _one(abs(look.physical["seconds"] - truth.physical["seconds"]))
    return out


def _one(value: float) -> Parts:
    known = np.isfinite(value)
    return Parts(np.array([value if known else 0.0]), np.array([float(known)]))


def _looked(looker: Looker, motion: Motion, label: str, text: str) -> Look:
    try:
        return looker.look(motion)
    except MotionError as e:
        raise LmmError(f"{label} made no motion of {text!r}: {e}") from None


def _compared(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add to each row its R-precision@3 as a share of the real motions' own and of the shuffled texts', over the same
    groups; drop the repetitions."""
    curves = {row["model"]: np.array(row["repetitions"].get("r_precision_3", [])) for row in rows}
    for row in rows:
        own = curves[row["model"]]
        for name, other in (("of_real", curves[REAL]), ("of_shuffled", curves[SHUFFLED])):
            mean = float(other.mean()) if other.size else 0.0
            row[name] = number(own.mean() / mean) if mean > 0 else None
        del row["repetitions"]
    return list(rows)


def trusted(part: Slice, encoder: TextMotion, looker: Looker, texts: Array) -> dict[str, Any]:
    """Return how far the evaluator itself can be trusted on a slice's real motions: of texts that name a side or a way,
    the share that is nearer to its own motion than the contrary text (``contrary``), and, of those that name a side,
    nearer to its own motion than that motion's mirror image is (``mirrored``)."""
    named = [(i, other) for i, p in enumerate(part.pairs) if (other := contrary(p.text)) is not None]
    if not named:
        return {"named": 0, "contrary": None, "mirrored": None}
    index = [i for i, _ in named]
    own = np.array([looker.look(part.pairs[i].motion).embedding for i in index])
    right = (own * texts[index]).sum(-1)
    against = (own * encoder.embed_text([other for _, other in named])).sum(-1)
    sided = [k for k, i in enumerate(index) if "left" in part.pairs[i].text or "right" in part.pairs[i].text]
    images = encoder.embed_motion([mirror(encode(part.pairs[index[k]].motion)[0]) for k in sided])
    beside = (images * texts[[index[k] for k in sided]]).sum(-1)
    return {
        "named": len(named),
        "contrary": number((right > against).mean()),
        "mirrored": number((right[sided] > beside).mean()) if sided else None,
    }
