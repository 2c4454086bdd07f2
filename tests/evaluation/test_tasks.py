"""What is asked on each split, and what methods may know."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from flanrec.data import Dataset, leave_one_out
from flanrec.errors import DataError, SettingsError
from flanrec.evaluation.tasks import MEANING, RULES, RankingTask, Rule, ranking_task


def pairs_known(task: RankingTask) -> set[tuple[str, int]]:
    """Users and the items that methods may learn they met."""
    log = task.known.sequences()
    return {(user, item) for row, user in enumerate(log.user_ids) for item in log.of(row).tolist()}


def test_every_split_has_a_task_and_words() -> None:
    assert get_args(Rule) == RULES
    assert set(MEANING) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_no_held_out_event_is_known_and_everybody_has_one(small_dataset: Dataset, rule: Rule) -> None:
    task = ranking_task(small_dataset, rule, seed=3)
    known, events = pairs_known(task), small_dataset.sequences(task.user_ids)
    assert (np.diff(task.relevant.offsets) >= 1).all()
    for row, user in enumerate(task.user_ids):
        answers = task.relevant.items[task.relevant.offsets[row] : task.relevant.offsets[row + 1]].tolist()
        told = task.people[row].items.tolist()
        assert not {(user, item) for item in answers} & known
        assert not set(answers) & set(told)
        assert set(answers) | set(told) <= set(events.of(row).tolist())


def test_leave_one_out_knows_train_and_validation(small_dataset: Dataset) -> None:
    task, split = ranking_task(small_dataset, "leave-one-out"), leave_one_out(small_dataset)
    assert task.known.interactions.height == small_dataset.interactions.height - 40
    assert task.relevant.items.tolist() == split.test.sequences(task.user_ids).items.tolist()


def test_new_and_few_users_tell_all_but_the_last_event_and_are_never_trained_on(small_dataset: Dataset) -> None:
    whole = small_dataset.sequences()
    for rule, users in (("new-users", 4), ("few-users", 36)):
        task = ranking_task(small_dataset, rule, seed=5)
        assert len(task.user_ids) == users
        assert not set(task.user_ids) & set(task.known.user_ids)
        for row, user in enumerate(task.user_ids):
            events = whole.of(whole.user_ids.index(user)).tolist()
            assert task.people[row].items.tolist() == events[:-1]
            assert task.relevant.items[row] == events[-1]


def test_few_users_trains_on_as_many_users_as_are_asked_for(small_dataset: Dataset) -> None:
    tasks = [ranking_task(small_dataset, "few-users", seed=5, users=users) for users in (8, 16)]
    assert [len(task.known.user_ids) for task in tasks] == [8, 16]
    assert set(tasks[0].known.user_ids) < set(tasks[1].known.user_ids)
    assert len(tasks[1].people) == 24
    with pytest.raises(SettingsError, match="only few-users is trained on so many"):
        ranking_task(small_dataset, "new-users", users=8)


def test_few_users_trains_on_the_users_that_numpy_draws(small_dataset: Dataset) -> None:
    drawn = np.random.default_rng(5).choice(small_dataset.user_ids, 4, replace=False)
    assert set(ranking_task(small_dataset, "few-users", seed=5).known.user_ids) == set(drawn.tolist())


def test_cold_items_alone_are_ranked(small_dataset: Dataset) -> None:
    task = ranking_task(small_dataset, "cold-items")
    assert task.allowed is not None
    assert task.allowed.sum() == round(0.15 * 28)
    assert task.allowed[task.relevant.items].all()
    assert not task.counts[task.allowed].any()


def test_a_sample_is_drawn_by_the_seed_and_tells_tasks_apart(small_dataset: Dataset) -> None:
    first, again, other = (ranking_task(small_dataset, "leave-one-out", seed, 7) for seed in (1, 1, 2))
    assert first.user_ids == again.user_ids != other.user_ids
    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert len(first.people) == 7


def test_what_cannot_be_asked_is_refused(small_dataset: Dataset) -> None:
    with pytest.raises(SettingsError, match="leave-one-out, temporal"):
        ranking_task(small_dataset, "random")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="at least one"):
        ranking_task(small_dataset, "leave-one-out", sample=0)
    short = Dataset.from_frames({"user_id": [1, 1], "item_id": [1, 2]}, {"item_id": [1, 2], "title": ["A", "B"]})
    with pytest.raises(DataError, match="too small for leave-one-out"):
        ranking_task(short, "leave-one-out")


def test_single_events_and_repeats_are_told() -> None:
    log = {"user_id": [1, 1, 1, 2, 3, 3, 3], "item_id": [1, 2, 1, 1, 2, 3, 1], "timestamp": list(range(7))}
    items = {"item_id": [1, 2, 3], "title": ["A", "B", "C"]}
    notes = ranking_task(Dataset.from_frames(log, items), "leave-one-out").notes
    assert notes == (
        "1 held-out items of 1 users are in their histories too; where seen items are removed these count as misses",
    )
    log = {"user_id": [1, 1, 2, 3, 4], "item_id": [1, 2, 1, 1, 2]}
    notes = ranking_task(Dataset.from_frames(log, items), "few-users", seed=1).notes
    assert notes == ("2 users with a single event are left out: nothing is known of them",)
