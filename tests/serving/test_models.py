"""Models that are served: replaced in one step or not at all, and followed as the store changes."""

from __future__ import annotations

import asyncio
import gc
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from flanrec.errors import CheckpointError, NotFoundError, SettingsError
from flanrec.recommender import Recommender
from flanrec.serving.golden import Golden, GoldenRequest, read_golden
from flanrec.serving.http import create_app
from flanrec.serving.live import Live
from flanrec.serving.server import keep_out_of_collections
from flanrec.serving.service import Service
from flanrec.serving.settings import Queue, ServeSettings
from flanrec.serving.store import Item
from flanrec.serving.store.trail import Trace

BY = Trace("tests")


@pytest.fixture(scope="module")
def other_folder(fitted: Recommender, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another version: item tokens with another bias."""
    other = Recommender(fitted.backbone, fitted.settings)
    tokens = fitted.parts.tokens.extended(fitted.backbone, fitted.parts.catalogue, fitted.parts.catalogue.popularity)
    tokens.bias.data += 0.5
    other.adopt(replace(fitted.parts, tokens=tokens))
    folder = tmp_path_factory.mktemp("other") / "model"
    other.save_pretrained(folder)
    return folder


def test_another_version_takes_the_place_and_the_earlier_one_can_come_back(
    service: Service, other_folder: Path
) -> None:
    first = service.models.get().version
    second = service.models.load("default", other_folder, service.golden.failures).version
    assert second != first
    assert service.models.get().version == second
    assert service.models.roll_back("default").version == first
    assert service.models.roll_back("default").version == second


def test_a_rollback_takes_the_place_with_all_items_that_came_since(service: Service, other_folder: Path) -> None:
    service.models.load("default", other_folder)
    service.store.items.put([Item("n1", "A newcomer")], BY)
    service.store.items.delete("i20", BY)
    service.models.follow()
    served: list[bool] = []

    class Watched(dict[str, Any]):
        def __setitem__(self, name: str, one: Any) -> None:
            served.append("n1" in one.live.places and not one.live.open[one.live.places["i20"]])
            super().__setitem__(name, one)

    service.models._served = Watched(service.models._served)
    assert "n1" in service.models.roll_back("default").places
    assert served == [True]


def test_probabilities_of_one_answer_are_of_one_version(
    make_service: Callable[..., Service], other_folder: Path
) -> None:
    service = make_service(ServeSettings(queue=Queue(together=1, deadline_ms=60_000)))
    answer, asked = service.answerer.answer, []

    def run(questions: Any) -> Any:
        answers = answer(questions)
        asked.append(len(questions[0].items))
        if len(asked) == 1:
            service.models.load("default", other_folder)
        return answers

    service.batcher._run = run
    with TestClient(create_app(service), base_url="http://localhost") as client:
        body = client.post("/v1/match", json={"user_id": "u1", "items": [f"i{number}" for number in range(25)]}).json()
    assert asked == [10, 10, 5, 25]
    assert body["model"]["version"] == service.models.get().version
    assert len(body["items"]) == 25


def test_the_process_is_told_when_models_have_come_to_stay(make_service: Callable[..., Service], tmp_path: Path,
    other_folder: Path) -> None:  # fmt: skip
    shelf = tmp_path / "shelf"
    shutil.copytree(other_folder, shelf / "other")
    service, told = make_service(shelf=shelf), []
    service.settled = lambda: told.append(service.models.get().version)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        assert len(told) == 1
        assert client.put("/v1/models/default", json={"folder": "other"}).status_code == 200
    assert len(set(told)) == 2


def test_the_collector_passes_over_what_stays() -> None:
    try:
        keep_out_of_collections()
        assert gc.get_freeze_count() > 10_000
    finally:
        gc.unfreeze()


def test_several_models_answer_by_name_and_hold_common_weights_once(
    make_service: Callable[..., Service], other_folder: Path
) -> None:
    service = make_service()
    service.models.load("other", other_folder)
    places = [
        {weight.data_ptr() for weight in live.recommender.backbone.model.parameters()} for live in service.models.all()
    ]
    assert places[0] == places[1]
    with TestClient(create_app(service), base_url="http://localhost") as client:
        asked = {"user_id": "u1", "reading": "item_tokens"}
        answers = [
            client.post("/v1/recommend", json=asked | {"model": name}).json() for name in ("default", "other") * 2
        ]
    assert [answer["model"]["name"] for answer in answers] == ["default", "other"] * 2
    assert len({answer["model"]["version"] for answer in answers}) == 2
    assert answers[0]["items"] == answers[2]["items"]
    assert answers[1]["items"] == answers[3]["items"]


def test_the_engine_holds_for_every_model_and_for_new_items(
    make_service: Callable[..., Service], other_folder: Path
) -> None:
    service = make_service(engine="int8")
    service.models.load("other", other_folder)
    assert all(live.recommender.engine.name == "int8" for live in service.models.all())
    with TestClient(create_app(service), base_url="http://localhost") as client:
        exact = service.models.get().recommender.parts.token_reading
        assert client.put("/v1/items/new", json={"title": "A film about robots"}).status_code == 201
        answer = client.post("/v1/recommend", json={"user_id": "u1", "reading": "item_tokens"})
    assert answer.status_code == 200
    assert answer.json()["fallback"] is None
    parts = service.models.get().recommender.parts
    assert parts.int8_tokens
    assert len(parts.catalogue) == exact.tokens.n_items + 1
    assert not any(isinstance(module, torch.nn.Linear) for module in parts.token_reading.tokens.decoder.modules())


def test_there_is_nothing_to_go_back_to_at_first(service: Service) -> None:
    with pytest.raises(NotFoundError, match="no earlier version"):
        service.models.roll_back("default")


@pytest.mark.parametrize("name", ["item_tokens.safetensors", "recommender.json", "interactions.parquet"])
def test_a_model_whose_hash_does_not_fit_is_refused(
    service: Service, other_folder: Path, tmp_path: Path, name: str
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(other_folder, damaged)
    content = bytearray((damaged / name).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / name).write_bytes(content)
    before = service.models.get()
    with pytest.raises(CheckpointError, match=name):
        service.models.load("default", damaged)
    assert service.models.get() is before


def test_a_model_that_fails_golden_requests_does_not_take_the_place(service: Service, other_folder: Path) -> None:
    before, lines = service.models.get(), len(service.store.trail.page().records)
    never = Golden((GoldenRequest(history=("i3",), k=5, any_of=("i3", "none")),))
    with pytest.raises(CheckpointError, match="none of i3, none among"):
        service.models.load("default", other_folder, never.failures)
    seen = Golden((GoldenRequest(history=("i3",), any_of=("i3",)),))
    with pytest.raises(CheckpointError, match="i3 cannot come, being in the history"):
        service.models.load("default", other_folder, seen.failures)
    unknown = Golden((GoldenRequest(history=("no such film",)),))
    with pytest.raises(CheckpointError, match="no such film"):
        service.models.load("default", other_folder, unknown.failures)
    assert service.models.get() is before
    assert len(service.store.trail.page().records) == lines  # nor did the store take anything in


def test_golden_requests_hold_what_they_say(service: Service) -> None:
    live = service.models.get()
    listed = live.recommender.recommend(history=["i3"], k=5)["item_id"].to_list()
    good = GoldenRequest(history=("i3",), k=5, any_of=(listed[4],), none_of=("i3",))
    assert Golden((good,)).failures(live) == []
    bad = GoldenRequest(history=("i3",), k=5, none_of=(listed[0],))
    assert Golden((bad,)).failures(live) == [f"after i3: {listed[0]} must not come"]


def test_a_model_whose_scores_are_not_numbers_does_not_take_the_place(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = service.models.get()

    def broken(persons: Any, k: int, *_: Any, **__: Any) -> Any:
        return np.zeros((len(persons), k), dtype=np.int64), np.full((len(persons), k), np.nan, dtype=np.float32)

    monkeypatch.setattr(live.recommender, "rank_open", broken)
    assert any("popular" in told for told in service.golden.failures(live))


def test_golden_requests_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "golden.json"
    path.write_text(json.dumps([{"history": ["i3"], "any_of": ["i4"]}]))
    assert read_golden(path) == (GoldenRequest(history=("i3",), any_of=("i4",)),)
    path.write_text(json.dumps([{"history": ["i3"], "anyof": ["i4"]}]))
    with pytest.raises(SettingsError, match=r"0\.anyof.*history, wish, k, any_of, none_of"):
        read_golden(path)
    path.write_text("{")
    with pytest.raises(SettingsError, match="this is not JSON"):
        read_golden(path)


def test_several_models_answer_at_once_each_by_its_name(service: Service, other_folder: Path) -> None:
    service.models.load("other", other_folder, service.golden.failures)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        versions = [
            client.post("/v1/recommend", json={"user_id": "u1"} | named).json()["model"]
            for named in ({}, {"model": "default"}, {"model": "other"})
        ]
        assert [one["name"] for one in versions] == ["default", "default", "other"]
        assert versions[0]["version"] == versions[1]["version"] != versions[2]["version"]
        assert client.post("/v1/recommend", json={"user_id": "u1", "model": "none"}).status_code == 404
        assert len(client.get("/version").json()["models"]) == 2
        assert client.put("/v1/items/n1", json={"title": "For both"}).status_code == 201
        for name in ("default", "other"):
            asked = {"user_id": "u1", "model": name, "filters": {"only": ["n1"]}}
            assert [item["item_id"] for item in client.post("/v1/recommend", json=asked).json()["items"]] == ["n1"]


def test_a_model_that_is_loaded_later_has_the_items_of_the_store(service: Service, other_folder: Path) -> None:
    service.store.items.put([Item("n1", "A newcomer")], BY)
    service.store.items.delete("i20", BY)
    live = service.models.load("other", other_folder)
    assert "n1" in live.places
    assert not live.open[live.places["i20"]]


def test_what_was_deleted_by_another_process_is_closed_with_the_next_question(service: Service) -> None:
    live = service.models.get()
    place = live.places["i20"]
    service.store.items.delete("i20", BY)
    now = service.models.current("", service.store.items.revision())
    assert not now.open[place]
    assert live.open[place]  # what was handed out does not change


def test_while_new_texts_are_read_questions_look_once_for_what_was_deleted(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.models, "_read_later", lambda name: None)  # it takes for ever
    deleted, looks = service.store.items.deleted, []
    monkeypatch.setattr(service.store.items, "deleted", lambda since: looks.append(since) or deleted(since))
    before = service.store.items.revision()
    service.store.items.put([Item("n1", "A newcomer")], BY)
    for _ in range(3):
        service.models.current("", service.store.items.revision())
    assert looks == [before]
    service.store.items.delete("i20", BY)
    for _ in range(3):
        live = service.models.current("", service.store.items.revision())
    assert looks == [before, before + 1]
    assert not live.open[live.places["i20"]]
    assert service.models.follow().revision == before + 2


def test_what_another_process_put_comes_a_moment_later(make_service: Callable[..., Service]) -> None:
    service = make_service()
    service.store.items.put([Item("n1", "A newcomer")], BY)
    for _ in range(2_000):
        live = service.models.current("", service.store.items.revision())
        if "n1" in live.places:
            break
    else:
        service.models._reading["default"].result(timeout=30)
        live = service.models.get()
    assert "n1" in live.places
    assert live.revision == service.store.items.revision()


def test_items_put_at_the_same_time_are_all_there_when_each_is_answered(client: TestClient) -> None:
    missing: list[str] = []

    def put(name: str) -> None:
        client.put(f"/v1/items/{name}", json={"title": f"Newcomer {name}"})
        items = (
            client.post("/v1/recommend", json={"user_id": "u1", "filters": {"only": [name]}}).json().get("items", [])
        )
        if [item["item_id"] for item in items] != [name]:
            missing.append(name)

    threads = [threading.Thread(target=put, args=(f"n{number}",)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert missing == []


def test_models_are_loaded_and_rolled_back_over_http(
    make_service: Callable[..., Service], other_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "v2").symlink_to(other_folder)
    (tmp_path / "unfinished").mkdir()
    service = make_service(shelf=tmp_path)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        first = client.get("/v1/models").json()
        assert first["folders"] == ["v2"]
        second = client.put("/v1/models/default", json={"folder": "v2"})
        assert second.status_code == 200, second.text
        answer = client.post("/v1/recommend", json={"user_id": "u1"}).json()
        assert answer["model"] == second.json() != first["models"][0]
        assert client.post("/v1/models/default/rollback").json() == first["models"][0]
        assert [line.action for line in service.store.trail.page(limit=2).records] == ["roll back model", "load model"]
        for name in ("unfinished", "..", "../model", "/etc", "v2/../v2", "v2\0"):
            assert client.put("/v1/models/default", json={"folder": name}).status_code == 404, name
        assert client.post("/v1/models/none/rollback").status_code == 404


def test_without_a_folder_of_models_none_can_be_loaded(client: TestClient) -> None:
    answer = client.put("/v1/models/default", json={"folder": "v2"})
    assert answer.status_code == 422
    assert "--models" in answer.json()["detail"]


def test_a_damaged_model_is_not_taken_over_http(
    make_service: Callable[..., Service], other_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(other_folder, tmp_path / "v2")
    (tmp_path / "v2" / "recommender.json").write_text("{}")
    service = make_service(shelf=tmp_path)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        before = client.get("/version").json()
        answer = client.put("/v1/models/default", json={"folder": "v2"})
        assert answer.status_code == 409
        assert "recommender.json" in answer.json()["detail"]
        assert str(tmp_path) not in answer.text
        assert client.get("/version").json() == before


def test_items_put_at_once_are_read_together_and_each_is_there_when_its_put_is_answered(service: Service) -> None:
    follow, begun = service.models.follow, threading.Event()
    reads: list[str] = []

    def slowly(name: str = "") -> Live:
        reads.append(name)
        begun.wait(10)
        return follow(name)

    service.models.follow = slowly  # type: ignore[method-assign]

    async def put(number: int) -> bool:
        service.store.items.put([Item(f"n{number}", f"Newcomer {number}")], BY)
        await service.refresh()
        return f"n{number}" in service.models.get().places

    async def all_at_once() -> list[bool]:
        first = asyncio.ensure_future(put(0))
        while not reads:
            await asyncio.sleep(0.01)
        others = asyncio.gather(*(put(number) for number in range(1, 12)))
        await asyncio.sleep(0.05)
        assert len(reads) == 1
        begun.set()
        return [await first, *await others]

    assert asyncio.run(all_at_once()) == [True] * 12
    assert len(reads) == 2
