"""Choices drawn from histories: what was taken beside what was not, none of it in the prompt, all of it by the rng."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.catalogue.facets import Facets
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.errors import DataError
from flanrec.instructions.text import occurs
from flanrec.tuning.choices import ChoiceQuestions
from flanrec.tuning.objectives.candidates import Choice
from flanrec.tuning.objectives.contrastive import Meeting
from flanrec.tuning.questions import Questions

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)
NAMES = ("pair", "ranking", "sample", "preference")


def make(dataset: Dataset, prompter: Prompter, users: list[Person] | None = None, **options: Any) -> ChoiceQuestions:
    shape = {name: options.pop(name) for name in ("candidates", "hard") if name in options}
    known = people(dataset) if users is None else users
    facets, rates = Facets.of(prompter.catalogue), LikeRates.of(dataset.sequences())
    return ChoiceQuestions(Questions(known, prompter, facets, rates, **options), **shape)


def uphill(histories: Any) -> Any:
    """A teacher that holds an item the likelier, the higher its number."""
    return np.tile(np.log(np.arange(1, 31, dtype=np.float32)), (len(histories), 1))


@pytest.fixture(scope="module")
def choices(small_dataset: Dataset, small_prompter: Prompter) -> ChoiceQuestions:
    return make(small_dataset, small_prompter)


@pytest.fixture(scope="module")
def taught(small_dataset: Dataset, small_prompter: Prompter) -> ChoiceQuestions:
    return make(small_dataset, small_prompter, teacher=uphill, trust=0.8)


@pytest.fixture(scope="module")
def unrated(unrated_dataset: Dataset, small_prompter: Prompter) -> ChoiceQuestions:
    return make(unrated_dataset, small_prompter)


def moments(choices: ChoiceQuestions, choice: Choice) -> list[tuple[Person, int]]:
    """The users and moments that a choice can be about: what is excluded had happened, but for candidates."""
    open_ = set(choice.items)
    return [
        (user, end)
        for user in choices.questions.users
        for end in range(1, len(user.items))
        if {int(item) for item in user.items[:end]} - open_ == set(choice.excluded)
    ]


@quick
@given(seed=seeds, name=st.sampled_from(NAMES))
def test_no_candidate_stands_in_the_prompt_or_comes_twice_or_is_excluded(
    choices: ChoiceQuestions, taught: ChoiceQuestions, unrated: ChoiceQuestions, seed: int, name: str
) -> None:
    for some in (choices, taught, unrated):
        choice: Choice = getattr(some, name)(np.random.default_rng(seed))
        titles = some.questions.prompter.catalogue.titles
        assert 2 <= len(choice.items) == len(choice.grades) == len(set(choice.items)) <= 8
        assert not any(occurs(titles[item], choice.prompt) for item in choice.items)
        assert not set(choice.items) & set(choice.excluded)
        assert moments(some, choice)


@pytest.mark.parametrize("name", [*NAMES, "meeting"])
def test_the_rng_alone_decides(small_dataset: Dataset, small_prompter: Prompter, name: str) -> None:
    first, second = (getattr(make(small_dataset, small_prompter, teacher=uphill), name) for _ in range(2))
    drawn = [first(np.random.default_rng(seed)) for seed in range(12)]
    assert [second(np.random.default_rng(seed)) for seed in reversed(range(12))] == drawn[::-1]
    assert len({one.prompt for one in drawn}) > 6


def test_a_pair_is_what_came_next_beside_items_that_the_user_never_took(choices: ChoiceQuestions) -> None:
    others = []
    for seed in range(60):
        choice = choices.pair(np.random.default_rng(seed))
        assert choice.grades == (1.0,) + (0.0,) * 7
        taken, *rest = choice.items
        assert any(
            user.items[end] == taken and not set(rest) & set(user.items.tolist())
            for user, end in moments(choices, choice)
        )
        others += rest
    # Evenly, so those that nobody ever took are among them as often as any.
    assert 20 < sum(item > 27 for item in others) < 70


def test_what_is_sampled_is_corrected_by_how_often_it_is_drawn(choices: ChoiceQuestions) -> None:
    weights = choices.questions.prompter.catalogue.weights
    repeated = 0
    for seed in range(60):
        choice = choices.sample(np.random.default_rng(seed))
        assert choice.grades[0] == 1.0
        assert set(choice.grades[1:]) == {0.0}
        counts = weights[list(choice.items)] / weights.sum() / np.exp(choice.corrections)
        np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
        assert counts[0] == pytest.approx(1.0)
        assert counts[1:].sum() == pytest.approx(7.0)
        repeated += int((counts > 1.5).sum())
    assert repeated > 20


def test_a_preference_is_a_like_over_what_the_same_user_rated_low(choices: ChoiceQuestions) -> None:
    by_rating = 0
    for seed in range(60):
        choice = choices.preference(np.random.default_rng(seed))
        (chosen,) = (item for item, grade in zip(choice.items, choice.grades, strict=True) if grade == 1.0)
        rejected = [item for item in choice.items if item != chosen]
        assert 1 <= len(rejected) <= 4

        def fits(user: Person, end: int, chosen: int = chosen, rejected: list[int] = rejected) -> bool:
            rated = dict(zip(user.items.tolist(), user.ratings.tolist(), strict=True))
            low = all(rated.get(item, 0.0) < 4.0 for item in rejected)
            return bool(user.items[end] == chosen and user.ratings[end] >= 4.0 and low)

        about = [user for user, end in moments(choices, choice) if fits(user, end)]
        assert about
        by_rating += any(item in user.items for user in about for item in rejected)
    assert by_rating > 40


def test_without_ratings_what_was_popular_then_and_never_taken_is_rejected(unrated: ChoiceQuestions) -> None:
    never = 0
    for seed in range(40):
        choice = unrated.preference(np.random.default_rng(seed))
        chosen, *rejected = choice.items
        never += len({28, 29} & set(rejected))
        assert choice.grades == (1.0,) + (0.0,) * len(rejected)
        assert any(
            user.items[end] == chosen and not set(rejected) & set(user.items.tolist())
            for user, end in moments(unrated, choice)
        )
    # What nobody ever took comes only where nothing was before the moment.
    assert never <= 4


def test_a_taught_ranking_is_graded_by_the_logarithm_of_beliefs(taught: ChoiceQuestions) -> None:
    for seed in range(40):
        choice = taught.ranking(np.random.default_rng(seed))

        def fits(user: Person, end: int, choice: Choice = choice) -> bool:
            believed = taught.questions.believed(user.before(end), user.items[end:])
            return bool(np.allclose(np.exp(choice.grades), believed[list(choice.items)], rtol=1e-9, atol=0.0))

        assert any(fits(*moment) for moment in moments(taught, choice))
        assert np.isfinite(choice.grades).all()


def test_a_ranking_without_a_teacher_is_graded_by_ratings(choices: ChoiceQuestions, unrated: ChoiceQuestions) -> None:
    grades = set()
    for seed in range(40):
        choice = choices.ranking(np.random.default_rng(seed))
        wanted = {5.0: 4.0, 4.0: 3.0, 2.0: 1.0}

        def fits(user: Person, end: int, choice: Choice = choice, wanted: dict[float, float] = wanted) -> bool:
            came = {int(item): wanted[float(rating)] for item, rating in zip(user.items, user.ratings, strict=True)}
            return all(came.get(item, 0.0) == grade for item, grade in zip(choice.items, choice.grades, strict=True))

        assert any(fits(*moment) for moment in moments(choices, choice))
        grades |= set(choice.grades)
        assert set(unrated.ranking(np.random.default_rng(seed)).grades) == {4.0, 0.0}
    assert grades == {0.0, 1.0, 3.0, 4.0}


def test_a_meeting_is_an_instruction_with_what_came_and_hard_negatives(choices: ChoiceQuestions) -> None:
    titles = choices.questions.prompter.catalogue.titles
    hard = 0
    for seed in range(40):
        met: Meeting = choices.meeting(np.random.default_rng(seed))
        assert met.item in met.known
        assert not set(met.hard) & set(met.known)
        assert not any(occurs(titles[item], met.prompt) for item in (met.item, *met.hard))
        assert any(tuple(sorted(set(user.items.tolist()))) == met.known for user in choices.questions.users)
        hard += len(met.hard)
    assert hard > 70


@pytest.mark.parametrize("candidates", [2, 3])
def test_no_more_candidates_than_asked_for(small_dataset: Dataset, small_prompter: Prompter, candidates: int) -> None:
    for some in (make(small_dataset, small_prompter, candidates=candidates),
                 make(small_dataset, small_prompter, candidates=candidates, teacher=uphill)):  # fmt: skip
        for draw in (getattr(some, name) for name in NAMES):
            assert all(len(draw(np.random.default_rng(seed)).items) <= candidates for seed in range(10))


def test_items_that_share_the_title_of_what_was_taken_are_no_alternatives(
    small_dataset: Dataset, small_prompter: Prompter
) -> None:
    # Items 2k and 2k + 1 are namesakes.
    titles = [small_prompter.catalogue.titles[item // 2 * 2] for item in range(30)]
    twins = make(small_dataset, replace(small_prompter, catalogue=replace(small_prompter.catalogue, titles=titles)))
    draws: list[Callable[[np.random.Generator], Choice]] = [twins.pair, twins.sample, twins.preference]
    for draw in draws:
        for seed in range(20):
            choice = draw(np.random.default_rng(seed))
            taken = [titles[item] for item, grade in zip(choice.items, choice.grades, strict=True) if grade]
            assert not {titles[item] for item in choice.items if titles[item] not in taken} & set(taken)
            assert len(taken) == sum(titles[item] in taken for item in choice.items) == 1


def test_users_who_took_everything_have_nothing_to_choose_from(small_prompter: Prompter) -> None:
    two = Dataset.from_frames(
        {"user_id": [1, 1], "item_id": [1, 2], "timestamp": [1_000_000_000, 1_000_000_001]},
        {"item_id": [1, 2], "title": ["Alien", "Heat"]},
    )
    whole = small_prompter.catalogue
    first_two = replace(
        whole, item_ids=[1, 2], titles=whole.titles[:2], texts=whole.texts[:2], categories=whole.categories[:2],
        years=whole.years[:2], popularity=np.array([1, 1]), token_rows=whole.token_rows[:2],
    )  # fmt: skip
    alone = make(two, replace(small_prompter, catalogue=first_two))
    for name in ("pair", "sample", "preference"):
        with pytest.raises(DataError, match="nothing to choose from"):
            getattr(alone, name)(np.random.default_rng(0))
    assert alone.meeting(np.random.default_rng(0)).hard == ()
