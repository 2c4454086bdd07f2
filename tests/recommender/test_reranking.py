from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flanrec.data import Dataset
from flanrec.errors import SettingsError
from flanrec.ranking.policy import Policy
from flanrec.recommender import READINGS, Asking, Reading, Recommender
from flanrec.recommender.reranking import depth, usable_policy

everything = pytest.mark.parametrize("reading", READINGS)


def ids_of(table: pl.DataFrame, user: object) -> list[str]:
    return table.filter(pl.col("user_id").eq_missing(user))["item_id"].to_list()


def items_of(kind: str) -> set[str]:
    """Of the small log, by its rules."""
    kinds = {
        "Comedy": range(0, 30, 3),
        "Drama": range(1, 30, 3),
        "Sci-Fi": range(2, 30, 3),
        "Adventure": range(0, 30, 5),
    }
    return {f"i{item}" for item in kinds[kind]}


@everything
def test_a_policy_without_rules_changes_nothing(fitted: Recommender, reading: Reading) -> None:
    users = ["u3", "stranger", "u1"]
    plain = fitted.recommend(users, k=5, reading=reading)
    table = fitted.recommend(users, k=5, reading=reading, policy=Policy())
    assert table.drop("score").equals(plain.drop("score"))
    # A deeper search scores titles in other company, which can change last bits.
    assert table["score"].to_numpy() == pytest.approx(plain["score"].to_numpy(), abs=1e-4)


@everything
def test_blocked_items_come_to_nobody_and_the_others_keep_their_order(fitted: Recommender, reading: Reading) -> None:
    rules = Policy.parse({"block": {"categories": ["Drama"], "items": ["i9"]}})
    gone = items_of("Drama") | {"i9"}
    plain = ids_of(fitted.recommend(["u3"], k=9, reading=reading), "u3")
    table = fitted.recommend(["u3"], k=5, reading=reading, policy=rules)
    assert table["rank"].to_list() == [1, 2, 3, 4, 5]
    assert not gone & set(table["item_id"])
    if reading != "generate":  # Its scores, and so its order, depend on what else may come.
        assert ids_of(table, "u3")[:3] == [item for item in plain if item not in gone][:3]


@everything
def test_where_nearly_all_is_blocked_the_rest_of_the_catalogue_is_found(
    fitted: Recommender, small_dataset: Dataset, reading: Reading
) -> None:
    left = {"i28", "i25", "i22"}
    rules = Policy.parse({"block": {"items": sorted(set(small_dataset.item_ids) - left)}})
    lists = fitted.candidates(fitted.people(["u0", "u2"]), 2, reading=reading).reranked(rules)
    ids = np.array(small_dataset.item_ids)[lists.items]
    assert set(ids[0]) <= left
    assert set(ids[1]) <= left
    if reading == "generate":  # Its scores are among what may come, so the blocked ones need not stand before.
        return
    plain, _ = fitted.rank(fitted.people(["u0", "u2"]), 2, reading=reading)
    went = lists.reasons.filter(pl.col("rank_after").is_null())
    assert set(went["rule"]) == {"block"}
    assert set(went["item"]) == set(plain.ravel().tolist()) - set(lists.items.ravel().tolist())


@pytest.mark.parametrize("reading", ["fused", "item_tokens"])
def test_candidates_found_anew_are_those_of_the_open_catalogue(fitted: Recommender, reading: Reading) -> None:
    persons = fitted.people(["u0", "u2", "u9"])
    found = fitted.candidates(persons, 4, Asking("comedy"), reading=reading, without=["i28"])
    plain, scores = found.ranked
    shallow = replace(found, ranked=(plain[:, :4], scores[:, :4]))
    # Three of the four candidates of the first user are blocked.
    blocked = [f"i{item}" for item in plain[0, :3].tolist()]
    expected, _ = fitted.rank(persons, 4, Asking("comedy"), reading=reading, without=["i28", *blocked])
    lists = shallow.reranked(Policy.parse({"block": {"items": blocked}}))
    again = 2 * np.isin(plain[:, :4], plain[0, :3]).sum(axis=1) > 4
    assert again[0]
    assert lists.items[again].tolist() == expected[again].tolist()
    for row, before in zip(lists.items[~again].tolist(), plain[~again, :4].tolist(), strict=True):
        assert [item for item in row if item >= 0] == [item for item in before if f"i{item}" not in blocked]
    moved = lists.reasons.filter(pl.col("user") == 0)
    assert moved.filter(pl.col("rank_after").is_null())["item"].to_list() == plain[0, :3].tolist()


def test_a_boost_lifts_its_category_and_its_factor_is_in_the_score(fitted: Recommender) -> None:
    plain = fitted.recommend(["u3"], k=30)
    table = fitted.recommend(["u3"], k=30, policy=Policy.parse({"boost": {"Comedy": 1e9}}))
    order = [item in items_of("Comedy") for item in table["item_id"]]
    assert order == sorted(order, reverse=True)
    scores = plain["score"].to_numpy()
    joined = table.join(plain, on="item_id", suffix="_plain")
    gain = (joined["score"] - joined["score_plain"]).to_numpy()
    comedy = joined["item_id"].is_in(list(items_of("Comedy"))).to_numpy()
    assert gain[comedy] == pytest.approx(np.log(1e9) * scores.std(), rel=1e-4)
    assert gain[~comedy] == pytest.approx(0, abs=1e-5)


def test_taste_uses_the_history_that_is_given(fitted: Recommender) -> None:
    rules = Policy.parse({"taste": {"weight": 1}})
    # Neither item is an Adventure, and the second list has room for two kinds.
    dramas = ids_of(fitted.recommend(history=["i1", "i7"], k=4, policy=rules), None)
    assert set(dramas) <= items_of("Drama") - items_of("Adventure")
    both = ids_of(fitted.recommend(history=["i1", "i2"], k=4, policy=rules), None)
    assert len(set(both) & items_of("Drama")) == len(set(both) & items_of("Sci-Fi")) == 2


def test_quotas_and_diversity_work_on_what_was_fitted(fitted: Recommender) -> None:
    rules = Policy.parse({"quota": {"category": {"Drama": {"max": 1}, "Adventure": {"min": 2}}}})
    table = fitted.recommend(["u3", "u8"], k=5, policy=rules)
    for user in ("u3", "u8"):
        assert len(set(ids_of(table, user)) & items_of("Drama")) <= 1
        assert len(set(ids_of(table, user)) & items_of("Adventure")) >= 2
    texts = fitted.parts.unit_texts
    plain, _ = fitted.rank(fitted.people(["u3"]), 5)
    far, _ = fitted.rank(fitted.people(["u3"]), 5, policy=Policy.parse({"diversity": {"balance": 0.9}}))
    near = [(texts[row] @ texts[row].T).sum() for row in (plain[0], far[0])]
    assert near[1] < near[0], "the texts of the items are less alike"


def test_facts_are_those_of_the_fitted_log(fitted: Recommender, small_dataset: Dataset) -> None:
    facts = fitted.parts.item_facts
    assert facts.popularity.tolist() == fitted.parts.catalogue.popularity.tolist()
    assert facts.vectors is fitted.parts.unit_texts
    assert set(facts.ages) == {"first_seen", "year"}
    assert facts.ages["first_seen"][28] == 0, "nobody has touched it, so it is new"
    # Item 28 is of 2008, after the newest event of 2001, so only years tell the newest of the others.
    rules = Policy.parse({"freshness": {"half_life_days": 400, "weight": 1000, "by": "year"}})
    years = fitted.recommend(["u3"], k=3, policy=rules, without=["i28", "i29"])["item_id"].to_list()
    assert set(years) <= {f"i{item}" for item in range(20, 28)}


def test_pins_obey_seen_only_and_without(fitted: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    # u0 has taken i0 to i5.
    rules = Policy.parse({"pin": {"i3": 1, "i20": 2, "i21": 3}})
    free = fitted.recommend(["u0", "u2"], k=4, policy=rules)
    assert "i3" not in ids_of(free, "u0")
    assert ids_of(free, "u0")[1:3] == ["i20", "i21"]
    assert ids_of(free, "u2")[0] == "i3"
    assert ids_of(fitted.recommend(["u0"], k=4, policy=rules, seen=True), "u0")[:3] == ["i3", "i20", "i21"]
    with caplog.at_level(logging.WARNING, logger="flanrec.recommender.reranking"):
        closed = fitted.recommend(["u2"], k=4, policy=rules, without=["i20"], only=["i3", "i20", "i9", "i25"])
    assert sorted(ids_of(closed, "u2")) == ["i25", "i3", "i9"]
    assert ids_of(closed, "u2")[0] == "i3"
    assert "policy, pin: item i20 may not come in these lists" in caplog.text
    assert "policy, pin: item i21 may not come in these lists" in caplog.text


def test_a_policy_works_with_wishes_histories_and_strangers(fitted: Recommender) -> None:
    rules = Policy.parse({"pin": {"i28": 2}, "block": {"categories": ["Comedy"]}, "diversity": {}, "taste": {}})
    calm = fitted.recommend(history=["i1", "i2"], k=6, policy=rules)
    wished = fitted.recommend(history=["i1", "i2"], k=6, wish="drama", avoid="adventure", policy=rules)
    stranger = fitted.recommend(["stranger"], k=6, policy=rules)
    for table, user in ((calm, None), (wished, None), (stranger, "stranger")):
        assert ids_of(table, user)[1] == "i28"
        assert not set(table["item_id"]) & items_of("Comedy")
        assert table.height == 6
    assert not wished["score"].equals(calm["score"])
    askings = [Asking("drama"), Asking()]
    persons = [fitted.person(["i1", "i2"])] * 2
    items, _ = fitted.rank(persons, 6, askings, policy=Policy.parse({"block": {"categories": ["Sci-Fi", "Drama"]}}))
    alone, _ = fitted.rank(persons[:1], 6, askings[0], without=sorted(items_of("Sci-Fi") | items_of("Drama")))
    assert items[0].tolist() == alone[0].tolist(), "whoever is asked anew is asked with their own words"


def test_sources_can_be_told_for_lists_under_a_policy(fitted: Recommender) -> None:
    table = fitted.recommend(["u3"], k=4, policy=Policy.parse({"pin": {"i28": 1}}), sources=True)
    assert table["item_id"][0] == "i28"
    assert table["from_ease"].is_finite().all()


def test_nobody_and_k_beyond_the_catalogue_are_defined(fitted: Recommender) -> None:
    rules = Policy.parse({"block": {"categories": ["Comedy"]}, "diversity": {}, "long_tail": {"share": 0.3}})
    assert fitted.recommend([], k=5, policy=rules).height == 0
    table = fitted.recommend(history=[], k=1000, policy=rules)
    assert sorted(table["item_id"]) == sorted(f"i{item}" for item in range(30) if item % 3)
    assert fitted.recommend(["u0"], k=5, only=[], policy=rules).height == 0


def test_a_file_is_a_policy_and_its_mistakes_name_it(fitted: Recommender, tmp_path: Path) -> None:
    path = tmp_path / "shop.toml"
    path.write_text('[block]\ncategories = ["Comedy"]\n')
    by_file = fitted.recommend(["u3"], k=5, policy=path)
    assert by_file.equals(fitted.recommend(["u3"], k=5, policy=Policy.parse({"block": {"categories": ["Comedy"]}})))
    assert by_file.equals(fitted.recommend(["u3"], k=5, policy=str(path)))
    path.write_text('[block]\ncategories = ["Comedie"]\n')
    with pytest.raises(SettingsError, match=r"shop\.toml: block.categories: no item .*; the nearest is 'Comedy'"):
        fitted.recommend(["u3"], policy=path)
    with pytest.raises(SettingsError, match=r"none\.toml: the policy cannot be read"):
        fitted.recommend(["u3"], policy=tmp_path / "none.toml")
    with pytest.raises(SettingsError, match="policy: boost: no item has category 'Opera'; known are Adventure"):
        fitted.recommend(["u3"], policy=Policy.parse({"boost": {"Opera": 2}}))


def test_items_that_are_gone_are_a_warning(fitted: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    rules = usable_policy(Policy.parse({"pin": {"i99": 1}}), fitted.parts.item_facts)
    with caplog.at_level(logging.WARNING, logger="flanrec.recommender.reranking"):
        assert fitted.recommend(["u3"], k=3, policy=rules).equals(fitted.recommend(["u3"], k=3))
    assert "policy, pin: there is no item i99" in caplog.text


def test_candidates_go_deeper_than_the_lists(fitted: Recommender) -> None:
    assert [depth(k, "fused") for k in (1, 10, 11)] == [100, 100, 110]
    found = fitted.candidates(fitted.people(["u0"]), 3, reading="generate")
    assert found.ranked[0].shape == (1, 9)
    assert found.plain().tolist() == fitted.rank(fitted.people(["u0"]), 3, reading="generate")[0].tolist()
