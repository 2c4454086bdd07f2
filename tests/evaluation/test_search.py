"""The search for settings: what its fits see, where it starts, and that its best can be fitted again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flanrec.backbone import Backbone
from flanrec.data import Dataset
from flanrec.data.splits import assert_no_leak
from flanrec.errors import CheckpointError, DataError, SettingsError
from flanrec.evaluation.models import evaluate_model
from flanrec.evaluation.search import held_out, measured_trial, search, starting
from flanrec.evaluation.search_results import SettingsFound
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.recommender.named import changed
from flanrec.tuning.space import Choices

Fresh = Callable[[], Backbone]
FAST = RecommenderSettings.preset("fast")
SPACE = {"fusion.depth": Choices((1, 2, 10, 100))}


@pytest.fixture(scope="module")
def wandering(small_dataset: Dataset) -> Dataset:
    """`small_dataset` where four events of ten are of any item, so that settings make a difference."""
    rng = np.random.default_rng(0)
    items = small_dataset.interactions["item_id"].to_list()
    drawn = [item if rng.random() < 0.6 else f"i{rng.integers(28)}" for item in items]
    return small_dataset.with_interactions(small_dataset.interactions.with_columns(pl.Series("item_id", drawn)))


@pytest.fixture(scope="module")
def found(wandering: Dataset, backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> SettingsFound:
    """A search that starts where each source names one candidate only."""
    start = changed(FAST, {"fusion.depth": 1})
    folder = tmp_path_factory.mktemp("search")
    return search(backbone, wandering, folder, minutes=5, preset="fast", settings=start, space=SPACE, trials=4)


def test_a_trial_is_train_without_the_last_events_and_then_their_ranks(
    found: SettingsFound, wandering: Dataset, fresh_backbone: Fresh
) -> None:
    ordered = wandering.interactions.sort("user_id", "timestamp", "row")
    last = ordered.group_by("user_id", maintain_order=True).last()
    earlier = ordered.filter(~pl.col("row").is_in(last["row"].implode())).sort("row")
    fitted = Recommender(fresh_backbone(), found.start).fit(wandering.with_interactions(earlier))
    lists = fitted.recommend(last["user_id"].to_list(), k=10)
    ranks = last.select("user_id", "item_id").join(lists, on=["user_id", "item_id"], how="left")
    expected = dict(ranks.select("user_id", pl.lit(1) / (pl.col("rank") + 1).log(2)).fill_null(0).iter_rows())
    assert dict(zip(found.user_ids, found.trials[0].per_user, strict=True)) == pytest.approx(expected)
    # Where the fit has seen the last events, they are histories, and nobody is recommended them.
    told = Recommender(fresh_backbone(), found.start).fit(wandering).recommend(last["user_id"].to_list(), k=10)
    assert last.join(told, on=["user_id", "item_id"], how="semi").height == 0
    assert found.trials[0].value > 0.2


def test_the_parts_of_a_search_do_not_leak(wandering: Dataset) -> None:
    split = held_out(wandering)
    assert_no_leak(split)
    assert split.test.interactions.height == split.validation.interactions.height == 40


def test_the_best_settings_fit_again_to_the_same_value(
    found: SettingsFound, wandering: Dataset, backbone: Backbone
) -> None:
    assert found.best.value > found.trials[0].value
    assert found.settings == changed(found.start, found.best.values)
    again = measured_trial(backbone, found.settings, held_out(wandering))
    assert tuple(again) == found.best.per_user


def test_the_tables_have_a_row_a_trial_and_a_row_a_user(found: SettingsFound) -> None:
    table, users = found.table(), found.per_user()
    assert table.columns == ["trial", "ndcg@10", "seconds", "fusion.depth", "problem"]
    assert table["ndcg@10"].to_list() == [trial.value for trial in found.trials]
    assert users.columns == ["user_id", "trial_0", "trial_1", "trial_2", "trial_3"]
    assert users.height == found.gain().count == 40


def test_a_resumed_search_needs_the_same_data_and_settings(
    found: SettingsFound, wandering: Dataset, small_dataset: Dataset, backbone: Backbone, tmp_path: Path
) -> None:
    def one(dataset: Dataset, **changes: object) -> SettingsFound:
        return search(backbone, dataset, tmp_path, minutes=5, preset="fast", settings=changed(found.start, changes),
                      space=SPACE, trials=1, resume=True)  # fmt: skip

    assert one(wandering).trials[0].per_user == found.trials[0].per_user
    with pytest.raises(CheckpointError, match="data was"):
        one(small_dataset)
    with pytest.raises(CheckpointError, match=r"setting fusion\.rounds was 0 and is now 3"):
        one(wandering, **{"fusion.rounds": 3})


def test_a_fit_of_a_trial_leaves_the_backbone_as_it_was(small_dataset: Dataset, fresh_backbone: Fresh) -> None:
    backbone = fresh_backbone()
    weights = dict(backbone.model.named_parameters())
    before = {name: (weight.double().sum().item(), weight.requires_grad) for name, weight in weights.items()}
    words = {"words.method": "lora", "words.rank": 1, "words.steps": 1, "words.batch_size": 1}
    quick = {"validation_users": 4, "search_nodes": 0, "num_beams": 2}
    measured_trial(backbone, changed(FAST, {**words, **quick}), held_out(small_dataset))
    assert {name: (weight.double().sum().item(), weight.requires_grad) for name, weight in weights.items()} == before
    assert list(dict(backbone.model.named_parameters())) == list(before)


def test_without_a_user_with_three_events_there_is_nothing_to_measure(
    small_dataset: Dataset, backbone: Backbone, tmp_path: Path
) -> None:
    first = small_dataset.interactions.filter(pl.int_range(pl.len()).over("user_id") < 2)
    with pytest.raises(DataError, match="no user with three events"):
        search(backbone, small_dataset.with_interactions(first), tmp_path, minutes=1, preset="fast")


@pytest.fixture(scope="module")
def own() -> RecommenderSettings:
    """Two steps of tuning the T5, in which little is asked."""
    quick = {"words.steps": 2, "words.batch_size": 1, "validation_users": 4, "search_nodes": 0, "num_beams": 2}
    return changed(RecommenderSettings(), {**quick, "tokens.passes": 0.3, "words.method": "lora", "words.rank": 1})


@pytest.fixture(scope="module")
def spelled(
    small_dataset: Dataset, backbone: Backbone, own: RecommenderSettings, tmp_path_factory: pytest.TempPathFactory
) -> tuple[SettingsFound, Path]:
    """A search of one trial by what the language model spells."""
    folder = tmp_path_factory.mktemp("spelled")
    space = {"words.rank": Choices((1, 2)), "words.method": Choices(("full", "lora"))}
    found = search(backbone, small_dataset, folder, minutes=5, settings=own, space=space, reading="generate", trials=1)
    return found, folder


def test_a_trial_of_generate_measures_what_is_spelled_and_tunes_nothing_else(
    spelled: tuple[SettingsFound, Path], small_dataset: Dataset, fresh_backbone: Fresh
) -> None:
    (found, _), split = spelled, held_out(small_dataset)
    whole = Recommender(fresh_backbone(), found.start).fit(split.train, split.validation)
    assert whole.reports["item tokens"].steps > 0
    expected = evaluate_model(whole, split.test, [10], "generate").per_user["ndcg@10"].tolist()
    assert found.trials[0].per_user == pytest.approx(expected)
    assert (found.reading, found.trials[0].values) == ("generate", {"words.rank": 1, "words.method": "lora"})


def test_the_way_of_a_trial_is_kept_as_a_curve_that_can_be_drawn(spelled: tuple[SettingsFound, Path]) -> None:
    found, _ = spelled
    assert found.start.words.evaluate_every == 1
    assert [(point.stage, point.share) for point in found.trials[0].curve] == [("words", 0.5), ("words", 1.0)]
    table = found.curves()
    assert table.columns == ["trial", "stage", "share", "ndcg@10"]
    assert table["trial"].to_list() == [0, 0]
    assert found.importances == {}
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'flanrec[report]'")
    from flanrec.evaluation.search_plots import curve_plot

    assert "words, % of the steps" in curve_plot(found)


def test_a_search_by_another_reading_is_another_search(
    spelled: tuple[SettingsFound, Path], small_dataset: Dataset, backbone: Backbone, own: RecommenderSettings
) -> None:
    found, folder = spelled
    with pytest.raises(CheckpointError, match="reading was 'generate' and is now None"):
        search(backbone, small_dataset, folder, minutes=5, settings=found.start, space=found.space, resume=True)
    with pytest.raises(SettingsError, match="change nothing for the reading generate"):
        search(backbone, small_dataset, folder, minutes=5, settings=own, space=SPACE, reading="generate")


def test_pruning_measures_the_words_on_their_way_unless_the_settings_say_how_often() -> None:
    plain = RecommenderSettings()
    assert starting(plain, "generate", True).words.evaluate_every == 50
    assert starting(changed(plain, {"words.evaluate_every": 7}), "generate", True).words.evaluate_every == 7
    assert starting(plain, "generate", False) == starting(plain, "fused", True) == plain
