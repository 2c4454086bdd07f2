"""Families whose answers are titles of the catalogue: what is generated under the trie, ranked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.prompter import Prompter
from flanrec.evaluation.families.asked import HeldOut, Trial, described
from flanrec.instructions import Task
from flanrec.metrics import UserItems, ndcg
from flanrec.metrics.lists import FloatArray
from flanrec.tuning.text_questions import item_from_text

K = 10


def next_item(asked: HeldOut) -> Trial:
    """The next item after each history."""
    return _titles(
        asked, "sequential", np.arange(len(asked.people)), asked.items,
        lambda prompter, row: prompter.sequential(asked.people[row]),
    )  # fmt: skip


def wish(asked: HeldOut) -> Trial | None:
    """The next item, where the wish is a category or year of it."""
    facets = asked.recommender.parts.facets
    if not len(facets.names):
        return None
    members = facets.members[asked.items]
    rows = np.flatnonzero(members.any(axis=1))

    def task_of(prompter: Prompter, row: int) -> Task:
        rng = asked.rng(row)
        wished = facets.names[int(rng.choice(np.flatnonzero(members[row])))]
        return prompter.sequential(asked.people[row], wish=prompter.wish_words(wished, rng))

    return _titles(asked, "wish", rows, asked.items[rows], task_of)


def item_from_description(asked: HeldOut) -> Trial:
    """Which held-out item a text describes, of all there are."""
    items = described(asked, item_from_text)
    return _titles(asked, "item_from_description", items, items, item_from_text, [set[int]() for _ in items])


def _titles(
    asked: HeldOut,
    family: str,
    rows: NDArray[np.int64],
    answers: NDArray[np.int64],
    task_of: Callable[[Prompter, int], Task],
    closed: Sequence[set[int]] | None = None,
) -> Trial:
    """A family whose answers are titles: NDCG@10 of those that are generated, without what each user has seen."""
    recommender = asked.recommender
    settings, catalogue = recommender.settings, recommender.parts.catalogue
    barred = [set(asked.people[row].items.tolist()) for row in rows.tolist()] if closed is None else closed
    width = min(K, len(catalogue))

    def ask(prompter: Prompter) -> FloatArray:
        prompts = [prompter.word(task_of(prompter, row), asked.rng(row)).prompt for row in rows.tolist()]
        found, _ = recommender.engine.top_titles(
            prompts, catalogue.trie, k=width, num_beams=max(settings.num_beams, width), excluded=barred,
            normalisation="trie", max_nodes=settings.search_nodes,
        )  # fmt: skip
        lists = np.full((len(rows), K), -1, dtype=np.int64)
        lists[:, :width] = found
        return ndcg(lists, UserItems.from_lists([[int(item)] for item in answers]), K)

    gains = float((1 / np.log2(np.arange(2, width + 2))).sum())
    chance = float(np.mean([gains / max(1, len(catalogue) - len(seen)) for seen in barred])) if barred else 0.0
    return Trial(family, "NDCG@10", ask, chance, rows)
