"""What tests of the service stand on."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("sqlalchemy")

from serving_fixtures import client, make_service, model_folder, service, untouched

__all__ = ["client", "make_service", "model_folder", "service", "untouched"]
