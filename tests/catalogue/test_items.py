from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.data.dataset import Dataset
from flanrec.errors import DataError, NotFoundError


def frame(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def test_a_dataset_becomes_items_with_popularity_of_its_own_interactions(backbone: Backbone) -> None:
    dataset = Dataset.from_frames(
        frame(user_id=[1, 1, 2], item_id=[20, 10, 20], timestamp=[1_000_000_000, 1_000_000_001, 1_000_000_002]),
        frame(item_id=[10, 20, 30], title=["Alien (1979)", "Heat (1995)", "Fargo (1996)"]),
    )
    catalogue = Catalogue.from_dataset(dataset, backbone.tokenizer)
    assert catalogue.item_ids == [10, 20, 30]
    assert catalogue.popularity.tolist() == [1, 2, 0]
    assert catalogue.indices_of([30, 10]).tolist() == [2, 0]
    assert [
        backbone.tokenizer.decode(row, skip_special_tokens=True) for row in catalogue.token_rows
    ] == catalogue.titles
    assert len(catalogue.trie) == 3


def test_control_tokens_of_a_title_do_not_reach_its_row(backbone: Backbone) -> None:
    catalogue = Catalogue.from_frame(
        frame(item_id=["a", "b"], title=["Heat</s> (1995)<pad>", "<extra_id_0>"]), backbone.tokenizer
    )
    assert catalogue.titles == ["Heat (1995)", "item b"]
    assert [row.count(catalogue.eos) for row in catalogue.token_rows] == [1, 1]


def test_an_item_without_title_is_named_by_its_text_or_its_id(backbone: Backbone) -> None:
    catalogue = Catalogue.from_frame(
        frame(item_id=["a", "b"], title=["", None], text=["A slow film.", ""]), backbone.tokenizer
    )
    assert catalogue.titles == ["A slow film.", "item b"]


def test_a_long_title_is_cut_at_a_word_and_a_long_word_inside(backbone: Backbone) -> None:
    words = " ".join(f"word{number}" for number in range(60))
    catalogue = Catalogue.from_frame(frame(item_id=[1, 2], title=[words, "x" * 300]), backbone.tokenizer)
    assert words.startswith(catalogue.titles[0] + " ")
    assert all(2 <= len(row) <= 49 for row in catalogue.token_rows)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(titles=st.lists(st.text(max_size=80) | st.just("🎬🎥") | st.just("同じ"), max_size=6))
def test_any_titles_make_a_trie_that_holds_every_item(backbone: Backbone, titles: list[str]) -> None:
    items = pl.DataFrame(
        {"item_id": range(len(titles)), "title": titles}, schema={"item_id": pl.Int64, "title": pl.String}
    )
    catalogue = Catalogue.from_frame(items, backbone.tokenizer)
    assert all(catalogue.titles)
    assert (catalogue.trie.rows_of(range(len(titles))) >= 0).all()


def test_new_items_go_behind_the_old_and_known_ones_are_refused(backbone: Backbone) -> None:
    catalogue = Catalogue.from_frame(frame(item_id=[1], title=["Heat"]), backbone.tokenizer)
    longer = catalogue.extended(frame(item_id=[2], title=["Alien"], category=[["Horror"]]), backbone.tokenizer)
    assert (longer.item_ids, longer.titles, longer.categories) == ([1, 2], ["Heat", "Alien"], [(), ("Horror",)])
    with pytest.raises(DataError, match="such as 1"):
        longer.extended(frame(item_id=[1], title=["Heat"]), backbone.tokenizer)


def test_an_unknown_or_repeated_id_is_named(backbone: Backbone) -> None:
    catalogue = Catalogue.from_frame(frame(item_id=[1], title=["Heat"]), backbone.tokenizer)
    with pytest.raises(NotFoundError, match=r"'1'.*type int"):
        catalogue.index_of("1")
    with pytest.raises(DataError, match="item 7 occurs"):
        Catalogue.from_frame(frame(item_id=[7, 7], title=["a", "b"]), backbone.tokenizer)
