"""A saved model that the benchmarks measure."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from flanrec.data import Dataset, leave_one_out

if TYPE_CHECKING:
    from flanrec.recommender import Recommender


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """Loads a benchmark by its name as a module; its neighbours may be imported meanwhile."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"{name}_benchmark", BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        sys.path.insert(0, str(BENCHMARKS))
        try:
            spec.loader.exec_module(module)
        finally:
            sys.path.remove(str(BENCHMARKS))
        return module

    return load


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
