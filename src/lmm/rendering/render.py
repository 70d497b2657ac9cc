"""Motions → a picture, film or page; the extension says which. The face of the package."""

from __future__ import annotations

import os
from pathlib import Path

from lmm.core.errors import InputError, MotionError
from lmm.core.motion import Motion
from lmm.rendering import animation, html, overlay, strip
from lmm.rendering.scene import build

EXTENSIONS = (".png", ".gif", ".mp4", ".html")
MIN_WIDTH, MAX_WIDTH = 160, 7680


def render(
    motions: list[Motion], out: Path, compare: bool = False, width: int | None = None, video: Path | None = None
) -> Path:
    """Show motions in the file `out`, and return it.

    ``.png`` is a strip of poses over time, a row a motion; ``.gif`` and ``.mp4`` are films; ``.html`` is one page that
    plays without a network. Several motions are overlaid where they share a space, else side by side; `compare` puts
    them side by side on a common clock. `width` is in pixels (a page fits its window, and has none). A motion with
    `samples` or `context` is shown as a forecast. With a `video`, motions in its pixels are drawn on it: all of it
    in ``.mp4``, one moment in ``.png``.

    Raises InputError if the file cannot be written, or would grow past what its kind is good for.
    """
    out = Path(out)
    kind = out.suffix.lower()
    if kind not in EXTENSIONS:
        raise InputError(
            out,
            f"is no kind of picture that lmm makes: {kind or 'it has no extension'}",
            f"Name it {', '.join(EXTENSIONS[:3])} or {EXTENSIONS[3]}",
        )
    if video is not None and kind not in (".mp4", ".png"):
        raise InputError(out, "cannot show a video", "Name it .mp4, or .png for one picture of it")
    if width is not None and not MIN_WIDTH <= width <= MAX_WIDTH:
        raise InputError(out, f"cannot be {width} pixels wide", f"Choose a width from {MIN_WIDTH} to {MAX_WIDTH}")
    if not out.parent.is_dir():
        raise InputError(out, "is in a folder that does not exist", f"Make the folder {out.parent} first")
    half = out.with_name(f".{out.stem}.{os.getpid()}{kind}")  # becomes `out` when it is whole
    try:
        if video is not None:
            overlay.write(list(motions), Path(video), half)
            half.replace(out)
            return out
        scene = build(list(motions), compare)
        if kind == ".png":
            strip.write(scene, half, width, compare)
        elif kind == ".html":
            html.write(scene, half)
        else:
            animation.write(scene, half, width)
        half.replace(out)
    except MotionError as e:
        raise InputError(out, f"cannot be made: {e}") from None
    except OSError as e:
        raise InputError(out, f"cannot be written ({e.strerror or e})", "Choose another place") from None
    finally:
        half.unlink(missing_ok=True)
    return out
