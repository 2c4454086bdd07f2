"""No test event reaches anything before evaluation: a marker item is planted in the test events alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flanrec.backbone import Backbone
from flanrec.data import Dataset, leave_one_out
from flanrec.evaluation.tasks import RULES, ranking_task
from flanrec.recommender import Recommender, RecommenderSettings

MARKER = "i29"


def planted(dataset: Dataset, item: str) -> Dataset:
    """Every user's last event is the same item, which nobody met before."""
    last = dataset.interactions.group_by("user_id", maintain_order=True).last()
    after = last.with_columns(
        pl.lit(item).alias("item_id"),
        pl.col("timestamp") + 1_000_000,
        pl.col("row") + dataset.interactions["row"].max() + 1,
    )
    return dataset.with_interactions(pl.concat([dataset.interactions, after.select(dataset.interactions.columns)]))


def fit(data: Dataset, backbone: Backbone, settings: RecommenderSettings) -> Recommender:
    split = leave_one_out(data)
    return Recommender(backbone, settings).fit(split.train, validation=split.validation)


def test_two_logs_that_differ_in_their_test_events_give_the_same_model(
    small_dataset: Dataset,
    short_settings: RecommenderSettings,
    fresh_backbone: Callable[[], Backbone],
    tmp_path: Path,
) -> None:
    for item in (MARKER, "i28"):
        data = planted(small_dataset, item)
        assert set(leave_one_out(data).test.interactions["item_id"]) == {item}
        fit(data, fresh_backbone(), short_settings).save_pretrained(tmp_path / item)
    one, other = ({path.relative_to(tmp_path / item): path.read_bytes() for path in (tmp_path / item).rglob("*.*")}
                  for item in (MARKER, "i28"))  # fmt: skip
    assert one == other, "every file has the same bytes"
    assert len(one) > 5
    said = json.loads((tmp_path / MARKER / "recommender.json").read_text("utf-8"))
    assert said["fusion"]["names"], "a fusion was learned"


def test_the_marker_is_an_item_without_a_past_in_every_part(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Callable[[], Backbone]
) -> None:
    parts = fit(planted(small_dataset, MARKER), fresh_backbone(), short_settings).parts
    marker = parts.catalogue.index_of(MARKER)
    assert parts.catalogue.popularity[marker] == 0
    assert marker not in parts.newcomers.anchors
    histories = [np.array([item]) for item in range(28)]
    for name, scorer in parts.behaviour.scorers.items():
        found = scorer.scores(histories)
        assert np.array_equal(found[:, marker], found[:, parts.catalogue.index_of("i28")]), f"{name}: as unmet as i28"


@pytest.mark.parametrize("rule", RULES)
def test_no_split_of_a_comparison_trains_on_its_test_events(small_dataset: Dataset, rule: str) -> None:
    task = ranking_task(dataclasses.replace(small_dataset), rule)
    known = task.known.sequences(task.user_ids)
    for row, user in enumerate(task.user_ids):
        asked = set(task.relevant.items[task.relevant.offsets[row] : task.relevant.offsets[row + 1]].tolist())
        assert asked, user
        assert not asked & set(known.of(row).tolist())
        assert not asked & set(task.people[row].items.tolist())
