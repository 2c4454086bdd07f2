"""What a wish can name: categories by size, then decades."""

from __future__ import annotations

import polars as pl

from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets


def test_categories_come_by_size_then_decades(small_catalogue: Catalogue) -> None:
    facets = Facets.of(small_catalogue)
    assert facets.names == ["Comedy", "Drama", "Sci-Fi", "Adventure", "1980s", "1990s", "2000s"]
    assert facets.n_categories == 4
    assert facets.members.shape == (30, 7)
    for item in range(30):
        expected = [item % 3 == 0, item % 3 == 1, item % 3 == 2, item % 5 == 0]
        expected += [item // 10 == decade for decade in range(3)]
        assert facets.members[item].tolist() == expected


def test_the_largest_categories_are_never_decades(small_catalogue: Catalogue) -> None:
    facets = Facets.of(small_catalogue)
    assert facets.largest_categories(2) == [0, 1]
    assert facets.largest_categories(99) == [0, 1, 2, 3]


def test_a_facet_needs_enough_items(small_catalogue: Catalogue) -> None:
    assert Facets.of(small_catalogue, fewest=7).names == ["Comedy", "Drama", "Sci-Fi", "1980s", "1990s", "2000s"]
    nothing = Facets.of(small_catalogue, fewest=31)
    assert nothing.names == []
    assert nothing.members.shape == (30, 0)


def test_a_category_said_twice_counts_once_and_missing_years_and_names_are_passed_over(backbone: Backbone) -> None:
    items = pl.DataFrame(
        {
            "item_id": [1, 2, 3],
            "title": ["A", "B", "C"],
            "category": [["War</s>", "War"], ["", "War"], None],
            "year": [1999, 2000, None],
        }
    )
    facets = Facets.of(Catalogue.from_frame(items, backbone.tokenizer), fewest=1)
    assert facets.names == ["War", "1990s", "2000s"]
    assert facets.members.tolist() == [[True, True, False], [True, False, True], [False, False, False]]
