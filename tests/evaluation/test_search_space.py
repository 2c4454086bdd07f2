"""Spaces: the default ones, and those of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from flanrec.errors import SettingsError
from flanrec.evaluation.search_space import SPACES, default_space, read_space, refuse_unread, space_from
from flanrec.recommender import PRESETS, READINGS, Reading, RecommenderSettings
from flanrec.recommender.named import value_of
from flanrec.tuning.space import Choices, Range

PLAIN = RecommenderSettings()


@pytest.mark.parametrize(
    ("preset", "reading"),
    [(preset, reading) for preset in PRESETS for reading in READINGS if preset != "fast" or reading == "fused"],
)
def test_the_default_spaces_name_settings_that_are_there_and_hold_the_preset(preset: str, reading: Reading) -> None:
    settings, space = RecommenderSettings.preset(preset), default_space(preset, reading)
    read = space_from({name: choice.to_dict() for name, choice in space.items()}, settings)
    assert {name: choice.when for name, choice in read.items()} == {name: one.when for name, one in space.items()}
    for name, choice in space.items():
        # No rate is the method's own.
        value = settings.words.rate if name == "words.learning_rate" else value_of(settings, name)
        assert value in choice
    refuse_unread(space, reading)


def test_the_language_models_own_readings_choose_what_they_read() -> None:
    assert all(name.startswith("words.") for name in default_space("balanced", "generate"))
    assert not any(name.startswith("fusion.") for name in default_space("best", "item_tokens"))
    with pytest.raises(SettingsError, match="fast tunes nothing that generate reads"):
        default_space("fast", "generate")
    mixed = {"tokens.passes": Range(1, 2), "words.rank": Range(1, 2), "fusion.depth": Range(1, 2)}
    with pytest.raises(SettingsError, match=r"^tokens\.passes, fusion\.depth change nothing for the reading generate"):
        refuse_unread(mixed, "generate")


def test_every_preset_has_a_space_and_fast_tunes_nothing() -> None:
    assert tuple(SPACES) == PRESETS
    assert all(name.startswith("fusion.") for name in default_space("fast"))
    with pytest.raises(SettingsError, match="'huge' is not known"):
        default_space("huge")


def test_a_file_is_read_with_quoted_names_or_nested_tables(tmp_path: Path) -> None:
    file = tmp_path / "space.toml"
    file.write_text(
        '[space."tokens.learning_rate"]\nlow = 1e-4\nhigh = 1e-3\nlog = true\n\n'
        "[space.words.steps]\nlow = 10\nhigh = 50\n\n"
        '[space."words.method"]\nchoices = ["full", "lora"]\n\n'
        '[space."words.rank"]\nlow = 1\nhigh = 64\nwhen = { "words.method" = ["lora"] }\n'
    )
    assert read_space(file, PLAIN) == {
        "tokens.learning_rate": Range(1e-4, 1e-3, log=True),
        "words.steps": Range(10, 50, whole=True),
        "words.method": Choices(("full", "lora")),
        "words.rank": Range(1, 64, whole=True, when={"words.method": ("lora",)}),
    }


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("tokens.pases", {"low": 1, "high": 2}, "the nearest are tokens.passes"),
        ("tokens", {"low": 1, "high": 2}, "tokens is a group of settings"),
        ("tokens.passes", {"low": 1}, "needs low and high"),
        ("tokens.passes", {"low": 1, "high": 2, "step": 1}, "nothing else"),
        ("tokens.passes", {"low": 8, "high": 2}, "tokens.passes: the range from 8 to 2"),
        ("tokens.passes", {"low": 1, "high": 2, "log": "yes"}, "write true or false"),
        ("tokens.passes", 3, "needs low and high"),
        ("tokens.learning_rate", {"low": 0, "high": 1}, "tokens.learning_rate cannot be 0: .*greater than 0"),
        ("tokens.passes", {"low": 0, "high": 4, "log": True}, "low above 0"),
        ("words.steps", {"low": 1.5, "high": 4}, "words.steps cannot be 1.5"),
        ("words.method", {"low": 1, "high": 2}, "give choices"),
        ("fusion.language_model", {"low": 0, "high": 1}, "give choices"),
        ("words.method", {"choices": ["full", "half"]}, "words.method cannot be 'half'"),
        ("words.method", {"choices": ["full"]}, "at least two"),
        ("languages", {"choices": [["en"], ["zh"]]}, "only single texts"),
        ("seed", {"low": 1, "high": 9}, "seed cannot be searched"),
        ("words.rank", {"low": 1, "high": 9, "when": "lora"}, "when names other settings with lists"),
        ("words.rank", {"low": 1, "high": 9, "when": {"words.method": "lora"}}, "when names other settings with lists"),
        ("words.rank", {"low": 1, "high": 9, "when": {"words.method": ["lora"]}}, "words.method, which is not chosen"),
    ],
)
def test_what_cannot_be_chosen_is_refused_by_name(name: str, given: object, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        space_from({name: given}, PLAIN)


def test_all_that_is_wrong_is_named_at_once() -> None:
    wrong = {"tokens.pases": {"low": 1, "high": 2}, "fusion.depth": {"low": 9, "high": 3}}
    with pytest.raises(SettingsError, match=r"here\.toml: .*tokens\.pases.*fusion\.depth"):
        space_from(wrong, PLAIN, "here.toml")


@pytest.mark.parametrize("text", ["", "[train]\nseed = 1\n", "space = 3\n", "[space]\n", "[space\n"])
def test_a_file_without_a_space_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "space.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"space\.toml"):
        read_space(tmp_path / "space.toml", PLAIN)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        read_space(tmp_path / "space.toml", PLAIN)
