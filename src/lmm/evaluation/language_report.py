"""report.html of `generation` and `caption`: a table for each slice, the evaluator's own trust, and examples."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from lmm.evaluation.generation import REAL, SHUFFLED, Example
from lmm.evaluation.pictures import drawn_strip
from lmm.rendering.report import Column, Picture, find, gallery, note, page, section, table

Row = dict[str, Any]

MATCH = (
    Column("R@1", ("r_precision_1",), best=max),
    Column("R@2", ("r_precision_2",), best=max),
    Column("R@3", ("r_precision_3",), best=max),
    Column("R@3 / real", ("of_real",), ".2f"),
    Column("R@3 / shuffled", ("of_shuffled",), ".1f"),
    Column("MM-Dist", ("mm_dist",)),
    Column("FID", ("fid",)),
    Column("Diversity", ("diversity",)),
    Column("MModality", ("multimodality",)),
)
MEASURED = (
    Column("side, %", ("side",), ".1f", factor=100),
    Column("direction, %", ("direction",), ".1f", factor=100),
    Column("turn, %", ("turn",), ".1f", factor=100),
    Column("skating, % of frames", ("skating",), ".1f", factor=100),
    Column("jitter, m/s³", ("jitter",), ".0f"),
    Column("penetration, mm", ("penetration",), ".1f", factor=1e3),
    Column("seconds", ("seconds",), ".1f"),
    Column("length error, s", ("length_error",), ".2f"),
    Column("s of work / s of motion", ("seconds_per_motion_second",), ".2f"),
)
CAPTIONS = (
    Column("BLEU-1", ("bleu_1",), best=max),
    Column("BLEU-4", ("bleu_4",), best=max),
    Column("ROUGE-L", ("rouge_l",), best=max),
    Column("CIDEr-D", ("cider",), ".2f", best=max),
    Column("BERTScore F1", ("bert_f1",), best=max),
    Column("macro-accuracy, %", ("macro_accuracy",), ".1f", factor=100),
    Column("side, %", ("side",), ".1f", factor=100),
    Column("direction, %", ("direction",), ".1f", factor=100),
    Column("turn, %", ("turn",), ".1f", factor=100),
    Column("R@1", ("r_precision_1",)),
    Column("R@3", ("r_precision_3",)),
    Column("different", ("different",), ".0f"),
    Column("words", ("words",), ".1f"),
)
TRUST = (
    Column("pairs", ("pairs",), ".0f"),
    Column("texts", ("texts",), ".0f"),
    Column("people or takes", ("subjects",), ".0f"),
    Column("with a side or way", ("named",), ".0f"),
    Column("nearer than the contrary, %", ("contrary",), ".1f", factor=100),
    Column("nearer than in the mirror, %", ("mirrored",), ".1f", factor=100),
)
ABOUT_MATCH = (
    "R-precision: among 32 motions of different texts, the text's own is the nearest, of the nearest two, three "
    "(chance 3, 6, 9 %). FID, to the slice's real motions, sees no text: shuffled texts score 0. Diversity and "
    "MModality are not to be maximised: near the real motions' is right. Small print: 95 % over 20 repetitions; "
    "MModality by bootstrap."
)
ABOUT_MEASURED = (
    "Side, direction and turn are measured from joints, where the text names one; what cannot be told beyond doubt "
    "counts as wrong, so that the real motions' own score is the most to expect. Small print: 95 % cluster bootstrap."
)
ABOUT_CAPTIONS = (
    "Raw words in lower case, not lemmatised. BERTScore by the evaluator's own word embeddings. Macro-accuracy: mean "
    "over contents of the share of captions whose nearest phrase of a label (tf-idf of words) is that content's. "
    "Side, direction and turn: as the motion's own text has it, where that names one."
)
ABOUT_TRUST = (
    "On real motions: how often the text is nearer to its motion than the same text with sides (or else forwards and "
    "backwards) exchanged, and nearer to it than to its mirror image."
)
ABOUT_STRIP = "The middle pair of the slice, whatever came of it. Top: the real motion; one clock for all rows."


def generation_report(results: Row, examples: Sequence[Example]) -> str:
    """Return the page of `generation`."""
    parts = []
    for name, rows in _slices(results).items():
        told = (note(ABOUT_MATCH), _table(rows, MATCH), note(ABOUT_MEASURED), _table(rows, MEASURED))
        parts.append(section(f"{name.capitalize()}: {_counts(rows[0])}", *told))
    trusted = table(results["evaluator"], TRUST, lambda r: escape(r["slice"]))
    trust = section("The evaluator", note(ABOUT_TRUST), trusted)
    shown = [Picture(f"{e.slice}: “{e.text}”", ABOUT_STRIP, _strip(e)) for e in examples]
    return page("Text to motion", facts(results), [*parts, trust, gallery(shown)])


def caption_report(results: Row) -> str:
    """Return the page of `caption`."""
    parts = [
        section(f"{name.capitalize()}: {_counts(rows[0])}", note(ABOUT_CAPTIONS), _table(rows, CAPTIONS), _said(rows))
        for name, rows in _slices(results).items()
    ]
    return page("Motion to text", facts(results), parts)


def facts(results: Row) -> str:
    """Return one line on what was tested."""
    e = results["encoder"]
    return (
        f"{results['store']}, split {results['split']} · evaluator {e['name']}, {e['parameters']:,} parameters, "
        f"trained on {e['trained_on']} · groups of {results['group']}, {results['repetitions']} repetitions"
    )


def summary(results: Row) -> list[str]:
    """Return a few lines for the terminal."""
    columns = MATCH[:5] + MEASURED[:3] if results["protocol"] == "generation" else CAPTIONS[:7]
    out = [facts(results), f"{'':44}" + "".join(f"{c.title:>19}" for c in columns)]
    for row in results["models"]:
        cells = [find(row, c.path) for c in columns]
        shown = ("–" if v is None else f"{c.factor * v:{c.form}}" for c, v in zip(columns, cells, strict=True))
        out.append(f"{row['slice'] + ': ' + row['model']:44}" + "".join(f"{v:>19}" for v in shown))
    return out


def _slices(results: Row) -> dict[str, list[Row]]:
    out: dict[str, list[Row]] = {}
    for row in results["models"]:
        out.setdefault(row["slice"], []).append(row)
    return out


def _counts(row: Row) -> str:
    told = ", ".join(f"{n} name {'an' if k[0] == 'a' else 'a'} {k}" for k, n in row["asked"].items() if k != "side")
    return (
        f"{row['pairs']} pairs, {row['texts']} texts, {row['subjects']} people or takes, {row.get('groups', 0)} groups"
        + f"; {told}" * bool(told)
    )


def _table(rows: Sequence[Row], columns: Sequence[Column]) -> str:
    kept = [c for c in columns if any(find(r, c.path) is not None for r in rows)]
    return table(rows, kept, lambda r: _named(r))


def _named(row: Row) -> str:
    draws = f"<small>{row['draws']} draws</small>" if row.get("draws", 1) > 1 else ""
    return f"{escape(row['model'])}{draws}"


def _said(rows: Sequence[Row]) -> str:
    """Return the first captions of every contestant side by side."""
    head = "".join(f"<th>{escape(r['model'])}</th>" for r in rows)
    lines = ("".join(f"<td>{escape(t)}</td>" for t in line) for line in zip(*(r["said"] for r in rows), strict=True))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _strip(example: Example) -> bytes:
    made = {k: v for k, v in example.made.items() if k != SHUFFLED}
    rows = [made.pop(REAL), *made.values()]
    names = [REAL, *made]
    return drawn_strip([m.replace(meta={"title": n}, start_s=0.0) for m, n in zip(rows, names, strict=True)])
