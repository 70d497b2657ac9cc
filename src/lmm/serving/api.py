"""The HTTP and WebSocket API: FastAPI over lmm's own functions. See docs/server.md."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import shutil
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Depends, FastAPI, File, Query, Request, UploadFile, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

import lmm
from lmm.core.errors import InputError, LmmError, one_line
from lmm.core.motion import Motion
from lmm.core.registry import writers
from lmm.inference.speaker import DEFAULT, MAX_PROMPT
from lmm.inference.surprise import surprise as surprise_of
from lmm.models.loading import forecasters, infos, speakers
from lmm.pipeline.convert import to_body25
from lmm.serving import limits
from lmm.serving.chat import begin, safe, serve_chat
from lmm.serving.live import Engine
from lmm.serving.socket import serve_stream
from lmm.serving.speech import serve_speech

T = TypeVar("T")
JOBS = 2  # at once, in threads
MAX_SAMPLES, MAX_SECONDS = 100, 30.0
TYPES = {
    ".json": "application/json", ".csv": "text/csv", ".html": "text/html", ".png": "image/png", ".gif": "image/gif",
    ".mp4": "video/mp4", ".glb": "model/gltf-binary", ".zip": "application/zip",
}  # fmt: skip
Written = Literal[".bvh", ".c3d", ".csv", ".glb", ".lmm.npz", ".nc", ".trc", ".zip"]


class Problem(BaseModel):
    """What is wrong, and what to do, on one line."""

    error: str


ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The file or a value cannot be used."},
    408: {"model": Problem, "description": "The body came too slowly."},
    413: {"model": Problem, "description": "The body is too long."},
    422: {"model": Problem, "description": "A parameter is missing or out of range."},
    503: {"model": Problem, "description": "Too much is in work."},
    504: {"model": Problem, "description": "It took too long."},
}


class Reading(BaseModel):
    """How a file is to be read, where it does not say so itself; as on the command line."""

    format: str | None = Query(None, pattern="^[a-z0-9_-]{1,40}$")
    source_fps: float | None = Query(None, gt=0, le=10_000)
    units: str | None = Query(None, pattern="^(mm|cm|m|in)$")
    up: Literal["x", "y", "z", "-x", "-y", "-z"] | None = None
    person: str | None = Query(None, max_length=200)


Upload = Annotated[UploadFile, File(description="A file of movement: any that lmm reads, video too.")]
Options = Annotated[Reading, Depends()]
Model = Annotated[str, Query(pattern="^[a-z0-9-]{1,60}$", description="A name of GET /v1/models, or an architecture.")]


def create_app(
    model: str = "diffusion", workers: int = 2, speaker: str | None = None, assistant: str = "assistant"
) -> Any:
    """Return the application, within its limits.

    Live streams are forecast with `model`, by `workers` processes; words become motions by `speaker`, a motion-language
    model (default: the first of those that come with lmm); questions are answered by `assistant`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine, app.state.clients = Engine(model, workers), 0
        app.state.speaker, app.state.speaking = speaker or next((i.name for i in speakers()), DEFAULT), 0
        app.state.assistant, app.state.chats = assistant, 0
        app.state.pool = ThreadPoolExecutor(JOBS, "jobs")
        yield
        app.state.engine.close()
        app.state.pool.shutdown(wait=False, cancel_futures=True)

    app = FastAPI(
        title="lmm",
        version=lmm.__version__,
        summary="Read, measure, convert, show and forecast human movement.",
        description=f"{limits.TOLD} The WebSocket `/v1/live` forecasts frames as they come, `/v1/say` turns "
        "words into motion as it is made, `/v1/chat` answers questions: see docs/server.md.",
        lifespan=lifespan,
        responses=ERRORS,
    )

    async def work(job: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(app.state.pool, job)

    @app.exception_handler(LmmError)
    async def refused(_: Request, error: LmmError) -> JSONResponse:
        text = f"{Path(error.source).name}: {error.reason}" if isinstance(error, InputError) else str(error)
        return JSONResponse({"error": text}, 400)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = next((str(p) for p in first["loc"][1:]), str(first["loc"][0]))
        return JSONResponse({"error": f"{where}: {first['msg']}."}, 422)

    @app.exception_handler(HTTPException)
    async def wrong(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": f"{error.detail}."}, error.status_code, headers=error.headers)

    api = APIRouter(prefix="/v1", dependencies=[Depends(_no_others)])

    @api.get("/health")
    async def health() -> dict[str, Any]:
        """Whether the server is up, and what it does for live streams."""
        engine: Engine = app.state.engine
        return {"status": "ok", "version": lmm.__version__, "streams": app.state.clients, "forecasts": engine.forecasts}

    @api.get("/models")
    async def models() -> list[dict[str, Any]]:
        """The models that come with lmm."""
        return [dataclasses.asdict(i) for i in infos()]

    @api.post("/info")
    async def info(file: Upload, reading: Options) -> dict[str, Any]:
        """What is in a file: people, skeleton, rate, length, space."""
        people = await work(lambda: _people(file, reading))
        return {
            "people": [
                {
                    "person": m.meta.get("person"),
                    "format": m.meta.get("format"),
                    "skeleton": m.skeleton.name,
                    "frames": m.num_frames,
                    "fps": m.fps,
                    "seconds": m.seconds,
                    "space": m.space,
                    "missing_fraction": m.missing_fraction,
                    "notes": m.meta.get("notes", []),
                }
                for m in people
            ]
        }

    @api.post("/convert", response_class=Response, responses=_file_responses())
    async def convert(
        file: Upload,
        reading: Options,
        to: Written = ".lmm.npz",
        body_25: bool = False,
        clean: bool = False,
    ) -> Response:
        """The motion in another format; with `body_25` on that skeleton, with `clean` cleaned as for a store."""

        def job() -> Response:
            motion = _one(file, reading)
            motion = lmm.clean(motion) if clean else to_body25(motion) if body_25 else motion
            return _written(motion, to)

        return await work(job)

    @api.post("/analyse")
    async def analyse(file: Upload, reading: Options, surprise: Model | None = None) -> dict[str, Any]:
        """Angles' ranges, asymmetry, repetitions, steps and gait; `surprise` names a forecaster to be surprised."""

        def job() -> dict[str, Any]:
            found = lmm.analyse(_one(file, reading))
            told: dict[str, Any] = found.summary()
            if surprise is not None:
                told["surprise"] = surprise_of(found.motion, _known(surprise)).summary()
            return told

        return await work(job)

    @api.post("/forecast", response_class=Response, responses=_file_responses())
    async def forecast(
        file: Upload,
        reading: Options,
        model: Model = "diffusion",
        seconds: Annotated[float, Query(gt=0, le=MAX_SECONDS)] = 2.0,
        samples: Annotated[int, Query(ge=1, le=MAX_SAMPLES)] = 1,
        seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
        to: Written | Literal[".html", ".png", ".mp4", ".gif"] = ".lmm.npz",
    ) -> Response:
        """What may come next, as a file or a picture; several samples in a format of one motion come as a zip."""

        def job() -> Response:
            future = lmm.forecast(_one(file, reading), _known(model), seconds, samples, seed)
            return _drawn(future, to) if to in (".html", ".png", ".mp4", ".gif") else _written(future, to)

        return await work(job)

    @api.post("/render", response_class=Response, responses=_file_responses())
    async def render(file: Upload, reading: Options, to: Literal[".html", ".png", ".mp4", ".gif"] = ".png") -> Response:
        """A picture, a film, or a page of the motion."""

        def job() -> Response:
            motion = _one(file, reading)
            return _drawn(to_body25(motion) if motion.skeleton.table else motion, to)

        return await work(job)

    @api.post("/generate", response_class=Response, responses=_file_responses())
    async def generate(
        text: Annotated[str, Query(min_length=1, max_length=MAX_PROMPT, description="What the person does.")],
        seconds: Annotated[float | None, Query(gt=0, le=MAX_SECONDS)] = None,
        seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
        steps: Annotated[int, Query(ge=1, le=100)] = 10,
        guidance: Annotated[float | None, Query(ge=0, le=20)] = None,
        to: Written | Literal[".html", ".png", ".mp4", ".gif"] = ".lmm.npz",
    ) -> Response:
        """Words as a motion, in a file or a picture; as long as the model says, or `seconds`."""

        def job() -> Response:
            motion = lmm.generate(text, app.state.speaker, seconds, seed, steps, guidance)
            return _drawn(motion, to) if to in (".html", ".png", ".mp4", ".gif") else _written(motion, to)

        return await work(job)

    @api.post("/describe")
    async def describe(file: Upload, reading: Options) -> dict[str, str]:
        """What the last ten seconds of a motion show, in words."""
        text = await work(lambda: lmm.describe(_one(file, reading), app.state.speaker))
        return {"text": text, "model": app.state.speaker}

    @api.post("/ask")
    async def ask(
        file: Upload,
        reading: Options,
        question: Annotated[str, Query(min_length=1, max_length=1000, description="Such as: How many repetitions?")],
        second: Annotated[UploadFile | None, File(description="Another motion, to be compared.")] = None,
        temperature: Annotated[float, Query(ge=0, le=10)] = 0.0,
        seed: Annotated[int, Query(ge=0, le=2**31)] = 0,
    ) -> dict[str, Any]:
        """The answer to a question about a motion, or about two, and beside it what was looked at and is measured."""

        def job() -> dict[str, Any]:
            with ExitStack() as kept:
                paths = [kept.enter_context(_saved(f)) for f in (file, second) if f is not None]
                chat = begin(paths, reading.model_dump(), app.state.assistant)
            return chat.ask(question, temperature, seed).summary()

        return await work(job)

    @app.websocket("/v1/live")
    async def live(socket: WebSocket) -> None:
        await serve_stream(socket, app.state)

    @app.websocket("/v1/say")
    async def say(socket: WebSocket) -> None:
        await serve_speech(socket, app.state)

    @app.websocket("/v1/chat")
    async def chat(socket: WebSocket) -> None:
        await serve_chat(socket, app.state)

    app.include_router(api)
    return limits.Limits(app)


def _file_responses() -> dict[int | str, dict[str, Any]]:
    kinds = {"application/octet-stream", *TYPES.values()}
    return {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in sorted(kinds)}}}


async def _no_others(request: Request) -> None:
    """Refuse a query with parameters that its route has not: a misspelt one would go unheeded."""
    told = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    known = [p["name"] for p in told.get("parameters", ()) if p["in"] == "query"]
    for name in request.query_params:
        if name not in known:
            has = f"those there are: {', '.join(known)}" if known else "there are none"
            raise HTTPException(422, f"unknown parameter {one_line(name, 60)!r}; {has}")


def _known(model: str) -> str:
    """Return the name of a model that comes with lmm, or of an architecture: never a folder of this machine."""
    named = {i.name for i in forecasters()}
    if model not in named | {n.split("-")[0] for n in named}:
        raise LmmError(f"there is no model {model!r}. GET /v1/models lists those that there are.")
    return model


@contextmanager
def _saved(file: UploadFile) -> Iterator[Path]:
    """Give an upload as a file that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lmm-") as folder:
        path = Path(folder) / safe(file.filename or "upload")
        with path.open("wb") as out:
            shutil.copyfileobj(file.file, out)
        yield path


def _people(file: UploadFile, reading: Reading) -> list[Motion]:
    """Read everybody in an upload."""
    given = reading.model_dump()
    person = given.pop("person")
    with _saved(file) as path:
        return lmm.read_people(path, **given) if person is None else [lmm.read(path, person=person, **given)]


def _one(file: UploadFile, reading: Reading) -> Motion:
    people = _people(file, reading)
    if len(people) > 1:
        who = ", ".join(str(m.meta.get("person")) for m in people[:12])
        raise LmmError(f"the file holds {len(people)} people or clips: {who}. Choose one with ?person=.")
    return people[0]


def _written(motion: Motion, to: str) -> Response:
    extension = next(e for e in sorted(writers, key=len, reverse=True) if to.endswith(e))
    with tempfile.TemporaryDirectory(prefix="lmm-") as folder:
        files = motion.save(Path(folder) / f"motion{to}")
        if len(files) == 1:
            return _attached(files[0].read_bytes(), f"motion{to}", TYPES.get(extension, "application/octet-stream"))
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for f in files:
                archive.write(f, f.name)
        return _attached(packed.getvalue(), "motions.zip", TYPES[".zip"])


def _drawn(motion: Motion, to: str) -> Response:
    with tempfile.TemporaryDirectory(prefix="lmm-") as folder:
        out: Path = lmm.render([motion], Path(folder) / f"motion{to}")
        return _attached(out.read_bytes(), out.name, TYPES[to])


def _attached(data: bytes, name: str, kind: str) -> Response:
    return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})
