"""What is told to Prometheus, and that the dashboard and the alarms ask for what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from flanrec.serving.service import Service

ROOT = Path(__file__).parents[2]


def told(client: TestClient) -> dict[str, float]:
    """Every sample by its name and labels."""
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def test_requests_lists_items_and_events_are_counted(client: TestClient) -> None:
    for user in ("u1", "u1", "nobody"):
        client.post("/v1/recommend", json={"user_id": user, "k": 5})
    client.post("/v1/recommend", json={"user_id": "u1", "k": 0})
    client.post("/v1/feedback", json={"events": [{"user_id": "u1", "item_id": "i20", "feedback_id": "x"}] * 2})
    found = told(client)
    route = "('route', '/v1/recommend')"
    assert found[f"flanrec_requests_total[('method', 'POST'), {route}, ('status', '200')]"] == 3
    assert found[f"flanrec_requests_total[('method', 'POST'), {route}, ('status', '422')]"] == 1
    assert found["flanrec_lists_total[('basis', 'history'), ('fallback', 'no'), ('model', 'default')]"] == 2
    assert found["flanrec_lists_total[('basis', 'popularity'), ('fallback', 'no'), ('model', 'default')]"] == 1
    shown = [found[f"flanrec_items_shown_total[('model', 'default'), ('part', '{part}')]"] for part in ("head", "tail")]
    assert sum(shown) == 15
    assert found["flanrec_events_total[('new', 'yes')]"] == found["flanrec_events_total[('new', 'no')]"] == 1
    assert found["flanrec_items_invalid_total[]"] == 0
    assert found["flanrec_history_events_count[('model', 'default')]"] == 3
    assert found["flanrec_phase_seconds_count[('phase', 'model')]"] == 3
    assert found["flanrec_queue_waiting[]"] == 0


def test_no_label_says_who_asked_or_for_what(client: TestClient) -> None:
    client.put("/v1/users/somebody-special", json={"attributes": {}})
    client.get("/v1/items/secret-item")
    client.get("/somewhere/else-entirely")
    client.request("BREW", "/v1/recommend")
    text = client.get("/metrics").text
    for word in ("somebody-special", "secret-item", "else-entirely", "BREW"):
        assert word not in text


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "alerts.yml"])
def test_what_is_asked_for_is_told(service: Service, file: str) -> None:
    text = (ROOT / "deploy" / file).read_text(encoding="utf-8")
    asked = set(re.findall(r"flanrec_\w+", text))
    there = {
        f"{family.name}{end}"
        for family in service.metrics.registry.collect()
        for end in (("_total",) if family.type == "counter" else ("_bucket", "_sum", "_count", ""))
    }
    assert len(asked) >= 6
    assert asked <= there


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    board = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"]) >= 10
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)
    assert all(target["expr"] for panel in board["panels"] for target in panel["targets"])


def test_the_alarms_are_rules_that_prometheus_reads() -> None:
    yaml = pytest.importorskip("yaml")
    groups = yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert all({"alert", "expr", "annotations"} <= set(rule) for rule in rules)
    assert all(rule["expr"].count("(") == rule["expr"].count(")") for rule in rules)
