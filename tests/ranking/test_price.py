from __future__ import annotations

import json
import math

import numpy as np
import pytest
from rich.console import Console

from flanrec.errors import DataError
from flanrec.metrics import UserItems, hit_rate, ndcg
from flanrec.ranking.exposure import long_tail
from flanrec.ranking.facts import ItemFacts
from flanrec.ranking.price import DEFINITIONS, intra_list_diversity, prices

KINDS = ["Drama", "War", "Comedy"]


@pytest.fixture
def facts() -> ItemFacts:
    popularity = np.arange(30, 0, -1) ** 3
    return ItemFacts(list(range(30)), popularity, {"category": [(KINDS[item % 3],) for item in range(30)]})


def test_the_price_is_the_change_of_each_metric_with_its_interval(facts: ItemFacts) -> None:
    rng = np.random.default_rng(0)
    candidates = np.array([rng.permutation(30) for _ in range(50)])
    scores = facts.popularity[candidates] * rng.random((50, 30))
    plain = np.take_along_axis(candidates, np.argsort(-scores, axis=1), axis=1)
    held_out = UserItems.from_lists(plain[:, [2]].tolist())
    history = UserItems.from_lists([[user % 30, (user + 3) % 30] for user in range(50)])
    lists = {"tail": long_tail(scores, candidates, facts.tail, 10, 0.8), "same": plain}
    result = prices(plain, lists, held_out, facts, history, k=10)
    tail = result["tail"]
    assert [change.metric for change in tail.changes] == list(DEFINITIONS)
    assert tail["ndcg"].before == pytest.approx(0.5)
    assert tail["ndcg"].after == pytest.approx(ndcg(lists["tail"], held_out, 10).mean())
    assert tail["hit_rate"].before == 1
    assert tail["hit_rate"].after == pytest.approx(hit_rate(lists["tail"], held_out, 10).mean())
    gap = tail["tail_share"].difference
    assert gap is not None
    assert gap.value == pytest.approx(tail["tail_share"].after - tail["tail_share"].before)
    assert 0 < gap.low <= gap.value <= gap.high
    assert tail["tail_share"].after == pytest.approx(0.8)
    assert tail["coverage"].after > tail["coverage"].before
    assert all(change.after == change.before for change in result["same"].changes)


def test_intra_list_diversity_a_list_by_hand(facts: ItemFacts) -> None:
    # Pairs of 0, 3, 1: one pair alike, two not.
    values = intra_list_diversity(np.array([[0, 3, 1], [0, 3, -1], [0, -1, -1]]), facts)
    assert values[:2] == pytest.approx([2 / 3, 0])
    assert math.isnan(values[2])


def test_it_can_be_written_as_a_table_and_as_json(facts: ItemFacts) -> None:
    nobody = UserItems.from_lists([[]])
    result = prices(np.array([[0, 1]]), {"[odd] name": np.array([[1, 2]])}, nobody, facts, nobody, k=2)
    written = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert written["prices"]["[odd] name"]["ndcg"]["before"] is None
    assert written["prices"]["[odd] name"]["diversity"]["after"] == 1.0
    console = Console(width=100)
    with console.capture() as capture:
        console.print(result)
    text = capture.get()
    assert "[odd] name" in text
    assert "undefined" in text
    assert all(name in text for name in DEFINITIONS)


def test_facts_without_categories_have_no_price_in_categories() -> None:
    bare = ItemFacts([0, 1, 2], np.array([3, 2, 1]))
    nobody = UserItems.from_lists([[]])
    result = prices(np.array([[0, 1]]), {"x": np.array([[2, 1]])}, nobody, bare, nobody, k=2)
    assert [change.metric for change in result["x"].changes] == ["ndcg", "hit_rate", "tail_share", "coverage"]


def test_lists_of_other_users_or_too_short_are_refused(facts: ItemFacts) -> None:
    nobody = UserItems.from_lists([[]])
    with pytest.raises(DataError, match=r"lists 'x' have shape \(2, 2\); 1 users and 2 ranks"):
        prices(np.array([[0, 1]]), {"x": np.array([[1, 2], [1, 2]])}, nobody, facts, nobody, k=2)
    with pytest.raises(DataError, match=r"lists 'plain' have shape \(1, 2\)"):
        prices(np.array([[0, 1]]), {}, nobody, facts, nobody, k=3)
