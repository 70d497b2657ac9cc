"""The protocol `caption`: does the text say what the motion shows? Against the texts that people or labels gave it.

Each describer is a function of a pair's motion. Controls take part like models: the references themselves, the caption
of another motion (`shuffled`), that of the training motion whose embedding is nearest (`retrieval`), and one for all.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.metrics import Parts
from lmm.core.motion import Motion
from lmm.datasets import sentences
from lmm.datasets.pairs import Pair
from lmm.evaluation import caption_scores as scores
from lmm.evaluation.bootstrap import SEED, Tally, confidence, resamples
from lmm.evaluation.generation import Progress, others, told_of
from lmm.evaluation.language_cases import Cases, Slice, number, repeated, shares
from lmm.evaluation.said import said
from lmm.evaluation.text_motion_scores import GROUP, REPETITIONS, groups, mm_dist, r_precision
from lmm.models.text_motion import TextMotion
from lmm.pipeline.codec_features import encode

Array = NDArray[Any]
SHUFFLED, RETRIEVAL, MAJORITY, REFERENCE = "shuffled captions", "retrieval", "majority", "the references"
SHARES = ("rouge_l", "cider", "bert_precision", "bert_recall", "bert_f1", "arm", "leg", "direction", "turn", "side",
          "words")  # fmt: skip


@dataclass(frozen=True, eq=False)
class Describer:
    """What makes texts of motions, under one name."""

    label: str
    describe: Callable[[Pair], str]
    record: dict[str, Any] = field(default_factory=dict)


def controls(cases: Cases, part: Slice, embed: Callable[[Sequence[Motion]], Array]) -> list[Describer]:
    """Return the contestants that need no model; those that say what training captions of the slice's origin say."""
    known = [p for p in cases.train if p.origin == part.origin] or list(cases.train)
    other = others(part.pairs)
    most = Counter(p.text for p in known).most_common(1)[0][0]
    library = embed([p.motion for p in known])

    def nearest(pair: Pair) -> str:
        return known[int((library @ embed([pair.motion])[0]).argmax())].text

    return [
        Describer(REFERENCE, lambda pair: pair.text),
        Describer(SHUFFLED, lambda pair: other[id(pair)].text),
        Describer(MAJORITY, lambda pair: most),
        Describer(RETRIEVAL, nearest),
    ]


def caption(cases: Cases, describers: Sequence[Describer], encoder: TextMotion, progress: Progress) -> dict[str, Any]:
    """Return results.json's content: a row for each contestant and slice."""
    rows: list[dict[str, Any]] = []
    seen: dict[int, Array] = {}
    done, total = 0, sum(len(part.pairs) for part in cases.slices) * (len(describers) + 4)

    def embed(motions: Sequence[Motion]) -> Array:
        fresh = [m for m in motions if id(m) not in seen]
        for m, row in zip(fresh, encoder.embed_motion([encode(m)[0] for m in fresh]), strict=True):
            seen[id(m)] = row
        return np.array([seen[id(m)] for m in motions])

    told = sentences.contents()
    known = {p.label.get("content") for p in (*cases.train, *(p for part in cases.slices for p in part.pairs))}
    for part in cases.slices:
        references = _references(part.pairs)
        contents = {p.label.get("content") for p in part.pairs}
        classes = None if None in contents else scores.Classes({k: v for k, v in told.items() if k in known})
        motions = embed([p.motion for p in part.pairs])
        in_slice = []
        for describer in [*controls(cases, part, embed), *describers]:
            texts, spent = [], 0.0
            for pair in part.pairs:
                start = time.perf_counter()
                texts.append(describer.describe(pair))
                spent += time.perf_counter() - start
                done += 1
                progress(done, total)
            row = {"model": describer.label, **describer.record, **part.record}
            row["seconds_per_caption"] = spent / len(texts) if describer.record else None
            row["said"] = texts[:8]
            in_slice.append(row | score(part, texts, references, motions, classes, encoder))
        rows += in_slice
    return {
        "protocol": "caption",
        "store": cases.store,
        "split": cases.split,
        "texts": "raw words in lower case, not lemmatised",
        "repetitions": REPETITIONS,
        "group": GROUP,
        "encoder": told_of(encoder),
        "intervals": {
            "level": 0.95,
            "repetitions": "r_precision, mm_dist: 1.96 · std / √20 over draws of groups",
            "bootstrap": "all others: cluster bootstrap, subjects, then pairs within",
        },
        "models": rows,
    }


def score(
    part: Slice,
    texts: Sequence[str],
    references: Sequence[Sequence[str]],
    motions: Array,
    classes: scores.Classes | None,
    encoder: TextMotion,
) -> dict[str, Any]:
    """Return the scores of captions (N,) of a slice's motions, with ``ci95``."""
    subjects = [p.subject for p in part.pairs]
    weights = resamples(subjects)
    bert = scores.bert_score(texts, references, encoder.embed_words)
    parts = {
        "rouge_l": scores.rouge_l(texts, references),
        "cider": scores.cider(texts, references),
        **{f"bert_{k}": v for k, v in bert.items()},
        "words": np.array([float(len(scores.words(t))) for t in texts]),
    }
    tally = Tally(len(texts))
    tally.add(np.arange(len(texts)), {n: Parts(v, np.ones(len(v))) for n, v in parts.items()})
    for i, (pair, text) in enumerate(zip(part.pairs, texts, strict=True)):
        tally.add(np.array([i]), agreement(pair, text))
    values, around = shares(tally, SHARES, subjects)
    for n in (1, scores.ORDERS):
        found = scores.bleu_of(weights @ scores.bleu_counts(texts, references, n))
        values[f"bleu_{n}"], around[f"bleu_{n}"] = number(found[0]), [number(x) for x in confidence(found)]
    if classes is not None:
        truth = [p.label["content"] for p in part.pairs]
        told = [classes.of(t) for t in texts]
        found = _macro(told, truth, weights)
        values["macro_accuracy"], around["macro_accuracy"] = number(found[0]), [number(x) for x in confidence(found)]
        values["accuracy"] = float(np.mean([a == b for a, b in zip(told, truth, strict=True)]))
        values["classes"] = len(set(truth))
        values["majority"] = max(Counter(truth).values()) / len(truth)
    matched: dict[str, list[float]] = {"mm_dist": []}
    said_texts, own = encoder.embed_text(texts), [p.text for p in part.pairs]
    for r in range(REPETITIONS if len(set(own)) >= GROUP else 0):
        drawn = groups(own, np.random.default_rng((SEED, r)))
        for k, value in enumerate(r_precision(said_texts, motions, drawn), start=1):
            matched.setdefault(f"r_precision_{k}", []).append(float(value))
        values["groups"] = len(drawn)
    matched["mm_dist"].append(mm_dist(said_texts, motions))
    more, around_more = repeated(matched)
    asked = {n: int(tally.clips_of(n).sum()) for n in ("arm", "leg", "direction", "turn", "side") if n in tally}
    return {**values, **more, "asked": asked, "different": len(set(texts)), "ci95": around | around_more}


def agreement(pair: Pair, text: str) -> dict[str, Parts]:
    """Return whether a caption says of side, way and turn what the pair's own text says: where that one says it."""
    wanted, told = asdict(said(pair.text)), asdict(said(text))
    right = {k: told[k] == v for k, v in wanted.items() if v is not None}
    sides = [right[n] for n in ("arm", "leg") if n in right]
    if sides:
        right["side"] = all(sides)
    return {k: Parts(np.array([float(v)]), np.ones(1)) for k, v in right.items()}


def _references(pairs: Sequence[Pair]) -> list[list[str]]:
    """Return for each pair all texts of its stretch of motion in the slice, its own first."""
    of: dict[tuple[str, float], list[str]] = defaultdict(list)
    for p in pairs:
        of[p.id, p.motion.start_s].append(p.text)
    return [[p.text, *(t for t in of[p.id, p.motion.start_s] if t != p.text)] for p in pairs]


def _macro(told: Sequence[str | None], truth: Sequence[str], weights: Array) -> Array:
    """Return `macro_accuracy` for each row of weights (R, N) of the captions."""
    right = np.array([a == b for a, b in zip(told, truth, strict=True)], float)
    names, owner = np.unique(np.asarray(truth), return_inverse=True)
    member = (owner[:, None] == np.arange(len(names))).astype(float)
    drawn = weights @ member
    share = np.divide(weights @ (member * right[:, None]), drawn, out=np.full(drawn.shape, np.nan), where=drawn > 0)
    return np.asarray(np.nanmean(share, axis=1))
