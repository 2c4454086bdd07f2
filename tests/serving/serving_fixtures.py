"""A service on the shortest fitted recommender, over HTTP without a network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from flanrec.recommender import Recommender
from flanrec.serving.http import create_app
from flanrec.serving.models import Models
from flanrec.serving.service import Service
from flanrec.serving.settings import ServeSettings
from flanrec.serving.store import Store


@pytest.fixture(scope="session")
def model_folder(fitted: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fitted recommender, saved."""
    folder = tmp_path_factory.mktemp("served") / "model"
    fitted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_service(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Service]]:
    """Makes services of their own settings, each on a store of its own that knows the model's data."""
    stores: list[Store] = []
    filled = tmp_path_factory.mktemp("store") / "filled.db"
    first = Store.open(filled)
    Models(first).load("default", model_folder)
    first.close()

    def make(settings: ServeSettings | None = None, **more: Any) -> Service:
        own = tmp_path_factory.mktemp("store") / "store.db"
        shutil.copy(filled, own)
        stores.append(Store.open(own))
        return Service(stores[-1], {"default": model_folder}, settings, **more)

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def service(make_service: Callable[..., Service]) -> Service:
    """One with default settings, for a test that changes it."""
    return make_service()


@pytest.fixture
def client(service: Service) -> Iterator[TestClient]:
    """A client of it, as from this machine."""
    with TestClient(create_app(service), base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="session")
def untouched(make_service: Callable[..., Service]) -> Iterator[TestClient]:
    """A client of a service that all tests share which only ask."""
    with TestClient(create_app(make_service()), base_url="http://localhost") as client:
        yield client
