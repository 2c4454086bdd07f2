"""Families whose answers are a word, a number, or one of some candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.prompter import Prompter
from flanrec.evaluation.families.asked import HeldOut, LastEvents, Trial
from flanrec.metrics.lists import FloatArray
from flanrec.metrics.probability import auc
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.picking import offered_items, pick_task
from flanrec.tuning.questions import user_likes
from flanrec.tuning.text_questions import TextQuestions


def match(asked: HeldOut) -> Trial | None:
    """Whether held-out events were liked, or without ratings whether an item was taken or drawn."""
    parts, liked_rating = asked.recommender.parts, asked.recommender.settings.liked_rating
    reading = asked.recommender.match_reading
    if parts.rates.rated:
        owners = np.flatnonzero(~np.isnan(asked.ratings))
        items, labels = asked.items[owners], asked.ratings[owners] >= liked_rating
    else:
        everybody = np.arange(len(asked.people))
        drawn = [_untaken(asked, row) for row in everybody.tolist()]
        owners, items = np.tile(everybody, 2), np.concatenate([asked.items, np.array(drawn, dtype=np.int64)])
        labels = np.arange(len(owners)) < len(everybody)
    if not labels.any() or labels.all():
        return None
    likes, counts = zip(*(user_likes(asked.people[row], liked_rating) for row in owners.tolist()), strict=True)
    rule = parts.rates.log_odds(items, np.array(likes), np.array(counts))

    def ask(prompter: Prompter) -> FloatArray:
        prompts = [
            prompter.word(prompter.match(asked.people[row], item), asked.rng(number)).prompt
            for number, (row, item) in enumerate(zip(owners.tolist(), items.tolist(), strict=True))
        ]
        said = asked.recommender.engine.yes_no_logits(prompts, None, reading.yes_ids, reading.no_ids)
        return np.asarray(rule + said, dtype=np.float64)

    return Trial("match", "AUC", ask, auc(labels, rule), owners, labels)


def _untaken(asked: HeldOut, row: int) -> int:
    """An item that a user has not taken, as tuning draws one."""
    taken = {*asked.people[row].items.tolist(), int(asked.items[row])}
    rest = np.setdiff1d(np.arange(len(asked.recommender.parts.catalogue)), list(taken))
    return int(asked.rng(row).choice(rest)) if len(rest) else int(asked.items[row])


def pick(asked: HeldOut) -> Trial:
    """Whether the right one of the candidates is the likeliest; the others are drawn by popularity, as in tuning."""
    recommender = asked.recommender
    catalogue, rows = recommender.parts.catalogue, np.arange(len(asked.people))
    shares = catalogue.popularity / catalogue.popularity.sum()
    offered = [
        offered_items(catalogue.titles, shares, item, set(person.items.tolist()), asked.rng(row))
        for row, (person, item) in enumerate(zip(asked.people, asked.items.tolist(), strict=True))
    ]

    def ask(prompter: Prompter) -> FloatArray:
        asked_of = zip(asked.people, offered, asked.items.tolist(), strict=True)
        prompts = [prompter.word(pick_task(prompter, *one), asked.rng(row)).prompt for row, one in enumerate(asked_of)]
        scores = recommender.engine.title_log_probabilities(prompts, catalogue.token_rows, candidates=offered)
        best = [some[int(place)] for some, place in zip(offered, scores.argmax(axis=1), strict=True)]
        return np.asarray(np.array(best) == asked.items, dtype=np.float64)

    return Trial("pick", "accuracy", ask, float(np.mean([1 / len(some) for some in offered])), rows)


def rating(asked: HeldOut) -> Trial:
    """Which rating the held-out event came with."""
    rows = np.flatnonzero(~np.isnan(asked.ratings))
    known = asked.recommender.parts.dataset.sequences().ratings

    def ask(prompter: Prompter) -> FloatArray:
        return _distances(asked, LastEvents(asked, prompter).each(asked, "rating", rows), known)

    return Trial("rating", "MAE", ask, _from_median(asked.ratings[rows], known), rows)


def review_rating(asked: HeldOut) -> Trial | None:
    """Which rating known reviews came with; tuning has seen them."""
    parts = asked.recommender.parts
    known = np.array([rating for _, rating in TextQuestions(parts.dataset, parts.prompter).reviews], dtype=np.float32)
    rows = np.arange(min(len(known), len(asked.people)))
    if not len(rows):
        return None

    def questions(prompter: Prompter) -> list[Question]:
        texts = TextQuestions(parts.dataset, prompter)
        return [texts.review_rating(asked.rng(row)) for row in rows.tolist()]

    true = np.array([float(one.answers[0]) for one in questions(parts.prompter)], dtype=np.float32)
    return Trial(
        "review_rating", "MAE", lambda prompter: _distances(asked, questions(prompter), known),
        _from_median(true, known), rows,
    )  # fmt: skip


def _distances(asked: HeldOut, questions: Sequence[Question], known: NDArray[np.float32]) -> FloatArray:
    """How far the likeliest of the ratings there are is from the true one."""
    scale = np.unique(known[~np.isnan(known)])
    tokens = asked.recommender.backbone.tokenizer([f"{value:g}" for value in scale], verbose=False)["input_ids"]
    scores = asked.recommender.engine.title_log_probabilities([one.prompt for one in questions], tokens)
    true = np.array([float(one.answers[0]) for one in questions])
    return np.asarray(np.abs(scale[scores.argmax(axis=1)] - true), dtype=np.float64)


def _from_median(true: NDArray[np.float32], known: NDArray[np.float32]) -> float:
    return float(np.abs(true - np.nanmedian(known)).mean()) if len(true) else 0.0
