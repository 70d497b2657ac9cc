"""The protocols `generation` and `caption` as `lmm eval` runs them: names of stores, models and evaluator → results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lmm.core.errors import InputError, LmmError
from lmm.evaluation.caption import Describer, caption
from lmm.evaluation.generation import Generator, Progress, generation
from lmm.evaluation.language_cases import Cases, language_cases
from lmm.evaluation.language_report import caption_report, generation_report
from lmm.models.loading import find

ENCODER = "text-motion-small-nc"
NO_MODEL = "controls"  # in place of models
Results = dict[str, Any]


def cases_of(data: str, split: str | None, kit: Path | None) -> Cases:
    """Return what is tested: see `language_cases`. `data` are stores, separated by commas.

    Raises InputError if there is none, or as `language_cases` does.
    """
    stores = [s.strip() for s in data.split(",") if s.strip()]
    if not stores:
        raise InputError("--data", "names no store", "Give a store, or several with commas between them")
    return language_cases(stores, split, kit=kit)


def evaluate_generation(
    cases: Cases, models: str, samples: int, device: str, encoder: str, progress: Progress
) -> tuple[Results, str]:
    """Return results.json's content and report.html. `models` are names and folders, separated by commas, or
    ``controls`` for none; `samples` motions of each text are made.

    Raises LmmError if a model or the evaluator cannot be used.
    """
    from lmm.inference.generate import generate

    def entered(label: str, speaker: Any) -> Generator:
        return Generator(label, lambda p, seed: generate(p.text, speaker, seed=seed), samples, _record(speaker))

    generators = _entered(models, device, entered)
    results, examples = generation(cases, generators, _encoder(encoder, device), samples, progress)
    return results, generation_report(results, examples)


def evaluate_caption(
    cases: Cases, models: str, samples: int, device: str, encoder: str, progress: Progress
) -> tuple[Results, str]:
    """As `evaluate_generation`; a motion has one caption, the likeliest."""
    from lmm.inference.describe import describe

    def entered(label: str, speaker: Any) -> Describer:
        return Describer(label, lambda p: describe(p.motion, speaker), _record(speaker))

    results = caption(cases, _entered(models, device, entered), _encoder(encoder, device), progress)
    return results, caption_report(results)


def _encoder(name: str, device: str) -> Any:
    from lmm.models.text_motion import TextMotion

    return TextMotion.from_pretrained(find(name, "text-motion")).to(device)


def _entered(models: str, device: str, entered: Callable[[str, Any], Any]) -> list[Any]:
    from lmm.inference.speaker import load_speaker

    out: dict[str, Any] = {}
    for item in (part.strip() for part in models.split(",")):
        if item == NO_MODEL:
            continue
        label, _, name = item.rpartition("=")
        label = label or Path(name).name
        if not name or label in out:
            problem = "comes twice" if label in out else "names no model"
            raise LmmError(f"--models: {item!r} {problem}. Write NAME or LABEL=FOLDER.")
        out[label] = entered(label, load_speaker(name, device))
    return list(out.values())


def _record(speaker: Any) -> dict[str, Any]:
    c = speaker.model.config
    return {
        "parameters": sum(p.numel() for p in speaker.model.parameters()),
        "licence": c.licence,
        "trained_on": c.trained_on,
    }
