"""Watching a run of other processes by the curves that it writes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flanrec.tuning import Evaluation, ProgressBar, StepRecord

_PAUSE = 0.5


@contextmanager
def following(folder: Path) -> Iterator[None]:
    """Show on stderr how each stage goes whose ``STAGE.jsonl`` grows in a folder, while the block runs."""
    over = threading.Event()
    # What an earlier run left is not told again, but for the part that this one makes anew.
    told = {path: _last(_facts(path)) for path in folder.glob("*.jsonl")}
    watch = threading.Thread(target=_watch, args=(folder, told, over), daemon=True)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()


def _watch(folder: Path, told: dict[Path, tuple[int, bool]], over: threading.Event) -> None:
    bars: dict[Path, ProgressBar] = {}
    done = False
    while not done:
        done = over.wait(_PAUSE)  # the last look comes after the end
        for path in sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime):
            facts = _facts(path)
            if path in told and _last(facts) < told[path]:
                told[path] = _last(facts)  # workers that died: their followers go on from a checkpoint
            for fact in facts:
                if _place(fact) <= told.get(path, (0, False)):
                    continue
                told[path] = _place(fact)
                bar = bars.setdefault(path, ProgressBar(path.stem.replace("-", " ")))
                kind = fact.pop("event")
                if kind == "step":
                    bar.on_step(StepRecord(**fact))
                else:
                    bar.on_evaluation(Evaluation(**fact))
    for bar in bars.values():
        bar.close()


def _facts(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a curve; one that is being written is left for later."""
    facts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            facts.append(json.loads(line))
        except ValueError:
            break
    return facts


def _place(fact: dict[str, Any]) -> tuple[int, bool]:
    return fact["step"], fact["event"] == "evaluation"


def _last(facts: list[dict[str, Any]]) -> tuple[int, bool]:
    return _place(facts[-1]) if facts else (0, False)
