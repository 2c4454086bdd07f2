"""Cross-entropy of catalogue titles, over the items rather than over all that could be written."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.packing import decoder_states, pack
from flanrec.tuning.steps import LossSum


class TitleObjective:
    """Cross-entropy of titles under the catalogue's trie.

    At every token the softmax is over the tokens that the trie allows there, as generation's ``trie``
    normalisation is, so the probabilities of all items add up to one and the model learns which item,
    not how titles are spelled. The trie's weights, the items' popularity, are added as log shares: the model
    has to learn only how a user differs from the crowd. What follows the last fork of a title is certain and
    costs nothing: it is neither read nor scored.

    Inputs
    ------
    ========= ====================================================================
    draw_one  draws a `Question` whose answers are items
    trie      of the whole catalogue; its rows' items are catalogue indices
    ========= ====================================================================

    References
    ----------
    Constrained generation of entity names: De Cao et al., "Autoregressive entity retrieval", 2021.
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
        told = [
            [self.trie.tokens[row, : self.trie.fork_depths[row]].tolist() for row in answers.tolist()]
            for answers in rows
        ]
        packed = pack(
            told,
            [example.weights for example in examples],
            self.backbone.model.config.decoder_start_token_id,
            self.backbone.tokenizer.pad_token_id,
        )
        states = decoder_states(self.backbone, [example.prompt for example in examples], packed, self.max_length)
        head = self.backbone.model.get_output_embeddings().weight[self._tokens]
        logits = functional.linear(states, head.to(states.dtype)).float() + self._closed(flat).to(states.device)
        labels = torch.from_numpy(self._place[packed.labels[packed.said].numpy()]).to(logits.device)
        weights = packed.weights[packed.said].to(logits.device)
        losses = functional.cross_entropy(logits, labels, reduction="none")
        # Items of one title share its probability; which of them it is, the model cannot tell.
        shared = sum(
            float((np.array(example.weights) * self.trie.log_shares(np.array(example.items))).sum())
            for example in examples
        )
        total = (losses * weights).sum() - shared
        return LossSum(total, float(sum(sum(example.weights) for example in examples)))

    def _closed(self, rows: NDArray[np.int64]) -> Tensor:
        """What is added to the logits of each said token: its log prior where the trie allows it, else -inf.

        The tokens of all answers follow each other: [sum of the rows' fork depths, used tokens].
        """
        depths = self.trie.fork_depths[rows]
        first = np.cumsum(depths) - depths
        closed = np.full((int(depths.sum()), len(self._tokens)), -np.inf, dtype=np.float32)
        for depth in range(int(depths.max(initial=0))):
            here = np.flatnonzero(depths > depth)
            children = self.trie.children(*self.trie.ranges(rows[here], depth), depth)
            closed[first[here][children.parent] + depth, self._place[children.token]] = self.trie.log_priors(children)
        return torch.from_numpy(closed)
