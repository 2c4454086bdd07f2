"""``flanrec find-rate``: what it prints and draws, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import polars as pl
import pytest

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


@pytest.fixture
def log(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setenv("FLANREC_TOKENS__BATCH_SIZE", "4")
    monkeypatch.setenv("FLANREC_WORDS__BATCH_SIZE", "1")
    return ["--interactions", trained.interactions, "--items", trained.items, "--backbone", "offline",
            "--device", "cpu", "--noun", "movie", "--seed", "5"]  # fmt: skip


def test_it_says_where_the_loss_falls_and_writes_the_curve(flanrec: Flanrec, log: list[object], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra: pip install 'flanrec[report]'")
    curve, plot = tmp_path / "curve.csv", tmp_path / "curve.svg"
    said = flanrec("find-rate", *log, "--stage", "item_tokens", "--low", "1e-5", "--steps", "30", "--out", curve,
                   "--plot", plot, "--json")  # fmt: skip
    assert said.code == 0, said.err
    told = said.json
    assert told["stage"] == "item_tokens"
    table = pl.read_csv(curve)
    assert table["rate"].to_list() == pytest.approx([row["rate"] for row in told["curve"]])
    assert table["rate"][0] == pytest.approx(1e-5)
    assert told["steepest"] in table["rate"]
    assert told["lowest"] < told["untrained"]
    for name in ("steepest", "tenth_of_lowest"):
        rate = told["settings"][name]["tokens.learning_rate"]
        assert rate == pytest.approx(told[name])
        assert told["settings"][name]["tokens.vector_rate"] == pytest.approx(2 * rate)
    texts = [text.text for text in ElementTree.parse(plot).iter("{http://www.w3.org/2000/svg}text")]
    assert "tokens.learning_rate" in texts


def test_it_tells_the_words_rate_of_a_method_as_a_table(flanrec: Flanrec, log: list[object]) -> None:
    said = flanrec("find-rate", *log, "--method", "ia3", "--low", "1e-8", "--high", "1e-7", "--steps", "10")
    assert said.code == 0, said.err
    assert "words: the loss at the start is" in said.out
    assert "1.0e-08" in said.out
    assert "stopped: the highest rate was reached" in said.out
    assert "the loss did not fall at any of these rates" in said.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--low", "1", "--high", "0.1"], "the lower one first"),
        (["--preset", "fast"], "words.steps is 0"),
        (["--plot", "curve.png"], "ends with .svg"),
        (["--out", "curve.xls"], "cannot write '.xls'"),
    ],
)
def test_what_cannot_be_tested_ends_with_2(flanrec: Flanrec, log: list[object], options: list[str], told: str) -> None:
    said = flanrec("find-rate", *log, *options)
    assert (said.code, told in said.err) == (2, True), said.err
