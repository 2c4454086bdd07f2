"""Reviews as vectors: what a user writes beside what others wrote of the items."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import mean_states
from flanrec.catalogue.people import Person
from flanrec.catalogue.vectors import DEPTH, unit
from flanrec.instructions.text import clip_words, sanitise

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]

_NEWEST = 5
_MOST = 4000
_REMEMBERED = 20_000
_LETTERS = 300
_TOGETHER = 64
_LOGGED = 500


class ReviewReader:
    """Vectors of texts, three quarters up the encoder; each distinct text is encoded once.

    Parameters
    ----------
    backbone
        Whose encoder reads; make a new reader after tuning it.
    remember
        How many texts to keep; the ones unused the longest go first.
    """

    def __init__(self, backbone: Backbone, *, remember: int = _REMEMBERED) -> None:
        self.backbone = backbone
        self.remember = remember
        self._known: OrderedDict[str, Floats] = OrderedDict()

    @property
    def width(self) -> int:
        """Length of a vector."""
        return int(self.backbone.model.config.d_model)

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Floats:
        """Mean encoder states of the beginnings of some texts: float32 [n_texts, width]."""
        texts = [clip_words(sanitise(text), _LETTERS) for text in texts]
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if len(fresh) > _LOGGED:
            logger.info("reading %d reviews with the encoder", len(fresh))
        for first in range(0, len(fresh), _TOGETHER):
            batch = fresh[first : first + _TOGETHER]
            states = mean_states(self.backbone, batch, depth=DEPTH).float().cpu().numpy()
            # A view would keep its whole batch for as long as one row is remembered.
            self._known.update((text, row.copy()) for text, row in zip(batch, states, strict=True))
        for text in texts:
            self._known.move_to_end(text)
        found = np.array([self._known[text] for text in texts], dtype=np.float32).reshape(len(texts), self.width)
        while len(self._known) > self.remember:
            self._known.popitem(last=False)
        return found


@dataclass(frozen=True, eq=False)
class Reviews:
    """How what a user writes goes with what others wrote of each item.

    A user who writes of the ending is shown what others praise the ending of: reviews are compared with reviews, since
    a title speaks another language. Both sides are means of review vectors, in the manner of Zheng, Noroozi and Yu,
    "Joint deep modeling of users and items using reviews for recommendation" (2017), with nothing left to learn.

    Attributes
    ----------
    items
        float32 [n_items, width], of length one, or zero where nobody wrote anything.
    mean
        float32 [width], of all reviews.
    reader
        Reads the user's.
    """

    items: Floats
    mean: Floats
    reader: ReviewReader

    @classmethod
    def of(cls, persons: Sequence[Person], n_items: int, reader: ReviewReader) -> Reviews | None:
        """Read what people wrote; None where nobody wrote anything.

        Of more than 4,000 reviews the newest are read, or drawn ones where not all have a time: a minute or two on two
        cores.

        Parameters
        ----------
        persons
            Each with what was written beside the events.
        n_items
            Size of the catalogue.
        """
        written = [
            (person.times[place] if person.times is not None else np.nan, int(person.items[place]), text)
            for person in persons
            for place, text in enumerate(person.reviews)
            if text
        ]
        if not written:
            return None
        if len(written) > _MOST:
            times = np.array([time for time, _, _ in written])
            timed = bool(np.isfinite(times).all())
            logger.info("of %d reviews %d are compared, %s", len(written), _MOST, "the newest" if timed else "drawn")
            order = np.argsort(times, kind="stable") if timed else np.random.default_rng(0).permutation(len(times))
            written = [written[at] for at in np.sort(order[-_MOST:])]
        vectors = reader.read([text for _, _, text in written])
        mean = vectors.mean(axis=0)
        sums = np.zeros((n_items, reader.width), dtype=np.float32)
        np.add.at(sums, [item for _, item, _ in written], unit(vectors, mean))
        return cls(_of_length(sums), mean, reader)

    def scores(self, persons: Sequence[Person]) -> Floats:
        """Likeness of each user's five newest reviews to those of every item.

        Returns
        -------
        float32 [n_users, n_items]
            Zeros for users who wrote nothing, and for items of which nobody did, or the user alone may have.
        """
        newest = [[text for text in person.reviews if text][-_NEWEST:] for person in persons]
        means = np.zeros((len(persons), self.items.shape[1]), dtype=np.float32)
        for row, texts in enumerate(newest):
            if texts:
                means[row] = unit(self.reader.read(texts), self.mean).mean(axis=0)
        found = _of_length(means) @ self.items.T
        for row, person in enumerate(persons):
            if person.reviews:
                found[row, person.items[np.array([bool(text) for text in person.reviews])]] = 0
        return np.asarray(found)

    def rested(self) -> Reviews:
        """The same, with nothing of the users read yet."""
        return Reviews(self.items, self.mean, ReviewReader(self.reader.backbone))

    def extended(self, n_items: int) -> Reviews:
        """With further items behind the present ones, of which nobody wrote."""
        more = np.zeros((n_items - len(self.items), self.items.shape[1]), dtype=np.float32)
        return Reviews(np.concatenate([self.items, more]), self.mean, self.reader)


def _of_length(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
