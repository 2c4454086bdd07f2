"""What continual learning gives, forgets and costs, over slices of time.

    python benchmarks/continual.py --preset balanced --folder runs/continual --json record.json
    python benchmarks/continual.py --quick

The log is cut by time: the first part is the base, the rest comes in slices of as many events each. An item comes with
the slice of its first event. After each slice but the last three models are asked about the next one:

* never: the base model; it knows what happened since as histories alone, and has learnt none of it;
* update: the model of the slice before, after `Recommender.update` with this slice;
* again: a model fitted from the start on everything up to now.

Of MovieLens-100K's users most appear in one burst, so that whoever acts in a slice is mostly new in it. All models are
therefore asked at moments within the slice: up to five events of each of its users, evenly spaced among those that are
not the user's first, each from the user's history up to then, whichever slice it was in. An answer that a model does
not know, because its item came later, is a miss. Forgetting is measured on the last three events of each user of the
base with at least six, each from the history before it; no model ever learns these events. Values are NDCG@10 over the
whole catalogue without what the user had, the mean over users of the mean over their moments, by each reading that was
tuned; seconds are those of `fit` and `update`, without loading and saving. The record has under "together" the means
over all slices.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import flanrec
from flanrec.catalogue.people import Person, people
from flanrec.metrics import UserItems, bootstrap_interval, ndcg, paired_bootstrap
from flanrec.recommender import Reading, Recommender, RecommenderSettings, UpdateSettings
from quality import machine
from timing import write_record

METHODS = ("never", "update", "again")
READINGS: tuple[Reading, ...] = ("fused", "item_tokens", "generate")
MOMENTS = 5
HELD = 3
SPELLED = 150
K = 10


@dataclass(frozen=True)
class Asked:
    """Moments of users: what each had done, and what came next; items are indices of the whole catalogue."""

    users: NDArray[np.int64]
    persons: list[Person]
    answers: NDArray[np.int64]

    def reached(self, model: Recommender, catalogue: Sequence[Any], reading: Reading) -> NDArray[np.float64]:
        """NDCG@10 of a model, the mean over each user's moments: float64 [n_users], nan where none was asked about.

        Spelling takes long: it is asked about `SPELLED` moments, evenly chosen.
        """
        rows = np.arange(len(self.persons))
        if reading == "generate" and len(rows) > SPELLED:
            rows = np.linspace(0, len(rows) - 1, SPELLED).astype(np.int64)
        index = {item: at for at, item in enumerate(model.parts.catalogue.item_ids)}
        places = np.array([index.get(item, -1) for item in catalogue])
        right = places[self.answers[rows]]
        items, _ = model.rank([_known(self.persons[row], places) for row in rows.tolist()], K, reading=reading)
        found = np.nan_to_num(ndcg(items, UserItems.from_lists([[at] if at >= 0 else [] for at in right.tolist()]), K))
        n_users = int(self.users.max()) + 1
        counts = np.bincount(self.users[rows], minlength=n_users)
        return np.where(counts, np.bincount(self.users[rows], found, n_users) / np.maximum(counts, 1), np.nan)


def _known(person: Person, places: NDArray[np.int64]) -> Person:
    """A person as a model knows them that lacks some items."""
    kept = places[person.items] >= 0
    times = None if person.times is None else person.times[kept]
    return Person(places[person.items[kept]], person.ratings[kept], person.attributes, times)


@dataclass(frozen=True)
class Course:
    """A log cut by time."""

    data: flanrec.Dataset
    edges: list[float]
    """Where each slice begins; the base is what comes before the first."""

    @classmethod
    def cut(cls, data: flanrec.Dataset, base: float, slices: int) -> Course:
        """A share of the events is the base; the rest comes in slices of as many events."""
        times = np.sort(data.interactions["timestamp"].to_numpy())
        shares = base + (1 - base) * np.arange(slices) / slices
        return cls(data, [float(times[round(share * len(times))]) for share in shares])

    @cached_property
    def held(self) -> pl.DataFrame:
        """The last `HELD` events of each user of the base with at least twice as many."""
        base = self.data.interactions.filter(pl.col("timestamp") < self.edges[0])
        ordered = base.sort("user_id", "timestamp", "row").with_columns(
            pl.len().over("user_id").alias("events"),
            pl.int_range(pl.len()).reverse().over("user_id").alias("from_end"),
        )
        return ordered.filter((pl.col("events") >= 2 * HELD) & (pl.col("from_end") < HELD))

    def until(self, number: int) -> flanrec.Dataset:
        """All up to slice `number`, 0 for the base, with the items met so far and without the held events."""
        events = self.data.interactions
        if number < len(self.edges):
            events = events.filter(pl.col("timestamp") < self.edges[number])
        met = self.data.items["item_id"].is_in(events["item_id"].unique().implode())
        events = events.filter(~pl.col("row").is_in(self.held["row"].implode()))
        return replace(self.data.with_interactions(events), items=self.data.items.filter(met))

    def arrived(self, number: int) -> pl.DataFrame:
        """The events of slice `number`, from 1."""
        before, now = self.until(number - 1).interactions, self.until(number).interactions
        return now.filter(~pl.col("row").is_in(before["row"].implode()))

    def moments(self, number: int) -> Asked:
        """What is asked about slice `number`."""
        rows = set(self.arrived(number)["row"].to_list())
        ordered = self.data.interactions.filter(~pl.col("row").is_in(self.held["row"].implode()))
        ordered = ordered.sort("user_id", "timestamp", "row")
        places: dict[Any, list[int]] = {}
        seen: dict[Any, int] = {}
        for user, row in ordered.select("user_id", "row").iter_rows():
            if row in rows and seen.get(user, 0):
                places.setdefault(user, []).append(seen[user])
            seen[user] = seen.get(user, 0) + 1
        log = self.data.with_interactions(ordered.sort("row"))
        return _asked(people(log, list(places)), [_spread(found) for found in places.values()])

    def old(self) -> Asked:
        """What is asked about the base."""
        base = self.data.with_interactions(self.data.interactions.filter(pl.col("timestamp") < self.edges[0]))
        persons = people(base, self.held["user_id"].unique(maintain_order=True).to_list())
        return _asked(persons, [range(len(person.items) - HELD, len(person.items)) for person in persons])


def _spread(places: list[int]) -> list[int]:
    chosen = np.linspace(0, len(places) - 1, min(MOMENTS, len(places))).round().astype(int)
    return [places[at] for at in chosen]


def _asked(persons: Sequence[Person], places: Sequence[Sequence[int]]) -> Asked:
    users = np.repeat(np.arange(len(persons)), [len(one) for one in places])
    before = [person.before(place) for person, one in zip(persons, places, strict=True) for place in one]
    answers = [person.items[place] for person, one in zip(persons, places, strict=True) for place in one]
    return Asked(users, before, np.array(answers, dtype=np.int64))


def main(arguments: Sequence[str] | None = None, data: flanrec.Dataset | None = None) -> dict[str, Any]:
    """Go through the slices, print a table, record."""
    asked = parse(arguments)
    torch.set_num_threads(asked.threads)
    data = flanrec.load_dataset("ml-100k") if data is None else data
    settings = RecommenderSettings.preset(asked.preset, noun=asked.noun, nouns=asked.nouns, seed=asked.seed)
    settings = settings.model_copy(update=_changed(settings, asked))
    course = Course.cut(data, asked.base, asked.slices)
    updating = UpdateSettings.model_validate(json.loads(asked.settings) | {"seed": asked.seed})
    record: dict[str, Any] = {
        "preset": asked.preset, "data": data.name, "machine": machine(), "settings": settings.model_dump(mode="json"),
        "update": updating.model_dump(mode="json"), "slices": [],
    }  # fmt: skip
    shelf = Shelf(asked.folder, asked.backbone, settings)
    base, seconds = shelf.fitted("base", course.until(0))
    old, catalogue = course.old(), data.items["item_id"].to_list()
    readings = [reading for reading in asked.readings if reading == "fused" or _tuned(settings, reading)]
    record["base"] = {"events": base.parts.dataset.interactions.height, "seconds": seconds}
    updated, measured = base, Measured({reading: [] for reading in readings})
    for number in range(1, min(asked.slices, asked.until or asked.slices)):
        now, arrived = course.until(number), course.arrived(number)
        updated, update_seconds, told = shelf.updated(f"update-{number}", updated, now, arrived, updating)
        models, spent = {"never": base, "update": updated}, {"never": 0.0, "update": update_seconds}
        if not asked.leave_out_again:
            models["again"], spent["again"] = shelf.fitted(f"again-{number}", now)
        moments, before = course.moments(number + 1), course.until(number - 1)
        for reading in readings:
            found: list[ByMethod] = [{}, {}]
            for name, model in models.items():
                for by_method, what, about in zip(found, ("new", "old"), (moments, old), strict=True):
                    ask = partial(about.reached, model, catalogue, reading)
                    by_method[name] = shelf.remembered(f"{what}-{number}-{name}-{reading}", ask)
            measured.values[reading].append((found[0], found[1]))
        row = {
            "slice": number,
            "events": arrived.height,
            "users": arrived["user_id"].n_unique(),
            "new_users": len(set(arrived["user_id"].to_list()) - set(before.user_ids)),
            "new_items": now.items.height - before.items.height,
            "moments": len(moments.answers),
            "seconds": spent,
            "update": told,
            "readings": {reading: figures(*measured.values[reading][-1]) for reading in readings},
        }
        record["slices"].append(row)
        record["together"] = {
            "readings": {reading: figures(*measured.together(reading)) for reading in readings},
            "seconds": {name: sum(one["seconds"][name] for one in record["slices"]) for name in models},
        }
        write_record(asked.json, record)
    for reading in readings:
        Console(width=120).print(table(record, reading))
    return record


ByMethod = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Measured:
    """What each method reached, by reading, slice after slice: on the next slice, and on the old events."""

    values: dict[Reading, list[tuple[ByMethod, ByMethod]]]

    def together(self, reading: Reading) -> tuple[ByMethod, ByMethod]:
        """All slices as one: their users side by side, and of each user of the old events the mean over the slices."""
        new, old = zip(*self.values[reading], strict=True)
        return (
            {name: np.concatenate([one[name] for one in new]) for name in new[0]},
            {name: np.mean([one[name] for one in old], axis=0) for name in old[0]},
        )


def figures(new: ByMethod, old: ByMethod) -> dict[str, Any]:
    """What each method reaches, beside never updating; lists are a value and its interval."""
    found: dict[str, Any] = {}
    for name in new:
        reached = bootstrap_interval(new[name])
        told: dict[str, Any] = {"new": [reached.value, reached.low, reached.high], "old": float(np.nanmean(old[name]))}
        if name != "never":
            gain, change = paired_bootstrap(new[name], new["never"]), paired_bootstrap(old[name], old["never"])
            told |= {
                "gain": [gain.value, gain.low, gain.high],
                "change_of_old": [change.value, change.low, change.high],
            }
        found[name] = told
    return found


def _tuned(settings: RecommenderSettings, reading: Reading) -> bool:
    return settings.words.steps > 0 if reading == "generate" else settings.tokens.passes > 0


class Shelf:
    """Fits and updates, and keeps what it made, so that a killed benchmark goes on."""

    def __init__(self, folder: Path | None, backbone: str | None, settings: RecommenderSettings) -> None:
        self.folder, self.backbone, self.settings = folder, backbone, settings

    def fitted(self, name: str, data: flanrec.Dataset) -> tuple[Recommender, float]:
        """A model fitted from the start, and its seconds."""
        kept = self._kept(name)
        if kept is not None:
            return kept[0], kept[1]["seconds"]
        model = Recommender.from_pretrained(self.backbone, self.settings)
        begun = time.perf_counter()
        model.fit(data)
        seconds = time.perf_counter() - begun
        return self._keep(name, model, {"seconds": seconds}), seconds

    def updated(
        self, name: str, model: Recommender, now: flanrec.Dataset, arrived: pl.DataFrame, settings: UpdateSettings
    ) -> tuple[Recommender, float, dict[str, Any]]:
        """A model after an update, its seconds, and what the update told; the given one stays as it is."""
        kept = self._kept(name)
        if kept is not None:
            return kept[0], kept[1]["seconds"], kept[1]["told"]
        grown = Recommender(model.backbone, model.settings)
        grown.adopt(model.parts)
        begun = time.perf_counter()
        told = grown.update(arrived, now.items, now.users, settings=settings).to_dict()
        seconds = time.perf_counter() - begun
        return self._keep(name, grown, {"seconds": seconds, "told": told}), seconds, told

    def remembered(self, name: str, make: Callable[[], NDArray[np.float64]]) -> NDArray[np.float64]:
        """What was measured."""
        path = None if self.folder is None else self.folder / f"{name}.npy"
        if path is not None and path.is_file():
            return np.asarray(np.load(path, allow_pickle=False))
        made = make()
        if path is not None:
            np.save(path, made, allow_pickle=False)
        return made

    def _kept(self, name: str) -> tuple[Recommender, dict[str, Any]] | None:
        if self.folder is None or not (self.folder / name / "manifest.json").is_file():
            return None
        told = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        return Recommender.load(self.folder / name, device="cpu"), told

    def _keep(self, name: str, model: Recommender, told: dict[str, Any]) -> Recommender:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")
            model.save_pretrained(self.folder / name)
        return model


def table(record: dict[str, Any], reading: Reading) -> Table:
    """A row a slice and method, and at last all slices together."""
    base = record["base"]
    title = f"{reading}, preset {record['preset']}: base of {base['events']:,} events, {base['seconds']:.0f} s"
    view = Table(title=title)
    for name in ("slice", "events", "new users", "new items", "method", "next slice", "gain", "old", "change", "s"):
        view.add_column(name, justify="left" if name == "method" else "right", no_wrap=name == "gain")
    for row in [*record["slices"], record["together"]]:
        for name, found in row["readings"][reading].items():
            first = name == METHODS[0]
            facts = [str(row.get(key, "")) for key in ("slice", "events", "new_users", "new_items")]
            lost = found.get("change_of_old", [0.0])[0] / max(row["readings"][reading]["never"]["old"], 1e-9)
            refused = " (refused)" if name == "update" and not row.get("update", {"accepted": True})["accepted"] else ""
            view.add_row(
                *(facts if first else [""] * 4), name + refused, f"{found['new'][0]:.4f}",
                "" if first else f"{found['gain'][0]:+.4f} [{found['gain'][1]:+.3f}, {found['gain'][2]:+.3f}]",
                f"{found['old']:.4f}", "" if first else f"{lost:+.1%}", f"{row['seconds'][name]:.0f}",
            )  # fmt: skip
    return view


def _changed(settings: RecommenderSettings, asked: argparse.Namespace) -> dict[str, Any]:
    """Shorter tuning, where that was asked for."""
    changed: dict[str, Any] = {}
    if asked.steps is not None:
        changed["words"] = settings.words.model_copy(update={"steps": asked.steps})
    if asked.passes is not None:
        changed["tokens"] = settings.tokens.model_copy(update={"passes": asked.passes})
    return changed


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Options."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--preset", default="balanced")
    options.add_argument("--quick", action="store_true", help="preset fast, two slices: a minute")
    options.add_argument("--steps", type=int, default=None, help="of the T5, in place of the preset's")
    options.add_argument("--passes", type=float, default=None, help="of the item tokens, in place of the preset's")
    options.add_argument("--readings", nargs="+", choices=READINGS, default=READINGS, help="measure only these")
    options.add_argument("--settings", default="{}", help="UpdateSettings as JSON")
    options.add_argument("--base", type=float, default=0.5, help="share of the events in the base")
    options.add_argument("--slices", type=int, default=4)
    options.add_argument("--until", type=int, default=None, help="ask about no slice after this one")
    options.add_argument("--leave-out-again", action="store_true", help="do not fit again from the start")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--backbone", default=None)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--noun", default="movie", help="what an item is called in prompts")
    options.add_argument("--nouns", default="movies")
    options.add_argument("--folder", type=Path, default=None, help="keep the models here, and go on from them")
    options.add_argument("--json", type=Path, default=None, help="write the record here, again after every slice")
    asked = options.parse_args(arguments)
    if asked.quick:
        asked.preset, asked.slices = "fast", 2
    return asked


if __name__ == "__main__":
    main()
