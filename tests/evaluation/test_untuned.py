"""The T5 before tuning as rows of a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from flanrec.backbone import Backbone
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.evaluation.comparing import Plan, compare
from flanrec.evaluation.methods import measure
from flanrec.evaluation.references import zero_shot_report
from flanrec.evaluation.tasks import RankingTask, ranking_task
from flanrec.evaluation.untuned import Untuned, untuned_name, untuned_reading
from flanrec.instructions.text import occurs
from flanrec.metrics import ndcg
from flanrec.recommender import Asking, RecommenderSettings


@pytest.fixture(scope="module")
def task(small_dataset: Dataset) -> RankingTask:
    return ranking_task(small_dataset, "few-users", 42, sample=4, users=12)


@pytest.fixture(scope="module")
def untuned(backbone: Backbone, short_settings: RecommenderSettings) -> Untuned:
    return Untuned("offline", lambda: backbone, short_settings, (0, 2))


def test_rows_are_named_by_their_examples_and_differ(untuned: Untuned, task: RankingTask) -> None:
    methods = untuned.methods()
    assert [method.name for method in methods] == ["T5, zero-shot", "T5, 2 examples"]
    assert untuned_name(1) == "T5, 1 example"
    rows = [measure(method, task) for method in methods]
    assert not np.array_equal(rows[0].items, rows[1].items)
    for row in rows:
        for person, listed in zip(task.people, row.items, strict=True):
            assert len(set(listed.tolist())) == 10
            assert not set(listed.tolist()) & set(person.items.tolist())
    assert np.array_equal(measure(methods[1], task).items, rows[1].items)


def test_the_zero_shot_row_ranks_as_the_zero_shot_report(
    untuned: Untuned, backbone: Backbone, small_dataset: Dataset, short_settings: RecommenderSettings
) -> None:
    task = ranking_task(small_dataset, "leave-one-out", 42)
    row = measure(untuned.methods()[0], task)
    report = zero_shot_report(backbone, short_settings, task.known, hold_out_last(small_dataset)[1], (10,))
    assert report.users == len(task.people)
    reached = ndcg(row.items, task.relevant, 10)
    assert reached.any()
    np.testing.assert_allclose(np.sort(reached), np.sort(report.per_user["ndcg@10"]))


def test_zero_shot_reports_are_named_by_their_examples_and_differ(
    backbone: Backbone, small_dataset: Dataset, short_settings: RecommenderSettings
) -> None:
    train, test = hold_out_last(small_dataset)
    reports = [zero_shot_report(backbone, short_settings, train, test, (10,), users=3, shots=shots) for shots in (0, 2)]
    assert [report.name for report in reports] == ["zero-shot, 3 users", "few-shot, 2 examples, 3 users"]
    assert reports[0].per_user["ndcg@10"].tolist() != reports[1].per_user["ndcg@10"].tolist()


def test_examples_are_of_those_whom_training_sees(
    backbone: Backbone, task: RankingTask, short_settings: RecommenderSettings
) -> None:
    reading = untuned_reading(backbone, short_settings, task.known)
    titles = reading.prompter.catalogue.titles
    known = [set(task.known.sequences().of(user).tolist()) for user in range(12)]
    for prompt in reading.prompts(task.people, Asking(shots=2)):
        for example in prompt.split("Question: ")[1:3]:
            named = {at for at, title in enumerate(titles) if occurs(title, example)}
            assert any(named <= history for history in known)


def test_a_comparison_has_the_rows_and_holds_them_against_its_reference(
    untuned: Untuned, small_dataset: Dataset
) -> None:
    found = compare(small_dataset, Plan(rules=("few-users",), sample=3, reference="popularity"), untuned=untuned)[0]
    kinds = {row.name: row.kind for row in found.rows}
    assert kinds["T5, zero-shot"] == kinds["T5, 2 examples"] == "untuned"
    assert found.standings["T5, zero-shot"].difference.count == 3
    assert "untuned" in " ".join(found.to_dict()["definitions"])
