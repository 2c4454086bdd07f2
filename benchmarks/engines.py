"""What a coarser number format costs: one saved model's lists and match probabilities by every engine, same users.

    flanrec demo --out runs/demo
    python benchmarks/engines.py --model runs/demo/model --out benchmarks/records/engines.json

MovieLens-100K, leave-one-out; the model must not know the last event of any user, as the demo's does not. Titles are
spelled under the trie, and the match probability is judged on held-out ratings. Rounding moves few titles of few users,
so each user is asked in several wordings. Item tokens, which int8 rounds too, rank the same users' catalogues.
Differences to float32 are paired by user, with bootstrap intervals.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import flanrec
from flanrec.backbone.hardware import has_fast_bf16
from flanrec.evaluation.models import evaluate_model, match_reports
from flanrec.generation.engines import TorchEngine
from flanrec.metrics.intervals import paired_bootstrap
from flanrec.recommender import Asking, Recommender
from quality import machine, refuse_leak
from timing import write_record

METRIC = "ndcg@10"


def measured(recommender: Recommender, test: flanrec.Dataset, users: int | None, wordings: int) -> dict[str, Any]:
    """NDCG@10 of spelled titles and of item tokens a user, the match figures, and seconds, with the engine in use."""
    begun = time.perf_counter()
    reports = [
        evaluate_model(recommender, test, (10,), "generate", users=users, asking=Asking(seed=seed))
        for seed in range(wordings)
    ]
    seconds = time.perf_counter() - begun
    match, _ = match_reports(recommender, test)
    return {
        "per_user": np.mean([report.per_user[METRIC] for report in reports], axis=0),
        "tokens_per_user": evaluate_model(recommender, test, (10,), "item_tokens", users=users).per_user[METRIC],
        "seconds": seconds,
        "users": reports[0].users,
        "wordings": wordings,
        "auc": match["auc"],
        "calibration_error": match["expected_calibration_error"],
    }


def against(exact: dict[str, Any], name: str, values: Any) -> dict[str, float]:
    """The mean, and its difference to the first values of the same name."""
    first = exact.setdefault(name, values)
    paired, mean = paired_bootstrap(values, first), float(np.nanmean(values))
    return {
        "value": mean, "difference": paired.value, "low": paired.low, "high": paired.high,
        "relative": paired.value / float(np.nanmean(first)),
    }  # fmt: skip


def interval(found: dict[str, float]) -> str:
    """A difference with its interval."""
    return f"{found['difference']:+.4f} [{found['low']:+.4f}, {found['high']:+.4f}]"


def main(arguments: Sequence[str] | None = None, data: flanrec.Dataset | None = None) -> None:
    """Measure, print, record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--users", type=int, default=None, help="most users to ask; all by default")
    options.add_argument("--wordings", type=int, default=3, help="in which each user is asked")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--out", type=Path, default=None, help="write the record here")
    asked = options.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    recommender = Recommender.load(asked.model, device="cpu")
    test = flanrec.leave_one_out(flanrec.load_dataset("ml-100k") if data is None else data).test
    refuse_leak(recommender, test)
    engines: dict[str, str | TorchEngine] = {"float32": "torch", "int8": "int8"}
    if has_fast_bf16(recommender.backbone.device):
        coarse = Recommender.load(asked.model, device="cpu", precision="bf16")
        engines["bf16"] = TorchEngine(coarse.backbone, "bf16")
    record: dict[str, Any] = {"machine": machine(), "metric": METRIC, "engines": {}}
    exact: dict[str, Any] = {}
    view = Table(title="Spelled titles, match and item tokens by engine")
    for name in ("engine", "users", "NDCG@10", "difference", "AUC", "item tokens", "difference", "seconds"):
        view.add_column(name, justify="left" if name == "engine" else "right")
    for name, engine in engines.items():
        print(f"{name} …", file=sys.stderr, flush=True)
        recommender.use_engine("torch" if isinstance(engine, TorchEngine) else engine)
        if isinstance(engine, TorchEngine):
            recommender.use_engine(engine)
        found = measured(recommender, test, asked.users, asked.wordings)
        words = against(exact, "words", np.asarray(found.pop("per_user")))
        tokens = against(exact, "tokens", np.asarray(found.pop("tokens_per_user")))
        record["engines"][name] = found | words | {"item_tokens": tokens}
        view.add_row(
            name, str(found["users"]), f"{words['value']:.4f}", interval(words), f"{found['auc']:.4f}",
            f"{tokens['value']:.4f}", interval(tokens), f"{found['seconds']:.0f}",
        )  # fmt: skip
        write_record(asked.out, record)
    Console(width=120).print(view)


if __name__ == "__main__":
    main()
