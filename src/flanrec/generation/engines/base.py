"""What an engine answers: one protocol for everything that can run a tuned T5."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.trie import TitleTrie
from flanrec.generation.head import Normalisation

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Rows = Sequence[Sequence[int]]


class PromptOptions(TypedDict, total=False):
    """What may be said of every prompt, whatever is asked of it."""

    excluded: Sequence[Collection[int]] | None
    """Of each prompt, items that must not come."""
    prefixes: Sequence[str] | None
    """Forced at the start of the decoder and not scored; "" for none."""
    normalisation: Normalisation
    """Over which tokens each step's probabilities sum to one; ``vocabulary`` by default."""
    progress: Callable[[int], None] | None
    """Called with the number of prompts done since the last call."""


class SearchOptions(PromptOptions, total=False):
    """How to look for titles; see :func:`generate_items`."""

    num_beams: int
    max_nodes: int


class ScoreOptions(PromptOptions, total=False):
    """Which titles are scored; see :func:`flanrec.generation.scoring.title_log_probabilities`."""

    candidates: Sequence[Sequence[int]] | Ints | None
    weights: NDArray[np.float64] | None


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
        self, prompts: Sequence[str], trie: TitleTrie, *, k: int, **options: Unpack[SearchOptions]
    ) -> tuple[Ints, Floats]:
        """The ``k`` most probable titles of each prompt: see :func:`generate_items`."""
        ...

    def title_log_probabilities(
        self, prompts: Sequence[str], token_rows: Rows, **options: Unpack[ScoreOptions]
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
