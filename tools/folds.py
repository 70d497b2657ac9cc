"""Train an assistant once for each subject held out: the folds that `lmm eval assistant` pools.

    python tools/folds.py CONFIG... --subjects uiprmd_s01,uiprmd_s02,... --out RUNS [--set name=value ...]

CONFIG is a run of `lmm train`; several are stages: each begins with the best weights of the one before it. For each
subject they run with ``held_out_subjects=[SUBJECT]``, in RUNS/SUBJECT (earlier stages in RUNS/stage1/SUBJECT ...). What
is finished is passed over and what was cut off goes on, so that it can be started again at any time; the folds that
fail are named at the end. Then:

    lmm eval assistant --data STORE --models full=RUNS -o EVAL
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

DONE = "folds.json"  # in the folder of a run that is finished: how it was called


def command(config: str, subject: str, changes: Sequence[str], start: Path | None, out: Path) -> list[str]:
    """Return the call that trains one stage of a fold."""
    sets = [
        f"held_out_subjects=[{subject}]",
        *changes,
        *([f"start_from={start / 'best'}", "llm=null"] if start else []),
    ]
    call = [sys.executable, "-c", "from lmm.cli.main import main; raise SystemExit(main())", "train", config]
    return [*call, "-o", str(out), "--resume", *(part for s in sets for part in ("--set", s))]


def train(configs: Sequence[str], subject: str, changes: Sequence[str], runs: Path) -> bool:
    """Train the stages of a fold that are not finished; return whether all are."""
    start = None
    for number, config in enumerate(configs, start=1):
        out = runs / subject if number == len(configs) else runs / f"stage{number}" / subject
        call = command(config, subject, changes, start, out)
        done = out / DONE
        if not done.is_file() or json.loads(done.read_text("utf-8")) != call[3:]:
            print(f"{subject}: {config} in {out}", flush=True)
            if subprocess.run(call, check=False).returncode:
                return False
            done.write_text(json.dumps(call[3:]), "utf-8")
        start = out
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--subjects", required=True, help="with commas between them")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    given = parser.parse_args()
    subjects = [s for s in given.subjects.split(",") if s]
    failed = [s for s in subjects if not train(given.configs, s, given.changes, given.out)]
    if failed:
        parser.exit(1, f"not finished: {', '.join(failed)}\n")


if __name__ == "__main__":
    main()
