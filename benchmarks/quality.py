"""Quality on MovieLens-100K: every reading of one fit, beside its references, on one split.

    python benchmarks/quality.py --preset best --seed 42 --json benchmarks/records/quality-best.json

Leave-one-out by (time, row), full ranking of the catalogue, seen items removed. Within a fit only validation events
decide; but the presets were found on this data set with test numbers in view, so these are not blind.

Prints tables; ``--json`` writes the record.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

import flanrec
from flanrec.cli.common import json_text, progress_callbacks
from flanrec.evaluation import comparison_table
from flanrec.evaluation.instructions import measure_instructions
from flanrec.evaluation.models import evaluate_match_of, evaluate_model
from flanrec.evaluation.references import reference_reports, zero_shot_report
from flanrec.recommender.tables import joined

METRICS = ("ndcg@10", "hit_rate@10", "recall@5", "mrr@10", "coverage@10", "novelty@10")
ZERO_SHOT_USERS = 200


def main() -> None:
    """Fit, measure, print, record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--preset", default="balanced")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--backbone", default=None)
    options.add_argument("--threads", type=int, default=None)
    options.add_argument("--json", type=Path, default=None)
    options.add_argument("--out", type=Path, default=None, help="save the fitted recommender here")
    asked = options.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    console = Console()
    data = flanrec.load_dataset("ml-100k")
    split = flanrec.leave_one_out(data)
    known = joined(split.train, split.validation)
    settings = flanrec.RecommenderSettings.preset(asked.preset, noun="movie", nouns="movies", seed=asked.seed)
    recommender = flanrec.Recommender.from_pretrained(asked.backbone, settings)
    seconds: dict[str, float] = {}

    began = time.monotonic()
    zero_shot = zero_shot_report(
        recommender.backbone, settings, known, split.test, users=ZERO_SHOT_USERS, seed=asked.seed
    )
    seconds["zero-shot"] = time.monotonic() - began
    began = time.monotonic()
    recommender.fit(split.train, split.validation, callbacks=progress_callbacks)
    seconds["fit"] = time.monotonic() - began
    if asked.out:
        recommender.save_pretrained(asked.out)
    began = time.monotonic()
    tokens = evaluate_model(recommender, split.test, (5, 10), "item_tokens", seed=asked.seed)
    seconds["item tokens, all users"] = time.monotonic() - began
    began = time.monotonic()
    generated = evaluate_model(recommender, split.test, (5, 10), "generate", seed=asked.seed)
    seconds["generate, all users"] = time.monotonic() - began
    began = time.monotonic()
    match = evaluate_match_of(recommender, split.test)
    seconds["match, all test pairs"] = time.monotonic() - began
    began = time.monotonic()
    instructions = measure_instructions(recommender, split.test, seed=asked.seed)
    seconds["instructions"] = time.monotonic() - began

    reports = [tokens, generated, zero_shot, *reference_reports(known, split.test, seed=asked.seed)]
    console.print(comparison_table(reports, METRICS, title="MovieLens-100K, leave-one-out, all items ranked"))
    console.print({name: generated[name] for name in ("valid_rate", "duplicate_rate") if name in generated.per_user})
    table = Table("", "AUC", "AUC by user", "calibration error", title="P(like), held-out ratings, 4 and 5 are yes")
    for label, row in match["rows"].items():
        table.add_row(label, *(f"{row[name]:.4f}" for name in ("auc", "user_auc", "ece")))
    console.print(table, instructions.to_table())
    stages = {
        name: {"steps": report.steps, "seconds": report.seconds, "best_step": report.best_step,
               "validation_ndcg@10": report.best_value}
        for name, report in recommender.reports.items()
    }  # fmt: skip
    record = {
        "preset": asked.preset,
        "seed": asked.seed,
        "backbone": recommender.backbone.source.name,
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "autocast_bf16": torch.cpu.get_capabilities().get("avx512_bf16", False)
            if hasattr(torch.cpu, "get_capabilities")
            else None,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "peak_memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "seconds": seconds,
        "stages": stages,
        "reports": [report.to_dict() for report in reports],
        "match": match,
        "instructions": instructions.to_dict(),
        "settings": settings.model_dump(mode="json"),
    }
    console.print({"seconds": {name: round(value, 1) for name, value in seconds.items()},
                   "peak memory, GB": round(record["peak_memory_gb"], 2)})  # fmt: skip
    if asked.json:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        asked.json.write_text(json_text(record) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
