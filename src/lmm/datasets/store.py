"""The store: clean BODY_25 motion on disk, a folder of Parquet files that any engine can query.

    manifest.json            schema version, cleaning settings, counts, a checksum for each part
    clips/part-00000.parquet a row a clip (columns below)
    failures.jsonl           {file, reason} of each input that was refused

A store is finished when its manifest is there; parts are added whole. Columns: id, subject, source (format), path,
captions, labels (JSON), licence, split, fps, frames, space, width, height, start_s, positions (frames x 25 x dims,
row-major, NaN where missing), confidence and flags (frames x 25), quality (JSON), meta (JSON).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from lmm.core.errors import InputError, LmmError, one_line
from lmm.core.motion import Motion
from lmm.skeletons import table

SCHEMA_VERSION = 1
SPLITS = (("train", 0.8), ("val", 0.1), ("test", 0.1))
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "validation": "val", "dev": "val", "test": "test"}
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("subject", pa.string()),
        ("source", pa.string()),
        ("path", pa.string()),
        ("captions", pa.list_(pa.string())),
        ("labels", pa.string()),
        ("licence", pa.string()),
        ("split", pa.string()),
        ("fps", pa.float64()),
        ("frames", pa.int32()),
        ("space", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("start_s", pa.float64()),
        ("positions", pa.list_(pa.float32())),
        ("confidence", pa.list_(pa.float32())),
        ("flags", pa.list_(pa.uint8())),
        ("quality", pa.string()),
        ("meta", pa.string()),
    ]
)
ARRAYS = ("positions", "confidence", "flags")


def to_row(motion: Motion, clip_id: str, take: str, path: str, quality: dict[str, Any]) -> dict[str, Any]:
    """Return the store's row of a clean BODY_25 motion; without a subject in its meta, `take` stands for one.

    Raises LmmError if the meta gives a split of another name than train, val or test.
    """
    meta = dict(motion.meta)
    subject = str(meta.pop("subject", take))
    group = str(meta.pop("split_group", subject))
    given = meta.pop("split", None)
    if given is not None and str(given) not in SPLIT_NAMES:
        raise LmmError(
            f"split {one_line(given, 40)!r} is not train, val or test. Correct it in the list beside the file."
        )
    width, height = motion.size or (None, None)
    return {
        "id": clip_id,
        "subject": subject,
        "source": str(meta.pop("format", "")),
        "path": path,
        "captions": [str(c) for c in meta.pop("captions", [])],
        "labels": json.dumps(meta.pop("labels", {}), ensure_ascii=False, sort_keys=True),
        "licence": str(meta.pop("licence", "")),
        "split": split_of(group) if given is None else SPLIT_NAMES[str(given)],
        "fps": motion.fps,
        "frames": motion.num_frames,
        "space": motion.space,
        "width": width,
        "height": height,
        "start_s": motion.start_s,
        "positions": motion.positions.ravel(),
        "confidence": motion.confidence.ravel(),
        "flags": motion.flags.ravel(),
        "quality": json.dumps(quality, ensure_ascii=False),
        "meta": json.dumps(meta, ensure_ascii=False, sort_keys=True),
    }


def split_of(subject: str) -> str:
    """Return train, val or test (80, 10, 10 %) by a hash of the subject.

    Everything of one subject is on one side. Where a source does not say who was recorded, a take counts as a subject,
    and one person may be on both sides: the manifest counts such clips in ``subjects_unknown``.
    """
    share = int.from_bytes(hashlib.sha256(subject.encode()).digest()[:8], "big") / 2**64
    for name, width in SPLITS:
        if share < width:
            return name
        share -= width
    return SPLITS[-1][0]


def write_part(rows: list[dict[str, Any]], path: Path) -> str:
    """Write rows as one Parquet file at `path` (whole, by renaming) and return its SHA-256."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    columns = [pa.array([row[f.name] for row in rows], f.type) for f in SCHEMA]
    pq.write_table(pa.Table.from_arrays(columns, schema=SCHEMA), temporary, compression="zstd", row_group_size=256)
    checksum = sha256(temporary)
    temporary.replace(path)
    return checksum


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


class Store:
    """A finished store. Raises InputError if the folder is none, is unfinished, or its schema is not known."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            unfinished = (self.path / "plan.json").is_file()
            problem = (
                "is a store whose ingest was not finished" if unfinished else "is not a store (it has no manifest.json)"
            )
            raise InputError(
                path, problem, "Finish it with lmm ingest --resume" if unfinished else "Make one with lmm ingest"
            )
        try:
            self.manifest: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
            version = self.manifest["schema_version"]
            self._parts = [self.path / "clips" / p["file"] for p in self.manifest["parts"]]
        except (ValueError, KeyError, TypeError) as e:
            raise InputError(manifest, f"cannot be read ({e})", "Ingest again") from None
        if version != SCHEMA_VERSION:
            raise InputError(manifest, f"has schema version {version}, this lmm reads {SCHEMA_VERSION}", "Ingest again")

    def clips(self, split: str | None = None) -> pa.Table:
        """Return a table of all clips without their arrays, optionally of one split."""
        columns = [f.name for f in SCHEMA if f.name not in ARRAYS]
        where = None if split in (None, "all") else ds.field("split") == split
        return self._dataset().to_table(columns=columns, filter=where)

    def motions(self, split: str | None = None) -> Iterator[Motion]:
        """Yield the clips as Motions, in the store's order, reading one row group at a time."""
        for part in self._parts:
            file = pq.ParquetFile(self._whole(part))
            for group in range(file.num_row_groups):
                for row in file.read_row_group(group).to_batches():
                    for i in range(row.num_rows):
                        if split in (None, "all") or row["split"][i].as_py() == split:
                            yield _motion(row, i)

    def motion(self, clip_id: str) -> Motion:
        """Return one clip. Raises InputError if the store has none of this id."""
        found = self._dataset().to_table(filter=ds.field("id") == clip_id).to_batches()
        for batch in found:
            if batch.num_rows:
                return _motion(batch, 0)
        raise InputError(self.path, f"has no clip {clip_id!r}", "lmm info lists the clips of a store")

    def failures(self) -> list[dict[str, str]]:
        """Return {file, reason} of the inputs that were refused."""
        lines = (self.path / "failures.jsonl").read_text("utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    def verify(self) -> None:
        """Compare every part with its checksum. Raises InputError that names the first damaged part."""
        for part in self.manifest["parts"]:
            path = self.path / "clips" / part["file"]
            if sha256(self._whole(path)) != part["sha256"]:
                raise InputError(
                    path, "differs from its checksum in manifest.json", "The store is damaged: ingest again"
                )

    def _dataset(self) -> Any:
        return ds.dataset([str(self._whole(p)) for p in self._parts], schema=SCHEMA, format="parquet")

    def _whole(self, part: Path) -> Path:
        if not part.is_file():
            raise InputError(part, "is missing from the store", "The store is damaged: ingest again")
        return part


def _motion(row: pa.RecordBatch, i: int) -> Motion:
    def value(name: str) -> Any:
        return row[name][i].as_py()

    def array(name: str) -> Any:
        return row[name][i].values.to_numpy(zero_copy_only=False)

    frames = value("frames")
    meta = {
        **json.loads(value("meta")),
        "id": value("id"),
        "subject": value("subject"),
        "format": value("source"),
        "captions": value("captions"),
        "labels": json.loads(value("labels")),
        "licence": value("licence"),
        "split": value("split"),
    }
    return Motion(
        array("positions").reshape(frames, 25, -1),
        array("confidence").reshape(frames, 25),
        value("fps"),
        table("body_25").skeleton,
        value("space"),
        size=(value("width"), value("height")) if value("width") else None,
        start_s=value("start_s"),
        flags=array("flags").reshape(frames, 25),
        meta=meta,
    )
