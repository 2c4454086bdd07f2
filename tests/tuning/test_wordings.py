"""The texts of a run: nothing that is drawn afterwards needs another row of the vocabulary."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from flanrec.backbone import Backbone
from flanrec.backbone.vocabulary import used_rows
from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import people
from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.instructions import Templates
from flanrec.tuning.questions import Questions
from flanrec.tuning.text_questions import TextQuestions
from flanrec.tuning.wordings import texts_in_use

REVIEWS = ["It was so-so, frankly", "Gripping!", "A waste of 3 hours; never again."]


@pytest.fixture(scope="module")
def reviewed(small_dataset: Dataset) -> Dataset:
    some = small_dataset.interactions.head(90)
    reviews = some.select("user_id", "item_id", "rating").with_columns(
        text=pl.Series([REVIEWS[at % 3] for at in range(some.height)])
    )
    assert small_dataset.users is not None
    users = small_dataset.users.with_columns(zip_code=pl.lit("Qatzoxibaq"))
    return replace(small_dataset, reviews=reviews, users=users)


@pytest.mark.parametrize("languages", [("en",), ("en", "zh")])
def test_what_is_drawn_reads_and_says_rows_in_use_alone(
    reviewed: Dataset, backbone: Backbone, languages: tuple[str, ...]
) -> None:
    prompter = Prompter(
        Catalogue.from_dataset(reviewed, backbone.tokenizer), tuple(map(Templates.load, languages)),
        backbone.token_count, noun="movie", nouns="movies",
    )  # fmt: skip
    users, facets = people(reviewed), Facets.of(prompter.catalogue)
    questions = Questions(users, prompter, facets, LikeRates.of(reviewed.sequences(), 4.0))
    texts = TextQuestions(reviewed, prompter)
    rng = np.random.default_rng(0)
    drawn: list[str] = []
    for ask in (
        questions.next_item, questions.wish, questions.pick, questions.rating, questions.profile,
        texts.item_from_description, texts.description_from_item, texts.review_rating,
    ):  # fmt: skip
        for _ in range(60):
            question = ask(rng)
            drawn += [question.prompt, *question.answers]
    drawn += [questions.judgement(rng).prompt for _ in range(60)]
    known = set(used_rows(backbone.tokenizer, texts_in_use(prompter, facets, reviewed, users)).tolist())
    met = [token for row in backbone.tokenizer(drawn)["input_ids"] for token in row]
    assert set(met) <= known
    assert len(known) < 3000 < 32128 / 10
    assert not any("Qatzoxibaq" in text for text in texts_in_use(prompter, facets, reviewed, users))


def test_a_text_is_also_met_with_the_marks_that_templates_put_around_it(
    small_dataset: Dataset, small_prompter: Prompter
) -> None:
    texts = texts_in_use(small_prompter, Facets.of(small_prompter.catalogue), small_dataset, people(small_dataset))
    assert {"Amber Harbour (1980)", '"Amber', "(1980);", "drama", "(Drama)", "Drama,", "yes", "no", "5", "5)"} <= set(
        texts
    )
    assert "" not in {text for text in texts if text.strip()}
