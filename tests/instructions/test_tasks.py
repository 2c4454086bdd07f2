"""Builders of tasks, tasks of a user, profiles in words."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from flanrec.data.dataset import Dataset
from flanrec.data.profiles import Profile
from flanrec.errors import DataError, NotFoundError, TemplateError
from flanrec.instructions import FAMILIES, Templates, profile_text, render, tasks, taste_summary
from flanrec.instructions.tasks import Task, mask_title, without_target
from flanrec.instructions.user_tasks import Asked, task_of_user


def test_titles_that_contain_the_answer_are_removed_and_counted() -> None:
    task = tasks.sequential(["Alien 3", "Heat", "ALIEN"], "Alien")
    assert task.fields["history"] == ["Heat"]
    assert task.removed == 2


def test_match_only_drops_the_item_itself() -> None:
    task = tasks.match("Toy Story", True, liked=["Toy Story 2", "toy story"])
    assert task.fields["liked"] == ["Toy Story 2"]
    assert (task.target, task.removed) == ("yes", 1)


def test_nothing_is_removed_without_an_answer() -> None:
    assert without_target(["A", "A"], None) == (["A", "A"], 0)


@pytest.mark.parametrize(
    ("text", "title", "expected"),
    [
        ("Heat is hot. HEAT (1995)!", "Heat (1995)", "... is hot. ...!"),
        ("The heater", "Heat", "The heater"),
        ("电影泰坦尼克号上映", "泰坦尼克号", "电影...上映"),
        ("Toy\n Story", "Toy Story", "..."),
    ],
)
def test_a_title_is_masked_in_its_description(text: str, title: str, expected: str) -> None:
    assert mask_title(text, title)[0] == expected


def test_empty_fields_are_left_out_and_numbers_are_short() -> None:
    assert tasks.sequential([]).fields == {}
    task = tasks.rating("Heat", 4.0)
    assert task.fields == {"title": "Heat", "low": "1", "high": "5"}
    assert (task.target, tasks.rating("Heat", 3.5).target) == ("4", "3.5")


def test_a_year_in_the_title_is_not_said_twice() -> None:
    assert "year" not in tasks.description_from_item("Heat (1995)", year=1995).fields
    assert tasks.description_from_item("Heat", year=1995).fields["year"] == "1995"


def test_pick_needs_its_answer_among_the_candidates() -> None:
    with pytest.raises(TemplateError, match="'Heat' is not among the 1 candidates"):
        tasks.pick(["Alien"], "Heat")


def test_unknown_families_and_fields_are_refused() -> None:
    with pytest.raises(TemplateError, match="unknown task family 'x'"):
        Task("x")
    with pytest.raises(TemplateError, match="no field colour; its fields are"):
        Task("wish", {"colour": "red"})


DATA = Dataset.from_frames(
    {
        "user_id": ["a", "a", "a", "b"],
        "item_id": [1, 2, 3, 1],
        "timestamp": [1_000_000_001, 1_000_000_002, 1_000_000_003, 1_000_000_004],
        "rating": [5.0, 2.0, 4.0, 1.0],
    },
    {
        "item_id": [1, 2, 3, 4],
        "title": ["Alien", "Heat", "Fargo", "Big"],
        "text": ["In space.", "A thief.", "Fargo is cold.", "A child."],
        "category": [["Horror"], ["Crime"], ["Comedy"], ["Comedy"]],
    },
    users={"user_id": ["a"], "age": [24], "zip_code": ["12345"]},
    reviews={"user_id": ["a"], "item_id": [2], "text": ["Too loud"], "rating": [2.0]},
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_users_events_pose_a_task_of_every_family(family: str, language: str) -> None:
    templates = Templates.load(language)
    task = task_of_user(DATA, "a", family, wording=templates.wording)
    for template in templates.suitable(task):
        render(template, task)
    expected = {
        "match": "yes",
        "rating": "4",
        "review_rating": "2",
        "description_from_item": "Fargo is cold.",
        "profile": taste_summary(templates.wording, Profile({}, ("Horror",), (), (), 2, 0.5)),
    }
    assert task.target == expected.get(family, "Fargo")


def test_the_answer_is_the_last_event_and_the_wish_its_category() -> None:
    task = task_of_user(DATA, "a", "wish", asked=Asked(avoid="Crime", noun="film"))
    assert task.fields == {"wish": "Comedy", "avoid": "Crime", "history": ["Alien", "Heat"], "noun": "film"}


def test_the_profile_quotes_a_review_unless_it_names_the_answer() -> None:
    wording = Templates.load("en").wording
    assert task_of_user(DATA, "a", "sequential", wording=wording).fields["profile"].endswith("wrote of Heat: Too loud")
    assert DATA.reviews is not None
    telling = replace(DATA, reviews=DATA.reviews.with_columns(text=pl.lit("Fargo is better")))
    assert "wrote" not in task_of_user(telling, "a", "sequential", wording=wording).fields["profile"]
    sequel = replace(DATA, items=DATA.items.with_columns(title=pl.Series(["Alien", "Fargo 2", "Fargo", "Big"])))
    assert "wrote" not in task_of_user(sequel, "a", "sequential", wording=wording).fields["profile"]


def test_candidates_are_unseen_and_drawn_by_seed() -> None:
    task = task_of_user(DATA, "a", "pick", seed=1)
    assert sorted(task.fields["candidates"]) == ["Big", "Fargo"]
    assert task == task_of_user(DATA, "a", "pick", seed=1)


def test_missing_users_ratings_and_texts_are_named() -> None:
    with pytest.raises(NotFoundError, match="user 'z' has no interactions"):
        task_of_user(DATA, "z", "sequential")
    bare = Dataset.from_frames({"user_id": [1], "item_id": [1]}, {"item_id": [1], "title": ["A"]})
    with pytest.raises(DataError, match="no ratings"):
        task_of_user(bare, 1, "rating")
    with pytest.raises(DataError, match="no reviews"):
        task_of_user(bare, 1, "review_rating")
    with pytest.raises(DataError, match="no text"):
        task_of_user(bare, 1, "item_from_description")
    with pytest.raises(DataError, match="no category"):
        task_of_user(bare, 1, "wish")


def test_a_profile_is_worded_without_identifying_attributes() -> None:
    known = Profile({"age": "24", "zip_code": "12345"}, ("Comedy", "War</s>"), ("Horror",), (), 9, 0.5)
    english, chinese = (Templates.load(language).wording for language in ("en", "zh"))
    assert profile_text(english, known) == "age 24; likes Comedy, War; dislikes Horror"
    assert profile_text(english, known, categories=0) == "age 24"
    assert profile_text(chinese, known) == "age 24\uff1b喜欢Comedy、War\uff1b不喜欢Horror"
    assert taste_summary(english, known) == "The user enjoys Comedy, War and does not care for Horror."
    nobody = Profile({}, (), (), (), 0, None)
    assert (profile_text(english, nobody), taste_summary(english, nobody)) == ("", "")
