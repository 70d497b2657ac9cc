"""Damaged input: small sample files of every format, mutations of them, and what reading one must come to.

Shared by `tests/test_damaged_input.py` and `benchmarks/fuzz.py`. Samples are cut from the real data where it is at
hand, and made by lmm's own writers or by hand in any case. Everything follows from the seeds.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import re
import shutil
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import lmm
from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion
from lmm.datasets.store import to_row
from lmm.datasets.synthetic import gait
from lmm.pipeline.quality import quality
from lmm.skeletons import table

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"  # beside the repository, never in it; need not be there
Rng = np.random.Generator
FRAMES = 40  # kept of each sample
PEOPLE = 4  # cleaned of each input
TOKENS = (
    "NaN", "nan", "Inf", "-Infinity", "1e308", "-1e308", "1e39", "1e-320", "1e999", "-1", "0", "", "99999999999",
    "2147483648", "65535", "-9223372036854775809", "1" * 400, "0x1F", "1_0", "²", "١", "null", "true", "[]", "{}",
    '"a"', '"\\ud800"', '"\\u001b[2J"', "1e", "#", "{", "}",
)  # fmt: skip
NUMBER = rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"


@dataclass(frozen=True)
class Sample:
    """One input to damage: `folder` is copied for each mutation, `path` in it is read, `files` in it may be mutated.

    `library` marks formats read by a C library, which may crash; `share` is how often the sample is chosen.
    """

    format: str
    folder: Path
    path: str
    files: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    library: bool = False
    share: float = 1.0


def samples(data: Path, work: Path) -> list[Sample]:
    """Write all samples below `work` and return them; those that are generated only, if there is no folder `data`."""
    return [*_generated(work / "generated"), *(_real(data, work / "real") if data.is_dir() else ())]


# What reading must come to


def attempt(path: Path, options: dict[str, Any]) -> str:
    """Do what ingest does with `path`: read, clean, judge, and make rows. Return ``accepted`` or ``refused: message``.

    Anything else is raised: other errors than LmmError, a warning, a message that is not one printable line with a
    remedy, or a row that cannot be stored.
    """
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            for motion in lmm.read_people(path, **{"source_fps": 30, **options})[:PEOPLE]:
                _row(motion)
            outcome = "accepted"
        except LmmError as e:
            outcome = f"refused: {e}"
            if (
                not str(e).isprintable()
                or not str(e).endswith((".", "?", "!", "…"))
                or (isinstance(e, InputError) and not e.remedy)
            ):
                raise AssertionError(f"not one clear line: {str(e)!r}") from e
    if heard:
        raise AssertionError(
            f"warned: {heard[0].category.__name__}: {heard[0].message} ({heard[0].filename}:{heard[0].lineno})"
        )
    return outcome


def _row(motion: Motion) -> None:
    cleaned = lmm.clean(motion)
    row = to_row(cleaned, "id", "id", "path", quality(cleaned))
    for name in ("labels", "meta", "quality"):
        json.loads(row[name].encode(), parse_constant=_no_constant)
    " ".join([row["subject"], row["licence"], row["split"], *row["captions"], *motion.skeleton.joints]).encode()


def _no_constant(name: str) -> None:
    raise AssertionError(f"{name} in JSON")


# Mutations


def damage(sample: Sample, into: Path, rng: Rng) -> tuple[str, Path]:
    """Copy `sample` to the new folder `into` with one thing wrong; return what was done, and the path to read."""
    shutil.copytree(sample.folder, into)
    victim = into / sample.files[rng.integers(len(sample.files))]
    choice = rng.random()
    if len(sample.files) > 1 and choice < 0.15:
        kind = ("missing file", "folder for a file", "junk beside", "link to itself", "copy of another")[
            rng.integers(5)
        ]
        if kind == "junk beside":
            victim.with_name(f"{'x' * int(rng.integers(1, 240))}{victim.suffix}").write_bytes(rng.bytes(50))
        elif kind == "copy of another":
            victim.write_bytes((into / sample.files[rng.integers(len(sample.files))]).read_bytes())
        else:
            victim.unlink()
            if kind == "folder for a file":
                victim.mkdir()
            elif kind == "link to itself":
                victim.symlink_to(victim)
    else:
        kind, content = mutate(victim.read_bytes(), rng)
        victim.write_bytes(content)
    return f"{kind} in {victim.relative_to(into)}", into / sample.path


def mutate(data: bytes, rng: Rng) -> tuple[str, bytes]:
    """Return the name of a random mutation, and `data` with it; what is packed is damaged outside or within."""
    inner = rng.random() < 0.7
    if inner and data[:2] == b"\x1f\x8b":
        return _within(data, gzip.decompress, lambda d: gzip.compress(d, 1), "gzip", rng)
    if inner and data[:3] == b"BZh":
        return _within(data, bz2.decompress, lambda d: bz2.compress(d, 1), "bz2", rng)
    if inner and data[:6] == b"\xfd7zXZ\x00":
        return _within(data, lzma.decompress, lambda d: lzma.compress(d, preset=0), "xz", rng)
    if inner and data[:2] == b"PK":
        return _within_zip(data, rng)
    if inner and data[257:262] == b"ustar":
        return _within_tar(data, rng)
    if inner and data[:6] == b"\x93NUMPY" and rng.random() < 0.5:
        kind, head = mutate(data[10:128], rng)
        return f"npy header: {kind}", data[:10] + head.ljust(118)[:118] + data[128:]
    text = b"\0" not in data[:4000]
    names = list(ANY) + (2 * list(TEXT) if text else [])
    kind = names[rng.integers(len(names))]
    for _ in range(1 if rng.random() < 0.7 else int(rng.integers(2, 6))):
        data = {**ANY, **TEXT}[kind](data, rng) if data else data
    return kind, data


def _within(
    data: bytes, unpack: Callable[[bytes], bytes], pack: Callable[[bytes], bytes], name: str, rng: Rng
) -> tuple[str, bytes]:
    kind, content = mutate(unpack(data), rng)
    return f"{name}: {kind}", pack(content)


def _within_zip(data: bytes, rng: Rng) -> tuple[str, bytes]:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        victim = int(rng.integers(len(old.namelist())))
        kind = ""
        for i, name in enumerate(old.namelist()):
            content = old.read(name)
            if i == victim:
                kind, content = mutate(content, rng)
                if rng.random() < 0.1:
                    kind, name = "member renamed", ("../x", "/x.npy", "x" * 300, "\x1b[2J.json")[rng.integers(4)]
                elif rng.random() < 0.1:
                    kind = "member missing"
                    continue
            new.writestr(name, content)
    return f"zip: {kind}", out.getvalue()


def _within_tar(data: bytes, rng: Rng) -> tuple[str, bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=out, mode="w") as new:
        victim, kind = int(rng.integers(len(old.getnames()))), ""
        for i, info in enumerate(old.getmembers()):
            content = old.extractfile(info).read()  # type: ignore[union-attr]
            if i == victim:
                kind, content = mutate(content, rng)
                info.size = len(content)
                if rng.random() < 0.3:
                    info.type, info.linkname = (
                        (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)[rng.integers(4)],
                        "/etc/passwd",
                    )
                    kind, info.size = "member of another type", 0
            new.addfile(info, io.BytesIO(content))
    return f"tar: {kind}", out.getvalue()


def _flip_bits(d: bytes, rng: Rng) -> bytes:
    out = bytearray(d)
    for at in rng.integers(len(d), size=int(rng.integers(1, 9))):
        out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _overwrite(d: bytes, rng: Rng) -> bytes:
    at, n = int(rng.integers(len(d))), int(rng.integers(1, 40))
    run = (rng.bytes(n), b"\0" * n, b"\xff" * n, b" " * n)[rng.integers(4)]
    return d[:at] + run + d[at + n :]


def _in_head(d: bytes, rng: Rng) -> bytes:
    head = bytearray(d[:600])
    for at in rng.integers(len(head), size=int(rng.integers(1, 5))):
        head[at] = (0, 1, 127, 128, 255, int(rng.integers(256)))[rng.integers(6)]
    return bytes(head) + d[600:]


def _truncate(d: bytes, rng: Rng) -> bytes:
    return d[: int(len(d) * rng.random() ** rng.integers(1, 4))]


def _cut_out(d: bytes, rng: Rng) -> bytes:
    at, n = int(rng.integers(len(d))), int(rng.integers(1, 300))
    return d[:at] + d[at + n :]


def _repeat(d: bytes, rng: Rng) -> bytes:
    at, n = int(rng.integers(len(d))), int(rng.integers(1, 3000))
    return d[: at + n] + d[at:]


def _insert(d: bytes, rng: Rng) -> bytes:
    at = int(rng.integers(len(d) + 1))
    junk = (
        b"\0",
        b"\0\0\0\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n\n",
        b"\x1b[31m",
        b"\x85",
        "\u2028".encode(),
        b"\xed\xa0\x80",
    )[rng.integers(10)]
    return d[:at] + junk + d[at:]


def _lines(d: bytes, rng: Rng) -> bytes:
    lines = d.split(b"\n")
    a, b = (int(n) for n in rng.integers(len(lines), size=2))
    if rng.random() < 0.4:
        a = int(rng.integers(min(len(lines), 30)))
    what = rng.integers(4)
    if what == 0:
        lines[a], lines[b] = lines[b], lines[a]
    elif what == 1:
        del lines[a]
    elif what == 2:
        lines.insert(a, lines[b])
    else:
        lines[a] = lines[a][: int(rng.integers(len(lines[a]) + 1))]
    return b"\n".join(lines)


def _number(d: bytes, rng: Rng) -> bytes:
    found = list(re.finditer(NUMBER, d[:200_000]))
    if not found:
        return _flip_bits(d, rng)
    m = found[int(len(found) * rng.random() ** rng.integers(1, 6))]  # counts stand early
    token = TOKENS[rng.integers(len(TOKENS))].encode()
    return d[: m.start()] + token + d[m.end() :]


def _word(d: bytes, rng: Rng) -> bytes:
    found = list(re.finditer(rb'"[^"\n]{1,60}"|[A-Za-z_:]{2,40}', d[:200_000]))
    if not found:
        return _number(d, rng)
    m, other = (found[int(len(found) * rng.random() ** 2)] for _ in range(2))
    new = (other[0], b"", b"\x1b[2J", TOKENS[rng.integers(len(TOKENS))].encode(), m[0].swapcase(), b"A" * 5000)[
        rng.integers(6)
    ]
    return d[: m.start()] + new + d[m.end() :]


def _recode(d: bytes, rng: Rng) -> bytes:
    text = d.decode("utf-8", "replace")
    return (text + "é").encode(("utf-16", "utf-32", "latin-1", "utf-16-be", "cp500")[rng.integers(5)], "replace")


def _nest(d: bytes, rng: Rng) -> bytes:
    at = int(rng.integers(len(d) + 1))
    return d[:at] + (b"[", b'{"a":', b"{\n", b"(")[rng.integers(4)] * 20_000 + d[at:]


ANY: dict[str, Callable[[bytes, Rng], bytes]] = {
    "flipped bits": _flip_bits, "overwritten": _overwrite, "damaged head": _in_head, "truncated": _truncate,
    "cut out": _cut_out, "repeated": _repeat, "inserted": _insert, "emptied": lambda d, rng: b"",
    "noise": lambda d, rng: rng.bytes(int(rng.integers(1, 2000))),
}  # fmt: skip
TEXT: dict[str, Callable[[bytes, Rng], bytes]] = {
    "lines": _lines, "one line": _lines, "number": _number, "a number": _number, "one number": _number, "word": _word,
    "another encoding": _recode, "nested": _nest,
}  # fmt: skip


# Samples


class _Writer:
    """Writes samples, each into a folder of its own below `root`."""

    def __init__(self, root: Path) -> None:
        self.root, self.count = root, 0

    def __call__(self, format: str, path: str, files: dict[str, bytes | str], **more: Any) -> Sample:
        folder = self.root / f"{self.count:03d}"
        self.count += 1
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return Sample(format, folder, path, tuple(files), **more)

    def one(self, format: str, name: str, content: bytes | str, **more: Any) -> Sample:
        return self(format, name, {name: content}, **more)


def _generated(root: Path) -> Iterator[Sample]:
    put, rng = _Writer(root), np.random.default_rng(7)
    walk = gait(seconds=FRAMES / 30, fps=30)
    holes = walk.positions.copy()
    holes[10:14, 4] = np.nan
    walk = walk.replace(positions=holes)
    yield from _written(put, walk, rng)
    yield from _text_formats(put, rng)

    body = (
        np.linspace(0.1, 1.7, 22)[:, None] * (0, 1, 0)
        + rng.normal(0, 0.1, (22, 3))
        + rng.normal(0, 0.01, (FRAMES, 22, 3))
    )
    smpl, features = _npy(body.astype(np.float32)), _npy(rng.normal(0, 0.1, (FRAMES, 263)).astype(np.float32))
    told = "a person walks#a/DET person/NOUN#0.0#0.0\nturns#turns/VERB#0.5#1.0\n"
    parts = {
        "h/new_joints/000001.npy": smpl,
        "h/new_joint_vecs/000002.npy": features,
        "h/train.txt": "000001\n",
        "h/texts/000001.txt": told,
    }
    yield put("humanml3d", "h", parts, share=3)
    yield put.one("humanml3d", "features.npy", features)
    lengths = {"units": "m", "up": "y"}
    yield put.one("arrays", "smpl.npy", smpl, options=lengths)
    yield put.one("arrays", "h36m.npy", _npy(body[:, :17]), options={**lengths, "format": "arrays-h36m17"})
    yield put.one("arrays", "clips.npz", _npz(a=body, b=body[:9]), options=lengths, share=2)

    side = ("UpperLeg", "LowerLeg", "Foot", "Toes", "UpperArm", "LowerArm", "Hand")
    joints = [f"{name}_{s}" for s in "LR" for name in side]
    parents = [-1, 0, 1, 2, -1, 4, 5, -1, 7, 8, 9, -1, 11, 12]
    at = [
        walk.skeleton.index[n]
        for n in (f"{s}{n}" for s in "LR" for n in ("Hip", "Knee", "Ankle", "BigToe", "Shoulder", "Elbow", "Wrist"))
    ]
    rows = [
        {"clip": c, "frames": FRAMES, "fps": 30, "description": "walks", "content": "walk", "style": "old"}
        for c in "ab"
    ]
    collection = {
        "c/skeleton.json": json.dumps({"joints": joints, "parents": parents, "scale_m_per_unit": 0.01, "fps": 30}),
        "c/index.jsonl": "".join(json.dumps(r) + "\n" for r in rows),
        "c/clips.npz": _npz(**dict.fromkeys("ab", 100 * walk.positions[:, at])),
    }
    yield put("collection", "c", collection, share=4)
    listed = {
        "file_name": "walk.lmm.npz",
        "fps": 30,
        "units": "m",
        "up": "y",
        "subject": "1",
        "captions": ["walks"],
        "licence": "CC0",
    }
    (root / "saved").mkdir()
    walk.save(root / "saved" / "walk.lmm.npz")
    content = (root / "saved" / "walk.lmm.npz").read_bytes()
    beside = put(
        "sidecar", "walk.lmm.npz", {"metadata.jsonl": json.dumps(listed) + "\n", "walk.lmm.npz": content}, share=2
    )
    yield Sample(beside.format, beside.folder, beside.path, ("metadata.jsonl",), {}, share=2)

    def person(joints: int, t: int) -> Any:
        xyc = np.column_stack(
            [rng.uniform(100, 300, joints), np.linspace(50, 450, joints) + t, rng.uniform(0.3, 1, joints)]
        )
        return xyc.round(3)

    def frame(*people: Any) -> str:
        return json.dumps({"version": 1.3, "people": [{"pose_keypoints_2d": p.ravel().tolist()} for p in people]})

    names = [f"a_{t:012d}_keypoints.json" for t in range(12)]
    two = [frame(p := person(25, t), p + np.array([200, 0, 0])) for t in range(12)]
    known = {"format": "openpose-body25"}
    yield put("openpose", "o", {f"o/{n}": f for n, f in zip(names, two, strict=True)}, share=3, options=known)
    yield put.one("openpose", names[0], two[0], share=2, options=known)
    yield put.one("openpose", "o.zip", _zip(dict(zip(names, two, strict=True))), share=2, options=known)
    for kind in ("gz", "bz2", "xz"):
        yield put.one("openpose", f"o.tar.{kind}", _tar(dict(zip(names, two, strict=True)), kind), options=known)
    categories = [{"id": 1, "name": "person", "keypoints": list(table("coco_17").joints)}]
    images = [{"id": t, "file_name": f"v/{t:06d}.jpg", "width": 640, "height": 480} for t in range(FRAMES)]
    points = [person(17, t) for t in range(FRAMES)]
    found: list[dict[str, Any]] = [
        {"image_id": t, "category_id": 1, "keypoints": p.ravel().tolist()} for t, p in enumerate(points)
    ]
    yield put.one("coco", "results.json", json.dumps(found), share=2)
    for t, p in enumerate(points):
        p[:, 2] = 2
        found[t] |= {"id": t, "num_keypoints": 17, "track_id": t % 2, "keypoints": p.ravel().tolist()}
    yield put.one(
        "coco", "video.json", json.dumps({"images": images, "annotations": found, "categories": categories}), share=2
    )


def _written(put: _Writer, walk: Motion, rng: Rng) -> Iterator[Sample]:
    """What lmm's own writers make."""
    draws = np.stack([walk.positions, walk.positions + 0.01])
    uneven = walk.replace(times=np.cumsum(rng.uniform(0.02, 0.05, FRAMES)))
    forecast = walk.replace(context=walk.crop(0, 9), samples=draws)
    pixels = walk.replace(positions=walk.positions[..., :2] * (200, -200) + (300, 400), space="image", size=(640, 480))
    kept = put.root / "written"
    kept.mkdir(parents=True)
    for format, suffix, motion, library in (
        ("lmm", ".lmm.npz", walk, False), ("lmm", ".lmm.npz", uneven, False), ("lmm", ".lmm.npz", forecast, False),
        ("bvh", ".bvh", walk, False), ("trc", ".trc", walk, False), ("keypoint-csv", ".csv", walk, False),
        ("keypoint-csv", ".csv", pixels, False), ("netcdf", ".nc", walk, True), ("netcdf", ".nc", pixels, True),
        ("c3d", ".c3d", walk, True),
    ):  # fmt: skip
        with contextlib.suppress(LmmError):  # an extra is not installed, or nothing writes the format
            motion.save(kept / f"walk{suffix}")
            share = {"lmm": 2.0, "netcdf": 3.0}.get(format, 1.0)
            more = {
                "options": {"units": "m", **({"up": "y"} if format == "keypoint-csv" else {})},
                "library": library,
                "share": share,
            }
            yield put.one(format, f"walk{suffix}", (kept / f"walk{suffix}").read_bytes(), **more)


def _text_formats(put: _Writer, rng: Rng) -> Iterator[Sample]:
    """Formats that lmm does not write, by hand: BVH, ASF/AMC, UI-PRMD, Kinect, NTU."""

    def bone(name: str, length: float, *children: str) -> str:
        inner = " ".join(children) or "End Site\n{\nOFFSET 0 -5 0\n}\n"
        return f"JOINT {name}\n{{\nOFFSET {length} -20 0\nCHANNELS 3 Zrotation Yrotation Xrotation\n{inner}}}\n"

    limbs = [bone(f"{s}UpLeg", x, bone(f"{s}Leg", 0, bone(f"{s}Foot", 0))) for s, x in (("Left", 9), ("Right", -9))]
    limbs += [
        bone(f"{s}Arm", x, bone(f"{s}ForeArm", 0, bone(f"{s}Hand", 0))).replace("-20", "50", 1)
        for s, x in (("Left", 19), ("Right", -19))
    ]
    channels = 6 + 3 * 12
    motion = "\n".join(" ".join(f"{v:.4f}" for v in row) for row in rng.normal(0, 5, (FRAMES, channels)))
    head = "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\n"
    head += "CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation\n"
    yield put.one(
        "bvh",
        "a.bvh",
        f"{head}{''.join(limbs)}}}\nMOTION\nFrames: {FRAMES}\nFrame Time: 0.0083333\n{motion}\n",
        options={"units": "cm"},
        share=3,
    )

    bones = [
        f"{s}{b}" for s in "lr" for b in ("hipjoint", "femur", "tibia", "foot", "clavicle", "humerus", "radius", "hand")
    ]
    data = "".join(
        f"begin\nid {i}\nname {b}\n"
        f"direction {0.2 if b[0] == 'l' else -0.2} {0.9 if b[1:] == 'clavicle' else -0.9} 0\n"
        f"length {3 + i % 4}\naxis 0 0 20 XYZ\ndof rx ry rz\nend\n"
        for i, b in enumerate(bones, start=1)
    )
    chain = "".join(
        f"{' '.join(['root', *bones[k : k + 1]])}\n"
        + "".join(f"{a} {b}\n" for a, b in zip(bones[k : k + 3], bones[k + 1 : k + 4], strict=True))
        for k in (0, 4, 8, 12)
    )
    asf = ":version 1.10\n:name a\n:units\nmass 1.0\nlength 0.45\nangle deg\n:root\norder TX TY TZ RX RY RZ\naxis XYZ\n"
    asf += f"position 0 0 0\norientation 0 0 0\n:bonedata\n{data}:hierarchy\nbegin\n{chain}end\n"
    amc = "#!OML:ASF\n:FULLY-SPECIFIED\n:DEGREES\n"
    for t in range(FRAMES):
        amc += f"{t + 1}\nroot 0 17 {t / 10} 0 0 0\n" + "".join(
            f"{b} {' '.join(f'{v:.3f}' for v in rng.normal(0, 5, 3))}\n" for b in bones
        )
    yield put("amc", "07_01.amc", {"07_01.amc": amc, "07.asf": asf}, share=3)

    def table_of(columns: int, place: Any = 0.0) -> bytes:
        rows = rng.normal(0, 10, (FRAMES, columns)) + place
        return gzip.compress("".join(", ".join(f"{v:.4f}" for v in r) + "\n" for r in rows).encode(), mtime=0)

    vicon = np.column_stack([np.zeros(39), np.zeros(39), np.linspace(1700, 100, 39)]).ravel()
    yield put.one("uiprmd", "m01_s01_e01_positions.txt.gz", table_of(117, vicon), share=2)
    yield put(
        "uiprmd",
        "m01_s01_e02_positions.txt.gz",
        {"m01_s01_e02_positions.txt.gz": table_of(66), "m01_s01_e02_angles.txt.gz": table_of(66)},
        share=2,
    )

    joints = table("kinect_v2").joints
    log, ntu = ["Version0.1"], [str(FRAMES)]
    for t, pose in enumerate(rng.normal(0, 1, (FRAMES, 25, 3)).round(5)):
        groups = ",".join(f"({j},Tracked,{x},{y},{z},210.5,180.1)" for j, (x, y, z) in zip(joints, pose, strict=True))
        log.append(f"{t},1,{1000 + 33 * t},{groups}")
        ntu += ["1", "72057594037931101 0 1 1 1 1 0 0.019 -0.223 2", "25"]
        ntu += [f"{x} {y} {z} 277.4 191.8 1036.2 519.1 -0.2 0.05 0.98 0.01 2" for x, y, z in pose]
    yield put.one("kinect-v2", "101_18_0_1_1_stand.txt", "\n".join(log) + "\n", share=2, options={"source_fps": None})
    yield put.one("ntu-rgbd", "S001C002P003R002A013.skeleton", "\n".join(ntu) + "\n", share=3)


def _real(data: Path, root: Path) -> Iterator[Sample]:
    """Every sample file of the real data, or the first of many alike, cut to some 40 frames where the format allows."""
    put = _Writer(root)
    for path in [*sorted((data / "bvh_samples").glob("*.bvh")), *sorted((data / "cmu_bvh_samples").glob("*.bvh"))]:
        head, _, rest = path.read_text().partition("MOTION")
        lines = rest.splitlines()
        kept = lines[3 : 3 + FRAMES]
        cut = "\n".join([f"{head}MOTION", f"Frames: {len(kept)}", lines[2], *kept]) + "\n"
        yield put.one("bvh", path.name, cut, options={"units": "cm"}, share=0.2)
    for path in sorted((data / "cmu_bvh_samples").glob("*.amc")):
        lines = path.read_text().splitlines()
        starts = [i for i, line in enumerate(lines) if line.strip().isdigit()]
        asf = path.with_name(path.name.split("_")[0] + ".asf")
        cut = "\n".join(lines[: starts[min(FRAMES, len(starts) - 1)]]) + "\n"
        yield put("amc", path.name, {path.name: cut, asf.name: asf.read_bytes()}, share=0.7)
    for path in [*sorted((data / "trc_opensim").glob("*.trc")), *sorted(data.glob("*/*/*.trc"))]:
        lines = path.read_bytes().split(b"\n")
        yield put.one(
            "trc",
            path.name,
            b"\n".join(lines[:6] + lines[6:][-FRAMES:]) + b"\n",
            options={"units": "mm", "up": "y"},
            share=0.3,
        )
    for path in sorted(data.glob("*/csv/*.csv")):
        yield put.one("keypoint-csv", path.name, b"\n".join(path.read_bytes().split(b"\n")[: 1 + FRAMES]) + b"\n")
    for path in sorted((data / "irds_kinect_v2" / "raw_txt").glob("*.gz"))[:8]:
        lines = gzip.decompress(path.read_bytes()).split(b"\n")
        yield put.one(
            "kinect-v2",
            path.name,
            gzip.compress(b"\n".join(lines[: 1 + FRAMES]), 1, mtime=0),
            share=0.3,
            options={"source_fps": None},
        )
    for path in [
        *sorted(data.glob("uiprmd/*/vicon/positions/*.gz"))[::90],
        *sorted(data.glob("uiprmd/*/kinect/positions/*.gz"))[::90],
    ]:
        files = {}
        for p in (path, path.parent.parent / "angles" / path.name.replace("positions", "angles")):
            if p.is_file() and (p is path or "kinect" in p.parts):
                lines = gzip.decompress(p.read_bytes()).split(b"\n")
                files[p.name] = gzip.compress(b"\n".join(lines[:FRAMES]) + b"\n", 1, mtime=0)
        yield put("uiprmd", path.name, files, share=0.5)
    for folder in (*data.glob("openpose_*/*/"), *data.glob("pose2sim_balancing/openpose_body25b_json/cam0[13]_json/")):
        frames = sorted(folder.glob("*.json"))[:12]
        if frames:
            yield put("openpose", "o", {f"o/{p.name}": p.read_bytes() for p in frames})
            yield put.one("openpose", "o.zip", _zip({p.name: p.read_bytes() for p in frames}), share=0.5)
    for path in sorted((data / "body25_static_poses").glob("*.gz")):
        yield put.one("openpose", path.name, path.read_bytes(), share=0.1)
    for path in sorted((data / "coco17_keypoints").glob("*.json")):
        yield put.one("coco", path.name, path.read_bytes())
    for path in sorted(data.glob("c3d_samples/*/*.c3d")):
        large = path.stat().st_size > 200_000
        yield put.one(
            "c3d",
            path.name,
            path.read_bytes(),
            library=True,
            share=0.05 if large else 1.5,
            options={"up": "z"} if "racing" in path.name else {},
        )
    for name in ("cmu", "bandai"):
        yield _small_collection(put, data / name)
    others = [
        *sorted(data.glob("*/opensim/*.mot")),
        *sorted(data.glob("*/calibration/*")),
        *sorted(data.glob("coco17_keypoints/*.jpg")),
    ]
    for path in [
        *others,
        *sorted(data.glob("*/videos/cam01.mp4")),
        *sorted(data.glob("humanml3d_cmu/*.jsonl")),
        *sorted(data.glob("text/inaugural.txt")),
        data / "cmu" / "README.md",
    ]:
        yield put.one("other", path.name, path.read_bytes()[:40_000], share=0.1)


def _small_collection(put: _Writer, folder: Path) -> Sample:
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    shard = next(p for p in sorted(folder.glob("*.npz")))
    with np.load(shard) as arrays:
        kept = [r for r in rows if str(r.get("clip", r.get("trial"))) in arrays.files][:3]
        clips = {str(r.get("clip", r.get("trial"))): arrays[str(r.get("clip", r.get("trial")))][:FRAMES] for r in kept}
    index = "".join(json.dumps({**r, "frames": FRAMES}) + "\n" for r in kept)
    files = {
        f"{folder.name}/skeleton.json": (folder / "skeleton.json").read_bytes(),
        f"{folder.name}/index.jsonl": index,
    }
    return put("collection", folder.name, {**files, f"{folder.name}/a.npz": _npz(**clips)}, share=2)


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def _zip(files: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, content in files.items():
            z.writestr(name, content)
    return out.getvalue()


def _tar(files: dict[str, str], kind: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{kind}") as tar:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content.encode()))
    return out.getvalue()
