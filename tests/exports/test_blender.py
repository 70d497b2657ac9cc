"""A real animator's program imports what is written, puts every joint where it was, and draws the figure."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lmm.datasets.synthetic import gait

BLENDER = shutil.which("blender")
SCRIPT = Path(__file__).parent / "in_blender.py"
FRAME = 40


@pytest.mark.slow
@pytest.mark.skipif(BLENDER is None, reason="needs Blender: apt-get install blender python3-numpy")
@pytest.mark.parametrize("ending", [".bvh", ".glb"])
def test_blender_imports(tmp_path: Path, ending: str) -> None:
    walk = gait(3.0)
    (path,) = walk.save(tmp_path / f"walk{ending}")
    picture = tmp_path / "frame.png"
    command = [BLENDER, "--background", "--python-exit-code", "1", "--python", SCRIPT, "--", path, picture]
    told = subprocess.run([*command, str(FRAME / walk.fps)], capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-2000:]
    (line,) = (x for x in told.stdout.splitlines() if x.startswith("JOINTS "))
    joints = json.loads(line.removeprefix("JOINTS "))
    for name in walk.skeleton.joints:
        x, y, z = walk.joint(name)[FRAME]
        np.testing.assert_allclose(joints[name], (x, -z, y), atol=0.002)
    if ending == ".glb":  # bones of a BVH are not drawn
        drawn = np.asarray(Image.open(picture).convert("RGB"), float)
        assert drawn.std() > 5
