from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from flanrec.backbone.prompts import PromptEncoder
from flanrec.recommender import Recommender


@pytest.fixture(scope="session")
def rested() -> Callable[[Recommender], Recommender]:
    """Makes a recommender forget the instructions it has read.

    Remembered encodings differ in their last bits with what was encoded beside them, so two
    recommenders are the same to the bit only where they were asked the same before.
    """

    def forget(recommender: Recommender) -> Recommender:
        copy = Recommender(recommender.backbone, recommender.settings)
        copy.adopt(replace(recommender.parts, encoder=PromptEncoder(recommender.backbone)))
        return copy

    return forget
