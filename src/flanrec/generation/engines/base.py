"""What an engine answers: one protocol for everything that can run a tuned T5."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.trie import TitleTrie
from flanrec.generation.head import Normalisation

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Rows = Sequence[Sequence[int]]


class Engine(Protocol):
    """Runs a T5 for inference.

    Each engine passes one conformance suite against a plain forward pass, within its own tolerance.

    Attributes
    ----------
    name : str
    tokenizer : of the checkpoint
    """

    name: str
    tokenizer: Any

    def top_titles(
        self,
        prompts: Sequence[str],
        trie: TitleTrie,
        *,
        k: int,
        num_beams: int = 10,
        excluded: Sequence[Collection[int]] | None = None,
        prefixes: Sequence[str] | None = None,
        normalisation: Normalisation = "vocabulary",
        max_nodes: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Ints, Floats]:
        """The ``k`` most probable titles of each prompt: see :func:`generate_items`."""
        ...

    def title_log_probabilities(
        self,
        prompts: Sequence[str],
        token_rows: Rows,
        *,
        candidates: Sequence[Sequence[int]] | Ints | None = None,
        excluded: Sequence[Collection[int]] | None = None,
        prefixes: Sequence[str] | None = None,
        normalisation: Normalisation = "vocabulary",
        weights: NDArray[np.float64] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> Floats:
        """The log-probability of titles: see :func:`flanrec.generation.scoring.title_log_probabilities`."""
        ...

    def yes_no_logits(
        self,
        prompts: Sequence[str],
        prefixes: Sequence[str] | None,
        yes_ids: Sequence[int],
        no_ids: Sequence[int],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Floats:
        """log P(yes) - log P(no) as the next token: see :func:`flanrec.generation.scoring.yes_no_logits`."""
        ...
