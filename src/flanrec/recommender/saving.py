"""A fitted recommender as a folder: safetensors, JSON, Parquet, a graph of usearch, and a manifest written last."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.numpy import load_file as load_array
from safetensors.numpy import save_file as save_array
from safetensors.torch import load_file, save_file

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.hardware import Precision
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.reviews import ReviewReader, Reviews
from flanrec.data import Dataset
from flanrec.errors import CheckpointError
from flanrec.ranking.fusion import Fusion
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.parts import Parts
from flanrec.recommender.settings import RecommenderSettings

_KIND = "recommender"
_REVIEWS = "review_states.safetensors"
_INDEX = "item_index"
_TABLES = ("interactions", "items", "users", "reviews")


class TunedWords(NamedTuple):
    """The tuned T5 of a saved folder, the settings it was tuned with, and the name of the log."""

    backbone: Backbone
    settings: RecommenderSettings
    data: str


class Loaded(NamedTuple):
    """What a saved folder holds."""

    backbone: Backbone
    settings: RecommenderSettings
    parts: Parts


def is_saved(folder: Path) -> bool:
    """Whether a folder looks like a saved recommender, whole or not."""
    return (folder / "recommender.json").is_file()


def save(folder: Path, backbone: Backbone, settings: RecommenderSettings, parts: Parts) -> None:
    """Write a fitted recommender; all or nothing.

    A large catalogue is indexed first, if that was not done and the extra is there.
    """
    about = {"kind": _KIND, "items": len(parts.catalogue), "backbone": backbone.source.name}
    with saving(folder, about) as draft:
        backbone.save(draft / "backbone")
        state = {name: value.detach().cpu().contiguous() for name, value in parts.tokens.state_dict().items()}
        save_file(state, draft / "item_tokens.safetensors")
        save_array({"titles": parts.titles}, draft / "title_states.safetensors")
        if parts.read_reviews is not None:
            save_array({"items": parts.read_reviews.items, "mean": parts.read_reviews.mean}, draft / _REVIEWS)
        if parts.token_reading.index is not None:
            parts.token_reading.index.save(draft / _INDEX)
        kept = _copy_templates(settings.templates, draft / "templates")
        body = {
            "settings": settings.model_copy(update={"templates": kept}).model_dump(mode="json"),
            "calibration": parts.calibration.to_dict(),
            "fusion": parts.fusion.to_dict(),
            "data": parts.dataset.name,
        }
        (draft / "recommender.json").write_text(json.dumps(body, indent=1, ensure_ascii=False), encoding="utf-8")
        for name in _TABLES:
            table: pl.DataFrame | None = getattr(parts.dataset, name)
            if table is not None:
                table.write_parquet(draft / f"{name}.parquet")


def load_words(folder: Path, *, device: str = "auto", precision: Precision = "auto") -> TunedWords:
    """Load only the T5 and the settings of a folder that `save` wrote.

    Raises
    ------
    CheckpointError
        As `load`.
    """
    about = verify_manifest(folder)
    if about.get("kind") != _KIND:
        raise CheckpointError(f"{folder} holds a {about.get('kind', 'folder')!s}, not a recommender")
    body = _body(folder)
    try:
        settings = RecommenderSettings.model_validate(body["settings"])
    except ValidationError as problem:
        raise CheckpointError(f"{folder}/recommender.json is of another version of flanrec: {problem}") from problem
    settings = settings.model_copy(update={"templates": tuple(_inside(folder, path) for path in settings.templates)})
    backbone = load_backbone(folder / "backbone", device=device, precision=precision)
    # The checkpoint it once was says more than the name of a folder inside.
    source = replace(backbone.source, name=str(about.get("backbone", backbone.source.name)))
    return TunedWords(replace(backbone, source=source), settings, str(body["data"]))


def _body(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "recommender.json").read_text(encoding="utf-8"))
    return found


def load(folder: Path, *, device: str = "auto", precision: Precision = "auto") -> Loaded:
    """Load a folder that `save` wrote.

    Raises
    ------
    CheckpointError
        The folder is damaged, unfinished, or of another version.
    """
    backbone, settings, data = load_words(folder, device=device, precision=precision)
    body = _body(folder)
    tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in _TABLES
              if (folder / f"{name}.parquet").is_file()}  # fmt: skip
    dataset = Dataset(tables["interactions"], tables["items"], tables.get("users"), tables.get("reviews"), name=data)
    tokens = ItemTokens(backbone, dataset.items.height, settings.item_tokens)
    tokens.load_state_dict(load_file(folder / "item_tokens.safetensors"), strict=True)
    backbone.model.requires_grad_(False)
    calibration = Calibration(**body["calibration"])
    try:
        fusion = Fusion.from_dict(body["fusion"])
    except (KeyError, TypeError, ValueError) as problem:
        raise CheckpointError(f"{folder} has no fusion that this version of flanrec reads; fit it again") from problem
    shape = (dataset.items.height, int(backbone.model.config.d_model))
    titles, reviews = _title_states(folder, shape), _reviews(folder, shape, backbone)
    tokens = tokens.to(backbone.device).eval()
    # Where the folder is reached by a link, it may lead elsewhere by the time the index is asked for.
    index = (folder / _INDEX).resolve()
    parts = Parts.assemble(backbone, dataset, tokens, calibration, fusion, titles, reviews, settings, index)
    return Loaded(backbone, settings, parts)


def _title_states(folder: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    path = folder / "title_states.safetensors"
    found = load_array(path).get("titles") if path.is_file() else None
    if found is None or found.shape != shape or found.dtype != np.float32:
        raise CheckpointError(f"{folder} has no states of its items' titles; fit the model again with this version")
    return np.asarray(found)


def _reviews(folder: Path, shape: tuple[int, int], backbone: Backbone) -> Reviews | None:
    if not (folder / _REVIEWS).is_file():
        return None
    found = load_array(folder / _REVIEWS)
    items, mean = found.get("items"), found.get("mean")
    if items is None or mean is None or (items.shape, mean.shape) != (shape, shape[1:]) or items.dtype != np.float32:
        raise CheckpointError(f"{folder / _REVIEWS} does not fit the catalogue or the backbone; fit the model again")
    return Reviews(items, mean, ReviewReader(backbone))


def _inside(folder: Path, name: str) -> str:
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise CheckpointError(f"{folder}/recommender.json names templates outside its folder ({name}); do not use it")
    return str(path)


def _copy_templates(templates: tuple[str, ...], target: Path) -> tuple[str, ...]:
    """Keep a copy of a user's templates beside the weights that learnt them."""
    kept = []
    for number, template in enumerate(templates):
        source = Path(template)
        name = f"{number}-{source.name}"
        target.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy2(source, target / name)
        kept.append(f"{target.name}/{name}")
    return tuple(kept)
