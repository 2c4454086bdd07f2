"""The engine that needs nothing beside torch: any device, float32, bf16, or int8 on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.backbone.int8 import quantised
from flanrec.catalogue.trie import TitleTrie
from flanrec.generation import scoring
from flanrec.generation.engines.base import Floats, Ints, Rows
from flanrec.generation.generate import generate_items
from flanrec.generation.head import Normalisation


class TorchEngine:
    """Runs a backbone as it stands: where it is, in the number format that it has.

    Parameters
    ----------
    backbone : Backbone
    name : str
    """

    def __init__(self, backbone: Backbone, name: str = "torch") -> None:
        self.backbone = backbone
        self.name = name
        self.tokenizer: Any = backbone.tokenizer

    @classmethod
    def int8(cls, backbone: Backbone) -> TorchEngine:
        """The backbone with its weights and activations in int8, on a CPU; see :func:`quantised`."""
        return cls(quantised(backbone), "int8")

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
        """Constrained beam search, or best-first search up to ``max_nodes``."""
        return generate_items(
            self.backbone, prompts, trie, k=k, num_beams=num_beams, excluded=excluded, prefixes=prefixes,
            normalisation=normalisation, max_nodes=max_nodes, progress=progress,
        )  # fmt: skip

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
        """Exact scores, equal beginnings computed once."""
        return scoring.title_log_probabilities(
            self.backbone, prompts, token_rows, candidates=candidates, excluded=excluded, prefixes=prefixes,
            normalisation=normalisation, weights=weights, progress=progress,
        )  # fmt: skip

    def yes_no_logits(
        self,
        prompts: Sequence[str],
        prefixes: Sequence[str] | None,
        yes_ids: Sequence[int],
        no_ids: Sequence[int],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Floats:
        """One pass a distinct prompt."""
        return scoring.yes_no_logits(
            self.backbone.model, self.tokenizer, prompts, prefixes, yes_ids, no_ids, progress=progress
        )
