"""flanrec: an instruction-tuned Flan-T5 recommender.

The public names are loaded when they are first used, so that ``import flanrec`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flanrec.data import Dataset, Split, cold_items, few_users, leave_one_out, load_dataset, new_users, temporal
    from flanrec.errors import FlanrecError
    from flanrec.evaluation.search import search
    from flanrec.recommender import Recommender, RecommenderSettings

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "flanrec.data",
    "FlanrecError": "flanrec.errors",
    "Recommender": "flanrec.recommender",
    "RecommenderSettings": "flanrec.recommender",
    "Split": "flanrec.data",
    "cold_items": "flanrec.data",
    "few_users": "flanrec.data",
    "leave_one_out": "flanrec.data",
    "load_dataset": "flanrec.data",
    "new_users": "flanrec.data",
    "search": "flanrec.evaluation.search",
    "temporal": "flanrec.data",
}

__all__ = [
    "Dataset",
    "FlanrecError",
    "Recommender",
    "RecommenderSettings",
    "Split",
    "__version__",
    "cold_items",
    "few_users",
    "leave_one_out",
    "load_dataset",
    "new_users",
    "search",
    "temporal",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'flanrec' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
