"""What the words are tuned on: by default what it was, and each further objective by its weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.errors import SettingsError
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.recommender.stages.material import Material
from flanrec.recommender.stages.mixture import reference_of, word_mixture
from flanrec.tuning import Weighted
from flanrec.tuning.objectives.answers import AnswerObjective
from flanrec.tuning.questions import Questions
from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport

Fresh = Callable[[], Backbone]
FURTHER = ("rating_regression", "pairwise", "listwise", "sampled", "contrastive", "preference")
USUAL = {
    "sequential": 0.55, "wish": 0.1, "match": 0.25, "pick": 0.03, "rating": 0.04, "profile": 0.03,
    "item_from_description": 0.05, "description_from_item": 0.02,
}  # fmt: skip


def only(**weights: float) -> dict[str, float]:
    return dict.fromkeys([*USUAL, "review_rating", "examples"], 0.0) | weights


def mixture(
    backbone: Backbone, dataset: Dataset, prompter: Prompter, reference: Backbone | None = None, **words: Any
) -> list[Weighted]:
    settings = RecommenderSettings.model_validate({"words": words})
    empty = dataset.with_interactions(dataset.interactions.head(0))
    material = Material.gather(dataset, empty, prompter, settings, {})
    questions = Questions(material.users, prompter, material.facets, material.rates)
    return word_mixture(backbone, material, questions, np.arange(3, 1000), reference)


def tuning(
    settings: RecommenderSettings, changes: dict[str, Any] | None = None, **weights: float
) -> RecommenderSettings:
    """Of the words alone, on these objectives."""
    words = settings.words.model_dump() | {"weights": only(**weights)} | (changes or {})
    return RecommenderSettings.model_validate(settings.model_dump() | {"words": words, "tokens": {"passes": 0}})


class Watch:
    """Presses Ctrl-C after a step of the words."""

    def __init__(self, after: int) -> None:
        self.after = after

    def __call__(self, stage: str) -> Sequence[Watch]:
        return [self]

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.after:
            raise KeyboardInterrupt

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass

    def on_end(self, report: TrainingReport) -> None:
        pass


def test_by_default_the_mixture_is_what_it_was(
    backbone: Backbone, small_dataset: Dataset, small_prompter: Prompter
) -> None:
    found = mixture(backbone, small_dataset, small_prompter)
    assert {one.objective.name: one.weight for one in found} == USUAL


@pytest.mark.parametrize("name", FURTHER)
def test_a_weight_adds_its_objective(
    backbone: Backbone, small_dataset: Dataset, unrated_dataset: Dataset, small_prompter: Prompter,
    fresh_backbone: Fresh, name: str,
) -> None:  # fmt: skip
    reference = fresh_backbone()
    (one,) = mixture(backbone, small_dataset, small_prompter, reference, weights=only(**{name: 0.3}))
    assert (one.objective.name, one.weight) == (name, 0.3)
    drawn = one.objective.draw(np.random.default_rng(5), 3)
    with torch.no_grad():
        loss = one.objective.loss(one.objective.prepare(drawn))
    assert loss.count == 3
    assert 0 < float(loss.total) < 100
    without = mixture(backbone, unrated_dataset, small_prompter, reference, weights=only(**{name: 0.3}))
    assert [one.objective.name for one in without] == ([] if name == "rating_regression" else [name])


def test_without_a_reference_preference_is_left_out(
    backbone: Backbone, small_dataset: Dataset, small_prompter: Prompter
) -> None:
    assert mixture(backbone, small_dataset, small_prompter, weights=only(preference=1.0)) == []


def test_the_reference_is_a_frozen_copy_with_the_gain_of_the_start(backbone: Backbone) -> None:
    reference = reference_of(backbone, 0.1)
    ids, _ = backbone.encode_texts(["Which movie comes next after Heat?"])
    with torch.no_grad():
        one, two = (
            each.model(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits for each in (backbone, reference)
        )
    torch.testing.assert_close(two, 0.1 * one, rtol=1e-4, atol=1e-4)
    own = {weight.data_ptr() for weight in backbone.model.parameters()}
    assert not any(weight.requires_grad or weight.data_ptr() in own for weight in reference.model.parameters())


def test_answers_in_free_words_are_smoothed_where_that_is_asked_for(
    backbone: Backbone, small_dataset: Dataset, small_prompter: Prompter
) -> None:
    for smoothing in (0.0, 0.1):
        found = mixture(backbone, small_dataset, small_prompter, smoothing=smoothing)
        free = [one.objective for one in found if isinstance(one.objective, AnswerObjective)]
        assert [one.smoothing for one in free] == [smoothing] * 5


def test_half_stars_are_refused_before_the_backbone_is_changed(
    small_dataset: Dataset, short_settings: RecommenderSettings, backbone: Backbone
) -> None:
    halves = pl.col("rating").replace({5.0: 3.5, 4.0: 1.0, 2.0: 0.5})
    log = small_dataset.with_interactions(small_dataset.interactions.with_columns(halves))
    with pytest.raises(SettingsError, match=r"0\.5, 3\.5 begin with the same token"):
        Recommender(backbone, tuning(short_settings, rating_regression=1.0)).fit(log)


def test_a_resumed_fit_measures_preferences_from_where_it_started(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh, tmp_path: Path
) -> None:
    settings = tuning(short_settings, {"steps": 5, "vocabulary": "used"}, preference=1.0, contrastive=1.0)
    straight = Recommender(fresh_backbone(), settings).fit(small_dataset).reports["words"]
    assert straight.objectives[2:].count("preference") > 0
    with pytest.raises(KeyboardInterrupt):
        Recommender(fresh_backbone(), settings).fit(small_dataset, folder=tmp_path, callbacks=Watch(2))
    resumed = Recommender(fresh_backbone(), settings).fit(small_dataset, folder=tmp_path, resume=True)
    assert resumed.reports["words"].objectives == straight.objectives
    assert resumed.reports["words"].losses == pytest.approx(straight.losses, rel=1e-4)


@pytest.mark.parametrize("method", ["full", "lora", "prompt-tuning"])
def test_a_fit_learns_from_all_of_them_by_any_method(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh, method: str
) -> None:
    settings = tuning(short_settings, {"steps": 14, "method": method}, **dict.fromkeys(FURTHER, 1.0))
    fitted = Recommender(fresh_backbone(), settings).fit(small_dataset)
    assert set(fitted.reports["words"].objectives) == set(FURTHER)
    assert np.isfinite(fitted.reports["words"].losses).all()
