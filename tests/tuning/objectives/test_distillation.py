"""A teacher's probabilities as targets: zero from oneself, by hand from another, and followed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from losses import loss_of

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import SettingsError
from flanrec.generation import first_token_ids, title_log_probabilities, yes_no_logits
from flanrec.tuning.objective import Predicting
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.distillation import DistilledObjective
from flanrec.tuning.objectives.match import Judgement, MatchObjective
from flanrec.tuning.objectives.titles import TitleObjective

TITLES = ["Alien", "Alien 3", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]
PROMPT = "Which movie comes next after Alien (1979); Heat (1995)?"
JUDGEMENTS = [
    Judgement('Would the user like "Heat"? It is crime. Yes or no?', False, -1.2),
    Judgement("Is the sky green? yes or no", True, 0.4),
]
TITLE = Question(PROMPT, (TITLES[3], TITLES[1]), (0.7, 0.3), (3, 1), excluded=(0,))
ANSWER = Question("Which rating from 1 to 5?", ("4", "very good"), (1.0, 0.5))


def unasked(_: np.random.Generator) -> Any:
    raise AssertionError("the loss draws nothing")


def titles(backbone: Backbone) -> TitleObjective:
    return TitleObjective("titles", backbone, TitleTrie.build(backbone.tokenizer(TITLES)["input_ids"]), unasked)


def answers(backbone: Backbone) -> AnswerObjective:
    return AnswerObjective("answers", backbone, unasked, rows=np.arange(0, 32000, 7))


def match(backbone: Backbone) -> MatchObjective:
    tokens = backbone.tokenizer
    return MatchObjective(backbone, unasked, first_token_ids(tokens, ["yes"]), first_token_ids(tokens, ["no"]))


KINDS = pytest.mark.parametrize(
    ("make", "examples"),
    [(titles, [TITLE]), (answers, [ANSWER]), (match, JUDGEMENTS)],
    ids=["titles", "answers", "match"],
)
Make = Callable[[Backbone], Predicting]


@pytest.fixture(scope="module")
def other(fresh_backbone: Callable[[], Backbone]) -> Backbone:
    """A T5 that says something else: its logits are half as large, its first blocks another's."""
    made = fresh_backbone()
    with torch.no_grad():
        made.model.get_decoder().final_layer_norm.weight.mul_(0.5)
        made.model.get_decoder().block[3].layer[2].DenseReluDense.wo.weight.mul_(0.2)
    return made


@KINDS
def test_from_oneself_nothing_is_learnt(backbone: Backbone, make: Make, examples: list[Any]) -> None:
    taught = DistilledObjective(make(backbone), make(backbone), temperature=3.0, share=1.0)
    with torch.no_grad():
        loss = loss_of(taught, examples)
    assert float(loss.total) == pytest.approx(0.0, abs=1e-5)
    assert loss.count > 0


@KINDS
def test_without_a_share_it_is_the_objective_itself(
    backbone: Backbone, other: Backbone, make: Make, examples: list[Any]
) -> None:
    with torch.no_grad():
        own = loss_of(make(backbone), examples)
        taught = loss_of(DistilledObjective(make(backbone), make(other), share=0.0), examples)
        half = loss_of(DistilledObjective(make(backbone), make(other), share=0.5), examples)
        whole = loss_of(DistilledObjective(make(backbone), make(other), share=1.0), examples)
    assert (float(taught.total), taught.count) == (pytest.approx(float(own.total)), own.count)
    assert float(half.total) == pytest.approx((float(own.total) + float(whole.total)) / 2, rel=1e-4)


def test_yes_and_no_are_those_of_both_models_softened(backbone: Backbone, other: Backbone) -> None:
    temperature, objective = 2.5, match(backbone)
    prompts, offsets = [one.prompt for one in JUDGEMENTS], np.array([one.offset for one in JUDGEMENTS])
    teacher, student = (
        1 / (1 + np.exp(-(yes_no_logits(one.model, one.tokenizer, prompts, None, objective.yes_ids, objective.no_ids)
                          + offsets) / temperature))
        for one in (other, backbone)
    )  # fmt: skip
    expected = (
        teacher * np.log(teacher / student) + (1 - teacher) * np.log((1 - teacher) / (1 - student))
    ).sum() * temperature**2
    taught = DistilledObjective(objective, match(other), temperature=temperature, share=1.0)
    with torch.no_grad():
        assert float(loss_of(taught, JUDGEMENTS).total) == pytest.approx(expected, rel=1e-3)


def test_titles_weighted_by_the_teacher_teach_the_divergence_over_all_items(
    backbone: Backbone, other: Backbone
) -> None:
    """Every fork counts as often as the teacher comes by; at temperature 1 that is the divergence of whole titles."""
    rows = backbone.tokenizer(TITLES)["input_ids"]
    told, own = (
        title_log_probabilities(one, [PROMPT], rows, normalisation="trie")[0].astype(np.float64)
        for one in (other, backbone)
    )
    chances = np.exp(told) / np.exp(told).sum()
    question = Question(PROMPT, tuple(TITLES), tuple(chances), tuple(range(len(TITLES))))
    taught = DistilledObjective(titles(backbone), titles(other), temperature=1.0, share=1.0)
    with torch.no_grad():
        found = float(loss_of(taught, [question]).total)
    assert found == pytest.approx(float((chances * (told - own)).sum()), abs=1e-3)


@KINDS
def test_steps_along_its_gradient_bring_the_student_nearer(
    fresh_backbone: Callable[[], Backbone], other: Backbone, make: Make, examples: list[Any]
) -> None:
    student = fresh_backbone()
    # Dropout is for tuning; here the same reading is compared before and after.
    taught = DistilledObjective(make(student), make(other), share=1.0)
    norm = student.model.get_decoder().final_layer_norm.weight
    optimiser = torch.optim.SGD([norm], lr=1e-4)
    losses = []
    for _ in range(3):
        loss = loss_of(taught, examples)
        losses.append(float(loss.total.detach()))
        optimiser.zero_grad()
        (loss.total / loss.count).backward()
        optimiser.step()
    assert losses[0] > losses[1] > losses[2] > 0
    assert all(weight.grad is None for weight in other.model.parameters())


@pytest.mark.parametrize("changes", [{"temperature": 0.0}, {"temperature": -1.0}, {"share": 1.5}, {"share": -0.1}])
def test_a_temperature_of_nothing_and_a_share_beyond_the_whole_are_refused(
    backbone: Backbone, changes: dict[str, float]
) -> None:
    with pytest.raises(SettingsError, match="temperature is"):
        DistilledObjective(match(backbone), match(backbone), **changes)


def test_it_is_named_and_draws_as_the_objective(backbone: Backbone) -> None:
    own = titles(backbone)
    own.draw_one = lambda rng: replace(TITLE, prompt=str(rng.integers(100)))
    taught = DistilledObjective(own, titles(backbone))
    assert (taught.name, taught.apart) == ("titles", True)
    draws = [one.draw(np.random.default_rng(3), 4) for one in (own, taught)]
    assert draws[0] == draws[1]
    assert isinstance(taught, Predicting)
