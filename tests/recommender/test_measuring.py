"""What a stage measures on its way, and what it shows of the answers."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.recommender.stages import Material
from flanrec.recommender.stages.measuring import Measurement


@pytest.fixture(scope="module")
def material(small_dataset: Dataset, small_prompter: Prompter, short_settings: RecommenderSettings) -> Material:
    train, validation = hold_out_last(small_dataset)
    return Material.gather(train, validation, small_prompter, short_settings, {})


def test_it_shows_what_it_measured_to_users_from_the_first_to_the_last(fitted: Recommender, material: Material) -> None:
    reading = fitted.token_reading
    measure = Measurement(material, reading)
    assert measure.samples() == []
    metrics = measure()
    items, _ = reading.top(material.asked, 10, excluded=[user.items for user in material.asked])
    assert metrics == {"ndcg@10": material.ranking(items)}
    samples, titles = measure.samples(), material.prompter.catalogue.titles
    assert len(samples) == 4
    for row, sample in ((0, samples[0]), (len(material.asked) - 1, samples[-1])):
        assert sample.prompt == reading.prompts([material.asked[row]])[0]
        assert sample.predicted == tuple(titles[item] for item in items[row, :5])
        assert sample.expected == titles[material.first_answers[row]]
        assert sample.expected not in sample.prompt


def test_fewer_users_are_asked_where_that_is_wanted(fitted: Recommender, material: Material) -> None:
    measure = Measurement(material, fitted.token_reading, 2)
    items, _ = fitted.token_reading.top(material.asked[:2], 10, excluded=[user.items for user in material.asked[:2]])
    assert measure() == {"ndcg@10": material.ranking(items, slice(0, 2))}
    assert len(measure.samples()) == 2
    assert np.isfinite(measure()["ndcg@10"])
