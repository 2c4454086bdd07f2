"""From the store back into a model: what arrived, what changed, and who is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from flanrec.recommender import Recommender
from flanrec.recommender.forgetting import without_users
from flanrec.serving.learning import take_up
from flanrec.serving.service import Service
from flanrec.serving.settings import Learning
from flanrec.serving.store import Event, Item, Store
from flanrec.serving.store.trail import Trace

BY = Trace("tests")
LATER = 2_000_000_000.0


@pytest.fixture
def store(make_service: Callable[..., Service]) -> Store:
    """A store that knows the model's data."""
    return make_service().store


@pytest.fixture
def saved(model_folder: Path) -> Recommender:
    return Recommender.load(model_folder, device="cpu")


def test_of_a_store_that_only_knows_the_model_nothing_is_new(saved: Recommender, store: Store) -> None:
    before = saved.parts
    arrived = take_up(saved, store, Learning())
    assert saved.parts is before
    assert not arrived.touched
    assert arrived.items is None
    report = saved.update(arrived.interactions, arrived.items, arrived.users)
    assert not report.changed
    assert report.repeated == before.dataset.interactions.height


def test_events_and_items_that_came_are_learnt_and_what_is_no_behaviour_is_not(
    saved: Recommender, store: Store
) -> None:
    store.items.put([Item("n1", "The Copper Submarine", "Divers.", ("Adventure",), 2003, {"strange": [1]})], BY)
    store.events.add(
        [Event("fresh", "n1", LATER), Event("fresh", "i3", LATER + 1, "buy"), Event("u1", "n1", LATER + 2)]
    )
    store.events.add([Event("u2", "i9", LATER, "dislike"), Event("u3", "i9", LATER, "impression")])
    store.events.add([Event("u4", "i9", LATER, "report")], ["report"])
    arrived = take_up(saved, store, Learning())
    assert not arrived.touched
    report = saved.update(arrived.interactions, arrived.items, arrived.users)
    assert (report.interactions, report.items, report.users) == (3, 1, 1)
    assert saved.parts.catalogue.popularity[saved.parts.find("The Copper Submarine")] == 2
    assert len(saved.people(["fresh"])[0].items) == 2
    assert take_up(saved, store, Learning()).interactions.height == saved.parts.dataset.interactions.height


def test_users_who_were_deleted_leave_the_log_and_what_counts_it(saved: Recommender, store: Store) -> None:
    before = saved.parts
    had = before.people.find(["u1"])[0].items
    store.users.delete("u1", BY)
    arrived = take_up(saved, store, Learning())
    assert arrived.touched
    assert "u1" not in saved.parts.dataset.user_ids
    assert saved.parts.dataset.users is not None
    assert "u1" not in saved.parts.dataset.users["user_id"].to_list()
    lost = before.catalogue.popularity - saved.parts.catalogue.popularity
    assert lost.sum() == len(had)
    assert not saved.update(arrived.interactions, arrived.items, arrived.users).changed


def test_texts_that_changed_are_taken_and_deleted_items_bring_no_events(saved: Recommender, store: Store) -> None:
    store.items.patch("i3", {"title": "Renamed Dune"}, BY)
    store.events.add([Event("u1", "i20", LATER)])
    store.items.delete("i20", BY)
    arrived = take_up(saved, store, Learning())
    assert arrived.touched
    assert saved.parts.catalogue.titles[saved.parts.catalogue.index_of("i3")] == "Renamed Dune"
    assert "i20" in saved.parts.catalogue  # its events were learnt; the service closes it
    assert LATER not in arrived.interactions["timestamp"].to_list()


def test_ids_that_are_no_numbers_find_room_among_numbers(saved: Recommender, store: Store) -> None:
    data = saved.parts.dataset
    number = pl.col("user_id").str.strip_prefix("u").cast(pl.Int64)
    assert data.users is not None
    whole = replace(data, interactions=data.interactions.with_columns(number), users=data.users.with_columns(number))
    saved.adopt(replace(saved.parts, dataset=whole))
    arrived = take_up(saved, store, Learning())
    assert saved.parts.dataset.interactions["user_id"].dtype == pl.String
    assert arrived.touched


def test_a_log_without_some_users_is_that_of_the_others(fitted: Recommender) -> None:
    parts = without_users(fitted, ["u1", "nobody"])
    assert parts.dataset.interactions.equals(fitted.parts.dataset.interactions.filter(pl.col("user_id") != "u1"))
    assert parts.tokens is fitted.parts.tokens
    assert without_users(fitted, ["nobody"]) is fitted.parts


def flanrec(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flanrec", *arguments], capture_output=True, text=True, timeout=300)


def test_a_model_is_updated_from_the_store_by_a_command(model_folder: Path, store: Store, tmp_path: Path) -> None:
    store.events.add([Event("fresh", "i3", LATER), Event("fresh", "i4", LATER + 1)])
    store.users.delete("u1", BY)
    address, out = str(store.database.url.database), tmp_path / "next"
    done = flanrec("update", "--model", str(model_folder), "--store", address, "--out", str(out), "--steps", "0",
                   "--passes", "0")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "arrived: 2 interactions" in done.stdout
    assert "lacks the users who were deleted" in done.stdout
    found = Recommender.load(out, device="cpu").parts.dataset.user_ids
    assert "fresh" in found
    assert "u1" not in found


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "give either --interactions TABLE or --store ADDRESS"),
        (["--interactions", "a.csv", "--store", "s.db"], "give either --interactions TABLE or --store ADDRESS"),
        (["--store", "s.db", "--items", "b.csv"], "leave --items and --users out"),
    ],
)
def test_what_arrives_comes_from_one_place(model_folder: Path, tmp_path: Path, options: list[str], told: str) -> None:
    done = flanrec("update", "--model", str(model_folder), "--out", str(tmp_path / "next"), *options)
    assert done.returncode == 2
    assert told in done.stderr
