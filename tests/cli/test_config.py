"""Where settings come from, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flanrec.cli.config import build_settings, read_config
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from conftest import Flanrec


def test_flags_come_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    config = tmp_path / "flanrec.toml"
    config.write_text("[settings]\nseed = 1\nnum_beams = 3\ntitles = 4\n[settings.words]\nsteps = 9\nrank = 2\n")
    environment = {"FLANREC_TITLES": "5", "FLANREC_WORDS__STEPS": "7", "FLANREC_CACHE": "/x", "OTHER": "1"}
    settings = build_settings("best", config, {"seed": 8, "noun": None, "words": {"method": "lora"}}, environment)
    assert (settings.seed, settings.num_beams, settings.titles) == (8, 3, 5)
    assert (settings.words.steps, settings.words.rank, settings.words.method) == (7, 2, "lora")
    assert settings.words.evaluate_every == 350, "what nobody changed stays as the preset has it"


def test_environment_values_are_json_or_text() -> None:
    environment = {"FLANREC_LANGUAGES": '["en", "zh"]', "FLANREC_AUTOCAST": "off", "FLANREC_WORDS__PATIENCE": "null"}
    environment["FLANREC_WORDS__VOCABULARY"] = "used"
    settings = build_settings("best", None, {}, environment)
    assert (settings.languages, settings.autocast, settings.words.patience) == (("en", "zh"), "off", None)
    assert settings.words.vocabulary == "used"


def test_all_unknown_settings_are_named_with_the_known_ones(tmp_path: Path) -> None:
    config = tmp_path / "flanrec.toml"
    config.write_text("[settings]\nbeams = 3\n[settings.words]\nstep = 9\n")
    with pytest.raises(
        SettingsError, match=r"no setting beams; known are .*num_beams.*words\.step; known.*words\.steps"
    ):
        build_settings("fast", config, {}, {})
    with pytest.raises(SettingsError, match=r"FLANREC_WORDS__STEP: there is no setting words\.step"):
        build_settings("fast", None, {}, {"FLANREC_WORDS__STEP": "1"})


def test_a_value_that_cannot_work_is_named() -> None:
    with pytest.raises(SettingsError, match=r"words\.steps is -1"):
        build_settings("fast", None, {}, {"FLANREC_WORDS__STEPS": "-1"})


def test_a_file_that_is_no_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_config(tmp_path / "absent.toml")
    (tmp_path / "bad.toml").write_text("seed: 3")
    with pytest.raises(SettingsError, match="not TOML"):
        read_config(tmp_path / "bad.toml")
    (tmp_path / "loose.toml").write_text("seed = 3")
    with pytest.raises(SettingsError, match="seed stands outside a table"):
        read_config(tmp_path / "loose.toml")


def test_options_of_a_command_come_from_its_table(
    flanrec: Flanrec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "flanrec.toml"
    config.write_text(f'[recommend]\nmodel = "{tmp_path / "from-file"}"\nuser = ["3"]\n')
    assert "from-file" in flanrec("recommend", "--config", config).err
    monkeypatch.setenv("FLANREC_MODEL", str(tmp_path / "from-environment"))
    assert "from-environment" in flanrec("recommend", "--config", config).err
    assert "from-flag" in flanrec("recommend", "--config", config, "--model", tmp_path / "from-flag").err


def test_options_and_tables_that_do_not_exist_are_refused(flanrec: Flanrec, tmp_path: Path) -> None:
    config = tmp_path / "flanrec.toml"
    config.write_text("[recommend]\nmodell = 3\n")
    said = flanrec("recommend", "--config", config)
    assert said.code == 2
    assert "modell" in said.err
    assert "users_file" in said.err
    config.write_text("[recomend]\nk = 3\n")
    said = flanrec("recommend", "--config", config)
    assert said.code == 2
    assert "recomend" in said.err
