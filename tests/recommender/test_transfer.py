"""From one log to another: the tuned T5 comes along, and nothing else does."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.attachments import attached
from flanrec.backbone.shrinking import shrunken
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import CheckpointError, SettingsError
from flanrec.generation import title_log_probabilities
from flanrec.generation.engines import TorchEngine
from flanrec.recommender import Recommender, RecommenderSettings, transferred
from flanrec.recommender.stages import Material, calibrate


def half(data: Dataset, first: bool) -> Dataset:
    """The walks of half of the users among the items of their half of the circle."""
    kept = [f"i{item}" for item in (range(14) if first else range(14, 30))]
    events = data.interactions.filter(pl.col("item_id").is_in(kept)).drop("row", "weight")
    items = data.items.filter(pl.col("item_id").is_in(kept))
    return Dataset.from_frames(events, items, data.users, name="first half" if first else "second half")


@pytest.fixture(scope="module")
def brief(short_settings: RecommenderSettings) -> RecommenderSettings:
    """Tunes the words in two steps, and nothing else."""
    tokens = short_settings.tokens.model_copy(update={"passes": 0})
    fusion = short_settings.fusion.model_copy(update={"rounds": 0, "events": 0})
    return short_settings.model_copy(update={"tokens": tokens, "fusion": fusion})


def worded(settings: RecommenderSettings, **changes: Any) -> RecommenderSettings:
    return settings.model_copy(update={"words": settings.words.model_copy(update=changes)})


@pytest.fixture(scope="module")
def kept(
    small_dataset: Dataset, brief: RecommenderSettings, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A recommender of the first half, saved; its T5 has moved far in two steps."""
    folder = tmp_path_factory.mktemp("transfer") / "model"
    settings = worded(brief, learning_rate=0.02)
    Recommender(shrunken(backbone, 2, 2), settings).fit(half(small_dataset, True)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tuned(kept: Path) -> Backbone:
    return Recommender.load(kept, device="cpu").backbone


@pytest.fixture(scope="module")
def second(kept: Path, small_dataset: Dataset, brief: RecommenderSettings) -> Recommender:
    """Fitted on the second half without a step of tuning."""
    return transferred(kept, worded(brief, steps=0), device="cpu").fit(half(small_dataset, False))


def test_without_a_step_generation_reads_the_tuned_weights(
    second: Recommender, tuned: Backbone, small_dataset: Dataset, backbone: Backbone
) -> None:
    weights, expected = second.backbone.model.state_dict(), tuned.model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in weights.items())
    assert second.parts.catalogue.titles == half(small_dataset, False).items["title"].to_list()
    users = second.people(["u1", "u6"])
    read = second.word_reading.scores(users)
    prompts, catalogue = second.word_reading.prompts(users), second.parts.catalogue
    by_hand, before = (
        title_log_probabilities(one, prompts, catalogue.token_rows, normalisation="trie", weights=catalogue.weights)
        for one in (tuned, shrunken(backbone, 2, 2))
    )
    assert abs(read - by_hand).max() < 1e-4
    assert abs(read - before).max() > 0.1


def test_the_scale_of_the_logits_is_lowered_once(
    kept: Path, tuned: Backbone, small_dataset: Dataset, brief: RecommenderSettings
) -> None:
    """A step at a rate of nearly nothing leaves the norm before the head where the first log's tuning left it."""
    found = transferred(kept, worded(brief, steps=1, learning_rate=1e-9), device="cpu").fit(half(small_dataset, False))
    assert found.reports["words"].steps == 1
    assert found.settings.words.start_gain == 1.0
    norms = [one.model.get_decoder().final_layer_norm.weight for one in (found.backbone, tuned)]
    torch.testing.assert_close(*norms, rtol=1e-5, atol=1e-6)


def test_it_says_and_saves_where_it_came_from(
    kept: Path, second: Recommender, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="flanrec.recommender.transfer"):
        transferred(kept, device="cpu")
    assert "tuned on first half, weights" in caplog.text
    second.save_pretrained(tmp_path / "second")
    loaded = Recommender.load(tmp_path / "second", device="cpu")
    assert loaded.settings.origin == second.settings.origin
    assert loaded.settings.origin.startswith("tuned on first half, weights ")
    assert loaded.backbone.source.name == second.backbone.source.name == "traceforge-title-model, 2+2 blocks"
    assert str(kept) not in (tmp_path / "second" / "recommender.json").read_text()


def test_a_tuned_t5_is_asked_for_yes_and_no_though_this_log_tuned_nothing(
    second: Recommender, small_dataset: Dataset, brief: RecommenderSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    usual = TorchEngine.yes_no_logits

    def noted(self: TorchEngine, prompts: Sequence[str], *rest: Any, **more: Any) -> Any:
        asked.append(len(prompts))
        return usual(self, prompts, *rest, **more)

    monkeypatch.setattr(TorchEngine, "yes_no_logits", noted)
    train, validation = hold_out_last(half(small_dataset, False))
    for settings, times in ((second.settings, 1), (worded(brief, steps=0), 0)):
        asked.clear()
        calibrate(second.backbone, Material.gather(train, validation, second.parts.prompter, settings, {}))
        assert len(asked) == times


def test_a_t5_that_no_log_has_tuned_is_refused(
    backbone: Backbone, brief: RecommenderSettings, small_dataset: Dataset, tmp_path: Path
) -> None:
    settings = worded(brief, steps=0)
    Recommender(shrunken(backbone, 1, 1), settings).fit(half(small_dataset, True)).save_pretrained(tmp_path / "model")
    with pytest.raises(SettingsError, match=r"was never tuned \(words.steps is 0\), so it has nothing to pass on"):
        transferred(tmp_path / "model", device="cpu")


@pytest.mark.slow
def test_a_carried_prompt_comes_along_and_is_tuned_further_by_its_own_method(
    small_dataset: Dataset, brief: RecommenderSettings, backbone: Backbone, tmp_path: Path
) -> None:
    settings = worded(brief, method="prompt-tuning", prompt_length=4)
    first = Recommender(shrunken(backbone, 2, 2), settings).fit(half(small_dataset, True))
    first.save_pretrained(tmp_path / "first")
    before = first.backbone.model.get_encoder().soft_prompt().detach()
    blocks = first.backbone.model.get_encoder().block[0].layer[0].SelfAttention.q.weight.detach()
    second = transferred(tmp_path / "first", settings, device="cpu")
    torch.testing.assert_close(second.backbone.model.get_encoder().soft_prompt().detach(), before)
    second.fit(half(small_dataset, False))
    assert attached(second.backbone.model) is not None
    assert not torch.equal(second.backbone.model.get_encoder().soft_prompt().detach(), before)
    assert torch.equal(second.backbone.model.get_encoder().block[0].layer[0].SelfAttention.q.weight.detach(), blocks)
    with pytest.raises(SettingsError, match="choose the method prompt-tuning or full"):
        transferred(tmp_path / "first", worded(brief, method="lora"), device="cpu")


def test_a_catalogue_that_the_t5_cannot_read_is_refused_as_ever(
    kept: Path, small_dataset: Dataset, brief: RecommenderSettings
) -> None:
    second = half(small_dataset, False)
    titles = [f"疯狂的麦克斯{number}" for number in range(second.items.height)]
    strange = Dataset.from_frames(
        second.interactions.drop("row", "weight"), second.items.with_columns(pl.Series("title", titles))
    )
    with pytest.raises(CheckpointError, match="cannot read"):
        transferred(kept, worded(brief, steps=0), device="cpu").fit(strange)


def test_a_folder_without_a_recommender_is_refused(tmp_path: Path, backbone: Backbone) -> None:
    with pytest.raises(CheckpointError):
        transferred(tmp_path / "nothing")
    backbone.save(tmp_path / "backbone")
    with pytest.raises(CheckpointError, match="not a recommender"):
        transferred(tmp_path / "backbone")
