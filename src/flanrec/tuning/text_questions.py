"""What the T5 is asked in tuning about texts: items' descriptions and reviews."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.instructions import LeakError, Task, tasks
from flanrec.tuning.objectives.answers import Question

_TRIES = 20
_WORDS = 40
"""Most words of a text that the T5 is to write."""


class TextQuestions:
    """Draws questions about items' own texts and about reviews."""

    def __init__(self, dataset: Dataset, prompter: Prompter) -> None:
        self.prompter = prompter
        catalogue = prompter.catalogue
        self.described = [item for item, text in enumerate(catalogue.texts) if text]
        self.reviews: list[tuple[str, float]] = []
        self.low = self.high = 0.0
        if dataset.reviews is not None and "rating" in dataset.reviews.columns:
            rated = dataset.reviews.drop_nulls(["rating"])
            texts, ratings = rated["text"].to_list(), rated["rating"].to_list()
            self.reviews = [(text, float(rating)) for text, rating in zip(texts, ratings, strict=True) if text]
        if self.reviews:
            self.low = min(rating for _, rating in self.reviews)
            self.high = max(rating for _, rating in self.reviews)

    def item_from_description(self, rng: np.random.Generator) -> Question:
        """Which item a text describes."""
        return self._about_an_item(rng, item_from_text, 1.0)

    def description_from_item(self, rng: np.random.Generator) -> Question:
        """What a text about an item says."""
        return self._about_an_item(rng, text_from_item, 0.2)

    def _about_an_item(
        self, rng: np.random.Generator, task_of: Callable[[Prompter, int], Task], weight: float
    ) -> Question:
        """Ask about a described item, another one where the answer stands among the facts."""
        for _ in range(_TRIES):
            try:
                example = self.prompter.word(task_of(self.prompter, int(rng.choice(self.described))), rng)
            except LeakError:
                continue
            return Question(example.prompt, (example.target,), (weight,))
        raise LeakError(f"{_TRIES} items in a row had title and text contain each other; give items longer texts")

    def sizes(self) -> dict[str, int]:
        """How many texts each family's questions may be about."""
        return {
            "item_from_description": len(self.described),
            "description_from_item": len(self.described),
            "review_rating": len(self.reviews),
        }

    def review_rating(self, rng: np.random.Generator) -> Question:
        """Which rating a review came with."""
        review, rating = self.reviews[int(rng.integers(len(self.reviews)))]
        task = tasks.review_rating(review, rating, low=self.low, high=self.high)
        example = self.prompter.word(task, rng)
        return Question(example.prompt, (example.target,), (1.0,))


def item_from_text(prompter: Prompter, item: int) -> Task:
    """Which item its own text describes."""
    catalogue = prompter.catalogue
    return tasks.item_from_description(
        catalogue.texts[item], catalogue.titles[item], category=catalogue.categories[item], noun=prompter.noun,
        nouns=prompter.nouns,
    )  # fmt: skip


def text_from_item(prompter: Prompter, item: int) -> Task:
    """What an item's own text says, as far as its beginning."""
    catalogue = prompter.catalogue
    text = " ".join(catalogue.texts[item].split()[:_WORDS])
    return tasks.description_from_item(
        catalogue.titles[item], text, category=catalogue.categories[item], noun=prompter.noun, nouns=prompter.nouns
    )
