"""Running a comparison: every split and seed, every method, each row kept as soon as it is finished."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flanrec.data import Dataset
from flanrec.evaluation.ablation import ablation_methods, ablations
from flanrec.evaluation.comparison import Comparison
from flanrec.evaluation.fitted import Contender, Contenders
from flanrec.evaluation.methods import Method, Row, measure
from flanrec.evaluation.peers import peer_methods
from flanrec.evaluation.row_store import RowStore
from flanrec.evaluation.sources import closed_form_methods, item_methods, reading_methods
from flanrec.evaluation.tasks import RankingTask, Rule, ranking_task
from flanrec.evaluation.untuned import Untuned
from flanrec.recommender import READINGS, Reading

logger = logging.getLogger(__name__)
Bar = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]
"""From a label and a total, a progress bar that is called with the number done since the last call."""
_ORDER = ("reading", "untuned", "ablation", "source", "peer")


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes
    ----------
    rules, seeds
        Every split is made with every seed.
    readings
        Of the recommender, where there is one.
    sample
        Most users to ask; all by default.
    reference
        Name of the row that all are held against; by default ``fused``, or ``blend`` without a recommender.
    """

    rules: tuple[Rule, ...] = ("leave-one-out",)
    seeds: tuple[int, ...] = (42,)
    readings: tuple[Reading, ...] = READINGS
    sample: int | None = None
    reference: str | None = None


def compare(
    dataset: Dataset,
    plan: Plan = Plan(),
    *,
    contenders: Contenders | None = None,
    untuned: Untuned | None = None,
    store: RowStore | None = None,
    bar: Bar | None = None,
) -> list[Comparison]:
    """Compare all methods on every split and seed of a plan.

    Parameters
    ----------
    contenders
        Makes the recommender of a task; without it only closed-form methods and peers are compared.
    untuned
        A checkpoint to compare as it is, zero-shot and after solved examples; None for none.
    store
        Where finished rows are kept, and found again.
    bar
        Shows how far a row is.

    Returns
    -------
    list of Comparison
        Splits in their order, and for each the seeds in theirs.

    Raises
    ------
    DataError
        The log is too small for a split.
    NotFoundError
        No row has the name of the reference.
    """
    return [
        _compare(ranking_task(dataset, rule, seed, plan.sample), plan, contenders, untuned, store, bar)
        for rule in plan.rules
        for seed in plan.seeds
    ]


def _compare(
    task: RankingTask, plan: Plan, contenders: Contenders | None, untuned: Untuned | None, store: RowStore | None,
    bar: Bar | None,
) -> Comparison:  # fmt: skip
    contender = None if contenders is None else contenders(task)
    peers, notes = peer_methods(task)
    methods = [*closed_form_methods(), *_recommender_methods(task, contender, plan.readings), *peers]
    methods += [] if untuned is None else untuned.methods()
    methods.sort(key=lambda method: _ORDER.index(method.kind))
    if contender is None:
        notes.append("no recommender was fitted on this split: give a preset, or for leave-one-out a saved model")
    else:
        notes += contender.notes
    rows = [_row(method, task, store, bar) for method in methods]
    names = {row.name for row in rows}
    reference = plan.reference or ("fused" if "fused" in names else "blend")
    return Comparison.of(task, rows, reference, notes)


def _recommender_methods(task: RankingTask, contender: Contender | None, readings: Sequence[Reading]) -> list[Method]:
    if contender is None:
        return []
    recommender, identity = contender.recommender, contender.identity
    return [
        *reading_methods(recommender, readings, identity, contender.seconds),
        *ablation_methods(ablations(recommender, task), identity),
        *item_methods(recommender, identity),
    ]


def _row(method: Method, task: RankingTask, store: RowStore | None, bar: Bar | None) -> Row:
    """A finished row from the store, or a new one."""
    kept = None if store is None else store.find(method, task)
    label = f"{task.rule}, seed {task.seed}: {method.name}"
    if kept is not None:
        logger.info("%s was measured before", label)
        return kept
    with contextlib.nullcontext(_nothing) if bar is None else bar(label, len(task.people)) as advance:
        row = measure(method, task, advance)
    if store is not None:
        store.keep(row, method, task)
    logger.info("%s: done", label)
    return row


def _nothing(done: int) -> None:
    """Pass over progress."""
