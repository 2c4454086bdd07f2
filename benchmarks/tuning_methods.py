"""Every way of tuning the T5 at one budget: quality, parameters trained, seconds and memory, a row each.

    python benchmarks/tuning_methods.py --json benchmarks/records/tuning-methods.json
    python benchmarks/tuning_methods.py --show benchmarks/records/tuning-methods.json

MovieLens-100K, leave-one-out. Each row tunes the offline Flan-T5 on the training events alone, with the same seed,
number of updates and batch size; the rest of a recommender, item tokens and the fusion, plays no part. Then the T5
spells titles for users of the validation events (NDCG@10 of the whole catalogue, seen items removed), and judges the
held-out ratings of some of them, uncalibrated (AUC). Differences to full tuning are paired by user, with bootstrap
intervals. Rows that are about robustness are asked with mistyped and with unseen wordings as well. What a row itself
validates on, such as which of several runs to keep, are events before these.

Every row is a process of its own, so that its peak of memory is its own. The record is written after each, and a
command that was interrupted goes on where it stopped. ``--show`` prints the table of a record and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from rich.console import Console
from rich.table import Table

import flanrec
from flanrec.backbone import load_backbone
from flanrec.cli.common import progress_callbacks
from flanrec.data.splits import hold_out_last
from flanrec.evaluation.models import drawn_users, evaluate_model
from flanrec.evaluation.robustness import AskedPairs, measure_robustness
from flanrec.metrics import auc
from flanrec.metrics.intervals import paired_bootstrap
from flanrec.recommender import Asking, Recommender, RecommenderSettings
from quality import machine, peak_memory_gb
from timing import write_record

METRIC = "ndcg@10"
LONG = 5
"""How many times the steps of the others the rows of long runs make."""
OWN = 200
"""Users whose last training events a row may validate on."""
BASE = "full"


@dataclass(frozen=True)
class Row:
    """One way of tuning.

    Attributes
    ----------
    group
        Under which heading it stands.
    words
        What differs from the settings that all share, as fields of ``words``.
    reworded
        Whether it is asked in other words as well.
    times
        How many times the steps it makes.
    beside
        The row that it is held against.
    """

    group: str
    words: Mapping[str, Any]
    reworded: bool = False
    times: int = 1
    beside: str = BASE


def _beside(objective: str, weight: float = 0.2) -> dict[str, Any]:
    return {"weights": {objective: weight}}


ROWS: dict[str, Row] = {
    BASE: Row("methods", {}, reworded=True),
    "lora": Row("methods", {"method": "lora"}),
    "lora, q and v": Row("methods", {"method": "lora", "targets": ["q", "v"]}),
    "lora, all maps": Row(
        "methods", {"method": "lora", "rank": 8, "targets": ["q", "k", "v", "o", "wi_0", "wi_1", "wo"]}
    ),
    "dora": Row("methods", {"method": "dora"}),
    "rslora": Row("methods", {"method": "rslora"}),
    "adalora": Row("methods", {"method": "adalora"}),
    "ia3": Row("methods", {"method": "ia3"}),
    "prompt-tuning": Row("methods", {"method": "prompt-tuning"}),
    "p-tuning": Row("methods", {"method": "p-tuning"}),
    "prefix-tuning": Row("methods", {"method": "prefix-tuning"}),
    "adapter": Row("methods", {"method": "adapter"}),
    "pairwise (BPR)": Row("objectives beside", _beside("pairwise")),
    "listwise": Row("objectives beside", _beside("listwise")),
    "sampled softmax": Row("objectives beside", _beside("sampled")),
    "contrastive": Row("objectives beside", _beside("contrastive")),
    "preference (DPO)": Row("objectives beside", _beside("preference")),
    "rating regression": Row("objectives beside", _beside("rating_regression")),
    "label smoothing 0.1": Row("objectives beside", {"smoothing": 0.1}),
    "dropout 0.1": Row("robustness", {"dropout": 0.1}),
    "weight decay 0.1": Row("robustness", {"weight_decay": 0.1}),
    "fgm": Row("robustness", {"adversarial": "fgm"}, reworded=True),
    "freelb": Row("robustness", {"adversarial": "freelb"}, reworded=True),
    "r-drop": Row("robustness", {"consistency": 1.0, "dropout": 0.1}, reworded=True),
    "typos and synonyms": Row("robustness", {"augment": {"typos": 0.1, "synonyms": 0.3}}, reworded=True),
    "crop, mask, reorder": Row("robustness", {"augment": {"crop": 0.2, "mask": 0.2, "reorder": 0.2}}),
    "average of 2 runs": Row("robustness", {"runs": 2}),
    "temperature 2": Row("mixture", {"mixing": "temperature", "temperature": 2.0}),
    "easy first": Row("mixture", {"curriculum": "easy-first"}),
    "full, long": Row("long runs", {}, times=LONG),
    "lora, long": Row("long runs", {"method": "lora"}, times=LONG, beside="full, long"),
}


def settings_of(row: Row, asked: argparse.Namespace) -> RecommenderSettings:
    """The shared settings with what a row changes: the T5 alone is tuned."""
    words = RecommenderSettings.preset("balanced").words.model_dump()
    changes = dict(row.words)
    words["weights"] |= changes.pop("weights", {})
    words |= {"steps": row.times * asked.steps} | changes
    return RecommenderSettings.model_validate(
        {
            "noun": "movie", "nouns": "movies", "seed": asked.seed, "words": words, "tokens": {"passes": 0},
            "fusion": {"rounds": 0, "events": 0, "language_model": "never"},
        }
    )  # fmt: skip


def measured(name: str, asked: argparse.Namespace, data: flanrec.Dataset | None = None) -> dict[str, Any]:
    """Tune by one row and measure it."""
    torch.set_num_threads(asked.threads)
    row = ROWS[name]
    split = flanrec.leave_one_out(flanrec.load_dataset("ml-100k") if data is None else data)
    backbone = load_backbone("offline", device="cpu")
    whole = sum(weight.numel() for weight in backbone.model.parameters())
    recommender = Recommender(backbone, settings_of(row, asked))
    train, own = hold_out_last(split.train)
    few = drawn_users(own, OWN, asked.seed)
    own = own.with_interactions(own.interactions.filter(pl.col("user_id").is_in(few)))
    recommender.fit(train, own, callbacks=lambda stage: progress_callbacks(f"{name}, {stage}"))
    tuned = recommender.reports["words"]
    found: dict[str, Any] = {
        "group": row.group,
        "beside": row.beside,
        "trained": tuned.trained,
        "share": tuned.trained / whole,
        "seconds": tuned.seconds,
        "megabytes": 1000 * peak_memory_gb(),
        "loss": float(np.mean(tuned.losses[-20:])),
    }
    begun = time.perf_counter()
    report = evaluate_model(recommender, split.validation, (10,), "generate", users=asked.users, seed=asked.seed)
    found |= {"users": report.users, "asking_seconds": time.perf_counter() - begun}
    found["per_user"] = [round(float(value), 6) for value in report.per_user[METRIC]]
    pairs = AskedPairs.of(recommender, split.validation, asked.fewer, asked.seed)
    found["auc"] = auc(pairs.liked, pairs.chances(Asking(seed=asked.seed)))
    if row.reworded:
        told = measure_robustness(
            recommender, split.validation, readings=("generate",), users=asked.fewer, seed=asked.seed
        )
        found["reworded"] = told.to_dict()["drops"]
    return found


def table(record: Mapping[str, Any]) -> Table:
    """The rows beside full tuning; of long runs beside the long one."""
    about = record["about"]
    view = Table(
        title=f"Tuning the T5: {about['steps']} updates of {about['batch_size']} prompts, long runs {LONG} times as "
        "many, MovieLens-100K, NDCG@10 of spelled titles on validation events"
    )
    for heading in ("row", "trained", "seconds", "MB", "NDCG@10", "minus full, 95 % interval", "of full", "AUC"):
        view.add_column(heading, justify="left" if heading == "row" else "right")
    rows, group = record["rows"], ""
    for name, found in rows.items():
        if found["group"] != group:
            group = found["group"]
            view.add_section()
            view.add_row(f"[bold]{group}[/bold]")
        values = np.array(found["per_user"])
        difference, kept, beside = "", "", found["beside"]
        if beside != name and beside in rows:
            base = np.array(rows[beside]["per_user"])
            paired = paired_bootstrap(values, base, seed=about["seed"])
            difference = f"{paired.value:+.4f} [{paired.low:+.4f}, {paired.high:+.4f}]"
            kept = f"{np.nanmean(values) / np.nanmean(base):.0%}"
        view.add_row(
            name, f"{found['share']:.2%}", f"{found['seconds']:.0f}", f"{found['megabytes']:.0f}",
            f"{np.nanmean(values):.4f}", difference, kept, f"{found['auc']:.4f}",
        )  # fmt: skip
    return view


def reworded_table(record: Mapping[str, Any]) -> Table:
    """What other words cost, of the rows that were asked in them."""
    view = Table(title="The same users asked in other words: relative drop, 95 % interval")
    for heading in ("row", "reading", "change", "clean", "changed", "drop", "of full's drop"):
        view.add_column(heading, justify="left" if heading in ("row", "reading", "change") else "right")
    rows = {name: found["reworded"] for name, found in record["rows"].items() if "reworded" in found}
    base = {(one["reading"], one["condition"]): one["drop"] for one in rows.get(BASE, [])}
    for name, drops in rows.items():
        view.add_section()
        for one in drops:
            before = base.get((one["reading"], one["condition"]))
            view.add_row(
                name, one["reading"], one["condition"], f"{one['clean']:.4f}", f"{one['changed']:.4f}",
                f"{one['drop']:+.1%} [{one['low']:+.1%}, {one['high']:+.1%}]",
                "" if name == BASE or not before else f"{one['drop'] / before:.0%}",
            )  # fmt: skip
    return view


def show(record: Mapping[str, Any]) -> None:
    """Print both tables."""
    screen = Console(width=130)
    screen.print(table(record))
    if any("reworded" in found for found in record["rows"].values()):
        screen.print(reworded_table(record))


def main(arguments: Sequence[str] | None = None, data: flanrec.Dataset | None = None) -> None:
    """Measure what the record lacks, print, record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW")
    options.add_argument("--steps", type=int, default=120)
    options.add_argument("--users", type=int, default=None, help="most users to ask; all by default")
    options.add_argument("--fewer", type=int, default=500, help="most users for AUC and for other wordings")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--json", type=Path, default=None, help="write the record here, and go on with what it has")
    options.add_argument("--show", type=Path, default=None, help="print the table of this record")
    options.add_argument("--one", choices=ROWS, default=None, help=argparse.SUPPRESS)
    asked = options.parse_args(arguments)
    if asked.show is not None:
        show(json.loads(asked.show.read_text(encoding="utf-8")))
        return
    if asked.one is not None:
        print(json.dumps(measured(asked.one, asked, data)))
        return
    batch = settings_of(ROWS[BASE], asked).words.batch_size
    about = {"steps": asked.steps, "batch_size": batch, "seed": asked.seed, "users": asked.users, "fewer": asked.fewer}
    record: dict[str, Any] = {"about": about, "machine": machine(), "metric": METRIC, "rows": {}}
    if asked.json is not None and asked.json.is_file():
        earlier = json.loads(asked.json.read_text(encoding="utf-8"))
        if earlier["about"] != about:
            options.error(f"{asked.json} is of another budget: {earlier['about']}; give another file")
        record["rows"] = earlier["rows"]
    for name in asked.rows:
        if name in record["rows"]:
            continue
        record["rows"][name] = measured(name, asked, data) if data is not None else _apart(name, asked)
        record["rows"] = {known: record["rows"][known] for known in ROWS if known in record["rows"]}
        write_record(asked.json, record)
    show(record)


def _apart(name: str, asked: argparse.Namespace) -> dict[str, Any]:
    """Measure a row in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--steps", str(asked.steps), "--seed", str(asked.seed),
               "--threads", str(asked.threads), "--fewer", str(asked.fewer)]  # fmt: skip
    command += [] if asked.users is None else ["--users", str(asked.users)]
    print(f"{name} …", file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
