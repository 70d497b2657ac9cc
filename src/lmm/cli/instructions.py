"""`lmm instructions`: stores → conversations about their motions, as JSON lines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from lmm.cli.options import Json, print_json


def instructions(
    stores: Annotated[list[Path], typer.Argument(help="Stores that lmm ingest made.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The JSON lines file.", show_default=False)],
    per_motion: Annotated[
        int, typer.Option("--per-motion", min=1, max=20, help="Conversations about a motion, at most.")
    ] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Another seed, other questions.")] = 0,
    kit: Annotated[
        Path | None,
        typer.Option("--kit", help="Pairs with KIT-ML's sentences, for evaluation only.", show_default=False),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Find every truth again, from labels and measurement; print agreement.")
    ] = False,
    json: Json = False,
) -> None:
    """Make conversations about motions, with answers that are true: from labels, and measured."""
    from lmm.datasets.instructions import Motions, write_instructions
    from lmm.datasets.instructions import instructions as make

    motions = Motions(stores)
    made = list(make(motions, seed, per_motion, kit))
    write_instructions(made, out)
    kinds = Counter(c.kind for c in made)
    agreement = {}
    if check:
        from lmm.datasets.checking import check as checked

        agreement = checked(made, motions)
    if json:
        rows = [{"kind": kind, "against": against, **n} for (kind, against), n in sorted(agreement.items())]
        print_json({"out": str(out), "conversations": len(made), "kinds": kinds, "agreement": rows})
        return
    print(f"{out}: {len(made)} conversations; " + ", ".join(f"{kind} {n}" for kind, n in kinds.most_common()))
    if agreement:
        print(f"{'kind':14} {'against':16} {'of':>6} {'same':>6} {'other':>6} {'not told':>9}")
    for (kind, against), n in sorted(agreement.items()):
        print(f"{kind:14} {against:16} {n.total():6} {n['same']:6} {n['other']:6} {n['not told']:9}")
