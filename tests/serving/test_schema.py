"""The whole API against its own description: schemathesis sends what it allows and forbids, and in sequences."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from served import Served, serving

from flanrec.serving.http import create_app
from flanrec.serving.keys import new_key
from flanrec.serving.service import Service
from flanrec.serving.store import Store
from flanrec.serving.store.trail import Trace

EXAMPLES = os.environ.get("FLANREC_FUZZ_EXAMPLES", "10")
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "unsupported_method", "allow_header_conformance",
    "use_after_free", "ensure_resource_availability",
]  # fmt: skip
# Left out. positive_data_acceptance: what the schema allows may still be refused, for an item that is not there, a
# cursor of nobody's page, more than this service's own limits, a user and a history at once. missing_required_header:
# none is required but the key, which ignored_auth checks. object_level_authorization: nothing is of one key alone.

# 504 is the answer to a deadline of a millisecond, which the schema allows; any other 5xx is a mistake here.
CONFIG = """
[checks.not_a_server_error]
expected-statuses = ["2xx", "3xx", "4xx", 504]
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 413, 421, 422]
"""


def fuzz(one: Served, folder: Path, *options: str, checks: Sequence[str] = CHECKS) -> None:
    """Send much, and see that nothing is answered that the description does not say."""
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    asked = ["--config-file", str(config), "run", f"{one.address}/openapi.json", "--checks", ",".join(checks)]
    asked += ["--max-examples", EXAMPLES, "--seed", "42", "--generation-database", "none", "--no-color"]
    asked += ["--suppress-health-check", "all", "--continue-on-failure", *options]
    command = [sys.executable, "-m", "schemathesis.cli", *asked]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=1_800, cwd=folder)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    assert "Unresolvable references" not in done.stdout
    assert one.client.get("/readyz").status_code == 200
    logged = one.logged()
    assert not [line for line in logged if line["message"] == "a request failed"]
    assert len([line for line in logged if line["message"] == "request"]) > 500


def key_of(store: Path, *scopes: str) -> str:
    """A key that may do what its scopes say, as often as it likes."""
    kept = Store.open(store)
    made = new_key("fuzz", scopes, 10**9)
    kept.keys.add(made.stored, Trace("tests"))
    kept.close()
    return made.text


@pytest.mark.slow
def test_the_service_does_what_its_description_says(model_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    shutil.copytree(model_folder, tmp_path / "shelf" / "v2")
    with serving(model_folder, tmp_path / "store.db", "--models", str(tmp_path / "shelf")) as one:
        fuzz(one, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("scopes", [("admin",), ("read", "feedback")])
def test_it_does_so_with_keys_too(model_folder: Path, tmp_path: Path, scopes: tuple[str, ...]) -> None:
    pytest.importorskip("schemathesis")
    key = key_of(tmp_path / "store.db", *scopes)
    with serving(model_folder, tmp_path / "store.db", "--need-keys") as one:
        fuzz(one, tmp_path, "--header", f"Authorization: Bearer {key}", checks=[*CHECKS, "ignored_auth"])


def test_the_description_has_every_error_once_and_says_when_a_key_is_needed(service: Service) -> None:
    opened, locked = (create_app(service, keys=keys).openapi() for keys in (False, True))
    for schema in (opened, locked):
        errors = {
            status: answer["content"]
            for routes in schema["paths"].values() for route in routes.values()
            for status, answer in route["responses"].items() if status >= "4"
        }  # fmt: skip
        told = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        assert list(errors.values()) == [told] * len(errors)
        assert "$defs" not in str(schema)
    assert "securitySchemes" not in opened["components"]
    free = [path for path, routes in locked["paths"].items() for route in routes.values() if "security" not in route]
    assert free == ["/livez", "/readyz"]


def test_numbers_and_truths_are_not_taken_for_each_other(service: Service) -> None:
    from fastapi.testclient import TestClient

    with TestClient(create_app(service), base_url="http://localhost") as client:
        for year, status in ((False, 422), ("1972", 422), (1972.5, 422), (1972.0, 201), (None, 200)):
            answer = client.put("/v1/items/n1", json={"title": "Kept", "year": year})
            assert answer.status_code == status, (year, answer.text)
        event = {"user_id": 7, "item_id": "n1", "weight": True}
        assert client.post("/v1/feedback", json={"events": [event]}).status_code == 422
        assert client.post("/v1/feedback", json={"events": [event | {"weight": 2}]}).status_code == 200
        assert client.get("/v1/users/7/events").json()["events"][0]["item_id"] == "n1"


def test_an_address_below_an_item_or_a_user_is_no_id(service: Service) -> None:
    from fastapi.testclient import TestClient

    with TestClient(create_app(service), base_url="http://localhost") as client:
        for path in ("/v1/items/i3/similar", "/v1/users/u1/events"):
            answer = client.put(path, json={"title": "An item of this name"})
            assert answer.status_code == 405
            assert answer.headers["Allow"] == "GET"
        assert client.request("OPTIONS", "/v1/items/a/b").headers["Allow"] == "GET, PUT, PATCH, DELETE"
