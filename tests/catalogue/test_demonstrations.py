"""Solved examples of other users: whose they are, what they do not say, and how long they get."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.catalogue.demonstrations import Demonstrations, same_user
from flanrec.catalogue.people import People, Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.errors import SettingsError
from flanrec.instructions import Example, Task, Templates
from flanrec.instructions.text import occurs


@pytest.fixture(scope="module")
def shown(small_dataset: Dataset, small_prompter: Prompter) -> Demonstrations:
    return Demonstrations(People.of(small_dataset), small_prompter)


def next_task(prompter: Prompter, person: Person, target: int | None = None) -> Task:
    return prompter.sequential(person, target)


def owners(shown: Demonstrations, example: Example) -> set[str]:
    """Users who met all titles that an example names, one after another: those it can be of."""
    titles = shown.prompter.catalogue.titles
    named = {at for at, title in enumerate(titles) if occurs(title, f"{example.prompt} {example.target}")}
    log = shown.people.log
    return {str(log.user_ids[user]) for user in range(len(log)) if named <= set(log.of(user).tolist())}


def test_examples_end_with_what_came_next(shown: Demonstrations, small_dataset: Dataset) -> None:
    person = people(small_dataset, ["u3"])[0]
    found = shown.examples(next_task(shown.prompter, person), person, 3)
    titles = shown.prompter.catalogue.titles
    assert len(found) == 3
    for example in found:
        named = [at for at, title in enumerate(titles) if occurs(title, example.prompt)]
        # The circle of the log: after item i comes item i + 1.
        assert any(titles.index(example.target) == (at + 1) % 28 for at in named)
        assert not occurs(example.target, example.prompt)


@pytest.mark.parametrize("seed", [0, 1])
def test_nobody_is_shown_their_own_events(shown: Demonstrations, small_dataset: Dataset, seed: int) -> None:
    """Alone with one other user, everybody is shown that one, or nobody where one history is part of the other."""
    for user in range(0, 40, 3):
        ids = [f"u{user}", f"u{(user + 1) % 40}"]
        events = small_dataset.interactions.filter(small_dataset.interactions["user_id"].is_in(ids))
        alone = replace(shown, people=People.of(small_dataset.with_interactions(events)), seed=seed)
        person = people(small_dataset, ids[:1])[0]
        for asked in (person, person.before(4), replace(person, user_id=None)):
            found = alone.examples(next_task(shown.prompter, asked), asked, 2)
            assert len(found) == 1 or (asked.user_id is None and not found)
            assert all(ids[1] in owners(alone, example) for example in found)


def test_the_answer_is_not_shown_where_it_is_known(shown: Demonstrations, small_dataset: Dataset) -> None:
    titles = shown.prompter.catalogue.titles
    for user, person in enumerate(people(small_dataset, [f"u{user}" for user in range(40)])):
        target = int(person.items[-1])
        asked = person.before(len(person.items) - 1)
        found = shown.examples(next_task(shown.prompter, asked, target), asked, 3)
        assert len(found) == 3, user
        assert not any(occurs(titles[target], f"{one.prompt} {one.target}") for one in found)


def test_attributes_of_others_are_not_told(shown: Demonstrations, small_dataset: Dataset) -> None:
    person = people(small_dataset, ["u3"])[0]
    for task in (next_task(shown.prompter, person), shown.prompter.match(person, 5)):
        for example in shown.examples(task, person, 3):
            assert "occupation" not in example.prompt
            assert "age 2" not in example.prompt


def test_match_shows_a_yes_and_a_no_by_turns(shown: Demonstrations, small_dataset: Dataset) -> None:
    # Every third user rates Comedy 5, Drama 4 and Sci-Fi 2.
    ids = [f"u{user}" for user in range(0, 40, 3)]
    events = small_dataset.interactions.filter(small_dataset.interactions["user_id"].is_in(ids))
    alike = replace(shown, people=People.of(small_dataset.with_interactions(events)))
    person = people(small_dataset, ["u1"])[0]
    found = alike.examples(shown.prompter.match(person, 5), person, 4)
    assert [example.target for example in found] == ["yes", "no", "yes", "no"]
    titles = shown.prompter.catalogue.titles
    for example in found:
        asked = next(at for at, title in enumerate(titles) if f'"{title}"' in example.prompt)
        assert (asked % 3 == 2) == (example.target == "no")


def test_without_ratings_a_no_is_an_item_that_was_not_met(unrated_dataset: Dataset, small_prompter: Prompter) -> None:
    shown = Demonstrations(People.of(unrated_dataset), small_prompter)
    person = people(unrated_dataset, ["u3"])[0]
    found = shown.examples(small_prompter.match(person, 5), person, 4)
    assert [example.target for example in found] == ["yes", "no", "yes", "no"]


def test_a_wish_is_shown_wishes(shown: Demonstrations, small_dataset: Dataset) -> None:
    person = people(small_dataset, ["u3"])[0]
    found = shown.examples(shown.prompter.sequential(person, wish="drama"), person, 3)
    catalogue = shown.prompter.catalogue
    for example in found:
        assert example.family == "wish"
        own = catalogue.categories[catalogue.titles.index(example.target)]
        assert any(occurs(kind, example.prompt) for kind in own)


@settings(max_examples=20, deadline=None)
@given(user=st.integers(0, 39), shots=st.integers(1, 6), budget=st.integers(160, 512), match=st.booleans())
def test_a_prompt_keeps_its_budget(
    shown: Demonstrations, small_dataset: Dataset, user: int, shots: int, budget: int, match: bool
) -> None:
    person = people(small_dataset, [f"u{user}"])[0]
    task = shown.prompter.match(person, 7) if match else next_task(shown.prompter, person)
    question = shown.prompter.word(task).prompt
    short = replace(shown, max_tokens=budget)
    try:
        prompt = short.before(question, task, person, shots)
    except SettingsError:
        assert (budget - 128 - 8) // shots < 24
        return
    assert shown.prompter.count_tokens(prompt) <= budget
    assert question in prompt


def test_too_many_examples_for_the_room_are_refused_with_what_to_do(
    shown: Demonstrations, small_dataset: Dataset
) -> None:
    person = people(small_dataset, ["u3"])[0]
    with pytest.raises(SettingsError, match=r"20 solved examples get 12 tokens each, and need 24.*fewer examples"):
        shown.examples(next_task(shown.prompter, person), person, 20)


def test_examples_follow_the_seed_and_not_the_company(shown: Demonstrations, small_dataset: Dataset) -> None:
    person = people(small_dataset, ["u3"])[0]
    task = next_task(shown.prompter, person)
    assert shown.examples(task, person, 3) == replace(shown).examples(task, person, 3)
    assert shown.examples(task, person, 3) != replace(shown, seed=7).examples(task, person, 3)


def test_where_nobody_else_is_a_question_stays_as_it_is(shown: Demonstrations, small_dataset: Dataset) -> None:
    events = small_dataset.interactions.filter(small_dataset.interactions["user_id"] == "u3")
    alone = replace(shown, people=People.of(small_dataset.with_interactions(events)))
    person = people(small_dataset, ["u3"])[0]
    task = next_task(shown.prompter, person)
    assert alone.before("What next?", task, person, 3) == "What next?"


def test_chinese_questions_are_shown_chinese_examples(small_dataset: Dataset, small_prompter: Prompter) -> None:
    prompter = replace(
        small_prompter, templates=(Templates.load("zh"),), count_tokens=len, max_tokens=220, noun="", nouns=""
    )
    shown = Demonstrations(People.of(small_dataset), prompter, max_tokens=700)
    person = people(small_dataset, ["u3"])[0]
    task = next_task(prompter, person)
    question = prompter.word(task).prompt
    prompt = shown.before(question, task, person, 2)
    assert prompt.count("示例") + prompt.count("问题：") == 3
    assert prompt.endswith("答案：")
    assert len(prompt) <= 700
    found = shown.examples(prompter.match(person, 5), person, 2)
    assert [example.target for example in found] == ["是", "否"]


def test_two_are_the_same_by_id_or_by_a_history_within_the_other() -> None:
    def person(items: list[int], user: object = None) -> Person:
        return replace(Person.new(items), user_id=user)

    assert same_user(person([1, 2], 7), person([3, 4], "7"))
    assert not same_user(person([1, 2], 7), person([1, 2], 8))
    assert same_user(person([1, 2]), person([1, 2, 3], 8))
    assert same_user(person([1, 2, 3]), person([2, 3], 8))
    assert not same_user(person([1, 4]), person([1, 2, 3], 8))
    assert not same_user(person([]), person([1, 2, 3], 8)), "somebody of whom nothing is known may be shown anybody"


def test_ids_go_with_people(small_dataset: Dataset) -> None:
    person = people(small_dataset, ["u3"])[0]
    assert person.user_id == person.before(2).user_id == person.without(1).user_id == "u3"
    assert Person.new([1]).user_id is None
    assert np.array_equal(person.before(2).items, person.items[:2])
