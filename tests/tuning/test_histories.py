"""Histories vary as one: events keep their ratings, times and reviews, and nothing is asked differently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.catalogue.facets import Facets
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.instructions import LeakError
from flanrec.instructions.augment import WordingChanges
from flanrec.tuning.choices import ChoiceQuestions
from flanrec.tuning.histories import HistoryChanges
from flanrec.tuning.questions import Questions

seeds = st.integers(0, 2**32 - 1)


def person(count: int, reviewed: bool = True) -> Person:
    items = np.arange(count, dtype=np.int64) * 3
    reviews = tuple(f"of {item}" for item in items) if reviewed else ()
    return Person(items, items.astype(np.float32) / 10, {"age": "30"}, items * 100.0, reviews, user_id="u7")


@given(count=st.integers(0, 30), seed=seeds, reviewed=st.booleans())
def test_events_keep_what_belongs_to_them(count: int, seed: int, reviewed: bool) -> None:
    before = person(count, reviewed)
    after = HistoryChanges(crop=0.5, mask=0.5, reorder=0.5)(before, np.random.default_rng(seed))
    assert set(after.items.tolist()) <= set(before.items.tolist())
    assert len(set(after.items.tolist())) == len(after.items) >= min(count, 1)
    np.testing.assert_array_equal(after.ratings, after.items.astype(np.float32) / 10)
    assert after.times is not None
    np.testing.assert_array_equal(after.times, after.items * 100.0)
    assert after.reviews == (tuple(f"of {item}" for item in after.items) if reviewed else ())
    assert (after.attributes, after.user_id) == (before.attributes, before.user_id)


def test_each_variation_comes_as_often_as_asked() -> None:
    before = person(10)
    for name in ("crop", "mask", "reorder"):
        vary = HistoryChanges(**{name: 0.3})
        changed = sum(len(vary(before, np.random.default_rng(seed)).items) != 10
                      or vary(before, np.random.default_rng(seed)).items.tolist() != before.items.tolist()
                      for seed in range(500))  # fmt: skip
        assert changed == pytest.approx(150, abs=35)


@pytest.fixture(scope="module")
def cropped(small_dataset: Dataset, small_prompter: Prompter) -> Questions:
    return Questions(
        people(small_dataset), small_prompter, Facets.of(small_prompter.catalogue),
        LikeRates.of(small_dataset.sequences()), histories=HistoryChanges(crop=1.0),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["next_item", "wish", "judgement", "rating", "pick", "pair"])
def test_every_kind_of_question_tells_the_varied_history(cropped: Questions, kind: str) -> None:
    plain = Questions(cropped.users, cropped.prompter, cropped.facets, cropped.rates)
    titles = cropped.prompter.catalogue.titles

    def told(questions: Questions) -> float:
        """Mean number of titles in a prompt."""
        ask = getattr(ChoiceQuestions(questions) if kind == "pair" else questions, kind)
        prompts = [ask(np.random.default_rng(seed)).prompt for seed in range(60)]
        return float(np.mean([sum(title in prompt for title in titles) for prompt in prompts]))

    assert told(cropped) < told(plain) - 0.3


def test_a_summary_tells_the_history_it_sums_up(cropped: Questions) -> None:
    plain = Questions(cropped.users, cropped.prompter, cropped.facets, cropped.rates)
    for seed in range(10):
        assert cropped.profile(np.random.default_rng(seed)) == plain.profile(np.random.default_rng(seed))


def test_a_leak_that_typos_would_hide_is_still_refused(small_prompter: Prompter) -> None:
    prompter = replace(small_prompter, changes=WordingChanges(typos=1.0, title_typos=1.0))
    anyone = Person.new([2, 3])
    title = small_prompter.catalogue.titles[5]
    task = prompter.sequential(anyone, 5, wish=f"something like {title}")
    for seed in range(5):
        with pytest.raises(LeakError, match="stands in the field"):
            prompter.word(task, np.random.default_rng(seed))
    fine = prompter.sequential(anyone, 5, wish="something quiet")
    worded = prompter.word(fine, np.random.default_rng(1))
    assert worded.target == title
    assert not any(seen in worded.prompt for seen in small_prompter.catalogue.titles)
    # In use nothing is drawn, and nothing varies.
    assert prompter.word(fine) == small_prompter.word(fine)
