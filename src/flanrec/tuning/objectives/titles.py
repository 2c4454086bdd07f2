"""Cross-entropy of catalogue titles, over the items rather than over all that could be written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.used_rows import head_rows
from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.objective import LossSum
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.packing import Asked, answer_states, asked, said_weights

# A log-probability that stands for -inf, which times a target of zero is not zero.
_NEVER = -1e4


class Forks(NamedTuple):
    """Where titles part, each fork of a question once, and what is taught there.

    Attributes
    ----------
    of_token : int64 [n_tokens]
        The fork that each said token decides.
    fork, branch : int64 [n_branches]
        Every open branch of every fork: the fork, and the place of its token among the trie's.
    prior, target : float32 [n_branches]
        Log share of the branch before the model has spoken; probability that is taught.
    n_forks : int
    certain : float
        What no model can change of the weighted loss.
    """

    of_token: Tensor
    fork: Tensor
    branch: Tensor
    prior: Tensor
    target: Tensor
    n_forks: int
    certain: float


class PreparedTitles(NamedTuple):
    """Questions for the model; the weight is that of all answers together."""

    asked: Asked
    forks: Forks
    weight: float


class TitleObjective:
    """Cross-entropy of titles under the catalogue's trie, towards items or towards a teacher's beliefs.

    At every token the softmax is over the tokens that the trie allows there, as generation's ``trie``
    normalisation is, so the probabilities of all open items add up to one and the model learns which item,
    not how titles are spelled. The trie's weights, the items' popularity, are added as log shares, without
    those of the excluded items: the model has to learn only how a user differs from the crowd. What follows
    the last fork of a title is certain and costs nothing: it is neither read nor scored.

    Where a question has beliefs, every fork on the way to a drawn title is taught the teacher's shares of all
    its branches, not only the branch that was drawn: the same mean as a cross-entropy of draws, with far less
    noise. The loss is then the divergence from the teacher, zero where the model agrees with it.

    Inputs
    ------
    ========= ====================================================================
    draw_one  draws a `Question` whose answers are items
    trie      of the whole catalogue; its rows' items are catalogue indices
    ========= ====================================================================

    References
    ----------
    Constrained generation of entity names: De Cao et al., "Autoregressive entity retrieval", 2021; beliefs:
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015.
    """

    apart = True

    def __init__(
        self,
        name: str,
        backbone: Backbone,
        trie: TitleTrie,
        draw_one: Callable[[np.random.Generator], Question],
        *,
        max_length: int = 192,
    ) -> None:
        self.name = name
        self.backbone = backbone
        self.trie = trie
        self.draw_one = draw_one
        self.max_length = max_length
        self._tokens = torch.from_numpy(trie.used_tokens).to(backbone.device)
        self._place = np.zeros(int(backbone.model.config.vocab_size), dtype=np.int64)
        self._place[trie.used_tokens] = np.arange(len(trie.used_tokens))

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw questions."""
        return [self.draw_one(rng) for _ in range(size)]

    def prepare(self, examples: list[Question]) -> PreparedTitles:
        """Tokenise the questions, and find the forks on the way to their answers."""
        rows = [self.trie.rows_of(example.items) for example in examples]
        told = [
            [self.trie.tokens_of(row)[: self.trie.fork_depths[row]] for row in answers.tolist()] for answers in rows
        ]
        weights = [example.weights for example in examples]
        return PreparedTitles(
            asked(self.backbone, [example.prompt for example in examples], told, weights, self.max_length),
            self._forks(examples, rows),
            float(sum(map(sum, weights))),
        )

    def predict(self, prepared: PreparedTitles) -> Tensor:
        """The log-probability of each of the trie's tokens at every place that is said: float32 [n_tokens, n_used].

        Tokens that the trie does not allow have `_NEVER`.
        """
        states = answer_states(self.backbone, prepared.asked)
        head = head_rows(self.backbone.model, self._tokens)
        forks = prepared.forks
        priors = self._spread(forks, forks.prior, -math.inf, states.device)
        logits = functional.linear(states, head.to(states.dtype)).float() + priors
        return logits.log_softmax(dim=1).clamp(min=_NEVER)

    def place_weights(self, prepared: PreparedTitles) -> Tensor:
        """The weight of each said token."""
        return said_weights(prepared.asked)

    def judge(self, predicted: Tensor, prepared: PreparedTitles) -> LossSum:
        """As `loss`, of predictions."""
        forks = prepared.forks
        losses = -(self._spread(forks, forks.target, 0.0, predicted.device) * predicted).sum(dim=1)
        weights = self.place_weights(prepared).to(predicted.device)
        return LossSum((losses * weights).sum() - forks.certain, prepared.weight)

    def loss(self, prepared: PreparedTitles) -> LossSum:
        """Sum the weighted cross-entropy over all answers; the count is the answers' total weight."""
        return self.judge(self.predict(prepared), prepared)

    def _spread(self, forks: Forks, values: Tensor, elsewhere: float, device: torch.device) -> Tensor:
        """Values of open branches as each said token meets them: float32 [n_tokens, n_used]."""
        fork, branch, given, of_token = (
            one.to(device, non_blocking=True) for one in (forks.fork, forks.branch, values, forks.of_token)
        )
        table = torch.full((forks.n_forks, len(self._tokens)), elsewhere, device=device)
        return table.index_put_((fork, branch), given)[of_token]

    def _forks(self, examples: list[Question], rows: list[NDArray[np.int64]]) -> Forks:
        """The forks on the way to each example's answers, which are given as rows of the trie."""
        flat = np.concatenate(rows)
        owners = np.repeat(np.arange(len(examples)), [len(answers) for answers in rows])
        weights = np.concatenate([np.array(example.weights) for example in examples])
        closed = ClosedRows(self.trie, [example.excluded for example in examples])
        mass = self._belief_mass(examples)
        taught = ~np.isnan(mass[:, 0])
        depths = self.trie.fork_depths[flat]
        first = np.cumsum(depths) - depths
        of_token = np.zeros(int(depths.sum()), dtype=np.int64)
        forks: list[NDArray[np.int64]] = []
        branches: list[NDArray[np.int64]] = []
        priors: list[NDArray[np.float64]] = []
        targets: list[NDArray[np.float64]] = []
        count, certain = 0, self._shared(examples, closed)
        for depth in range(int(depths.max(initial=0))):
            here = np.flatnonzero(depths > depth)
            low, high = self.trie.ranges(flat[here], depth)
            # With beliefs a fork teaches all answers of its question alike, else each answer its own branch.
            answer = np.where(taught[owners[here]], -1, flat[here])
            _, once, which = np.unique(
                np.stack([owners[here], low, answer]), axis=1, return_index=True, return_inverse=True
            )
            which = which.reshape(-1)
            of_token[first[here] + depth] = count + which
            children = self.trie.children(low[once], high[once], depth)
            owner, own = owners[here][once][children.parent], flat[here][once][children.parent]
            taken = (children.low <= own) & (own < children.high)
            target = np.where(taught[owner], mass[owner, children.high] - mass[owner, children.low], taken)
            sums = np.bincount(children.parent, target, minlength=len(once))
            target = target / np.maximum(sums, np.finfo(np.float32).tiny)[children.parent]
            entropies = np.bincount(children.parent, entr(target), minlength=len(once))
            certain += float((entropies[which] * weights[here]).sum())
            forks.append(count + children.parent)
            branches.append(self._place[children.token])
            priors.append(closed.log_priors(owner, children))
            targets.append(target)
            count += len(once)
        fork, branch = (torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *one])) for one in (forks, branches))
        prior, target_ = (torch.from_numpy(np.concatenate([np.zeros(0), *one])).float() for one in (priors, targets))
        return Forks(torch.from_numpy(of_token), fork, branch, prior, target_, count, certain)

    def _belief_mass(self, examples: list[Question]) -> NDArray[np.float64]:
        """The beliefs in all rows before each: float64 [n_examples, n_rows + 1], nan without beliefs."""
        mass = np.full((len(examples), len(self.trie) + 1), np.nan)
        for at, example in enumerate(examples):
            if example.beliefs is not None:
                summed = np.append(0.0, np.cumsum(example.beliefs[self.trie.leaf_items]))
                mass[at] = summed[self.trie.leaf_offsets]
        return mass

    def _shared(self, examples: list[Question], closed: ClosedRows) -> float:
        """The log shares of the items of one title, which no model can tell apart, where answers are single items."""
        return sum(
            float((np.array(example.weights) * closed.log_shares(np.full(len(example.items), at),
                                                                  np.array(example.items))).sum())
            for at, example in enumerate(examples)
            if example.beliefs is None
        )  # fmt: skip
