"""What a number is to be held against on the same split: random, popularity, and the T5 before tuning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flanrec.backbone import Backbone
from flanrec.catalogue.people import people
from flanrec.data import Dataset
from flanrec.evaluation.protocol import evaluate_ranking, evaluate_scores
from flanrec.evaluation.report import Report
from flanrec.evaluation.untuned import untuned_lists, untuned_reading
from flanrec.metrics import UserItems
from flanrec.recommender import RecommenderSettings


def reference_reports(known: Dataset, test: Dataset, ks: Sequence[int] = (5, 10), *, seed: int = 42) -> list[Report]:
    """Random order, and order by the number of interactions, for the users of a test.

    Parameters
    ----------
    known
        All interactions before the test; its items are removed from the lists.
    test
        Held-out interactions.
    """
    ids = test.interactions["user_id"].unique(maintain_order=True).to_list()
    relevant, history = test.sequences(ids), known.sequences(ids)
    counts = np.bincount(known.sequences().items, minlength=known.items.height)
    drawn = np.random.default_rng(seed).random((len(ids), known.items.height), dtype=np.float32)
    scores = {"random": drawn, "popularity": np.broadcast_to(counts.astype(np.float32), drawn.shape)}
    return [
        evaluate_scores(values, relevant, history=history, ks=ks, popularity=counts, name=name, seed=seed)
        for name, values in scores.items()
    ]


def zero_shot_report(
    backbone: Backbone,
    settings: RecommenderSettings,
    known: Dataset,
    test: Dataset,
    ks: Sequence[int] = (5, 10),
    *,
    users: int | None = None,
    seed: int = 42,
    shots: int = 0,
) -> Report:
    """Titles generated under the catalogue's trie by a backbone as it is.

    Parameters
    ----------
    users
        Most users to ask, drawn by `seed`; all by default.
    shots
        Solved examples of other users before each question; the report is then of few-shot lists.
    """
    ids = test.interactions["user_id"].unique(maintain_order=True).to_list()
    if users is not None and users < len(ids):
        drawn = np.random.default_rng(seed).choice(len(ids), users, replace=False)
        ids = [ids[at] for at in np.sort(drawn)]
    reading = untuned_reading(backbone, settings, known)
    catalogue, asked = reading.prompter.catalogue, people(known, ids)
    ranked = untuned_lists(reading, asked, max(ks), shots)
    return evaluate_ranking(
        ranked,
        test.sequences(ids),
        n_items=len(catalogue),
        ks=ks,
        popularity=catalogue.popularity,
        history=UserItems.from_lists([person.items.tolist() for person in asked]),
        name=f"few-shot, {shots} examples, {len(ids)} users" if shots else f"zero-shot, {len(ids)} users",
        seed=seed,
    )
