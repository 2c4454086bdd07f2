"""The range test on the stages of a fit."""

from __future__ import annotations

from typing import Any, get_args

import polars as pl
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.data import Dataset
from flanrec.errors import DataError, SettingsError
from flanrec.recommender import RecommenderSettings
from flanrec.recommender.named import changed
from flanrec.recommender.rates import rate_curve, settings_at
from flanrec.recommender.settings import WordMethod

QUICK = {"words.batch_size": 2, "tokens.batch_size": 4, "validation_users": 4}


def settings(**changes: Any) -> RecommenderSettings:
    return changed(RecommenderSettings(), {**QUICK, **{name.replace("__", "."): one for name, one in changes.items()}})


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=() if name in ("full", "ia3") else pytest.mark.slow)
        for name in get_args(WordMethod)
    ],
)  # fmt: skip
def test_every_method_is_tested_and_the_backbone_is_left_alone(
    small_dataset: Dataset, backbone: Backbone, method: WordMethod
) -> None:
    own = settings(words__method=method, words__batch_size=1)
    curve = rate_curve(backbone, small_dataset, own, low=1e-4, high=10.0, steps=10)
    assert len(curve.losses) >= 2
    assert curve.smoothed[0] == pytest.approx(curve.untrained, rel=1e-4)
    assert max(abs(one - curve.untrained) for one in curve.smoothed) > 1e-3 * curve.untrained
    assert all(parameter.requires_grad for parameter in backbone.model.parameters())


def test_the_vocabularys_rate_goes_along(small_dataset: Dataset, backbone: Backbone) -> None:
    own = settings(words__vocabulary="used", words__learning_rate=1e-3, words__vocabulary_rate=4e-3)
    curve = rate_curve(backbone, small_dataset, own, low=1e-5, high=1e-3, steps=10)
    found = settings_at(curve, 2e-4, "words")
    assert found == pytest.approx({"words.learning_rate": 2e-4, "words.vocabulary_rate": 8e-4})
    assert changed(own, found).words.vocabulary_rate == pytest.approx(8e-4)


def test_item_tokens_keep_the_proportion_of_their_rates(small_dataset: Dataset, backbone: Backbone) -> None:
    curve = rate_curve(backbone, small_dataset, settings(), stage="item_tokens", low=1e-5, high=1.0, steps=30)
    assert set(curve.objectives) == {"item_tokens"}
    assert curve.lowest is not None
    found = settings_at(curve, 1e-3, "item_tokens")
    assert found == pytest.approx(
        {"tokens.learning_rate": 1e-3, "tokens.vector_rate": 2e-3, "tokens.instruction_rate": 4e-3}
    )
    assert changed(RecommenderSettings(), found).tokens.vector_rate == pytest.approx(2e-3)


def test_instructions_of_ones_own_are_in_the_mixture(small_dataset: Dataset, backbone: Backbone) -> None:
    own = pl.DataFrame({"prompt": ["Is my transfer late?"], "target": ["transfer timing"]})
    alone = settings(words__weights__examples=1e6)
    curve = rate_curve(backbone, small_dataset, alone, low=1e-6, high=1e-4, steps=10, examples=own)
    assert set(curve.objectives) == {"examples"}


def test_what_cannot_be_tested_is_refused(small_dataset: Dataset, backbone: Backbone) -> None:
    fast = RecommenderSettings.preset("fast")
    with pytest.raises(SettingsError, match=r"words\.steps is 0"):
        rate_curve(backbone, small_dataset, fast)
    with pytest.raises(SettingsError, match=r"tokens\.passes is 0"):
        rate_curve(backbone, small_dataset, fast, stage="item_tokens")
    first = small_dataset.interactions.filter(pl.int_range(pl.len()).over("user_id") < 1)
    with pytest.raises(DataError, match="no user with two events"):
        rate_curve(backbone, small_dataset.with_interactions(first))
    with pytest.raises(DataError, match="nothing to learn from"):
        rate_curve(backbone, small_dataset.with_interactions(first.head(0)))
    assert torch.is_grad_enabled()
