"""The engine that needs nothing beside torch: any device, float32, bf16, or int8 on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

from flanrec.backbone import Backbone
from flanrec.backbone.int8 import quantised
from flanrec.catalogue.trie import TitleTrie
from flanrec.generation import scoring
from flanrec.generation.engines.base import Floats, Ints, Rows, ScoreOptions, SearchOptions
from flanrec.generation.generate import generate_items


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
        self, prompts: Sequence[str], trie: TitleTrie, *, k: int, **options: Unpack[SearchOptions]
    ) -> tuple[Ints, Floats]:
        """Constrained beam search, or best-first search up to ``max_nodes``."""
        return generate_items(self.backbone, prompts, trie, k=k, **options)

    def title_log_probabilities(
        self, prompts: Sequence[str], token_rows: Rows, **options: Unpack[ScoreOptions]
    ) -> Floats:
        """Exact scores, equal beginnings computed once."""
        return scoring.title_log_probabilities(self.backbone, prompts, token_rows, **options)

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
