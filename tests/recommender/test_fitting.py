from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

from flanrec.backbone import Backbone
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import CheckpointError, DataError, FlanrecError, NotFoundError
from flanrec.recommender import READINGS, Recommender, RecommenderSettings
from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport

Fresh = Callable[[], Backbone]
PAIRS = pl.DataFrame({"user_id": ["u1", "u6", "stranger"], "item_id": ["i3", "i29", "i14"]})


def answers(recommender: Recommender) -> list[pl.DataFrame]:
    lists = [recommender.recommend(["u1", "u6", "stranger"], k=8, wish="drama", reading=one) for one in READINGS]
    return [*lists, recommender.match(PAIRS)]


def alike(first: Recommender, second: Recommender) -> None:
    """The same lists and ids, the numbers but for rounding."""
    for one, two in zip(answers(first), answers(second), strict=True):
        assert_frame_equal(one, two, rel_tol=0, abs_tol=1e-4)


class Watch:
    """Remembers the stages, and presses Ctrl-C after the first step of one of them."""

    def __init__(self, stop: str = "") -> None:
        self.stop = stop
        self.steps: dict[str, list[int]] = {}
        self._stage = ""

    def __call__(self, stage: str) -> Sequence[Watch]:
        self._stage = stage
        return [self]

    def on_step(self, record: StepRecord) -> None:
        self.steps.setdefault(self._stage, []).append(record.step)
        if self._stage == self.stop:
            raise KeyboardInterrupt

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass

    def on_end(self, report: TrainingReport) -> None:
        pass


@pytest.fixture(scope="session")
def only_tokens(short_settings: RecommenderSettings) -> RecommenderSettings:
    """Leaves the words alone."""
    return short_settings.model_copy(update={"words": short_settings.words.model_copy(update={"steps": 0})})


@pytest.fixture(scope="session")
def unworded(small_dataset: Dataset, only_tokens: RecommenderSettings, fresh_backbone: Fresh) -> Recommender:
    return Recommender(fresh_backbone(), only_tokens).fit(small_dataset)


def test_the_same_seed_gives_the_same_recommender_to_the_bit(
    fitted: Recommender, rested: Callable[[Recommender], Recommender], small_dataset: Dataset,
    short_settings: RecommenderSettings, fresh_backbone: Fresh,
) -> None:  # fmt: skip
    again = Recommender(fresh_backbone(), short_settings).fit(small_dataset)
    for one, two in zip(answers(rested(again)), answers(rested(fitted)), strict=True):
        assert one.equals(two)
    first, second = fitted.parts.tokens.state_dict(), again.parts.tokens.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.reports["words"].losses == fitted.reports["words"].losses


def test_another_seed_gives_another(
    unworded: Recommender, small_dataset: Dataset, only_tokens: RecommenderSettings, fresh_backbone: Fresh
) -> None:
    other = Recommender(fresh_backbone(), only_tokens.model_copy(update={"seed": 7})).fit(small_dataset)
    assert not other.recommend(["u1"], k=8).equals(unworded.recommend(["u1"], k=8))


def test_without_steps_the_words_stay_as_they_are(backbone: Backbone, unworded: Recommender) -> None:
    before, after = backbone.model.state_dict(), unworded.backbone.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_fit_that_was_interrupted_after_the_words_goes_on_to_the_same_result(
    fitted: Recommender, small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh,
    tmp_path: Path,
) -> None:  # fmt: skip
    first, second = Watch(stop="item tokens"), Watch()
    with pytest.raises(KeyboardInterrupt):
        Recommender(fresh_backbone(), short_settings).fit(small_dataset, folder=tmp_path, callbacks=first)
    resumed = Recommender(fresh_backbone(), short_settings)
    source = resumed.backbone.source
    resumed.fit(small_dataset, folder=tmp_path, resume=True, callbacks=second)
    assert first.steps == {"words": [1, 2], "item tokens": [1]}
    assert second.steps == {"item tokens": [2]}
    alike(resumed, fitted)
    assert resumed.backbone.source == source

    fewer = small_dataset.with_interactions(small_dataset.interactions.head(100))
    other = short_settings.model_copy(update={"seed": 7})
    for data, settings in ((fewer, short_settings), (small_dataset, other)):
        with pytest.raises(CheckpointError, match="other data or settings"):
            Recommender(resumed.backbone, settings).fit(data, folder=tmp_path, resume=True)


def test_only_a_refit_learns_from_the_validation_events(
    small_dataset: Dataset, only_tokens: RecommenderSettings, fresh_backbone: Fresh
) -> None:
    # Everybody's last event is the item that nobody touched before.
    latest = small_dataset.interactions.unique("user_id", maintain_order=True).with_columns(
        item_id=pl.lit("i29"), timestamp=pl.lit(2_000_000_000), row=pl.int_range(1000, 1040, dtype=pl.UInt32)
    )
    validation = small_dataset.with_interactions(latest)
    places = {}
    for refit in (False, True):
        tokens = only_tokens.tokens.model_copy(update={"refit": refit})
        watch = Watch()
        recommender = Recommender(fresh_backbone(), only_tokens.model_copy(update={"tokens": tokens}))
        recommender.fit(small_dataset, validation, callbacks=watch)
        table = recommender.recommend(history=[], k=30, reading="item_tokens")
        places[refit] = int(table.filter(pl.col("item_id") == "i29")["rank"][0])
        assert recommender.people(["u1"])[0].items[-1] == 29
        assert "i29" not in set(recommender.recommend(["u1"], k=30)["item_id"])
        if refit:
            best = recommender.reports["item tokens"].best_step
            assert best is not None
            assert watch.steps["item tokens, refit"] == list(range(1, best + 1))
        else:
            assert "item tokens, refit" not in watch.steps
    assert places[True] < places[False]


def test_a_validation_part_with_its_items_in_another_order_counts_the_same(
    unworded: Recommender, small_dataset: Dataset, only_tokens: RecommenderSettings, fresh_backbone: Fresh
) -> None:
    train, validation = hold_out_last(small_dataset)
    reversed_ = replace(validation, items=validation.items.reverse())
    recommender = Recommender(fresh_backbone(), only_tokens).fit(train, reversed_)
    assert recommender.reports["item tokens"].best_value == unworded.reports["item tokens"].best_value
    assert recommender.parts.calibration == unworded.parts.calibration
    alike(recommender, unworded)
    fewer = train.items.filter(pl.col("item_id") != "i9")
    kept = train.interactions.filter(pl.col("item_id") != "i9")
    with pytest.raises(NotFoundError, match="'i9'"):
        Recommender(fresh_backbone(), only_tokens).fit(replace(train, items=fewer, interactions=kept), validation)


def test_numbers_stay_numbers(
    small_dataset: Dataset, only_tokens: RecommenderSettings, fresh_backbone: Fresh, tmp_path: Path
) -> None:
    item = pl.col("item_id").str.slice(1).cast(pl.Int64) + 100
    user = pl.col("user_id").str.slice(1).cast(pl.Int64)
    data = Dataset.from_frames(
        small_dataset.interactions.select(user, item, "timestamp", "rating"), small_dataset.items.with_columns(item)
    )
    recommender = Recommender(fresh_backbone(), only_tokens).fit(data)
    recommender.save_pretrained(tmp_path / "model")
    for one in (recommender, Recommender.from_pretrained(tmp_path / "model", device="cpu")):
        table = one.recommend([6, 999], k=3)
        assert table.schema == {"user_id": pl.Int64, "item_id": pl.Int64, "score": pl.Float64, "rank": pl.Int64}
        assert table["user_id"].to_list() == [6] * 3 + [999] * 3
        assert set(one.recommend([0], k=30)["item_id"]) == set(range(106, 130))
        assert one.recommend(history=[103, "104"], k=2).equals(one.recommend(history=["103", 104], k=2))
        assert one.match(pl.DataFrame({"user_id": [6], "item_id": [129]}))["user_id"].to_list() == [6]
        assert one.explain(6, 129).item_id == 129
        new = pl.DataFrame({"item_id": ["128", "900"], "title": ["Fjord Quarry (2008)", "Gneiss Harbour (2010)"]})
        assert sorted(one.rank_new(new, [6])["item_id"]) == [128, 900]
        with pytest.raises(DataError, match="item ids are String, those of the catalogue Int64"):
            one.rank_new(pl.DataFrame({"item_id": ["fresh"], "title": ["Gneiss Harbour"]}), [6])


def test_lora_leaves_a_merged_backbone_with_its_own_head(
    backbone: Backbone, small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh,
    tmp_path: Path,
) -> None:  # fmt: skip
    words = short_settings.words.model_copy(update={"method": "lora", "rank": 4, "learning_rate": 0.005})
    recommender = Recommender(fresh_backbone(), short_settings.model_copy(update={"words": words})).fit(small_dataset)
    tuned = recommender.backbone
    assert not hasattr(tuned.model, "peft_config")
    assert tuned.head_is_separate
    before, after = backbone.model.state_dict(), tuned.model.state_dict()
    assert before.keys() == after.keys()
    changed = {name.rsplit(".", 2)[-2] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"wi_0", "wi_1", "wo", "final_layer_norm"}

    recommender.save_pretrained(tmp_path / "model")
    loaded = Recommender.from_pretrained(tmp_path / "model", device="cpu")
    assert loaded.backbone.head_is_separate
    ids, mask = tuned.encode_texts(["A user liked Amber Quarry (1983). What comes next?", "Comedy or drama?"])
    start = torch.zeros((2, 1), dtype=torch.long)
    with torch.no_grad():
        logits = [one.model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
                  for one in (tuned, loaded.backbone, backbone)]  # fmt: skip
    assert torch.allclose(logits[0], logits[1], atol=1e-4)
    assert not torch.allclose(logits[0], logits[2], atol=1e-2)
    alike(loaded, recommender)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_the_vocabulary_in_use_is_tuned_and_saved_like_the_rest(
    backbone: Backbone, small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh,
    tmp_path: Path, method: str,
) -> None:  # fmt: skip
    changes = {"vocabulary": "used", "vocabulary_rate": 0.05, "method": method, "evaluate_every": 1}
    settings = short_settings.model_copy(update={"words": short_settings.words.model_copy(update=changes)})
    with pytest.raises(KeyboardInterrupt):
        Recommender(fresh_backbone(), settings).fit(small_dataset, folder=tmp_path / "run", callbacks=Watch("words"))
    recommender = Recommender(fresh_backbone(), settings)
    recommender.fit(small_dataset, folder=tmp_path / "run", resume=True)
    tuned = recommender.backbone
    assert tuned.head_is_separate
    before, after = backbone.model.state_dict(), tuned.model.state_dict()
    assert before.keys() == after.keys()
    for name in ("shared.weight", "lm_head.weight"):
        moved = (before[name] != after[name]).any(dim=1).float().mean()
        assert 0 < float(moved) < 0.1
    recommender.save_pretrained(tmp_path / "model")
    alike(Recommender.from_pretrained(tmp_path / "model", device="cpu"), recommender)


def test_a_log_without_ratings_teaches_what_is_chosen(
    unrated_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh
) -> None:
    # Thirty people who do nothing else take i7.
    crowd = pl.DataFrame({"user_id": [f"c{user}" for user in range(30)], "item_id": "i7", "timestamp": 1_500_000_000})
    events = pl.concat([unrated_dataset.interactions.select(crowd.columns), crowd], how="vertical_relaxed")
    recommender = Recommender(fresh_backbone(), short_settings).fit(Dataset.from_frames(events, unrated_dataset.items))
    table = recommender.match(pl.DataFrame({"user_id": ["new"] * 2, "item_id": ["i7", "i29"]}))
    popular, untouched = table["probability"]
    assert 0 <= untouched < popular <= 1
    assert recommender.recommend(["c3"], k=30).height == 29


def test_chinese_templates_join_in_tuning_and_english_ones_are_used(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh
) -> None:
    settings = short_settings.model_copy(update={"languages": ("en", "zh")})
    recommender = Recommender(fresh_backbone(), settings).fit(small_dataset)
    assert [templates.language for templates in recommender.parts.prompter.templates] == ["en", "zh"]
    assert recommender.recommend(["u1"], k=5, wish="comedy").height == 5
    assert recommender.recommend(["u1"], k=5, reading="generate").height == 5
    assert recommender.match(PAIRS)["probability"].is_between(0, 1).all()
    assert recommender.token_reading.prompts(recommender.people(["u1"]))[0].isascii()


def test_a_catalogue_that_the_checkpoint_cannot_read_is_refused_with_advice(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh
) -> None:
    titles = pl.concat_str(pl.lit("流浪地球"), pl.col("year").cast(pl.String)).alias("title")
    data = replace(small_dataset, items=small_dataset.items.with_columns(titles))
    with pytest.raises(CheckpointError, match=r"流浪地球1980.*google/mt5-small"):
        Recommender(fresh_backbone(), short_settings).fit(data)


@pytest.mark.parametrize("missing", ["items", "interactions"])
def test_a_log_with_nothing_in_it_is_refused(
    backbone: Backbone, small_dataset: Dataset, short_settings: RecommenderSettings, missing: str
) -> None:
    empty = small_dataset.with_interactions(small_dataset.interactions.head(0))
    words = "no interactions to learn from"
    if missing == "items":
        empty, words = replace(empty, items=empty.items.head(0)), "catalogue is empty"
    with pytest.raises(DataError, match=words) as told:
        Recommender(backbone, short_settings).fit(empty)
    assert isinstance(told.value, FlanrecError)


def test_histories_of_one_event_fit_too(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh
) -> None:
    data = small_dataset.with_interactions(small_dataset.interactions.unique("user_id", maintain_order=True))
    recommender = Recommender(fresh_backbone(), short_settings).fit(data)
    assert recommender.recommend(["u1", "stranger"], k=30).height == 59
    assert recommender.reports["item tokens"].steps == 0
