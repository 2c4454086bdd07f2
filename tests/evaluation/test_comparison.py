"""A comparison's numbers, by hand and against the metrics they are made of."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from flanrec.catalogue.people import Person
from flanrec.cli.common import json_text
from flanrec.data import Dataset
from flanrec.errors import DataError, NotFoundError, SettingsError
from flanrec.evaluation.comparison import Comparison
from flanrec.evaluation.comparison_tables import lines_of, seed_lines
from flanrec.evaluation.methods import K, Kind, Row
from flanrec.evaluation.tasks import RankingTask
from flanrec.metrics import UserItems
from flanrec.metrics.intervals import bootstrap_interval, paired_bootstrap

ITEMS = 20
USERS = 60


def row(name: str, places: list[int], kind: Kind = "source", seconds: float = 0.5) -> Row:
    """Lists of items 1, 2, ... with item 0 at each user's place from 1; 0 for a list without it."""
    items = np.tile(np.arange(1, K + 1), (len(places), 1))
    for user, place in enumerate(places):
        if place:
            items[user, place - 1] = 0
    return Row(name, kind, f"settings of {name}", items, seconds, seconds / 1000)


@pytest.fixture
def task() -> RankingTask:
    """Sixty users who all took item 0 afterwards; user u had u events, and item 0 holds half of the log."""
    log = {"user_id": list(range(USERS)), "item_id": [0] * 30 + list(range(1, 11)) * 3}
    known = Dataset.from_frames(log, {"item_id": range(ITEMS), "title": [f"Title {at}" for at in range(ITEMS)]})
    people = [Person.new([11] * user) for user in range(USERS)]
    return RankingTask("leave-one-out", 42, known, list(range(USERS)), people, UserItems.from_lists([[0]] * USERS))


@pytest.fixture
def rows() -> list[Row]:
    """One that is always right, one that is right second, and one that knows every other user."""
    return [row("first", [1] * USERS, "reading"), row("second", [2] * USERS), row("half", [3, 0] * (USERS // 2))]


def test_means_are_those_of_the_definition(task: RankingTask, rows: list[Row]) -> None:
    found = Comparison.of(task, rows, "first").standings
    assert [found[name].ndcg.value for name in ("first", "second", "half")] == pytest.approx([1, 1 / np.log2(3), 0.25])
    assert [found[name].hit_rate.value for name in ("first", "second", "half")] == [1, 1, 0.5]
    assert found["half"].difference.value == pytest.approx(-0.75)


def test_a_row_against_itself_differs_by_nothing(task: RankingTask, rows: list[Row]) -> None:
    twin = replace(rows[2], name="twin of half")
    found = Comparison.of(task, [*rows, twin], "half").standings
    for name in ("half", "twin of half"):
        difference = found[name].difference
        assert (difference.value, difference.low, difference.high) == (0, 0, 0)


def test_a_constant_lead_has_no_width(task: RankingTask, rows: list[Row]) -> None:
    difference = Comparison.of(task, rows, "second").standings["first"].difference
    assert (difference.low, difference.high) == pytest.approx((1 - 1 / np.log2(3),) * 2)


def test_intervals_agree_with_those_of_each_row_alone(task: RankingTask, rows: list[Row]) -> None:
    comparison = Comparison.of(task, rows, "first")
    values = comparison.per_user["ndcg@10"]
    alone, paired = bootstrap_interval(values[:, 2]), paired_bootstrap(values[:, 2], values[:, 0])
    ours = comparison.standings["half"]
    assert (ours.ndcg.low, ours.ndcg.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    assert (ours.difference.low, ours.difference.high) == pytest.approx((paired.low, paired.high), abs=0.01)


def test_numbers_of_a_row_do_not_depend_on_its_company(task: RankingTask, rows: list[Row]) -> None:
    three, two = Comparison.of(task, rows, "first"), Comparison.of(task, [rows[2], rows[0]], "first")
    assert three.standings["half"] == two.standings["half"]


def test_segments_by_hand(task: RankingTask, rows: list[Row]) -> None:
    comparison = Comparison.of(task, rows, "first")
    assert {name: int(users.sum()) for name, users in comparison.segments.items()} == {
        "head": 60, "< 30 events": 30, "≥ 30 events": 30,
    }  # fmt: skip
    only_few = replace(rows[2], items=np.where(np.arange(USERS)[:, None] < 30, rows[0].items, rows[2].items))
    by_segment = Comparison.of(task, [rows[0], only_few], "first").by_segment
    assert by_segment["< 30 events"]["half"].ndcg.value == 1
    assert by_segment["≥ 30 events"]["half"].ndcg.value == pytest.approx(0.25)
    assert by_segment["≥ 30 events"]["half"].ndcg.count == 30


def test_coverage_and_popularity_by_hand(task: RankingTask, rows: list[Row]) -> None:
    comparison = Comparison.of(task, rows, "first")
    # Item 0 has 30 events, each of the ten others 3; "first" holds item 0 in place of item 1.
    assert comparison.coverage(rows[0]) == 10 / ITEMS
    assert comparison.popularity(rows[0]) == pytest.approx((30 + 9 * 3) / 10)
    cold = replace(task, allowed=np.arange(ITEMS) < 11)
    assert Comparison.of(cold, rows, "first").coverage(rows[0]) == 10 / 11


def test_the_same_task_gives_the_same_json_but_for_times(task: RankingTask, rows: list[Row]) -> None:
    slower = [replace(one, fit_seconds=float("nan")) for one in rows]
    first, second = (Comparison.of(task, each, "first").to_dict() for each in (rows, slower))
    assert first.pop("seconds") != second.pop("seconds")
    assert json_text(first) == json_text(second)
    assert all(name in first["definitions"] for name in ("NDCG@10", "HR@10", "coverage", "popularity", "interval"))
    assert json.loads(json_text(second)) == second


def test_tables_have_every_row_and_a_dash_for_unknown_times(task: RankingTask, rows: list[Row]) -> None:
    lines = lines_of(Comparison.of(task, [rows[0], replace(rows[1], fit_seconds=float("nan"))], "first"))
    assert [(line.number, line.name, line.is_reference) for line in lines] == [(1, "first", True), (2, "second", False)]
    assert [line.fit_seconds for line in lines] == ["0.50", "–"]
    assert lines[1].difference_interval == "[-0.3691, -0.3691]"
    assert lines[1].segments["head"][0] == "0.6309"


def test_seeds_are_summed_up(task: RankingTask, rows: list[Row]) -> None:
    other = [replace(rows[0], items=rows[2].items), *rows[1:]]
    lines = seed_lines([Comparison.of(task, each, "first") for each in (rows, other)])
    assert (lines[0].name, lines[0].seeds, lines[0].mean, lines[0].low) == ("first", 2, "0.6250", "0.2500")


def test_rows_that_do_not_fit_are_refused(task: RankingTask, rows: list[Row]) -> None:
    with pytest.raises(NotFoundError, match="first, second, half"):
        Comparison.of(task, rows, "absent")
    with pytest.raises(SettingsError, match="one name"):
        Comparison.of(task, [*rows, rows[0]], "first")
    with pytest.raises(DataError, match="'short' has lists of shape"):
        Comparison.of(task, [*rows, row("short", [1] * 3)], "first")
