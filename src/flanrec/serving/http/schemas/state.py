"""The service and its models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flanrec.serving.http.schemas.base import Body, ModelVersion, Sent


class Version(Body):
    """What runs here."""

    flanrec: str
    models: list[ModelVersion]


class ModelFolder(Sent):
    """Where a model is."""

    folder: Annotated[str, Field(min_length=1, max_length=200)]
    """The name of a folder in the folder of models that the service was started with."""


class ModelList(Body):
    """Models that are served, and folders that others may be loaded from."""

    models: list[ModelVersion]
    folders: list[str]
