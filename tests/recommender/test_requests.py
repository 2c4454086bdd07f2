from __future__ import annotations

import logging

import polars as pl
import pytest

from flanrec.errors import DataError, NotFoundError, SettingsError
from flanrec.recommender import Recommender
from flanrec.recommender.requests import all_of, allowed_items, one_of, pairs_of, warn_of_strangers


def test_users_come_with_their_histories_and_a_history_without_an_id(fitted: Recommender) -> None:
    ids, persons = all_of(fitted.parts, ("u3", "nobody"), None, None)
    assert ids == ["u3", "nobody"]
    assert [len(person.items) for person in persons] == [9, 0]
    ids, persons = all_of(fitted.parts, None, ["i3", "Amber Viaduct (1984)"], {"age": "30"})
    assert ids == [None]
    assert (persons[0].items.tolist(), persons[0].attributes) == ([3, 4], {"age": "30"})


def test_exactly_one_of_user_and_history_is_taken(fitted: Recommender) -> None:
    assert one_of(fitted.parts, "u3", None, None).items.tolist() == fitted.people(["u3"])[0].items.tolist()
    assert one_of(fitted.parts, None, [], None).items.tolist() == []
    for user, history in ((None, None), ("u3", ["i3"])):
        with pytest.raises(SettingsError, match="either a user or a history"):
            one_of(fitted.parts, user, history, None)


def test_a_pair_is_a_person_and_a_place_in_the_catalogue(fitted: Recommender) -> None:
    users, items = pairs_of(
        fitted.parts, pl.DataFrame({"user_id": ["u3", "nobody", "u3"], "item_id": ["i0", "i9", "i0"]})
    )
    assert items == [0, 9, 0]
    assert users[0] is users[2]
    assert len(users[1].items) == 0
    with pytest.raises(DataError, match="lack the column user_id"):
        pairs_of(fitted.parts, pl.DataFrame({"item_id": ["i0"]}))


def test_what_is_closed_stays_closed_even_where_it_alone_may_come(fitted: Recommender) -> None:
    catalogue = fitted.parts.catalogue
    assert allowed_items(catalogue, None, ()) is None
    only = allowed_items(catalogue, ["i1", "i2"], ["i2"])
    assert only is not None
    assert only.nonzero()[0].tolist() == [1]
    without = allowed_items(catalogue, None, ["i0"])
    assert without is not None
    assert without.sum() == 29
    with pytest.raises(NotFoundError, match="'i99'"):
        allowed_items(catalogue, None, ["i99"])
    with pytest.raises(SettingsError, match="without is the text"):
        allowed_items(catalogue, None, "i9")


def test_only_strangers_are_warned_of(fitted: Recommender, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="flanrec.recommender.requests"):
        warn_of_strangers(fitted.people(["u1"]))
        assert not caplog.records
        warn_of_strangers(fitted.people(["u1", "nobody"]))
    assert "1 of 2 users have no history" in caplog.text
