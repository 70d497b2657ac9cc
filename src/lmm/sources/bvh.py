"""Biovision hierarchy (BVH): any hierarchy, any channel order, names mapped by table.

A BVH says its frame time but neither its unit nor its vertical axis. Known releases (CMU's) are recognised by their
hierarchy; else the unit comes from the user, and the vertical from the body. Format: M. Meredith and S. Maddock,
"Motion Capture File Formats Explained", University of Sheffield, 2001.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import InputError
from lmm.core.geometry import euler_rotation, forward_kinematics
from lmm.core.motion import MAX_FRAMES, Motion, make_motion
from lmm.core.skeleton import TO
from lmm.skeletons import BODY_25
from lmm.sources import cmu
from lmm.sources.files import Input, is_text
from lmm.sources.labels import HIERARCHIES, labelled_skeleton, turn_y_up
from lmm.sources.numbers import bounded, parse_block
from lmm.sources.reading import UNITS_M, Options, source

MAX_NODES = 2_000
_CHANNEL = re.compile(r"([XYZ])(position|rotation)", re.I)
LEAST_REACH, MOST_REACH = 50.0, 2000.0  # of all bones of a person together, in centimetres
MIN_END_SITE = 1e-6  # an end site shorter than this carries no place of its own, in file units


@dataclass
class Node:
    """One joint or end site: offset in file units, channels such as ``("X", "rotation")`` in the written order."""

    name: str
    parent: int
    offset: NDArray[Any]
    channels: list[tuple[str, str]] = field(default_factory=list)
    end_site: bool = False


def sniff(given: Input) -> bool:
    head = given.head[:2000]
    return (
        is_text(head)
        and b"HIERARCHY" in head[:200].upper()
        and head.decode("utf-8-sig", "replace").split()[:1] == ["HIERARCHY"]
    )


@source("bvh", "Biovision hierarchy", sniff, extensions=(".bvh",))
def read(given: Input, options: Options, item: str | None = None) -> list[Motion]:
    path = given.path
    nodes, fps, values = parse(given.text(), path)
    names = [n.name for n in nodes]
    notes: list[str] = []
    known = cmu.release(names, np.array([n.offset for n in nodes]))
    if known:
        notes += known.notes
        for name, offset in known.repairs.items():
            nodes[names.index(name)].offset = offset
    positions = joint_positions(nodes, values)
    ours = _is_ours(nodes)
    keep = [
        j
        for j, n in enumerate(nodes)
        if not (n.end_site and np.abs(n.offset).max() < MIN_END_SITE) and not (ours and n.name not in BODY_25.index)
    ]
    parents = tuple(_above(j, nodes, keep) for j in keep)
    positions = positions[:, keep]
    skeleton, table = labelled_skeleton("bvh", [names[j] for j in keep], parents, HIERARCHIES, path)
    positions, how = turn_y_up(positions, skeleton.joints, table, options.up, "y" if known or ours else None, path)
    unit = options.units or (known and known.unit_m) or (UNITS_M["cm"] if ours else None)
    if not unit:
        raise InputError(path, "does not say its unit", _unit_remedy(positions, skeleton.joints, table))
    posed = cmu.t_pose_frames(values[:, 3:6]) if known else 0
    if posed:
        positions = positions[posed:]
        notes.append(f"{posed} frame(s) of T-pose before the motion were dropped")
    fps = options.rate(path, fps)
    meta: dict[str, Any] = {"up": how, "unit_m": unit, "notes": notes}
    if known:
        meta |= {"licence": cmu.LICENCE, **cmu.subject_of(path.name)}
    return [make_motion(positions * unit, fps, skeleton, "world", start_s=posed / fps, meta=meta)]


def _is_ours(nodes: list[Node]) -> bool:
    """Return whether joints are named as `lmm.exports.bvh` names BODY_25, and bones are a person's in centimetres."""
    plain = [n.name.removesuffix("_End") for n in nodes]
    reach = float(sum(np.abs(n.offset).max(initial=0) for n in nodes))
    return (
        nodes[0].name in BODY_25.index
        and all(part in BODY_25.index for n in plain for part in n.split(TO))
        and LEAST_REACH <= reach <= MOST_REACH
    )


def _above(joint: int, nodes: list[Node], keep: list[int]) -> int:
    """Return where in `keep` the nearest kept node above a joint is, -1 if there is none."""
    joint = nodes[joint].parent
    while joint >= 0 and joint not in keep:
        joint = nodes[joint].parent
    return keep.index(joint) if joint >= 0 else -1


def parse(text: str, path: Path) -> tuple[list[Node], float, NDArray[Any]]:
    """Return the nodes, the frame rate, and the channel values (T, channels).

    Raises InputError that names the line at fault.
    """
    match = re.search(r"^[ \t]*MOTION\b[ \t]*\r?$", text, re.M)
    if not match:
        raise InputError(path, "has no line MOTION", "The file may be cut: export it again")
    nodes = _hierarchy(text[: match.start()], path)
    header = re.match(r"\s*Frames:\s*(\d{1,9})\s+Frame\s+Time:\s*([-+.\deE]+)[ \t]*\r?\n?", text[match.end() :])
    if not header:
        raise InputError(path, "has no readable 'Frames:' and 'Frame Time:' after MOTION", "Export it again")
    try:
        frame_time = float(header[2])
    except ValueError:
        frame_time = float("nan")
    if not 1e-4 <= frame_time <= 10:
        raise InputError(
            path,
            f"has an impossible frame time of {header[2]!r} s",
            "Correct the line 'Frame Time:', or export it again",
        )
    frames, channels = int(header[1]), sum(len(n.channels) for n in nodes)
    if not 0 < frames <= MAX_FRAMES or channels == 0:
        raise InputError(
            path, f"claims {frames} frames of {channels} channels", f"Between 1 and {MAX_FRAMES} frames can be read"
        )
    start = match.end() + header.end()
    values = parse_block(text[start:], channels, path, first_line=text.count("\n", 0, start) + 1)
    if len(values) != frames:
        raise InputError(
            path,
            f"says {frames} frames but holds {len(values)}",
            "The file is cut or was edited: export it again, or correct the line 'Frames:'",
        )
    bounded(values, "a channel value", path)
    bounded([n.offset for n in nodes], "an offset", path)
    return nodes, _rate(header[2], frame_time), values


def joint_positions(nodes: list[Node], values: NDArray[Any]) -> NDArray[Any]:
    """Return positions (T, nodes, 3) in file units by forward kinematics.

    Rotations multiply in the written channel order. A node with position channels takes them *instead of* its offset
    (as the release by Bandai Namco and all exporters of root motion mean it).
    """
    frames = len(values)
    rotations = np.empty((frames, len(nodes), 3, 3))
    offsets = np.empty((frames, len(nodes), 3))
    at = 0
    for j, node in enumerate(nodes):
        offsets[:, j] = node.offset
        order, angles = "", []
        for axis, kind in node.channels:
            if kind == "position":
                offsets[:, j, "XYZ".index(axis)] = values[:, at]
            else:
                order += axis.lower()
                angles.append(values[:, at])
            at += 1
        rotations[:, j] = euler_rotation(order, np.deg2rad(np.stack(angles, -1))) if order else np.eye(3)
    return forward_kinematics(tuple(n.parent for n in nodes), rotations, offsets, offsets[:, 0])


def _rate(printed: str, frame_time: float) -> float:
    """Return the whole rate (or NTSC's, x 1000/1001) that the printed digits of the frame time round, else 1 / time."""
    digits, _, exponent = printed.lower().partition("e")
    half_digit = 0.5 * 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    for rate in (round(1 / frame_time), round(1.001 / frame_time) / 1.001):
        if rate > 0 and abs(1 / rate - frame_time) <= 2 * half_digit:
            return rate
    return 1 / frame_time


def _hierarchy(text: str, path: Path) -> list[Node]:
    nodes: list[Node] = []
    stack: list[int] = []
    pending: Node | None = None

    def fail(line: int, what: str) -> InputError:
        return InputError(path, f"line {line}: {what}", "The hierarchy may be damaged: export it again")

    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words or words[0].upper() == "HIERARCHY":
            continue
        head = words[0].upper()
        if head in ("ROOT", "JOINT") or (head == "END" and len(words) > 1 and words[1].upper() == "SITE"):
            end = head == "END"
            if (head == "ROOT") != (not nodes) or (end and not stack):
                raise fail(number, "one ROOT was expected, and all else inside it")
            parent = stack[-1] if stack else -1
            if parent >= 0 and nodes[parent].end_site:
                raise fail(number, "nothing can stand inside an End Site")
            name = f"{nodes[parent].name}_End" if end else " ".join(words[1:])
            if not name:
                raise fail(number, "a joint has no name")
            pending = Node(name, parent, np.zeros(3), end_site=end)
            if len(nodes) >= MAX_NODES or len(stack) > 200:
                raise fail(number, f"more than {MAX_NODES} joints, or nested too deeply")
            nodes.append(pending)
        elif head == "{":
            if pending is None:
                raise fail(number, "'{' without a joint before it")
            stack.append(len(nodes) - 1)
            pending = None
        elif head == "}":
            if not stack:
                raise fail(number, "'}' without '{'")
            stack.pop()
        elif head == "OFFSET" and stack:
            try:
                nodes[stack[-1]].offset = np.array([float(w) for w in words[1:]])
            except ValueError:
                raise fail(number, "OFFSET needs three numbers") from None
            if nodes[stack[-1]].offset.shape != (3,) or not np.isfinite(nodes[stack[-1]].offset).all():
                raise fail(number, "OFFSET needs three numbers")
        elif head == "CHANNELS" and stack:
            found = [_CHANNEL.fullmatch(w) for w in words[2:]]
            if (
                not words[1:2]
                or not words[1].isdecimal()
                or int(words[1]) != len(found)
                or None in found
                or len(found) > 6
            ):
                raise fail(number, "CHANNELS needs a count and as many of Xposition ... Zrotation")
            nodes[stack[-1]].channels = [(m[1].upper(), m[2].lower()) for m in found if m]
        else:
            raise fail(number, f"{' '.join(words)[:40]!r} was not expected")
    if stack or not nodes:
        raise InputError(path, "has a hierarchy that does not end", "The file may be cut: export it again")
    return nodes


def _unit_remedy(positions: NDArray[Any], joints: tuple[str, ...], table: Any) -> str:
    """Name --units, and what each unit would make of the height of the hips above the lowest joint."""
    where = table.resolve(joints)
    rule = table.rules["MidHip"][0]
    hips = [where[i] for i in rule.inputs if i in where]
    if not hips:
        return "Give --units cm, m, mm or in"
    height = float(np.median(positions[:, hips, 1].mean(axis=1) - positions[..., 1].min(axis=1)))
    tries = ", ".join(f"{height * m:.2f} m with {u}" for u, m in UNITS_M.items())
    return f"Give --units (the hips would stand at {tries})"
