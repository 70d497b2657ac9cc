"""report.html of `assistant`: a table for each kind of question, each subject's score, curves, and what was said."""

from __future__ import annotations

from html import escape
from typing import Any

from lmm.evaluation.assistant_scores import LOWER, MAIN, NEAR_S
from lmm.rendering import plots
from lmm.rendering.report import Column, Picture, charts, note, page, section, table

Row = dict[str, Any]
PERCENT = 100.0


def _share(title: str, name: str, best: Any = max) -> Column:
    return Column(f"{title}, %", (name,), ".1f", best, PERCENT)


ACCURACY = (_share("accuracy", "accuracy"), _share("balanced", "balanced"), _share("stated", "stated", None))
WITHIN = (_share("within", "within"), Column("MAE", ("mae",), ".2f", min), _share("stated", "stated", None))
COLUMNS: dict[str, tuple[Column, ...]] = {
    "correct": (Column("F1", ("f1",), ".3f", max), _share("accuracy", "accuracy"), _share("stated", "stated", None)),
    "count": (_share("exact", "exact"), _share("off by one", "off_by_one"), *WITHIN[1:]),
    "duration": WITHIN,
    "angle": WITHIN,
    "caption": (Column("CIDEr-D", ("cider",), ".2f", max), Column("BLEU-4", ("bleu_4",), best=max),
                Column("ROUGE-L", ("rouge_l",), best=max), _share("exact", "exact")),
    "unanswerable": (_share("balanced", "balanced"), _share("refused", "refused"),
                     _share("false refusals", "false_refusals", None)),
}  # fmt: skip
ABOUT = {
    "exercise": "Which exercise it is. Balanced: the mean over exercises.",
    "correct": "Done correctly or not. F1: the mean of both classes'.",
    "count": "Repetitions. Off by one: at most. What states no number counts as 0.",
    "duration": "Within 1 s, or a tenth. MAE in seconds. The rules measure as the truth was measured.",
    "angle": "Within 10°. MAE in degrees; the truth is rounded to 5°. The rules measure as the truth was measured.",
    "side": "Left, right or both. The rules measure as the truth was measured.",
    "direction": "As the person sees it. The rules measure as the truth was measured.",
    "turn": "Left, right or none. The rules measure as the truth was measured.",
    "sequence": "All of the answer right, in order.",
    "compare": "Two motions: the first, the second, or the same.",
    "caption": "One reference each, lower case.",
    "next": "The motion is cut; the truth is measured from the rest. A verb phrase, word for word.",
    "unanswerable": "Refused: of questions that cannot be answered. False refusals: of all others. Balanced: mean of "
    "what is rightly refused and rightly answered, over all conversations.",
}
MOMENTS = (_share("hit", "hit"), _share("evenly spaced", "even_hit", None), _share("found", "found"),
           _share("evenly spaced", "even_found", None))  # fmt: skip


def report(results: Row) -> str:
    """Return the page."""
    parts = []
    for kind in MAIN:
        rows = [r for r in results["scores"] if r["kind"] == kind]
        if rows:
            told = [note(ABOUT[kind])]
            for group in dict.fromkeys(r["group"] for r in rows):
                own = [r for r in rows if r["group"] == group]
                title = f"<h3>{escape(group.capitalize())}: {_counts(own[0])}</h3>"
                told += [title, table([_compared(r) for r in own], _columns(kind, own), lambda r: escape(r["model"]))]
            parts.append(section(kind.capitalize(), *told))
    if results["moments"]:
        text = (
            f"Where answers rest on instants. Hit: key frames within {NEAR_S:g} s of one; found: instants with a key "
            "frame that near; beside each, as many evenly spaced frames."
        )
        by_kind = table(
            results["moments"], MOMENTS, lambda r: f"{escape(r['model'])}<small>{escape(r['kind'])}</small>"
        )
        parts.append(section("Key frames", note(text), by_kind))
    if results["curves"]:
        parts.append(section("Worse motions", note("Band: 95 % over subjects."), charts(_charts(results["curves"]))))
    parts.append(section("What was said", note("The middle conversation of each kind."), _said(results["said"])))
    return page("The motion assistant: questions and answers", facts(results), parts)


def facts(results: Row) -> str:
    """Return one line on what was tested."""
    held = ", ".join(f["name"] for f in results["folds"])
    speed = ", ".join(f"{k} {1000 * v:.0f} ms" for k, v in results["seconds_per_answer"].items())
    return (
        f"{results['store']}, held out: {held}; {sum(f['test'] for f in results['folds'])} conversations · intervals: "
        f"{results['intervals']} · time an answer: {speed}"
    )


def summary(results: Row) -> list[str]:
    """Return a few lines for the terminal: the main score of each kind and contestant, over all."""
    out = [facts(results)]
    rows = [r for r in results["scores"] if r["group"] == "all"]
    labels = list(dict.fromkeys(r["model"] for r in rows))
    out.append(f"{'':24}" + "".join(f"{n[:18]:>20}" for n in labels))
    for kind, main in MAIN.items():
        own = {r["model"]: r for r in rows if r["kind"] == kind}
        if own:
            cells = ("–" if n not in own or own[n][main] is None else _cell(own[n], main) for n in labels)
            out.append(f"{kind + ' ' + main:24}" + "".join(f"{c:>20}" for c in cells))
    return out


def _counts(row: Row) -> str:
    return f"{row['conversations']} conversations, {row['subjects']} people"


def _cell(row: Row, name: str) -> str:
    low, high = row["ci95"][name]
    around = "" if None in (low, high) else f" [{low:.2f}, {high:.2f}]"
    return f"{row[name]:.3f}{around}"


def _columns(kind: str, rows: list[Row]) -> list[Column]:
    """Return the kind's columns, then how far the first is from each, then each subject's main score, if few."""
    main = MAIN[kind]
    shown = next(c for c in COLUMNS.get(kind, ACCURACY) if c.path == (main,))
    out = [*COLUMNS.get(kind, ACCURACY)]
    if len({r["model"] for r in rows}) > 1:
        sign = "+ is worse" if main in LOWER else "+ is better"
        title = f"{rows[0]['model']} − this ({sign})"
        out.append(Column(title, ("difference",), shown.form, None, shown.factor))
    people = rows[0]["by_subject"]
    if 1 < len(people) <= 12:
        out += [Column(p.rsplit("_", 1)[-1], ("by_subject", p), shown.form, None, shown.factor) for p in people]
    return out


def _compared(row: Row) -> Row:
    against = row.get("against")
    if not against:
        return row
    return {**row, "difference": against["difference"], "ci95": {**row["ci95"], "difference": against["ci95"]}}


def _charts(curves: list[Row]) -> list[Picture]:
    out = []
    hues = plots.colours([r["model"] for r in curves])
    for kind in dict.fromkeys(r["kind"] for r in curves):
        for change in dict.fromkeys(r["change"] for r in curves):
            lines, main = [], {"count": "off_by_one"}.get(kind, MAIN[kind])
            for model in dict.fromkeys(r["model"] for r in curves):
                rows = [r for r in curves if (r["kind"], r["change"], r["model"]) == (kind, change, model)]
                if rows:
                    low, high = zip(*(r["ci95"][main] for r in rows), strict=True)
                    y = [r[main] for r in rows]
                    lines.append(plots.Line(model, [r["level"] for r in rows], y, low, high, colour=hues[model]))
            if lines:
                unit = next(r["unit"] for r in curves if r["change"] == change)
                image = plots.curves(lines, unit, main.replace("_", " "), top=1.02, marked=True)
                out.append(Picture(f"{kind}: {change}", "", image))
    return out


def _said(rows: list[Row]) -> str:
    body = []
    for r in rows:
        answers = "".join(f"<br>{escape(k)}: {escape(v)}" for k, v in r["said"].items())
        asked = f"{escape(r['kind'])}<small>{escape(r['id'])}</small>"
        body.append(f"<tr><td>{asked}</td><td style='text-align:left'>“{escape(r['question'])}”<br>"
                    f"<b>right: {escape(r['right'])}</b>{answers}</td></tr>")  # fmt: skip
    return f'<div class="wide"><table><tbody>{"".join(body)}</tbody></table></div>'
