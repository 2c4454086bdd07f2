"""The expected rating, against transformers' own forward pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from learning import learn
from losses import loss_of

from flanrec.backbone import Backbone
from flanrec.errors import SettingsError
from flanrec.tuning.objective import Predicting
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.objectives.regression import RatingRegressionObjective, scale_of

QUESTIONS = [
    Question('On a scale from 1 to 5, how would the user rate "Heat"? Liked: Alien (1979).', ("4",), (1.0,)),
    Question('Predict the rating (1 to 5) of the movie "Ed Wood".', ("1",), (1.0,)),
    Question("Rate it from 1 to 5.", ("5",), (1.0,)),
]
SCALE = [5, 1, 2, 3, 4, 4]


def unasked(_: np.random.Generator) -> Question:
    raise AssertionError("the loss draws nothing")


def expected_rating(backbone: Backbone, prompt: str) -> float:
    """Over the ratings' own tokens, by transformers."""
    ids = torch.tensor([backbone.tokenizer(prompt)["input_ids"]])
    with torch.no_grad():
        logits = backbone.model(input_ids=ids, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
    tokens = [backbone.tokenizer(str(value))["input_ids"] for value in range(1, 6)]
    assert [len(row) for row in tokens] == [2] * 5
    shares = logits[[row[0] for row in tokens]].softmax(dim=0)
    return float(shares @ torch.arange(1.0, 6.0))


def test_the_loss_is_the_squared_error_of_the_expectation_in_units_of_the_range(backbone: Backbone) -> None:
    objective = RatingRegressionObjective(backbone, unasked, SCALE)
    assert isinstance(objective, Predicting)
    expected = sum(((expected_rating(backbone, one.prompt) - float(one.answers[0])) / 4) ** 2 for one in QUESTIONS)
    prepared = objective.prepare(QUESTIONS)
    with torch.no_grad():
        loss, predicted = objective.loss(prepared), objective.predict(prepared)
    assert float(loss.total) == pytest.approx(expected, rel=1e-4)
    assert loss.count == 3.0
    assert predicted.shape == (3, 5)
    np.testing.assert_allclose(predicted.exp().sum(dim=1).numpy(), 1.0, atol=1e-5)


def test_under_autocast_the_expectation_stays_float32(backbone: Backbone) -> None:
    objective = RatingRegressionObjective(backbone, unasked, SCALE)
    prepared = objective.prepare(QUESTIONS)
    with torch.no_grad():
        predicted = objective.predict(prepared)
        plain = objective.judge(predicted, prepared)
        with torch.autocast("cpu", torch.bfloat16):
            cast = objective.judge(predicted, prepared)
    assert float(cast.total) == float(plain.total)


def test_a_rating_between_those_of_the_scale_is_a_target_too(backbone: Backbone) -> None:
    one = Question(QUESTIONS[0].prompt, ("2.5",), (1.0,))
    with torch.no_grad():
        loss = loss_of(RatingRegressionObjective(backbone, unasked, SCALE), [one])
    assert float(loss.total) == pytest.approx(((expected_rating(backbone, one.prompt) - 2.5) / 4) ** 2, rel=1e-4)


def test_what_is_prepared_is_the_same_whatever_the_weights(
    backbone: Backbone, fresh_backbone: Callable[[], Backbone]
) -> None:
    other = fresh_backbone()
    with torch.no_grad():
        other.model.get_output_embeddings().weight.zero_()
    one, two = (RatingRegressionObjective(each, unasked, SCALE).prepare(QUESTIONS) for each in (backbone, other))
    assert torch.equal(one.asked.ids, two.asked.ids)
    assert torch.equal(one.asked.packed.inputs, two.asked.packed.inputs)
    assert one.ratings.tolist() == two.ratings.tolist() == [4.0, 1.0, 5.0]


def test_a_few_steps_bring_the_expectation_nearer(fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    objective = RatingRegressionObjective(learner, unasked, SCALE)
    before = [abs(expected_rating(learner, one.prompt) - float(one.answers[0])) for one in QUESTIONS]
    learn(objective, learner, QUESTIONS, steps=6)
    after = [abs(expected_rating(learner, one.prompt) - float(one.answers[0])) for one in QUESTIONS]
    assert sum(after) < 0.6 * sum(before)


@pytest.mark.parametrize(
    ("scale", "words"),
    [
        ([0.5, 1, 2, 3.5, 4.5], r"0\.5, 3\.5, 4\.5 begin with the same token.*whole numbers"),
        ([3, 3], "only the rating 3"),
        ([], "no rating"),
    ],
)
def test_a_scale_that_the_first_token_cannot_tell_apart_is_refused(
    backbone: Backbone, scale: list[float], words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        RatingRegressionObjective(backbone, unasked, scale)


def test_the_scale_is_what_occurs() -> None:
    assert scale_of(np.array([4, np.nan, 1, 4, 3.3], dtype=np.float32)) == [1.0, 3.3, 4.0]
    assert scale_of(np.array([np.nan], dtype=np.float32)) == []
