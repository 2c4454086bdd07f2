"""Cross-entropy of catalogue titles, over the items rather than over all that could be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import TitleTrie
from flanrec.tuning.objective import LossSum, PredictedLoss
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.objectives.forks import NEVER, Forks, Level, TrieForks
from flanrec.tuning.packing import Asked, asked, said_weights


class PreparedTitles(NamedTuple):
    """Questions for the model.

    Attributes
    ----------
    forks : Forks
        On the way to the answers, each once a question.
    target : float32 [n_branches]
        Probability that is taught of each branch of the forks.
    certain : float
        What no model can change of the weighted loss.
    weight : float
        Of all answers together.
    """

    asked: Asked
    forks: Forks
    target: Tensor
    certain: float
    weight: float


class TitleObjective(PredictedLoss):
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
        self.forks = TrieForks(backbone, trie)

    def draw(self, rng: np.random.Generator, size: int) -> list[Question]:
        """Draw questions."""
        return [self.draw_one(rng) for _ in range(size)]

    def prepare(self, examples: list[Question]) -> PreparedTitles:
        """Tokenise the questions, and find the forks on the way to their answers."""
        rows = [self.trie.rows_of(example.items) for example in examples]
        flat = np.concatenate(rows)
        owners = np.repeat(np.arange(len(examples)), [len(answers) for answers in rows])
        closed = ClosedRows(self.trie, [example.excluded for example in examples])
        mass = self._belief_mass(examples)
        # With beliefs a fork teaches all answers of its question alike, else each answer its own branch.
        forks, levels = self.forks.find(owners, flat, closed, apart=np.where(np.isnan(mass[owners, 0]), flat, -1))
        prompts, weights = [example.prompt for example in examples], [example.weights for example in examples]
        weighing = np.concatenate([np.array(some) for some in weights])
        taught = [_taught(level, owners, flat, weighing, mass) for level in levels]
        return PreparedTitles(
            asked(self.backbone, prompts, self.forks.told(rows), weights, self.max_length),
            forks,
            torch.from_numpy(np.concatenate([np.zeros(0), *(target for target, _ in taught)])).float(),
            sum((entropy for _, entropy in taught), self._shared(examples, closed)),
            float(sum(map(sum, weights))),
        )

    def predict(self, prepared: PreparedTitles) -> Tensor:
        """The log-probability of each of the trie's tokens at every place that is said: float32 [n_tokens, n_used].

        Tokens that the trie does not allow have -10,000.
        """
        logits = self.forks.logits(self.backbone, prepared.asked, prepared.forks)
        return logits.log_softmax(dim=1).clamp(min=NEVER)

    def place_weights(self, prepared: PreparedTitles) -> Tensor:
        """The weight of each said token."""
        return said_weights(prepared.asked)

    def judge(self, predicted: Tensor, prepared: PreparedTitles) -> LossSum:
        """Sum the weighted cross-entropy over all answers; the count is the answers' total weight."""
        losses = -(self.forks.spread(prepared.forks, prepared.target, 0.0) * predicted).sum(dim=1)
        weights = self.place_weights(prepared).to(predicted.device)
        return LossSum((losses * weights).sum() - prepared.certain, prepared.weight)

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


def _taught(
    level: Level,
    owners: NDArray[np.int64],
    rows: NDArray[np.int64],
    weights: NDArray[np.float64],
    mass: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float]:
    """What is taught of each branch at a depth, and its entropy, which no model can change, over the tokens there."""
    children = level.children
    owner, own = owners[level.once][children.parent], rows[level.once][children.parent]
    taken = (children.low <= own) & (own < children.high)
    target = np.where(np.isnan(mass[owner, 0]), taken, mass[owner, children.high] - mass[owner, children.low])
    sums = np.bincount(children.parent, target, minlength=len(level.once))
    target = target / np.maximum(sums, np.finfo(np.float32).tiny)[children.parent]
    entropies = np.bincount(children.parent, entr(target), minlength=len(level.once))
    return target, float((entropies[level.which] * weights[level.rows]).sum())
