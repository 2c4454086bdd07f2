"""What items say of themselves, and the vectors that a T5 makes of it."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import mean_embeddings, mean_states
from flanrec.catalogue.items import Catalogue


def item_texts(catalogue: Catalogue) -> list[str]:
    """What the item vectors are made from: title, categories, decade and text of each item.

    Categories are in small letters, as wishes are: T5 has other tokens for words with a capital.
    """
    texts = []
    for title, categories, year, text in zip(
        catalogue.titles, catalogue.categories, catalogue.years, catalogue.texts, strict=True
    ):
        decade = f"{year // 10 * 10}s" if year else ""
        parts = (title, ", ".join(categories).casefold(), decade, text)
        texts.append(" ".join(part for part in parts if part))
    return texts


def text_vectors(backbone: Backbone, texts: list[str]) -> tuple[Tensor, Tensor]:
    """What the decoder reads, and what the encoder says, of some texts: float32 [n, d_model] each."""
    return mean_embeddings(backbone, texts), mean_states(backbone, texts)


def of_length(vectors: Tensor) -> Tensor:
    """Vectors [n, width], each scaled to the length that numbers of variance one would have: the root of the width."""
    return functional.normalize(vectors, dim=1) * math.sqrt(vectors.shape[1])
