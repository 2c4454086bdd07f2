"""Fields and optional fragments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.instructions.markup import Markup, MarkupError


def test_a_fragment_is_dropped_with_its_field() -> None:
    markup = Markup.parse("Next[[ for {profile}]]?[[ Not {avoid}.]]")
    assert markup.fill({"profile": "Ada"}) == "Next for Ada?"
    assert markup.fill({"avoid": ""}) == "Next?"


def test_a_nested_fragment_needs_its_outer_one() -> None:
    markup = Markup.parse("Go.[[ {wish}[[ but not {avoid}]]]]")
    assert markup.fill({"wish": "up"}) == "Go. up"
    assert markup.fill({"wish": "up", "avoid": "down"}) == "Go. up but not down"
    assert markup.fill({"avoid": "down"}) == "Go."
    assert markup.carried({"avoid"}) == frozenset()


def test_required_fields_are_those_outside_fragments() -> None:
    markup = Markup.parse("{title}[[ {category}]]")
    assert markup.required == {"title"}
    assert markup.fields == {"title", "category"}
    with pytest.raises(KeyError, match="title"):
        markup.fill({"category": "x"})


def test_values_are_not_parsed() -> None:
    assert Markup.parse("{title}").fill({"title": "[[{wish}]] {"}) == "[[{wish}]] {"


def test_doubled_braces_are_literal() -> None:
    assert Markup.parse("{{{title}}}").fill({"title": "x"}) == "{x}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[ {a}", "never closed"),
        ("{a} ]]", "closes nothing"),
        ("a { b", "lone '{'"),
        ("a } b", "lone '}'"),
        ("{Title}", "lone"),
        ("[[ no field ]]", "no field of its own"),
    ],
)
def test_malformed_markup_is_refused(text: str, message: str) -> None:
    with pytest.raises(MarkupError, match=message):
        Markup.parse(text)


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        markup = Markup.parse(text)
    except MarkupError:
        return
    values = dict.fromkeys(markup.fields, "x")
    assert isinstance(markup.fill(values), str)
