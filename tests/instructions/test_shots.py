"""Solved examples before a question, in each language of the package."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flanrec.errors import TemplateError
from flanrec.instructions import LANGUAGES, Templates, render, tasks
from flanrec.instructions.render import Example
from flanrec.instructions.shots import after_examples, solved


def test_examples_stand_before_the_question_with_their_answers() -> None:
    wording = Templates.load("en").wording
    first = Example("After Heat, what next?", "Fargo", "", "sequential", "mine", "en")
    said = [solved(wording, first), solved(wording, replace(first, target="Alien"))]
    assert after_examples(wording, said, "And after Jaws?") == (
        "Question: After Heat, what next? Answer: Fargo. Question: After Heat, what next? Answer: Alien. "
        "Question: And after Jaws? Answer:"
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_of_the_package_has_words_for_them(language: str) -> None:
    templates = Templates.load(language)
    task = tasks.sequential(["Heat", "Jaws"], "Fargo")
    example = render(templates.suitable(task)[0], task)
    said = after_examples(templates.wording, [solved(templates.wording, example)] * 2, "?")
    assert said.count(example.prompt) == said.count("Fargo") == 2
    assert said.index("Fargo") < said.index("?", said.rindex("Fargo"))


def test_without_examples_a_question_is_as_it_was() -> None:
    assert after_examples(Templates.load("en").wording, [], "What next?") == "What next?"


def test_a_language_without_the_words_is_told_what_to_add() -> None:
    wording = replace(Templates.load("en").wording, phrases={})
    with pytest.raises(TemplateError, match=r"no phrase 'after_examples'.*language\.toml"):
        after_examples(wording, ["x"], "What next?")


def test_an_example_without_an_answer_is_refused() -> None:
    with pytest.raises(TemplateError, match="no answer to show"):
        solved(Templates.load("en").wording, Example("What next?", "", "", "sequential", "mine", "en"))
