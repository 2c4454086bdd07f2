"""A saved model that the benchmarks measure."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flanrec.data import Dataset, leave_one_out

if TYPE_CHECKING:
    from flanrec.recommender import Recommender


@pytest.fixture(scope="session")
def saved(fitted: Recommender, small_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that does not know the test events."""
    from flanrec.recommender import Recommender
    from flanrec.recommender.tables import joined

    split = leave_one_out(small_dataset)
    recommender = Recommender(fitted.backbone, fitted.settings)
    recommender.adopt(replace(fitted.parts, dataset=joined(split.train, split.validation)))
    folder = tmp_path_factory.mktemp("saved") / "model"
    recommender.save_pretrained(folder)
    return folder
