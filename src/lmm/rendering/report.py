"""Reports: tables, charts and pictures in one HTML file that needs no network."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

CSS = """
:root { color-scheme: light; --ink: #1f2933; --muted: #66727f; --rule: #d9dee3; --soft: #f5f7f9; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); }
body { margin: 2.5rem auto; max-width: 1320px; padding: 0 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .5rem; }
p { margin: .4rem 0; max-width: 80ch; } .muted, figcaption, td small { color: var(--muted); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .35rem .55rem; text-align: right; vertical-align: top; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--rule); }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
thead th { border-bottom: 2px solid var(--ink); font-weight: 600; vertical-align: bottom; }
td small { display: block; font-size: .76rem; line-height: 1.25; }
td.best { font-weight: 650; } td.best small { font-weight: 400; }
tr.truth td { background: var(--soft); }
figure { margin: 1rem 0 1.6rem; } figure img, figure svg { max-width: 100%; height: auto; display: block; }
figcaption { font-size: .87rem; max-width: 90ch; margin-top: .3rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(430px, 1fr)); gap: 0 2rem; }
.charts h3 { font-size: 1rem; margin: .8rem 0 0; }
"""


@dataclass(frozen=True)
class Picture:
    """A picture of a report: `image` is SVG text or PNG bytes."""

    title: str
    caption: str
    image: str | bytes


@dataclass(frozen=True)
class Column:
    """A column of a table: how to find value and interval in a row, how to print them, and which is best, if any."""

    title: str
    path: tuple[str | int, ...]
    form: str = ".3f"
    best: Callable[[Sequence[float]], float] | None = None
    factor: float = 1.0


def table(rows: Sequence[dict[str, Any]], columns: Sequence[Column], first: Callable[[dict[str, Any]], str]) -> str:
    """Return an HTML table; a number's 95 % interval stands below it."""
    head = "".join(f"<th>{escape(c.title)}</th>" for c in columns)
    best = {
        c: c.best(known)
        for c in columns
        if c.best and (known := [v for r in rows if (v := find(r, c.path)) is not None])
    }
    body = []
    for row in rows:
        cells = [f"<td>{first(row)}</td>"]
        for c in columns:
            value, around = find(row, c.path), find(row.get("ci95") or {}, c.path)
            if value is None:
                cells.append("<td>–</td>")
                continue
            small = ""
            if isinstance(around, list) and None not in around:
                small = f"<small>{c.factor * around[0]:{c.form}} – {c.factor * around[1]:{c.form}}</small>"
            mark = ' class="best"' if value == best.get(c) else ""
            cells.append(f"<td{mark}>{c.factor * value:{c.form}}{small}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


def find(row: Any, path: Sequence[str | int]) -> Any:
    """Return what lies at a path of keys and numbers, None if nothing does."""
    for key in path:
        if isinstance(row, dict):
            row = row.get(key)
        elif isinstance(row, list) and isinstance(key, int) and key < len(row):
            row = row[key]
        else:
            return None
    return row


def named(row: dict[str, Any]) -> str:
    """Return a row's model with its sample budget, as HTML."""
    budget = (
        f"mean of {row['samples']}" if row["samples"] > 1 else "single sample" if row["stochastic"] else "one forecast"
    )
    seeds = f", {row['seeds']} seeds" if row["seeds"] > 1 else ""
    return f"{escape(row['model'])}<small>{budget}{seeds}</small>"


def section(title: str, *parts: str) -> str:
    return f"<h2>{escape(title)}</h2>{''.join(parts)}"


def note(text: str) -> str:
    return f'<p class="muted">{escape(text)}</p>'


def charts(pictures: Sequence[Picture]) -> str:
    """Return charts side by side."""
    return (
        f'<div class="charts">{"".join(f"<div><h3>{escape(p.title)}</h3>{_figure(p)}</div>" for p in pictures)}</div>'
    )


def gallery(pictures: Sequence[Picture]) -> str:
    """Return pictures one below the other, each a section."""
    return "".join(section(p.title, _figure(p)) for p in pictures)


def page(title: str, facts: str, body: Sequence[str]) -> str:
    """Return the whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{CSS}</style></head><body>'
        f'<h1>{escape(title)}</h1><p class="muted">{escape(facts)}</p>{"".join(body)}</body></html>\n'
    )


def _figure(picture: Picture) -> str:
    image = picture.image
    if isinstance(image, bytes):
        image = f'<img alt="{escape(picture.title)}" src="data:image/png;base64,{base64.b64encode(image).decode()}">'
    return f"<figure>{image}<figcaption>{escape(picture.caption)}</figcaption></figure>"
