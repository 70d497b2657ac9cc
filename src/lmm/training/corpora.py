"""The stores of a config → its clips for training and for validation, store by store, and what is told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from lmm.core.errors import LmmError
from lmm.core.motion import Motion
from lmm.datasets.store import Store
from lmm.training.config import Corpus


class Clips(Protocol):
    """What a kind of model makes of the motions of one store."""

    @property
    def num_frames(self) -> int: ...


C = TypeVar("C", bound=Clips)


@dataclass(frozen=True, eq=False)
class Corpora(Generic[C]):
    """Clips of each store that has some, with its weight; `names` say how many were trained on."""

    train: list[C] = field(default_factory=list)
    val: list[C] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    val_weights: list[float] = field(default_factory=list)
    licences: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)


def read_corpora(
    data: Iterable[Corpus], split: Callable[[Motion], str], clips: Callable[[list[Motion]], C]
) -> Corpora[C]:
    """Return the `clips` of motions whose `split` is train, and of those where it is val. Licences are those of train.

    Raises LmmError if a store has none to train on, or none of them has any to validate on.
    """
    out: Corpora[C] = Corpora()
    for corpus in data:
        sides: dict[str, list[Motion]] = {"train": [], "val": []}
        for motion in Store(corpus.store).motions():
            sides.get(split(motion), []).append(motion)
        if not sides["train"]:
            raise LmmError(f"{corpus.store}: no clip of this store is in split train.")
        out.train.append(clips(sides["train"]))
        out.weights.append(corpus.weight)
        if sides["val"] and corpus.val:
            out.val.append(clips(sides["val"]))
            out.val_weights.append(corpus.weight)
        out.licences.update(str(m.meta["licence"]) for m in sides["train"])
        count = f"{len(sides['train'])} clips, {out.train[-1].num_frames} frames"
        out.names.append(f"{Path(corpus.store).name} ({count})")
    if not out.val:
        raise LmmError("no store has clips of split val: name some with val_subjects, to choose the weights by.")
    return out
