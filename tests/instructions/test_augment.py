"""What each variation promises, for any history and any text."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flanrec.errors import TemplateError
from flanrec.instructions import LANGUAGES, Templates, render, tasks
from flanrec.instructions.augment import WordingChanges, crop, mask, reorder, usable_paraphrases
from flanrec.instructions.families import FAMILIES
from flanrec.instructions.synonyms import Synonyms
from flanrec.instructions.tasks import Task
from flanrec.instructions.typos import with_typos

counts, seeds, shares = st.integers(0, 60), st.integers(0, 2**32 - 1), st.floats(0, 1)
WORDS = {language: Synonyms.load(language) for language in LANGUAGES}


@given(count=counts, seed=seeds, share=shares)
def test_a_crop_is_a_stretch_of_the_share_and_never_empty(count: int, seed: int, share: float) -> None:
    kept = crop(count, np.random.default_rng(seed), share)
    assert len(kept) == min(count, max(1, int(share * count)))
    assert (np.diff(kept) == 1).all()
    assert set(kept.tolist()) <= set(range(count))


@given(count=counts, seed=seeds, share=shares)
def test_a_mask_leaves_the_share_out_and_keeps_the_order(count: int, seed: int, share: float) -> None:
    kept = mask(count, np.random.default_rng(seed), share)
    assert len(kept) == count - min(int(share * count), max(count - 1, 0))
    assert (np.diff(kept) > 0).all()
    assert set(kept.tolist()) <= set(range(count))


@given(count=counts, seed=seeds, share=shares)
def test_a_reordering_keeps_all_and_moves_only_inside_one_stretch(count: int, seed: int, share: float) -> None:
    order = reorder(count, np.random.default_rng(seed), share)
    assert sorted(order.tolist()) == list(range(count))
    moved = np.flatnonzero(order != np.arange(count))
    assert not len(moved) or moved[-1] - moved[0] < max(1, int(share * count))


@pytest.mark.parametrize("vary", [crop, mask, reorder])
def test_the_generator_alone_decides_about_a_history(vary: object) -> None:
    drawn = [vary(20, np.random.default_rng(seed)).tolist() for seed in range(30)]  # type: ignore[operator]
    assert drawn == [vary(20, np.random.default_rng(seed)).tolist() for seed in range(30)]  # type: ignore[operator]
    assert len({tuple(one) for one in drawn}) > 5


def distance(left: str, right: str) -> int:
    """Edits between two words, a swap of neighbours counting one (Damerau 1964)."""
    rows = [list(range(len(right) + 1))]
    for i, a in enumerate(left, 1):
        row = [i]
        for j, b in enumerate(right, 1):
            best = min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                best = min(best, rows[i - 2][j - 2] + 1)
            row.append(best)
        rows.append(row)
    return rows[-1][-1]


@given(text=st.text(st.characters(codec="utf-8"), max_size=80), seed=seeds)
def test_typos_change_letters_of_words_and_nothing_else(text: str, seed: int) -> None:
    changed = with_typos(text, np.random.default_rng(seed), 1.0)
    kept = [character for character in text if not character.isalpha()]
    assert [character for character in changed if not character.isalpha()] == kept
    assert with_typos(text, np.random.default_rng(seed), 0.0) == text


@given(word=st.text("abcdefghijklmnopqrstuvwxyzABCDEF", min_size=4, max_size=14), seed=seeds)
def test_a_mistyped_word_has_one_mistake_behind_its_first_letter(word: str, seed: int) -> None:
    changed = with_typos(word, np.random.default_rng(seed), 1.0)
    assert changed[0] == word[0]
    assert distance(word, changed) == 1


def test_typos_come_as_often_as_asked_and_are_of_all_kinds() -> None:
    text = "movie " * 4000
    words = with_typos(text, np.random.default_rng(1), 0.3).split()
    wrong = Counter(word for word in words if word != "movie")
    assert sum(wrong.values()) == pytest.approx(1200, abs=120)
    assert {"mocie", "mvoie", "mvie", "moovie"} <= set(wrong)
    assert "mzvie" not in wrong  # z does not touch o
    assert with_typos("Yes or no?", np.random.default_rng(0), 1.0) == "Yes or no?"
    assert with_typos("请推荐一个电影的名称", np.random.default_rng(0), 1.0) == "请推荐一个电影的名称"


@pytest.mark.parametrize("language", LANGUAGES)
def test_synonyms_go_both_ways_and_are_never_the_word_itself(language: str) -> None:
    others = WORDS[language].others
    assert len(others) > 50
    for word, choices in others.items():
        assert word == word.casefold()
        assert choices
        for other in choices:
            assert other.casefold() != word
            assert word in {back.casefold() for back in others[other.casefold()]}


@given(seed=seeds, rate=st.sampled_from([0.0, 0.5, 1.0]))
def test_swapping_changes_only_words_of_the_table(seed: int, rate: float) -> None:
    text = "The user wants science fiction. Recommend one Movie about the filmography of Li."
    changed = WORDS["en"].swapped(text, np.random.default_rng(seed), rate)
    if rate == 0:
        assert changed == text
    for word in ("The ", " about the filmography of Li.", " one "):
        assert word in changed
    if rate == 1:
        assert "sci-fi" in changed
        assert changed.split("one ")[1].split()[0] in {"Film", "Picture"}
        assert changed.split(". ")[1].split()[0] in {"Suggest", "Propose"}


@pytest.mark.parametrize("text", ["Some SC\u0130-F\u0130 please.", "A thr\u0131ller!"])
def test_letters_that_only_the_pattern_takes_for_those_of_a_word_stay(text: str) -> None:
    for seed in range(5):
        assert WORDS["en"].swapped(text, np.random.default_rng(seed), 1.0).startswith(text[:6])


def test_a_word_that_stands_twice_in_a_group_is_not_put_in_its_own_place(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('language = "xx"\ngroups = [["wine", "Wine", "vintage"]]\n', encoding="utf-8")
    table = Synonyms.load("xx", [own])
    assert table.others == {"wine": ("vintage",), "vintage": ("wine", "Wine")}
    assert table.swapped("Wine", np.random.default_rng(0), 1.0) == "Vintage"


def test_a_file_of_ones_own_adds_to_the_package_and_mistakes_are_named(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('language = "en"\ngroups = [["film", "flick"], ["wine", "vin rouge"]]\n', encoding="utf-8")
    table = Synonyms.load("en", [own])
    assert {"movie", "picture", "flick"} == set(table.others["film"])
    assert table.swapped("Red Wine", np.random.default_rng(0), 1.0) == "Red Vin rouge"
    assert "wine" not in Synonyms.load("zh", [own]).others
    assert Synonyms.load("xx", [own]).swapped("film", np.random.default_rng(0), 1.0) == "film"
    for body in ('language = "en"\n', 'groups = [["a", "b"]]\n', 'language = "en"\ngroups = [["alone"]]\n', "=",
                 'language = "en"\ngroups = [["film", "Film "]]\n',
                 'language = "en"\ngroups = [["a", "b"]]\nmore = 1\n'):  # fmt: skip
        own.write_text(body, encoding="utf-8")
        with pytest.raises(TemplateError, match=r"own\.toml.*groups"):
            Synonyms.load("en", [own])
    with pytest.raises(TemplateError, match=r"gone\.toml"):
        Synonyms.load("en", [tmp_path / "gone.toml"])


def everything(language: str, family: str) -> Task:
    """A task with every field that may be given; titles and numbers are marked."""
    fields: dict[str, str | list[str]] = {}
    for name in sorted(FAMILIES[family].fields):
        listed = name in ("history", "liked", "disliked", "candidates", "category")
        fields[name] = [f"Qquarry{name} One", f"Qquarry{name} Two"] if listed else f"Qquarry{name}"
    for name in ("wish", "avoid"):
        if name in fields:
            fields[name] = {"en": "comedy", "zh": "喜剧"}[language]
    return Task(family, fields | {"noun": "movie", "nouns": "movies"})


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_instruction_and_wishes_vary_unless_titles_are_asked_for(language: str) -> None:
    templates = Templates.load(language)
    vary = WordingChanges(synonyms=1.0, typos=1.0, tables=WORDS)
    also = WordingChanges(title_typos=1.0)
    rng = np.random.default_rng(5)
    changed = 0
    for template in templates.templates:
        task = everything(language, template.family)
        plain = render(template, task)
        one, other = vary(template, task, rng)
        prompt = render(one, other).prompt
        changed += prompt != plain.prompt
        for name in template.prompt.fields - {"wish", "avoid", "noun", "nouns"}:
            value = task.fields[name]
            for text in [value] if isinstance(value, str) else value:
                assert text in prompt
        assert other.target == task.target
        assert one.prefix == template.prefix
        _, told = also(template, task, rng)
        for name, value in told.fields.items():
            assert (value != task.fields[name]) == (name in ("history", "liked", "disliked"))
    assert changed >= 0.8 * len(templates.templates)


def test_nothing_asked_for_changes_nothing_and_draws_nothing() -> None:
    templates, rng = Templates.load("en"), np.random.default_rng(3)
    state = rng.bit_generator.state
    for template in templates.templates:
        task = everything("en", template.family)
        assert render(*WordingChanges()(template, task, rng)) == render(template, task)
    assert rng.bit_generator.state == state


def test_a_stretch_becomes_its_paraphrase_about_every_other_time() -> None:
    templates = Templates.load("en")
    template = templates.get("sequential.en.in_order")
    task = tasks.sequential(["Alien", "Heat"], noun="film")
    stretches = templates.remarks({"noun": "film", "nouns": "films"})
    assert "Which film comes next?" in stretches
    vary = WordingChanges(paraphrases={"Which film comes next?": "And now which one?"})
    prompts = Counter(
        render(*vary(template, task, np.random.default_rng(seed))).prompt.rpartition(". ")[2] for seed in range(200)
    )
    assert set(prompts) == {"Which film comes next?", "And now which one?"}
    assert prompts["And now which one?"] == pytest.approx(100, abs=30)
    assert vary.texts() == ["And now which one?"]


def test_paraphrases_that_say_the_same_or_lose_half_are_left_out() -> None:
    told = ["Which film comes next?", "Liked before:", "Tell me more of it.", "Name one film."]
    back = ["which film comes next?", "", "More.", "Name a film."]
    assert usable_paraphrases(told, back) == {"Name one film.": "Name a film."}
