"""Which learning rates suit a log: the range test on a stage of tuning."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import polars as pl

from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, SettingsError
from flanrec.recommender.fitting import nobody, refuse_unreadable, tokenised
from flanrec.recommender.prompting import make_prompter
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.stages import Material
from flanrec.recommender.stages.hardening import varied_prompter
from flanrec.recommender.stages.tokens import token_trainer
from flanrec.recommender.stages.words import word_trainer
from flanrec.tuning import all_processes
from flanrec.tuning.rate_finder import RateCurve, find_rate

Stage = Literal["words", "item_tokens"]
SETTINGS: dict[Stage, dict[str, str]] = {
    "words": {"words": "words.learning_rate", "vocabulary": "words.vocabulary_rate"},
    "item_tokens": {
        "blocks": "tokens.learning_rate", "vectors": "tokens.vector_rate", "instruction": "tokens.instruction_rate",
    },
}  # fmt: skip
"""By stage and parameter group, the setting that has the rate."""


def rate_curve(
    backbone: Backbone,
    dataset: Dataset,
    settings: RecommenderSettings | None = None,
    *,
    stage: Stage = "words",
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    examples: pl.DataFrame | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> RateCurve:
    """Raise the rates of a stage from update to update, and see what becomes of its loss.

    Parameters
    ----------
    backbone
        The T5 to tune; a copy is tuned, and thrown away. Item tokens are tested on its encoder as it is.
    dataset
        What is learnt from; of each user the last event is set apart, as `Recommender.fit` does.
    settings
        What the stage learns, with which method and optimiser; how long it would tune and its own rates do not matter.
    stage
        ``words`` for the T5, ``item_tokens`` for the item tokens.
    low, high, steps, progress
        As `flanrec.tuning.rate_finder.find_rate` takes them.
    examples
        Instructions of your own beside those of the log, as `Recommender.fit` takes them.

    Raises
    ------
    DataError
        There is nothing to learn from.
    SettingsError
        The bounds or steps cannot work, or the settings tune nothing in this stage.
    CheckpointError
        The backbone cannot read the language of the catalogue, or that of the instructions.

    Examples
    --------
    Rates for low-rank adapters::

        settings = RecommenderSettings(words=WordTuning(method="lora"))
        rate_curve(load_backbone(), flanrec.load_dataset("ml-100k"), settings).steepest
    """
    settings = settings or RecommenderSettings()
    if dataset.items.height == 0 or dataset.interactions.height == 0:
        raise DataError("there is nothing to learn from; give a table of items and interactions with them")
    if stage == "words" and settings.words.steps == 0:
        raise SettingsError("the T5 is not tuned, words.steps is 0; choose the preset balanced or best")
    train, validation = hold_out_last(dataset)
    fresh = replace(backbone, model=copy.deepcopy(backbone.model))
    prompter = make_prompter(fresh, Catalogue.from_dataset(train, fresh.tokenizer), settings)
    own = tokenised(fresh, settings, examples, None, all_processes())
    material = Material.gather(train, validation, prompter, settings, {}, own)
    refuse_unreadable(fresh, material, settings.unreadable_limit)
    if all(len(user.items) < 2 for user in material.users):
        raise DataError(f"{dataset.name} has no user with two events, so there is nothing to tune on")
    if stage == "words":
        varied = varied_prompter(prompter, settings.words.augment, str(fresh.device))
        with word_trainer(fresh, material, varied, seed=settings.seed, folder=None, callbacks=nobody) as (_, trainer):
            return find_rate(trainer, low=low, high=high, steps=steps, progress=progress)
    _, tokens = token_trainer(fresh, material, None, nobody)
    if tokens is None:
        raise SettingsError("the item tokens are not tuned, tokens.passes is 0; choose the preset balanced or best")
    return find_rate(tokens, low=low, high=high, steps=steps, progress=progress)


def settings_at(curve: RateCurve, rate: float, stage: Stage) -> dict[str, float]:
    """The settings of a stage whose first group has a rate and whose others stand to it as in the test."""
    return {SETTINGS[stage][group]: rate * share for group, share in curve.proportions.items()}
