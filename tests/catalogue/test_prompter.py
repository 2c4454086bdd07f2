"""Users, wishes and items in words: what a prompt says, and what it must not know."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.errors import SettingsError
from flanrec.instructions import Templates
from flanrec.instructions.text import occurs


@pytest.fixture(scope="module")
def user(small_dataset: Dataset) -> Person:
    """User 6: items 2 to 13; likes Comedy best, Drama, and not Sci-Fi."""
    return people(small_dataset, ["u6"])[0]


def test_the_item_token_instruction_says_wish_aversion_and_profile(small_prompter: Prompter, user: Person) -> None:
    task = small_prompter.item_tokens(user, 4, wish="comedy", avoid="drama")
    assert task.fields["wish"] == "comedy"
    assert task.fields["avoid"] == "drama"
    # What is wanted now is not mixed with what is usually liked.
    assert task.fields["profile"] == "age 26, occupation doctor"
    plain = small_prompter.item_tokens(user, 4)
    assert plain.fields["profile"] == "age 26, occupation doctor; likes Comedy, Drama; dislikes Sci-Fi"
    for held_out in (False, True):
        prompt = small_prompter.word(task, held_out=held_out).prompt
        assert all(occurs(words, prompt) for words in ("comedy", "drama", "occupation doctor"))
    assert "profile" not in small_prompter.item_tokens(user, 4, told=False).fields


@settings(max_examples=30, deadline=None)
@given(window=st.integers(1, 12), seed=st.integers(0, 10_000))
def test_the_profile_beside_item_vectors_covers_only_events_before_the_window(
    small_prompter: Prompter, user: Person, window: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    first = max(0, len(user.items) - window)
    items, ratings = user.items.copy(), user.ratings.copy()
    items[first:] = rng.integers(30, size=len(items) - first)
    ratings[first:] = rng.integers(1, 6, size=len(items) - first)
    changed = Person(items, ratings, user.attributes)
    assert small_prompter.item_tokens(changed, window) == small_prompter.item_tokens(user, window)


def test_events_before_the_window_do_change_the_profile(small_prompter: Prompter, user: Person) -> None:
    worse = Person(user.items, np.where(np.arange(len(user.items)) < 6, 1, user.ratings), user.attributes)
    assert small_prompter.item_tokens(worse, 4) != small_prompter.item_tokens(user, 4)


def test_a_user_of_whom_nothing_is_known_gets_a_plain_instruction(small_prompter: Prompter) -> None:
    task = small_prompter.item_tokens(Person.new(), 4)
    assert task.present == {"noun", "nouns"}
    assert occurs("movie", small_prompter.word(task).prompt)


def test_the_next_item_is_asked_after_the_newest_titles(small_prompter: Prompter, user: Person) -> None:
    prompter = replace(small_prompter, titles=3)
    titles = prompter.catalogue.titles
    task = prompter.sequential(user.before(8), target=10, told=False)
    assert task.family == "sequential"
    assert task.fields["history"] == [titles[item] for item in (7, 8, 9)]
    assert task.target == titles[10]
    assert "profile" not in task.fields
    again = prompter.sequential(user.before(8), target=8)
    assert again.fields["history"] == [titles[7], titles[9]]
    assert str(again.fields["profile"]).startswith("age 26")


def test_a_wish_or_an_empty_history_makes_it_a_wish(small_prompter: Prompter, user: Person) -> None:
    wished = small_prompter.sequential(user, wish="comedy", avoid="drama")
    assert (wished.family, wished.fields["wish"], wished.fields["avoid"]) == ("wish", "comedy", "drama")
    new = small_prompter.sequential(Person.new(attributes={"age": "30"}), told=False)
    assert (new.family, new.fields["wish"], new.fields["profile"]) == ("wish", "movie", "age 30")
    assert "movie" in small_prompter.word(new).prompt
    assert replace(small_prompter, noun="", nouns="").sequential(Person.new()).fields["wish"] == "item"


def test_a_match_tells_likes_dislikes_and_unrated_items_apart(small_prompter: Prompter) -> None:
    titles = small_prompter.catalogue.titles
    ratings = np.array([5, 2, np.nan, 4, 1], dtype=np.float32)
    person = Person(np.array([0, 1, 2, 3, 4]), ratings, {})
    task = small_prompter.match(person, 9, True)
    assert task.fields["liked"] == [titles[0], titles[3]]
    assert task.fields["disliked"] == [titles[1], titles[4]]
    assert task.fields["history"] == [titles[2]]
    assert task.fields["title"] == titles[9]
    assert task.fields["category"] == ["Comedy"]
    assert task.target == "yes"
    assert small_prompter.match(person, 9, False).target == "no"
    assert small_prompter.match(person, 9).target is None


def test_the_matched_item_itself_is_not_in_the_history(small_prompter: Prompter, user: Person) -> None:
    seen = int(user.items[0])
    task = small_prompter.match(user, seen)
    assert small_prompter.catalogue.titles[seen] not in [*task.fields["liked"], *task.fields.get("disliked", [])]


def test_what_is_liked_is_a_setting_of_the_prompter(small_prompter: Prompter, user: Person) -> None:
    harsh = replace(small_prompter, liked_rating=5.0)
    kinds = [harsh.catalogue.categories[int(item)][0] for item in user.items]
    liked = [harsh.catalogue.titles[item] for item, kind in zip(user.items, kinds, strict=True) if kind == "Comedy"]
    assert harsh.match(user, 29).fields["liked"] == liked
    assert harsh.profile(user).like_rate == pytest.approx(len(liked) / len(user.items))


def test_wordings_are_drawn_from_the_tuning_templates_by_the_rng_alone(small_prompter: Prompter, user: Person) -> None:
    task = small_prompter.sequential(user)
    drawn = {small_prompter.word(task, np.random.default_rng(seed)).template for seed in range(60)}
    tuning = {template.id for template in small_prompter.templates[0].suitable(task)}
    assert drawn == tuning
    assert not any("held_out" in name for name in drawn)
    assert "held_out" in small_prompter.word(task, np.random.default_rng(0), held_out=True).template
    first, second = (small_prompter.word(task, np.random.default_rng(5)) for _ in range(2))
    assert first == second
    assert small_prompter.word(task).template == small_prompter.templates[0].suitable(task)[0].id


def test_no_prompt_is_longer_than_allowed(small_prompter: Prompter, user: Person) -> None:
    short = replace(small_prompter, max_tokens=60)
    task = short.sequential(user, wish="comedy")
    assert small_prompter.count_tokens(small_prompter.word(task).prompt) > 60
    prompt = short.word(task).prompt
    assert small_prompter.count_tokens(prompt) <= 60
    # The newest title stays, the oldest goes.
    assert occurs(short.catalogue.titles[int(user.items[-1])], prompt)
    assert not occurs(short.catalogue.titles[int(user.items[-10])], prompt)


def test_a_wish_is_worded_in_several_ways(small_prompter: Prompter) -> None:
    assert small_prompter.wish_words("Sci-Fi") == "sci-fi"
    forms = {small_prompter.wish_words("Sci-Fi", np.random.default_rng(seed)) for seed in range(100)}
    words = [f"{before}{name}{after}" for name in ("sci-fi", "Sci-Fi") for before, after in
             (("", ""), ("", " movies"), ("something ", ""))]  # fmt: skip
    assert forms == set(words)


def test_each_language_words_its_own_prompts(small_prompter: Prompter, user: Person) -> None:
    both = replace(small_prompter, templates=(Templates.load("en"), Templates.load("zh")), noun="", nouns="")
    example = both.word(both.item_tokens(user, 4, language=1), language=1)
    assert example.language == "zh"
    assert "喜欢Comedy" in example.prompt
    forms = {both.wish_words("Comedy", np.random.default_rng(seed), language=1) for seed in range(60)}
    nouns = both.templates[1].wording.words["nouns"]
    assert forms == {name + after for name in ("comedy", "Comedy") for after in ("", nouns)}


def test_a_prompter_without_templates_or_titles_is_refused(small_prompter: Prompter) -> None:
    with pytest.raises(SettingsError, match="no templates"):
        replace(small_prompter, templates=())
    with pytest.raises(SettingsError, match="titles is 0"):
        replace(small_prompter, titles=0)


def test_the_newest_review_is_quoted_unless_it_names_the_answer(small_prompter: Prompter, user: Person) -> None:
    titles = small_prompter.catalogue.titles
    written = replace(user, reviews=("Dull.", *[""] * 3, f"As cold</s> as  {titles[20]}!", *[""] * 7))
    said = small_prompter.sequential(written, 5).fields["profile"]
    assert said == (
        f"age 26, occupation doctor; likes Comedy, Drama, Adventure; dislikes Sci-Fi; wrote of {titles[6]}: "
        f"As cold as {titles[20]}!"
    )
    assert small_prompter.sequential(written, 20).fields["profile"].endswith(f"wrote of {titles[2]}: Dull.")
    for wish in ("", "comedy"):
        assert "wrote" not in small_prompter.item_tokens(written, 4, wish=wish).fields["profile"]
    assert small_prompter.sequential(written, 6).fields["profile"].endswith(f"wrote of {titles[2]}: Dull.")
    assert "wrote" not in small_prompter.sequential(replace(user, reviews=("</s>",) * 12), 5).fields["profile"]
    chinese = replace(small_prompter, templates=(Templates.load("zh"),))
    assert f"评《{titles[6]}》：As cold" in chinese.sequential(written, 5).fields["profile"]
    long = replace(user, reviews=("word " * 100,) * 12)
    assert len(small_prompter.sequential(long, 5).fields["profile"]) < 200
