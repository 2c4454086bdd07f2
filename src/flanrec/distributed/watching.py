"""Who watches a training run: the terminal, a file of curves a stage, and the tracking libraries asked for."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers

import flanrec
from flanrec.backbone.adapters import fingerprint
from flanrec.data.dataset import Dataset
from flanrec.recommender import Recommender
from flanrec.tuning import Callback, JsonLines, ProgressBar, Tracking, all_processes, tracked


@contextmanager
def watching(
    folder: Path, tracking: Tracking, facts: Callable[[], Mapping[str, Any]], *, resume: bool
) -> Iterator[Callable[[str], Sequence[Callback]]]:
    """Inside the block, from the name of a stage, who is told of its progress; the first process alone tracks.

    Parameters
    ----------
    folder
        Of the run: a file ``STAGE.jsonl`` for each stage, and what the tracking libraries write.
    facts
        What the run is of, for the tracking libraries.
    resume
        Whether the run may go on with an earlier one of the folder.

    Raises
    ------
    SettingsError
        A tracking library is not installed.
    """
    chosen = tracking if all_processes().first else Tracking()
    with tracked(chosen, folder, facts, resume=resume) as libraries:

        def told(stage: str) -> Sequence[Callback]:
            name = stage.replace(",", "").replace(" ", "-")
            return [ProgressBar(stage), JsonLines(folder / f"{name}.jsonl"), *libraries(name)]

        yield told


def facts_of(recommender: Recommender, dataset: Dataset) -> dict[str, Any]:
    """Settings, data, backbone, versions and device of a run, before it begins, as plain values."""
    backbone = recommender.backbone
    return {
        "settings": recommender.settings.model_dump(mode="json"),
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint(),
            "users": dataset.interactions["user_id"].n_unique(),
            "items": dataset.items.height,
            "interactions": dataset.interactions.height,
        },
        "backbone": {
            "name": backbone.source.name,
            "fingerprint": fingerprint(backbone),
            "parameters": sum(value.numel() for value in backbone.model.parameters()),
        },
        "versions": {
            "flanrec": flanrec.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "device": str(backbone.device),
    }
