"""lmm, the Large Movement Model: read, clean, show, forecast, say, describe and ask about human movement."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "Motion": "lmm.core.motion",
    "Skeleton": "lmm.core.skeleton",
    "LmmError": "lmm.core.errors",
    "InputError": "lmm.core.errors",
    "MotionError": "lmm.core.errors",
    "read": "lmm.sources.reading",
    "read_people": "lmm.sources.reading",
    "clean": "lmm.pipeline.clean",
    "to_body25": "lmm.pipeline.convert",
    "forecast": "lmm.inference.forecast",
    "generate": "lmm.inference.generate",
    "describe": "lmm.inference.describe",
    "ask": "lmm.inference.ask",
    "Chat": "lmm.inference.ask",
    "analyse": "lmm.analysis.analyse",
    "render": "lmm.rendering.render",
    "ingest": "lmm.datasets.ingest",
    "Store": "lmm.datasets.store",
    "tokens": "lmm.tokens",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: ``import lmm`` and ``lmm --help`` stay fast."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'lmm' has no attribute {name!r}")
    import importlib

    module = importlib.import_module(_PUBLIC[name])
    return module if _PUBLIC[name] == f"lmm.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
