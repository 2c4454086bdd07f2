"""The mixture of the words stage: what the T5 is tuned on, each with how often it has its turn."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.catalogue.item_texts import item_texts
from flanrec.generation import first_token_ids
from flanrec.recommender.stages.material import Material
from flanrec.tuning import Weighted
from flanrec.tuning.choices import ChoiceQuestions
from flanrec.tuning.mixing import temperature_weights
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.contrastive import ContrastiveObjective
from flanrec.tuning.objectives.examples import ExampleObjective
from flanrec.tuning.objectives.listwise import ListwiseObjective
from flanrec.tuning.objectives.match import MatchObjective
from flanrec.tuning.objectives.pairwise import PairwiseObjective
from flanrec.tuning.objectives.preference import PreferenceObjective
from flanrec.tuning.objectives.regression import RatingRegressionObjective, first_tokens, scale_of
from flanrec.tuning.objectives.sampled import SampledObjective
from flanrec.tuning.objectives.titles import TitleObjective
from flanrec.tuning.questions import Questions
from flanrec.tuning.text_questions import TextQuestions


def word_mixture(
    backbone: Backbone,
    material: Material,
    questions: Questions,
    rows: NDArray[np.int64],
    reference: Backbone | None = None,
) -> list[Weighted]:
    """The task families, each as often as the settings say.

    Parameters
    ----------
    rows
        Vocabulary rows among which free answers are chosen, token by token.
    reference
        The backbone before tuning, which stays as it is; without it preference is left out.
    """
    objectives = [
        *_titles(backbone, material, questions),
        *_answers(backbone, material, questions, rows),
        *_judgements(backbone, material, questions),
        *_choices(backbone, material, ChoiceQuestions(questions, log=material.users), reference),
    ]
    return mixed([weighted for weighted in objectives if weighted.weight > 0], material, questions)


def mixed(mixture: list[Weighted], material: Material, questions: Questions) -> list[Weighted]:
    """The mixture with weights by how many examples each family can draw, where the settings ask for it.

    Families of choices among items are about the same events as questions for the next item.
    """
    words = material.settings.words
    if words.mixing == "weights" or not mixture:
        return mixture
    known = questions.sizes() | TextQuestions(material.train, questions.prompter).sizes()
    known["rating_regression"] = known["rating"]
    known["examples"] = 0 if material.examples is None else len(material.examples)
    sizes = {one.objective.name: known.get(one.objective.name, known["sequential"]) for one in mixture}
    shares = temperature_weights(sizes, words.temperature, words.mixing_limit)
    found = [replace(one, weight=shares[one.objective.name]) for one in mixture]
    return [weighted for weighted in found if weighted.weight > 0]


def refuse_unfit(backbone: Backbone, material: Material) -> None:
    """Refuse weights that the log does not suit, before anything is changed.

    Raises
    ------
    SettingsError
        Rating regression has a weight, and the first tokens of the log's ratings do not tell these apart.
    """
    scale = _scale(material)
    if material.settings.words.weights.rating_regression > 0 and scale:
        first_tokens(backbone, scale)


def _scale(material: Material) -> list[float]:
    return scale_of(np.concatenate([user.ratings for user in material.users]))


@torch.no_grad()
def reference_of(backbone: Backbone, start_gain: float) -> Backbone:
    """A frozen copy of the backbone as tuning will find it: its logits' scale multiplied by `start_gain`."""
    model: Any = copy.deepcopy(backbone.model).requires_grad_(False).eval()
    model.get_decoder().final_layer_norm.weight.mul_(start_gain)
    return replace(backbone, model=model)


def _titles(backbone: Backbone, material: Material, questions: Questions) -> list[Weighted]:
    weights, trie = material.settings.words.weights, material.prompter.catalogue.trie
    return [
        Weighted(TitleObjective("sequential", backbone, trie, questions.next_item), weights.sequential),
        Weighted(
            TitleObjective("wish", backbone, trie, questions.wish), weights.wish if material.facets.names else 0.0
        ),
    ]


def _answers(backbone: Backbone, material: Material, questions: Questions, rows: NDArray[np.int64]) -> list[Weighted]:
    """Answers in free words."""
    weights, smoothing = material.settings.words.weights, material.settings.words.smoothing
    texts = TextQuestions(material.train, questions.prompter)
    described, reviewed = bool(texts.described), bool(texts.reviews)
    free: dict[str, tuple[Callable[[np.random.Generator], Question], float]] = {
        "pick": (questions.pick, weights.pick),
        "rating": (questions.rating, weights.rating if questions.rated else 0.0),
        "profile": (questions.profile, weights.profile if material.facets.names else 0.0),
        "item_from_description": (texts.item_from_description, weights.item_from_description * described),
        "description_from_item": (texts.description_from_item, weights.description_from_item * described),
        "review_rating": (texts.review_rating, weights.review_rating * reviewed),
    }
    found = [
        Weighted(AnswerObjective(name, backbone, draw, rows=rows, smoothing=smoothing), weight)
        for name, (draw, weight) in free.items()
    ]
    if material.examples is not None:
        own = ExampleObjective(backbone, material.examples, rows, smoothing=smoothing)
        found.append(Weighted(own, weights.examples))
    return found


def _judgements(backbone: Backbone, material: Material, questions: Questions) -> list[Weighted]:
    """What a user thinks of one item: yes or no, and a rating."""
    weights, found = material.settings.words.weights, []
    if weights.match > 0 and questions.sizes()["match"]:
        said = material.prompter.templates[0].wording.words
        yes, no = (first_token_ids(backbone.tokenizer, [said[answer]]) for answer in ("yes", "no"))
        found.append(Weighted(MatchObjective(backbone, questions.judgement, yes, no), weights.match))
    if weights.rating_regression > 0 and questions.rated:
        regression = RatingRegressionObjective(backbone, questions.rating, _scale(material))
        found.append(Weighted(regression, weights.rating_regression))
    return found


def _choices(
    backbone: Backbone, material: Material, choices: ChoiceQuestions, reference: Backbone | None
) -> list[Weighted]:
    """Choices among items."""
    words, catalogue = material.settings.words, material.prompter.catalogue
    weights, trie, found = words.weights, catalogue.trie, []
    if weights.pairwise > 0:
        found.append(Weighted(PairwiseObjective(backbone, trie, choices.pair), weights.pairwise))
    if weights.listwise > 0:
        found.append(Weighted(ListwiseObjective(backbone, trie, choices.ranking), weights.listwise))
    if weights.sampled > 0:
        found.append(Weighted(SampledObjective(backbone, trie, choices.sample), weights.sampled))
    if weights.contrastive > 0:
        contrastive = ContrastiveObjective(
            backbone, choices.meeting, item_texts(catalogue), choices.alternatives.log_shares,
            group=max(2, words.batch_size),
        )  # fmt: skip
        found.append(Weighted(contrastive, weights.contrastive))
    if weights.preference > 0 and reference is not None:
        preference = PreferenceObjective(backbone, reference, trie, choices.preference, beta=words.beta)
        found.append(Weighted(preference, weights.preference))
    return found
