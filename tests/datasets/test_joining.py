"""Joined clips: their places, their pace, and that nobody jumps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm.analysis.repetitions import repetitions as counted
from lmm.core.errors import MotionError
from lmm.core.motion import Motion
from lmm.datasets.joining import LEAST_PAUSE_S, joined, layout
from lmm.datasets.synthetic import gait, repetitions, standing
from lmm.datasets.windows import mirror


def slow(clips: list[Motion], speeds: list[float], pauses: list[float]) -> np.ndarray:
    """Frame by frame, joint by joint."""
    fps = clips[0].fps
    frames: list[np.ndarray] = []
    for k, clip in enumerate(clips):
        n = max(3, round(clip.num_frames / speeds[k]))
        moved = []
        for i in range(n):
            t = i * (clip.num_frames - 1) / (n - 1)
            low = min(int(t), clip.num_frames - 2)
            a, b = (clip.positions[f].astype(float) for f in (low, low + 1))
            moved.append(a + (t - low) * (b - a))
        if k:
            last = frames[-1]
            shift = last[8] - moved[0][8]
            shift[1] = 0
            moved = [m + shift for m in moved]
            pause = max(round(LEAST_PAUSE_S * fps), round(pauses[k] * fps))
            for i in range(1, pause + 1):
                s = i / (pause + 1)
                frames.append(last + (3 * s**2 - 2 * s**3) * (moved[0] - last))
        frames += moved
    return np.stack(frames)


def test_against_a_slow_reference():
    clips = [gait(seconds=2), standing(seconds=1), mirror(gait(seconds=1.5))]
    speeds, pauses = [0.8, 1.25, 1.0], [9.0, 0.0, 0.7]
    made = joined(clips, speeds, pauses)
    assert np.allclose(made.positions, slow(clips, speeds, pauses), atol=1e-5)
    begins = layout([c.num_frames for c in clips], 30.0, speeds, pauses)
    assert begins[0] == (0, 75)
    assert sum(begins[-1]) == made.num_frames


@given(
    st.lists(st.tuples(st.integers(2, 90), st.floats(0.5, 2), st.floats(0, 2)), min_size=1, max_size=12),
    st.sampled_from([15.0, 30.0]),
)
def test_the_layout_has_room_for_every_clip_and_pause(clips, fps):
    placed = layout([c[0] for c in clips], fps, [c[1] for c in clips], [c[2] for c in clips])
    end = 0
    for k, ((begin, frames), (count, speed, pause)) in enumerate(zip(placed, clips, strict=True)):
        assert frames == max(3, round(count / speed))
        assert begin - end == (max(round(LEAST_PAUSE_S * fps), round(pause * fps)) if k else 0)
        end = begin + frames


def test_repetitions_are_counted_again():
    clip = repetitions(1)
    for count in (1, 3, 7):
        made = joined([clip] * count, [1.1] * count, [0.4] * count)
        assert len(counted(made)) == count


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(MotionError, match="one frame rate"):
        joined([standing(1.0, 30.0), standing(1.0, 15.0)], [1, 1], [0, 0])
