"""A small log as files, with whole numbers for ids, and one model that the commands share."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flanrec.cli.main import main
from flanrec.data.dataset import Dataset


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its stdout as one JSON document."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Trained:
    """A model, what it was made of, and what training said."""

    model: Path
    interactions: Path
    items: Path
    config: Path
    said: Answer


Flanrec = Callable[..., Answer]


@pytest.fixture
def flanrec(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Flanrec:
    """Call the command line in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Answer:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return Answer(code, said.out, said.err)

    return call


@pytest.fixture(scope="session")
def numbered(small_dataset: Dataset) -> Dataset:
    """`small_dataset` with whole numbers for ids: user u7 is 7, item i7 is 107."""
    user = pl.col("user_id").str.slice(1).cast(pl.Int64)
    item = (pl.col("item_id").str.slice(1).cast(pl.Int64) + 100).alias("item_id")
    events = small_dataset.interactions.drop("row", "weight").with_columns(user, item)
    assert small_dataset.users is not None
    return Dataset.from_frames(events, small_dataset.items.with_columns(item), small_dataset.users.with_columns(user))


@pytest.fixture(scope="session")
def trained(numbered: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A model after the shortest tuning, made by ``flanrec train`` from CSV files."""
    import torch

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    interactions, items, config = folder / "log.csv", folder / "items.csv", folder / "short.toml"
    numbered.interactions.drop("row", "weight").write_csv(interactions)
    numbered.items.with_columns(pl.col("category").list.join("|")).write_csv(items)
    config.write_text(
        '[train]\nbackbone = "offline"\ndevice = "cpu"\nnoun = "movie"\n\n'
        "[settings]\nnum_beams = 4\nvalidation_users = 20\n\n"
        "[settings.words]\nsteps = 2\nbatch_size = 2\n\n[settings.tokens]\npasses = 1\nevaluations = 1\n"
    )
    model = folder / "model"
    arguments = ["train", "--interactions", interactions, "--items", items, "--out", model, "--config", config,
                 "--seed", "5", "--json"]  # fmt: skip
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Trained(model, interactions, items, config, Answer(code, out.getvalue(), err.getvalue()))
