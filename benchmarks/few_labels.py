"""Quality against the number of labelled users: tuned readings beside the T5 as it is, and popularity.

    python benchmarks/few_labels.py --users 16 32 64 128 --runs runs --json benchmarks/records/few-labels.json
    python benchmarks/few_labels.py --quick

For each number n training sees the whole histories of n users and nothing else; the users of a smaller number are among
those of a larger one. Every other user is asked for the last event after the history, by full ranking of the catalogue
without what they had. The T5 before tuning is asked for a sample of them alone, the same for every n, because that is
slow: NDCG@10 and its interval are of the users a row was asked for, differences of those that both rows were asked for.

Rows: popularity among the n users; the T5 before tuning, which spells titles without an example (zero-shot) and after
solved examples of the n users (few-shot); and of the recommender that is fitted on the n users item tokens, generation
and the fused ranking. Fits, checkpoints and finished rows are kept in ``--runs``: a run that is killed goes on there,
and the seconds of its fit are then those of the last part.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import flanrec
from flanrec.backbone import load_backbone
from flanrec.candidates import Popularity
from flanrec.catalogue.people import Person
from flanrec.cli.clock import Clock
from flanrec.cli.common import progress_callbacks
from flanrec.evaluation.fitted import fitted_contender
from flanrec.evaluation.methods import K, Method, Ranking, Row, by_scores, known_or_none, measure
from flanrec.evaluation.row_store import RowStore
from flanrec.evaluation.sources import reading_methods
from flanrec.evaluation.tasks import RankingTask, ranking_task
from flanrec.evaluation.untuned import Untuned, untuned_name
from flanrec.metrics import UserItems, hit_rate, ndcg
from flanrec.metrics.intervals import bootstrap_interval, paired_bootstrap
from flanrec.recommender import READINGS, RecommenderSettings
from quality import machine
from timing import write_record

USERS = (16, 32, 64, 128, 256)
POPULARITY = "popularity"
QUICK = {"users": (16, 64), "sample": 40, "preset": "fast"}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """NDCG@10 and HR@10 of a row, and who was asked.

    Attributes
    ----------
    people
        int64, rising: places among the users that the task asks.
    ndcg, hits
        float64, a value a person.
    row
        The lists, and what they took.
    """

    people: NDArray[np.int64]
    ndcg: Floats
    hits: Floats
    row: Row

    def minus(self, other: Measured, seed: int) -> dict[str, float]:
        """The paired difference of NDCG@10 on the people both were asked for."""
        _, ours, theirs = np.intersect1d(self.people, other.people, return_indices=True)
        found = paired_bootstrap(self.ndcg[ours], other.ndcg[theirs], seed)
        return {"value": found.value, "low": found.low, "high": found.high, "users": found.count}

    def to_dict(self, seed: int) -> dict[str, Any]:
        """Means with 95 % intervals, and times."""
        means = {"ndcg@10": bootstrap_interval(self.ndcg, seed), "hit_rate@10": bootstrap_interval(self.hits, seed)}
        told: dict[str, Any] = {
            name: {"value": one.value, "low": one.low, "high": one.high} for name, one in means.items()
        }
        return told | {
            "users": len(self.people),
            "seconds": {"fit": known_or_none(self.row.fit_seconds), "user": known_or_none(self.row.user_seconds)},
        }


def main(arguments: Sequence[str] | None = None, data: flanrec.Dataset | None = None) -> None:
    """Measure each number of users, print a table for each, and record.

    Parameters
    ----------
    arguments
        Of the command line; those of the process by default.
    data
        Another data set than MovieLens-100K.
    """
    asked = parse(arguments)
    if asked.threads:
        torch.set_num_threads(asked.threads)
    clock, console = Clock(Console(file=sys.stderr)), Console()
    data = flanrec.load_dataset("ml-100k") if data is None else data
    settings = RecommenderSettings.preset(
        asked.preset, noun=asked.noun, nouns=asked.nouns, seed=asked.seed, max_steps=asked.max_steps,
        checkpoint_seconds=asked.checkpoint_seconds,
    )  # fmt: skip
    record: dict[str, Any] = {
        "data": data.name, "preset": asked.preset, "max_steps": asked.max_steps, "seed": asked.seed,
        "settings": settings.model_dump(mode="json"), "machine": machine(), "labelled_users": {},
    }  # fmt: skip
    for users in sorted(set(asked.users)):
        task = ranking_task(data, "few-users", asked.seed, users=users)
        rows = measured(task, sampled(data, task, asked), settings, asked, clock)
        record["labelled_users"][str(users)] = told(rows, task, asked.seed)
        console.print(table(rows, f"{users} labelled users, {len(task.known.interactions)} events", asked.seed))
        write_record(asked.json, record)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--users", nargs="+", type=int, default=USERS, help="how many users training sees")
    options.add_argument("--sample", type=int, default=200, help="users for whom the T5 before tuning is asked")
    options.add_argument("--shots", type=int, default=3, help="solved examples of the few-shot row")
    options.add_argument("--preset", default="balanced")
    options.add_argument("--max-steps", type=int, default=None, help="most updates in each stage of tuning")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--backbone", default=None)
    options.add_argument("--noun", default="movie")
    options.add_argument("--nouns", default="movies")
    options.add_argument("--threads", type=int, default=None)
    options.add_argument("--checkpoint-seconds", type=float, default=30.0)
    options.add_argument("--runs", type=Path, default=Path("few-labels.run"), help="keep fits and finished rows here")
    options.add_argument("--json", type=Path, default=None, help="write the record here")
    options.add_argument("--quick", action="store_true", help="two numbers, few users, nothing tuned")
    asked = options.parse_args(arguments)
    if asked.quick:
        vars(asked).update(
            {name: value for name, value in QUICK.items() if getattr(asked, name) == options.get_default(name)}
        )
    return asked


def sampled(data: flanrec.Dataset, task: RankingTask, asked: argparse.Namespace) -> NDArray[np.int64]:
    """Places of the users for whom the T5 before tuning is asked: those that training would see last."""
    known = data.user_ids
    last = {known[at] for at in np.random.default_rng(asked.seed).permutation(len(known))[-asked.sample :]}
    return np.array([at for at, user in enumerate(task.user_ids) if user in last], dtype=np.int64)


def measured(
    task: RankingTask, sample: NDArray[np.int64], settings: RecommenderSettings, asked: argparse.Namespace, clock: Clock
) -> dict[str, Measured]:
    """All rows of one number of users."""
    store, name = RowStore(asked.runs / "rows"), f"{len(task.known.user_ids)} users"
    backbone = asked.backbone or "the default checkpoint"
    load = partial(load_backbone, asked.backbone)
    untuned = Untuned(backbone, load, settings, (0, asked.shots))
    everybody = np.arange(len(task.people))
    rows: dict[str, Measured] = {}

    def add(method: Method, people: NDArray[np.int64]) -> None:
        part = among(task, people)
        row = store.find(method, part)
        if row is None:
            row = measure(method, part)
            store.keep(row, method, part)
        rows[method.name] = found = Measured(
            people, ndcg(row.items, part.relevant, K), hit_rate(row.items, part.relevant, K), row
        )
        clock.done(f"{name}, {method.name}: NDCG@10 {found.ndcg.mean():.4f}, {len(people)} users asked")

    add(Method(POPULARITY, "peer", "events of the labelled users", popularity), everybody)
    for method in untuned.methods():
        add(method, sample)
    contender = fitted_contender(task, settings, asked.runs, backbone=asked.backbone, callbacks=progress_callbacks)
    clock.done(f"{name}, fit: {contender.seconds:.0f} s")
    for method in reading_methods(contender.recommender, READINGS, contender.identity, contender.seconds):
        if method.name != "generate" or settings.words.steps:
            add(method, everybody)
    return rows


def popularity(task: RankingTask) -> Ranking:
    """Items by the events that training sees."""
    fitted = Popularity().fit(task.known.sequences())
    return by_scores(lambda people: fitted.scores([person.items for person in people]))


def among(task: RankingTask, people: NDArray[np.int64]) -> RankingTask:
    """The same task for some of its users."""
    asked: list[Person] = [task.people[at] for at in people.tolist()]
    relevant = [
        task.relevant.items[task.relevant.offsets[at] : task.relevant.offsets[at + 1]].tolist() for at in people
    ]
    ids = [task.user_ids[at] for at in people.tolist()]
    return replace(task, user_ids=ids, people=asked, relevant=UserItems.from_lists(relevant))


def told(rows: Mapping[str, Measured], task: RankingTask, seed: int) -> dict[str, Any]:
    """The rows of one number of users, each held against popularity and the zero-shot T5."""
    bases = {"minus popularity": rows[POPULARITY], "minus zero-shot": rows[untuned_name(0)]}
    return {
        "events": task.known.interactions.height,
        "rows": {
            name: {**row.to_dict(seed), **{against: row.minus(base, seed) for against, base in bases.items()}}
            for name, row in rows.items()
        },
    }


def table(rows: Mapping[str, Measured], title: str, seed: int) -> Table:
    """NDCG@10 with its interval, and the differences with theirs."""
    shown = Table("row", "users", "NDCG@10", "HR@10", "minus popularity", "minus zero-shot", title=title)
    bases = (rows[POPULARITY], rows[untuned_name(0)])
    for name, row in rows.items():
        means = row.to_dict(seed)
        cells = [_cell(means["ndcg@10"]), f"{means['hit_rate@10']['value']:.4f}"]
        shown.add_row(name, str(len(row.people)), *cells, *(_cell(row.minus(base, seed), "+") for base in bases))
    return shown


def _cell(one: Mapping[str, float], sign: str = "") -> str:
    return f"{one['value']:{sign}.4f} [{one['low']:{sign}.4f}, {one['high']:{sign}.4f}]"


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("flanrec").setLevel(logging.INFO)
    main()
