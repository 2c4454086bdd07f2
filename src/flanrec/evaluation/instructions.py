"""Whether the instruction matters: wishes are followed, new wordings understood, and word order read.

All of it is about the item-token reading with the same histories; only the words change.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Group
from rich.table import Table

from flanrec.catalogue.people import Person
from flanrec.data import Dataset
from flanrec.errors import DataError
from flanrec.metrics import Interval, UserItems, bootstrap_interval, category_share, ndcg, paired_bootstrap
from flanrec.recommender import Asking, Reading, Recommender
from flanrec.recommender.tables import with_items_of

Ints = NDArray[np.int64]
K = 10


@dataclass(frozen=True)
class WishEffect:
    """What a wish for one category does.

    Attributes
    ----------
    share_without, share_with
        Mean share of the category in the top 10 of all asked users.
    fitting
        Users whose test item has the category.
    ndcg_without, ndcg_with
        Mean NDCG@10 of those users.
    """

    category: str
    share_without: float
    share_with: float
    fitting: int
    ndcg_without: float
    ndcg_with: float


@dataclass(frozen=True)
class Contrast:
    """Mean NDCG@10 under two wordings, and the paired difference of the second to the first."""

    first: float
    second: float
    difference: float
    low: float
    high: float

    @classmethod
    def of(cls, first: NDArray[np.float64], second: NDArray[np.float64], seed: int) -> Contrast:
        """Compare two values a user."""
        paired = paired_bootstrap(second, first, seed=seed)
        return cls(float(np.nanmean(first)), float(np.nanmean(second)), paired.value, paired.low, paired.high)


@dataclass(frozen=True)
class InstructionReport:
    """The three measurements.

    Attributes
    ----------
    wishes
        One entry a category, the largest ones.
    templates
        Seen against held-out templates, drawn at random for each user, without a wish.
    wished_templates
        The same with a wish for a category of the test item.
    order
        A wish and an aversion in order against the same words shuffled. The wish is a category of the test
        item, the aversion one it lacks.
    words
        The same wish and aversion against an instruction that says neither.
    """

    users: int
    wishes: list[WishEffect]
    templates: Contrast
    wished_templates: Contrast
    order: Contrast
    words: Contrast
    plain: Interval

    @property
    def share_ratio(self) -> float:
        """By how much wishes multiply a category's share: ratio of the mean shares."""
        without = float(np.mean([effect.share_without for effect in self.wishes]))
        return float(np.mean([effect.share_with for effect in self.wishes])) / without if without else float("inf")

    @property
    def fit_gain(self) -> float:
        """Mean gain in NDCG@10 where the wish fits, over the categories."""
        gains = [effect.ndcg_with - effect.ndcg_without for effect in self.wishes if effect.fitting]
        return float(np.mean(gains)) if gains else float("nan")

    @property
    def held_out_kept(self) -> float:
        """Share of NDCG@10 that unseen wordings keep."""
        return self.templates.second / self.templates.first if self.templates.first else float("nan")

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        body = asdict(self)
        return {
            **body,
            "share_ratio": self.share_ratio,
            "fit_gain": self.fit_gain,
            "held_out_kept": self.held_out_kept,
        }

    def to_table(self) -> Group:
        """For a terminal."""
        wishes = Table(title=f"A wish for one category ({self.users} users, same histories)")
        for name in ("category", "share of top 10", "with the wish", "users it fits", "NDCG@10", "with the wish"):
            wishes.add_column(name, justify="left" if name == "category" else "right")
        for one in self.wishes:
            wishes.add_row(
                one.category,
                f"{one.share_without:.3f}",
                f"{one.share_with:.3f}",
                str(one.fitting),
                f"{one.ndcg_without:.4f}",
                f"{one.ndcg_with:.4f}",
            )
        wishes.caption = f"mean share x{self.share_ratio:.2f}, mean NDCG@10 where it fits {self.fit_gain:+.4f}"
        words = Table(title="The same question in other words, NDCG@10")
        for name in ("wording", "as tuned", "changed", "difference", "95 % interval"):
            words.add_column(name, justify="left" if name == "wording" else "right")
        for label, pair in (
            ("held-out templates", self.templates),
            ("held-out templates, with a wish", self.wished_templates),
            ("wish and aversion, words shuffled", self.order),
            ("wish and aversion, left unsaid", self.words),
        ):
            words.add_row(
                label,
                f"{pair.first:.4f}",
                f"{pair.second:.4f}",
                f"{pair.difference:+.4f}",
                f"[{pair.low:+.4f}, {pair.high:+.4f}]",
            )
        words.caption = f"held-out templates keep {self.held_out_kept:.1%}"
        return Group(wishes, words)


def measure_instructions(
    recommender: Recommender,
    test: Dataset,
    *,
    categories: int = 10,
    users: int | None = None,
    seed: int = 42,
    reading: Reading = "item_tokens",
) -> InstructionReport:
    """Measure what the instruction does on held-out events.

    Parameters
    ----------
    test
        Held-out interactions of items that the recommender knows; each user's first event is the answer.
    categories
        How many of the largest categories are wished for.
    users
        Most users to ask, drawn by `seed`; all by default.
    reading
        Whose lists are looked at; the language model's own by default.

    Raises
    ------
    DataError
        The catalogue has no categories, or the test no users with a history.
    NotFoundError
        The test has items that are not in the catalogue.
    """
    asked = AskedUsers.of(recommender, test, users, seed, reading)
    facets = recommender.parts.facets
    if not facets.n_categories:
        raise DataError("the items have no categories to wish for; give the items table a column category")
    rng = np.random.default_rng(seed)
    plain_items = asked.items(Asking())
    plain = asked.ndcg(plain_items)
    wishes = []
    for column in facets.largest_categories(categories):
        members = facets.members[:, column]
        wish = recommender.parts.prompter.wish_words(facets.names[column])
        items = asked.items(Asking(wish=wish))
        fits = members[asked.answers]
        wishes.append(
            WishEffect(
                facets.names[column],
                float(np.nanmean(category_share(plain_items, members))),
                float(np.nanmean(category_share(items, members))),
                int(fits.sum()),
                float(plain[fits].mean()) if fits.any() else float("nan"),
                float(asked.ndcg(items)[fits].mean()) if fits.any() else float("nan"),
            )
        )
    drawn = Asking(seed=seed)
    said = [said_of(recommender, int(answer), rng) for answer in asked.answers]
    wanted = [replace(one, avoid="") for one in said]
    in_order = asked.ndcg(asked.items(said))
    return InstructionReport(
        users=len(asked.people),
        wishes=wishes,
        templates=Contrast.of(
            asked.ndcg(asked.items(drawn)), asked.ndcg(asked.items(replace(drawn, held_out=True))), seed
        ),
        wished_templates=Contrast.of(
            asked.ndcg(asked.items([replace(one, seed=seed) for one in wanted])),
            asked.ndcg(asked.items([replace(one, seed=seed, held_out=True) for one in wanted])),
            seed,
        ),
        order=Contrast.of(in_order, asked.ndcg(asked.items([replace(one, rewrite=shuffled) for one in said])), seed),
        words=Contrast.of(in_order, plain, seed),
        plain=bootstrap_interval(plain, seed=seed),
    )


def shuffled(prompt: str) -> str:
    """The words of a prompt in an order drawn from the prompt itself.

    >>> sorted(shuffled("one two three").split())
    ['one', 'three', 'two']
    """
    words = prompt.split()
    order = np.random.default_rng(zlib.crc32(prompt.encode())).permutation(len(words))
    return " ".join(words[at] for at in order)


def said_of(recommender: Recommender, answer: int, rng: np.random.Generator) -> Asking:
    """A wish that fits the answer and an aversion that does not, as far as there are any."""
    facets, prompter = recommender.parts.facets, recommender.parts.prompter
    has = facets.members[answer, : facets.n_categories]
    if not has.any():
        return Asking()
    wish = int(rng.choice(np.flatnonzero(has)))
    lacks = np.flatnonzero(~has)
    share = facets.members[:, lacks].sum(axis=0)
    avoid = int(rng.choice(lacks, p=share / share.sum())) if len(lacks) else None
    return Asking(
        wish=prompter.wish_words(facets.names[wish]),
        avoid="" if avoid is None else prompter.wish_words(facets.names[avoid]),
    )


@dataclass(frozen=True)
class AskedUsers:
    """The users of a test who are asked, with the answers.

    Attributes
    ----------
    people
        With the histories that the recommender knows; those without one are left out.
    answers
        int64 [n], the item of each one's first held-out event.
    reading
        Whose lists are looked at.
    """

    recommender: Recommender
    people: list[Person]
    answers: Ints
    reading: Reading

    @classmethod
    def of(cls, recommender: Recommender, test: Dataset, users: int | None, seed: int, reading: Reading) -> AskedUsers:
        """Those of a test, or so many of them drawn by the seed."""
        test = with_items_of(test, recommender.parts.dataset.items)
        ids = test.interactions["user_id"].unique(maintain_order=True).to_list()
        if users is not None and users < len(ids):
            drawn = np.random.default_rng(seed).choice(len(ids), users, replace=False)
            ids = [ids[at] for at in np.sort(drawn)]
        events = test.sequences(ids)
        people = recommender.people(ids)
        kept = [row for row in range(len(ids)) if len(people[row].items) and len(events.of(row))]
        if not kept:
            raise DataError("no user of the test has a history in the model; test with users it was trained on")
        return cls(
            recommender,
            [people[row] for row in kept],
            np.array([events.of(row)[0] for row in kept], dtype=np.int64),
            reading,
        )

    def items(self, asking: Asking | list[Asking]) -> Ints:
        """The ten best items of each user: int64 [n, 10]."""
        return self.recommender.rank(self.people, K, asking, reading=self.reading)[0]

    def ndcg(self, items: Ints) -> NDArray[np.float64]:
        """NDCG@10 of lists: float64 [n]."""
        width = np.full((len(items), K), -1, dtype=np.int64)
        width[:, : items.shape[1]] = items
        return ndcg(width, UserItems.from_lists([[int(answer)] for answer in self.answers]), K)
