from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from flanrec.errors import DataError, NotFoundError, SettingsError
from flanrec.recommender import Asking, Recommender
from flanrec.recommender.new_items import with_new_items
from flanrec.recommender.readings import TokenReading

NEW = pl.DataFrame(
    {
        "item_id": ["n1", "i4", "i29", "n2", "i28"],
        "title": ["Gneiss Harbour (2010)", "other words", "other words", "Halite Quarry (2011)", "other words"],
        "text": ["Someone finds a letter.", "", "", "", ""],
        "category": [["Comedy"], [], [], ["Drama"], []],
        "year": [2010, None, None, 2011, None],
    }
)


def test_only_new_items_and_untouched_ones_are_ranked(fitted: Recommender) -> None:
    table = fitted.rank_new(NEW, ["u1", "stranger"], k=10)
    assert table["user_id"].to_list() == ["u1"] * 4 + ["stranger"] * 4
    for user in ("u1", "stranger"):
        part = table.filter(pl.col("user_id") == user)
        assert sorted(part["item_id"]) == ["i28", "i29", "n1", "n2"]
        assert part["rank"].to_list() == [1, 2, 3, 4]
        assert (np.diff(part["score"].to_numpy()) <= 0).all()
    assert fitted.rank_new(NEW, ["u1"], k=2).height == 2


def test_items_of_the_catalogue_without_events_are_new_too(fitted: Recommender) -> None:
    table = fitted.rank_new(NEW.filter(pl.col("item_id").is_in(["i28", "i29"])), ["u1"])
    parts, person = fitted.parts, fitted.people(["u1"])[0]
    heard = parts.behaviour.scorers["ease"].scores([person.items])
    scores = parts.newcomers.scores(heard, parts.behaviour.log_shares)[0]
    assert sorted(table["item_id"]) == ["i28", "i29"]
    assert table["score"].to_list() == pytest.approx([scores[int(item[1:])] for item in table["item_id"]], abs=1e-5)


def test_a_wish_is_heard_among_new_items(fitted: Recommender) -> None:
    plain, wished = (dict(fitted.rank_new(NEW, ["u1"], wish=wish).select("item_id", "score").iter_rows())
                     for wish in ("", "comedy"))  # fmt: skip
    parts, new = with_new_items(fitted.parts, fitted.backbone, fitted.settings, NEW)
    change = TokenReading(parts.tokens, parts.encoder, parts.prompter).change(
        fitted.people(["u1"]), Asking(wish="comedy")
    )[0]
    assert new.sum() == 4
    for item, score in wished.items():
        assert score - plain[item] == pytest.approx(change[parts.catalogue.index_of(item)], abs=1e-4)


def test_ranking_new_items_leaves_the_recommender_as_it_was(fitted: Recommender) -> None:
    before = fitted.recommend(["u1"], k=30)
    fitted.rank_new(NEW, ["u1"])
    assert len(fitted.parts.catalogue) == 30
    assert fitted.recommend(["u1"], k=30).equals(before)


def test_a_new_item_in_the_words_of_an_untouched_one_scores_as_that_one(fitted: Recommender) -> None:
    twin = fitted.parts.dataset.items.filter(pl.col("item_id") == "i29").with_columns(item_id=pl.lit("twin"))
    larger = fitted.parts.extended(fitted.backbone, twin, fitted.settings)
    assert larger.catalogue.item_ids == [*fitted.parts.catalogue.item_ids, "twin"]
    reading = TokenReading(larger.tokens, larger.encoder, larger.prompter)
    scores = reading.scores(fitted.people(["u1", "u6"]))
    assert scores[:, 30] == pytest.approx(scores[:, 29], abs=1e-4)
    asked = reading.scores(fitted.people(["u1"]), Asking(wish="drama"))
    assert asked[0, 30] == pytest.approx(asked[0, 29], abs=1e-4)


def test_other_words_give_another_place(fitted: Recommender) -> None:
    names = pl.Series("title", ["Gneiss Harbour", "A dictionary of tropical fruit"])
    table = fitted.rank_new(pl.DataFrame({"item_id": ["n1", "n2"]}).with_columns(names), ["u1"])
    assert abs(table["score"][0] - table["score"][1]) > 1e-3


def test_what_cannot_be_ranked_is_refused_with_the_reason(fitted: Recommender) -> None:
    with pytest.raises(DataError, match="all 1 items have interactions"):
        fitted.rank_new(NEW.filter(pl.col("item_id") == "i4"), ["u1"])
    with pytest.raises(DataError, match="'n1' occurs more than once"):
        fitted.rank_new(pl.concat([NEW, NEW.head(1)]), ["u1"])
    with pytest.raises(DataError, match="new items lack the column item_id; they have id, title"):
        fitted.rank_new(pl.DataFrame({"id": ["n1"], "title": ["Gneiss Harbour"]}), ["u1"])
    with pytest.raises(SettingsError, match="k is 0"):
        fitted.rank_new(NEW, ["u1"], k=0)


def test_entries_are_found_by_id_title_and_number(fitted: Recommender) -> None:
    assert fitted.parts.find("i5") == 5
    assert fitted.parts.find("BASALT HARBOUR (1985) ") == 5
    with pytest.raises(NotFoundError, match=r"'basalt harbr'.*'Basalt Harbour \(1985\)'"):
        fitted.parts.find("basalt harbr")
    with pytest.raises(NotFoundError, match="5 is neither"):
        fitted.parts.find(5)
