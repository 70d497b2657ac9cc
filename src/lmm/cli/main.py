"""The command `lmm`: its commands, and how errors become one line and an exit code.

0 done · 2 bad usage or input · 3 some inputs refused, the rest done · 130 interrupted, state kept
"""

from __future__ import annotations

import sys

import typer

from lmm.cli import (
    analyse,
    ask,
    convert,
    demo,
    describe,
    doctor,
    eval,
    forecast,
    generate,
    info,
    ingest,
    instructions,
    models,
    render,
    serve,
    train,
    view,
)
from lmm.core.errors import LmmError, one_line

INTERRUPTED = "interrupted; what was finished is kept, and lmm ingest and lmm train go on with --resume."

app = typer.Typer(
    name="lmm",
    help="lmm, the Large Movement Model: read, clean, show and forecast human movement.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("info")(info.info)
app.command("convert")(convert.convert)
app.command("render")(render.render)
app.command("forecast")(forecast.forecast)
app.command("generate")(generate.generate)
app.command("describe")(describe.describe)
app.command("ask")(ask.ask)
app.command("chat")(ask.chat)
app.command("view")(view.view)
app.command("analyse")(analyse.analyse)
app.command("serve")(serve.serve)
app.command("ingest")(ingest.ingest)
app.command("instructions")(instructions.instructions)
app.command("train")(train.train)
app.command("eval")(eval.evaluate)
app.command("demo")(demo.demo)
app.add_typer(models.app, name="models")
app.command("doctor")(doctor.doctor)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from lmm import __version__

        print(f"lmm {__version__}")
        raise typer.Exit()


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; errors are one line on stderr."""
    try:
        result = app(arguments or ["--help"], prog_name="lmm", standalone_mode=False)
        if result == 130:  # what the command line parser makes of Ctrl-C
            return _fail(INTERRUPTED, 130)
        return result if isinstance(result, int) else 0
    except LmmError as e:
        return _fail(str(e), 2)
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, 130)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; Python would complain at exit
        return 0
    except MemoryError:
        return _fail("not enough memory; give a shorter recording, or fewer workers.", 2)
    except ModuleNotFoundError as e:
        if not e.name or e.name.split(".")[0] == "lmm":
            raise
        return _fail(f"this needs the package {e.name}: pip install 'large-movement-model[models,language]'.", 2)
    except OSError as e:
        where = f"{e.filename}: " if e.filename else ""
        return _fail(f"{where}{e.strerror or e}. Check the path, its permissions and the free space.", 2)
    except Exception as e:
        if type(e).__name__ == "Exit":
            return getattr(e, "exit_code", 0)
        if type(e).__name__ == "Abort":
            return _fail(INTERRUPTED, 130)
        if hasattr(e, "format_message"):  # a usage error of the command line parser
            return _fail(f"{e.format_message().rstrip('.')}. See lmm --help.", 2)
        raise


def _fail(message: str, code: int) -> int:
    print(f"error: {one_line(message, 1000)}", file=sys.stderr)
    return code
