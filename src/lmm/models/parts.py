"""Models whose parts learn apart: which of them do, and how fast."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn


class Parted(nn.Module):
    """A module that has named parts, `parts`; a subclass tells their parameters."""

    parts: ClassVar[tuple[str, ...]]

    def part(self, name: str) -> list[nn.Parameter]:
        """Return the parameters of one of `parts`. Raises LmmError if there is none of that name."""
        raise NotImplementedError

    def train_only(self, *parts: str) -> None:
        """Let these of `parts` learn and freeze the others. Raises LmmError if there is no such part."""
        learn = {name: self.part(name) for name in parts}
        for name in self.parts:
            for p in self.part(name):
                p.requires_grad_(name in learn)

    def parameter_groups(self, rates: dict[str, float] | None = None) -> list[dict[str, Any]]:
        """Return what an optimizer takes: a group a part that learns, with its ``scale`` of the learning rate."""
        groups = []
        for name in self.parts:
            learning = [p for p in self.part(name) if p.requires_grad]
            if learning:
                groups.append({"name": name, "params": learning, "scale": (rates or {}).get(name, 1.0)})
        return groups
