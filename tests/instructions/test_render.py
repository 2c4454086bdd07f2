"""Rendering: what the model sees, how it is trimmed, and that the answer is not in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import TemplateError
from flanrec.instructions import FAMILIES, LeakError, Template, Templates, render, render_all, sanitise, tasks
from flanrec.instructions.tasks import Task
from flanrec.instructions.text import occurs

EN = Templates.load("en")
IN_ORDER = EN.get("sequential.en.in_order")
TITLES = st.text(min_size=1, max_size=30).filter(lambda title: bool(sanitise(title)))


def words(text: str) -> int:
    return len(text.split())


def test_a_prompt_is_exactly_its_template_filled() -> None:
    task = tasks.sequential(["Alien", "Heat"], "Fargo", profile="age 24", noun="film", nouns="films")
    example = render(IN_ORDER, task)
    assert example.prompt == "Chosen so far, oldest first: Alien; Heat. About the user: age 24. Which film comes next?"
    assert (example.target, example.prefix, example.family) == ("Fargo", "", "sequential")
    assert (example.template, example.language) == ("sequential.en.in_order", "en")


def test_a_user_without_history_gets_a_whole_question() -> None:
    assert render(IN_ORDER, tasks.sequential([])).prompt == "Which item comes next?"


def test_control_tokens_reach_neither_prompt_nor_target() -> None:
    example = render(IN_ORDER, tasks.sequential(["Alien</s>", "<pad>", "He<extra_id_3>at"], "Far<unk>go"))
    assert example.prompt.startswith("Chosen so far, oldest first: Alien; He at. Which")
    assert example.target == "Far go"


def test_history_is_trimmed_from_the_oldest_end_by_whole_titles() -> None:
    history = [f"Long title number {number}" for number in range(50)]
    whole = words(render(IN_ORDER, tasks.sequential(history[-3:])).prompt)
    example = render(IN_ORDER, tasks.sequential(history), count_tokens=words, max_tokens=whole + 3)
    assert example.prompt == render(IN_ORDER, tasks.sequential(history[-3:])).prompt


def test_only_a_lone_title_is_cut_and_at_a_word() -> None:
    long = "word " * 40 + "end"
    example = render(IN_ORDER, tasks.sequential(["Short", long]), count_tokens=words, max_tokens=20)
    assert words(example.prompt) <= 20
    assert "Short" not in example.prompt
    assert "word word... Which item comes next?" in example.prompt.replace("....", "...")


def test_a_long_text_is_cut_and_the_title_kept() -> None:
    task = tasks.match("Heat (1995)", text="thief " * 300)
    for template in EN.suitable(task):
        example = render(template, task, count_tokens=words, max_tokens=40)
        assert words(example.prompt) <= 40
        assert "Heat (1995)" in example.prompt


def test_candidates_are_never_cut() -> None:
    task = tasks.pick(["Alien one two three", "Heat"], "Heat", history=["Old title"] * 30)
    template = EN.get("pick.en.which_of")
    assert "Alien one two three; Heat" in render(template, task, count_tokens=words, max_tokens=20).prompt
    with pytest.raises(TemplateError, match=r"pick\.en\.which_of.*needs at least \d+ tokens.*more than the 8"):
        render(template, task, count_tokens=words, max_tokens=8)


@given(st.lists(TITLES, max_size=30), st.integers(17, 60))
def test_a_trimmed_prompt_fits_and_keeps_the_newest_titles(history: list[str], limit: int) -> None:
    def characters(text: str) -> int:
        return len(text) // 4

    example = render(IN_ORDER, tasks.sequential(history), count_tokens=characters, max_tokens=limit)
    assert characters(example.prompt) <= limit
    clean = [sanitise(title) for title in history]
    kept = [render(IN_ORDER, tasks.sequential(clean[start:])).prompt for start in range(len(clean) + 1)]
    assert example.prompt in kept or "..." in example.prompt


@given(st.lists(TITLES, max_size=10), TITLES, st.sampled_from([t for t in EN.templates if t.family == "sequential"]))
def test_the_answer_never_stands_among_the_facts(history: list[str], target: str, template: Template) -> None:
    task = tasks.sequential(history, target)
    example = render(template, task)
    assert len(task.fields.get("history", [])) + task.removed == len(history)
    for title in task.fields.get("history", []):
        assert not occurs(target, title)
    if len(target) > 25:  # too long to stand in a template's own words
        assert target.casefold() not in example.prompt.casefold()


@pytest.mark.parametrize(
    "task",
    [
        Task("sequential", {"history": ["Alien", "\uff28\uff25\uff21\uff34  (1995)"]}, "Heat (1995)"),
        Task("sequential", {"history": ["Heat 2"]}, "heat"),
        Task("sequential", {"profile": "likes Heat"}, "Heat"),
        tasks.wish("something like Heat", "Heat"),
        Task("item_from_description", {"description": "In Heat, a thief."}, "Heat"),
        tasks.description_from_item("A thief meets a detective", "A thief"),
        Task("profile", {"history": ["The user likes war"]}, "The user likes war"),
        tasks.item_tokens(wish="Heat please", target="Heat"),
    ],
)
def test_a_leak_is_refused_in_every_wording(task: Task) -> None:
    for template in EN.suitable(task) + EN.suitable(task, held_out=True):
        with pytest.raises(LeakError, match="take it out before rendering"):
            render(template, task)


def test_a_template_may_use_the_word_that_happens_to_be_the_answer() -> None:
    assert render(IN_ORDER, tasks.sequential(["Alien"], "Item")).target == "Item"


def test_pick_shows_the_answer_among_its_candidates() -> None:
    example = render(EN.get("pick.en.candidates"), tasks.pick(["Heat", "Alien"], "Heat"))
    assert example.prompt == "Candidates: Heat; Alien. Best candidate?"
    assert example.target == "Heat"


@pytest.mark.parametrize(("language", "answers"), [("en", ["yes", "no"]), ("zh", ["是", "否"])])
def test_match_answers_in_the_words_of_the_language(language: str, answers: list[str]) -> None:
    templates = Templates.load(language)
    for template in templates.of("match", held_out=None):
        found = [render(template, tasks.match("Heat", liked)).target for liked in (True, False)]
        assert found == answers


def test_item_tokens_have_no_target_in_words() -> None:
    task = tasks.item_tokens(wish="comedy", target="Heat")
    assert all(render(template, task).target == "" for template in EN.suitable(task))


def test_a_missing_field_is_named_with_template_and_remedy() -> None:
    with pytest.raises(TemplateError, match=r"item_tokens\.en\.wants_but_no.*needs the field \{wish\}.*\[\["):
        render(EN.get("item_tokens.en.wants_but_no"), tasks.item_tokens(avoid="x"))


def test_template_and_task_of_different_families_are_refused() -> None:
    with pytest.raises(TemplateError, match="words sequential tasks, not wish"):
        render(IN_ORDER, tasks.wish("comedy"))


def test_many_tasks_are_rendered_and_leaks_counted() -> None:
    good = tasks.wish("comedy", "Big")
    examples, leaks = render_all(EN, [good, tasks.wish("Heat", "Heat"), good], np.random.default_rng(3))
    assert (len(examples), leaks) == (2, 1)


@given(st.data())
def test_every_template_renders_every_task_it_is_suitable_for(data: st.DataObject) -> None:
    language = data.draw(st.sampled_from(["en", "zh"]))
    family = FAMILIES[data.draw(st.sampled_from(list(FAMILIES)))]
    lists = {"history", "liked", "disliked", "candidates", "category"}
    fields: dict[str, str | list[str]] = {}
    for name in sorted(family.fields):
        if name in family.needs or data.draw(st.booleans()):
            values = data.draw(st.lists(TITLES, min_size=1, max_size=4))
            fields[name] = values if name in lists else values[0]
    task = Task(family.name, fields)
    for template in Templates.load(language).suitable(task):
        prompt = render(template, task).prompt
        assert prompt == " ".join(prompt.split())
        assert "</s>" not in prompt
