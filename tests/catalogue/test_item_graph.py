"""A graph of items that was saved: the very same answers, and never used for other items."""

from __future__ import annotations

import importlib.util
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from flanrec.artefact import saving, write_manifest
from flanrec.catalogue import item_graph
from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.nearest import ItemIndex
from flanrec.errors import CheckpointError

pytestmark = pytest.mark.skipif(importlib.util.find_spec("usearch") is None, reason="the extra 'fast' is not installed")

SETTINGS = IndexSettings(exact_below=100, width=12, candidates=50, connectivity=8, search_effort=100)
FILES = ["columns.safetensors", "graph.usearch", "manifest.json"]


def drawn(items: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    fading = np.exp(-np.arange(24) / 8)
    vectors = (rng.normal(size=(items, 24)) * fading).astype(np.float32)
    return vectors, rng.normal(size=items).astype(np.float32), rng.normal(size=(30, 24)).astype(np.float32)


def built(folder: Path) -> ItemIndex:
    vectors, bias, states = drawn()
    index = ItemIndex(vectors, bias, states, SETTINGS, threads=1)
    index.save(folder)
    return index


def same(one: ItemIndex, other: ItemIndex, states: np.ndarray) -> bool:
    """Whether lists and scores are equal to the bit, of many users and of one, with items left out."""
    seen = [np.arange(user, user + 200) for user in range(len(states))]
    return all(
        np.array_equal(mine, others)
        for asked in ((states, 20), (states, 20, seen), (states[:1], 7))
        for mine, others in zip(one.top(*asked), other.top(*asked), strict=True)
    )


def test_a_saved_graph_gives_the_very_same_lists_and_scores(tmp_path: Path) -> None:
    vectors, bias, states = drawn()
    index = built(tmp_path / "index")
    loaded = ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS, threads=1)
    assert loaded is not None
    assert not loaded.exact
    assert same(index, loaded, states)
    assert sorted(path.name for path in (tmp_path / "index").iterdir()) == FILES
    loaded.save(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "index" / name).read_bytes()


def test_the_vectors_are_not_stored_again(tmp_path: Path) -> None:
    built(tmp_path / "index")
    stored = sum(path.stat().st_size for path in (tmp_path / "index").iterdir())
    # Shortened vectors and links; with the vectors of 24 columns it would be 96 bytes more.
    assert stored / 2000 < 4 * (12 + 2) + 4 * 2 * 8 + 50


def test_a_small_catalogue_has_nothing_to_save(tmp_path: Path) -> None:
    vectors, bias, states = drawn(50)
    index = ItemIndex(vectors, bias, settings=SETTINGS)
    index.save(tmp_path / "index")
    assert not (tmp_path / "index").exists()
    loaded = ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS)
    assert loaded is not None
    assert loaded.exact
    np.testing.assert_array_equal(loaded.top(states, 5)[0], index.top(states, 5)[0])


def test_a_graph_of_other_items_is_not_used(tmp_path: Path) -> None:
    vectors, bias, _ = drawn()
    built(tmp_path / "index")

    def load(vectors: np.ndarray, bias: np.ndarray) -> ItemIndex | None:
        return ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS)

    assert load(np.concatenate([vectors, vectors[:1]]), np.append(bias, bias[0])) is None
    assert load(vectors[:-1], bias[:-1]) is None
    assert load(vectors[:, :-1], bias) is None
    assert load(vectors[::-1], bias[::-1]) is None
    assert load(vectors, bias + np.float32(0.1)) is None
    one = vectors.copy()
    one[1234] *= 1.1
    assert load(one, bias) is None


def test_the_last_bits_of_vectors_do_not_count(tmp_path: Path) -> None:
    vectors, bias, _ = drawn()
    built(tmp_path / "index")
    noise = 1 + 1e-6 * np.random.default_rng(1).standard_normal(vectors.shape)
    assert ItemIndex.load(tmp_path / "index", (vectors * noise).astype(np.float32), bias, SETTINGS) is not None


@pytest.mark.parametrize(
    "change",
    [{"width": 13}, {"connectivity": 9}, {"build_effort": 99}, {"seed": 1}],
    ids=lambda change: next(iter(change)),
)
def test_a_graph_built_by_other_settings_is_not_used(tmp_path: Path, change: dict[str, int]) -> None:
    vectors, bias, _ = drawn()
    built(tmp_path / "index")
    assert ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS.model_copy(update=change)) is None


def test_settings_of_searching_may_change(tmp_path: Path) -> None:
    vectors, bias, states = drawn()
    index = built(tmp_path / "index")
    wider = SETTINGS.model_copy(update={"candidates": 400, "search_effort": 800, "exact_below": 10})
    loaded = ItemIndex.load(tmp_path / "index", vectors, bias, wider)
    assert loaded is not None
    assert loaded.recall(states, 20) > index.recall(states, 20)


@pytest.mark.parametrize("name", FILES[:2])
@pytest.mark.parametrize("damage", ["altered", "truncated", "missing"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, damage: str) -> None:
    vectors, bias, _ = drawn()
    built(tmp_path / "index")
    path = tmp_path / "index" / name
    content = bytearray(path.read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 1
    path.unlink()
    if damage != "missing":
        path.write_bytes(content if damage == "altered" else content[:-1])
    with pytest.raises(CheckpointError, match=name):
        ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS)


def test_sealed_columns_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    vectors, bias, states = drawn()
    built(tmp_path / "index")
    narrow = SETTINGS.model_copy(update={"width": 5})
    ItemIndex(vectors, bias, states, narrow, threads=1).save(tmp_path / "narrow")
    about = {"kind": "item_index", "shape": [2000, 24], "built": SETTINGS.model_dump(include=item_graph._BUILDING)}
    shutil.copy(tmp_path / "narrow" / "graph.usearch", tmp_path / "index" / "graph.usearch")
    write_manifest(tmp_path / "index", about)
    with pytest.raises(CheckpointError, match=r"graph\.usearch does not fit columns\.safetensors"):
        ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS)
    arrays = {"of_items": states, "of_states": states, "marks": bias}
    for content in (b"", save({"marks": bias}), save(arrays), save(arrays | {"of_items": bias, "of_states": bias})):
        (tmp_path / "index" / "columns.safetensors").write_bytes(content)
        write_manifest(tmp_path / "index", about)
        with pytest.raises(CheckpointError, match=r"columns\.safetensors does not hold the columns of 2,000 items"):
            ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS)


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with saving(tmp_path / "index", {"kind": "stage"}) as draft:
        (draft / "graph.usearch").write_bytes(b"")
    vectors, bias, _ = drawn()
    with pytest.raises(CheckpointError, match="holds a stage, not an index of items"):
        ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS)


def test_a_format_that_is_not_known_is_not_used(tmp_path: Path) -> None:
    vectors, bias, _ = drawn()
    built(tmp_path / "index")
    (tmp_path / "index" / "graph.usearch").write_bytes(b"usearch of a later day")
    about = {"kind": "item_index", "shape": [2000, 24], "built": SETTINGS.model_dump(include=item_graph._BUILDING)}
    write_manifest(tmp_path / "index", about)
    assert ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS) is None


@pytest.mark.parametrize("mapped", [True, False])
def test_a_graph_in_use_outlives_its_folder(tmp_path: Path, mapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if mapped and not item_graph._MAPPED:
        pytest.skip("this system does not let mapped files go")
    monkeypatch.setattr(item_graph, "_MAPPED", mapped)
    vectors, bias, states = drawn()
    index = built(tmp_path / "index")
    loaded = ItemIndex.load(tmp_path / "index", vectors, bias, SETTINGS, threads=1)
    assert loaded is not None
    others, their_bias, _ = drawn(3000, seed=1)
    ItemIndex(others, their_bias, states, SETTINGS).save(tmp_path / "index")
    assert same(index, loaded, states)
    shutil.rmtree(tmp_path / "index")
    assert same(index, loaded, states)


def test_a_long_build_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(item_graph, "_AT_ONCE", 800)
    monkeypatch.setattr(item_graph, "_SECONDS_BETWEEN_WORDS", 0.0)
    with caplog.at_level(logging.INFO, logger=item_graph.__name__):
        parts = built(tmp_path / "parts")
    assert [record.getMessage().split(": ")[1] for record in caplog.records] == [
        "800 of 2000 are in", "1600 of 2000 are in", "2000 of 2000 are in"
    ]  # fmt: skip
    monkeypatch.undo()
    # In parts it becomes the same graph as at once.
    assert same(parts, built(tmp_path / "once"), drawn()[2])
