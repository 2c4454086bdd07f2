"""Turns by how many examples a family can draw, worked out by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import SettingsError
from flanrec.tuning.mixing import temperature_weights

SIZES = {"sequential": 810_000, "rating": 10_000, "profile": 100, "review_rating": 0}


def test_at_one_the_shares_are_those_of_the_examples() -> None:
    found = temperature_weights(SIZES, 1.0)
    assert found == {
        "sequential": pytest.approx(810_000 / 820_100), "rating": pytest.approx(10_000 / 820_100),
        "profile": pytest.approx(100 / 820_100), "review_rating": 0.0,
    }  # fmt: skip


def test_at_two_they_are_those_of_the_roots_and_the_limit_comes_first() -> None:
    assert temperature_weights(SIZES, 2.0) == {
        "sequential": pytest.approx(900 / 1010), "rating": pytest.approx(100 / 1010),
        "profile": pytest.approx(10 / 1010), "review_rating": 0.0,
    }  # fmt: skip
    limited = temperature_weights(SIZES, 2.0, limit=40_000)
    assert limited["sequential"] == pytest.approx(200 / 310)
    assert limited["rating"] == pytest.approx(100 / 310)


def test_high_temperatures_are_nearly_even_over_families_that_have_examples() -> None:
    found = temperature_weights(SIZES, 1e6)
    assert found == {name: pytest.approx(1 / 3 if size else 0.0, abs=1e-4) for name, size in SIZES.items()}


@given(st.dictionaries(st.text(min_size=1), st.integers(1, 10**9), min_size=1), st.floats(1, 100))
def test_shares_add_up_and_keep_the_order_of_sizes(sizes: dict[str, int], temperature: float) -> None:
    found = temperature_weights(sizes, temperature)
    assert sum(found.values()) == pytest.approx(1.0)
    by_size = sorted(sizes, key=lambda name: sizes[name])
    assert [found[name] for name in by_size] == sorted(found.values())


@pytest.mark.parametrize(
    ("sizes", "temperature", "limit"),
    [(SIZES, 0.5, None), (SIZES, 2.0, 0), ({"rating": 0}, 2.0, None), ({}, 2.0, None)],
)
def test_what_cannot_be_mixed_is_refused(sizes: dict[str, int], temperature: float, limit: int | None) -> None:
    with pytest.raises(SettingsError):
        temperature_weights(sizes, temperature, limit)
