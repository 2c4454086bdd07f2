"""Commands whose tables are in a PostgreSQL database: the same answers as from files, and no password anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from postgresql_server import SECRETS

from flanrec.data.dataset import Dataset

if TYPE_CHECKING:
    from postgresql_server import Database

    from conftest import Flanrec, Trained


@pytest.fixture
def shop(database: Database, numbered: Dataset) -> Database:
    """The log that `trained` is of, in the tables events and products of the schema shop."""
    events = numbered.interactions.drop("row", "weight")
    database.run("CREATE SCHEMA shop")
    database.store(
        "shop.events", events, "id serial PRIMARY KEY, user_id int, item_id int, timestamp bigint, rating numeric"
    )
    columns = "item_id int PRIMARY KEY, title text, text text, category text[], year smallint"
    database.store("shop.products", numbered.items, columns)
    return database


def test_a_model_trained_from_a_server_recommends_what_one_trained_from_csv_does(
    flanrec: Flanrec, trained: Trained, shop: Database, tmp_path: Path
) -> None:
    sources = {
        "csv": (trained.interactions, trained.items),
        "server": (shop.address(table="shop.events"), shop.address(table="shop.products")),
    }
    answers = {}
    for name, (interactions, items) in sources.items():
        model = tmp_path / name
        said = flanrec("train", "--interactions", interactions, "--items", items, "--out", model, "--preset", "fast",
                       "--backbone", "offline", "--device", "cpu", "--noun", "movie")  # fmt: skip
        assert said.code == 0, said.err
        assert not [word for word in SECRETS if word in said.out + said.err]
        answers[name] = flanrec("recommend", "--model", model, "--user", "3", "--user", "8", "--k", "5", "--json").json
    assert answers["server"] == answers["csv"]
    saved = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert (tmp_path / "server" / "recommender.json") in saved
    assert not [path for path in saved if any(word.encode() in path.read_bytes() for word in (*SECRETS, "postgresql:"))]


def test_histories_come_from_a_server(flanrec: Flanrec, trained: Trained, shop: Database, tmp_path: Path) -> None:
    histories = "SELECT * FROM shop.events WHERE user_id < 5 ORDER BY id"
    answers = []
    log = pl.read_csv(trained.interactions).filter(pl.col("user_id") < 5)
    log.write_csv(tmp_path / "histories.csv")
    for name, source in (("a", tmp_path / "histories.csv"), ("b", shop.address(query=histories))):
        said = flanrec("batch", "--model", trained.model, "--histories", source, "--out", tmp_path / name, "--k", "4")
        assert said.code == 0, said.err
        answers.append(pl.read_parquet(tmp_path / name / "*.parquet"))
    assert answers[0].height == 20
    assert answers[0].equals(answers[1])
    one = flanrec(
        "recommend", "--model", trained.model, "--histories", shop.address(query=histories), "--k", "4", "--json"
    )
    items = [item["item_id"] for user in one.json["recommendations"] for item in user["items"]]
    assert items == answers[0]["item_id"].to_list()


def test_every_option_that_names_a_table_takes_an_address(flanrec: Flanrec, trained: Trained, shop: Database) -> None:
    model = ("--model", trained.model, "--json")
    shop.run("INSERT INTO shop.events (user_id, item_id, timestamp, rating) VALUES (3, 128, 2000000000, 5)")
    last = shop.address(query="SELECT * FROM shop.events WHERE timestamp = 2000000000")
    tested = flanrec("evaluate", *model, "--test", last, "--no-match")
    assert tested.code == 0, tested.err
    assert tested.json["test"].startswith(f"postgresql://postgres@127.0.0.1:{shop.port}/{shop.name}?query=")
    matched = flanrec("match", *model, "--pairs", last)
    assert [pair["item_id"] for pair in matched.json["pairs"]] == [128]
    ranked = flanrec("rank-new", *model, "--new-items", shop.address(table="shop.products"), "--user", "3")
    assert {item["item_id"] for item in ranked.json["recommendations"][0]["items"]} == {128, 129}


def test_data_commands_read_and_convert_what_is_in_a_server(flanrec: Flanrec, shop: Database, tmp_path: Path) -> None:
    shop.run("CREATE TABLE people AS SELECT DISTINCT user_id, 30 AS age FROM shop.events")
    shop.run("CREATE TABLE reviews AS SELECT user_id, item_id, 'Fine.' AS text FROM shop.events WHERE user_id < 3")
    names = {"interactions": "shop.events", "items": "shop.products", "users": "people", "reviews": "reviews"}
    source = [part for name, table in names.items() for part in (f"--{name}", shop.address(table=table))]
    assert flanrec("data", "validate", *source).out.startswith("events: every row is usable")
    assert flanrec("data", "convert", *source, "--to", tmp_path).code == 0
    files = [part for name in names for part in (f"--{name}", tmp_path / f"{name}.parquet")]
    stored, written = (flanrec("data", "describe", *given, "--json").json for given in (source, files))
    assert (stored["fingerprint"], stored["reviews"]) == (written["fingerprint"], written["reviews"])


def test_a_bad_row_is_told_by_address_without_the_password(flanrec: Flanrec, shop: Database, tmp_path: Path) -> None:
    shop.run("INSERT INTO shop.events (user_id, item_id, timestamp) VALUES (NULL, 104, 1000000000)")
    rejects = tmp_path / "rejects.csv"
    said = flanrec("data", "validate", "--interactions", shop.address(table="shop.events"),
                   "--items", shop.address(table="shop.products"), "--rejects", rejects)  # fmt: skip
    assert said.code == 2
    told = f"postgresql://postgres@127.0.0.1:{shop.port}/{shop.name}?table=shop.events"
    assert f"{told}, row " in said.out
    assert pl.read_csv(rejects)["file"].to_list() == [told]
    assert not [word for word in SECRETS if word in said.out + said.err + rejects.read_text()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("shop.events", "shop.absent"), 'relation "shop.absent" does not exist'),
        (("table=", "tabel="), "table=SCHEMA.NAME"),
        (("%40", "@"), "@ as %40"),
        (("postgresql://", "mysql://"), "not read from mysql://"),
        ((":c0rrect", ":wrong"), "password authentication failed"),
    ],
)
def test_an_address_that_cannot_be_read_ends_with_2_and_says_why(
    flanrec: Flanrec, shop: Database, change: tuple[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLANREC_DEBUG", "1")  # a traceback must not tell it either
    address = shop.address(table="shop.events").replace(*change)
    said = flanrec("data", "describe", "--interactions", address, "--items", shop.address(table="shop.products"))
    assert said.code == 2
    assert message in said.err
    assert not [word for word in SECRETS if word in said.out + said.err]


def test_an_address_may_stand_in_the_environment_and_in_a_settings_file(
    flanrec: Flanrec, trained: Trained, shop: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLANREC_INTERACTIONS", shop.address(table="shop.events"))
    config = tmp_path / "short.toml"
    config.write_text(f"[train]\nitems = '{shop.address(table='shop.absent')}'\n")
    said = flanrec("train", "--config", config, "--out", tmp_path / "model")
    assert said.code == 2
    assert f"/{shop.name}?table=shop.absent: relation" in said.err
