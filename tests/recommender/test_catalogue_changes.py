"""Items that come, or are worded anew, in a fitted recommender."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from flanrec.recommender import Recommender
from flanrec.recommender.asking import Asking
from flanrec.recommender.catalogue_changes import changed_catalogue
from flanrec.recommender.fused import behaviour_of

NEW = "The Copper Submarine"


def with_items(recommender: Recommender, **columns: object) -> Recommender:
    changed = Recommender(recommender.backbone, recommender.settings)
    changed.adopt(changed_catalogue(recommender, pl.DataFrame(columns)))
    return changed


@pytest.fixture(scope="module")
def grown(fitted: Recommender) -> Recommender:
    return with_items(
        fitted,
        item_id=["n500", "n501"],
        title=[NEW, "Second Newcomer"],
        text=["Divers look for a wreck.", ""],
        category=[["Adventure"], ["Drama"]],
        year=[2003, None],
    )


def test_new_items_stand_behind_the_known_ones(fitted: Recommender, grown: Recommender) -> None:
    known = len(fitted.parts.catalogue)
    assert grown.parts.catalogue.item_ids == [*fitted.parts.catalogue.item_ids, "n500", "n501"]
    assert grown.parts.dataset.item_ids == grown.parts.catalogue.item_ids
    assert grown.parts.catalogue.titles[known] == NEW
    assert grown.parts.catalogue.popularity[known:].tolist() == [0, 0]


def test_the_recommender_itself_stays_as_it_was(fitted: Recommender, grown: Recommender) -> None:
    assert len(fitted.parts.catalogue) + 2 == len(grown.parts.catalogue)
    assert fitted.parts.tokens.n_items == len(fitted.parts.catalogue)
    assert fitted.parts.tokens is not grown.parts.tokens


def test_a_new_item_can_be_recommended_in_every_way_at_once(grown: Recommender) -> None:
    user = grown.parts.dataset.user_ids[0]
    everything = len(grown.parts.catalogue)
    for reading in ("fused", "item_tokens"):
        listed = grown.recommend([user], k=everything, reading=reading)["item_id"].to_list()  # type: ignore[arg-type]
        assert {"n500", "n501"} <= set(listed)
        assert len(set(listed)) == len(listed)
    assert grown.recommend([user], k=5, reading="generate", only=["n500"])["item_id"].to_list() == ["n500"]
    assert grown.recommend([user], k=2, only=["n500", "n501"]).height == 2
    chance = grown.match(pl.DataFrame({"user_id": [user], "item_id": ["n500"]}))["probability"][0]
    assert 0 < chance < 1
    assert grown.explain(user=user, item=NEW).item_id == "n500"
    assert grown.recommend(history=[NEW], k=3).height == 3


def test_sources_are_those_of_a_fit_with_the_larger_catalogue(grown: Recommender) -> None:
    parts = grown.parts
    anew = behaviour_of(parts.dataset, parts.catalogue, parts.facets)
    persons = grown.people(parts.dataset.user_ids[:6])
    expected = anew.scores(persons)
    for name, scores in parts.behaviour.scores(persons).items():
        np.testing.assert_allclose(scores, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_an_item_that_is_worded_anew_keeps_its_place_and_what_was_learnt_of_it(fitted: Recommender) -> None:
    item, place = fitted.parts.catalogue.item_ids[3], 3
    changed = with_items(fitted, item_id=[item], title=["Zinc Lighthouse"], text=["Keepers and storms."],
                         category=[["Drama"]], year=[1999])  # fmt: skip
    before, after = fitted.parts, changed.parts
    assert after.catalogue.titles[place] == "Zinc Lighthouse"
    assert after.catalogue.item_ids == before.catalogue.item_ids
    assert after.catalogue.popularity.tolist() == before.catalogue.popularity.tolist()
    assert (after.tokens.learned_output[place] == before.tokens.learned_output[place]).all()
    differs = (after.tokens.text_output != before.tokens.text_output).any(dim=1)
    assert differs.nonzero().flatten().tolist() == [place]
    assert np.flatnonzero((after.titles != before.titles).any(axis=1)).tolist() == [place]
    assert changed.parts.find("Zinc Lighthouse") == place


def test_giving_an_item_as_it_is_changes_no_answer(fitted: Recommender) -> None:
    row = fitted.parts.dataset.items.head(1)
    same = Recommender(fitted.backbone, fitted.settings)
    same.adopt(changed_catalogue(fitted, row))
    persons = fitted.people(fitted.parts.dataset.user_ids[:8])
    items, scores = fitted.rank(persons, 5, Asking("comedy"))
    again, values = same.rank(persons, 5, Asking("comedy"))
    assert again.tolist() == items.tolist()
    np.testing.assert_allclose(values, scores, rtol=1e-4, atol=1e-4)


def test_columns_that_the_catalogue_lacks_are_not_used_and_missing_ones_are_empty(fitted: Recommender) -> None:
    changed = with_items(fitted, item_id=[502], title=["Bare"], colour=["red"])
    row = changed.parts.dataset.items.row(-1, named=True)
    assert row["item_id"] == "502"
    assert row["text"] == ""
    assert row["category"] == []
    assert "colour" not in row
