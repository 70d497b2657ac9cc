"""A model's card: what it is, what it was trained on, under which licence, and what it cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lmm.models.network import Network

if TYPE_CHECKING:
    from lmm.training.forecaster import ForecasterConfig, RunData


def write_card(folder: Path, network: Network, config: ForecasterConfig, data: RunData, state: dict[str, Any]) -> None:
    """Write README.md of a model's folder, in the form that the Hugging Face hub reads."""
    c, told = network.config, data.told
    closed = "NC" in c.licence
    head = {
        "library_name": "lmm",
        "license": "cc-by-nc-4.0" if closed else "apache-2.0",
        "tags": ["human-motion", "forecasting", c.architecture, c.spec.layout],
    }
    seen = "2D keypoints (x, y, confidence)" if c.spec.layout == "xyc" else "3D joints (x, y, z)"
    views = f" through {config.views} virtual cameras" if c.spec.layout == "xyc" else ""
    lacking = [j for j, known in zip(_joints(), c.joints, strict=True) if not known]
    card = f"""---
{yaml.safe_dump(head, sort_keys=False).strip()}
---
# {c.name}

Forecasts {c.block_frames / c.spec.fps:g} s of human movement from up to {c.context_frames / c.spec.fps:g} s of {seen},
at {c.spec.fps:g} frames a second: `lmm forecast MOTION --model FOLDER -o OUT.html`.
{network.info.parameters:,} parameters.

- **Data**: {c.trained_on}{views}; {told["frames_of_all_views"]:,} frames with all views, {told["full_windows"]:,}
  windows of full length (at every frame, one view), {told["cuts"]:,} with shorter contexts.
- **Split**: by {config.split_by}. Validation (which chose these weights): {told["val_clips"]} clips.
- **Licence of the weights**: {c.licence}
- **Training**: {state["step"]} steps of {config.batch} windows, {state["step"] * config.batch:,} windows in all;
  seed {config.seed}; validation loss {state["best"]:.5f}. Made again by `lmm train` from the run's config.json.
- **Limits**: joints that the data do not record ({", ".join(lacking) or "none"}) are not seen;
  they go along with the nearest joint that is. Movement that is unlike the data is forecast as if it were like it.
  A forecast is no measurement: not for diagnosis.
"""
    (folder / "README.md").write_text(card, "utf-8")


def _joints() -> tuple[str, ...]:
    from lmm.skeletons import BODY_25

    return BODY_25.joints
