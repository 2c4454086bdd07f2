"""Cross-entropy of catalogue titles, over the items rather than over all that could be written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.packing import answer_states, pack
from flanrec.tuning.steps import LossSum

# A log-probability that stands for -inf, which times a target of zero is not zero.
_NEVER = -1e4


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

    def loss(self, examples: list[Question]) -> LossSum:
        """Sum the weighted cross-entropy over all answers; the count is the answers' total weight."""
        rows = [self.trie.rows_of(example.items) for example in examples]
        flat = np.concatenate(rows)
        owners = np.repeat(np.arange(len(examples)), [len(answers) for answers in rows])
        told = [
            [self.trie.tokens_of(row)[: self.trie.fork_depths[row]] for row in answers.tolist()] for answers in rows
        ]
        packed = pack(
            told,
            [example.weights for example in examples],
            self.backbone.model.config.decoder_start_token_id,
            self.backbone.tokenizer.pad_token_id,
        )
        states = answer_states(self.backbone, [example.prompt for example in examples], packed, self.max_length)
        head = self.backbone.model.get_output_embeddings().weight[self._tokens]
        closed = ClosedRows(self.trie, [example.excluded for example in examples])
        priors, targets = (
            torch.from_numpy(one).to(states.device) for one in self._forks(examples, flat, owners, closed)
        )
        logits = functional.linear(states, head.to(states.dtype)).float() + priors
        losses = -(targets * logits.log_softmax(dim=1).clamp(min=_NEVER)).sum(dim=1)
        weights = packed.weights[packed.said].to(logits.device)
        total = (losses * weights).sum() - self._certain(examples, closed, targets, weights)
        return LossSum(total, float(sum(sum(example.weights) for example in examples)))

    def _forks(
        self, examples: list[Question], rows: NDArray[np.int64], owners: NDArray[np.int64], closed: ClosedRows
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """For each said token the log priors of its fork's branches, -inf for other tokens, and the targets.

        The tokens of all answers follow each other: both [sum of the rows' fork depths, used tokens].
        """
        depths = self.trie.fork_depths[rows]
        first = np.cumsum(depths) - depths
        priors = np.full((int(depths.sum()), len(self._tokens)), -np.inf, dtype=np.float32)
        targets = np.zeros_like(priors)
        mass = self._belief_mass(examples)
        for depth in range(int(depths.max(initial=0))):
            here = np.flatnonzero(depths > depth)
            children = self.trie.children(*self.trie.ranges(rows[here], depth), depth)
            place = first[here][children.parent] + depth, self._place[children.token]
            owner = owners[here][children.parent]
            priors[place] = closed.log_priors(owner, children)
            own = rows[here][children.parent]
            taken = (children.low <= own) & (own < children.high)
            targets[place] = np.where(
                np.isnan(mass[owner, 0]), taken, mass[owner, children.high] - mass[owner, children.low]
            )
        return priors, targets / np.maximum(targets.sum(axis=1, keepdims=True), np.finfo(np.float32).tiny)

    def _belief_mass(self, examples: list[Question]) -> NDArray[np.float64]:
        """The beliefs in all rows before each: float64 [n_examples, n_rows + 1], nan without beliefs."""
        mass = np.full((len(examples), len(self.trie) + 1), np.nan)
        for at, example in enumerate(examples):
            if example.beliefs is not None:
                summed = np.append(0.0, np.cumsum(example.beliefs[self.trie.leaf_items]))
                mass[at] = summed[self.trie.leaf_offsets]
        return mass

    def _certain(self, examples: list[Question], closed: ClosedRows, targets: Tensor, weights: Tensor) -> Tensor:
        """What no model can change: how beliefs vary, and which of the items of one title it is."""
        entropies = torch.special.entr(targets).sum(dim=1)
        shared = sum(
            float((np.array(example.weights) * closed.log_shares(np.full(len(example.items), at),
                                                                  np.array(example.items))).sum())
            for at, example in enumerate(examples)
            if example.beliefs is None
        )  # fmt: skip
        certain: Tensor = (entropies * weights).sum() + shared
        return certain
