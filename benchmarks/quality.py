"""Quality on MovieLens-100K: every reading of one fit, beside its references, on one split.

    python benchmarks/quality.py --preset best --seed 42 --json benchmarks/records/quality-best.json
    python benchmarks/quality.py --model model --readings item_tokens match

Leave-one-out by (time, row), full ranking of the catalogue, seen items removed. Within a fit only validation events
decide; but the presets were found on this data set with test numbers in view, so these are not blind.

Each stage is told on stderr as it finishes; the tables come at the end. ``--json`` writes the record, again after every
stage, so that a run that is killed keeps what it measured. ``--model`` measures a recommender that ``--out`` saved,
without fitting; it was tuned, so there is no zero-shot row.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import torch
from rich.console import Console

import flanrec
from flanrec.artefact import write_text_atomically
from flanrec.cli.clock import Clock
from flanrec.cli.common import json_text, progress_callbacks
from flanrec.errors import DataError
from flanrec.evaluation import Report, comparison_table
from flanrec.evaluation.instructions import InstructionReport, measure_instructions
from flanrec.evaluation.matching import match_record, match_table
from flanrec.evaluation.models import evaluate_model, match_reports
from flanrec.evaluation.references import reference_reports, zero_shot_report
from flanrec.recommender import READINGS, Recommender
from flanrec.recommender.tables import joined

METRICS = ("ndcg@10", "hit_rate@10", "recall@5", "mrr@10", "coverage@10", "novelty@10")
MEASURED = ("zero_shot", *READINGS, "match", "instructions")
ZERO_SHOT_USERS = 200


@dataclass
class Results:
    """What is measured so far, and the file that has it.

    Parameters
    ----------
    about
        What the record says of the run itself.
    clock
        Tells of each finished stage.
    path
        Where the record goes; None for nowhere.
    """

    about: dict[str, Any]
    clock: Clock
    path: Path | None = None
    reports: list[Report] = field(default_factory=list)
    match: tuple[Report, Report] | None = None
    instructions: InstructionReport | None = None

    def ranked(self, stage: str, report: Report) -> None:
        """Keep a ranking and tell its NDCG and hit rate."""
        self.reports.append(report)
        self.done(f"{stage}: NDCG@10 {report['ndcg@10']:.4f}, HR@10 {report['hit_rate@10']:.4f}, {report.users} users")

    def done(self, told: str) -> None:
        """Tell of a stage, whose name stands before the colon, and write all there is."""
        self.clock.done(told)
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomically(self.path, json_text(self.to_dict()) + "\n")

    def to_dict(self) -> dict[str, Any]:
        """The record; what is not measured is None."""
        return {
            **self.about,
            "machine": machine(),
            "peak_memory_gb": peak_memory_gb(),
            "seconds": dict(self.clock.seconds),
            "reports": [report.to_dict() for report in self.reports],
            "match": None if self.match is None else match_record(self.match),
            "instructions": None if self.instructions is None else self.instructions.to_dict(),
        }

    def print(self, console: Console, title: str) -> None:
        """The tables."""
        console.print(comparison_table(self.reports, METRICS, title=title))
        for report in self.reports:
            formed = {name: report[name] for name in ("valid_rate", "duplicate_rate") if name in report.per_user}
            if formed:
                console.print(report.name, formed)
        if self.match is not None:
            console.print(match_table(self.match, "P(like), held-out ratings, 4 and 5 are yes"))
        if self.instructions is not None:
            console.print(self.instructions.to_table())
        console.print({"seconds": self.clock.seconds, "peak memory, GB": round(peak_memory_gb(), 2)})


def main(arguments: Sequence[str] | None = None, data: flanrec.Dataset | None = None) -> None:
    """Fit or load, measure, print, record.

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
    clock = Clock(Console(file=sys.stderr))
    data = flanrec.load_dataset("ml-100k") if data is None else data
    split = flanrec.leave_one_out(data)
    known = joined(split.train, split.validation)
    if asked.model is not None:
        recommender = Recommender.load(asked.model)
        refuse_leak(recommender, split.test)
    else:
        settings = flanrec.RecommenderSettings.preset(asked.preset, noun="movie", nouns="movies", seed=asked.seed)
        recommender = Recommender.from_pretrained(asked.backbone, settings)
    results = Results(about(asked, recommender), clock, asked.json)
    results.done(f"model: {recommender.backbone.source.name} from {recommender.backbone.source.kind}")
    if "zero_shot" in asked.readings and asked.model is None:
        results.ranked(
            "zero_shot",
            zero_shot_report(
                recommender.backbone, recommender.settings, known, split.test, users=ZERO_SHOT_USERS, seed=asked.seed
            ),
        )
    if asked.model is None:
        recommender.fit(
            split.train,
            split.validation,
            folder=asked.folder,
            resume=asked.folder is not None and asked.folder.exists(),
            callbacks=progress_callbacks,
        )
        if asked.out:
            recommender.save_pretrained(asked.out)
        results.about["stages"] = stages(recommender)
        steps = ", ".join(f"{name} {report.steps} steps" for name, report in recommender.reports.items())
        results.done(f"fit: {steps}")
    for reading in READINGS:
        if reading in asked.readings:
            results.ranked(reading, evaluate_model(recommender, split.test, (5, 10), reading, seed=asked.seed))
    if "match" in asked.readings:
        results.match = match_reports(recommender, split.test)
        model, rule = results.match
        results.done(f"match: AUC {model['auc']:.4f}, by the like-rate rule {rule['auc']:.4f}")
    if "instructions" in asked.readings:
        said = results.instructions = measure_instructions(recommender, split.test, seed=asked.seed)
        results.done(f"instructions: wishes multiply a category's share by {said.share_ratio:.2f}")
    results.reports += reference_reports(known, split.test, seed=asked.seed)
    results.done("references: random and popularity")
    results.print(Console(), f"{data.name}, leave-one-out, all items ranked")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--preset", default="balanced")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--backbone", default=None)
    options.add_argument("--threads", type=int, default=None)
    options.add_argument("--json", type=Path, default=None, help="write the record here")
    options.add_argument("--out", type=Path, default=None, help="save the fitted recommender here")
    options.add_argument("--folder", type=Path, default=None, help="keep checkpoints here, and go on from them")
    options.add_argument("--model", type=Path, default=None, help="measure this saved recommender; fit nothing")
    options.add_argument("--readings", nargs="+", choices=MEASURED, default=MEASURED, help="measure only these")
    asked = options.parse_args(arguments)
    if asked.model is not None and (asked.out is not None or asked.backbone is not None):
        options.error("--model fits nothing, so --out and --backbone have no meaning beside it")
    return asked


def refuse_leak(recommender: Recommender, test: flanrec.Dataset) -> None:
    """Raise DataError where a recommender knows held-out events: they would count as seen, and it learned from them."""
    pairs = [
        part.interactions.select(pl.col("user_id").cast(pl.String), pl.col("item_id").cast(pl.String))
        for part in (recommender.parts.dataset, test)
    ]
    met = pairs[1].join(pairs[0], on=["user_id", "item_id"], how="semi").height
    if met:
        raise DataError(
            f"the model knows {met} of {test.interactions.height} held-out events; measure one that was fitted "
            "without the last event of each user, such as --out saves"
        )


def about(asked: argparse.Namespace, recommender: Recommender) -> dict[str, Any]:
    """What was asked for, and of which model."""
    return {
        "preset": asked.preset if asked.model is None else None,
        "model": None if asked.model is None else str(asked.model),
        "seed": asked.seed,
        "backbone": recommender.backbone.source.name,
        "settings": recommender.settings.model_dump(mode="json"),
        "stages": {},
    }


def stages(recommender: Recommender) -> dict[str, dict[str, Any]]:
    """The course of each stage of the fit."""
    return {
        name: {"steps": report.steps, "seconds": report.seconds, "best_step": report.best_step,
               "validation_ndcg@10": report.best_value}
        for name, report in recommender.reports.items()
    }  # fmt: skip


def machine() -> dict[str, Any]:
    """What it ran on."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "autocast_bf16": capabilities.get("avx512_bf16"),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def peak_memory_gb() -> float:
    """The most memory of the process so far."""
    status = Path("/proc/self/status")
    if status.is_file():
        # What getrusage says begins at the size of the process that started this one.
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(peak) * 1024 / 1e9
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found / 1e9 if sys.platform == "darwin" else found * 1024 / 1e9


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("flanrec").setLevel(logging.INFO)
    main()
