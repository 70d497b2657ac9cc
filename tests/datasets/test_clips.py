"""Clips are parts of motions' features, the same in any process; what was not recorded does not count."""

from __future__ import annotations

import numpy as np
import pytest

from lmm.core.errors import MotionError
from lmm.core.motion import INTERPOLATED, Motion
from lmm.datasets.clips import ClipSampler, FeatureClips, paced
from lmm.datasets.synthetic import gait
from lmm.pipeline.codec_features import Decoder, Placement, encode, mirror
from lmm.skeletons import BODY_25


def walks() -> list[Motion]:
    return [gait(seconds=s, seed=int(s), turn_deg_per_s=15) for s in (2, 7, 9)]


def sampler(**changes: float) -> ClipSampler:
    return ClipSampler([FeatureClips(walks())], [1.0], frames=128, **changes)


def test_a_draw_is_a_function_of_its_seed_alone() -> None:
    one, other = sampler(), sampler()
    for i in range(5):
        np.testing.assert_array_equal(one.draw((3, 4, i))[0], other.draw((3, 4, i))[0])
    assert not np.array_equal(one.draw((3, 4, 0))[0], one.draw((3, 5, 0))[0])
    whole = one.batch(1, 2, 6)
    np.testing.assert_array_equal(one.batch(1, 2, 6, slice(1, None, 2)).features, whole.features[1::2])


def test_clips_are_parts_of_the_motions_and_their_mirrors() -> None:
    every = [encode(m)[0] for m in walks()]
    plain, mirrored = 0, 0
    for i in range(40):
        clip, counts = sampler(speed=0).draw((0, i))
        assert counts.all()
        for values in every:
            for turned, is_mirror in ((values, False), (mirror(values), True)):
                starts = range(len(values) - len(clip) + 1)
                if any(np.array_equal(clip[1:], turned[s + 1 : s + len(clip)]) for s in starts):
                    plain, mirrored = plain + (not is_mirror), mirrored + is_mirror
        assert clip[0, :3].tolist() == [0, 0, 0]
    assert plain + mirrored == 40
    assert 8 < mirrored < 32


def test_short_clips_are_filled_with_their_last_frame_that_does_not_count() -> None:
    clips = FeatureClips(walks()[:1])
    batch = ClipSampler([clips], [1.0], 128, speed=0, mirrored=0).batch(0, 0, 2)
    assert batch.features.shape == (2, 128, 49)
    assert batch.counts.sum(axis=1).tolist() == [60, 60]
    np.testing.assert_array_equal(batch.features[:, 60:], np.repeat(batch.features[:, 59:60], 68, axis=1))


def test_frames_that_were_not_recorded_do_not_count() -> None:
    motion = walks()[0]
    flags = motion.flags.copy()
    flags[10:13, BODY_25.index["RKnee"]] = INTERPOLATED
    flags[20, BODY_25.index["Nose"]] = INTERPOLATED  # which the codec does not see
    counts = FeatureClips([motion.replace(flags=flags)]).counts[0]
    assert np.flatnonzero(~counts).tolist() == [10, 11, 12]
    with pytest.raises(MotionError):
        FeatureClips([])


@pytest.mark.parametrize("pace", [0.9, 1.07])
def test_another_pace_goes_the_same_way(pace: float) -> None:
    values = encode(walks()[2])[0]
    fast, counts = paced(values, np.ones(len(values), bool), pace)
    assert len(fast) == len(counts) == int((len(values) - 1) / pace) + 1
    there, path = (Decoder(Placement()).push(v) for v in (values, fast))
    at = np.arange(len(fast)) * pace
    for frame in (30, 100, len(fast) - 2):
        expected = np.array([np.interp(at[frame], np.arange(len(there)), x) for x in there.reshape(len(there), -1).T])
        np.testing.assert_allclose(path[frame].reshape(-1), expected, atol=0.03)
