"""What is forecast in a test: clips of a store, the cuts at which their futures begin, and batches of the windows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError, MotionError
from lmm.core.motion import Motion
from lmm.datasets.store import Store
from lmm.datasets.windows import Window, collate, cut_window
from lmm.pipeline.cameras import Camera, views
from lmm.pipeline.features import FeatureSpec, Layout
from lmm.pipeline.resample import resample

Array = NDArray[Any]
FPS = 15.0
CONTEXT, HORIZON = 120, 30  # frames: 8 s and 2 s
SPLITS = ("train", "val", "test", "all")
MAX_VIEWS = 36
BATCH = 64  # windows: what `seconds_per_window` is measured on


@dataclass(frozen=True)
class Case:
    """A horizon that begins at frame `begin` of clip number `clip`, seen by camera number `view`."""

    clip: int
    begin: int
    view: int

    @property
    def context(self) -> int:
        return min(self.begin, CONTEXT)


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows with contexts of one length, in body lengths.

    clips (B,) · context (B, T, 75), valid (B, T), observed (B, T, 25), T a multiple of 5 · truth (B, H, 75) ·
    recorded (B, H + 1, 25): what counts, from the last frame of the context on · on_hips (B,): centred on the mid-hip ·
    scale (B,): one body length in the motion's unit
    """

    cases: Sequence[Case]
    windows: Sequence[Window]
    clips: Array
    context: Array
    valid: Array
    observed: Array
    truth: Array
    recorded: Array
    on_hips: Array
    scale: Array


@dataclass(frozen=True, eq=False)
class Corpus:
    """The clips of one split of a store at 15 frames a second, with what sees them."""

    motions: Sequence[Motion]
    layout: Layout
    cameras: Sequence[Camera]
    name: str
    split: str

    @classmethod
    def of(cls, path: Path, split: str, layout: Layout | None, num_views: int) -> Corpus:
        """Return the clips of a split; `layout` by default xyz for clips in metres, xyc for those in pixels.

        Raises InputError if the store has no clips in the split, or they do not fit the layout or the rate.
        """
        if split not in SPLITS:
            raise InputError(f"--split {split}", "is not known", f"Choose one of {', '.join(SPLITS)}")
        if not 1 <= num_views <= MAX_VIEWS:
            raise InputError(f"--views {num_views}", "is out of range", f"Choose 1 to {MAX_VIEWS} cameras")
        store = Store(path)
        motions = list(store.motions(split))
        if not motions:
            found = Counter(store.clips()["split"].to_pylist())
            has = ", ".join(f"{n} in {s}" for s, n in sorted(found.items())) or "none at all"
            raise InputError(path, f"has no clips in split {split}", f"It has {has}: choose one with --split")
        slow = min(m.fps for m in motions)
        if slow < FPS:
            raise InputError(path, f"has clips of {slow:g} FPS", f"Forecasters need {FPS:g}: ingest with --fps 15")
        spaces = {m.space for m in motions}
        if layout == "xyz" and spaces != {"world"}:
            raise InputError(path, "has clips in pixels, and xyz needs metres", "Choose --layout xyc")
        layout = layout or ("xyz" if spaces == {"world"} else "xyc")
        cameras = views(num_views if layout == "xyc" and "world" in spaces else 1)
        return cls([resample(m, FPS) for m in motions], layout, cameras, path.resolve().name, split)

    @property
    def subjects(self) -> list[str]:
        return [str(m.meta["subject"]) for m in self.motions]

    @property
    def ids(self) -> list[str]:
        return [str(m.meta["id"]) for m in self.motions]

    def cases(self, first: int, stride: int, least: int) -> list[Case]:
        """Return a case at frames first, first + stride ... of every clip and view that leaves `least` frames.

        Raises InputError if no clip is long enough.
        """
        found = [
            Case(clip, begin, view)
            for clip, motion in enumerate(self.motions)
            for begin in range(first, motion.num_frames - least + 1, stride)
            for view in range(len(self.cameras) if motion.space == "world" else 1)
        ]
        if not found:
            raise InputError(
                f"{self.name}, split {self.split}",
                f"no clip lasts the {(first + least) / FPS:.3g} s that are needed",
                "Choose another split or store",
            )
        return found

    def cut(self, case: Case, horizon: int) -> Window:
        """Return the window in body lengths. Raises MotionError if its context cannot be centred or measured."""
        motion, camera = self.motions[case.clip], self.cameras[case.view]
        return cut_window(motion, case.begin, FeatureSpec(layout=self.layout), CONTEXT, horizon, camera)

    def batches(self, cases: Sequence[Case], horizon: int) -> Batches:
        """Return the cases' windows in batches."""
        return Batches(cases, lambda case: self.cut(case, horizon), horizon, [])


@dataclass(frozen=True, eq=False)
class Batches:
    """Batches of cases as they are asked for; `refused` are those whose context could not be centred or measured."""

    cases: Sequence[Case]
    cut: Callable[[Case], Window]
    horizon: int
    refused: list[Case]

    def __iter__(self) -> Iterator[Batch]:
        by_length: dict[int, list[Case]] = defaultdict(list)
        for case in self.cases:
            by_length[case.context].append(case)
        for group in by_length.values():
            for start in range(0, len(group), BATCH):
                pairs = [(c, w) for c in group[start : start + BATCH] if (w := self._try(c)) is not None]
                if pairs:
                    yield batch_of([c for c, _ in pairs], [w for _, w in pairs], self.horizon)

    @property
    def kept(self) -> list[Case]:
        """The cases that were not refused, once the batches were asked for."""
        refused = set(self.refused)
        return [c for c in self.cases if c not in refused]

    def __len__(self) -> int:
        return sum(-(-n // BATCH) for n in Counter(c.context for c in self.cases).values())

    def _try(self, case: Case) -> Window | None:
        try:
            return self.cut(case)
        except MotionError:
            self.refused.append(case)
            return None


def batch_of(cases: Sequence[Case], windows: Sequence[Window], horizon: int) -> Batch:
    """Return windows made with an identity spec side by side."""
    b = collate(windows, horizon)
    now = np.stack([w.recorded[w.context_frames - 1] for w in windows])
    transforms = [w.features.transform for w in windows]
    return Batch(
        cases,
        windows,
        np.array([c.clip for c in cases]),
        b.context,
        b.valid,
        b.observed,
        b.target,
        np.concatenate([now[:, None], b.recorded], axis=1),
        np.array([t.centre == "MidHip" for t in transforms]),
        np.array([t.scale for t in transforms]),
    )
