from __future__ import annotations

import numpy as np
import pytest

from flanrec.backbone import Backbone
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.evaluation.references import reference_reports, zero_shot_report
from flanrec.generation.engines import TorchEngine
from flanrec.recommender import RecommenderSettings

ITEMS = {"item_id": ["a", "b", "c", "d", "e"], "title": ["Ash", "Birch", "Cedar", "Dogwood", "Elm"]}


def log(events: str) -> Dataset:
    """Events such as "1a 2b": user and item, in order."""
    pairs = events.split()
    return Dataset.from_frames(
        {"user_id": [int(one[0]) for one in pairs], "item_id": [one[1] for one in pairs],
         "timestamp": [1_000_000_000 + at for at in range(len(pairs))]},
        ITEMS,
    )  # fmt: skip


def test_popularity_ranks_as_one_does_by_hand() -> None:
    # c has four events, a three, b two, d one, e none.
    known, test = log("1c 2c 3c 4c 1a 2a 3a 1b 2b 3d"), log("1d 3b 4e")
    _, popularity = reference_reports(known, test, ks=(1, 2, 4))
    assert popularity.name == "popularity"
    assert popularity.users == 3
    # User 1 gets d e, 3 gets b e, 4 gets a b d e.
    assert popularity["hit_rate@1"] == pytest.approx(2 / 3)
    assert popularity["hit_rate@2"] == pytest.approx(2 / 3)
    assert popularity["hit_rate@4"] == 1.0
    assert popularity["ndcg@4"] == pytest.approx((1 + 1 + 1 / np.log2(5)) / 3)
    assert popularity["mrr@4"] == pytest.approx((1 + 1 + 1 / 4) / 3)
    assert popularity["coverage@1"] == pytest.approx(3 / 5)


def test_events_of_the_test_do_not_count_as_popularity() -> None:
    known, test = log("1a 2a 3b"), log("1c 2c 3c")
    _, popularity = reference_reports(known, test, ks=(1,))
    assert popularity["hit_rate@1"] == 0.0


def test_random_lists_follow_the_seed_and_hit_as_often_as_chance(small_dataset: Dataset) -> None:
    train, test = hold_out_last(small_dataset)
    first, again, other = (reference_reports(train, test, seed=seed)[0] for seed in (1, 1, 2))
    assert first.name == "random"
    assert first["ndcg@10"] == again["ndcg@10"] != other["ndcg@10"]
    # About 22 of 30 items are open to a user; chance hits 10 / 22 of the 40 users, give or take 0.08.
    drawn = [reference_reports(train, test, seed=seed)[0]["hit_rate@10"] for seed in range(12)]
    assert np.mean(drawn) == pytest.approx(10 / 22, abs=0.09)


def test_seen_items_are_in_no_list() -> None:
    known, test = log("1a 1b 1c 1d"), log("1e")
    for report in reference_reports(known, test, ks=(1,)):
        assert report["hit_rate@1"] == 1.0


def test_zero_shot_lists_are_those_of_the_exact_title_probabilities(
    backbone: Backbone, small_dataset: Dataset, short_settings: RecommenderSettings
) -> None:
    from flanrec.catalogue import Catalogue
    from flanrec.catalogue.people import people
    from flanrec.metrics import UserItems, ndcg, top_k
    from flanrec.recommender.prompting import make_prompter
    from flanrec.recommender.readings import WordReading

    train, test = hold_out_last(small_dataset)
    # As many beams as titles: the search is exact.
    settings = short_settings.model_copy(update={"num_beams": 30})
    report = zero_shot_report(backbone, settings, train, test, ks=(5,), users=4, seed=3)
    assert report.users == 4
    assert "zero-shot" in report.name
    ids = test.interactions["user_id"].unique(maintain_order=True).to_list()
    ids = [ids[at] for at in np.sort(np.random.default_rng(3).choice(len(ids), 4, replace=False))]
    prompter = make_prompter(backbone, Catalogue.from_dataset(train, backbone.tokenizer), settings)
    asked = people(train, ids)
    scores = WordReading(TorchEngine(backbone), prompter, 1).scores(asked, normalisation="vocabulary")
    for row, person in enumerate(asked):
        scores[row, person.items] = -np.inf
    relevant = test.sequences(ids)
    expected = ndcg(top_k(scores, 5).items, UserItems.from_lists([relevant.of(row).tolist() for row in range(4)]), 5)
    assert report.per_user["ndcg@5"] == pytest.approx(expected)


def test_asking_zero_shot_changes_nothing(
    backbone: Backbone, small_dataset: Dataset, short_settings: RecommenderSettings
) -> None:
    train, test = hold_out_last(small_dataset)
    reports = [zero_shot_report(backbone, short_settings, train, test, users=3) for _ in range(2)]
    assert reports[0].to_dict() == reports[1].to_dict()
    assert reports[0].name == "zero-shot, 3 users"
