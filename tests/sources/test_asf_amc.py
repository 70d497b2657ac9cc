"""ASF/AMC: a bone computed by hand, and CMU's trials against the arrays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import lmm
from lmm.core.errors import InputError
from lmm.core.motion import Motion
from lmm.pipeline.resample import resample
from lmm.sources import asf_amc

ASF = """:version 1.10
:units
  length 0.45
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name lfemur
    direction 0 -1 0
    length 7
    axis 0 0 30 XYZ
    dof rx rz
  end
  begin
    id 2
    name ltibia
    direction 0 -1 0
    length 8
    axis 0 0 0 XYZ
    dof rx
  end
:hierarchy
  begin
    root lfemur
    lfemur ltibia
  end
"""


def rotation(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return {
        "x": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def test_bones_turn_in_their_own_axes(tmp_path: Path) -> None:
    bones, unit_m, degrees = asf_amc.parse_asf(ASF, tmp_path)
    assert unit_m == pytest.approx(0.0254 / 0.45)
    assert degrees
    amc = ":FULLY-SPECIFIED\n:DEGREES\n1\nroot 1 2 3 0 0 90\nlfemur 20 40\nltibia -50\n"
    values, in_degrees = asf_amc.parse_amc(amc, bones, degrees, tmp_path)
    got = asf_amc.joint_positions(bones, values, in_degrees)[0]
    c = rotation("z", 30)
    femur = rotation("z", 90) @ c @ rotation("z", 40) @ rotation("x", 20) @ c.T
    knee = np.array([1, 2, 3]) + femur @ (0, -7, 0)
    ankle = knee + femur @ rotation("x", -50) @ (0, -8, 0)
    np.testing.assert_allclose(got, [[1, 2, 3], knee, ankle], atol=1e-12)


SPINE = "root Hips lowerback Spine upperback Spine1 thorax Neck lowerneck Neck1 upperneck Head head HeadEnd".split()
LIMBS = "hipjoint UpLeg femur Leg tibia Foot foot ToeBase toes ToeEnd clavicle Arm humerus ForeArm radius Hand".split()
NAMES = dict(zip(SPINE[::2], SPINE[1::2], strict=True)) | {
    f"{side[0].lower()}{bone}": f"{side}{joint}"
    for side in ("Left", "Right")
    for bone, joint in zip(LIMBS[::2], LIMBS[1::2], strict=True)
}


@pytest.mark.parametrize("trial", ["11_01", "16_09", "131_04"])
def test_equals_the_arrays(shared_data: Path, trial: str, constant_bones: Callable[[Motion, Motion], Motion]) -> None:
    """All joints within 5 mm after the same 12 Hz filter, rate, and constant bone lengths (measured: within 1 mm)."""
    read = lmm.read(shared_data / f"cmu_bvh_samples/{trial}.amc")
    assert read.fps == 120
    ours = constant_bones(resample(read, 30), read)
    theirs = lmm.read(shared_data / "cmu", person=trial)
    assert ours.num_frames == theirs.num_frames
    for bone, joint in NAMES.items():
        assert np.linalg.norm(ours.joint(bone) - theirs.joint(joint), axis=1).max() < 0.005, bone


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("lfemur 20 40", "lfemur 20"), "1 numbers, 2 were"),
        (("lfemur 20 40", "rfemur 20 40"), "unknown bone"),
        (("ltibia -50\n", ""), "lacks bones"),
        (("20 40", "20 x"), "line 5"),
    ],
)
def test_damage_is_told_in_one_line(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    (tmp_path / "1.asf").write_text(ASF)
    path = tmp_path / "1_01.amc"
    path.write_text(":FULLY-SPECIFIED\n:DEGREES\n1\nroot 1 2 3 0 0 90\nlfemur 20 40\nltibia -50\n".replace(*change))
    with pytest.raises(InputError, match=says):
        lmm.read(path, source_fps=120)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "1_01.amc"
    path.write_text(":FULLY-SPECIFIED\n:DEGREES\n1\nroot 1 2 3 0 0 90\nlfemur 20 40\nltibia -50\n")
    with pytest.raises(InputError, match="ASF"):
        lmm.read(path, source_fps=120)
    (tmp_path / "1.asf").write_text(ASF)
    with pytest.raises(InputError, match="--source-fps"):
        lmm.read(path)
