"""Text vectors of items: what the encoder makes of their titles and texts, for comparing items."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import mean_states

Floats = NDArray[np.float32]

DEPTH = 0.75
"""How far up the encoder names and reviews are read, as a share of its blocks."""
_TITLE_SHARE = 0.3
_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")


def title_states(backbone: Backbone, titles: Sequence[str]) -> Floats:
    """Mean states of the bare titles, a year in brackets left out, three quarters up the encoder.

    Middle layers hold more of what a name stands for than the last one, which is near the words to be said next.

    Returns
    -------
    float32 [n_items, d_model]
    """
    bare = [_YEAR.sub("", title) or title for title in titles]
    states: Floats = mean_states(backbone, bare, depth=DEPTH).float().cpu().numpy()
    return states


def joined_vectors(texts: Floats, titles: Floats) -> Floats:
    """Vectors whose products weigh likeness of the whole text and of the bare title together.

    Parameters
    ----------
    texts
        float32 [n_items, d], of length one or zero.
    titles
        float32 [n_items, d], of length one or zero.

    Returns
    -------
    float32 [n_items, 2 d]
        Of length at most one.
    """
    return np.hstack([np.sqrt(1 - _TITLE_SHARE) * texts, np.sqrt(_TITLE_SHARE) * titles]).astype(np.float32)


def unit(vectors: Floats, mean: Floats | np.float32) -> Floats:
    """Vectors less a mean, of length one."""
    away = vectors - mean
    return np.asarray(away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12), dtype=np.float32)
