"""Skeletons and their correspondence to BODY_25, as data: one TOML file in `tables/` each.

A table names *concepts* (the joints or markers that it knows), the labels under which files carry them, and one rule,
or several in order of preference, for each BODY_25 joint. The rules' mathematics is in `lmm.pipeline.convert`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib import resources
from typing import Any

from lmm.core.errors import LmmError
from lmm.core.skeleton import Skeleton


@dataclass(frozen=True)
class Rule:
    """How one BODY_25 joint follows from source joints.

    kind         joint (copy), midpoint (mean of the inputs), absent, or a rule of `lmm.pipeline.convert.RULES`
    inputs       concept names
    parameters   numbers of the rule
    factor       multiplies the inputs' lowest confidence
    synthesised  True where the place is estimated, not measured: such joints are scored apart
    why          the reason, shown in docs/conversions.md
    """

    kind: str
    inputs: tuple[str, ...]
    parameters: dict[str, float] = field(default_factory=dict)
    factor: float = 1.0
    synthesised: bool = False
    why: str = ""


@dataclass(frozen=True)
class Table:
    """One source skeleton: its joints (fixed order) or concepts (by label) and the rules to BODY_25."""

    name: str
    title: str
    origin: str
    tried: bool
    note: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    pairs: tuple[tuple[str, str], ...]
    aliases: dict[str, tuple[str, ...]]
    below_above: tuple[tuple[str, str], ...]
    rules: dict[str, tuple[Rule, ...]]

    @cached_property
    def skeleton(self) -> Skeleton:
        """The skeleton of a table with a fixed joint order."""
        if not self.joints:
            raise LmmError(f"table {self.name} has no joint order of its own.")
        return Skeleton(self.name, self.joints, self.parents, self.pairs, self.name)

    def resolve(self, labels: Iterable[str]) -> dict[str, int]:
        """Return concept → index into `labels`; prefixes, case and punctuation of labels do not matter."""
        where: dict[str, int] = {}
        for i, label in enumerate(labels):
            where.setdefault(normal_label(label), i)
        found: dict[str, int] = {}
        for concept, names in self.aliases.items():
            for name in (concept, *names):
                if normal_label(name) in where:
                    found[concept] = where[normal_label(name)]
                    break
        return found

    def resolvable(self, labels: Iterable[str]) -> list[str]:
        """Return the BODY_25 joints that some rule can make from joints or markers called `labels`."""
        have = self.resolve(labels)
        return [
            target
            for target, rules in self.rules.items()
            if any(r.kind != "absent" and all(i in have for i in r.inputs) for r in rules)
        ]


@lru_cache(maxsize=1 << 14)
def normal_label(label: str) -> str:
    """``Daphnee:ASISr`` → ``asisr``, ``mixamorig:LeftUpLeg`` → ``leftupleg``, ``R.Knee.Lat`` → ``rkneelat``."""
    plain = re.sub(r"[^a-z0-9]", "", label.rsplit(":", 1)[-1].lower())
    return re.sub(r"^mixamorig\d*", "", plain) or label.lower()


@cache
def table(name: str) -> Table:
    """Return the table `name`; raises LmmError if there is none."""
    file = resources.files(__name__) / "tables" / f"{name}.toml"
    if name not in table_names():
        raise LmmError(f"there is no skeleton table {name!r}; there are {', '.join(table_names())}.")
    return _parse(name, tomllib.loads(file.read_text("utf-8")))


@cache
def table_names() -> tuple[str, ...]:
    """Return the names of all tables, sorted."""
    folder = resources.files(__name__) / "tables"
    return tuple(sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml")))


def best_table(labels: Iterable[str], candidates: Iterable[str], at_least: int = 4) -> Table | None:
    """Return the candidate table that makes the most BODY_25 joints from `labels`, the first of equals, or None."""
    names = list(labels)
    scored = [(len(table(c).resolvable(names)), -i, c) for i, c in enumerate(candidates)]
    score, _, name = max(scored)
    return table(name) if score >= at_least else None


BODY_25: Skeleton


def _parse(name: str, data: dict[str, Any]) -> Table:
    joints = tuple(data.get("joints", ()))
    parent_names = data.get("parents", {})
    parents = tuple(joints.index(parent_names[j]) if parent_names.get(j) else -1 for j in joints)
    aliases = {c: tuple(names) for c, names in data.get("aliases", {}).items()} or dict.fromkeys(joints, ())
    rules: dict[str, tuple[Rule, ...]] = {}
    for target, spec in data["body_25"].items():
        rules[target] = tuple(_rule(s) for s in (spec if isinstance(spec, list) else [spec]))
    unknown = {i for rs in rules.values() for r in rs for i in r.inputs if i not in aliases}
    if unknown:
        raise LmmError(f"table {name}: rules use unknown joints {sorted(unknown)}.")
    return Table(
        name=name,
        title=data["title"],
        origin=data["origin"],
        tried=data["tried"],
        note=data.get("note", ""),
        joints=joints,
        parents=parents,
        pairs=tuple((r, l_) for r, l_ in data.get("pairs", ())),
        aliases=aliases,
        below_above=tuple((a, b) for a, b in data.get("below_above", ())),
        rules=rules,
    )


def _rule(spec: str | dict[str, Any]) -> Rule:
    if isinstance(spec, str):
        return Rule("joint", (spec,))
    spec = dict(spec)
    fixed = {k: spec.pop(k) for k in ("factor", "synthesised", "why") if k in spec}
    if "absent" in spec:
        return Rule("absent", (), why=spec["absent"])
    kind = next(k for k, v in spec.items() if isinstance(v, (list, str)))
    inputs = spec.pop(kind)
    return Rule(kind, (inputs,) if isinstance(inputs, str) else tuple(inputs), parameters=spec, **fixed)


def __getattr__(name: str) -> Any:
    if name == "BODY_25":
        return table("body_25").skeleton
    raise AttributeError(name)
