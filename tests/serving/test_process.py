"""The service as a process: it starts, ends in order, and loses nothing when it is killed."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from served import serving

from flanrec.serving.store import Store


def test_it_serves_and_ends_in_order(model_folder: Path, tmp_path: Path) -> None:
    with serving(model_folder, tmp_path / "store.db") as one:
        assert one.client.get("/readyz").status_code == 200
        assert len(one.client.post("/v1/recommend", json={"user_id": "u1"}).json()["items"]) == 10
        one.client.delete("/v1/users/u9")
        assert one.client.put("/v1/items/%252e%252e", json={"title": "Dots"}).json()["item_id"] == "%2e%2e"
        one.process.send_signal(signal.SIGTERM)
        assert one.end() == 0
        requests = [line for line in one.logged() if line["message"] == "request"]
        assert [line["route"] for line in requests] == [
            "/readyz", "/v1/recommend", "/v1/users/{user_id:id}", "/v1/items/{item_id:id}",
        ]  # fmt: skip
        assert all(line["request_id"] and line["milliseconds"] > 0 for line in requests)
        assert "u9" not in "\n".join(one.lines)
    store = Store.open(tmp_path / "store.db")
    assert len(store.shown.answers(0.0)) == 1  # what was shown was kept before it ended
    store.close()


def test_after_sigterm_it_is_not_ready_answers_what_is_under_way_and_ends(model_folder: Path, tmp_path: Path) -> None:
    with serving(model_folder, tmp_path / "store.db", "--notice", "4") as one:
        statuses: list[int] = []

        def ask() -> None:
            asked = {"requests": [{"user_id": f"u{number % 40}", "explain": 1} for number in range(20)]}
            statuses.append(httpx.post(f"{one.address}/v1/recommend/batch", json=asked, timeout=60).status_code)

        under_way = threading.Thread(target=ask)
        under_way.start()
        one.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 30
        while one.client.get("/readyz").status_code != 503:
            assert time.monotonic() < until
        # It still listens, and answers or, behind the others on a slow machine, is late.
        assert one.client.post("/v1/recommend", json={"user_id": "u1"}).status_code in (200, 504)
        under_way.join()
        assert one.end() == 0
        assert statuses in ([200], [504])


def test_a_second_signal_ends_it_at_once(model_folder: Path, tmp_path: Path) -> None:
    with serving(model_folder, tmp_path / "store.db", "--notice", "60") as one:
        one.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + 30
        while one.client.get("/readyz").status_code != 503:
            assert time.monotonic() < until
        one.process.send_signal(signal.SIGINT)
        assert one.end(10) == 130
        assert one.logged()[-1]["message"].startswith("ended at once")
        assert "Traceback" not in "".join(one.lines)


def test_what_was_acknowledged_is_there_after_kill_9(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    acknowledged: list[str] = []
    for round_ in range(2):
        with serving(model_folder, path) as one:
            stop = threading.Event()

            def report(
                who: int, address: str = one.address, number: int = round_, stop: threading.Event = stop
            ) -> None:
                with httpx.Client(base_url=address, timeout=10) as client:
                    for at in range(10_000):
                        name = f"{number}-{who}-{at}"
                        events = {"events": [{"user_id": f"w{who}", "item_id": "i3", "feedback_id": name}]}
                        try:
                            if client.post("/v1/feedback", json=events).status_code == 200:
                                acknowledged.append(name)
                        except httpx.HTTPError:
                            return
                        if stop.is_set():
                            return

            writers = [threading.Thread(target=report, args=(who,)) for who in range(3)]
            for writer in writers:
                writer.start()
            until = time.monotonic() + 60
            while len([name for name in acknowledged if name.startswith(f"{round_}-")]) < 40:
                assert time.monotonic() < until
                time.sleep(0.01)
            one.process.kill()
            stop.set()
            for writer in writers:
                writer.join()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        kept = {row[0] for row in connection.execute("SELECT feedback_id FROM events WHERE feedback_id IS NOT NULL")}
    assert len(acknowledged) >= 80
    assert set(acknowledged) <= kept


def test_two_processes_share_one_store_and_see_each_others_changes(model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with serving(model_folder, path) as one, serving(model_folder, path) as other:
        first = one.client.post("/v1/recommend", json={"user_id": "u1"}).json()["items"][0]["item_id"]
        one.client.post("/v1/feedback", json={"events": [{"user_id": "u1", "item_id": first}]})
        listed = other.client.post("/v1/recommend", json={"user_id": "u1"}).json()["items"]
        assert first not in [item["item_id"] for item in listed]
        gone = listed[0]["item_id"]
        other.client.delete(f"/v1/items/{gone}")
        again = one.client.post("/v1/recommend", json={"user_id": "u1", "k": 30}).json()["items"]
        assert gone not in [item["item_id"] for item in again]


def test_an_address_that_is_taken_is_told_before_a_model_is_loaded(model_folder: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        store = str(tmp_path / "store.db")
        done = flanrec("serve", "--model", str(model_folder), "--store", store, "--port", port)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in done.stderr.replace("\n", " ")
    assert "backbone" not in done.stderr


def flanrec(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "flanrec", *arguments], capture_output=True, text=True, timeout=120)


def test_keys_are_made_listed_and_revoked_from_the_command_line(tmp_path: Path) -> None:
    store = str(tmp_path / "store.db")
    key = flanrec(
        "keys", "create", "--store", store, "--name", "shop", "--scope", "read", "--scope", "feedback"
    ).stdout.strip()
    assert key.startswith("fr_")
    told = flanrec("keys", "list", "--store", store, "--json").stdout
    assert "shop" in told
    assert key.split("_", 2)[2] not in told
    assert flanrec("keys", "revoke", key.split("_")[1], "--store", store).returncode == 0
    again = flanrec("keys", "revoke", key.split("_")[1], "--store", store)
    assert again.returncode == 2
    assert "flanrec keys list" in again.stderr


def test_a_folder_that_is_not_there_leaves_no_store_behind(tmp_path: Path) -> None:
    done = flanrec("serve", "--model", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert "There is no folder" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [("keys", "list"), ("keys", "revoke", "3f2a9c01d7e4"), ("update", "--model", "{model}", "--out", "{out}")],
)
def test_what_reads_a_store_makes_none(arguments: tuple[str, ...], model_folder: Path, tmp_path: Path) -> None:
    asked = [one.format(model=model_folder, out=tmp_path / "out") for one in arguments]
    for store in (tmp_path / "mistyped.db", tmp_path / "empty.db"):
        if store.stem == "empty":
            store.touch()
        done = flanrec(*asked, "--store", str(store))
        assert done.returncode == 2
        assert f"there is no store at sqlite:///{store}" in done.stderr.replace("\n", "")
    assert [path.name for path in tmp_path.iterdir()] == ["empty.db"]


def test_a_store_is_migrated_down_only_when_it_is_said(tmp_path: Path) -> None:
    store = str(tmp_path / "store.db")
    assert "to 0002" in flanrec("store", "migrate", "--store", store).stdout
    refused = flanrec("store", "migrate", "--store", store, "--to", "base")
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert "to none" in flanrec("store", "migrate", "--store", store, "--to", "base", "--yes").stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--host", "0.0.0.0"], "make one with flanrec keys create"),
        (["--golden", "nothing.json"], "nothing.json: golden requests cannot be read"),
        (["--model", "other=nowhere"], "nowhere"),
    ],
)
def test_a_service_that_cannot_start_says_why(
    model_folder: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    store = str(tmp_path / "store.db")
    done = flanrec("serve", "--model", str(model_folder), "--store", store, "--port", "0", *options)
    assert done.returncode == 2, done.stderr
    assert told in done.stderr
