"""A model's card, README.md of its folder, in the form that the Hugging Face hub reads; and its licence."""

from __future__ import annotations

import re

import yaml

OPEN = "Apache-2.0"  # of weights that are free for all uses
FREE = (r"apache-2\.0", "mit", "bsd", "cc0", r"cc by [34]\.0", "pddl", "public domain", "free for all uses")


def card(title: str, licence: str, tags: list[str], text: str) -> str:
    """Return the card of a model: what machines read, then what people do."""
    head = {
        "library_name": "lmm",
        "license": "cc-by-nc-4.0" if "NC" in licence else "apache-2.0" if licence == OPEN else "other",
        "tags": ["human-motion", *tags],
    }
    return f"---\n{yaml.safe_dump(head, sort_keys=False).strip()}\n---\n# {title}\n\n{text}"


def weights_licence(licences: set[str]) -> str:
    """Return the licence of weights trained on data of `licences`: OPEN if each is known to allow all uses.

    Else those that are not, as they are told, non-commercial ones first; of data that tell none, that.
    """
    closed = {x or "not stated by the data" for x in licences if not _free(x)}
    return "; ".join(sorted(closed, key=lambda x: ("NC" not in x, x))) or OPEN


def _free(licence: str) -> bool:
    return "NC" not in licence and re.search(rf"\b({'|'.join(FREE)})\b", licence.lower()) is not None
