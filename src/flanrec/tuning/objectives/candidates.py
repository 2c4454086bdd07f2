"""Several candidate titles of one prompt, scored in one decoder row; the encoder runs once a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.objectives.forks import NEVER, Forks, TrieForks
from flanrec.tuning.packing import Asked, asked


@dataclass(frozen=True)
class Choice:
    """One instruction and the items among which it is a choice, in any order.

    Attributes
    ----------
    prompt
        What the encoder reads, once for all candidates.
    items
        Catalogue indices of the candidates, each once.
    grades
        How good each of them is; the objective says on which scale.
    excluded
        Items that cannot be the answer, such as those a user has seen; none of `items`.
    corrections
        Log of how often each candidate is expected among such draws; empty where that does not count.
    """

    prompt: str
    items: tuple[int, ...]
    grades: tuple[float, ...]
    excluded: tuple[int, ...] = ()
    corrections: tuple[float, ...] = ()


class PreparedChoices(NamedTuple):
    """Choices for the model, in main memory.

    Attributes
    ----------
    asked : Asked
        The prompts, and their candidates' titles up to the last fork of each.
    title : int64 [n_tokens]
        The candidate that each said token belongs to, as a place in the flat rectangle of choices and candidates.
    label : int64 [n_tokens]
        The place of each said token among the trie's.
    forks : Forks
        On the way to the candidates, each once a choice.
    shares : float32 [n_choices, n_candidates]
        Log share of the item among those of its title; -inf where there is no candidate.
    grades, corrections : float32 [n_choices, n_candidates]
        Zeros where there is no candidate.
    """

    asked: Asked
    title: Tensor
    label: Tensor
    forks: Forks
    shares: Tensor
    grades: Tensor
    corrections: Tensor

    @property
    def present(self) -> Tensor:
        """Where there is a candidate: bool [n_choices, n_candidates]."""
        return self.shares > -math.inf


class CandidateScorer:
    """Log-probabilities of candidates among all open items, as generation's ``trie`` normalisation has them.

    A title's tokens are each chosen among those that the trie allows there, its weights added as log shares, so a score
    is what generation would give the item. Over the vocabulary instead a score would tell how easily a title is spelt.
    It costs little more than reading the titles, up to the last fork of each: the softmax is over the tokens of the
    catalogue, a tenth of the vocabulary.

    Parameters
    ----------
    backbone
        The T5 that is tuned.
    trie
        Of the whole catalogue; its rows' items are catalogue indices.
    max_length
        Longest prompt in tokens.
    """

    def __init__(self, backbone: Backbone, trie: TitleTrie, *, max_length: int = 192) -> None:
        self.backbone = backbone
        self.trie = trie
        self.max_length = max_length
        self.forks = TrieForks(backbone, trie)

    def prepare(self, choices: Sequence[Choice]) -> PreparedChoices:
        """Tokenise the prompts, and find the forks on the way to their candidates."""
        rows = [self.trie.rows_of(choice.items) for choice in choices]
        told = self.forks.told(rows)
        flat, counts = np.concatenate(rows), np.array([len(candidates) for candidates in rows])
        owner, place = np.nonzero(np.arange(counts.max(initial=0)) < counts[:, None])
        title = np.repeat(owner * counts.max(initial=0) + place, self.trie.fork_depths[flat])
        closed = ClosedRows(self.trie, [choice.excluded for choice in choices])
        items = np.concatenate([np.asarray(choice.items, dtype=np.int64) for choice in choices])
        shares, grades, corrections = (np.zeros((len(choices), counts.max(initial=0)), np.float32) for _ in range(3))
        shares[:] = -np.inf
        shares[owner, place] = closed.log_shares(owner, items)
        for at, choice in enumerate(choices):
            grades[at, : counts[at]] = choice.grades
            corrections[at, : counts[at]] = choice.corrections or 0.0
        weights = [[1.0] * len(choice.items) for choice in choices]
        return PreparedChoices(
            asked(self.backbone, [choice.prompt for choice in choices], told, weights, self.max_length),
            torch.from_numpy(title),
            self.forks.places(told),
            self.forks.find(owner, flat, closed)[0],
            *(torch.from_numpy(one) for one in (shares, grades, corrections)),
        )

    def scores(self, prepared: PreparedChoices, backbone: Backbone | None = None) -> Tensor:
        """What the model, or another one given, holds of the candidates.

        Returns
        -------
        Tensor
            float32 [n_choices, n_candidates], log-probabilities; -inf where there is no candidate.
        """
        backbone = self.backbone if backbone is None else backbone
        logits = self.forks.logits(backbone, prepared.asked, prepared.forks)
        label, title, shares = (
            one.to(logits.device, non_blocking=True) for one in (prepared.label, prepared.title, prepared.shares)
        )
        gained = -functional.cross_entropy(logits, label, reduction="none")
        return shares.flatten().index_add(0, title, gained).view(shares.shape)


def among_candidates(scores: Tensor) -> Tensor:
    """Log-probabilities of each choice's candidates alone: [n_choices, n_candidates], -10,000 where there is none."""
    return scores.log_softmax(dim=1).clamp(min=NEVER)
