"""Turns of the families by the examples that a log has for each."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.backbone import Backbone
from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.recommender import RecommenderSettings
from flanrec.recommender.stages import Material
from flanrec.recommender.stages.mixture import word_mixture
from flanrec.tuning.questions import Questions

# Of each user all but the first and the last event: 6 + u % 7 events, less two.
EVENTS = sum(4 + user % 7 for user in range(40))


@pytest.fixture
def material(small_dataset: Dataset, small_prompter: Prompter, short_settings: RecommenderSettings) -> Material:
    return Material.gather(*hold_out_last(small_dataset), small_prompter, short_settings, {})


def shares(backbone: Backbone, material: Material, **changes: object) -> dict[str, float]:
    words = material.settings.words.model_copy(update=changes)
    asked = Material.gather(
        material.train, material.train.with_interactions(material.train.interactions.head(0)), material.prompter,
        material.settings.model_copy(update={"words": words}), {},
    )  # fmt: skip
    questions = Questions(asked.users, asked.prompter, asked.facets, asked.rates)
    mixture = word_mixture(backbone, asked, questions, np.arange(100))
    return {one.objective.name: one.weight for one in mixture}


def test_given_weights_are_taken_as_they_are(backbone: Backbone, material: Material) -> None:
    found = shares(backbone, material)
    assert (found["sequential"], found["match"], found["rating"]) == (0.55, 0.25, 0.04)


def test_by_temperature_families_count_by_their_examples(backbone: Backbone, material: Material) -> None:
    """Every event is rated and of a category; of 30 items those with i % 4 == 3, seven, have no text."""
    sizes = dict.fromkeys(["sequential", "wish", "match", "pick", "rating", "profile"], EVENTS)
    sizes |= dict.fromkeys(["item_from_description", "description_from_item"], 23)
    found = shares(backbone, material, mixing="temperature", temperature=2.0)
    total = sum(size**0.5 for size in sizes.values())
    assert found == {name: pytest.approx(size**0.5 / total) for name, size in sizes.items()}
    limited = shares(backbone, material, mixing="temperature", temperature=1.0, mixing_limit=46)
    assert limited["item_from_description"] == pytest.approx(23 / (6 * 46 + 2 * 23))
    assert limited["sequential"] == pytest.approx(46 / (6 * 46 + 2 * 23))


def test_a_family_without_weight_stays_out(backbone: Backbone, material: Material) -> None:
    weights = material.settings.words.weights.model_copy(update={"pick": 0.0, "pairwise": 0.2})
    found = shares(backbone, material, mixing="temperature", weights=weights)
    assert "pick" not in found
    assert found["pairwise"] == found["sequential"]
    assert sum(found.values()) == pytest.approx(1.0)
