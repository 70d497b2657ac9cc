"""`lmm serve`: the HTTP and WebSocket API."""

from __future__ import annotations

from typing import Annotated

import typer

from lmm.cli.options import Threads


def serve(
    host: Annotated[
        str, typer.Option("--host", help="Address to serve at; any but the default lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to serve at.")] = 8000,
    model: Annotated[
        str, typer.Option("--model", help="Forecaster of live streams: a name, or a folder.")
    ] = "diffusion",
    threads: Threads = None,
) -> None:
    """Serve conversion, analysis, forecasts and pictures over HTTP, live forecasts over a WebSocket. Ctrl-C ends it."""
    import os
    import signal
    import socket
    import sys
    import tempfile

    from lmm.core.errors import LmmError
    from lmm.models.loading import load
    from lmm.serving.limits import MAX_MESSAGE

    try:
        import uvicorn

        from lmm.serving.api import create_app
    except ImportError as e:
        raise LmmError(f"serving needs {e.name}: pip install 'large-movement-model[serve]'.") from None
    load(model, "xyc")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as e:
            why = e.strerror or str(e)
            raise LmmError(f"cannot serve at {host}:{port} ({why}). Choose another --port or --host.") from None
    print(f"lmm serves at http://{host}:{port} (documentation: /docs)", flush=True)
    app = create_app(model, threads or os.cpu_count() or 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # uvicorn, when it has closed all, raises the signal again
    code: object = 0
    with tempfile.TemporaryDirectory(prefix="lmm-serve-", ignore_cleanup_errors=True) as folder:
        tempfile.tempdir = folder  # so that a job that is cut off leaves nothing
        try:
            uvicorn.run(
                app,
                host=host,
                port=port,
                log_level="warning",
                ws_max_size=MAX_MESSAGE,
                timeout_keep_alive=5,
                timeout_graceful_shutdown=5,
            )
        except SystemExit as e:
            code = e.code
    sys.stderr.flush()
    os._exit(int(bool(code)))  # threads of jobs cannot be stopped, and Python would wait for them
