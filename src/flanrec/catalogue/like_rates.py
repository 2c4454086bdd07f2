"""How often a user likes things and how often a thing is liked: the odds of yes without any words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.data.profiles import LIKED_RATING
from flanrec.data.sequences import Sequences

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LikeRates:
    """Smoothed like rates of items, and the odds they give a pair.

    With ratings, the log odds of a pair are ``logit(user's rate) + logit(item's rate) - logit(overall
    rate)``, each rate smoothed towards the overall one. Without ratings, an event is a yes and the other
    side is an item drawn at random, so the log odds are those of the item's popularity:
    ``log(share of the item) + log(number of items)``.

    Attributes
    ----------
    likes, counts
        float64 [n_items], likes and rated events of each item; without ratings, events in both.
    overall
        Share of likes among all rated events; nan without ratings.
    user_smoothing, item_smoothing
        How many average events each rate is mixed with.
    """

    likes: Floats
    counts: Floats
    overall: float
    user_smoothing: float = 10.0
    item_smoothing: float = 10.0

    @classmethod
    def of(cls, sequences: Sequences, liked_rating: float = LIKED_RATING) -> LikeRates:
        """Count the likes of a log."""
        n_items = len(sequences.item_ids)
        rated = ~np.isnan(sequences.ratings)
        if not rated.any():
            counts = np.bincount(sequences.items, minlength=n_items).astype(np.float64)
            return cls(counts, counts, float("nan"))
        items, liked = sequences.items[rated], sequences.ratings[rated] >= liked_rating
        counts = np.bincount(items, minlength=n_items).astype(np.float64)
        likes = np.bincount(items, weights=liked, minlength=n_items).astype(np.float64)
        # One like and one dislike more keep the odds finite where everything is liked.
        return cls(likes, counts, float((liked.sum() + 1) / (len(liked) + 2)))

    @property
    def rated(self) -> bool:
        """Whether the log has ratings."""
        return not np.isnan(self.overall)

    def log_odds(
        self,
        items: Ints,
        user_likes: Floats,
        user_counts: Floats,
        *,
        without: NDArray[np.bool_] | None = None,
    ) -> Floats:
        """Log odds of yes for pairs.

        Parameters
        ----------
        items
            int64 [n], catalogue indices.
        user_likes, user_counts
            float64 [n], likes and rated events of each pair's user; without ratings they do not count.
        without
            bool [n], the answers of these very pairs where they are part of the counts: they are taken
            out of both rates, so that an answer never speaks for itself.

        Returns
        -------
        float64 [n]
        """
        likes, counts = self.likes[items], self.counts[items]
        if not self.rated:
            own = np.zeros(len(items)) if without is None else without.astype(np.float64)
            total = self.counts.sum() + len(self.counts)
            odds: Floats = np.log((counts - own + 1) / (total - own)) + np.log(len(self.counts))
            return odds
        if without is not None:
            own = without.astype(np.float64)
            likes, counts = likes - own, counts - 1
            user_likes, user_counts = user_likes - own, user_counts - 1
        base = _logit(np.full(len(items), self.overall))
        item = _logit((likes + self.item_smoothing * self.overall) / (counts + self.item_smoothing))
        user = _logit((user_likes + self.user_smoothing * self.overall) / (user_counts + self.user_smoothing))
        return item + user - base


def _logit(rates: Floats) -> Floats:
    return np.log(rates) - np.log1p(-rates)
