from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, NotFoundError, SettingsError
from flanrec.recommender.tables import as_type_of, joined, recommendations, refuse_text, with_items_of


def test_ranked_indices_become_rows_with_the_ids_types() -> None:
    data = Dataset.from_frames({"user": [1, 2], "item": [70, 80]}, {"item": [70, 80], "title": ["A", "B"]})
    items = np.array([[1, 0], [0, -1]])
    scores = np.array([[-1, -2], [-3, -np.inf]], dtype=np.float32)
    table = recommendations([2, 9], items, scores, data, data.item_ids)
    assert table.rows() == [(2, 80, -1.0, 1), (2, 70, -2.0, 2), (9, 70, -3.0, 1)]
    assert table.schema["user_id"] == table.schema["item_id"] == pl.Int64
    nobody = recommendations([None], items[:1], scores[:1], data, data.item_ids)
    assert nobody["user_id"].to_list() == [None, None]
    named = recommendations(["new"], items[:1], scores[:1], data, data.item_ids)
    assert named["user_id"].to_list() == ["new", "new"]


def test_the_parts_of_a_log_join_to_the_log(small_dataset: Dataset) -> None:
    train, last = hold_out_last(small_dataset)
    whole = joined(train, last)
    assert whole.interactions.equals(small_dataset.interactions)
    assert whole.items is train.items


def test_indices_of_a_part_follow_the_catalogue_it_is_given(small_dataset: Dataset) -> None:
    other = replace(small_dataset, items=small_dataset.items.reverse())
    assert other.sequences(["u1"]).items.tolist() != small_dataset.sequences(["u1"]).items.tolist()
    mended = with_items_of(other, small_dataset.items)
    assert mended.sequences(["u1"]).items.tolist() == small_dataset.sequences(["u1"]).items.tolist()
    with pytest.raises(NotFoundError, match="small has 1 items that are not in the catalogue, such as 'i3'"):
        with_items_of(small_dataset, small_dataset.items.filter(pl.col("item_id") != "i3"))


def test_ids_take_the_type_of_the_catalogue() -> None:
    numbers, texts = pl.Series("item_id", [1, 2]), pl.Series("item_id", ["1", "03"])
    assert as_type_of(numbers, pl.Series("item_id", ["7", "8"])).to_list() == [7, 8]
    assert as_type_of(texts, numbers).to_list() == ["1", "2"]
    with pytest.raises(DataError, match="the item ids are String, those of the catalogue Int64"):
        as_type_of(numbers, pl.Series("item_id", ["new"]))


def test_one_text_is_not_a_list_of_its_letters() -> None:
    refuse_text(users=["u1"], history=None, only=(name for name in ("a", "b")))
    with pytest.raises(SettingsError, match=r"history is the text 'Alien'; give a list, such as \['Alien'\]"):
        refuse_text(users=None, history="Alien")
