"""BVH against bvhio on every sample, against the CMU arrays, and with every trap of the READMEs."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError, NotMotionError
from lmm.core.motion import Motion
from lmm.pipeline.resample import resample
from lmm.sources import bvh

BODY = """HIERARCHY
ROOT Hips
{
  OFFSET 5 5 5
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
%s
}
MOTION
Frames:\t%d
Frame Time:\t%s
%s
"""


def body_text(
    frames: int = 2, frame_time: str = ".0333333", row: str | None = None, prefix: str = "", unit: float = 1.0
) -> str:
    """A small Y-up figure, facing +z, whose root OFFSET must not be added to its position channels."""

    def chain(names: list[str], offsets: list[tuple[float, float, float]], depth: int = 1) -> str:
        pad = "  " * depth
        inner = (
            chain(names[1:], offsets[1:], depth + 1)
            if len(names) > 1
            else f"{pad}  End Site\n{pad}  {{\n{pad}    OFFSET 0 0 0\n{pad}  }}\n"
        )
        o = " ".join(str(x * unit) for x in offsets[0])
        channels = "CHANNELS 3 Zrotation Yrotation Xrotation"
        return f"{pad}JOINT {prefix}{names[0]}\n{pad}{{\n{pad}  OFFSET {o}\n{pad}  {channels}\n{inner}{pad}}}\n"

    parts = []
    for side, x in (("Left", 1), ("Right", -1)):
        parts.append(
            chain(
                [f"{side}UpLeg", f"{side}Leg", f"{side}Foot", f"{side}ToeBase"],
                [(10 * x, 0, 0), (0, -40, 0), (0, -40, 0), (0, -8, 14)],
            )
        )
        parts.append(
            chain([f"{side}Arm", f"{side}ForeArm", f"{side}Hand"], [(18 * x, 50, 0), (28 * x, 0, 0), (25 * x, 0, 0)])
        )
    channels = 6 + 3 * 14
    rows = "\n".join(row or " ".join(["0", str(90 * unit), "0"] + ["0"] * (channels - 3)) for _ in range(frames))
    return BODY % ("".join(parts), frames, frame_time, rows)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "a.bvh"
    path.write_text(text)
    return path


def test_offset_of_the_root_is_not_added_to_its_channels_and_empty_end_sites_are_no_joints(tmp_path: Path) -> None:
    m = lmm.read(write(tmp_path, body_text()), units="cm")
    np.testing.assert_allclose(m.joint("Hips")[0], (0, 0.9, 0), atol=1e-6)
    np.testing.assert_allclose(m.joint("LeftFoot")[0], (0.1, 0.1, 0), atol=1e-6)
    assert not any(j.endswith("_End") for j in m.skeleton.joints)
    assert m.fps == 30


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        (".0333333", 30),
        ("0.0083333", 120),
        ("0.008333", 120),
        ("0.00833333", 120),
        ("0.0166667", 60),
        ("0.04", 25),
        ("0.033367", 29.97003),
        ("0.01", 100),
        ("0.0142874", 69.99174),
    ],
)
def test_frame_times_are_rounded_rates(tmp_path: Path, text: str, rate: float) -> None:
    assert lmm.read(write(tmp_path, body_text(frame_time=text)), units="cm").fps == pytest.approx(rate, abs=2e-4)


@pytest.mark.parametrize("prefix", ["", "mixamorig:", "mixamorig1:", "Character01:"])
def test_prefixes_of_names_do_not_matter(tmp_path: Path, prefix: str) -> None:
    m = lmm.to_body25(lmm.read(write(tmp_path, body_text(prefix=prefix)), units="cm"))
    np.testing.assert_allclose(m.joint("RWrist")[0], (-0.71, 1.4, 0), atol=1e-6)
    np.testing.assert_allclose(m.joint("MidHip")[0], (0, 0.9, 0), atol=1e-6)
    assert np.isfinite(m.joint("LBigToe")).all()


def test_an_unknown_unit_is_an_error_that_shows_what_each_would_mean(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--units.*0\.88 m with cm"):
        lmm.read(write(tmp_path, body_text()))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("Frames:\t2", "Frames:\t3"), "says 3 frames but holds 2"),
        (("Frames:\t2", "Frames:\t999999999"), "claims 999999999"),
        (("Frame Time:\t.0333333", "Frame Time:\t0"), "frame time"),
        (("Frame Time:\t.0333333", "Frame Time:\te.-"), "frame time"),
        (("MOTION", "MOTOIN"), "MOTION"),
        (("OFFSET 5 5 5", "OFFSET 5 5"), "line 4"),
        (("OFFSET 5 5 5", "OFFSET 5 nan 5"), "line 4"),
        (("CHANNELS 6", "CHANNELS 7"), "line 5"),
        (("0 90.0 0", "0 abc 0"), "abc"),
        (("0 90.0 0", "0 nan 0"), "not finite"),
        (("0 90.0 0", "0 90.0 0 7"), "numbers"),
        (("JOINT LeftUpLeg", "JOINT"), "no name"),
        (("OFFSET 0 0 0", "OFFSET 0 0 0\nJOINT Inner\n{\nOFFSET 1 1 1\n}"), "inside an End Site"),
        (("ROOT Hips\n{", "ROOT Hips\n"), "line"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    text = body_text()
    assert change[0] in text
    with pytest.raises(InputError, match=says) as error:
        lmm.read(write(tmp_path, text.replace(change[0], change[1], 1)), units="cm")
    assert "\n" not in str(error.value)


def test_names_of_no_body_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotMotionError, match="no names of a human body"):
        lmm.read(write(tmp_path, body_text().replace("Left", "Claw").replace("Right", "Fang")), units="cm")


def samples(shared_data: Path) -> list[Path]:
    return sorted([*shared_data.glob("cmu_bvh_samples/*.bvh"), *shared_data.glob("bvh_samples/*.bvh")])


def test_equals_bvhio_on_every_sample(shared_data: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bvhio
    for path in samples(shared_data):
        nodes, _, values = bvh.parse(path.read_text(), path)
        ours = bvh.joint_positions(nodes, values)
        where = {n.name: j for j, n in enumerate(nodes)}
        peer = bvhio.readAsBvh(str(path))
        assert peer.FrameCount == len(values), path.name
        root = bvhio.convertBvhToHierarchy(peer.Root)
        for frame in sorted({0, 1, len(values) // 2, len(values) - 1}):
            root.loadPose(frame)
            for joint, _, _ in root.layout():
                got = ours[frame, where[joint.Name]]
                expected = np.array([*joint.PositionWorld])
                np.testing.assert_allclose(got, expected, atol=2e-3, err_msg=f"{path.name} {joint.Name} frame {frame}")


LEGS = ("MidHip", "RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle")
UPPER = ("Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist")


def test_cmu_bvh_equals_the_arrays(shared_data: Path, constant_bones: Callable[[Motion, Motion], Motion]) -> None:
    """Hips and legs within 5 mm; the upper body within 12 mm: a ratio repairs its thorax, not the actor's ASF."""
    index = {r["trial"]: r for r in map(json.loads, (shared_data / "cmu/index.jsonl").read_text().splitlines())}
    compared = 0
    for path in sorted(shared_data.glob("cmu_bvh_samples/*_??.bvh")):
        trial = path.stem
        read = lmm.read(path)
        # the arrays start where the recording is free of faults
        read = read.crop(index[trial]["source_first_frame"] - 1 - (trial == "07_12"), read.num_frames)
        ours = lmm.to_body25(constant_bones(resample(read, 30), read))
        theirs = lmm.to_body25(lmm.read(shared_data / "cmu", person=trial))
        assert ours.num_frames == theirs.num_frames
        for names, limit in ((LEGS, 0.005), (UPPER, 0.012)):
            for name in names:
                error = np.sort(np.linalg.norm(ours.joint(name) - theirs.joint(name), axis=1))
                spikes = 2 * index[trial]["repaired_source_frames"]  # repaired in the arrays, and spread by the filter
                assert error[len(error) - 1 - spikes] < limit, (trial, name)
        compared += 1
    assert compared == 30


def test_the_missing_thorax_is_told(shared_data: Path) -> None:
    m = lmm.read(shared_data / "cmu_bvh_samples/07_01.bvh")
    assert any("thorax has zero length" in n for n in m.meta["notes"])
    assert any("T-pose" in n for n in m.meta["notes"])


def test_pymo_in_inches(shared_data: Path) -> None:
    m = lmm.to_body25(lmm.read(next(shared_data.glob("bvh_samples/*.bvh")), units="in"))
    assert m.fps == 120
    assert np.median(m.joint("MidHip")[:, 1]) == pytest.approx(0.89, abs=0.05)


def test_retargeted_release_and_its_true_rate(shared_data: Path) -> None:
    m = lmm.read(shared_data / "cmu_bvh_samples/60_10_retargeted.bvh")
    assert m.fps == 60  # files.jsonl beside it says so; the file itself claims 120
    assert m.skeleton.table == "daz"
