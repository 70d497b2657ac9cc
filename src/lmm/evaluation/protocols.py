"""The protocols by name, and the two files that each writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm.core.errors import InputError, LmmError
from lmm.core.writing import write_bytes
from lmm.evaluation import forecast, probe, probe_report, robustness, rollout, sections, transfer
from lmm.evaluation.cases import Corpus
from lmm.evaluation.contestants import contestants
from lmm.pipeline.features import Layout
from lmm.rendering import plots

RESULTS, REPORT = "results.json", "report.html"
MAX_SAMPLES, MAX_SCALE = 200, 100
Protocol = Callable[..., tuple[dict[str, Any], str]]


@dataclass(frozen=True)
class Settings:
    """What the command line asks: see `lmm eval --help`."""

    data: Path
    models: str
    out: Path
    split: str | None = None
    layout: Layout | None = None
    views: int = 3
    samples: int | None = None
    device: str = "cpu"
    scale: float | None = None
    encoder: str | None = None
    kit: Path | None = None


FUTURES, DRAWS = 10, 3  # samples by default: of a forecast, of a text
# forecasters: name → (what runs it, the split it tests by default)
PROTOCOLS: dict[str, tuple[Protocol, str]] = {
    "forecast": (forecast.forecast, "test"),
    "transfer": (transfer.transfer, "all"),
    "rollout": (rollout.rollout, "test"),
    "robustness": (robustness.robustness, "test"),
    "probe": (probe.probe, "all"),
}
LANGUAGE = ("generation", "caption")  # of motion-language models: their module needs torch, forecasting does not


def evaluate(protocol: str, settings: Settings, progress: forecast.Progress) -> dict[str, Any]:
    """Run a protocol, write results.json and report.html in `settings.out`, and return the results.

    Raises InputError or LmmError, in one line, before anything is forecast wherever that can be known.
    """
    if protocol not in (*PROTOCOLS, *LANGUAGE):
        raise InputError(f"eval {protocol}", "is not known", f"Choose one of {', '.join((*PROTOCOLS, *LANGUAGE))}")
    plots.check()
    samples = settings.samples or (DRAWS if protocol in LANGUAGE else FUTURES)
    if settings.samples is not None and not 1 <= settings.samples <= MAX_SAMPLES:
        raise InputError(f"--samples {settings.samples}", "is out of range", f"Choose 1 to {MAX_SAMPLES}")
    out = settings.out
    if out.exists() and (not out.is_dir() or any(p.name not in (RESULTS, REPORT) for p in out.iterdir())):
        raise InputError(out, "holds other files", "Give a new folder, or one of an earlier lmm eval")
    if settings.scale is not None and (protocol != "rollout" or not 0 < settings.scale <= MAX_SCALE):
        raise InputError(f"--scale {settings.scale:g}", f"is for rollout, up to {MAX_SCALE}", "Leave it out")
    for option, value in (("--encoder", settings.encoder), ("--kit", settings.kit)):
        if value is not None and protocol not in LANGUAGE:
            raise InputError(f"{option} {value}", "is for generation and caption", "Leave it out")
    if protocol in LANGUAGE:
        results, report = _of_language(protocol, settings, samples, progress)
    else:
        options = {} if settings.scale is None else {"scale": settings.scale}
        run, split = PROTOCOLS[protocol]
        corpus = Corpus.of(settings.data, settings.split or split, settings.layout, settings.views)
        models = contestants(settings.models, corpus.layout, settings.device)
        results, report = run(corpus, models, samples, progress, **options)
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / RESULTS, json.dumps(results, indent=1, allow_nan=False).encode())
    write_bytes(out / REPORT, report.encode())
    return results


def summary(results: dict[str, Any]) -> list[str]:
    """Return a few lines for the terminal."""
    if results["protocol"] in LANGUAGE:
        from lmm.evaluation import language_report

        return language_report.summary(results)
    return (probe_report if results["protocol"] == "probe" else sections).summary(results)


def _of_language(
    protocol: str, settings: Settings, samples: int, progress: forecast.Progress
) -> tuple[dict[str, Any], str]:
    try:
        from lmm.evaluation import language
    except ModuleNotFoundError as e:
        raise LmmError(f"eval {protocol} needs {e.name}: pip install 'large-movement-model[language]'.") from None
    run = language.evaluate_generation if protocol == "generation" else language.evaluate_caption
    cases = language.cases_of(str(settings.data), settings.split, settings.kit)
    return run(cases, settings.models, samples, settings.device, settings.encoder or language.ENCODER, progress)
