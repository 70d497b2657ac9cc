"""Scores of captions against references: BLEU, ROUGE-L, CIDEr-D, a BERTScore, and accuracy over classes.

Texts are compared as `words`: lower case, without punctuation, **raw**, never lemmatised (the same captions score CIDEr
72.5 or 17.2 by that choice alone in published tables). All take one candidate and one or more references a motion.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
ORDERS = 4
ROUGE_BETA = 1.2  # recall counts more, as in the COCO caption evaluation
CIDER_SIGMA = 6.0
Ngram = tuple[str, ...]


def words(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return WORD.findall(text.lower())


def bleu_counts(candidates: Sequence[str], references: Sequence[Sequence[str]], order: int = ORDERS) -> Array:
    """Return what `bleu_of` takes, of each candidate (N, 2 · order + 2): how many of its 1- to `order`-grams are right,
    each n-gram no more often than in one reference; how many it has; its length, and that of the nearest reference."""
    out = np.zeros((len(candidates), 2 * order + 2))
    for row, candidate, texts in zip(out, candidates, references, strict=True):
        said, known = words(candidate), [words(t) for t in texts]
        for n in range(1, order + 1):
            most: Counter[Ngram] = Counter()
            for k in known:
                most |= _ngrams(k, n)
            ours = _ngrams(said, n)
            row[n - 1], row[order + n - 1] = (ours & most).total(), ours.total()
        row[-2:] = len(said), min((len(k) for k in known), key=lambda m: (abs(m - len(said)), m))
    return out


def bleu_of(counts: Array) -> Array:
    """Return BLEU (...) of `bleu_counts` that were summed over candidates, (..., 2 · order + 2): the geometric mean of
    the precisions, times exp(1 − r/c) where the candidates' length c is less than the references' r. Not smoothed: 0
    where no n-gram of the longest kind is right. K. Papineni et al., "BLEU", 2002, section 2.
    """
    order = counts.shape[-1] // 2 - 1
    right, made, length, wanted = np.split(counts, [order, 2 * order, 2 * order + 1], axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.exp(np.log(right / made).mean(axis=-1) + np.minimum(0, 1 - wanted / length)[..., 0])
    return np.where((right > 0).all(axis=-1), value, 0.0)


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]], order: int = ORDERS) -> float:
    """Return BLEU-`order` of the whole corpus, 0 to 1; see `bleu_of`."""
    return float(bleu_of(bleu_counts(candidates, references, order).sum(axis=0)))


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Return the ROUGE-L of each candidate (N,), 0 to 1: F_β of the words that the longest common subsequence has.

    Precision and recall are each the best over the references, β = 1.2: as COCO's caption evaluation has it. C.-Y. Lin,
    "ROUGE", 2004, equations 2 to 4.
    """
    found = []
    for candidate, texts in zip(candidates, references, strict=True):
        said = words(candidate)
        known = [words(t) for t in texts]
        common = [_common(said, k) for k in known]
        precision = max((c / max(len(said), 1) for c in common), default=0.0)
        recall = max((c / max(len(k), 1) for c, k in zip(common, known, strict=True)), default=0.0)
        both = recall + ROUGE_BETA**2 * precision
        found.append((1 + ROUGE_BETA**2) * precision * recall / both if both else 0.0)
    return np.array(found)


def cider(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Array:
    """Return the CIDEr-D of each candidate (N,), 0 to 10: likeness of the tf-idf vectors of 1- to 4-grams.

    Document frequencies are those of the references given, so it depends on the test set: with one motion, or one text
    for all, it is 0. Clipped, with the Gaussian penalty of lengths (σ = 6). R. Vedantam et al., "CIDEr", 2015,
    equations 1 to 4 and section 8.
    """
    known = [[words(t) for t in texts] for texts in references]
    frequency: Counter[Ngram] = Counter()
    for group in known:
        frequency.update({g for k in group for n in range(1, ORDERS + 1) for g in _ngrams(k, n)})
    documents = math.log(len(known))

    def vectors(text: list[str]) -> list[dict[Ngram, float]]:
        return [
            {g: c * (documents - math.log(max(1, frequency[g]))) for g, c in _ngrams(text, n).items()}
            for n in range(1, ORDERS + 1)
        ]

    found = []
    for candidate, group in zip(candidates, known, strict=True):
        said = words(candidate)
        ours = vectors(said)
        alike = []
        for k in group:
            penalty = math.exp(-((len(said) - len(k)) ** 2) / (2 * CIDER_SIGMA**2))
            alike.append(penalty * np.mean([_clipped_cosine(a, b) for a, b in zip(ours, vectors(k), strict=True)]))
        found.append(10 * np.mean(alike))
    return np.array(found)


def bert_score(
    candidates: Sequence[str], references: Sequence[Sequence[str]], embed: Callable[[str], Array]
) -> dict[str, Array]:
    """Return ``precision``, ``recall`` and ``f1`` (N,) of greedy matching: each word of the candidate with the word of
    the reference whose embedding is nearest by cosine, and the other way round; of several references the best F1.

    `embed` gives a text's word embeddings in context (words, D), and the score is worth what it is: name it. Neither
    weighed by idf nor rescaled. T. Zhang et al., "BERTScore", 2020, section 3. An empty text scores 0.
    """
    found = []
    for candidate, texts in zip(candidates, references, strict=True):
        ours = _unit(embed(candidate))
        found.append(max((_matched(ours, _unit(embed(t))) for t in texts), key=lambda s: s[2]))
    return dict(zip(("precision", "recall", "f1"), np.reshape(found, (-1, 3)).T, strict=True))


class Nearest:
    """Finds the texts that a text is nearest to by its words: cosine of tf-idf vectors of 1- and 2-grams."""

    def __init__(self, texts: Sequence[str]) -> None:
        bags = [_bag(t) for t in texts]
        frequency = Counter(g for bag in bags for g in bag)
        self._idf = {g: math.log((1 + len(bags)) / (1 + f)) + 1 for g, f in frequency.items()}
        self._index: dict[Ngram, list[tuple[int, float]]] = defaultdict(list)
        for i, bag in enumerate(bags):
            for g, value in self._vector(bag).items():
                self._index[g].append((i, value))

    def of(self, text: str) -> list[int]:
        """Return the numbers of the nearest texts, more than one if equally near; none without a word in common."""
        near: dict[int, float] = defaultdict(float)
        for g, value in self._vector(_bag(text)).items():
            for i, other in self._index[g]:
                near[i] += value * other
        best = max(near.values(), default=0.0)
        return [i for i, s in near.items() if s >= best - 1e-9]

    def _vector(self, bag: Counter[Ngram]) -> dict[Ngram, float]:
        weighed = {g: n * self._idf[g] for g, n in bag.items() if g in self._idf}
        size = math.sqrt(sum(v * v for v in weighed.values())) or 1.0
        return {g: v / size for g, v in weighed.items()}


class Classes:
    """Tells what a caption speaks of: the class of the sentence that it is `Nearest` to.

    Of sentences that are equally near, the class with most of them; no word in common with any: no class. No network is
    asked, so that none is flattered.
    """

    def __init__(self, sentences: Mapping[str, Sequence[str]]) -> None:
        """`sentences` are those of each class; what all classes may say (styles) is best left out."""
        told = [(name, text) for name, texts in sentences.items() for text in dict.fromkeys(texts)]
        self._owners = [name for name, _ in told]
        self._nearest = Nearest([text for _, text in told])

    def of(self, caption: str) -> str | None:
        """Return the class of a caption."""
        found = Counter(self._owners[i] for i in self._nearest.of(caption))
        return found.most_common(1)[0][0] if found else None


def macro_accuracy(told: Sequence[str | None], truth: Sequence[str]) -> float:
    """Return the mean over the true classes of the share that is told rightly: always naming one of K scores 1/K."""
    right: dict[str, list[bool]] = defaultdict(list)
    for a, b in zip(told, truth, strict=True):
        right[b].append(a == b)
    return float(np.mean([np.mean(r) for r in right.values()])) if right else float("nan")


def _ngrams(text: Sequence[str], n: int) -> Counter[Ngram]:
    return Counter(zip(*(text[i:] for i in range(n)), strict=False))


def _bag(text: str) -> Counter[Ngram]:
    found = words(text)
    return _ngrams(found, 1) + _ngrams(found, 2)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for x in a:
        before = 0
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], before + 1 if x == y else max(row[j], row[j - 1])
    return row[-1]


def _clipped_cosine(a: Mapping[Ngram, float], b: Mapping[Ngram, float]) -> float:
    size = math.sqrt(sum(v * v for v in a.values()) * sum(v * v for v in b.values()))
    return sum(min(v, b[g]) * b[g] for g, v in a.items() if g in b) / size if size else 0.0


def _matched(a: Array, b: Array) -> tuple[float, float, float]:
    if not len(a) or not len(b):
        return 0.0, 0.0, 0.0
    near = a @ b.T
    precision, recall = float(near.max(axis=1).mean()), float(near.max(axis=0).mean())
    return precision, recall, 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def _unit(x: Array) -> Array:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12))
