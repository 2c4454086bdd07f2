from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
import torch

from flanrec.artefact import saving
from flanrec.errors import CheckpointError, SettingsError
from flanrec.recommender import READINGS, Recommender, RecommenderSettings
from flanrec.recommender.saving import is_saved


@dataclass(frozen=True)
class Saved:
    folder: Path
    loaded: Recommender
    original: Recommender


@pytest.fixture(scope="module")
def saved(
    fitted: Recommender, rested: Callable[[Recommender], Recommender], tmp_path_factory: pytest.TempPathFactory
) -> Saved:
    folder = tmp_path_factory.mktemp("saved") / "model"
    original = rested(fitted)
    original.save_pretrained(folder)
    return Saved(folder, Recommender.from_pretrained(folder, device="cpu"), original)


@pytest.fixture
def model(saved: Saved, tmp_path: Path) -> Path:
    """A copy to damage; its files are links, so a damaged one must be written anew, not changed in place."""
    return Path(shutil.copytree(saved.folder, tmp_path / "model", copy_function=os.link))


def rewrite(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


@pytest.mark.parametrize("reading", READINGS)
def test_recommendations_are_the_same_after_saving_and_loading(saved: Saved, reading: str) -> None:
    for wish in ("", "comedy"):
        asked = {"users": ["u1", "u6", "stranger"], "k": 8, "wish": wish, "reading": reading}
        assert saved.loaded.recommend(**asked).equals(saved.original.recommend(**asked))  # type: ignore[arg-type]


def test_match_probabilities_are_the_same(saved: Saved) -> None:
    pairs = pl.DataFrame({"user_id": ["u1", "u6", "stranger"], "item_id": ["i3", "i29", "i14"]})
    assert saved.loaded.match(pairs).equals(saved.original.match(pairs))
    assert saved.loaded.parts.calibration == saved.original.parts.calibration


def test_explanations_and_rankings_of_new_items_are_the_same(saved: Saved) -> None:
    assert saved.loaded.explain("u6", "i29", wish="drama") == saved.original.explain("u6", "i29", wish="drama")
    new = pl.DataFrame({"item_id": ["n1", "n2"], "title": ["Gneiss Harbour", "Halite Harbour"]})
    assert saved.loaded.rank_new(new, ["u1"]).equals(saved.original.rank_new(new, ["u1"]))


def test_settings_data_and_head_come_back(saved: Saved) -> None:
    assert saved.loaded.settings == saved.original.settings
    assert saved.loaded.parts.dataset.fingerprint() == saved.original.parts.dataset.fingerprint()
    assert saved.loaded.parts.dataset.name == "small"
    assert saved.loaded.backbone.head_is_separate
    assert not saved.loaded.parts.tokens.training
    assert not saved.loaded.backbone.model.training


def test_only_safe_formats_are_written(saved: Saved) -> None:
    kinds = {path.suffix for path in saved.folder.rglob("*") if path.is_file()}
    assert kinds <= {".json", ".safetensors", ".parquet"}


def test_saving_again_replaces_an_earlier_model_but_nobody_elses_files(
    fitted: Recommender, model: Path, tmp_path: Path
) -> None:
    before = os.stat(model / "item_tokens.safetensors").st_ino
    fitted.save_pretrained(model)
    assert is_saved(model)
    assert os.stat(model / "item_tokens.safetensors").st_ino != before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("chapter one")
    with pytest.raises(CheckpointError, match="files that flanrec did not save"):
        fitted.save_pretrained(mine)
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "name", ["item_tokens.safetensors", "recommender.json", "interactions.parquet", "backbone/model.safetensors"]
)
def test_one_flipped_byte_is_refused_with_the_name_of_the_file(model: Path, name: str) -> None:
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    rewrite(model / name, bytes(content))
    with pytest.raises(CheckpointError, match=f"{name} does not have the content"):
        Recommender.from_pretrained(model, device="cpu")


@pytest.mark.parametrize("name", ["items.parquet", "item_tokens.safetensors", "backbone/tokenizer.json"])
def test_a_missing_file_is_refused_by_name(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        Recommender.from_pretrained(model, device="cpu")


@pytest.mark.parametrize("name", ["recommender.json", "manifest.json"])
def test_a_model_without_its_main_files_is_refused_by_name(model: Path, name: str) -> None:
    (model / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        Recommender.from_pretrained(model, device="cpu")


def test_an_added_file_that_a_loader_could_pick_up_is_refused(model: Path) -> None:
    (model / "backbone" / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is not listed"):
        Recommender.from_pretrained(model, device="cpu")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with saving(tmp_path / "other", {"kind": "stage"}) as draft:
        (draft / "recommender.json").write_text("{}")
    with pytest.raises(CheckpointError, match="holds a stage, not a recommender"):
        Recommender.from_pretrained(tmp_path / "other")


def test_settings_of_another_version_are_refused(tmp_path: Path) -> None:
    with saving(tmp_path / "newer", {"kind": "recommender"}) as draft:
        body = {"settings": {"telepathy": True}, "calibration": {}, "data": "x"}
        (draft / "recommender.json").write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match=r"recommender\.json is of another version"):
        Recommender.from_pretrained(tmp_path / "newer")


def test_own_templates_are_kept_beside_the_weights(fitted: Recommender, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'family = "item_tokens"\nlanguage = "en"\n\n[[templates]]\nid = "mine.short"\nprompt = "Next {noun}, please."\n'
    )
    recommender = Recommender(fitted.backbone, fitted.settings.model_copy(update={"templates": (str(mine),)}))
    recommender.adopt(fitted.parts)
    recommender.save_pretrained(tmp_path / "model")
    mine.unlink()
    (tmp_path / "model").rename(tmp_path / "moved")
    loaded = Recommender.from_pretrained(tmp_path / "moved", device="cpu")
    assert "mine.short" in [template.id for template in loaded.parts.prompter.templates[0].of("item_tokens")]


def test_templates_outside_the_folder_are_refused(tmp_path: Path) -> None:
    with saving(tmp_path / "model", {"kind": "recommender"}) as draft:
        body = {"settings": {"templates": ["../secret.toml"]}, "calibration": {}, "data": "x"}
        (draft / "recommender.json").write_text(json.dumps(body))
    with pytest.raises(CheckpointError, match="names templates outside its folder"):
        Recommender.from_pretrained(tmp_path / "model")


def test_a_saved_recommender_takes_no_other_settings(saved: Saved) -> None:
    with pytest.raises(SettingsError, match="settings of its own"):
        Recommender.from_pretrained(saved.folder, RecommenderSettings())


def test_what_is_not_fitted_is_not_saved(fitted: Recommender, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="not fitted"):
        Recommender(fitted.backbone).save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_the_backbone_inside_starts_a_new_recommender(saved: Saved) -> None:
    begun = Recommender.from_pretrained(saved.folder / "backbone", device="cpu")
    assert torch.equal(begun.backbone.model.lm_head.weight, saved.loaded.backbone.model.lm_head.weight)
    with pytest.raises(SettingsError, match="not fitted"):
        begun.recommend(["u1"])
