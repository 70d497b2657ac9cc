"""`.nc`, a data set of `movement`: `position` (time, space, keypoint, individual) and `confidence`, with attributes.

Dimension names are those of movement 0.17. Unit, vertical, skeleton, image size, start and meta are added as attributes
that begin with ``lmm_``, so that `lmm.sources.netcdf` gives the same motion back, but for flags, samples and context.
Needs the extra ``interop``.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

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
    attributes: dict[str, Any] = {
        "ds_type": "poses",
        "source_software": "lmm",
        "source_file": str(motion.meta.get("source", "")),
        "fps": motion.fps,
        "time_unit": "seconds",
        "lmm_space": motion.space,
        "lmm_start_s": motion.start_s,
        "lmm_skeleton": json.dumps({"name": s.name, "parents": s.parents, "pairs": s.pairs, "table": s.table}),
        "lmm_meta": json.dumps({k: v for k, v in motion.meta.items() if k not in reading}),
    }
    if motion.space == "world":
        attributes |= {"lmm_units": "m", "lmm_up": "y"}
    if motion.size:
        attributes["lmm_size"] = json.dumps(motion.size)
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
        attrs=attributes,
    )
    out = io.BytesIO()
    data.to_netcdf(out, engine="h5netcdf")
    return out.getvalue()
