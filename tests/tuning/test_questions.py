"""Questions drawn from histories: no answer among the facts, nothing from the future, the rng alone decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.errors import DataError
from flanrec.instructions import Templates
from flanrec.instructions.text import occurs
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.objectives.match import Judgement
from flanrec.tuning.questions import Questions, user_likes
from flanrec.tuning.text_questions import TextQuestions

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60, deadline=None)


def make(dataset: Dataset, prompter: Prompter, users: list[Person] | None = None, **options: Any) -> Questions:
    return Questions(
        people(dataset) if users is None else users,
        prompter,
        Facets.of(prompter.catalogue),
        LikeRates.of(dataset.sequences()),
        **options,
    )


@pytest.fixture(scope="module")
def questions(small_dataset: Dataset, small_prompter: Prompter) -> Questions:
    return make(small_dataset, small_prompter)


@pytest.fixture(scope="module")
def bilingual(small_dataset: Dataset, small_prompter: Prompter) -> Questions:
    both = (Templates.load("en"), Templates.load("zh"))
    return make(small_dataset, replace(small_prompter, templates=both))


@pytest.fixture(scope="module")
def unrated(unrated_dataset: Dataset, small_prompter: Prompter) -> Questions:
    return make(unrated_dataset, small_prompter)


def drawing(questions: Questions) -> dict[str, Callable[[np.random.Generator], Question | Judgement]]:
    names = ("next_item", "wish", "pick", "rating", "profile", "judgement")
    return {name: getattr(questions, name) for name in names}


@quick
@given(seed=seeds)
def test_no_answer_stands_in_the_prompt_that_asks_for_it(bilingual: Questions, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for question in (bilingual.next_item(rng), bilingual.wish(rng), bilingual.profile(rng)):
        assert 1 <= len(question.answers) == len(question.weights)
        assert not any(occurs(answer, question.prompt) for answer in question.answers)


@quick
@given(seed=seeds)
def test_prompts_tell_only_what_was_before_the_answers(questions: Questions, seed: int) -> None:
    titles = questions.prompter.catalogue.titles
    rng = np.random.default_rng(seed)
    for question in (questions.next_item(rng), questions.wish(rng)):
        first = titles.index(question.answers[0])
        told = [at for at, title in enumerate(titles) if occurs(title, question.prompt)]
        # Everybody walks the circle and takes 12 steps at most: those behind have 1 to 11 steps to the answer.
        assert all(1 <= (first - item) % 28 <= 11 for item in told)


@pytest.mark.parametrize("name", ["next_item", "wish", "pick", "rating", "profile", "judgement"])
def test_the_rng_alone_decides(small_dataset: Dataset, small_prompter: Prompter, name: str) -> None:
    first, second = (drawing(make(small_dataset, small_prompter))[name] for _ in range(2))
    drawn = [first(np.random.default_rng(seed)) for seed in range(12)]
    assert [second(np.random.default_rng(seed)) for seed in reversed(range(12))] == drawn[::-1]
    assert len({question.prompt for question in drawn}) > 6


def test_the_answers_are_what_came_next_and_fade(questions: Questions) -> None:
    titles = questions.prompter.catalogue.titles
    lengths = set()
    for seed in range(60):
        question = questions.next_item(np.random.default_rng(seed))
        items = [titles.index(answer) for answer in question.answers]
        assert items == [(items[0] + step) % 28 for step in range(len(items))]
        assert question.weights == pytest.approx([0.8**step for step in range(len(items))])
        lengths.add(len(items))
    assert lengths == {1, 2, 3, 4}


def test_a_wish_has_only_answers_that_fit_it(questions: Questions) -> None:
    titles, facets = questions.prompter.catalogue.titles, questions.facets
    wished = set()
    for seed in range(80):
        question = questions.wish(np.random.default_rng(seed))
        # The profile names categories too; without it the wish is the only one.
        if "age" in question.prompt:
            continue
        (facet,) = [at for at, name in enumerate(facets.names) if occurs(name, question.prompt)]
        wished.add(facet)
        assert all(facets.members[titles.index(answer), facet] for answer in question.answers)
    assert len(wished) == len(facets.names)


def test_where_nothing_can_be_wished_for_any_next_item_is_asked(
    small_dataset: Dataset, small_prompter: Prompter
) -> None:
    bare = Catalogue(**{**vars_of(small_prompter.catalogue), "categories": [()] * 30, "years": [None] * 30})
    prompter = replace(small_prompter, catalogue=bare)
    assert make(small_dataset, prompter).wish(np.random.default_rng(0)).answers
    # One facet that nobody ever meets: the draws must not run dry.
    rare = Catalogue(**{**vars_of(bare), "categories": [("War",) if item > 27 else () for item in range(30)]})
    prompter = replace(small_prompter, catalogue=rare)
    questions = Questions(
        people(small_dataset), prompter, Facets.of(rare, fewest=1), LikeRates.of(small_dataset.sequences())
    )
    assert questions.facets.names == ["War"]
    assert questions.wish(np.random.default_rng(0)).answers


def vars_of(catalogue: Catalogue) -> dict[str, Any]:
    names = ("item_ids", "titles", "texts", "categories", "years", "popularity", "token_rows", "eos")
    return {name: getattr(catalogue, name) for name in names}


@quick
@given(seed=seeds)
def test_a_title_that_the_profile_names_is_asked_without_it(
    small_dataset: Dataset, small_prompter: Prompter, seed: int
) -> None:
    titles = ["doctor" if item % 2 else "comedy" for item in range(30)]
    confusing = Catalogue(**{**vars_of(small_prompter.catalogue), "titles": titles})
    questions = make(small_dataset, replace(small_prompter, catalogue=confusing))
    rng = np.random.default_rng(seed)
    for question in (questions.next_item(rng), questions.wish(rng)):
        assert not any(occurs(answer, question.prompt) for answer in question.answers)


@quick
@given(seed=seeds)
def test_a_pick_offers_the_answer_and_nothing_else_that_the_user_knows(
    small_dataset: Dataset, questions: Questions, seed: int
) -> None:
    titles = questions.prompter.catalogue.titles
    question = questions.pick(np.random.default_rng(seed), candidates=5)
    (answer,) = question.answers
    assert occurs(answer, question.prompt)
    target = titles.index(answer)
    shown = {at for at, title in enumerate(titles) if occurs(title, question.prompt)}

    # Whoever has the answer in the log and these items before it has nothing of the other candidates.
    def fits(user: Person) -> bool:
        items = user.items.tolist()
        if target not in items[1:]:
            return False
        end = items.index(target)
        history = set(items[max(0, end - 5) : end])
        return history < shown and not (shown - history - {target}) & set(items) and len(shown - history) == 5

    assert any(fits(user) for user in people(small_dataset))


def test_the_answer_of_a_pick_stands_at_every_place(questions: Questions) -> None:
    titles = questions.prompter.catalogue.titles
    places = set()
    for seed in range(80):
        question = questions.pick(np.random.default_rng(seed), candidates=3)
        history = [(titles.index(question.answers[0]) - step) % 28 for step in range(1, 12)]
        offered = [title for at, title in enumerate(titles) if at not in history and occurs(title, question.prompt)]
        offered.sort(key=question.prompt.index)
        places.add(offered.index(question.answers[0]))
    assert places == {0, 1, 2}


def test_a_rating_is_asked_on_the_scale_of_the_log_and_answered_with_its_number(questions: Questions) -> None:
    answers = set()
    for seed in range(40):
        question = questions.rating(np.random.default_rng(seed))
        assert occurs("2", question.prompt)
        assert occurs("5", question.prompt)
        answers |= set(question.answers)
    assert answers == {"2", "4", "5"}


def test_a_profile_is_summed_up_from_titles(questions: Questions) -> None:
    question = questions.profile(np.random.default_rng(3))
    assert question.answers[0].startswith("The user enjoys ")
    assert not occurs("Comedy", question.prompt)
    assert question.weights == (0.3,)


class TestJudgement:
    """Yes or no, with odds that do not know the answer."""

    def test_the_offset_is_the_like_rates_log_odds_without_the_own_answer(
        self, small_dataset: Dataset, small_prompter: Prompter, questions: Questions
    ) -> None:
        everybody = people(small_dataset)
        rates = LikeRates.of(small_dataset.sequences())
        possible: dict[tuple[str, bool], list[float]] = {}
        for user in everybody:
            likes, counts = float((user.ratings >= 4).sum()), float(len(user.items))
            for item, rating in zip(user.items.tolist(), user.ratings.tolist(), strict=True):
                own = float(rating >= 4)
                i_rate = (rates.likes[item] - own + 10 * rates.overall) / (rates.counts[item] - 1 + 10)
                u_rate = (likes - own + 10 * rates.overall) / (counts - 1 + 10)
                odds = [math.log(rate / (1 - rate)) for rate in (i_rate, u_rate, rates.overall)]
                key = (small_prompter.catalogue.titles[item], bool(own))
                possible.setdefault(key, []).append(odds[0] + odds[1] - odds[2])
        seen = set()
        for seed in range(60):
            one = questions.judgement(np.random.default_rng(seed))
            title = next(t for t in small_prompter.catalogue.titles if f'"{t}"' in one.prompt)
            assert min(abs(odds - one.offset) for odds in possible[title, one.liked]) < 1e-9
            seen.add(one.liked)
        assert seen == {True, False}

    def test_without_ratings_a_no_is_an_item_drawn_at_random(
        self, unrated: Questions, small_prompter: Prompter
    ) -> None:
        titles = small_prompter.catalogue.titles
        total, likes = unrated.rates.counts.sum(), 0
        for seed in range(80):
            one = unrated.judgement(np.random.default_rng(seed))
            item = next(at for at, title in enumerate(titles) if f'"{title}"' in one.prompt)
            count = unrated.rates.counts[item]
            expected = count / (total + 29) if one.liked else (count + 1) / (total + 30)
            assert one.offset == pytest.approx(math.log(expected * 30))
            likes += one.liked
        assert 20 <= likes <= 60

    def test_a_user_who_has_seen_everything_is_never_said_to_dislike(self, small_prompter: Prompter) -> None:
        two = Dataset.from_frames(
            {"user_id": [1, 1], "item_id": [1, 2], "timestamp": [1_000_000_000, 1_000_000_001]},
            {"item_id": [1, 2], "title": ["Alien", "Heat"]},
        )
        names = vars_of(small_prompter.catalogue)
        first_two = {name: value[:2] if name != "eos" else value for name, value in names.items()}
        questions = make(two, replace(small_prompter, catalogue=Catalogue(**first_two)))
        assert all(questions.judgement(np.random.default_rng(seed)).liked for seed in range(20))


def test_a_rated_event_is_found_even_where_it_is_the_only_one(small_dataset: Dataset, small_prompter: Prompter) -> None:
    nan = float("nan")
    late = Person(np.arange(30), np.array([nan] * 29 + [4.0], dtype=np.float32))
    only_first = Person(np.arange(5), np.array([3.0, nan, nan, nan, nan], dtype=np.float32))
    questions = make(small_dataset, small_prompter, [late, only_first])
    for seed in range(10):
        assert questions.rating(np.random.default_rng(seed)).answers == ("4",)
        # The event before which nothing happened is never asked about.
        assert questions.judgement(np.random.default_rng(seed)).liked


def test_users_of_one_event_are_passed_over_and_an_empty_log_is_refused(
    small_dataset: Dataset, small_prompter: Prompter, unrated_dataset: Dataset
) -> None:
    short = [user.before(1) for user in people(small_dataset)]
    with pytest.raises(DataError, match="two events"):
        make(small_dataset, small_prompter, short).next_item(np.random.default_rng(0))
    with pytest.raises(DataError, match="rated an item"):
        make(small_dataset, small_prompter, people(unrated_dataset)).rating(np.random.default_rng(0))


def test_likes_of_a_user_leave_unrated_events_out() -> None:
    user = Person(np.arange(4), np.array([5, np.nan, 3, 4], dtype=np.float32))
    assert user_likes(user, 4.0) == (2.0, 3.0)


@pytest.fixture(scope="module")
def about(small_dataset: Dataset, small_prompter: Prompter) -> TextQuestions:
    reviews = pl.DataFrame(
        {
            "user_id": ["u1", "u2", "u3"],
            "item_id": ["i1", "i2", "i3"],
            "text": ["Loved every minute", "Dull", "Fine"],
            "rating": [5.0, 1.5, None],
        }
    )
    reviewed = Dataset.from_frames(
        small_dataset.interactions.select("user_id", "item_id", "timestamp", "rating"),
        small_dataset.items,
        reviews=reviews,
    )
    return TextQuestions(reviewed, small_prompter)


class TestTextQuestions:
    """Questions about items' own texts and reviews."""

    def test_items_without_text_and_reviews_without_rating_are_left_out(self, about: TextQuestions) -> None:
        assert about.described == [item for item in range(30) if item % 4 != 3]
        assert about.reviews == [("Loved every minute", 5.0), ("Dull", 1.5)]

    @quick
    @given(seed=seeds)
    def test_title_and_text_ask_for_each_other(self, about: TextQuestions, seed: int) -> None:
        catalogue = about.prompter.catalogue
        question = about.item_from_description(np.random.default_rng(seed))
        item = catalogue.titles.index(question.answers[0])
        assert catalogue.texts[item].rstrip(".") in question.prompt
        assert not occurs(question.answers[0], question.prompt)
        question = about.description_from_item(np.random.default_rng(seed))
        item = catalogue.texts.index(question.answers[0])
        assert catalogue.titles[item] in question.prompt
        assert not occurs(question.answers[0], question.prompt)

    def test_a_review_asks_for_its_rating_on_the_scale_of_all(self, about: TextQuestions) -> None:
        drawn = {about.review_rating(np.random.default_rng(seed)) for seed in range(40)}
        for question in drawn:
            assert question.answers == (("5",) if "Loved every minute" in question.prompt else ("1.5",))
            assert occurs("1.5", question.prompt)
        assert {question.answers for question in drawn} == {("5",), ("1.5",)}

    def test_an_item_named_by_its_text_is_passed_over(self, small_prompter: Prompter, backbone: Backbone) -> None:
        items = pl.DataFrame(
            {
                "item_id": [1, 2],
                "title": ["", "Heat"],
                "text": ["A slow film.", "Thieves and a hunter."],
                "category": [[], ["Heat"]],
            }
        )
        catalogue = Catalogue.from_frame(items, backbone.tokenizer)
        dataset = Dataset.from_frames({"user_id": [1], "item_id": [2], "timestamp": [1_000_000_000]}, items[1:])
        about = TextQuestions(dataset, replace(small_prompter, catalogue=catalogue))
        drawn = {about.description_from_item(np.random.default_rng(seed)).answers for seed in range(20)}
        assert drawn == {("Thieves and a hunter.",)}

    def test_the_noun_of_the_catalogue_is_used(self, about: TextQuestions) -> None:
        prompts = [about.item_from_description(np.random.default_rng(seed)).prompt for seed in range(20)]
        assert any("movie" in prompt for prompt in prompts)
        assert not any(occurs("item", prompt) for prompt in prompts)


@quick
@given(seed=seeds)
def test_a_teacher_gives_beliefs_about_unseen_items_and_draws_are_the_answers(
    small_dataset: Dataset, small_prompter: Prompter, seed: int
) -> None:
    heard = []

    def teacher(histories: Any) -> np.ndarray:
        heard.append(histories[0])
        return np.tile(np.linspace(0, 2, 30, dtype=np.float32), (len(histories), 1))

    questions = make(small_dataset, small_prompter, teacher=teacher, trust=0.5, answers=6)
    rng = np.random.default_rng(seed)
    titles, members = small_prompter.catalogue.titles, questions.facets.members
    for wished in (False, True):
        question = questions.wish(rng) if wished else questions.next_item(rng)
        history = heard[-1]
        assert question.beliefs is not None
        assert question.beliefs.sum() == pytest.approx(1.0)
        assert question.answers == tuple(titles[item] for item in question.items)
        assert (question.beliefs[list(question.items)] > 0).all()
        assert sum(question.weights) == pytest.approx(1.0)
        # Nobody takes an item twice here, so all that was seen is out.
        assert set(question.excluded) == set(history.tolist())
        assert not question.beliefs[history].any()
        assert not any(occurs(answer, question.prompt) for answer in question.answers)
        if wished:
            assert any((members[np.flatnonzero(question.beliefs)][:, one]).all() for one in range(members.shape[1]))
        else:  # half of the belief is what came next
            assert question.beliefs[(history[-1] + 1) % 28] > 0.1


def test_the_teacher_is_asked_about_the_moment_of_the_question(
    small_dataset: Dataset, small_prompter: Prompter
) -> None:
    heard = []

    def teacher(histories: Any) -> np.ndarray:
        heard.extend(histories)
        return np.zeros((len(histories), 30), dtype=np.float32)

    questions = make(small_dataset, small_prompter, teacher=teacher, trust=0.0, answers=3)
    for seed in range(20):
        question = questions.next_item(np.random.default_rng(seed))
        following = {(int(heard[-1][-1]) + step) % 28 for step in (1, 2, 3)}
        assert set(question.items) <= following
