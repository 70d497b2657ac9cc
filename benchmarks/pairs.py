"""Counts of motion-text pairs, and how what is measured agrees with what is labelled.

    python benchmarks/pairs.py STORE... [--variants 1] [--seed 0] [--kit PAIRS.jsonl] [--table OUT.tsv]

Told: pairs and hours by origin and split, distinct texts and words; for labels with a side, a turn or a direction the
share of clips whose measured one is the same, another, or not told (`lmm.analysis.facts`). Labels that the measurement
contradicts are not in pairs: they are counted from the clips themselves.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import lmm
from lmm.analysis.facts import Facts, facts
from lmm.core.motion import Motion
from lmm.datasets.pairs import DIRECTIONS, Pair, read_pairs


def counts(pairs: list[Pair]) -> str:
    lines = [f"{'origin':12} {'split':11} {'pairs':>6} {'stretches':>9} {'hours':>6} {'texts':>6} {'words':>6}"]
    for origin, split in sorted({(p.origin, p.split) for p in pairs}):
        some = [p for p in pairs if (p.origin, p.split) == (origin, split)]
        spans = {(p.id, p.motion.start_s): p.motion.seconds for p in some}
        texts = {p.text for p in some}
        words = {w for t in texts for w in t.split()}
        hours = sum(spans.values()) / 3600
        lines.append(f"{origin:12} {split:11} {len(some):6} {len(spans):9} {hours:6.2f} {len(texts):6} {len(words):6}")
    return "\n".join(lines)


def expected(clip: Motion) -> list[tuple[str, str]]:
    """Return (what, answer) that a clip's label says."""
    content = str(clip.meta.get("labels", {}).get("content", ""))
    parts = content.split("-")
    out = []
    if parts[-1] in ("hand", "hands"):
        out.append(("arm", parts[-2]))
        out.append(("raised hand", parts[-2]))
    if content.startswith("walk-turn"):
        out.append(("turn", parts[-1]))
    if content in DIRECTIONS:
        out.append(("direction", DIRECTIONS[content]))
    if content in ("walk", "run", "walk-back"):
        out.append(("gait", "run" if content == "run" else "walk"))
    return out


def answer(what: str, told: Facts) -> str | None:
    gait = "walk" if told.walks else "run" if told.runs else None
    return {
        "arm": told.arm, "raised hand": told.raises, "turn": told.turn, "direction": told.direction, "gait": gait
    }[what]  # fmt: skip


def agreement(clips: list[Motion]) -> str:
    found: dict[tuple[str, str], Counter[str]] = {}
    for clip in clips:
        told = facts(clip)
        for what, right in expected(clip):
            said = answer(what, told) if told else None
            kind = "same" if said == right else "not told" if said is None else f"other: {said}"
            found.setdefault((what, right), Counter())[kind] += 1
    lines = [f"{'measured':12} {'label':14} {'clips':>6} {'same':>6} {'other':>6} {'not told':>9}"]
    for (what, right), kinds in sorted(found.items()):
        other = sum(n for k, n in kinds.items() if k.startswith("other"))
        shown = ", ".join(f"{k} {n}" for k, n in kinds.items() if k.startswith("other"))
        lines.append(
            f"{what:12} {right:14} {sum(kinds.values()):6} {kinds['same']:6} {other:6} {kinds['not told']:9}  {shown}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="+")
    parser.add_argument("--variants", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kit")
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    pairs = read_pairs(given.stores, given.seed, given.variants, given.kit)
    print(counts(pairs), end="\n\n")
    print(agreement([m for s in given.stores for m in lmm.Store(s).motions() if "content" in m.meta["labels"]]))
    if given.table:
        rows = ["id\tstart_s\tend_s\torigin\tsplit\ttext\tlabel"]
        for p in pairs:
            start, end = p.motion.start_s, p.motion.start_s + p.motion.seconds
            label = " ".join(f"{k}={v}" for k, v in p.label.items())
            rows.append(f"{p.id}\t{start:.2f}\t{end:.2f}\t{p.origin}\t{p.split}\t{p.text}\t{label}")
        given.table.write_text("\n".join(rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
