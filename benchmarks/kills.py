"""Killing the service, and what teaches its model, at random moments: nothing that was acknowledged may be lost.

    flanrec demo --out runs/demo
    python benchmarks/kills.py --model runs/demo/model --kills 50 --json benchmarks/records/kills.json

Every round ends with SIGKILL. Rounds of seven kinds take turns:

writing
    ``flanrec serve`` on one SQLite store, while connections report events and reviews, change items and users, ask for
    lists, and have models loaded and rolled back.
two services
    The same with two services on the store. One is killed, the other one must go on; then it is killed too.
reloading
    Killed while a model is being loaded in the place of the one that answers.
starting, first start
    Killed before it serves, on the common store or on an empty one, which takes in what the model knows.
learning, learning apart
    ``flanrec update --store`` learns beside the service into a folder of the shelf; both are killed at a random moment,
    or while a checkpoint or the new model is being written. Then ``--resume`` goes on. Apart means that the store
    changes meanwhile: the update may then refuse to go on, if it says why.

Then SQLite checks the store, what was acknowledged must be there, every folder that is taken for a model must be whole,
and the next round must start. The record has how many there were of each; a run with another ``--seed`` is added to it.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from acknowledged import Acknowledged, lost
from flanrec.artefact import verify_manifest
from flanrec.recommender import Recommender
from flanrec.serving.shelf import Shelf
from flanrec.serving.store import Store
from quality import machine
from serving import serve
from timing import write_record

KINDS = (
    "writing", "two services", "learning", "first start", "reloading", "writing", "starting", "learning apart",
    "two services", "reloading",
)  # fmt: skip
MOMENTS = ("any", "checkpoint", "output")
SHORT = (("--steps", "0", "--passes", "0.3"), ("--steps", "0", "--passes", "0.1"), ("--steps", "3", "--passes", "0.1"))
"""Options of updates that take seconds: of the item tokens alone, or of the T5 too."""
START_SECONDS, UPDATE_SECONDS = 8.0, 30.0


@dataclass
class Found:
    """What the rounds showed.

    Attributes
    ----------
    starts
        Seconds until the service answered, after a kill.
    updates
        How updates that were killed went on.
    answers
        Requests by status.
    """

    starts: list[float] = field(default_factory=list)
    updates: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)


class Round:
    """One start, some work, and a kill.

    Parameters
    ----------
    place
        Holds the store, the log, and the shelf with the model ``first``.
    kept
        What was acknowledged in all rounds.
    """

    def __init__(self, number: int, place: Path, kept: Acknowledged, found: Found, draw: random.Random) -> None:
        self.number, self.place, self.kept, self.found, self.draw = number, place, kept, found, draw
        self.model, self.store, self.shelf = place / "shelf" / "first", place / "store.db", place / "shelf"
        self.end = threading.Event()
        self.threads: list[threading.Thread] = []

    def play(self, kind: str, longest: float) -> None:
        """Do what a kind of round does."""
        if kind in ("starting", "first start"):
            self._kill_the_start(self.store if kind == "starting" else self.place / f"first-{self.number}.db")
            return
        service, address = self._serve("a")
        seconds = self.draw.uniform(0.1, longest)
        if kind == "reloading":
            self._work(address, writers=1)
            self._load(address)
        elif kind.startswith("learning"):
            self._learn(service, address, quiet=kind == "learning")
        elif kind == "two services":
            other, there = self._serve("b")
            self._work(address, writers=2)
            self._work(there, writers=2)
            time.sleep(seconds / 2)
            service.kill()
            time.sleep(0.5)
            asked = httpx.post(f"{there}/v1/recommend", json={"user_id": self.kept.users[0]}, timeout=30)
            if asked.status_code != 200:
                raise SystemExit(f"the second service answered {asked.status_code} after the first one was killed")
            self._end(other)
        else:
            self._work(address, writers=3, loads=True)
            time.sleep(seconds)
        self._end(service)

    def _serve(self, name: str) -> tuple[subprocess.Popen[bytes], str]:
        begun = time.monotonic()
        process, port = serve(self.model, self.store, 1, self.place / f"log-{name}", "--models", str(self.shelf))
        self.found.starts.append(time.monotonic() - begun)
        return process, f"http://127.0.0.1:{port}"

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        self.end.set()
        for thread in self.threads:
            thread.join()
        process.wait()

    def _kill_the_start(self, store: Path) -> None:
        command = [sys.executable, "-m", "flanrec", "serve", "--model", str(self.model), "--store", str(store)]
        process = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.DEVNULL)
        time.sleep(self.draw.uniform(0.5, 1.1 * (self.found.starts[-1] if self.found.starts else START_SECONDS)))
        process.kill()
        process.wait()
        if store == self.store:
            return
        # It must take in all that the model knows, whatever was taken in before the kill.
        service, _ = serve(self.model, store, 1, self.place / "log-first")
        service.kill()
        service.wait()
        whole, kept = Store.open(store), pl.read_parquet(self.model / "interactions.parquet").height
        if whole.events.count() != kept:
            raise SystemExit(f"after a kill of the first start the store has {whole.events.count()} of {kept} events")
        whole.close()
        store.unlink()

    def _work(self, address: str, writers: int, loads: bool = False) -> None:
        for _ in range(writers):
            self._thread(self.kept.report, address)
        for work in (self.kept.change_items, self.kept.change_items, self.kept.change_users, self.kept.ask):
            self._thread(work, address)
        if loads:
            self._thread(self._load_and_roll_back, address)

    def _thread(self, work: Callable[..., None], address: str) -> None:
        who = f"{self.number}-{len(self.threads)}"
        thread = threading.Thread(target=self._until_the_end, args=(work, address, who))
        self.threads.append(thread)
        thread.start()

    def _until_the_end(self, work: Callable[..., None], address: str, who: str) -> None:
        answers: Counter[str] = Counter()
        hooks = {"response": [lambda answer: answers.update([str(answer.status_code)])]}
        with httpx.Client(base_url=address, timeout=60, event_hooks=hooks) as client:
            number = 0
            while not self.end.is_set():
                number += 1
                try:
                    work(client, f"{who}-{number}", random.Random(f"{who}-{number}"))
                except httpx.HTTPError:  # the service is gone
                    break
        self.found.answers.update(answers)

    def _load_and_roll_back(self, client: httpx.Client, _name: str, draw: random.Random) -> None:
        folder = draw.choice(client.get("/v1/models").json()["folders"])
        client.put("/v1/models/default", json={"folder": folder})
        client.post("/v1/models/default/rollback")

    def _load(self, address: str) -> None:
        asked = threading.Thread(target=self._until_the_end, args=(self._load_and_roll_back, address, "loads"))
        self.threads.append(asked)
        time.sleep(self.draw.uniform(0, 2))
        asked.start()
        time.sleep(self.draw.uniform(0.05, 4))

    def _learn(self, service: subprocess.Popen[bytes], address: str, quiet: bool) -> None:
        self._work(address, writers=2)
        time.sleep(1.0)
        if quiet:
            self.end.set()
            for thread in self.threads:
                thread.join()
        out, short = self.shelf / f"learnt-{self.number % 2}", self.draw.choice(SHORT)
        runs = self.place / f"{out.name}.update"
        learning = self._update(out, runs, *short)
        self._wait_for(self.draw.choice(MOMENTS), out, runs, learning)
        learning.kill()
        learning.wait()
        self._end(service)
        self._go_on(out, runs, quiet, short)

    def _update(self, out: Path, runs: Path, *more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "flanrec", "update", "--model", str(self.model), "--store", str(self.store)]
        with (self.place / "log-update").open("wb") as stream:
            asked = [*command, "--out", str(out), "--runs", str(runs), *more]
            return subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=stream)

    def _wait_for(self, moment: str, out: Path, runs: Path, learning: subprocess.Popen[bytes]) -> None:
        """Wait until the update writes what is to be killed, or until a random moment."""
        until = time.monotonic() + (self.draw.uniform(0.5, UPDATE_SECONDS) if moment == "any" else 3 * UPDATE_SECONDS)
        drafts = {"checkpoint": (runs, "*/checkpoints/.*.tmp"), "output": (out.parent, f".{out.name}.*.tmp")}
        before = self.draw.randint(0, 2)  # so many checkpoints are whole when one is being written
        while time.monotonic() < until and learning.poll() is None:
            if moment == "output" or len(list(runs.glob("*/checkpoints/step-*"))) >= before:
                folder, draft = drafts.get(moment, (runs, "no draft"))
                if any(folder.glob(draft)):
                    time.sleep(self.draw.uniform(0, 0.8))
                    break
            time.sleep(0.002)
        ended = "" if learning.poll() is None else ", it had ended"
        self.found.updates[f"killed at: {moment}{ended}"] += 1

    def _go_on(self, out: Path, runs: Path, quiet: bool, short: Sequence[str]) -> None:
        """The same update with ``--resume``: to the end, or a refusal that says why."""
        code = self._update(out, runs, *short, "--resume").wait()
        told = (self.place / "log-update").read_text(encoding="utf-8", errors="replace")
        went_on = "resuming after step" in told or "-done" in told
        refused = re.search(r"(belongs to a run with other|other data or settings)", told)
        if code == 0:
            verify_manifest(out) if out.exists() else None
            self.found.updates["went on" if went_on else "began again"] += 1
        elif refused and not quiet:
            self.found.updates["refused, for the store has changed"] += 1
        else:
            raise SystemExit(f"flanrec update --resume ended with {code}:\n{told[-3_000:]}")
        shutil.rmtree(runs, ignore_errors=True)


def check(place: Path, kept: Acknowledged) -> None:
    """End with what is lost or half, if anything is; and clear the drafts of what was killed away."""
    shelf = Shelf(place / "shelf")
    for name in shelf.folders():
        verify_manifest(shelf.folder(name))
    missing = lost(place / "store.db", kept)
    if missing:
        raise SystemExit(f"after a kill something is lost: {missing}")
    for draft in (place / "shelf").glob(".*.tmp"):
        shutil.rmtree(draft)


def prepare(model: Path, place: Path) -> None:
    """Put the model on the shelf, with checkpoints every second of its updates, and an empty store beside it."""
    Store.open(place / "store.db").close()
    recommender = Recommender.load(model, device="cpu")
    recommender.settings = recommender.settings.model_copy(update={"checkpoint_seconds": 1.0})
    recommender.save_pretrained(place / "shelf" / "first")


def main(arguments: Sequence[str] | None = None) -> None:
    """Kill, look, record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options.add_argument("--longest", type=float, default=8.0, help="seconds of a round")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--json", type=Path, default=None)
    asked = options.parse_args(arguments)
    draw = random.Random(asked.seed)
    earlier = json.loads(asked.json.read_text("utf-8"))["runs"] if asked.json and asked.json.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        prepare(asked.model, place)
        log = pl.read_parquet(asked.model / "interactions.parquet").cast({"user_id": pl.String, "item_id": pl.String})
        users, items = log["user_id"].unique().sort().to_list(), log["item_id"].unique().sort().to_list()
        kept, found, kinds = Acknowledged(users, items), Found(), Counter[str]()
        for number in range(asked.kills):
            kind = asked.kinds[number % len(asked.kinds)]
            begun = time.monotonic()
            Round(number, place, kept, found, draw).play(kind, asked.longest)
            check(place, kept)
            kinds[kind] += 1
            took = time.monotonic() - begun
            print(f"{number + 1}: {kind}, {took:.0f} s, acknowledged so far: {kept.to_dict()}", flush=True)
            write(asked.json, earlier, recorded(asked.seed, kept, found, kinds))
        # What was killed last must start too.
        Round(asked.kills, place, kept, found, draw).play("writing", 0.5)
        check(place, kept)
    run = recorded(asked.seed, kept, found, kinds)
    print(json.dumps(run, indent=1))
    write(asked.json, earlier, run)


def write(path: Path | None, earlier: list[dict[str, Any]], run: dict[str, Any]) -> None:
    """Put a run behind the earlier ones of a record."""
    runs = [*earlier, run]
    write_record(path, {"kills": sum(one["kills"] for one in runs), "lost": 0, "runs": runs})


def recorded(seed: int, kept: Acknowledged, found: Found, kinds: Counter[str]) -> dict[str, Any]:
    """What all rounds so far say; where anything was lost there was no further one."""
    return {
        "machine": machine(), "kills": kinds.total(), "seed": seed, "rounds": dict(kinds),
        "acknowledged": kept.to_dict(), "answers": dict(sorted(found.answers.items())), "updates": dict(found.updates),
        "starts": len(found.starts), "slowest_start_s": round(max(found.starts, default=0.0), 1),
    }  # fmt: skip


if __name__ == "__main__":
    main()
