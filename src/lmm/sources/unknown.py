"""What a file is that holds no movement lmm reads, and what the user can do about it."""

from __future__ import annotations

import re
from collections.abc import Callable

from lmm.sources.files import Input, is_text

_FOLDER = "Give the folder or file of one recording, or read them all with lmm ingest"

# (does it fit?, what it is, what to do), the first that fits
_KINDS: tuple[tuple[Callable[[Input], object], str, str], ...] = (
    (
        lambda f: f.kind == "folder" and not any(f.path.iterdir()),
        "is an empty folder",
        "Give the folder or file of a recording",
    ),
    (lambda f: f.kind == "folder" and not f.names, "is a folder of folders, not one motion", _FOLDER),
    (lambda f: f.kind == "folder", "is a folder of several files, not one motion", _FOLDER),
    (lambda f: f.kind == "archive", "is an archive without OpenPose files", "Unpack it and give the files"),
    (lambda f: f.path.stat().st_size == 0, "is empty", "Export it again"),
    (
        lambda f: f.head.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8")),
        "is a picture, not movement",
        "Give the recording that it was made from",
    ),
    (
        lambda f: f.head.startswith((b"Kaydara FBX", b"glTF")),
        "is an FBX or glTF file, which are not read",
        "Export it as BVH",
    ),
    (
        lambda f: f.head[:2] == b"\x80\x04" or f.name.endswith((".pkl", ".pickle", ".pt", ".pth")),
        "is a pickle, which can run code and is never opened",
        "Convert it to npz or npy in a program that you trust",
    ),
    (
        lambda f: b"inDegrees" in f.head[:2000] or f.name.endswith((".mot", ".sto")),
        "holds OpenSim coordinates (joint angles), no positions",
        "Give the TRC file of the same trial",
    ),
    (
        lambda f: b"fisheye" in f.head or (b"camera" in f.head[:4000].lower() and b"<" in f.head[:10]),
        "is a camera calibration, not movement",
        "Give the recordings themselves",
    ),
    (lambda f: f.name.endswith(".asf"), "is a skeleton without movement", "Give an AMC file that lies beside it"),
    (
        lambda f: re.fullmatch(rb"[-+0-9.eE,\s]+", f.head[:2000]) and "angles" in f.name,
        "holds joint angles without positions",
        "Give the file of positions; Kinect angles are read along with it",
    ),
    (
        lambda f: b'"BODY25_Mapping"' in f.head,
        "holds single held poses in no order and without a rate, not movement",
        "Give the keypoints of a recording, frame by frame",
    ),
    (
        lambda f: f.name.endswith(".jsonl"),
        "is a list of facts or captions, without movement",
        "Give the recordings that it describes",
    ),
    (
        lambda f: f.head.lstrip()[:1] in (b"{", b"["),
        "is JSON without keypoints that lmm knows",
        "OpenPose and COCO keypoint files are read; see docs/formats.md",
    ),
    (lambda f: is_text(f.head) and _is_prose(f.head), "is text, not movement", "Give the recordings"),
)


def what_else(given: Input) -> tuple[str, str]:
    """Return what an input of no known format is, and the remedy."""
    for fits, what, remedy in _KINDS:
        if fits(given):
            return what, remedy
    return "is of no format that lmm knows", "See docs/formats.md, or name the format with --format"


def _is_prose(head: bytes) -> bool:
    words = head.split()
    return len(words) > 20 and sum(w.isalpha() for w in words) > 0.5 * len(words)
