"""Prompt tuning and P-tuning: trained vectors before the first token of everything that the encoder reads.

Lester, Al-Rfou and Constant, "The power of scale for parameter-efficient prompt tuning", 2021: the vectors are trained
as they are, and start as embeddings of tokens. Liu et al., "GPT understands, too", 2021 (P-tuning): a small network
makes them from other vectors; once trained, only what it makes is kept.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_STEP = 100.0
"""T5's embeddings are a hundred times as large as what usual rates move, so vectors are kept in this unit."""


class SoftPrompt(nn.Module):
    """Vectors that stand before every prompt.

    Parameters
    ----------
    vectors
        [length, d_model], in the encoder's embedding space.
    hidden
        Width of the network that makes the vectors; 0 trains them as they are.
    """

    def __init__(self, vectors: Tensor, hidden: int = 0) -> None:
        super().__init__()
        width = vectors.shape[1]
        self.vectors = nn.Parameter(vectors.detach().clone().float() / _STEP)
        self.network: nn.Module | None = None
        if hidden:
            # It begins as no change, so that a run starts from words and not from noise.
            last = nn.Linear(hidden, width)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.seeds = nn.Parameter(torch.randn(len(vectors), width, device=vectors.device))
            self.network = nn.Sequential(
                nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), last
            ).to(vectors.device)

    @property
    def length(self) -> int:
        """How many places it takes."""
        return len(self.vectors)

    def forward(self) -> Tensor:
        """The vectors: [length, d_model]."""
        made: Tensor = self.vectors
        if self.network is not None:
            made = made + self.network(self.seeds)
        return made * _STEP

    @torch.no_grad()
    def settled(self) -> SoftPrompt:
        """The same vectors without the network."""
        return SoftPrompt(self())


def starting_vectors(model: Any, length: int) -> Tensor:
    """Embeddings of tokens drawn from the vocabulary by torch's generator: [length, d_model].

    The first rows of a T5 vocabulary are the frequent pieces; Lester et al. draw from these.
    """
    table: Tensor = model.get_input_embeddings().weight
    rows = torch.randint(3, min(5000, len(table)), (length,))
    return table.detach()[rows.to(table.device)].float()
