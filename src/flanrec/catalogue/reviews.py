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
from flanrec.catalogue.vectors import unit

logger = logging.getLogger(__name__)

Floats = NDArray[np.float32]

_DEPTH = 0.75
_NEWEST = 10
_MOST = 20_000
_REMEMBERED = 50_000


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
        """Mean encoder states: float32 [n_texts, width]."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._known]
        if fresh:
            states = mean_states(self.backbone, fresh, depth=_DEPTH).float().cpu().numpy()
            self._known.update(zip(fresh, states, strict=True))
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
        """Read what people wrote, the newest 20,000 reviews where there are more; None where nobody wrote anything."""
        written = [
            (person.times[place] if person.times is not None else np.nan, int(person.items[place]), text)
            for person in persons
            for place, text in enumerate(person.reviews)
            if text
        ]
        if not written:
            return None
        if len(written) > _MOST:
            logger.info("of %d reviews the newest %d are compared", len(written), _MOST)
            order = np.argsort(np.nan_to_num([time for time, _, _ in written]), kind="stable")[-_MOST:]
            written = [written[at] for at in order]
        vectors = reader.read([text for _, _, text in written])
        mean = vectors.mean(axis=0)
        sums = np.zeros((n_items, reader.width), dtype=np.float32)
        np.add.at(sums, [item for _, item, _ in written], unit(vectors, mean))
        return cls(_of_length(sums), mean, reader)

    def scores(self, persons: Sequence[Person]) -> Floats:
        """Likeness of each user's ten newest reviews to those of every item.

        Returns
        -------
        float32 [n_users, n_items]
            Zeros for users who wrote nothing, and for items of which nobody did.
        """
        newest = [[text for text in person.reviews if text][-_NEWEST:] for person in persons]
        means = np.zeros((len(persons), self.items.shape[1]), dtype=np.float32)
        for row, texts in enumerate(newest):
            if texts:
                means[row] = unit(self.reader.read(texts), self.mean).mean(axis=0)
        return np.asarray(_of_length(means) @ self.items.T)

    def extended(self, n_items: int) -> Reviews:
        """With further items behind the present ones, of which nobody wrote."""
        more = np.zeros((n_items - len(self.items), self.items.shape[1]), dtype=np.float32)
        return Reviews(np.concatenate([self.items, more]), self.mean, self.reader)


def _of_length(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)
