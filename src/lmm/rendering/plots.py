"""Charts of a report as inline SVG. Matplotlib is imported here only, when a chart is drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import LmmError

Array = NDArray[Any]
INK, MUTED, RULE, TRUTH = "#1f2933", "#66727f", "#d9dee3", "#111111"
# M. Okabe and K. Ito, "Color Universal Design", 2008, without yellow: told apart by colour-blind readers too
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7B5EA7", "#8C564B")
BASELINES = {"zero-velocity": "#8a949e", "constant-velocity": "#b7bfc7"}
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "svg.fonttype": "none",
    "svg.hashsalt": "lmm",
}


@dataclass(frozen=True, eq=False)
class Line:
    """A curve with a band: all (N,); NaN leaves a gap. `dashed` marks means of samples."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    dashed: bool = False
    colour: str | None = None


def colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each model: greys for the baselines, the palette in order for the others."""
    learned = [name for name in dict.fromkeys(labels) if name not in BASELINES]
    return BASELINES | {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(learned)}


def curves(
    lines: Sequence[Line],
    xlabel: str,
    ylabel: str,
    level: tuple[float, str] | None = None,
    top: float | None = None,
    marked: bool = False,
) -> str:
    """Return a chart of lines; `level` draws a named line across, `top` cuts what bursts, `marked` shows dots."""
    with _figure(6.4, 3.7) as (figure, axes):
        for line in lines:
            if line.low is not None and line.high is not None:
                axes.fill_between(line.x, line.low, line.high, color=line.colour, alpha=0.13, linewidth=0)
            style = "--" if line.dashed else "-"
            axes.plot(
                line.x, line.y, style, color=line.colour, label=line.label, linewidth=1.7, marker="o" * marked, ms=4
            )
        if level is not None:
            axes.axhline(level[0], color=TRUTH, linewidth=1, linestyle=":")
            axes.annotate(level[1], (1, level[0]), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=9)
        axes.set_ylim(bottom=0, top=top)
        if marked and len(lines[0].x) <= 12:
            axes.set_xticks(lines[0].x)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0)
        return _svg(figure)


def angles(lines: Sequence[Line], spans: Sequence[tuple[float, float]]) -> str:
    """Return a chart of angles in degrees over seconds, `spans` of time shaded."""
    with _figure(5.6, 2.2) as (figure, axes):
        for begin, end in spans:
            axes.axvspan(begin, end, color=RULE, alpha=0.5, linewidth=0)
        for line in lines:
            axes.plot(line.x, line.y, color=line.colour, label=line.label, linewidth=1.5)
        axes.set_xlabel("seconds")
        axes.set_ylabel("degrees")
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.01, 1.02), borderaxespad=0)
        return _svg(figure)


def fans(
    seconds: Array, context: Array, truth: Array, forecasts: Sequence[tuple[str, Array, Array | None]], ylabel: str
) -> str:
    """Return small charts side by side, one a model: context and truth (T,) black, its forecast, and its 90 % band.

    `forecasts` are (label, line (H,), band (2, H) or None); what leaves the truth's range by more than half of it is
    cut. Time 0 is the last frame of the context.
    """
    import matplotlib.pyplot as plt

    hues = colours([label for label, _, _ in forecasts])
    columns = min(3, len(forecasts))
    height = -(-len(forecasts) // columns)
    with plt.rc_context(STYLE):
        figure, grid = plt.subplots(
            height, columns, figsize=(3.4 * columns, 2.3 * height), sharex=True, sharey=True, squeeze=False
        )
        past = np.arange(1 - len(context), 1) * (seconds[0] if len(seconds) else 1)
        for place, (label, line, band) in zip(grid.flat, forecasts, strict=False):
            place.axvline(0, color=RULE, linewidth=1.2)
            if band is not None:
                place.fill_between(seconds, *band, color=hues[label], alpha=0.25, linewidth=0)
            place.plot(np.r_[past, seconds], np.r_[context, truth], color=TRUTH, linewidth=1.3)
            place.plot(np.r_[0, seconds], np.r_[context[-1], line], color=hues[label], linewidth=1.7)
            place.set_title(label)
        seen = np.r_[context, truth]
        low, high = np.nanmin(seen), np.nanmax(seen)
        grid[0, 0].set_ylim(low - 0.5 * (high - low) - 0.02, high + 0.5 * (high - low) + 0.02)
        for place in list(grid.flat)[len(forecasts) :]:
            place.set_visible(False)
        for place in list(grid.flat)[max(0, len(forecasts) - columns) : len(forecasts)]:
            place.set_xlabel("seconds")
            place.tick_params(labelbottom=True)
        for place in grid[:, 0]:
            place.set_ylabel(ylabel)
        return _svg(figure)


def dots(
    rows: Sequence[tuple[str, Sequence[tuple[float, float, float, str, bool]]]],
    xlabel: str,
    level: float | None = None,
    left: float = -0.8,
) -> str:
    """Return a chart of named rows of (value, low, high, colour, filled) points with their intervals.

    `level` draws a line across all rows; what lies left of `left` is cut.
    """
    with _figure(5.2, 0.7 + 0.24 * len(rows)) as (figure, axes):
        for i, (_, points) in enumerate(rows):
            for value, low, high, colour, filled in points:
                axes.plot([low, high], [-i, -i], color=colour, linewidth=1.4, alpha=0.9 if filled else 0.4)
                face = colour if filled else "white"
                axes.plot([value], [-i], "o", color=colour, markerfacecolor=face, markersize=5)
        if level is not None:
            axes.axvline(level, color=TRUTH, linewidth=1, linestyle=":")
        axes.set_yticks([-i for i in range(len(rows))], [name for name, _ in rows])
        axes.grid(axis="y", visible=False)
        axes.set_xlim(left, 1.02)
        axes.set_xlabel(xlabel)
        return _svg(figure)


def tracks(panels: Sequence[tuple[str, Sequence[Line] | tuple[Sequence[float], Array, Sequence[str]]]], x: str) -> str:
    """Return panels one below the other over one axis: lines, or (x (T,), values (rows, T), names) as a raster."""
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, places = plt.subplots(
            len(panels), 1, figsize=(9, 1.75 * len(panels)), sharex=True, squeeze=False, layout="constrained"
        )
        for axes, (title, shown) in zip(places[:, 0], panels, strict=True):
            axes.set_title(title)
            if isinstance(shown, tuple):
                at, values, names = shown
                half = (at[1] - at[0]) / 2 if len(at) > 1 else 0.5
                extent = (at[0] - half, at[-1] + half, len(names) - 0.5, -0.5)
                image = axes.imshow(values, aspect="auto", extent=extent, cmap="cividis", interpolation="nearest")
                axes.set_yticks(range(len(names)), names)
                axes.grid(visible=False)
                figure.colorbar(image, ax=axes, pad=0.01)
                continue
            for line in shown:
                if line.low is not None and line.high is not None:
                    axes.fill_between(line.x, line.low, line.high, color=line.colour, alpha=0.18, linewidth=0)
                axes.plot(line.x, line.y, "--" if line.dashed else "-", color=line.colour, label=line.label)
            if len(shown) > 1:
                axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.05))
        places[-1, 0].set_xlabel(x)
        return _svg(figure)


def check() -> None:
    """Raise LmmError if matplotlib is missing, before hours of forecasting rather than after."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise LmmError("reports need matplotlib: pip install 'large-movement-model[plots]'.") from None


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Any, Any]]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        yield plt.subplots(figsize=(width, height))


def _svg(figure: Any) -> str:
    import matplotlib.pyplot as plt

    figure.align_labels()
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = out.getvalue()
    return re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
