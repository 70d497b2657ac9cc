"""Counting repetitions in continuous CMU trials whose repetitions were counted by eye (hand_counts.toml).

    python benchmarks/hand_counts.py STORE [--assistant FOLDER]

STORE is CMU by `lmm ingest`. Told: each trial's count by hand, by `lmm.analysis.repetitions`, by the peaks of the first
principal component, and the constant guess that is best on average over all trials; then the share of exact counts, of
counts off by one at most, and the mean absolute error of each: over all trials with 95 % intervals by bootstrap over
subjects, and in each split. `matched` are those seen that fall alone into a repetition of lmm's: a count can be right
of the wrong thing. Nothing was chosen on these trials. An assistant is asked QUESTION.
"""

from __future__ import annotations

import argparse
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

import lmm
from counting import MEASURES, scores
from lmm.analysis.repetitions import Repetition, repetitions
from lmm.evaluation.counting import best_guess, peaks

QUESTION = "how many repetitions does the person do?"


def by_hand() -> dict[str, Any]:
    """Return for each trial its `movement` and when each repetition was seen, `at_s`."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))


def matched(found: list[Repetition], at_s: list[float]) -> int:
    """Return how many of the times fall alone into a repetition."""
    inside = [[at for at in at_s if r.start_s <= at <= r.end_s] for r in found]
    return len({times[0] for times in inside if len(times) == 1})


def asked(folder: str, motions: list[lmm.Motion]) -> Any:
    """Return what an assistant counts in each motion, 0 where it states no number."""
    from lmm.datasets.instructions import parse_answer
    from lmm.models.assistant import Asked, Assistant

    model = Assistant.from_pretrained(folder)
    said = [model.answers([Asked(QUESTION, (model.read(m),))], max_tokens=48)[0] for m in motions]
    return np.array([(parse_answer("count", text) or {"count": 0})["count"] for text in said])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store")
    parser.add_argument("--assistant", help="a folder: counts by it, too")
    given = parser.parse_args()
    trials = by_hand()
    motions = {m.meta["trial"]: m for m in lmm.Store(given.store).motions() if m.meta.get("trial") in trials}
    if missing := sorted(set(trials) - set(motions)):
        parser.error(f"{given.store} lacks the trials {', '.join(missing)}")
    truth = np.array([len(told["at_s"]) for told in trials.values()])
    guess = best_guess(truth)
    found = {t: repetitions(motions[t]) for t in trials}
    same = {t: matched(found[t], trials[t]["at_s"]) for t in trials}
    counts = {
        "lmm": np.array([len(found[t]) for t in trials]),
        "peaks of PC 1": np.array([peaks(motions[t]) for t in trials]),
        f"always {guess}": np.full(len(trials), guess),
    }
    if given.assistant:
        counts["assistant"] = asked(given.assistant, [motions[t] for t in trials])
    splits = np.array([motions[t].meta["split"] for t in trials])
    subjects = [motions[t].meta["subject"] for t in trials]
    print(f"| trial | split | movement | by hand | {' | '.join(counts)} | matched |")
    print("|---|---|---|---|" + "---|" * (len(counts) + 1))
    for k, (trial, told) in enumerate(trials.items()):
        row = " | ".join(str(c[k]) for c in counts.values())
        print(f"| {trial} | {splits[k]} | {told['movement']} | {truth[k]} | {row} | {same[trial]} |")
    print(f"\nall: {len(trials)} trials of {len(set(subjects))} subjects")
    print(f"  {truth.sum()} repetitions, {sum(same.values())} matched")
    for title, count in counts.items():
        print(f"  {title:14} {scores(np.abs(count - truth), subjects, np.random.default_rng(0))}")
    for split in sorted(set(splits)):
        here = splits == split
        print(f"{split}: {here.sum()} trials of {len({s for s, h in zip(subjects, here, strict=True) if h})} subjects")
        for title, count in counts.items():
            error = np.abs(count - truth)[here]
            print(f"  {title:14} " + "  ".join(f"{name} {f(error):.3f}" for name, f in MEASURES.items()))


if __name__ == "__main__":
    main()
