"""Weights carry what their data demand."""

from __future__ import annotations

import pytest

from lmm.training.card import OPEN, card, weights_licence


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"CMU, free for all uses; acknowledge it", "PDDL 1.0; cite it", "CC BY 4.0, IRDS", "CC0", "MIT"}, OPEN),
        ({"CC0", "CC BY-NC 4.0, somebody"}, "CC BY-NC 4.0, somebody"),
        ({"research only", "CC0"}, "research only"),
        ({"for limited use"}, "for limited use"),  # which holds the letters of MIT
        ({"CC BY-ND 4.0", "CC BY-NC 4.0"}, "CC BY-NC 4.0; CC BY-ND 4.0"),
        ({""}, "not stated by the data"),
    ],
)
def test_licence_of_weights(given: set[str], told: str) -> None:
    assert weights_licence(given) == told


def test_what_machines_read_of_a_card() -> None:
    for licence, tag in ((OPEN, "apache-2.0"), ("CC BY-NC 4.0, x", "cc-by-nc-4.0"), ("research only", "other")):
        assert f"license: {tag}\n" in card("m", licence, [], "text")
