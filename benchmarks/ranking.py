"""What the fused ranking reaches, and what the language model adds to it, for every kind of user and item.

    python benchmarks/ranking.py --preset fast --seeds 42 43 44 --cold-items FILE --json record.json
    python benchmarks/ranking.py --interactions I.csv --items T.csv --users U.csv

Four tasks are measured, each by full ranking without what a user had: each user's last event; the last event of users
who are not in training, which has whole histories of a tenth of the users; and items that training never saw, those of
a file or a drawn share. Beside the fused ranking stand the same with and without all that the language model tells,
the weights learned again; the fused ranking itself listens to what its validation events confirm, and the record says
what they said. At last, single requests are timed on one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table

import flanrec
from flanrec.catalogue.people import people
from flanrec.evaluation.ablation import ALL, WITH_MODEL, WITHOUT_MODEL, ablation_methods, ablations
from flanrec.evaluation.comparison import Comparison, Standing
from flanrec.evaluation.methods import measure
from flanrec.evaluation.sources import reading_methods
from flanrec.evaluation.tasks import RankingTask, Rule, ranking_task
from flanrec.metrics import UserItems
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.recommender.tables import with_items_of
from quality import machine

ROWS = (ALL, WITH_MODEL, WITHOUT_MODEL)
TASKS: tuple[Rule, ...] = ("leave-one-out", "few-users", "cold-items")
REQUESTS = 300


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit once a task and seed, and print one table a task."""
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    data = dataset(asked)
    console = Console(width=120)
    record: dict[str, Any] = {"preset": asked.preset, "data": data.name, "machine": machine(), "tasks": {}}
    for rule in asked.tasks:
        for seed in asked.seeds:
            comparison, model = compared(data, rule, seed, asked)
            verdicts = [verdict.to_dict() for verdict in model.parts.fusion.verdicts]
            record["tasks"].setdefault(rule, {})[str(seed)] = {
                **comparison.to_dict(), "verdicts": verdicts, "requests": timed(model, rule),
            }  # fmt: skip
            torch.set_num_threads(asked.threads)
            console.print(table(comparison, f"{rule}, seed {seed}"))
            for verdict in model.parts.fusion.verdicts:
                console.print(verdict.to_text())
            console.print(f"one request: {record['tasks'][rule][str(seed)]['requests']}")
            if asked.json is not None:
                asked.json.write_text(json.dumps(record, indent=1), encoding="utf-8")


def compared(data: flanrec.Dataset, rule: Rule, seed: int, asked: argparse.Namespace) -> tuple[Comparison, Recommender]:
    """The fused ranking with and without the language model on one task."""
    # The drawn tenth of the users stays the same while the seed of the fit changes.
    task = named_cold_items(data, asked.cold_items, seed) if rule == "cold-items" and asked.cold_items else None
    task = task or ranking_task(data, rule, asked.seeds[0])
    settings = RecommenderSettings.preset(asked.preset, noun=asked.noun, nouns=asked.nouns, seed=seed)
    start = time.perf_counter()
    model = Recommender.from_pretrained(asked.backbone, settings).fit(task.known)
    seconds = time.perf_counter() - start
    methods = [
        *reading_methods(model, ["fused"], "fitted here", seconds),
        *(one for one in ablation_methods(ablations(model, task), "fitted here") if one.name in ROWS),
    ]
    return Comparison.of(replace(task, seed=seed), [measure(one, task) for one in methods], "fused"), model


def named_cold_items(data: flanrec.Dataset, path: Path, seed: int) -> RankingTask:
    """Items of a file are taken out of training; every user who met some ranks them all."""
    kind = data.items["item_id"].dtype
    names = pl.Series("item_id", path.read_text(encoding="utf-8").split()).cast(kind)
    cold = data.interactions["item_id"].is_in(names.implode())
    known = data.with_interactions(data.interactions.filter(~cold))
    test = with_items_of(data.with_interactions(data.interactions.filter(cold)), data.items)
    events = test.sequences(test.user_ids)
    allowed = data.items["item_id"].is_in(names.implode()).to_numpy()
    relevant = UserItems(events.offsets, events.items)
    return RankingTask("cold-items", seed, known, test.user_ids, people(known, test.user_ids), relevant, allowed)


def timed(model: Recommender, rule: Rule) -> dict[str, float] | None:
    """Milliseconds of single requests of ten items on one thread: median and 95th percentile."""
    if rule != "leave-one-out":
        return None
    torch.set_num_threads(1)
    users = np.random.default_rng(0).permutation(model.parts.dataset.user_ids)[: REQUESTS + 5].tolist()
    spent = []
    for user in users:
        start = time.perf_counter()
        model.recommend([user], k=10)
        spent.append((time.perf_counter() - start) * 1000)
    median, high = np.percentile(spent[5:], [50, 95])
    return {"median_ms": round(float(median), 2), "p95_ms": round(float(high), 2), "requests": len(spent) - 5}


def table(comparison: Comparison, title: str) -> Table:
    """NDCG@10 of all users and of each segment, and what leaving the language model out changes."""
    shown = Table("users", "n", "fused NDCG@10", "HR@10", WITH_MODEL, WITHOUT_MODEL, title=title)
    every = {"all": np.ones(len(comparison.events), dtype=bool)} | comparison.segments
    for name, standings in ({"all": comparison.standings} | comparison.by_segment).items():
        fused = standings["fused"]
        shown.add_row(
            name,
            str(int(every[name].sum())),
            f"{fused.ndcg.value:.4f} [{fused.ndcg.low:.3f}, {fused.ndcg.high:.3f}]",
            f"{fused.hit_rate.value:.4f}",
            *(changed(standings.get(row)) for row in (WITH_MODEL, WITHOUT_MODEL)),
        )
    return shown


def changed(row: Standing | None) -> str:
    """The difference to the fused ranking, with its interval."""
    if row is None:
        return "–"
    return f"{row.difference.value:+.4f} [{row.difference.low:+.3f}, {row.difference.high:+.3f}]"


def dataset(asked: argparse.Namespace) -> flanrec.Dataset:
    """Files given by path, or the set that the package can fetch."""
    if asked.interactions is None:
        return flanrec.load_dataset("ml-100k")
    return flanrec.Dataset.from_files(interactions=asked.interactions, items=asked.items, users=asked.users)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--preset", default="fast")
    options.add_argument("--seeds", type=int, nargs="+", default=[42])
    options.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    options.add_argument("--backbone", default=None)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--interactions", type=Path, default=None)
    options.add_argument("--items", type=Path, default=None)
    options.add_argument("--users", type=Path, default=None)
    options.add_argument("--noun", default="movie", help="what an item is called in prompts")
    options.add_argument("--nouns", default="movies")
    options.add_argument("--cold-items", type=Path, default=None, help="ids of the items to take out of training")
    options.add_argument("--json", type=Path, default=None, help="write the record here")
    found = options.parse_args(arguments)
    if (found.interactions is None) != (found.items is None):
        options.error("give both --interactions and --items, or neither for MovieLens-100K")
    return found


if __name__ == "__main__":
    main()
