"""Task families on held-out events: right answers are counted, wordings told apart, and unseen families named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError
from flanrec.evaluation.families import FamilyReport, measure_families
from flanrec.evaluation.families.answers import match, pick, rating
from flanrec.evaluation.families.asked import HeldOut
from flanrec.evaluation.families.report import FAMILIES, held_out, never_tuned, turned
from flanrec.evaluation.families.texts import description_from_item, profile, token_f1
from flanrec.evaluation.families.titles import item_from_description, next_item, wish
from flanrec.generation.engines import TorchEngine
from flanrec.metrics import Interval
from flanrec.recommender import Recommender, RecommenderSettings


@pytest.fixture(scope="module")
def known(fitted: Recommender, small_dataset: Dataset) -> Recommender:
    """The fitted recommender, when it does not know the last events."""
    train, _ = hold_out_last(small_dataset)
    recommender = Recommender(fitted.backbone, fitted.settings)
    recommender.adopt(replace(fitted.parts, dataset=train))
    return recommender


@pytest.fixture(scope="module")
def last(small_dataset: Dataset) -> Dataset:
    return hold_out_last(small_dataset)[1]


@pytest.fixture(scope="module")
def asked(known: Recommender, last: Dataset) -> HeldOut:
    return held_out(known, last, 6, 42)


class Oracle(TorchEngine):
    """Knows what comes next after the last title of a prompt, and likes what it is told to."""

    def __init__(self, recommender: Recommender, asked: HeldOut) -> None:
        super().__init__(recommender.backbone)
        self.answers = asked.items
        self.liked = asked.ratings >= 4

    def top_titles(self, prompts: Any, trie: Any, *, k: int, **options: Any) -> Any:
        rest = np.arange(30)
        lists = [[answer, *np.delete(rest, answer)][:k] for answer in self.answers[: len(prompts)]]
        return np.array(lists), np.zeros((len(prompts), k), dtype=np.float32)

    def title_log_probabilities(self, prompts: Any, token_rows: Any, *, candidates: Any = None, **options: Any) -> Any:
        assert len({len(set(row)) for row in candidates}) == 1
        return np.array(
            [[float(item == answer) for item in row] for row, answer in zip(candidates, self.answers, strict=True)]
        )

    def yes_no_logits(self, prompts: Any, *rest: Any, **more: Any) -> Any:
        return np.where(self.liked[: len(prompts)], 50.0, -50.0)


def test_who_knows_the_answers_has_the_best_metrics(known: Recommender, asked: HeldOut) -> None:
    clever = Recommender(known.backbone, known.settings)
    clever.adopt(known.parts)
    clever.use_engine(Oracle(known, asked))
    told = replace(asked, recommender=clever)
    prompter = known.parts.prompter
    assert next_item(told).ask(prompter).tolist() == [1.0] * 6
    assert pick(told).ask(prompter).tolist() == [1.0] * 6
    found = match(told)
    assert found is not None
    assert found.labels is not None
    assert ((found.ask(prompter) > 0) == found.labels).all()


def test_titles_are_judged_as_the_reading_ranks_them(known: Recommender, asked: HeldOut) -> None:
    trial = next_item(asked)
    prompter = known.parts.prompter
    prompts = [prompter.word(prompter.sequential(one), asked.rng(row)).prompt for row, one in enumerate(asked.people)]
    seen = [set(one.items.tolist()) for one in asked.people]
    items, _ = known.engine.top_titles(prompts, known.parts.catalogue.trie, k=10, num_beams=10, excluded=seen,
                                       normalisation="trie", max_nodes=600)  # fmt: skip
    expected = [
        1 / np.log2(row.index(answer) + 2) if answer in row else 0.0
        for row, answer in zip(items.tolist(), asked.items.tolist(), strict=True)
    ]
    assert trial.ask(prompter).tolist() == pytest.approx(expected)
    gains = sum(1 / np.log2(place + 2) for place in range(10))
    assert trial.chance == pytest.approx(np.mean([gains / (30 - len(one.items)) for one in asked.people]))


def test_a_rating_is_the_likeliest_of_those_there_are(known: Recommender, asked: HeldOut) -> None:
    trial = rating(asked)
    distances = trial.ask(known.parts.prompter)
    ratings = asked.ratings[trial.owners]
    possible = {abs(value - true) for value in (2.0, 4.0, 5.0) for true in ratings.tolist()}
    assert set(distances.tolist()) <= possible
    assert trial.chance == pytest.approx(np.abs(ratings - 4.0).mean())  # the median of 2, 4 and 5 given alike


@pytest.mark.parametrize(
    "make", [next_item, wish, match, pick, rating, profile, item_from_description, description_from_item]
)
def test_held_out_templates_ask_the_same_in_other_words(
    known: Recommender, asked: HeldOut, make: Callable[[HeldOut], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, worded = Prompter.word, []

    def noted(self: Prompter, task: Any, rng: Any = None, **more: Any) -> Any:
        worded.append((task, templates_of(self, task, rng)))
        return usual(self, task, rng, **more)

    def templates_of(prompter: Prompter, task: Any, rng: Any) -> set[str]:
        return {one.id for one in prompter.templates[0].suitable(task)}

    trial = make(asked)
    monkeypatch.setattr(Prompter, "word", noted)
    prompter = known.parts.prompter
    other = replace(prompter, templates=(turned(prompter.templates[0]),))
    for one in (prompter, other):
        trial.ask(one)
    assert len(worded) == 2 * len(trial.owners) > 0
    first, second = worded[: len(worded) // 2], worded[len(worded) // 2 :]
    known_ids = {one.id for one in prompter.templates[0].templates if not one.held_out}
    for (task, seen), (same, others) in zip(first, second, strict=True):
        assert (task.fields, task.target) == (same.fields, same.target)
        assert seen <= known_ids
        assert not others & known_ids


@pytest.fixture(scope="module")
def report(known: Recommender, last: Dataset) -> FamilyReport:
    done: list[int] = []
    found = measure_families(known, last, users=6, seed=1, progress=done.append)
    assert sum(done) == len(FAMILIES)
    return found


def test_every_family_with_questions_is_scored_in_both_wordings(report: FamilyReport) -> None:
    assert report.unasked == ("review_rating",)  # nobody reviewed anything
    assert [score.family for score in report.scores] == [name for name in FAMILIES if name != "review_rating"]
    for score in report.scores:
        assert score.held_out is not None
        assert score.difference is not None
        assert score.difference.value == pytest.approx(score.held_out.value - score.seen.value)
        assert score.seen.low <= score.seen.value <= score.seen.high
        assert not score.unseen
    assert report["sequential"].weight == 0.55
    assert (report["match"].metric, report["rating"].metric, report["pick"].metric) == ("AUC", "MAE", "accuracy")
    assert report["pick"].chance == 1 / 8


def test_a_family_without_weight_is_unseen_and_an_untuned_t5_has_seen_none(short_settings: RecommenderSettings) -> None:
    def unseen(**changes: Any) -> set[str]:
        words, origin = short_settings.words.model_copy(update=changes), changes.pop("origin", "")
        settings = short_settings.model_copy(update={"words": words, "origin": origin})
        return {family for family in FAMILIES if never_tuned(settings, family)}

    weights = short_settings.words.weights.model_copy(update={"pick": 0.0})
    assert unseen() == set()
    assert unseen(weights=weights) == {"pick"}
    assert unseen(steps=0) == set(FAMILIES)
    assert unseen(steps=0, origin="tuned on films", weights=weights) == {"pick"}


def test_the_table_names_what_is_unseen_and_the_record_is_plain(report: FamilyReport) -> None:
    shown = replace(report, scores=tuple(replace(one, unseen=one.family == "pick") for one in report.scores))
    console = Console(width=200, record=True)
    console.print(shown.to_table())
    text = console.export_text()
    assert text.count(" unseen ") == 1
    assert "lower is better" in text
    record = report.to_dict()
    assert record["scores"][0]["family"] == "sequential"
    assert isinstance(report["sequential"].seen, Interval)
    assert record["scores"][0]["seen"]["count"] == 6


def test_an_unrated_log_is_matched_by_what_was_taken(known: Recommender, unrated_dataset: Dataset) -> None:
    train, test = hold_out_last(unrated_dataset)
    other = Recommender(known.backbone, known.settings)
    rates = LikeRates.of(train.sequences(), known.settings.liked_rating)
    other.adopt(replace(known.parts, dataset=train, rates=rates))
    asked = held_out(other, test, 4, 0)
    found = match(asked)
    assert found is not None
    assert found.labels is not None
    assert found.labels.tolist() == [True] * 4 + [False] * 4
    assert found.owners.tolist() == [0, 1, 2, 3] * 2
    assert not len(rating(asked).owners)


def test_strangers_alone_cannot_be_asked(known: Recommender, last: Dataset) -> None:
    strangers = last.with_interactions(last.interactions.with_columns(pl.lit("stranger").alias("user_id")))
    with pytest.raises(DataError, match="no user of the test has a history"):
        measure_families(known, strangers)


@pytest.mark.parametrize(
    ("said", "target", "expected"),
    [
        ("a b c", "a b c", 1.0),
        ("a a b", "a", 0.5),
        ("", "a", 0.0),
        ("喜欢喜剧", "喜欢戏剧", 0.75),
        ("Yes.", "yes", 1.0),
    ],
)
def test_shared_words_are_counted_as_often_as_both_have_them(said: str, target: str, expected: float) -> None:
    assert token_f1(said, target) == pytest.approx(expected)
    assert token_f1(target, said) == pytest.approx(expected)
