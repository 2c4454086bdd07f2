"""Where titles part on their way through the trie: what is asked of the model, and among which tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.used_rows import head_rows
from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import Children, TitleTrie
from flanrec.tuning.packing import Asked, answer_states

NEVER = -1e4
"""A log-probability that stands for -inf, which times a probability of zero is not zero."""


class Forks(NamedTuple):
    """The forks on the way to some titles, in main memory.

    Attributes
    ----------
    of_token : int64 [n_tokens]
        The fork that each said token decides.
    fork, branch : int64 [n_branches]
        Every open branch of every fork: the fork, and the place of its token among the trie's.
    prior : float32 [n_branches]
        Log share of the branch before the model has spoken.
    n_forks : int
    """

    of_token: Tensor
    fork: Tensor
    branch: Tensor
    prior: Tensor
    n_forks: int


class Level(NamedTuple):
    """The forks at one depth of the trie, numbered from 0 within it.

    Attributes
    ----------
    rows : int64 [n_rows_here]
        Places, among the rows that were asked about, of those that part from others here or further down.
    which : int64 [n_rows_here]
        The fork of each of them.
    once : int64 [n_forks_here]
        The place of one such row for each fork.
    children
        The branches, open or not; their parents are forks.
    """

    rows: NDArray[np.int64]
    which: NDArray[np.int64]
    once: NDArray[np.int64]
    children: Children


class TrieForks:
    """The forks of a catalogue's titles, found ahead of the model and then read by it.

    At every token the softmax is over the tokens that the trie allows there. They are found once a fork, and what
    follows the last fork of a title is certain and neither read nor scored.

    Parameters
    ----------
    backbone
        The T5 whose head and device are meant.
    trie
        Of the whole catalogue.

    Attributes
    ----------
    tokens : int64 [n_used]
        The trie's tokens, on the backbone's device.
    """

    def __init__(self, backbone: Backbone, trie: TitleTrie) -> None:
        self.trie = trie
        self.tokens = torch.from_numpy(trie.used_tokens).to(backbone.device)
        self._place = np.zeros(int(backbone.model.config.vocab_size), dtype=np.int64)
        self._place[trie.used_tokens] = np.arange(len(trie.used_tokens))

    def told(self, rows: Iterable[NDArray[np.int64]]) -> list[list[list[int]]]:
        """The tokens of each prompt's rows up to the last fork of each."""
        depths = self.trie.fork_depths
        return [[self.trie.tokens_of(row)[: depths[row]] for row in some.tolist()] for some in rows]

    def places(self, told: Sequence[Sequence[Sequence[int]]]) -> Tensor:
        """The place of each told token among the trie's: int64 [n_tokens]."""
        return torch.from_numpy(self._place[np.array([t for titles in told for row in titles for t in row], np.int64)])

    def find(
        self,
        owners: NDArray[np.int64],
        rows: NDArray[np.int64],
        closed: ClosedRows,
        *,
        apart: NDArray[np.int64] | None = None,
    ) -> tuple[Forks, list[Level]]:
        """The forks on the way to rows of the trie, each once a prompt.

        Parameters
        ----------
        owners, rows : int64 [n_rows]
            The prompt that each row belongs to, and the row.
        closed
            What is closed to each prompt.
        apart : int64 [n_rows]
            Rows of one prompt with different numbers have forks of their own; by default all share them.
        """
        depths = self.trie.fork_depths[rows]
        first = np.cumsum(depths) - depths
        of_token = np.zeros(int(depths.sum()), dtype=np.int64)
        apart = np.zeros_like(rows) if apart is None else apart
        levels: list[Level] = []
        forks, branches, priors = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0)]
        count = 0
        for depth in range(int(depths.max(initial=0))):
            here = np.flatnonzero(depths > depth)
            low, high = self.trie.ranges(rows[here], depth)
            _, once, which = np.unique(
                np.stack([owners[here], low, apart[here]]), axis=1, return_index=True, return_inverse=True
            )
            which = which.reshape(-1)
            of_token[first[here] + depth] = count + which
            children = self.trie.children(low[once], high[once], depth)
            levels.append(Level(here, which, here[once], children))
            forks.append(count + children.parent)
            branches.append(self._place[children.token])
            priors.append(closed.log_priors(owners[here[once]][children.parent], children))
            count += len(once)
        fork, branch, prior = (torch.from_numpy(np.concatenate(one)) for one in (forks, branches, priors))
        return Forks(torch.from_numpy(of_token), fork, branch, prior.float(), count), levels

    def logits(self, backbone: Backbone, asked: Asked, forks: Forks) -> Tensor:
        """What a model says of the trie's tokens at every place that is said, priors included.

        Returns
        -------
        Tensor
            float32 [n_tokens, n_used], -inf where the trie does not allow a token.
        """
        states = answer_states(backbone, asked)
        head = head_rows(backbone.model, self.tokens)
        priors = self.spread(forks, forks.prior, -math.inf)
        return functional.linear(states, head.to(states.dtype)).float() + priors

    def spread(self, forks: Forks, values: Tensor, elsewhere: float) -> Tensor:
        """Values of branches as each said token meets them: float32 [n_tokens, n_used]."""
        device = self.tokens.device
        fork, branch, given, of_token = (
            one.to(device, non_blocking=True) for one in (forks.fork, forks.branch, values, forks.of_token)
        )
        table = torch.full((forks.n_forks, len(self.tokens)), elsewhere, device=device)
        return table.index_put_((fork, branch), given)[of_token]
