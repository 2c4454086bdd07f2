"""The report page: whole, offline, escaped, the same every time."""

from __future__ import annotations

import importlib.util
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from flanrec.data import Dataset
from flanrec.errors import SettingsError
from flanrec.evaluation.comparison import Comparison
from flanrec.evaluation.methods import K, Kind, Row
from flanrec.evaluation.page import page_of, write_page
from flanrec.evaluation.tasks import ranking_task

EVIL = "<script>alert('x')</script> & \"$\\frac$\""
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Reader(HTMLParser):
    """Collects tags, and fails where they do not close in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def comparison(data: Dataset, seed: int, name: str = "rival") -> Comparison:
    """Drawn lists of three methods, one of which has no known time."""
    task = ranking_task(data, "leave-one-out", seed)
    rng = np.random.default_rng(seed)

    def row(label: str, kind: Kind, seconds: float) -> Row:
        items = np.stack([rng.permutation(30)[:K] for _ in task.people])
        return Row(label, kind, f"settings of {label}", items, seconds, seconds)

    rows = [row("fused", "reading", 2.0), row("without", "ablation", float("nan")), row("blend", "source", 0.0),
            row(name, "peer", 0.1)]  # fmt: skip
    return Comparison.of(task, rows, "fused", [f"note on {name}"])


@pytest.fixture(scope="module")
def page(small_dataset: Dataset) -> str:
    return page_of([comparison(small_dataset, 1, EVIL), comparison(small_dataset, 2, EVIL)], f"About {EVIL}")


def test_every_text_is_escaped(page: str) -> None:
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 10
    assert "alert" in page


def test_the_page_closes_its_tags_and_needs_nothing_else(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    for tag, attributes in reader.tags:
        assert tag not in {"script", "link", "img", "iframe", "object"}
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in {"href", "src", "xlink:href"}:
                assert value is not None
                assert value.startswith("#")
    assert "default-src 'none'" in page


def test_links_lead_somewhere_and_every_column_has_a_definition(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    places = {attributes["id"] for _, attributes in reader.tags if "id" in attributes}
    links = [attributes["href"] for tag, attributes in reader.tags if tag == "a"]
    assert {f"#{place}" for place in places} >= set(links)
    for words in ("NDCG@10", "HR@10", "interval", "difference", "coverage", "popularity", "seconds to fit", "head"):
        assert f"<b>{words}</b>" in page


def test_plots_are_inline_and_take_the_colour_of_the_page(page: str) -> None:
    assert page.count("<svg") == page.count("</svg>") == 8
    assert "currentColor" in page
    assert "#010203" not in page
    assert "prefers-color-scheme: dark" in page


def test_seeds_are_summed_up_only_where_there_are_several(page: str, small_dataset: Dataset) -> None:
    assert "Over seeds" in page
    assert "Over seeds" not in page_of([comparison(small_dataset, 1)], "One")


def test_the_same_comparison_gives_the_same_page(small_dataset: Dataset, tmp_path: Path) -> None:
    write_page([comparison(small_dataset, 1)], "Twice", tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text("utf-8") == page_of([comparison(small_dataset, 1)], "Twice")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_nothing_to_show_and_a_missing_extra_are_told(small_dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="at least one split"):
        page_of([], "Nothing")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"matplotlib and Jinja2.*flanrec\[report\]"):
        page_of([comparison(small_dataset, 1)], "Missing")
