"""Sanitising, cutting and comparing of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.instructions.text import clip_words, comparable, occurs, sanitise

TOKENS = ("</s>", "<s>", "<pad>", "<unk>", "<mask>", "<extra_id_0>", "<extra_id_99>")
PIECES = st.sampled_from(
    [*TOKENS, "<", ">", "/", "s", "pad", "<ex", "tra_id_1", "7>", " ", "\u200b", "\ue000", "\uff1c", "\uff1e", "\x00"]
)


@pytest.mark.parametrize("token", TOKENS)
def test_a_control_token_leaves_only_a_space(token: str) -> None:
    assert sanitise(f"good{token}bad") == "good bad"


@pytest.mark.parametrize("text", ["<<pad>/s>", "<pad<unk>>", "<ex<</s>pad>tra_id_3>", "<extra_id_1</s>2>"])
def test_nested_control_tokens_vanish(text: str) -> None:
    assert sanitise(text) == ""


@pytest.mark.parametrize("text", ["\uff1c/s\uff1e", "</\u200bs>", "<\x00pad>", "<\u2060unk>"])
def test_disguised_control_tokens_vanish(text: str) -> None:
    assert sanitise(text) == ""


@given(st.lists(st.one_of(PIECES, st.text(max_size=3)), max_size=20).map("".join))
def test_sanitised_text_is_plain_and_stays_as_it_is(text: str) -> None:
    clean = sanitise(text)
    assert sanitise(clean) == clean
    assert not any(token in clean for token in TOKENS)
    assert clean == " ".join(clean.split())
    clean.encode("utf-8")


@pytest.mark.parametrize("text", ["Amélie (2001)", "泰坦尼克号", "I ❤ you 🎬", "a < b > c", "<i>Heat</i>"])
def test_ordinary_text_is_kept(text: str) -> None:
    assert sanitise(text) == text


@given(st.text(min_size=1), st.integers(4, 60))
def test_a_cut_text_is_never_longer_than_asked(text: str, characters: int) -> None:
    clean = sanitise(text)
    cut = clip_words(clean, characters)
    assert len(cut) <= characters
    assert cut == clean if len(clean) <= characters else cut.endswith("...")


def test_a_cut_falls_between_words() -> None:
    assert clip_words("one two three four", 12) == "one two..."
    assert clip_words("one two three four", 10) == "one two..."
    assert clip_words("Supercalifragilistic", 10) == "Superca..."


def test_a_cut_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        clip_words("text", 3)


@pytest.mark.parametrize(
    ("phrase", "text", "expected"),
    [
        ("It", "An italian item", False),
        ("it", "This is IT.", True),
        ("Toy  Story", "toy story 2", True),
        ("\uff28\uff45\uff41\uff54", "heat", True),
        ("Straße", "die STRASSE", True),
        ("泰坦尼克号", "电影泰坦尼克号上映", True),
        ("", "anything", False),
        ("at", "cat at", True),
    ],
)
def test_a_phrase_occurs_only_as_whole_words(phrase: str, text: str, expected: bool) -> None:
    assert occurs(phrase, text) is expected


@given(st.text(min_size=1), st.text(), st.text())
def test_a_phrase_set_apart_by_spaces_is_always_found(phrase: str, before: str, after: str) -> None:
    if comparable(phrase) and comparable(f"{before} {phrase} {after}").count(comparable(phrase)):
        assert occurs(phrase, f"{before} {phrase} {after}")
