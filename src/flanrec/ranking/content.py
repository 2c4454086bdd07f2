"""Content: how alike items are by text, kind and year, and what that says of items without a past."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from flanrec.candidates.scales import standardised
from flanrec.ranking.pool import Floats, Ints

Doubles = NDArray[np.float64]

_NOISE = 26.0
_LEAST = 0.02
_LOG_SHARE = 0.4
_UNIT = 2.5
_MOST_ANCHORS = 5000
_MOST_PRODUCTS = 4096
_PRODUCTS_AT_ONCE = 1 << 24
_NEWEST = 10


@dataclass(frozen=True, eq=False)
class Content:
    """What items say of themselves.

    Attributes
    ----------
    texts
        float32 [n_items, d], vectors whose products say how alike texts are, at most 1.
    kinds
        float32 [n_items, n_categories], rows of length one or zero.
    years
        float32 [n_items], nan where unknown.
    """

    texts: Floats
    kinds: Floats
    years: Floats

    @classmethod
    def of(cls, texts: Floats, members: NDArray[np.bool_], years: Sequence[int | None]) -> Content:
        """Take categories as bool [n_items, n_categories], and a year or None for each item."""
        lengths = np.sqrt(np.maximum(members.sum(axis=1, keepdims=True), 1)).astype(np.float32)
        known = np.array([np.nan if year is None else year for year in years], dtype=np.float32)
        return cls(texts, members / lengths, known)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def _texts_alike(self) -> Floats | None:
        """Products of all texts, where they fit into memory."""
        return self.texts @ self.texts.T if len(self) <= _MOST_PRODUCTS else None

    def nearest(self, histories: Sequence[Ints]) -> Floats:
        """How like each item's text is to the most alike of the ten newest of each history.

        Returns
        -------
        float32 [n_users, n_items]
            Zeros for an empty history.
        """
        found = np.zeros((len(histories), len(self)), dtype=np.float32)
        newest = [history[-_NEWEST:] for history in histories]
        heard = [row for row, items in enumerate(newest) if len(items)]
        together = max(1, _PRODUCTS_AT_ONCE // (_NEWEST * max(len(self), 1)))
        for first in range(0, len(heard), together):
            rows = heard[first : first + together]
            alike, places = self._alike(np.concatenate([newest[row] for row in rows]))
            ends = np.cumsum([len(newest[row]) for row in rows])
            for row, own in zip(rows, np.split(places, ends[:-1]), strict=True):
                np.max(alike[own], axis=0, out=found[row])
        return found

    def _alike(self, items: Ints) -> tuple[Floats, Ints]:
        """Products of texts with all others, float32 [n, n_items], and the rows in which those of some items are."""
        if self._texts_alike is not None:
            return self._texts_alike, items
        different, places = np.unique(items, return_inverse=True)
        return self.texts[different] @ self.texts.T, places

    def likeness(self, rows: Ints, columns: Ints) -> Doubles:
        """How alike items are: a positive definite kernel, float64 [n_rows, n_columns].

        Sums and products of likeness of text, of kind, and of year at three widths: two items may be alike by one of
        them, or by several at once. The weights were chosen on ML-100K by hiding items of the training log.
        """
        text = self.texts[rows].astype(np.float64) @ self.texts[columns].T.astype(np.float64)
        kind = self.kinds[rows].astype(np.float64) @ self.kinds[columns].T.astype(np.float64)
        apart = self.years[rows, None].astype(np.float64) - self.years[None, columns]
        year, decade, era = (np.nan_to_num(np.exp(-((apart / width) ** 2) / 2)) for width in (1.0, 3.0, 10.0))
        together = (1 + 0.25 * text) * (1 + 2 * kind) * (1 + 0.25 * decade)
        alone = 4 * text**2 + 0.5 * era * (1 + text) + 0.25 * year + 0.25 * (kind > 1 - 1e-6)
        return np.asarray(together + alone)


@dataclass(frozen=True, eq=False)
class Newcomers:
    """Says how items without a past would score, from the scores of items with one.

    Kernel ridge regression: a user's scores of the known items are a function of their content, which is continued to
    the new ones (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 2.3). So everything
    that behaviour says of old items reaches new ones: how popular they will be, and with whom.

    Attributes
    ----------
    content
        Of all items, old and new.
    anchors
        int64 [n_anchors], the items whose scores are continued: those with the most events, at most 5,000.
    """

    content: Content
    anchors: Ints

    @classmethod
    def of(cls, content: Content, counts: NDArray[np.int64]) -> Newcomers:
        """Take int64 [n_known] events of the known items, which are the first of the content."""
        most_met = np.argsort(-counts, kind="stable")[:_MOST_ANCHORS]
        return cls(content, np.sort(most_met[counts[most_met] > 0]))

    @cached_property
    def _weights(self) -> Floats:
        """What each anchor's score weighs for each item: float32 [n_items, n_anchors].

        An anchor is told by the others alone, as if it had no past (Rasmussen and Williams, equation 5.12).
        """
        alike = self.content.likeness(self.anchors, self.anchors)
        alike[np.diag_indices_from(alike)] += _NOISE
        inverse = linalg.inv(alike)
        weights = self.content.likeness(np.arange(len(self.content)), self.anchors) @ inverse
        own = -inverse / np.diagonal(inverse)[:, None]
        np.fill_diagonal(own, 0)
        weights[self.anchors] = own
        return np.asarray(weights, dtype=np.float32)

    def scores(self, heard: Floats, log_shares: Floats) -> Floats:
        """What users would make of items if nobody had met them.

        Parameters
        ----------
        heard
            float32 [n_users, n_known], what EASE says of the known items; zeros for a user without events, to whom
            items are ranked by the popularity that is expected of them.
        log_shares
            float32 [n_known], logs of the known items' shares of all events.

        Returns
        -------
        float32 [n_users, n_items]
            Log-odds of coming next among new items, up to a constant of each user.
        """
        old = heard[:, self.anchors]
        logs = standardised(np.log(np.maximum(old, 0) + np.float32(_LEAST)))
        told = (1 - _LOG_SHARE) * standardised(old) + _LOG_SHARE * logs
        told[~heard.any(axis=1)] = standardised(log_shares[None, self.anchors])
        return np.asarray(_UNIT * (told @ self._weights.T), dtype=np.float32)
