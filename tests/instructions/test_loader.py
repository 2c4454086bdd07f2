"""The templates of the package and those of a user."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from flanrec.errors import NotFoundError, TemplateError
from flanrec.instructions import FAMILIES, LANGUAGES, Templates, render, tasks

MINIMAL = {
    "sequential": tasks.sequential(["A", "B"]),
    "wish": tasks.wish("comedy"),
    "pick": tasks.pick(["A", "B"]),
    "match": tasks.match("A"),
    "rating": tasks.rating("A"),
    "item_from_description": tasks.item_from_description("A text"),
    "description_from_item": tasks.description_from_item("A"),
    "profile": tasks.profile(["A"]),
    "review_rating": tasks.review_rating("Good"),
    "item_tokens": tasks.item_tokens(),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_five_templates_and_a_held_out_one(language: str, family: str) -> None:
    templates = Templates.load(language)
    assert len(templates.of(family)) >= 5
    assert len(templates.of(family, held_out=True)) >= 1
    prompts = [template.prompt.source for template in templates.of(family, held_out=None)]
    assert len(set(prompts)) == len(prompts)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("held_out", [False, True])
def test_a_task_with_the_least_facts_can_be_worded(language: str, family: str, held_out: bool) -> None:
    assert len(Templates.load(language).suitable(MINIMAL[family], held_out)) >= (1 if held_out else 5)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("wish", ["", "comedy"])
@pytest.mark.parametrize("avoid", ["", "horror"])
@pytest.mark.parametrize("profile", ["", "age 24"])
@pytest.mark.parametrize("family", ["item_tokens", "wish"])
def test_no_wording_drops_what_the_user_says(
    language: str, held_out: bool, wish: str, avoid: str, profile: str, family: str
) -> None:
    if family == "wish":
        task = tasks.wish(wish or "comedy", avoid=avoid, profile=profile)
    else:
        task = tasks.item_tokens(wish=wish, avoid=avoid, profile=profile)
    for template in Templates.load(language).suitable(task, held_out):
        prompt = render(template, task).prompt
        assert all(words in prompt for words in (wish, avoid, profile))


def test_wish_and_avoid_come_in_both_orders() -> None:
    task = tasks.item_tokens(wish="comedy", avoid="horror")
    prompts = [render(template, task).prompt for template in Templates.load("en").suitable(task)]
    orders = {prompt.index("comedy") < prompt.index("horror") for prompt in prompts}
    assert orders == {True, False}


def test_the_same_seed_draws_the_same_templates() -> None:
    templates = Templates.load("en")
    first, second = (
        [templates.choose("match", rng).id for _ in range(20)]
        for rng in (np.random.default_rng(7), np.random.default_rng(7))
    )
    assert first == second
    assert len(set(first)) > 1
    assert not any("held_out" in name for name in first)


def test_unknown_family_and_template_are_named() -> None:
    templates = Templates.load("en")
    with pytest.raises(NotFoundError, match="unknown task family 'nothing'"):
        templates.of("nothing")
    with pytest.raises(NotFoundError, match=r"no template 'x\.y'"):
        templates.get("x.y")


def test_an_unknown_language_is_refused_with_a_remedy() -> None:
    with pytest.raises(TemplateError, match=r"language 'fr'.*the package has en, zh.*--templates"):
        Templates.load("fr")


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_template_joins_the_built_in_ones(tmp_path: Path) -> None:
    text = 'family = "wish"\nlanguage = "en"\n[[templates]]\nid = "mine"\nprompt = "Want {wish}?"\nprefix = "Take"\n'
    _write(tmp_path / "wish.toml", text)
    templates = Templates.load("en", [tmp_path])
    assert len(templates.of("wish")) == len(Templates.load("en").of("wish")) + 1
    example = render(templates.get("mine"), tasks.wish("tea", "Green leaf"))
    assert (example.prompt, example.prefix, example.target) == ("Want tea?", "Take", "Green leaf")
    assert "mine" not in [template.id for template in Templates.load("zh", [tmp_path]).templates]


def test_a_users_template_replaces_the_one_of_its_id(tmp_path: Path) -> None:
    text = 'family = "wish"\nlanguage = "en"\n[[templates]]\nid = "wish.en.wants"\nprompt = "Mine: {wish}"\n'
    templates = Templates.load("en", [_write(tmp_path / "w.toml", text)])
    assert templates.get("wish.en.wants").prompt.source == "Mine: {wish}"
    assert len(templates.templates) == len(Templates.load("en").templates)


def test_a_file_can_replace_a_whole_family(tmp_path: Path) -> None:
    text = 'family = "wish"\nlanguage = "en"\nreplace = true\n[[templates]]\nid = "only"\nprompt = "{wish}"\n'
    templates = Templates.load("en", [_write(tmp_path / "w.toml", text)])
    assert [template.id for template in templates.of("wish", None)] == ["only"]
    with pytest.raises(TemplateError, match="family wish has no held-out template"):
        templates.choose("wish", np.random.default_rng(0), held_out=True)


def test_words_can_be_changed_alone(tmp_path: Path) -> None:
    _write(tmp_path / "language.toml", 'language = "zh"\n[words]\nyes = "yes"\nno = "no"\nnoun = "电影"\n')
    templates = Templates.load("zh", [tmp_path])
    example = render(templates.of("match")[1], tasks.match("Heat", False))
    assert example.target == "no"
    assert "电影《Heat》" in example.prompt


def test_another_language_needs_words_and_templates_only(tmp_path: Path) -> None:
    words = 'language = "de"\n[words]\nnoun = "Titel"\nnouns = "Titel"\nyes = "ja"\nno = "nein"\n'
    _write(tmp_path / "language.toml", words)
    text = 'family = "match"\nlanguage = "de"\n[[templates]]\nid = "de"\nprompt = "Gefällt {noun} {title}?"\n'
    _write(tmp_path / "match.toml", text)
    templates = Templates.load("de", [tmp_path])
    assert templates.families() == ["match"]
    example = render(templates.get("de"), tasks.match("Heat", True))
    assert (example.prompt, example.target, example.language) == ("Gefällt Titel Heat?", "ja", "de")


HEAD = 'family = "wish"\nlanguage = "en"\n'
ENTRY = HEAD + '[[templates]]\nid = "t"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("family = ", "not valid TOML"),
        ('family = "wish"\n', "no language"),
        ('family = "whish"\nlanguage = "en"\n', "unknown family 'whish'; known are sequential"),
        (HEAD, r"no templates; add a \[\[templates\]\]"),
        (HEAD + "colour = 1\n", "unknown entry colour"),
        ('language = "en"\ntemplates = []\n', "a template file begins with family"),
        (HEAD + '[[templates]]\nprompt = "{wish}"\n', "template number 1: no id"),
        (ENTRY, "template 't': no prompt"),
        (ENTRY + "prompt = 3\n", "template 't': prompt must be a text"),
        (ENTRY + 'prompt = "{wish}"\nheld_out = "yes"\n', "template 't': held_out must be true or false"),
        (ENTRY + 'prompt = "{wish}"\ntext = "x"\n', "template 't': unknown entry text"),
        (ENTRY + 'prompt = "{wish} {size}"\n', "template 't': unknown field size; a wish prompt may name avoid"),
        (ENTRY + 'prompt = "Anything?"\n', r"template 't': does not name \{wish\}"),
        (ENTRY + 'prompt = "{wish} {target}"\n', "template 't': names {target} before the answer"),
        (ENTRY + 'prompt = "[[{wish}"\n', "template 't': prompt: a fragment opened"),
        (ENTRY + 'prompt = "{wish}"\ntarget = "It is {target}"\n', "template 't': target must be '{target}'"),
        (ENTRY + 'prompt = "{wish}"\nprefix = "{wish}"\n', "template 't': the prefix may only name"),
        (ENTRY + 'prompt = "{wish}"\n[[templates]]\nid = "t"\nprompt = "{wish}!"\n', "the id occurs twice"),
        (HEAD + '[[templates]]\nid = "match.en.enjoy"\nprompt = "{wish}"\n', "belongs to family match"),
        ('language = "en"\n[words]\nnoun = 3\n', r"\[words\] must hold texts only"),
        (HEAD + 'replace = "no"\n[[templates]]\nid = "t"\nprompt = "{wish}"\n', "replace must be true or false"),
    ],
)
def test_a_malformed_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = _write(tmp_path / "broken.toml", text)
    with pytest.raises(TemplateError, match=message) as caught:
        Templates.load("en", [path])
    assert "broken.toml" in str(caught.value)


def test_a_path_without_templates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match="no such file or folder"):
        Templates.load("en", [tmp_path / "absent"])
    with pytest.raises(TemplateError, match=r"no \*.toml file in this folder"):
        Templates.load("en", [tmp_path])
    (tmp_path / "latin.toml").write_bytes(b'family = "\xe9"')
    with pytest.raises(TemplateError, match="not UTF-8"):
        Templates.load("en", [tmp_path])


@pytest.mark.parametrize("language", ["en", "zh"])
def test_remarks_are_words_of_templates_for_tuning_and_lead_to_no_wish(language: str) -> None:
    templates = Templates.load(language)
    said = templates.remarks({"noun": "gadget", "nouns": "gadgets"}, letters=6)
    assert len(said) > 30
    assert len(set(said)) == len(said)
    assert not any("{" in text or "[[" in text for text in said)
    sources = " ".join(template.prompt.source for template in templates.templates if not template.held_out)
    tuned = sources.replace("{nouns}", "gadgets").replace("{noun}", "gadget")
    held_out = [text for template in templates.templates if template.held_out
                for text in template.prompt.literals({"noun": "gadget", "nouns": "gadgets"})]  # fmt: skip
    for text in said:
        assert text in tuned
    assert not any(text in said for text in held_out if text not in tuned)
    assert not any("Looking for" in text or "Not wanted" in text for text in said)
