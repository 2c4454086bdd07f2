"""What typos and unseen wordings cost: NDCG@10 of the readings and the AUC of match, clean and changed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from flanrec.catalogue.people import Person
from flanrec.data import Dataset
from flanrec.evaluation.instructions import AskedUsers, said_of
from flanrec.evaluation.models import drawn_users, has_ratings, in_catalogue
from flanrec.instructions.typos import with_typos
from flanrec.metrics import auc, bootstrap_statistic
from flanrec.metrics.intervals import interval_of, resampled_means
from flanrec.recommender import Asking, Calibration, Reading, Recommender
from flanrec.recommender.readings import MatchReading

TYPOS, HELD_OUT = "typos", "held-out templates"
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Drop:
    """What a change of the words costs.

    Attributes
    ----------
    reading
        ``generate``, ``item tokens``, ``item tokens with a wish`` or ``match``.
    metric
        ``ndcg@10``, or ``auc`` over all pairs.
    condition
        `TYPOS` or `HELD_OUT`.
    clean, changed
        The metric without and with the change.
    drop, low, high
        ``1 - changed / clean``, and its 95 % interval over draws of users, who are the same in both. Draws in which
        clean is zero are left out; where it is zero itself, there is no drop (nan).
    count
        Users.
    """

    reading: str
    metric: str
    condition: str
    clean: float
    changed: float
    drop: float
    low: float
    high: float
    count: int


@dataclass(frozen=True)
class RobustnessReport:
    """What every change costs every reading; `typos` is the share of words that were mistyped."""

    typos: float
    drops: tuple[Drop, ...]

    def of(self, reading: str, condition: str) -> Drop:
        """One of the drops.

        Raises
        ------
        KeyError
            It was not measured.
        """
        for one in self.drops:
            if (one.reading, one.condition) == (reading, condition):
                return one
        raise KeyError((reading, condition))

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def to_table(self) -> Table:
        """For a terminal."""
        table = Table(title=f"What changed words cost ({self.typos:.0%} of the words mistyped, or unseen templates)")
        for name in ("reading", "change", "metric", "clean", "changed", "relative drop", "95 % interval"):
            table.add_column(name, justify="left" if name in ("reading", "change", "metric") else "right")
        for one in self.drops:
            table.add_row(
                one.reading, one.condition, one.metric, f"{one.clean:.4f}", f"{one.changed:.4f}",
                f"{one.drop:+.1%}", f"[{one.low:+.1%}, {one.high:+.1%}]",
            )  # fmt: skip
        return table


def measure_robustness(
    recommender: Recommender,
    test: Dataset,
    *,
    readings: Sequence[Reading] = ("generate", "item_tokens"),
    users: int | None = None,
    typos: float = 0.2,
    seed: int = 42,
    progress: Progress | None = None,
) -> RobustnessReport:
    """Ask the same users in clean and in changed words, and compare.

    Clean words are those of templates that tuning saw, drawn for each user; typos are in all words of these prompts,
    titles too; held-out templates are drawn among those that tuning did not see. Item tokens, whose history is not in
    words, are also asked with a wish for a category of the answer, where there are categories. Of match, whose pairs
    are the rated held-out events, the T5's log odds count as tuning left them, beside those of the like rates: what
    calibration makes of them afterwards is another question.

    Parameters
    ----------
    test
        Held-out interactions of items that the recommender knows; each user's first event is the answer of rankings.
    users
        Most users to ask, drawn by `seed`; all by default.
    typos
        Share of the words of four letters and more that are mistyped.
    progress
        Called with 1 after each round of questions.

    Raises
    ------
    DataError
        The test has no users with a history.
    NotFoundError
        The test has items that are not in the catalogue.
    """
    clean = Asking(seed=seed)
    changes = {TYPOS: replace(clean, rewrite=partial(mistyped, rate=typos)), HELD_OUT: replace(clean, held_out=True)}
    drops: list[Drop] = []

    def told() -> None:
        if progress is not None:
            progress(1)

    def rankings(name: str, asked: AskedUsers, wishes: Sequence[str]) -> None:
        def values(asking: Asking) -> NDArray[np.float64]:
            found = asked.ndcg(asked.items([replace(asking, wish=wish) for wish in wishes]))
            told()
            return found

        plain = values(clean)
        drops.extend(
            _drop_of_means(name, condition, plain, values(asking), seed) for condition, asking in changes.items()
        )

    for reading in readings:
        asked = AskedUsers.of(recommender, test, users, seed, reading)
        name = reading.replace("_", " ")
        rankings(name, asked, [""] * len(asked.people))
        if reading == "item_tokens" and recommender.parts.facets.n_categories:
            rng = np.random.default_rng(seed)
            rankings(f"{name} with a wish", asked, [said_of(recommender, int(at), rng).wish for at in asked.answers])
    if has_ratings(test):
        pairs = AskedPairs.of(recommender, test, users, seed)
        before = pairs.chances(clean)
        told()
        for condition, asking in changes.items():
            drops.append(pairs.drop(condition, before, pairs.chances(asking), seed))
            told()
    return RobustnessReport(typos, tuple(drops))


def mistyped(prompt: str, rate: float) -> str:
    """A prompt with typos that follow from the prompt itself.

    >>> mistyped("Recommend the next movie.", 1.0) == mistyped("Recommend the next movie.", 1.0)
    True
    """
    return with_typos(prompt, np.random.default_rng(zlib.crc32(prompt.encode())), rate)


@dataclass(frozen=True)
class AskedPairs:
    """Rated held-out events as questions of match, answered by the T5 as tuning left it.

    Attributes
    ----------
    owners : int64 [n]
        The user of each, counted from 0.
    liked : bool [n]
    """

    recommender: Recommender
    owners: NDArray[np.int64]
    items: NDArray[np.int64]
    liked: NDArray[np.bool_]
    people: list[Person]

    @classmethod
    def of(cls, recommender: Recommender, test: Dataset, users: int | None, seed: int) -> AskedPairs:
        """Those of a test with ratings, or of so many of its users, drawn by the seed."""
        test = in_catalogue(recommender, test)
        ids = drawn_users(test, users, seed)
        events = test.sequences(ids)
        rated = ~np.isnan(events.ratings)
        owners = np.repeat(np.arange(len(ids)), np.diff(events.offsets))[rated]
        liked = events.ratings[rated] >= recommender.settings.liked_rating
        return cls(recommender, owners, events.items[rated], liked, recommender.people(ids))

    def chances(self, asking: Asking) -> NDArray[np.float64]:
        """The probability of yes by like rates and the T5's log odds, without calibration: float64 [n]."""
        parts, plain = self.recommender.parts, Calibration()
        reading = MatchReading(self.recommender.engine, parts.prompter, parts.rates, plain)
        pairs = [self.people[owner] for owner in self.owners]
        return plain.probabilities(*reading.odds(pairs, self.items.tolist(), asking=asking))

    def drop(self, condition: str, clean: NDArray[np.float64], changed: NDArray[np.float64], seed: int) -> Drop:
        """What a change of the words costs of the AUC."""

        def lost(rows: NDArray[np.int64]) -> float:
            return float(_relative(auc(self.liked[rows], clean[rows]), auc(self.liked[rows], changed[rows])))

        found = bootstrap_statistic(lost, self.owners, seed)
        first, second = auc(self.liked, clean), auc(self.liked, changed)
        return Drop("match", "auc", condition, first, second, found.value, found.low, found.high, found.count)


def _drop_of_means(
    reading: str, condition: str, clean: NDArray[np.float64], changed: NDArray[np.float64], seed: int
) -> Drop:
    drawn = resampled_means(np.stack([clean, changed], axis=1), seed)
    first, second = float(clean.mean()), float(changed.mean())
    lost = _relative(drawn[:, 0], drawn[:, 1])
    found = interval_of(float(_relative(first, second)), lost[np.isfinite(lost)], len(clean))
    return Drop(reading, "ndcg@10", condition, first, second, found.value, found.low, found.high, found.count)


def _relative(clean: Any, changed: Any) -> Any:
    """How much of a value is lost; nan where there was none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(clean) > 0, 1 - np.divide(changed, clean), np.nan)
