"""What may come next, in words: what several forecasts of a motion plainly show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from lmm.analysis.facts import Facts, facts
from lmm.core.motion import Motion
from lmm.inference.forecast import DEFAULT, forecast

SECONDS, SAMPLES = 2.0, 10
LEAST = 0.2  # of the samples, for something to be told


def what_next(motion: Motion, model: str = DEFAULT, seed: int = 0) -> tuple[str, Motion]:
    """Return what SAMPLES forecasts of SECONDS show, each thing with its number of samples, and the forecasts.

    Only of motions in metres is anything told. Raises MotionError if the motion cannot be forecast.
    """
    future = forecast(motion, model, SECONDS, SAMPLES, seed)
    drawn = [future] if future.samples is None else [future.replace(positions=p, samples=None) for p in future.samples]
    found = [facts(d) for d in drawn]
    seen = Counter(word for f in found if f is not None for word in _shown(f))
    told = [f"{word} in {n}" for word, n in seen.most_common() if n >= LEAST * len(drawn)]
    name = future.meta["model"]
    return f"{len(drawn)} forecasts of {SECONDS:g} s by {name}: {', '.join(told) or 'nothing plain'}", future


def _shown(f: Facts) -> Iterator[str]:
    moves = "runs" if f.runs else "walks" if f.walks else "goes"
    if f.direction:
        yield f"{moves} {f.direction}"
    elif f.still:
        yield "stands still"
    elif f.stays:
        yield "moves on the spot"
    if f.turn:
        yield f"turns {f.turn}"
    if f.raises:
        yield "raises both hands" if f.raises == "both" else f"raises the {f.raises} hand"
    if f.crouches:
        yield "crouches"
    if f.jumps:
        yield "jumps"
