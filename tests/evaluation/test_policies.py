from __future__ import annotations

import logging

import numpy as np
import pytest

from flanrec.data import Dataset
from flanrec.errors import DataError, NotFoundError, SettingsError
from flanrec.evaluation.policies import price_policies, with_rules_alone
from flanrec.ranking.policy import Policy
from flanrec.recommender import Recommender

PIN = Policy.parse({"pin": {"i29": 1}})


def held_out(dataset: Dataset, **items: str) -> Dataset:
    return Dataset.from_frames({"user_id": list(items), "item_id": list(items.values())}, dataset.items, name="test")


def test_pinning_what_is_held_out_is_worth_what_it_gains(fitted: Recommender, small_dataset: Dataset) -> None:
    test = held_out(small_dataset, u3="i29", u4="i29", stranger="i29")
    done: list[int] = []
    result = price_policies(fitted, test, {"pin": PIN}, k=3, progress=done.append)
    plain, _ = fitted.rank(fitted.people(["u3", "u4", "stranger"]), 3)
    assert result.users == sum(done) == 3
    assert result["pin"]["hit_rate"].before == pytest.approx((plain == 29).any(axis=1).mean())
    assert result["pin"]["ndcg"].after == result["pin"]["hit_rate"].after == 1
    # Nobody has touched item 29, so it is of the tail; coverage of 30 items counts the lists together.
    assert result["pin"]["tail_share"].after >= 1 / 3
    assert result["pin"]["coverage"].before == pytest.approx(len(np.unique(plain)) / 30)


def test_a_sample_of_users_and_lists_beyond_the_catalogue(fitted: Recommender, small_dataset: Dataset) -> None:
    test = held_out(small_dataset, u3="i29", u4="i29", u5="i28")
    result = price_policies(fitted, test, {"pin": PIN, "none": Policy()}, k=40, users=2)
    assert result.users == 2
    assert result["pin"]["hit_rate"].after == result["none"]["hit_rate"].after == 1
    assert [change.before == change.after for change in result["none"].changes] == [True] * 6


def test_items_that_are_gone_are_a_warning(
    fitted: Recommender, small_dataset: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="flanrec.evaluation.policies"):
        price_policies(fitted, held_out(small_dataset, u3="i29"), {"shop": Policy.parse({"pin": {"i99": 1}})}, k=3)
    assert caplog.messages == ["policy shop, pin: there is no item i99"]


def test_names_tests_and_categories_that_cannot_be_are_refused(fitted: Recommender, small_dataset: Dataset) -> None:
    both = Policy.parse({"pin": {"i1": 1}, "diversity": {}})
    assert list(with_rules_alone({"a": both, "b": PIN})) == ["a", "a / diversity", "a / pin", "b"]
    with pytest.raises(SettingsError, match="two policies are called 'a / pin'"):
        with_rules_alone({"a": both, "a / pin": PIN})
    test = held_out(small_dataset, u3="i29")
    with pytest.raises(SettingsError, match="shop: boost: no item has category 'Comedi'; the nearest is 'Comedy'"):
        price_policies(fitted, test, {"shop": Policy.parse({"boost": {"Comedi": 2}})})
    with pytest.raises(SettingsError, match="k is 0"):
        price_policies(fitted, test, {"pin": PIN}, k=0)
    with pytest.raises(DataError, match="no interactions"):
        price_policies(fitted, test.with_interactions(test.interactions.head(0)), {"pin": PIN})
    other = Dataset.from_frames({"user_id": ["u3"], "item_id": ["x"]}, {"item_id": ["x"], "title": ["X"]})
    with pytest.raises(NotFoundError, match="not in the catalogue"):
        price_policies(fitted, other, {"pin": PIN})
