"""The viewer's page: what is on the `Stage`, drawn and played by viser in the user's browser, with its controls.

One thread plays (`Viewer.run`); what takes time (reading, forecasting, writing) runs on threads of its own, one at a
time, and says in a notification how it ended. Only what has changed is sent.
"""

from __future__ import annotations

import html
import io
import logging
import re
import socket
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError, LmmError, one_line
from lmm.core.motion import Motion
from lmm.core.registry import writers
from lmm.inference.forecast import MAX_SAMPLES, MAX_SECONDS, forecast
from lmm.models.loading import assistants, forecasters, speakers
from lmm.rendering.draw import GRID, HUES, RULE, SIDES, Colour, grid_step
from lmm.rendering.scene import LEFT, MIDDLE, RIGHT
from lmm.serving.stage import HIGH, LOW, Actor, Look, Stage, palettes, picture, ways
from lmm.serving.tone import for_lines

try:
    import viser
except ImportError:
    raise LmmError("lmm view needs the package viser: pip install 'large-movement-model[view]'.") from None

Array = NDArray[Any]

FRAMES_PER_S = 30.0
MAX_UPLOAD_MIB = 64
SHOWN_PIECES = 4  # of a motion that is being made: half a second
SHOWN_TURNS = 4  # of a chat
NEWS_S = 8.0  # how long a notification of success stays
FIELD_OF_VIEW = np.deg2rad(40.0)
ASPECT, PANEL = 1.1, 0.55  # of the window beside the panel; its middle from the window's, in half heights
BONE, SAMPLE, JOINT, WAY = 0.015, 0.003, 0.028, 0.01  # thickness and size of dots, in body heights
LOOPBACK = ("127.0.0.1", "localhost", "::1")
NOBODY = "none"
Reader = Callable[[Path], list[Motion]]
Entry = tuple[str, Colour | None]  # of the legend


class Viewer:
    """A server of one page that shows motions; `read` opens what users name or upload.

    `assistant` is one more motion assistant that answers questions, a folder.

    Raises LmmError if the address cannot be served at.
    """

    def __init__(self, read: Reader, host: str, port: int, assistant: str | None = None) -> None:
        self._read = read
        self._assistants = tuple(dict.fromkeys([*([assistant] if assistant else []), *(i.name for i in assistants())]))
        self._chat: tuple[Any, Any] | None = None
        self._stage = Stage()
        self._server = _serve(host, port)
        self._host = host
        self._busy = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="lmm-view-")
        self._drawn: tuple[tuple[Actor, ...], Look] = ((), Look(0.0, (), ()))
        self._build_panel()
        self._build_scene()

    @property
    def url(self) -> str:
        host = {"0.0.0.0": "localhost", "::": "localhost"}.get(self._host, self._host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self._server.get_port()}"

    def show(self, motions: list[Motion]) -> list[Actor]:
        """Put motions on the stage and look at all of it; return their actors."""
        actors = [self._add(m) for m in motions]
        self._aim()
        return actors

    def run(self) -> None:
        """Play, until the thread is interrupted."""
        now = time.perf_counter()
        while True:
            before, now = now, time.perf_counter()
            self._tick(now - before)
            time.sleep(max(0.001, 1 / FRAMES_PER_S - (time.perf_counter() - now)))

    def close(self) -> None:
        """Stop the server and remove temporary files."""
        self._server.stop()
        self._folder.cleanup()

    # what is drawn

    def _build_scene(self) -> None:
        scene = self._server.scene
        scene.set_up_direction("+y")
        nowhere, white = np.zeros((1, 2, 3), np.float32), np.full((1, 2, 3), 255, np.uint8)
        self._ways = scene.add_line_segments("/ways", nowhere, white, visible=False)
        self._fan = scene.add_line_segments("/samples", nowhere, white, visible=False)
        self._bones = scene.add_line_segments("/bones", nowhere, white, visible=False)
        self._joints = scene.add_point_cloud(
            "/joints", nowhere[:, 0], white[:, 0], point_shape="circle", precision="float32", visible=False
        )
        self._floor = scene.add_grid(
            "/floor", plane="xz", infinite_grid=True, cell_color=GRID, section_color=RULE, fade_distance=30.0
        )
        self._aim()

    def _aim(self) -> None:
        """Look at all that happens, in every browser; fit floor and lines to the size of what is seen."""
        camera, height = self._stage.camera(self._apart.value), self._stage.height
        left, top, right, bottom = camera.extent
        across, down, towards = camera.axes
        reach = max((bottom - top) / 2, (right - left) / 2 / ASPECT, 0.6 * height)
        middle = camera.target + across * ((left + right) / 2 + PANEL * reach) + down * (top + bottom) / 2
        position = middle + towards * (reach / np.tan(FIELD_OF_VIEW / 2) + camera.radius / 2)
        views: list[Any] = [self._server.initial_camera, *(c.camera for c in self._server.get_clients().values())]
        for view in views:
            view.fov, view.position, view.look_at = FIELD_OF_VIEW, position, middle
        cell = grid_step(camera.radius)
        self._floor.cell_size, self._floor.section_size, self._floor.fade_distance = cell, 5 * cell, 8 * camera.radius
        sizes = ((self._ways, WAY), (self._fan, SAMPLE), (self._bones, BONE))
        for lines, share in sizes:
            lines.thickness = share * height
        self._joints.point_size = JOINT * height

    def _tick(self, seconds: float) -> None:
        """Go on by `seconds` if playing; draw if anything that is seen has changed."""
        if self._playing:
            span = self._stage.end - self._stage.start
            ahead = self._time.value + seconds * self._speed.value - self._stage.start
            self._time.value = self._stage.start + (ahead % span if span > 0 else 0.0)
        actors, rows = self._stage.actors, self._rows
        if len(rows) < len(actors):
            return  # a motion is just being added
        look = Look(
            float(self._time.value),
            tuple(bool(rows[a.name][0].value) for a in actors),
            tuple(int(rows[a.name][1].value) - 1 if rows[a.name][1] else 0 for a in actors),
            self._by_confidence.value,
            self._apart.value,
        )
        if (actors, look) == self._drawn:
            return
        seen, lines = picture(actors, look), []
        if (actors, replace(look, time=0.0)) != (self._drawn[0], replace(self._drawn[1], time=0.0)):
            lines.append((self._ways, ways(actors, look)))
        with self._server.atomic():
            for node, drawn in (*lines, (self._bones, seen.bones), (self._fan, seen.fan)):
                _draw(node, drawn.ends, for_lines(drawn.colours))
            _draw(self._joints, seen.joints, seen.joint_colours)
        self._drawn = (actors, look)

    # the panel

    def _build_panel(self) -> None:
        gui = self._server.gui
        gui.configure_theme(show_logo=False, show_share_button=False, control_width="large", brand_color=HUES[0])
        gui.set_panel_label("lmm view")
        self._playing = False
        self._time: Any = gui.add_slider("Time, s", 0.0, 1.0, 0.01, 0.0)
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY)
        self._speed = gui.add_slider("Speed", 0.1, 2.0, 0.1, 1.0)
        self._legend = gui.add_html("")
        gui.add_html(_at_once((resources.files("lmm.serving") / "drop.js").read_text("utf-8")))
        self._rows: dict[str, tuple[Any, Any]] = {}
        # outside the tabs: viser's page has only the elements of the tab that is shown, and what is dropped goes here
        upload = gui.add_upload_button(
            "Upload", icon=viser.Icon.UPLOAD, hint=f"Or drop files on the page. At most {MAX_UPLOAD_MIB} MiB each."
        )
        tabs = gui.add_tab_group()
        with tabs.add_tab("Show"):
            self._list = gui.add_folder("Motions")
            self._by_confidence = gui.add_checkbox("Confidence", False, hint="Colour joints by their confidence.")
            self._apart = gui.add_checkbox("Side by side", False, hint="Put recordings beside each other.")
            aim = gui.add_button("Look at all", icon=viser.Icon.FOCUS_CENTERED)
        with tabs.add_tab("Open"):
            self._path = gui.add_text("Path", "", hint="A file or folder on the machine that lmm view runs on.")
            open_path = gui.add_button("Open", icon=viser.Icon.FOLDER_OPEN)
        with tabs.add_tab("Forecast"):
            self._build_forecast()
        with tabs.add_tab("Say"):
            self._build_say()
        with tabs.add_tab("Ask"):
            self._build_ask()
        with tabs.add_tab("Export"):
            self._build_export()
        self._time.on_update(lambda event: self._set_playing(False) if event.client else None)
        self._play.on_click(lambda _: self._set_playing(not self._playing))
        self._by_confidence.on_update(lambda _: self._explain())
        self._apart.on_update(lambda _: self._rearrange())
        aim.on_click(lambda _: self._aim())
        open_path.on_click(lambda event: self._job(event.client, "Reading", self._open_path))
        upload.on_upload(lambda event: self._uploaded(event.client, event.target.value))

    def _build_forecast(self) -> None:
        gui = self._server.gui
        with gui.add_folder(None, visible=False) as self._forecasting:
            self._subject = gui.add_dropdown("Motion", ("",))
            self._model = gui.add_dropdown("Model", ("",))
            self._from_now = gui.add_checkbox(
                "From now", False, hint="Begin at the time shown, not at the motion's end: compare with what came."
            )
            self._seconds = gui.add_number("Seconds", 2.0, min=0.1, max=MAX_SECONDS, step=0.1)
            self._samples = gui.add_number("Samples", 10, min=1, max=MAX_SAMPLES, step=1)
            self._seed = gui.add_number("Seed", 0, min=0, step=1)
            go = gui.add_button("Forecast", icon=viser.Icon.WAND)
        self._subject.on_update(lambda _: self._offer_models())
        go.on_click(lambda event: self._job(event.client, "Forecasting", self._forecast))

    def _build_say(self) -> None:
        gui, names = self._server.gui, tuple(i.name for i in speakers())
        if not names:
            gui.add_markdown("There is no motion-language model. `lmm train` makes one.")
            return
        self._text = gui.add_text("Words", "a person raises the left arm", hint="What the person does.")
        self._speaker = gui.add_dropdown("Model", names)
        self._follows = gui.add_checkbox("Go on", False, hint="Begin where the motion chosen below ends.")
        self._before = gui.add_dropdown("After", ("",))
        self._said_seconds = gui.add_number("Seconds", 0.0, min=0.0, max=60.0, step=0.5, hint="0: as the model says.")
        self._said_seed = gui.add_number("Seed", 0, min=0, step=1)
        go = gui.add_button("Generate", icon=viser.Icon.WAND)
        go.on_click(lambda event: self._job(event.client, "Generating", self._say))

    def _build_ask(self) -> None:
        gui, names = self._server.gui, self._assistants
        if not names:
            gui.add_markdown(
                "There is no motion assistant. `lmm train` makes one, and `lmm view --assistant` takes it."
            )
            return
        self._about = gui.add_dropdown("Motion", ("",))
        self._beside = gui.add_dropdown("And", (NOBODY,), hint="Another motion, to be compared.")
        self._question = gui.add_text("Question", "How many repetitions?")
        self._assistant = gui.add_dropdown("Model", names)
        go = gui.add_button("Ask", icon=viser.Icon.MESSAGE_QUESTION)
        self._said = gui.add_markdown("")
        self._moments = gui.add_folder("Looked at", visible=False)
        self._moment_buttons: list[Any] = []
        go.on_click(lambda event: self._job(event.client, "Asking", self._ask))

    def _build_export(self) -> None:
        gui = self._server.gui
        with gui.add_folder(None, visible=False) as self._exporting:
            self._exported = gui.add_dropdown("Motion", ("",))
            self._extension = gui.add_dropdown("As", tuple(writers), initial_value=".lmm.npz")
            go = gui.add_button("Export", icon=viser.Icon.DOWNLOAD, hint="With the joints of the file that was read.")
        go.on_click(lambda event: self._job(event.client, "Writing", lambda: self._export(event.client)))

    def _add(self, motion: Motion) -> Actor:
        """Put a motion on the stage and on the panel."""
        actor = self._stage.add(motion)
        gui, names = self._server.gui, tuple(a.name for a in self._stage.actors)
        with self._list:
            shown = gui.add_checkbox(actor.name, True, hint=actor.track.facts)
            draws = actor.num_samples
            sample = gui.add_slider("Sample", 1, draws, 1, 1, hint="Which one is bold.") if draws > 1 else None
        self._rows[actor.name] = shown, sample
        self._time.min, self._time.max = self._stage.start, np.floor(self._stage.end * 100) / 100
        self._subject.options = self._exported.options = names
        if hasattr(self, "_before"):
            self._before.options = names
        if hasattr(self, "_about"):
            self._about.options, self._beside.options = names, (NOBODY, *names)
        self._forecasting.visible = self._exporting.visible = True
        self._offer_models()
        self._explain()
        return actor

    def _set_playing(self, playing: bool) -> None:
        self._playing = playing
        self._play.label = "Pause" if playing else "Play"
        self._play.icon = viser.Icon.PLAYER_PAUSE if playing else viser.Icon.PLAYER_PLAY

    def _rearrange(self) -> None:
        self._explain()
        self._aim()

    def _explain(self) -> None:
        """Write the legend of the colours in use."""
        if self._by_confidence.value:
            self._legend.content = _entries([("low", LOW), ("confidence", None), ("high", HIGH)])
            return
        actors, words = self._stage.actors, dict[tuple[Colour, ...], str]()
        for actor, wear in zip(actors, palettes(actors, self._apart.value), strict=True):
            words.setdefault(wear, actor.name)
        by_side: list[Entry] = [
            (name, SIDES[side]) for name, side in (("right", RIGHT), ("left", LEFT), ("middle", MIDDLE))
        ]
        by_person: list[Entry] = [(name, wear[MIDDLE]) for wear, name in words.items()]
        shades: list[Entry] = [("right darker, left lighter", None)]
        self._legend.content = _entries(by_side if set(words) <= {SIDES} else [*by_person, *shades])

    def _offer_models(self) -> None:
        """Offer the models that fit the chosen motion: learned ones first, those free for all uses before others."""
        actor = self._actor(self._subject.value)
        layout = "xyc" if actor.panel.num_dims == 2 else "xyz"
        fitting = [i for i in forecasters() if i.layout in ("any", layout)]
        fitting.sort(key=lambda i: (i.kind == "baseline", "NC" in i.licence))
        self._model.options = tuple(i.name for i in fitting)

    def _actor(self, name: str) -> Actor:
        for actor in self._stage.actors:
            if actor.name == name:
                return actor
        raise LmmError(f"{name!r} is not on the stage. Choose another motion.")

    # what takes time

    def _job(self, client: viser.ClientHandle | None, doing: str, work: Callable[[], str]) -> None:
        """Run `work` on a thread of its own; tell the page that it runs, and then what it returned or why it failed."""
        if client is None:
            return
        note = client.add_notification(doing, "", loading=True, with_close_button=False)

        def run() -> None:
            told, failed = "", True
            try:
                with self._busy:
                    told, failed = work(), False
            except (LmmError, OSError, MemoryError) as e:
                told = _message(e)
            except Exception as e:
                told = f"A bug in lmm: {type(e).__name__}: {one_line(e)}"
                raise
            finally:
                note.remove()
                title = f"{doing} failed" if failed else "Done"
                seconds = None if failed else NEWS_S
                client.add_notification(title, told, color="red" if failed else "green", auto_close_seconds=seconds)

        threading.Thread(target=run, daemon=True).start()  # daemon: Ctrl-C does not wait for it

    def _open_path(self) -> str:
        given = self._path.value.strip()
        if not given:
            raise LmmError("No path is given. Write one into the box, or use Upload.")
        return self._opened(self._read(Path(given).expanduser()))

    def _uploaded(self, client: viser.ClientHandle | None, file: viser.UploadedFile) -> None:
        self._job(client, "Reading", lambda: self._take(file))

    def _take(self, file: viser.UploadedFile) -> str:
        """Read an uploaded file from a temporary folder that is gone afterwards."""
        name = re.sub(r"[^\w.\- ]", "_", file.name)[-100:] or "upload"
        if len(file.content) > MAX_UPLOAD_MIB << 20:
            size = len(file.content) >> 20
            raise InputError(name, f"has {size} MiB, over {MAX_UPLOAD_MIB} MiB", "Open it by its path")
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            path = Path(folder) / name
            path.write_bytes(file.content)
            return self._opened(self._read(path))

    def _opened(self, motions: list[Motion]) -> str:
        return ", ".join(a.name for a in self.show(motions))

    def _forecast(self) -> str:
        actor = self._actor(self._subject.value)
        motion = actor.until(self._time.value) if self._from_now.value else actor.recorded
        future = forecast(
            motion, self._model.value, self._seconds.value, int(self._samples.value), int(self._seed.value)
        )
        kept = {k: v for k, v in motion.meta.items() if k == "item"}  # so that it stands with its recording
        added = self._add(future.replace(meta={**kept, **future.meta}))
        if not self._playing:
            self._time.value = float(added.track.segments[-1].times[0]) + added.delay
        licence = next(i.licence for i in forecasters() if i.name == self._model.value)
        return f"{added.name}. {licence}" if "NC" in licence else added.name

    def _say(self) -> str:
        """Generate a motion from words; it plays while it is made."""
        from lmm.inference.generate import Settings, assembled, stream
        from lmm.inference.speaker import load_speaker

        speaker, before = load_speaker(self._speaker.value), None
        if self._follows.value:
            before = self._actor(self._before.value).motion
        settings = Settings(self._said_seconds.value or None, int(self._said_seed.value))
        pieces: list[Array] = []
        actor: Actor | None = None
        for piece in stream(self._text.value, speaker, settings, before):
            pieces.append(piece)
            if len(pieces) % SHOWN_PIECES == 0:
                motion = assembled(pieces, self._text.value, speaker, settings)
                if actor is None:
                    actor = self._add(motion)
                    self._aim()
                    self._time.value = actor.start
                    self._set_playing(True)
                else:
                    self._grow(actor, motion)
        motion = assembled(pieces, self._text.value, speaker, settings)
        actor = self._add(motion) if actor is None else self._grow(actor, motion)
        self._aim()
        licence = speaker.model.config.licence
        return f"{actor.name}. {licence}" if "NC" in licence else actor.name

    def _ask(self) -> str:
        """Answer a question as it is said, and offer the moments that were looked at."""
        from lmm.inference.ask import Chat

        names = list(dict.fromkeys([self._about.value, self._beside.value]))
        actors = [self._actor(n) for n in names if n != NOBODY]
        about = (self._assistant.value, *((a.name, id(a.motion)) for a in actors))
        if self._chat is None or self._chat[0] != about:
            self._chat = about, Chat([a.recorded for a in actors], self._assistant.value)
        chat, question, text = self._chat[1], self._question.value, ""
        for piece in chat.stream(question):
            text += piece
            self._said.content = spoken(
                [(a.question, a.text, ()) for a in chat.answers] + [(one_line(question), text, ())]
            )
        answer = chat.answers[-1]
        lines = [tuple(a.lines(moments=False)) if a is answer else () for a in chat.answers]
        self._said.content = spoken([(a.question, a.text, told) for a, told in zip(chat.answers, lines, strict=True)])
        moments = [
            (actor.when(k.time_s), k, actor.name if len(actors) > 1 else "")
            for actor, frames in zip(actors, answer.key_frames, strict=True)
            for k in frames
        ]
        self._offer_moments(sorted(moments, key=lambda m: m[0]))
        if answer.forecast is not None:
            kept = {k: v for k, v in actors[0].recorded.meta.items() if k == "item"}
            self._add(answer.forecast.replace(meta={**kept, **answer.forecast.meta}))
        licence = chat.assistant.config.licence
        return licence if "NC" in licence else "Press a moment to see it."

    def _offer_moments(self, moments: list[tuple[float, Any, str]]) -> None:
        """Show a button for each moment, which brings the clock there."""
        for button in self._moment_buttons:
            button.remove()
        self._moment_buttons.clear()
        self._moments.visible = bool(moments)
        for at, frame, name in moments:
            label = f"{at:.1f} s{f' · {name}' if name else ''}"
            with self._moments:
                button = self._server.gui.add_button(
                    label, hint=f"Score {frame.weight:.2f}, ± {frame.radius_s:.1f} s.", color="gray"
                )
            button.on_click(partial(self._jump, at))
            self._moment_buttons.append(button)

    def _jump(self, at: float, _: Any) -> None:
        self._set_playing(False)
        self._time.value = float(np.clip(at, self._time.min, self._time.max))

    def _grow(self, actor: Actor, motion: Motion) -> Actor:
        grown = self._stage.grow(actor, motion)
        self._time.max = np.floor(self._stage.end * 100) / 100
        return grown

    def _export(self, client: viser.ClientHandle | None) -> str:
        """Write the chosen motion and have the browser save it: as one file, or several in a zip archive."""
        actor, extension = self._actor(self._exported.value), self._extension.value
        stem = re.sub(r"[^\w\-]+", "_", actor.name)[:80].strip("_") or "motion"
        with tempfile.TemporaryDirectory(dir=self._folder.name) as folder:
            files = actor.motion.save(Path(folder) / f"{stem}{extension}")
            name, data = (files[0].name, files[0].read_bytes()) if len(files) == 1 else (f"{stem}.zip", _zipped(files))
        if client is not None:
            client.send_file_download(name, data, save_immediately=True)
        return name


class _Server(viser.ViserServer):
    """viser's server, which never offers the page to the world through viser's public tunnel."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


def _serve(host: str, port: int) -> _Server:
    """Start the server. Raises LmmError if it cannot listen there."""
    import rich

    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()  # viser would take another port, or wait for ever
    except (OSError, OverflowError) as e:
        reason = str(getattr(e, "strerror", None) or e).partition(" (while")[0]
        raise LmmError(f"cannot serve at {host} port {port} ({reason}). Choose another --port or --host.") from None
    rich.get_console().quiet = True  # viser's own news
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # browsers that hang up
    server = _Server(host, port, verbose=False)
    _refuse_other_pages(server, host)
    return server


def _refuse_other_pages(server: _Server, host: str) -> None:
    """Let no other web page that the user's browser shows talk to the server, which opens files by path."""
    sockets = server._websock_server

    async def check(connection: Any) -> None:
        live = sockets._live_connections[connection.client_id]
        headers = live.request.headers if live.request else {}
        origin, named = headers.get("Origin"), headers.get("Host", "")
        foreign = origin is not None and urlsplit(origin).netloc != named
        rebound = host in LOOPBACK and urlsplit(f"//{named}").hostname not in LOOPBACK
        if foreign or rebound:
            await live.close(1008, "other pages may not use this server")

    sockets.on_client_connect(check)
    sockets.disconnect_all_clients()  # who came before the check comes again


def _draw(node: viser.LineSegmentsHandle | viser.PointCloudHandle, points: Array, colours: Array) -> None:
    """Show other points; viser's page cannot show none."""
    node.visible = len(points) > 0
    if node.visible:
        node.points, node.colors = points, colours


def _message(error: BaseException) -> str:
    """Say on one line what went wrong, with the names of files and not of temporary folders."""
    if isinstance(error, InputError):
        return f"{one_line(Path(error.source).name)}: {error.reason}"
    if isinstance(error, MemoryError):
        return "There is not enough memory. Open a shorter recording."
    return one_line(error, 1000)


def spoken(turns: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """Return questions, answers and what stands beside them as Markdown; words of strangers stay words."""
    out = []
    for question, text, told in turns[-SHOWN_TURNS:]:
        out += [f"**{_escaped(question)}**", _escaped(text), *(f"*{_escaped(line)}*" for line in told)]
    return "\n\n".join(out)


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]()#+\-.!<>|~&$])", r"\\\1", one_line(text, 2000))


def _zipped(files: list[Path]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(file, file.name)
    return out.getvalue()


def _at_once(script: str) -> str:
    """Return HTML that runs a script where it is shown: as viser puts it there, elements of scripts would not run."""
    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="
    return f'<img src="{pixel}" style="display: none" onload="{html.escape(script)}">'


def _entries(entries: list[Entry]) -> str:
    """Return a legend as HTML: words, each behind a swatch of its colour."""
    out = []
    for words, colour in entries:
        swatch = f'<span style="color:rgb{colour}">●</span> ' if colour else ""
        out.append(f'<span style="margin-right:0.9em">{swatch}{html.escape(words)}</span>')
    return f'<div style="font-size:0.8em;padding:0.2em 0.9em">{"".join(out)}</div>'
