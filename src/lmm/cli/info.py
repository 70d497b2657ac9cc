"""`lmm info`: what a file, folder or store is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lmm.cli.options import Format, Json, MotionPath, Person, SourceFps, Units, Up, print_json
from lmm.core.errors import one_line

if TYPE_CHECKING:
    from lmm.core.motion import Motion


def info(
    path: MotionPath,
    format: Format = None,
    source_fps: SourceFps = None,
    units: Units = None,
    up: Up = None,
    person: Person = None,
    json: Json = False,
) -> None:
    """Tell what a file or store is: format, skeleton, people, rate, length, space, quality."""
    told = _store(path) if (path / "plan.json").is_file() else _file(path, format, source_fps, units, up, person)
    if json:
        print_json(told)
    else:
        _print(told)


def _file(
    path: Path, format: str | None, source_fps: float | None, units: str | None, up: str | None, person: str | None
) -> dict[str, Any]:
    import lmm
    from lmm.sources.files import Input
    from lmm.sources.reading import detect, named

    given = Input(path)
    chosen = detect(given) if format is None else named(format, given)[0]
    clips = chosen.items(given)
    if person is not None:
        people, clips = [lmm.read(path, format, person, source_fps, units, up)], None
    elif clips:
        people = [lmm.read(path, format, clips[0], source_fps, units, up)]
    else:
        people = lmm.read_people(path, format, source_fps, units, up)
    first = people[0]
    told: dict[str, Any] = {
        "path": str(path),
        "format": first.meta.get("format"),
        "skeleton": first.skeleton.name,
        "people": len(clips) if clips else len(people),
        "fps": round(first.fps, 6),
        "frames": first.num_frames,
        "seconds": round(first.seconds, 4),
        "space": first.space,
        "missing_fraction": round(first.missing_fraction, 6),
        "motions": [_motion(m) for m in people],
    }
    if clips:
        told["clips"] = clips
    return told


def _motion(motion: Motion) -> dict[str, Any]:
    from lmm.core.errors import MotionError
    from lmm.pipeline.clean import clean
    from lmm.pipeline.quality import quality

    told: dict[str, Any] = {
        "person": motion.meta.get("person"),
        "frames": motion.num_frames,
        "seconds": round(motion.seconds, 4),
        "start_s": round(motion.start_s, 4),
        "missing_fraction": round(motion.missing_fraction, 6),
        "joints": list(motion.skeleton.joints),
        "meta": {k: v for k, v in motion.meta.items() if k != "person"},
    }
    if motion.samples is not None:
        told["samples"] = len(motion.samples)
        return told | {"quality": {"warnings": []}}
    try:
        told["quality"] = quality(clean(motion))
    except MotionError as e:
        told["quality"] = {"warnings": [str(e)]}
    return told


def _store(path: Path) -> dict[str, Any]:
    import lmm

    store = lmm.Store(path)
    clips = store.clips()

    def only(name: str) -> Any:
        values = clips[name].unique().to_pylist()
        return values[0] if len(values) == 1 else sorted(values)

    frames, rates = clips["frames"].to_pylist(), clips["fps"].to_pylist()
    return {
        "path": str(path),
        "format": "store",
        "skeleton": "body_25",
        "people": len(clips["subject"].unique()),
        "fps": only("fps"),
        "frames": sum(frames),
        "seconds": round(sum(f / r for f, r in zip(frames, rates, strict=True)), 3),
        "space": only("space"),
        "missing_fraction": _missing(clips),
        "clips": clips.num_rows,
        "subjects": len(clips["subject"].unique()),
        "sources": only("source"),
        "licences": only("licence"),
        "splits": {s: clips["split"].to_pylist().count(s) for s in ("train", "val", "test")},
        "refused": store.failures(),
        "warnings": store.manifest["warnings"],
        "cleaning": store.manifest["cleaning"],
    }


def _missing(clips: Any) -> float | None:
    import json

    weights = clips["frames"].to_pylist()
    shares = [json.loads(q)["missing"] for q in clips["quality"].to_pylist()]
    total = sum(weights)
    return round(sum(w * s for w, s in zip(weights, shares, strict=True)) / total, 6) if total else None


def _print(told: dict[str, Any]) -> None:
    from rich import markup
    from rich.console import Console

    def escape(text: object) -> str:
        return markup.escape(one_line(text, 100_000))

    console = Console(highlight=False, soft_wrap=True)
    for key, value in told.items():
        if key in ("motions", "refused", "warnings", "clips") and isinstance(value, list):
            continue
        console.print(f"[bold]{key:17}[/bold] {escape(value)}")
    if isinstance(told.get("clips"), list):
        console.print(
            f"[bold]{'clips':17}[/bold] {escape(', '.join(told['clips'][:6]))} ... (the figures are of the first)"
        )
    for motion in told.get("motions", [])[:20]:
        console.print(
            f"\n[bold]person {escape(motion['person'])}[/bold]: {motion['frames']} frames from {motion['start_s']:g} s"
        )
        facts = {k: v for k, v in motion["meta"].items() if k not in ("source", "format")}
        for key, value in {**facts, "cleaned BODY_25": "", **motion["quality"]}.items():
            if key not in ("warnings", "cleaning") and (value not in ([], {}, "", None) or key == "cleaned BODY_25"):
                console.print(f"  {key:19} {escape(value)}")
        for warning in motion["quality"]["warnings"]:
            console.print(f"  [yellow]warning[/yellow]             {escape(warning)}")
    for row in told.get("refused", [])[:20]:
        console.print(f"[yellow]refused[/yellow] {escape(row['file'])}: {escape(row['reason'])}")
    for row in told.get("warnings", [])[:20]:
        console.print(f"[yellow]warning[/yellow] {escape(row['clip'])}: {escape(row['warning'])}")
