"""Speed beside what people use instead, on one checkpoint, with the same prompts, beams and threads.

    python benchmarks/speed.py --device cpu --out benchmarks/records/speed.json
    python benchmarks/speed.py --device cuda --batch 128 --out benchmarks/records/speed-cuda.json
    python benchmarks/speed.py --quick --json

Constrained beams against transformers' `generate` with `prefix_allowed_tokens_fn`, exact scores of a whole catalogue
against a reranker that reads every pair, item tokens against constrained beams, and tuning against a loop that pads to
512 and against Seq2SeqTrainer. Contenders run in turn, so that noise meets all alike; figures are medians with their
range, beside the share of what the machine's own matrix products reach in float32. Titles and histories are
MovieLens-100K's. On a GPU everything is measured in bf16 too, the peers included, and all tune under bf16 autocast.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import flanrec
import peers
import tuning_speed
from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.hardware import choose_device, has_fast_bf16
from flanrec.backbone.int8 import quantised
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue import Catalogue
from flanrec.catalogue.factors import transition_factors
from flanrec.catalogue.item_tokens import ItemTokens, ItemTokenSettings
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.catalogue.trie import TitleTrie
from flanrec.generation import generate_items, title_log_probabilities
from flanrec.instructions import Templates
from flanrec.recommender.readings import TokenReading
from quality import machine
from timing import Timing, alternate, matmul_peak, ratio, shares, write_record

PARTS = ("beams", "item_tokens", "catalogue", "tuning")
BATCH = 16
BEAMS = 10
PAIRS_AT_ONCE = 32
PEER = "transformers"
RERANKER = "pair by pair"


@dataclass
class Bench:
    """What is measured on, and what was found.

    Parameters
    ----------
    runs
        Of each contender, after one to warm up.
    users
        In a run of constrained beams.
    steps
        Of a tuning run; the first is not timed.
    threads
        Of torch.
    batch
        Users decoded together, and examples of a tuning step.
    data
        Whose titles and histories are read.
    name
        Of the checkpoint.
    device
        See `load_backbone`.
    """

    runs: int
    users: int
    steps: int
    threads: int
    batch: int
    data: flanrec.Dataset
    name: str = "offline"
    device: str = "cpu"
    ratios: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.backbone = load_backbone(self.name, device=self.device)
        self.place = self.backbone.device
        self.plain = peers.plain_model(self.backbone)
        self.catalogue = Catalogue.from_dataset(self.data, self.backbone.tokenizer)
        # One item a title: what transformers finds are titles, and two items of one title are a tie.
        self.rows = [list(row) for row in sorted({tuple(row) for row in self.catalogue.token_rows})]
        self.trie = TitleTrie.build(self.rows)
        self.prompter = Prompter(
            self.catalogue, (Templates.load("en"),), self.backbone.token_count, noun="movie", nouns="movies", titles=5
        )
        self.people: list[Person] = people(self.data)
        self.prompts = [
            self.prompter.word(self.prompter.sequential(person, told=False)).prompt for person in self.people
        ]
        self.peak = matmul_peak(self.place)

    def engines(self) -> dict[str, Backbone]:
        """The backbone in every number format that this machine is fast in."""
        engines = {"float32": self.backbone}
        if self.place.type == "cpu":
            engines["int8"] = quantised(self.backbone)
        if has_fast_bf16(self.place):
            engines["bf16"] = load_backbone(self.name, device=self.device, precision="bf16")
        return engines

    def rivals(self) -> dict[str, Backbone]:
        """transformers' own model; on a GPU in bf16 too, which its users would choose."""
        rivals = {PEER: self.plain}
        if self.place.type == "cuda" and has_fast_bf16(self.place):
            rivals[f"{PEER}, bf16"] = peers.plain_model(load_backbone(self.name, device=self.device, precision="bf16"))
        return rivals

    def alternate(self, work: dict[str, Callable[[], Any]]) -> tuple[dict[str, Timing], dict[str, Any]]:
        """As often as asked, on the device."""
        return alternate(work, self.runs, self.place)

    def keep(self, part: str, timings: dict[str, Timing], per_run: float, **more: Any) -> None:
        """Record the timings of a part."""
        rows = {name: timing.to_dict(per_run) for name, timing in timings.items()}
        for row in rows.values():
            row["share_of_peak"] = None if row["gflops"] is None else row["gflops"] / self.peak
        self.details[part] = {"contenders": rows, **more}

    def to_dict(self) -> dict[str, Any]:
        """Ratios first."""
        return {
            **{name: found["ratio"] for name, found in self.ratios.items()},
            "ranges": self.ratios,
            "details": self.details,
            "matmul_gflops": self.peak,
            "device": torch.cuda.get_device_name(self.place) if self.place.type == "cuda" else self.place.type,
            "machine": machine(),
        }


def beams(bench: Bench) -> dict[str, Timing]:
    """Constrained beams: ten of the best titles of each user."""
    prompts = bench.prompts[: bench.users]
    tree, longest = peers.PrefixTree(bench.rows), max(map(len, bench.rows))

    def ours(backbone: Backbone) -> Callable[[], Any]:
        return lambda: generate_items(backbone, prompts, bench.trie, k=BEAMS, num_beams=BEAMS, batch_size=bench.batch)

    def theirs(backbone: Backbone) -> Callable[[], Any]:
        return lambda: peers.beams(backbone, prompts, tree, num_beams=BEAMS, batch_size=bench.batch, longest=longest)

    rivals = bench.rivals()
    work = {name: theirs(rival) for name, rival in rivals.items()}
    work |= {name: ours(engine) for name, engine in bench.engines().items()}
    timings, results = bench.alternate(work)
    titles, expected = results[PEER]
    items, scores = results["float32"]
    found = [[tuple(bench.rows[item]) for item in user] for user in items]
    if "int8" in timings:
        # The counter does not see products of integers; they are the same ones.
        timings["int8"].gflop = timings["float32"].gflop
    fastest = min((name for name in timings if name not in rivals), key=lambda name: timings[name].median)
    bench.ratios["beam_float32"] = ratio(timings[PEER], timings["float32"])
    bench.ratios["beam_fastest"] = ratio(timings[PEER], timings[fastest])
    if f"{PEER}, bf16" in timings:
        bench.ratios["beam_bf16"] = ratio(timings[f"{PEER}, bf16"], timings["bf16"])
    bench.keep(
        "beams", timings, len(prompts),
        users=len(prompts), batch=bench.batch, beams=BEAMS, titles=len(bench.rows), fastest=fastest,
        prompt_tokens=float(np.mean([bench.backbone.token_count(prompt) for prompt in prompts])),
        users_with_the_same_list=sum(one == other for one, other in zip(found, titles, strict=True)),
        largest_difference=float(np.abs(scores - expected).max()),
        largest_relative_difference=float(np.abs(scores / expected - 1).max()),
        overlap={name: overlap(items, results[name][0]) for name in timings if name not in {*rivals, "float32"}},
        phases=shares(work["float32"], {
            "encoder": ("flanrec.generation.encoding", "encoder_states"),
            "keys and values of prompts": ("flanrec.generation.decoder.TreeDecoder", "start"),
            "decoder": ("flanrec.generation.decoder.TreeDecoder", "extend"),
            "output layer": ("flanrec.generation.head.Head", "log_probabilities"),
        }, bench.place),
    )  # fmt: skip
    return timings


def overlap(items: np.ndarray, others: np.ndarray) -> float:
    """Mean share of a user's items that are in another list of theirs."""
    return float(np.mean([len(set(one) & set(other)) / len(one) for one, other in zip(items, others, strict=True)]))


def item_tokens(bench: Bench, beams: dict[str, Timing]) -> None:
    """The item-token reading of all users, beside transformers' beams of the same run."""
    settings = ItemTokenSettings()
    sequences = bench.data.sequences()
    factors = transition_factors(sequences, settings.rank, damping=settings.damping, seed=0)
    tokens = ItemTokens.build(bench.backbone, bench.catalogue, factors, settings).eval()
    users = bench.people
    seen = [person.items for person in users]

    def run() -> Any:
        with torch.inference_mode():
            outputs = tokens.outputs()
        reading = TokenReading(tokens, PromptEncoder(bench.backbone), bench.prompter, outputs=outputs)
        return reading.top(users, BEAMS, excluded=seen)

    timings, _ = bench.alternate({"item tokens": run})
    each = [second / bench.users / (first / len(users)) for first, second in
            zip(timings["item tokens"].seconds, beams[PEER].seconds, strict=True)]  # fmt: skip
    middle = beams[PEER].median / bench.users / (timings["item tokens"].median / len(users))
    bench.ratios["item_tokens"] = {"ratio": middle, "least": min(each), "most": max(each)}
    bench.keep("item_tokens", timings, len(users), users=len(users), items=tokens.n_items)


def catalogue(bench: Bench) -> None:
    """Exact scores of every title for one user."""
    prompt, rows = bench.prompts[0], bench.catalogue.token_rows

    def ours(backbone: Backbone) -> Callable[[], Any]:
        return lambda: title_log_probabilities(backbone, [prompt], rows)[0]

    work: dict[str, Callable[[], Any]] = {
        RERANKER: lambda: peers.rerank(bench.plain, prompt, rows, batch_size=PAIRS_AT_ONCE)
    }
    work |= {name: ours(engine) for name, engine in bench.engines().items()}
    timings, results = bench.alternate(work)
    if "int8" in timings:
        timings["int8"].gflop = timings["float32"].gflop
    expected = results.pop(RERANKER)
    bench.ratios["exact_catalogue"] = ratio(timings[RERANKER], timings["float32"])
    bench.keep(
        "catalogue", timings, 1, titles=len(rows), batch=PAIRS_AT_ONCE,
        times={name: ratio(timings[RERANKER], timings[name]) for name in results},
        largest_difference={name: float(np.abs(found - expected).max()) for name, found in results.items()},
        mean_relative_difference={name: float(np.abs(found / expected - 1).mean()) for name, found in results.items()},
        largest_relative_difference={
            name: float(np.abs(found / expected - 1).max()) for name, found in results.items()
        },
    )  # fmt: skip


def tuning(bench: Bench) -> None:
    """Full tuning on the same examples, each contender in a process of its own."""
    rounds = [
        {
            name: tuning_speed.run(
                name,
                steps=bench.steps,
                threads=bench.threads,
                batch=bench.batch,
                device=bench.device,
                backbone=bench.name,
            )
            for name in tuning_speed.CONTENDERS
        }
        for _ in range(bench.runs)
    ]
    timings = {name: Timing([1 / found[name]["examples_per_second"] for found in rounds]) for name in rounds[0]}
    for label, peer in (("tuning_vs_padded", "padded to 512"), ("tuning_vs_trainer", "Seq2SeqTrainer")):
        bench.ratios[label] = ratio(timings[peer], timings["flanrec"])
    bench.keep(
        "tuning", timings, 1, batch=bench.batch, steps=bench.steps,
        peak_memory_gb={name: max(found[name]["peak_memory_gb"] for found in rounds) for name in timings},
        held_out_loss={name: rounds[0][name]["held_out_loss"] for name in timings},
    )  # fmt: skip


def table(bench: Bench) -> Table:
    """All contenders."""
    view = Table(title="Speed", show_lines=False)
    for name in ("", "contender", "a second", "seconds, range", "GFLOP", "GFLOP/s", "of peak"):
        view.add_column(name, justify="left" if name in ("", "contender") else "right")
    for part, found in bench.details.items():
        for name, row in found["contenders"].items():
            counted = ["–"] * 3
            if row["gflop"] is not None:
                counted = [f"{row['gflop']:.1f}", f"{row['gflops']:.1f}", f"{row['share_of_peak']:.0%}"]
            least, most = row["range"]
            view.add_row(part, name, f"{row['per_second']:.2f}", f"{least:.3g} – {most:.3g}", *counted)
    return view


def main(arguments: Sequence[str] | None = None, data: flanrec.Dataset | None = None) -> None:
    """Measure the parts asked for, print, record.

    Parameters
    ----------
    arguments
        Of the command line; those of the process by default.
    data
        Another data set than MovieLens-100K; tuning is measured on that in any case.
    """
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    quick = asked.quick
    bench = Bench(
        asked.runs or (2 if quick else 5), users=asked.batch if quick else 3 * asked.batch,
        steps=asked.steps or (3 if quick else 5),
        threads=asked.threads, batch=asked.batch, data=flanrec.load_dataset("ml-100k") if data is None else data,
        name=asked.backbone, device=str(choose_device(asked.device)),
    )  # fmt: skip
    measured: dict[str, Timing] = {}
    for part in PARTS:
        if part not in asked.parts:
            continue
        print(f"{part} …", file=sys.stderr, flush=True)
        if part == "beams":
            measured = beams(bench)
        elif part == "item_tokens":
            item_tokens(bench, measured)
        elif part == "catalogue":
            catalogue(bench)
        else:
            tuning(bench)
        write_record(asked.out, bench.to_dict())
    if asked.json:
        print(json.dumps(bench.to_dict()))
        return
    console = Console(width=120)
    console.print(table(bench))
    for name, found in bench.ratios.items():
        console.print(f"{name}: {found['ratio']:.2f} times ({found['least']:.2f} to {found['most']:.2f})")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options of the command line."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="fewer runs and users: under ten minutes")
    options.add_argument("--runs", type=int, default=None)
    options.add_argument("--steps", type=int, default=None, help="of a tuning run; the first is not timed")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--batch", type=int, default=BATCH, help="users decoded together, examples of a tuning step")
    options.add_argument("--backbone", default="offline")
    options.add_argument("--device", default="auto", help="auto, cpu or cuda")
    options.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options.add_argument("--json", action="store_true", help="print one object instead of tables")
    options.add_argument("--out", type=Path, default=None, help="write the record here, again after every part")
    asked = options.parse_args(arguments)
    if "item_tokens" in asked.parts and "beams" not in asked.parts:
        options.error("item_tokens is measured against the beams of the same run: add beams to --parts")
    return asked


if __name__ == "__main__":
    main()
