"""The protocol `probe`: what encoders know of gait that nobody told them, and what HTT looks at (docs/evaluation.md).

Ridge regressions read the labels of `lmm.analysis.gait` off what an encoder makes of a context, and off the frames
themselves; networks of the same make with random weights tell what an encoder's shape alone gives away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.analysis.gait import HALF_FRAMES, TARGETS, gait_at
from lmm.core.errors import LmmError
from lmm.core.metrics import Parts
from lmm.evaluation import probe_report
from lmm.evaluation.bootstrap import Tally, mean_tally, pooled, resamples
from lmm.evaluation.cases import FPS, Batch, Case, Corpus, batch_of
from lmm.evaluation.contestants import Contestant
from lmm.evaluation.forecast import Progress, Results
from lmm.evaluation.pictures import examples
from lmm.evaluation.pinned import pinned, standardise
from lmm.evaluation.results import Tree, estimates, intervals, method
from lmm.evaluation.streams import Glance, encoded, glance, is_gated, looked, untrained

Array = NDArray[Any]
Folds = Sequence[tuple[Array, Array]]  # rows to train on, rows to test on
STRIDE = 5  # frames between windows
MAX_WINDOWS = 3000  # of a large store, as many are drawn
LEAST_SUBJECTS = 3  # in split test, or else everybody is tested in turn
ALPHAS = np.logspace(-4, 4, 9)  # penalties, per window and for features of unit variance
NO_DIRECTION = 1e-9  # of the features' largest variance
TAIL = 15  # frames that are read without an encoder
TWINS = 3  # untrained networks of each make, which differ from each other
SEED = 20263


@dataclass(frozen=True)
class Key:
    """Which features: of what model, which of its streams, how they are brought from frames to one, trained or not."""

    model: str
    stream: str
    pooling: str
    trained: bool = True


CONSTANT, LAST, TAILED = (
    Key("no network", s, p) for s, p in (("nothing", ""), ("frame", "last"), ("frames", "last 15"))
)


def probe(corpus: Corpus, models: Sequence[Contestant], samples: int, progress: Progress) -> tuple[Results, str]:
    """Return results.json's content and report.html. Nothing is forecast: `samples` changes nothing.

    Raises LmmError if a model has no encoder, the store is not in metres, or fewer than three people walk in it.
    """
    for model in models:
        if not hasattr(model.seeds[0], "encoder"):
            raise LmmError(f"{model.label} has no encoder to probe. Give networks: flat, direct, diffusion or htt.")
    if any(m.space != "world" for m in corpus.motions):
        raise LmmError(f"{corpus.name} has clips in pixels, and gait is told from metres. Give a store of 3D motions.")
    labels = walking(corpus)
    folds(corpus, list(labels))
    batches = corpus.batches(list(labels), 1)
    twins = {m.label: [untrained(m.seeds[0], SEED + i) for i in range(TWINS)] for m in models}
    blocks: dict[Key, list[list[Array]]] = {}
    glances: dict[str, list[Glance]] = {m.label: [] for m in models if is_gated(m.seeds[0])}
    cases: list[Case] = []
    for number, batch in enumerate(batches):
        cases += batch.cases
        found = {key: [x] for key, x in raw(batch, corpus).items()}
        for m in models:
            for trained, networks in ((True, m.seeds), (False, twins[m.label])):
                for network in networks:
                    for (stream, pooling), x in encoded(network, batch).items():
                        found.setdefault(Key(m.label, stream, pooling, trained), []).append(x)
            if m.label in glances:
                glances[m.label].append(glance(m.seeds[0], batch))
        for key, seeds in found.items():
            for kept, x in zip(blocks.setdefault(key, [[] for _ in seeds]), seeds, strict=True):
                kept.append(x)
        progress(number + 1, len(batches))
    targets = np.stack([labels[c] for c in cases])
    plan, parts = folds(corpus, cases)
    tested = np.sort(np.concatenate([test for _, test in parts]))
    judge = Scores(corpus, cases, targets, tested)
    tallies, widths = {}, {}
    for key, pieces in blocks.items():
        of_seeds = [np.concatenate(kept) for kept in pieces]
        widths[key] = of_seeds[0].shape[1]
        tallies[key] = [judge.tally(predicted(x, targets, judge.subjects, parts)) for x in of_seeds]
    shown = examples(corpus, [cases[i] for i in tested], 1)
    results = {
        "protocol": "probe",
        "store": corpus.name,
        "split": corpus.split,
        "layout": corpus.layout,
        "views": len(corpus.cameras),
        "fps": FPS,
        "tested": plan,
        "windows": len(cases),
        "refused_windows": len(batches.refused),
        "clips": len({c.clip for c in cases}),
        "subjects": len(set(judge.subjects)),
        "tested_windows": len(tested),
        "tested_clips": len(judge.clips),
        "tested_subjects": len(set(judge.owners)),
        "statistics": {"joints": list(pinned(corpus.layout).joints)},
        "targets": judge.targets_record(),
        "intervals": method(corpus) | {"subjects": len(set(judge.owners))},
        "models": judge.rows(tallies, widths, models),
        "comparisons": judge.comparisons(tallies, models),
        "htt": {label: looked(seen) for label, seen in glances.items()},
    }
    close = {
        m.label: [glance(m.seeds[0], batch_of([c], [corpus.cut(c, 1)], 1)) for c in shown]
        for m in models
        if m.label in glances
    }
    return results, probe_report.report(results, corpus, shown, close)


def walking(corpus: Corpus) -> dict[Case, Array]:
    """Return the windows whose last frame of context lies amid walking, with their targets (7,); one of every
    STRIDE frames, of a large store MAX_WINDOWS of these."""
    found: dict[Case, Array] = {}
    told: dict[tuple[int, int], Array | None] = {}
    for case in corpus.cases(HALF_FRAMES + 1, STRIDE, HALF_FRAMES):
        at = (case.clip, case.begin)
        if at not in told:
            gait = gait_at(corpus.motions[case.clip], case.begin - 1)
            told[at] = gait.targets if gait is not None and gait.walks else None
        targets = told[at]
        if targets is not None:
            found[case] = targets
    if len(found) <= MAX_WINDOWS:
        return found
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(found))[:MAX_WINDOWS])
    every = list(found)
    return {every[i]: found[every[i]] for i in chosen}


def folds(corpus: Corpus, cases: Sequence[Case]) -> tuple[str, Folds]:
    """Return how the test is made, in words, and which windows are trained and tested on.

    Of a whole store, split train against split test if LEAST_SUBJECTS of it walk; else every subject against all
    others. Raises LmmError if too few people walk for either.
    """
    owner = np.array([corpus.subjects[c.clip] for c in cases])
    split = np.array([corpus.motions[c.clip].meta["split"] for c in cases])
    train, test = np.flatnonzero(split == "train"), np.flatnonzero(split == "test")
    if len(set(owner[test])) >= LEAST_SUBJECTS and len(set(owner[train])) >= 2:
        return "split test, by probes of split train", [(train, test)]
    names = sorted(set(owner))
    if len(names) < LEAST_SUBJECTS:
        raise LmmError(
            f"{len(names)} people walk in {corpus.name}, split {corpus.split}: probes need {LEAST_SUBJECTS} or more. "
            "Choose --split all or another store."
        )
    one_out = [(np.flatnonzero(owner != n), np.flatnonzero(owner == n)) for n in names]
    return "each subject, by probes of all others", one_out


def raw(batch: Batch, corpus: Corpus) -> dict[Key, Array]:
    """Return what is known without an encoder: nothing, the last frame (B, 75), the last TAIL frames (B, TAIL · 75)."""
    x = standardise(batch.context, batch.observed, pinned(corpus.layout).spec, batch.on_hips)
    return {CONSTANT: np.zeros((len(x), 1)), LAST: x[:, -1], TAILED: x[:, -TAIL:].reshape(len(x), -1)}


@dataclass(frozen=True, eq=False)
class Ridge:
    """A fitted ridge regression; `alpha` (K,) are the penalties per window."""

    centre: Array
    weights: Array
    offset: Array
    alpha: Array

    def __call__(self, x: Array) -> Array:
        return np.asarray((x - self.centre) @ self.weights + self.offset)


def ridge(x: Array, y: Array, groups: Array, target: Sequence[int] | None = None) -> Ridge:
    """Return the ridge regressions of y (N, K) on x (N, D), brought to unit variance, with intercepts.

    The penalty is the one of ALPHAS with the least squared error on each of the `groups` (N,), two or more, when that
    group is left out; columns of y of the same `target` (K,) share it. These errors follow from the fit of all: with H
    the matrix that maps y to the fitted values, those of group g are (I − H_gg)⁻¹ (y − Hy)_g (R. Cook and S. Weisberg,
    "Residuals and Influence in Regression", 1982, section 3.6, here with a penalty).
    """
    owner = np.zeros(y.shape[1], int) if target is None else np.asarray(target)
    centre, offset = x.mean(axis=0), y.mean(axis=0)
    spread = x.std(axis=0)
    scale = np.where(spread > 1e-6 * max(spread.max(), 1e-300), spread, np.inf)
    xs, ys = (x - centre) / scale, y - offset
    wide = x.shape[1] > len(x)
    values, found = np.linalg.eigh(xs @ xs.T if wide else xs.T @ xs)  # of whichever is smaller
    kept = values > NO_DIRECTION * max(values[-1], 1e-300)
    values, found = values[kept], found[:, kept]
    other = (xs.T if wide else xs) @ found / np.sqrt(values)
    u, vectors = (found, other) if wide else (other, found)
    along = u.T @ ys
    rows = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    left_out = np.zeros((len(ALPHAS), y.shape[1]))
    for i, alpha in enumerate(ALPHAS):
        shrink = values / (values + alpha * len(x))
        rest = ys - u @ (shrink[:, None] * along)
        for g in rows:
            own = np.eye(len(g)) - 1 / len(x) - (u[g] * shrink) @ u[g].T
            left_out[i] += (np.linalg.solve(own, rest[g]) ** 2).sum(axis=0)
    best = {t: ALPHAS[left_out[:, owner == t].sum(axis=1).argmin()] for t in set(owner.tolist())}
    alpha = np.array([best[t] for t in owner.tolist()])
    inner = vectors @ (np.sqrt(values)[:, None] / (values[:, None] + alpha * len(x)) * along)
    return Ridge(centre, inner / scale[:, None], offset, alpha)


def predicted(x: Array, targets: Array, groups: Array, parts: Folds) -> Array:
    """Return what probes of x (N, D) say of the targets (N, 7) in the tested windows, NaN elsewhere."""
    owner = np.array([i for i, t in enumerate(TARGETS.values()) for _ in t.columns])
    out = np.full(targets.shape, np.nan)
    for train, test in parts:
        known = np.isfinite(targets[train])
        for mask in np.unique(known, axis=1).T:
            columns = np.flatnonzero((known == mask[:, None]).all(axis=0))
            rows = train[mask]
            if len(set(groups[rows])) >= 2:
                fitted = ridge(x[rows], targets[np.ix_(rows, columns)], groups[rows], owner[columns].tolist())
                out[np.ix_(test, columns)] = fitted(x[test])
    return out


class Scores:
    """Predictions of the tested windows → sums per clip → R² and mean absolute errors, with intervals."""

    def __init__(self, corpus: Corpus, cases: Sequence[Case], targets: Array, tested: Array) -> None:
        owner = np.array([c.clip for c in cases])
        self.subjects = np.array(corpus.subjects)[owner]
        self.targets, self.tested = targets, tested
        self.clips, self.clip_of = np.unique(owner[tested], return_inverse=True)
        self.owners = [corpus.subjects[c] for c in self.clips]
        self.by_subject = resamples(self.owners)
        self.by_clip = resamples([corpus.ids[c] for c in self.clips])

    def tally(self, told: Array) -> Tally:
        """Return the sums per clip of predictions (N, 7)."""
        out = Tally(len(self.clips))
        for name, target in TARGETS.items():
            truth, guess = (a[self.tested][:, target.columns] for a in (self.targets, told))
            known = np.isfinite(truth).all(axis=1) & np.isfinite(guess).all(axis=1)
            truth, guess = truth[known], guess[known]
            number = np.ones(truth.shape)
            off = np.abs(_angle(guess, truth)) if target.circular else np.abs(guess - truth)[:, 0]
            out.add(
                self.clip_of[known],
                {
                    f"{name}.error": Parts((guess - truth) ** 2, number),
                    f"{name}.square": Parts(truth**2, number),
                    f"{name}.value": Parts(truth, number),
                    f"{name}.off": Parts(off, number[:, 0]),
                },
            )
        return out

    def rows(
        self, tallies: Mapping[Key, Sequence[Tally]], widths: Mapping[Key, int], models: Sequence[Contestant]
    ) -> list[dict[str, Any]]:
        """Return a row for each set of features: for every target ``r2`` and ``error``, then their intervals."""
        records = {m.label: m.record for m in models}
        out = []
        for key, seeds in tallies.items():
            tally = mean_tally(seeds)
            tree = of_targets(tally, self.by_subject)
            row = {"model": key.model, "stream": key.stream, "pooling": key.pooling, "trained": key.trained}
            row |= {k: v for k, v in records.get(key.model, {}).items() if k != "seeds"}
            row |= {"seeds": len(seeds), "width": widths[key], **estimates(tree), "ci95": intervals(tree)}
            row["ci95_clips"] = intervals(of_targets(tally, self.by_clip))
            if len(seeds) > 1:
                row["per_seed"] = [estimates(of_targets(t, self.by_subject[:1])) for t in seeds]
            out.append(row)
        return out

    def comparisons(self, tallies: Mapping[Key, Sequence[Tally]], models: Sequence[Contestant]) -> list[dict[str, Any]]:
        """Return paired differences in R² of all trained features from the last frames themselves, from the same
        network untrained, and of HTT's from flat's."""
        r2 = {
            k: {n: t["r2"] for n, t in of_targets(mean_tally(s), self.by_subject).items()} for k, s in tallies.items()
        }
        kind = {m.label: m.kind for m in models}
        flat = next((m.label for m in models if m.kind == "flat"), "")
        out = []
        for key in tallies:
            if not key.trained or key.model not in kind:
                continue
            others = {
                "last 15 frames": TAILED,
                "untrained": Key(key.model, key.stream, key.pooling, False),
            }
            if kind[key.model] == "htt":
                others["flat"] = Key(flat, "memory", key.pooling)
            for name, other in others.items():
                if other in r2:
                    tree = {n: r2[key][n] - r2[other][n] for n in TARGETS}
                    row = {"model": key.model, "stream": key.stream, "pooling": key.pooling, "against": name}
                    out.append(row | {"r2_difference": estimates(tree), "ci95": intervals(tree)})
        return out

    def targets_record(self) -> dict[str, Any]:
        """Return for each target its unit, how much of it was tested, and how it spreads there."""
        out = {}
        for name, target in TARGETS.items():
            values = self.targets[self.tested][:, target.columns]
            known = np.isfinite(values).all(axis=1)
            clips, values = set(self.clip_of[known]), values[known]
            out[name] = {
                "unit": target.unit,
                "windows": int(known.sum()),
                "clips": len(clips),
                "subjects": len({self.owners[c] for c in clips}),
            }
            if target.circular and len(values):
                mean = complex(*values.mean(axis=0))
                # of a circular variable: N. Fisher, "Statistical Analysis of Circular Data", 1993, equation 2.12
                spread = np.degrees(np.sqrt(-2 * np.log(max(abs(mean), 1e-12))))
                out[name] |= {"mean": float(np.degrees(np.angle(mean))), "deviation": float(spread)}
            elif len(values):
                out[name] |= {"mean": float(values.mean()), "deviation": float(values.std())}
        return out


def of_targets(tally: Tally, weights: Array) -> Tree:
    """Return {target: {r2, error}} with arrays (R,): R² about the mean of what is tested, of cosine and sine together,
    and the mean absolute error in the target's unit."""
    out: Tree = {}
    for name in TARGETS:
        error, square, value = (tally.sums(f"{name}.{part}", weights) for part in ("error", "square", "value"))
        with np.errstate(invalid="ignore", divide="ignore"):
            about_mean = (square.total - value.total**2 / value.number).sum(axis=1)
            r2 = np.where(about_mean > 1e-9, 1 - error.total.sum(axis=1) / about_mean, np.nan)
        out[name] = {"r2": r2, "error": pooled(tally, f"{name}.off", weights)[:, 0]}
    return out


def _angle(guess: Array, truth: Array) -> Array:
    """Return the angles, in degrees, between (cosine, sine) pairs (N, 2)."""
    cross = truth[:, 0] * guess[:, 1] - truth[:, 1] * guess[:, 0]
    return np.degrees(np.arctan2(cross, (truth * guess).sum(axis=1)))
