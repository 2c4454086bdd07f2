"""The index of a large catalogue is part of the saved model; a model without one, or with another's, works as well."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from flanrec.artefact import verify_manifest, write_manifest
from flanrec.catalogue.item_graph import IndexSettings, ItemGraph
from flanrec.errors import CheckpointError
from flanrec.recommender import Recommender

needs_usearch = pytest.mark.skipif(
    importlib.util.find_spec("usearch") is None, reason="the extra 'fast' is not installed"
)

SEARCHED = IndexSettings(exact_below=10, candidates=30)


def large(recommender: Recommender, bias: float = 0.0) -> Recommender:
    """The same recommender with a catalogue that counts as large; by a bias, one that prefers the first items."""
    tokens = recommender.parts.tokens
    if bias:
        tokens = recommender.parts.tokens.extended(recommender.backbone, recommender.parts.catalogue, np.ones(30))
        with torch.no_grad():
            tokens.bias += bias * torch.linspace(1, 0, 30)
    other = Recommender(recommender.backbone, recommender.settings.model_copy(update={"item_index": SEARCHED}))
    other.adopt(replace(recommender.parts, tokens=tokens, searched=SEARCHED))
    return other


def asked(recommender: Recommender) -> pl.DataFrame:
    return recommender.recommend(["u1", "u6", "stranger"], k=8, wish="comedy", reading="item_tokens")


@pytest.fixture(scope="module")
def saved(
    fitted: Recommender, rested: Callable[[Recommender], Recommender], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, pl.DataFrame]:
    """A folder with an index, and what its model recommends by the index it was saved with."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    original = large(rested(fitted))
    original.save_pretrained(folder)
    reading = original.parts.token_reading
    assert (reading.index is None) == (importlib.util.find_spec("usearch") is None)
    # Users were read to build the index.
    reading.encoder = rested(original).parts.encoder
    return folder, asked(original)


@pytest.fixture
def model(saved: tuple[Path, pl.DataFrame], tmp_path: Path) -> Path:
    """A copy to change; its files are links, so a changed one must be written anew."""
    return Path(shutil.copytree(saved[0], tmp_path / "model", copy_function=os.link))


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object) -> ItemGraph:
        raise AssertionError("the graph was built, though it was saved")

    monkeypatch.setattr(ItemGraph, "build", build)


def built(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> pl.DataFrame:
    """What is recommended by a graph that must be built for it."""
    build, calls = ItemGraph.build, []
    monkeypatch.setattr(ItemGraph, "build", lambda *given: calls.append(given) or build(*given))
    found = asked(recommender)
    assert len(calls) == 1
    return found


@needs_usearch
@pytest.mark.usefixtures("no_building")
def test_a_saved_index_gives_the_very_same_recommendations(model: Path, saved: tuple[Path, pl.DataFrame]) -> None:
    assert sorted(path.name for path in (model / "item_index").iterdir()) == [
        "columns.safetensors", "graph.usearch", "manifest.json"
    ]  # fmt: skip
    loaded = Recommender.load(model, device="cpu")
    assert loaded.settings.item_index == SEARCHED
    assert asked(loaded).equals(saved[1])
    index = loaded.parts.token_reading.index
    assert index is not None
    assert not index.exact


@needs_usearch
@pytest.mark.usefixtures("no_building")
def test_a_loaded_model_is_saved_with_the_index_it_has(model: Path, saved: tuple[Path, pl.DataFrame]) -> None:
    before = verify_manifest(model / "item_index"), (model / "item_index" / "graph.usearch").read_bytes()
    loaded = Recommender.load(model, device="cpu")
    loaded.save_pretrained(model)
    assert (verify_manifest(model / "item_index"), (model / "item_index" / "graph.usearch").read_bytes()) == before
    # The folder that the graph is mapped from is gone.
    assert asked(loaded).equals(saved[1])
    assert asked(Recommender.load(model, device="cpu")).equals(saved[1])


def test_a_catalogue_that_is_scored_whole_has_no_index(fitted: Recommender, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model" / "item_index").exists()


@needs_usearch
@pytest.mark.parametrize("name", ["graph.usearch", "columns.safetensors", "manifest.json"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_index_is_refused_by_name(model: Path, name: str, cut: bool) -> None:
    path = model / "item_index" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.unlink()
    path.write_bytes(content[: len(content) // 2] if cut else content)
    with pytest.raises(CheckpointError, match=f"item_index/{name}"):
        Recommender.load(model, device="cpu")


@needs_usearch
@pytest.mark.parametrize("added", [["graph.usearch"], ["graph.usearch", "columns.safetensors", "manifest.json"]])
def test_an_index_that_was_added_is_refused(model: Path, tmp_path: Path, added: list[str]) -> None:
    about = verify_manifest(model)
    (model / "item_index").rename(tmp_path / "aside")
    write_manifest(model, about)
    (model / "item_index").mkdir()
    for name in added:
        (tmp_path / "aside" / name).rename(model / "item_index" / name)
    with pytest.raises(CheckpointError, match=r"item_index/\S+ is not listed"):
        Recommender.load(model, device="cpu")


@needs_usearch
def test_damage_after_loading_is_noticed_when_the_index_is_asked_for(model: Path) -> None:
    loaded = Recommender.load(model, device="cpu")
    path = model / "item_index" / "graph.usearch"
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=r"item_index/graph\.usearch"):
        asked(loaded)


@needs_usearch
def test_without_the_extra_a_model_is_saved_without_an_index_and_makes_one_when_it_is_there(
    fitted: Recommender, saved: tuple[Path, pl.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as without:
        without.setattr(importlib.util, "find_spec", lambda name: None)
        large(fitted).save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model" / "item_index").exists()
    found = built(Recommender.load(tmp_path / "model", device="cpu"), monkeypatch)
    assert found["item_id"].equals(saved[1]["item_id"])


def test_a_model_of_an_earlier_version_has_neither_settings_nor_an_index(model: Path) -> None:
    about, path = verify_manifest(model), model / "recommender.json"
    body = json.loads(path.read_text(encoding="utf-8"))
    del body["settings"]["item_index"]
    path.unlink()
    path.write_text(json.dumps(body), encoding="utf-8")
    shutil.rmtree(model / "item_index", ignore_errors=True)
    write_manifest(model, about)
    loaded = Recommender.load(model, device="cpu")
    assert loaded.settings.item_index == IndexSettings()
    assert loaded.parts.token_reading.index is None


def test_without_the_extra_a_saved_index_is_left_alone(
    model: Path, saved: tuple[Path, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    loaded = Recommender.load(model, device="cpu")
    assert loaded.parts.token_reading.index is None
    assert asked(loaded)["item_id"].equals(saved[1]["item_id"])


@needs_usearch
def test_the_index_of_a_model_that_took_the_folder_is_not_used(
    fitted: Recommender, model: Path, saved: tuple[Path, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Recommender.load(model, device="cpu")
    other = large(fitted, bias=20.0)
    other.save_pretrained(model)
    assert not asked(other)["item_id"].equals(saved[1]["item_id"])
    assert built(loaded, monkeypatch).equals(saved[1])


@needs_usearch
def test_a_model_whose_folder_is_gone_makes_an_index(
    model: Path, saved: tuple[Path, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = Recommender.load(model, device="cpu")
    shutil.rmtree(model)
    assert built(loaded, monkeypatch).equals(saved[1])


@needs_usearch
def test_new_items_are_not_searched_by_the_saved_index(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = Recommender.load(model, device="cpu")
    new = pl.DataFrame({"item_id": ["n1", "n2"], "title": ["Gneiss Harbour", "Halite Harbour"]})
    larger = loaded.parts.extended(loaded.backbone, new, loaded.settings)
    assert larger.searched == SEARCHED
    assert larger.saved_index is None
    assert larger.token_reading.index is not None
    assert len(larger.token_reading.index.vectors) == 32
    assert loaded.rank_new(new, ["u1"])["item_id"].sort().to_list() == ["n1", "n2"]


@needs_usearch
@pytest.mark.usefixtures("no_building")
def test_a_link_to_the_folder_may_lead_elsewhere_after_loading(
    model: Path, saved: tuple[Path, pl.DataFrame], tmp_path: Path
) -> None:
    (tmp_path / "current").symlink_to(model)
    loaded = Recommender.load(tmp_path / "current", device="cpu")
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to(tmp_path)
    assert asked(loaded).equals(saved[1])
