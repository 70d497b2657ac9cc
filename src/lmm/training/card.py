"""A model's card, README.md of its folder, in the form that the Hugging Face hub reads; and its licence."""

from __future__ import annotations

import yaml


def card(title: str, licence: str, tags: list[str], text: str) -> str:
    """Return the card of a model: what machines read, then what people do."""
    head = {
        "library_name": "lmm",
        "license": "cc-by-nc-4.0" if "NC" in licence else "apache-2.0",
        "tags": ["human-motion", *tags],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False).strip()}\n---\n# {title}\n\n{text}"


def weights_licence(licences: set[str]) -> str:
    """Return the licence of weights trained on data of `licences`."""
    closed = sorted(x for x in licences if "NC" in x)
    return closed[0] if closed else "Apache-2.0"
