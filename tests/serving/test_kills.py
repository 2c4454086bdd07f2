"""Some of the kills of ``benchmarks/kills.py``, on a small model."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("kills")


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed(kills: ModuleType, model_folder: Path, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    kills.main(["--model", str(model_folder), "--kills", "8", "--longest", "2", "--json", str(record)])
    told = json.loads(record.read_text("utf-8"))
    assert (told["kills"], told["lost"]) == (8, 0)
    (told,) = told["runs"]
    assert sum(told["rounds"].values()) == 8
    assert min(told["acknowledged"].values()) > 0
    assert sum(told["updates"].values()) == 4  # two kills, and how both went on


def test_what_is_lost_is_found(kills: ModuleType, tmp_path: Path) -> None:
    """The check itself, on a store that lost everything."""
    acknowledged = importlib.import_module("acknowledged")
    from flanrec.serving.store import Event, Item, Store, User
    from flanrec.serving.store.trail import Trace

    by, place = Trace("tests"), tmp_path / "store.db"
    store = Store.open(place)
    kept = acknowledged.Acknowledged(["u1"], ["i1"])
    kept.events.add("0-0-1-0")
    kept.items.answered("7", "A title")
    kept.items.sent("8", "Under way")  # there or not
    kept.people.answered("person-1-1", {"note": "x"})
    kept.people.answered("person-1-2", None)
    kept.reviews.answered("writer-0-0 i1", "Good")
    store.users.put(User("person-1-2", {"note": "still there"}), by)
    store.events.add([Event("person-1-3", "i1", 1.0)])
    found = acknowledged.lost(place, kept)
    assert found == {
        "events": ["0-0-1-0"], "items": ["7"], "users": ["person-1-1", "person-1-2"], "reviews": ["writer-0-0 i1"],
        "left of users who were deleted": ["person-1-3"],
    }  # fmt: skip

    kept = acknowledged.Acknowledged(["u1"], ["i1"])
    kept.items.sent("8", "Under way")
    store.items.put([Item("8", "Under way")], by)
    store.users.delete("person-1-3", by)
    assert acknowledged.lost(place, kept) == {}
    store.items.put([Item("8", "Something else")], by)
    store.close()
    assert acknowledged.lost(place, kept) == {"items": ["8"]}
