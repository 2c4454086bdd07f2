"""The T5 before any tuning, asked to spell titles: without an example (zero-shot), or after solved ones (few-shot)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.demonstrations import Demonstrations
from flanrec.catalogue.people import People, Person
from flanrec.data import Dataset
from flanrec.evaluation.methods import Ints, K, Method, Ranking
from flanrec.evaluation.tasks import RankingTask
from flanrec.generation.engines import TorchEngine
from flanrec.recommender import Asking, RecommenderSettings
from flanrec.recommender.prompting import make_prompter
from flanrec.recommender.readings import WordReading

_SAID = ("languages", "templates", "noun", "nouns", "titles", "max_tokens", "num_beams", "shot_tokens", "seed")
"""Settings that decide what is asked."""


@dataclass(frozen=True)
class Untuned:
    """A checkpoint as it is, for rows of a comparison.

    Attributes
    ----------
    name
        Tells one checkpoint from another.
    load
        Loads it, once and when its first row is due.
    settings
        How it is asked.
    shots
        A row for each: how many solved examples stand before a question; 0 is zero-shot.
    """

    name: str
    load: Callable[[], Backbone]
    settings: RecommenderSettings
    shots: tuple[int, ...] = (0,)

    @cached_property
    def backbone(self) -> Backbone:
        """The checkpoint."""
        return self.load()

    def methods(self) -> list[Method]:
        """The rows."""
        said = f"{self.name}, {self.settings.model_dump(include=set(_SAID))}"
        return [
            Method(untuned_name(shots), "untuned", said, partial(self._ranking, shots=shots))
            for shots in dict.fromkeys(self.shots)
        ]

    def _ranking(self, task: RankingTask, *, shots: int) -> Ranking:
        reading = untuned_reading(self.backbone, self.settings, task.known)

        def rank(asked: Sequence[Person], allowed: NDArray[np.bool_] | None) -> Ints:
            return untuned_lists(reading, asked, K, shots, allowed)

        return rank


def untuned_name(shots: int) -> str:
    """What a row is called."""
    return "T5, zero-shot" if shots == 0 else f"T5, {shots} example{'' if shots == 1 else 's'}"


def untuned_reading(backbone: Backbone, settings: RecommenderSettings, known: Dataset) -> WordReading:
    """A checkpoint as a speller of titles; its examples are of the users of a log."""
    prompter = make_prompter(backbone, Catalogue.from_dataset(known, backbone.tokenizer), settings)
    shown = Demonstrations(People.of(known), prompter, settings.shot_tokens, settings.seed)
    return WordReading(TorchEngine(backbone), prompter, settings.num_beams, demonstrations=shown)


def untuned_lists(
    reading: WordReading, asked: Sequence[Person], k: int, shots: int, allowed: NDArray[np.bool_] | None = None
) -> Ints:
    """Lists int64 [n_people, k] by the checkpoint's own probabilities, without items of the histories.

    The popularity that the tuned model's branches start from has no part in them.
    """
    return reading.top(
        asked, k, Asking(shots=shots), excluded=[np.unique(person.items) for person in asked], allowed=allowed,
        normalisation="vocabulary",
    )[0]  # fmt: skip
