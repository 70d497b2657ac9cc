"""`.nc`, a data set of `movement`: `position` (time, space, keypoint, individual) and `confidence`, with attributes.

Dimension names are those of movement 0.17. Unit, vertical, skeleton, image size, start and meta are JSON in the
attribute ``lmm``, so that `lmm.sources.netcdf` gives the same motion back, but for flags, samples and context.
Needs the extra ``interop``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np

from lmm.core.errors import InputError
from lmm.core.motion import Motion
from lmm.exports import one_motion


@one_motion(".nc")
def encode(motion: Motion, path: Path) -> bytes:
    """Return the file. Raises InputError where xarray, h5netcdf or h5py is not installed."""
    try:
        import h5netcdf  # noqa: F401
        import h5py  # noqa: F401
        import xarray
    except ImportError as e:
        raise InputError(
            path,
            f"needs the Python packages xarray, h5netcdf and h5py ({e})",
            "Install them with: pip install 'large-movement-model[interop]'",
        ) from None
    s = motion.skeleton
    reading = ("format", "source", "person", "item", "up")
    kept = {
        "space": motion.space,
        "start_s": motion.start_s,
        "skeleton": {"name": s.name, "parents": s.parents, "pairs": s.pairs, "table": s.table},
        "meta": {k: v for k, v in motion.meta.items() if k not in reading},
        **({"units": "m", "up": "y"} if motion.space == "world" else {}),
        **({"size": motion.size} if motion.size else {}),
    }
    data = xarray.Dataset(
        {
            "position": (("time", "space", "keypoint", "individual"), np.moveaxis(motion.positions, 1, 2)[..., None]),
            "confidence": (("time", "keypoint", "individual"), motion.confidence[..., None]),
        },
        coords={
            "time": motion.clock,
            "space": list("xyz"[: motion.num_dims]),
            "keypoint": list(s.joints),
            "individual": [str(motion.meta.get("person", "0"))],
        },
        attrs={
            "ds_type": "poses",
            "source_software": "lmm",
            "source_file": str(motion.meta.get("source", "")),
            "fps": motion.fps,
            "time_unit": "seconds",
            "lmm": json.dumps(kept),
        },
    )
    out = io.BytesIO()
    data.to_netcdf(out, engine="h5netcdf")
    return out.getvalue()
