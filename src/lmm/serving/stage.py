"""What the viewer shows, before any browser: motions on one floor and one clock, and the lines and dots of a moment.

A `Stage` holds an `Actor` for each motion. `picture` gives what is seen at a `Look`: a time, and what the user chose.
All on the stage is in metres, y up, the floor at y = 0; all times are seconds of the stage's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm.core.errors import MotionError
from lmm.core.motion import Motion
from lmm.pipeline.convert import to_body25
from lmm.rendering.draw import FAN, PAPER, SIDES, Colour, mix, opacity, palette
from lmm.rendering.scene import (
    LEFT,
    MAX_MOTIONS,
    MIDDLE,
    RIGHT,
    THREE_QUARTER,
    Camera,
    Panel,
    Segment,
    Track,
    body_points,
    build,
    facing,
    frame,
    sides,
)

Array = NDArray[Any]

HEIGHT_M = 1.7  # how tall people stand whose motion knows no metres
GAP_M = 0.6  # between motions that stand side by side
HELD = 0.3  # opacity of a motion that has ended
THIN, WAY = 0.45, 0.35  # opacity of forecast samples, and of the ways on the floor
LOW, HIGH = SIDES[RIGHT], SIDES[LEFT]  # colours of confidence 0 and 1
WAY_POINTS = 300


@dataclass(frozen=True)
class Place:
    """From a motion's own coordinates to the stage: (points - origin) · scale, downwards flipped."""

    origin: tuple[float, float, float]
    scale: float
    downwards: bool

    def __call__(self, points: Array) -> Array:
        """Return `points` (..., D) on the stage, (..., 3); two-dimensional ones stand upright in the plane z = 0."""
        out = np.zeros((*points.shape[:-1], 3), np.float64)
        out[..., : points.shape[-1]] = points
        out = (out - self.origin) * self.scale
        if self.downwards:
            out[..., 1] *= -1
        return out


@dataclass(frozen=True)
class Actor:
    """One motion on the stage.

    motion   as it was read
    name     unlike all others' on the stage
    panel    what `rendering` makes of it alone, on BODY_25 where it can be
    place    where it stands
    delay    seconds of the stage's clock at the track's time 0
    """

    motion: Motion
    name: str
    panel: Panel
    place: Place
    delay: float

    @property
    def track(self) -> Track:
        return self.panel.tracks[0]

    @property
    def start(self) -> float:
        return self.track.start + self.delay

    @property
    def end(self) -> float:
        return self.track.end + self.delay

    @property
    def height(self) -> float:
        """The body's size on the stage, metres."""
        return self.track.size * self.place.scale

    @property
    def num_samples(self) -> int:
        """How many draws of a forecast are shown; 1 if it is none."""
        samples = self.track.segments[-1].samples
        return 1 if samples is None else len(samples)

    @property
    def source(self) -> tuple[Any, Any]:
        """The recording: its motions share a clock and a place."""
        meta = self.motion.meta
        return meta.get("source", self.name), meta.get("item")

    @property
    def who(self) -> tuple[Any, ...]:
        """The person, also in forecasts of the recording: they wear the same colours."""
        return *self.source, self.motion.meta.get("person")

    @cached_property
    def breadth(self) -> tuple[float, float]:
        """Least and greatest x that the body comes to, metres."""
        x = np.concatenate([self.place(s.centre)[:, 0] for s in self.track.segments])
        return float(x.min()) - 0.4 * self.height, float(x.max()) + 0.4 * self.height

    @property
    def recorded(self) -> Motion:
        """What was recorded, as it was read: of a forecast, its context."""
        return self.motion.context or self.motion

    def when(self, second: float) -> float:
        """Return the stage's time of a second of the motion's own clock."""
        return second - _begin(self.panel) + self.delay

    def until(self, time: float) -> Motion:
        """Return what was recorded up to `time`. Raises MotionError if nothing was."""
        frames = int((self.track.segments[0].times + self.delay <= time + 1e-6).sum())
        if not frames:
            raise MotionError(f"{self.name} begins at {self.start:.2f} s; choose a later time.")
        return self.recorded.crop(0, frames)


@dataclass(frozen=True)
class Look:
    """What the user chose to see: for each actor, whether it is shown and which sample of a forecast is bold."""

    time: float
    shown: tuple[bool, ...]
    samples: tuple[int, ...]
    by_confidence: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Lines:
    """Line segments: `ends` float32 (N, 2, 3) metres, `colours` uint8 (N, 2, 3)."""

    ends: Array
    colours: Array


@dataclass(frozen=True)
class Picture:
    """A moment: bones and the bones of all samples, and joints (M, 3) with their colours uint8 (M, 3)."""

    bones: Lines
    fan: Lines
    joints: Array
    joint_colours: Array


class Stage:
    """The motions that are shown. Adding one replaces `actors`, so that a reader never sees half of it."""

    def __init__(self) -> None:
        self.actors: tuple[Actor, ...] = ()

    def add(self, motion: Motion) -> Actor:
        """Put a motion on the stage; return the actor. Raises MotionError if the stage is full."""
        if len(self.actors) >= MAX_MOTIONS:
            raise MotionError(f"the viewer shows at most {MAX_MOTIONS} motions; start it again with others.")
        shown = to_body25(motion) if motion.skeleton.table else motion
        panel = build([shown]).panels[0]
        names = [a.name for a in self.actors]
        title = panel.tracks[0].title
        name = next(n for n in (title, *(f"{title} ({i})" for i in range(2, MAX_MOTIONS + 2))) if n not in names)
        actor = Actor(motion, name, panel, _place(panel), 0.0)
        of_source = [a for a in self.actors if a.source == actor.source and a.motion.space == motion.space]
        place = of_source[0].place if of_source else actor.place
        actor = replace(actor, place=place, delay=_begin(panel) - (_zero(of_source[0]) if of_source else _first(panel)))
        self.actors = (*self.actors, actor)
        return actor

    def grow(self, actor: Actor, motion: Motion) -> Actor:
        """Let an actor show a longer motion in the place of its own; return the actor as it is then."""
        grown = replace(actor, motion=motion, panel=build([motion]).panels[0])
        self.actors = tuple(grown if a.name == actor.name else a for a in self.actors)
        return grown

    @property
    def start(self) -> float:
        return min((a.start for a in self.actors), default=0.0)

    @property
    def end(self) -> float:
        return max((a.end for a in self.actors), default=0.0)

    @property
    def rate(self) -> float:
        """The finest frame rate, frames per second."""
        return max((s.motion.fps for a in self.actors for s in a.track.segments), default=1.0)

    @property
    def height(self) -> float:
        """The largest body, metres."""
        return max((a.height for a in self.actors), default=HEIGHT_M)

    def camera(self, apart: bool) -> Camera:
        """Return the camera that sees all that happens."""
        if not self.actors:
            return frame(np.array([[-1.0, 0, -1], [1, HEIGHT_M, 1]]), True, THREE_QUARTER)
        places = [
            a.place(body_points([a.track], following=False)) + shift
            for a, shift in zip(self.actors, shifts(self.actors, apart), strict=True)
        ]
        solid = [a.track.segments[0].motion for a in self.actors if a.panel.num_dims == 3]
        return frame(np.concatenate(places), True, facing(solid) + THREE_QUARTER if solid else 0.0)


def shifts(actors: Sequence[Actor], apart: bool) -> Array:
    """Return how far each actor is moved, (A, 3) metres along x, so that recordings stand side by side if `apart`."""
    sources = list(dict.fromkeys(a.source for a in actors))
    moved, edge = dict.fromkeys(sources, 0.0), 0.0
    for i, source in enumerate(sources if apart else []):
        low = min(a.breadth[0] for a in actors if a.source == source)
        high = max(a.breadth[1] for a in actors if a.source == source)
        moved[source] = edge - low if i else 0.0
        edge = high + moved[source] + GAP_M
    return np.array([[moved[a.source], 0, 0] for a in actors])


def palettes(actors: Sequence[Actor], apart: bool) -> list[tuple[Colour, Colour, Colour]]:
    """Return each actor's right, left and middle colours: a person alone wears those of the sides, several a hue each.

    With `apart`, people of different recordings are told apart by where they stand.
    """
    out = []
    for actor in actors:
        together = [a.who for a in actors if not apart or a.source == actor.source]
        people = list(dict.fromkeys(together))
        out.append(palette(people.index(actor.who), len(people)))
    return out


def picture(actors: Sequence[Actor], look: Look) -> Picture:
    """Return what is seen of `actors`."""
    bones, fans, joints, colours = [], [], [], []
    recorded = {a.who for a, shown in zip(actors, look.shown, strict=True) if shown and not a.track.forecast}
    worn, moved = palettes(actors, look.apart), shifts(actors, look.apart)
    for actor, shown, sample, wear, shift in zip(actors, look.shown, look.samples, worn, moved, strict=True):
        segment, f, lasts = actor.track.at(look.time - actor.delay)
        early = not lasts and look.time < actor.start
        known = actor.track.forecast and not segment.forecast and actor.who in recorded
        if not shown or early or known:  # a forecast's context is not drawn over its recording
            continue
        at = _points(segment, f, sample)
        tint = _joint_colours(segment, f, wear, look.by_confidence, 1.0 if lasts else HELD)
        placed = actor.place(at) + shift
        seen = np.isfinite(at).all(axis=1)
        bones.append(_bones(placed, tint, segment))
        joints.append(placed[seen])
        colours.append(tint[seen])
        if segment.samples is not None and lasts:
            fan = mix(PAPER, FAN if wear == SIDES else wear[MIDDLE], THIN)
            fans.append(_fan(actor.place(segment.samples[:, f]) + shift, segment, fan))
    return Picture(_joined(bones), _joined(fans), _stacked(joints, (3,), np.float32), _stacked(colours, (3,), np.uint8))


def ways(actors: Sequence[Actor], look: Look) -> Lines:
    """Return the ways of the bodies on the floor, for motions in three dimensions; the look's time does not matter."""
    out = []
    worn, moved = palettes(actors, look.apart), shifts(actors, look.apart)
    for actor, shown, sample, wear, shift in zip(actors, look.shown, look.samples, worn, moved, strict=True):
        for s in actor.track.segments if shown and actor.panel.num_dims == 3 else ():
            centre = s.centre if s.samples is None else _centre(s.samples[sample])
            way = actor.place(centre[:: max(1, len(centre) // WAY_POINTS)]) + shift
            way[:, 1] = 0
            ends = np.stack([way[:-1], way[1:]], axis=1)
            out.append(_one_colour(ends, mix(PAPER, FAN if s.forecast else wear[MIDDLE], WAY)))
    return _joined(out)


def _points(segment: Segment, f: int, sample: int) -> Array:
    """Return the pose (J, D) of a frame; of a forecast, in one of its samples."""
    return np.asarray(segment.motion.positions[f] if segment.samples is None else segment.samples[sample, f])


def _centre(positions: Array) -> Array:
    """Return the mean of the joints that are there, in frames (T, J, D) that have any."""
    known = np.isfinite(positions)
    some = known.any(axis=(1, 2))
    return np.asarray(np.where(known, positions, 0).sum(axis=1)[some] / known.sum(axis=1)[some])


def _joint_colours(segment: Segment, f: int, wear: tuple[Colour, ...], by_confidence: bool, fade: float) -> Array:
    """Return colours uint8 (J, 3): of the sides, paler where confidence is low, or of confidence itself."""
    confidence = segment.motion.confidence[f][:, None].astype(np.float64)
    if by_confidence:
        full, alpha = np.array(LOW) + (np.array(HIGH) - LOW) * confidence, np.full_like(confidence, fade)
    else:
        full = np.array(wear, np.float64)[list(sides(segment.motion.skeleton))]
        alpha = np.array([[opacity(float(c)) * fade] for c in segment.motion.confidence[f]])
    return np.asarray(np.rint(PAPER + (full - PAPER) * alpha), np.uint8)


def _bones(placed: Array, tint: Array, segment: Segment) -> Lines:
    """Return the bones with both ends seen, each from its joints' places (J, 3) and in the child's colour."""
    index = np.array(segment.motion.skeleton.bones, int).reshape(-1, 2)
    index = index[np.isfinite(placed[index]).all(axis=(1, 2))]
    return Lines(placed[index], np.repeat(tint[index[:, 1:]], 2, axis=1))


def _fan(placed: Array, segment: Segment, colour: Colour) -> Lines:
    """Return the bones of all samples (S, J, 3) in one colour."""
    index = np.array(segment.motion.skeleton.bones, int).reshape(-1, 2)
    ends = placed[:, index].reshape(-1, 2, 3)
    return _one_colour(ends[np.isfinite(ends).all(axis=(1, 2))], colour)


def _one_colour(ends: Array, colour: Colour) -> Lines:
    return Lines(ends, np.broadcast_to(np.array(colour, np.uint8), ends.shape))


def _joined(parts: list[Lines]) -> Lines:
    return Lines(
        _stacked([p.ends for p in parts], (2, 3), np.float32), _stacked([p.colours for p in parts], (2, 3), np.uint8)
    )


def _stacked(parts: list[Array], shape: tuple[int, ...], dtype: type) -> Array:
    return np.asarray(np.concatenate([np.empty((0, *shape)), *parts]), dtype)


def _place(panel: Panel) -> Place:
    """Return where a motion that is first of its recording stands: on the floor, metres kept, others near x = 0."""
    motion, size = panel.tracks[0].segments[0].motion, panel.tracks[0].size
    downwards, metric = motion.space == "image", motion.space == "world"
    x = 0.0 if metric else float(np.nanmedian(motion.positions[..., 0]))
    floor = panel.floor
    if floor is None:
        floor = float(np.nanpercentile(motion.positions[..., 1], 99.5 if downwards else 0.5))
    return Place((x, floor, 0.0), 1.0 if metric else HEIGHT_M / size, downwards)


def _begin(panel: Panel) -> float:
    """Return the second of the motion's own clock that its track calls 0."""
    first = panel.tracks[0].segments[0]
    return float(first.motion.clock[0] - first.times[0])


def _first(panel: Panel) -> float:
    """Return the second of the motion's own clock with which it begins."""
    return float(panel.tracks[0].segments[0].motion.clock[0])


def _zero(actor: Actor) -> float:
    """Return the second of the recording's clock that the stage calls 0."""
    return _begin(actor.panel) - actor.delay
