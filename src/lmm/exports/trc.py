"""`.trc`, the marker file of OpenSim and Pose2Sim: positions of a world motion, metres, y up; confidence is not kept.

Layout: OpenSim documentation, "Marker (.trc) Files". Numbers have the digits that give the same float32 back; a missing
position is three empty cells. Time is the motion's clock, frames count from 1.
"""

from __future__ import annotations

from pathlib import Path

from lmm.core.motion import Motion
from lmm.exports import needs, one_motion


@one_motion(".trc")
def encode(motion: Motion, path: Path) -> bytes:
    """Return the file. Raises InputError for motions that are not in metres."""
    needs(motion, path, "world")
    joints = [" ".join(j.split()) for j in motion.skeleton.joints]
    rate, frames = f"{motion.fps:.10g}", motion.num_frames
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{' '.join(path.name.split())}",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame\tOrigNumFrames",
        f"{rate}\t{rate}\t{frames}\t{len(joints)}\tm\t{rate}\t1\t{frames}",
        "Frame#\tTime\t" + "\t\t\t".join(joints) + "\t\t",
        "\t\t" + "\t".join(f"{axis}{i}" for i in range(1, len(joints) + 1) for axis in "XYZ"),
        "",
    ]
    for t, (row, time) in enumerate(
        zip(motion.positions.reshape(frames, -1).tolist(), motion.clock, strict=True), start=1
    ):
        lines.append(f"{t}\t{time:.9g}\t" + "\t".join("" if v != v else f"{v:.9g}" for v in row))
    return ("\n".join(lines) + "\n").encode()
