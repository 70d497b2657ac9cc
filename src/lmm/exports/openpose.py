"""`.zip`, OpenPose JSON as `--write_json` makes it: one file a frame, of BODY_25 in pixels.

Unzipped, it is the folder that tools around OpenPose expect; `lmm.sources.openpose` reads either. Frames are numbered
from the motion's start. OpenPose has no clock: the frame rate must be given again when the files are read.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np

from lmm.core.errors import InputError
from lmm.core.motion import Motion
from lmm.exports import needs, one_motion
from lmm.skeletons import table

VERSION = 1.3
OTHERS = tuple(f"{part}_keypoints_{d}d" for d in (2, 3) for part in ("pose", "face", "hand_left", "hand_right"))[1:]


@one_motion(".zip")
def encode(motion: Motion, path: Path) -> bytes:
    """Return the zip. Raises InputError for other spaces and skeletons, and where the clock is irregular."""
    needs(motion, path, "image")
    if motion.skeleton.joints != table("body_25").joints:
        raise InputError(
            path,
            f"OpenPose files hold BODY_25, this motion has the skeleton {motion.skeleton.name}",
            "Convert it with --to body_25",
        )
    if motion.times is not None:
        raise InputError(
            path, "OpenPose files have no time stamps, and this motion's clock is irregular", "Resample it with --fps"
        )
    points = np.concatenate([motion.positions, motion.confidence[..., None]], axis=-1)
    points[~motion.observed] = 0
    first = max(0, round(motion.start_s * motion.fps))
    stem = "_".join(path.name[:-4].split()) or "motion"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, frame in enumerate(points, start=first):
            person = {
                "person_id": [-1],
                "pose_keypoints_2d": [float(str(v)) for v in frame.ravel()],
                **{k: [] for k in OTHERS},
            }
            people = [person] if frame[:, 2].any() else []
            entry = zipfile.ZipInfo(f"{stem}_{number:012d}_keypoints.json")
            archive.writestr(entry, json.dumps({"version": VERSION, "people": people}), zipfile.ZIP_DEFLATED)
    return out.getvalue()
