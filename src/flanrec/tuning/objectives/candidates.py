"""Several candidate titles of one prompt, scored in one decoder row; the encoder runs once a prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.used_rows import head_rows
from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.packing import Asked, answer_states, asked

# A log-probability that stands for -inf, which times a probability of zero is not zero.
_NEVER = -1e4


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
    fork_of : int64 [n_tokens]
        The fork that each said token decides.
    fork, branch : int64 [n_branches]
        Every open branch of every fork: the fork, and the place of its token among the trie's.
    prior : float32 [n_branches]
        Log share of the branch before the model has spoken.
    n_forks : int
    shares : float32 [n_choices, n_candidates]
        Log share of the item among those of its title; -inf where there is no candidate.
    grades, corrections : float32 [n_choices, n_candidates]
        Zeros where there is no candidate.
    """

    asked: Asked
    title: Tensor
    label: Tensor
    fork_of: Tensor
    fork: Tensor
    branch: Tensor
    prior: Tensor
    n_forks: int
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
    It costs little more than reading the titles: the softmax is over the tokens of the catalogue, a tenth of the
    vocabulary, the trie's branches are found once a fork ahead of the model, and what follows a title's last
    fork is certain and neither read nor scored.

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
        self._tokens = torch.from_numpy(trie.used_tokens).to(backbone.device)
        self._place = np.zeros(int(backbone.model.config.vocab_size), dtype=np.int64)
        self._place[trie.used_tokens] = np.arange(len(trie.used_tokens))

    def prepare(self, choices: Sequence[Choice]) -> PreparedChoices:
        """Tokenise the prompts, and find the forks on the way to their candidates."""
        rows = [self.trie.rows_of(choice.items) for choice in choices]
        told = [
            [self.trie.tokens_of(row)[: self.trie.fork_depths[row]] for row in candidates.tolist()]
            for candidates in rows
        ]
        flat, counts = np.concatenate(rows), np.array([len(candidates) for candidates in rows])
        owner, place = np.nonzero(np.arange(counts.max(initial=0)) < counts[:, None])
        depths = self.trie.fork_depths[flat]
        title = np.repeat(owner * counts.max(initial=0) + place, depths)
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
            torch.from_numpy(self._place[np.array([t for titles in told for row in titles for t in row], np.int64)]),
            *self._forks(owner, flat, depths, closed),
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
        states = answer_states(backbone, prepared.asked)
        device = states.device
        fork, branch, prior, fork_of, label, title, shares = (
            one.to(device, non_blocking=True)
            for one in (prepared.fork, prepared.branch, prepared.prior, prepared.fork_of, prepared.label,
                        prepared.title, prepared.shares)
        )  # fmt: skip
        priors = torch.full((prepared.n_forks, len(self._tokens)), -math.inf, device=device)
        priors.index_put_((fork, branch), prior)
        head = head_rows(backbone.model, self._tokens)
        logits = functional.linear(states, head.to(states.dtype)).float() + priors[fork_of]
        gained = -functional.cross_entropy(logits, label, reduction="none")
        return shares.flatten().index_add(0, title, gained).view(shares.shape)

    def _forks(
        self, owner: NDArray[np.int64], rows: NDArray[np.int64], depths: NDArray[np.int64], closed: ClosedRows
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
        """The forks on the way to rows of the trie, each once a choice: the last attributes of `PreparedChoices`."""
        first = np.cumsum(depths) - depths
        fork_of = np.zeros(int(depths.sum()), dtype=np.int64)
        forks, branches, priors = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        count = 0
        for depth in range(int(depths.max(initial=0))):
            here = np.flatnonzero(depths > depth)
            low, high = self.trie.ranges(rows[here], depth)
            _, once, which = np.unique(np.stack([owner[here], low]), axis=1, return_index=True, return_inverse=True)
            fork_of[first[here] + depth] = count + which.reshape(-1)
            children = self.trie.children(low[once], high[once], depth)
            forks.append(count + children.parent)
            branches.append(self._place[children.token])
            priors.append(closed.log_priors(owner[here][once][children.parent], children))
            count += len(once)
        fork, branch, prior = (torch.from_numpy(np.concatenate(one)) for one in (forks, branches, priors))
        return torch.from_numpy(fork_of), fork, branch, prior.float(), count


def among_candidates(scores: Tensor) -> Tensor:
    """Log-probabilities of each choice's candidates alone: [n_choices, n_candidates], -10,000 where there is none."""
    return scores.log_softmax(dim=1).clamp(min=_NEVER)
