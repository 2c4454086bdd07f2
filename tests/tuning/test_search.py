"""The search for values: what it starts from, when it stops, what survives a kill. What it measures is arithmetic."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flanrec.errors import CheckpointError, SettingsError
from flanrec.tuning.search import Found, Report, search_values
from flanrec.tuning.space import Choices, Range, Value
from flanrec.tuning.study import opened

SPACE = {"x": Range(0.0, 1.0), "n": Range(1, 64, log=True, whole=True), "kind": Choices(("plain", "odd"))}
START: dict[str, Value] = {"x": 0.9, "n": 4, "kind": "plain"}
USERS = 5


def hill(number: int, values: Mapping[str, Any], report: Report) -> list[float]:
    """Highest at x = 0.3 with kind odd; each user has a level of their own."""
    height = 1 - (values["x"] - 0.3) ** 2 + 0.1 * (values["kind"] == "odd")
    return [height + user / 10 for user in range(USERS)]


def search(file: Path, trials: int = 4, **changes: Any) -> Found:
    return search_values(SPACE, START, hill, file, **{"minutes": 5, "trials": trials, **changes})


def tried(found: Found) -> list[tuple[dict[str, Value], float]]:
    return [(dict(trial.values), trial.value) for trial in found.trials]


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return search(tmp_path_factory.mktemp("four") / "study.db")


def test_trial_0_is_the_start_and_the_best_is_never_worse(four: Found) -> None:
    assert dict(four.trials[0].values) == START
    assert [trial.number for trial in four.trials] == list(range(4))
    assert four.stopped == "trials"
    assert four.best.value == max(trial.value for trial in four.trials)
    assert four.gain().value == pytest.approx(four.best.value - four.trials[0].value)
    assert (four.gain().count, four.gain().low >= 0) == (USERS, True)


def test_where_nothing_is_better_the_start_is_the_best(tmp_path: Path) -> None:
    found = search_values(
        SPACE, START, lambda number, values, report: [0.5, 0.5], tmp_path / "study.db", minutes=5, trials=2
    )
    assert found.best.number == 0
    assert (found.gain().value, found.gain().low, found.gain().high) == (0, 0, 0)


def test_the_seed_decides_what_is_drawn(four: Found, tmp_path: Path) -> None:
    assert tried(search(tmp_path / "same.db")) == tried(four)
    assert tried(search(tmp_path / "other.db", trials=2, seed=7))[1] != tried(four)[1]


def test_a_resumed_search_keeps_its_trials_and_goes_on_as_if_it_had_not_stopped(four: Found, tmp_path: Path) -> None:
    search(tmp_path / "study.db", trials=2)
    told: list[int] = []
    found = search(tmp_path / "study.db", resume=True, on_trial=lambda found: told.append(len(found.trials)))
    assert tried(found) == tried(four)
    assert found.trials[1].per_user == four.trials[1].per_user
    assert told == [2, 3, 4]


def test_without_resume_an_earlier_search_is_not_mixed_in(tmp_path: Path) -> None:
    search(tmp_path / "study.db", trials=1)
    with pytest.raises(SettingsError, match="earlier search"):
        search(tmp_path / "study.db")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"seed": 7}, "seed of the search was 42 and is now 7"), ({"identity": {"data": "other"}}, "data was None")],
)
def test_another_search_is_refused_by_what_differs(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    search(tmp_path / "study.db", trials=1)
    with pytest.raises(CheckpointError, match=words):
        search(tmp_path / "study.db", resume=True, **changes)


def test_no_trial_starts_that_would_overrun_the_minutes(tmp_path: Path) -> None:
    def slow(number: int, values: Mapping[str, Value], report: Report) -> list[float]:
        begun.append(time.monotonic())
        time.sleep(0.3)
        return [1.0]

    begun: list[float] = []
    found = search_values(SPACE, START, slow, tmp_path / "study.db", minutes=1.2 / 60)
    assert (found.stopped, len(found.trials) >= 2) == ("minutes", True)
    assert begun[-1] - begun[0] <= 1.2 - 0.3
    longer = search_values(SPACE, START, slow, tmp_path / "study.db", minutes=1.2 / 60, resume=True)
    assert len(longer.trials) <= 4


def test_the_start_is_measured_whatever_it_takes(tmp_path: Path) -> None:
    found = search(tmp_path / "study.db", minutes=1e-9)
    assert (len(found.trials), found.stopped) == (1, "minutes")


def test_a_trial_that_cannot_work_is_named_and_the_search_goes_on(tmp_path: Path) -> None:
    def odd_fails(number: int, values: Mapping[str, Value], report: Report) -> list[float]:
        if values["kind"] == "odd":
            raise SettingsError("odd does not work")
        return [1.0]

    def measure(file: Path, resume: bool = False) -> Found:
        return search_values(SPACE, START, odd_fails, file, minutes=5, trials=4, resume=resume)

    found = measure(tmp_path / "study.db")
    failed = [trial for trial in found.trials if trial.problem]
    assert failed
    assert all(trial.values["kind"] == "odd" and trial.problem == "odd does not work" for trial in failed)
    assert not found.best.problem
    again = measure(tmp_path / "study.db", resume=True)
    assert [trial.problem for trial in again.trials] == [trial.problem for trial in found.trials]
    with pytest.raises(SettingsError, match="odd does not work"):
        search_values(SPACE, {**START, "kind": "odd"}, odd_fails, tmp_path / "odd.db", minutes=5)


def test_a_space_that_is_tried_out_ends_the_search(tmp_path: Path) -> None:
    small = {"kind": Choices(("plain", "odd")), "n": Choices((1, 2))}

    def two(number: int, values: Mapping[str, Any], report: Report) -> list[float]:
        return [float(values["n"] == 2)]

    found = search_values(small, {"kind": "plain", "n": 1}, two, tmp_path / "study.db", minutes=5)
    assert found.stopped == "space"
    assert sorted((trial.values["kind"], trial.values["n"]) for trial in found.trials) == [
        ("odd", 1), ("odd", 2), ("plain", 1), ("plain", 2),
    ]  # fmt: skip


def test_a_start_outside_of_the_space_is_measured_as_it_is(tmp_path: Path) -> None:
    found = search_values(SPACE, {**START, "x": 7.5}, hill, tmp_path / "study.db", minutes=5, trials=3)
    assert found.trials[0].values["x"] == 7.5
    assert all(0 <= trial.values["x"] <= 1 for trial in found.trials[1:])
    kept = search_values(SPACE, {**START, "x": 7.5}, hill, tmp_path / "study.db", minutes=5, trials=3, resume=True)
    assert tried(kept) == tried(found)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    file = tmp_path / "100 % sure? #1" / "study.db"
    search(file, trials=1)
    assert file.is_file()


def test_a_file_that_is_no_search_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("a thesis, and not a short one\n" * 100)
    with pytest.raises(CheckpointError, match="no search that this version can read"):
        search(tmp_path / "study.db", resume=True)


def test_two_searches_do_not_share_a_file(tmp_path: Path) -> None:
    with opened(tmp_path / "study.db", {}, resume=False), pytest.raises(SettingsError, match="in use"):
        search(tmp_path / "study.db")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"minutes": 0}, "minutes is 0"), ({"minutes": float("nan")}, "minutes is nan"), ({"trials": 0}, "trials is 0")],
)
def test_budgets_that_are_none_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        search(tmp_path / "study.db", **changes)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingsError, match=r"pip install 'flanrec\[search\]'"):
        search(tmp_path / "study.db")
    assert not (tmp_path / "study.db").exists()


def test_ctrl_c_costs_only_the_trial_that_ran(four: Found, tmp_path: Path) -> None:
    def interrupted(number: int, values: Mapping[str, Value], report: Report) -> list[float]:
        if number == 2:
            raise KeyboardInterrupt
        return hill(number, values, report)

    with pytest.raises(KeyboardInterrupt):
        search_values(SPACE, START, interrupted, tmp_path / "study.db", minutes=5)
    assert tried(search(tmp_path / "study.db", trials=2, resume=True)) == tried(four)[:2]


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="forks a process to kill it")
def test_a_kill_costs_only_the_trial_that_ran(four: Found, tmp_path: Path) -> None:
    def killed(number: int, values: Mapping[str, Value], report: Report) -> list[float]:
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return hill(number, values, report)

    def run() -> None:
        search_values(SPACE, START, killed, tmp_path / "study.db", minutes=5)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    found = search(tmp_path / "study.db", trials=3, resume=True)
    assert tried(found)[:2] == tried(four)[:2]
    assert (len(found.trials), found.stopped) == (3, "trials")


LORA = {"method": Choices(("full", "lora")), "rank": Range(1, 64, log=True, whole=True, when={"method": ("lora",)})}


def by_rank(number: int, values: Mapping[str, Any], report: Report) -> list[float]:
    """Low-rank methods are better, the more so the larger the rank."""
    return [values["rank"] / 64 if values["method"] == "lora" else 0.0]


def test_a_choice_is_made_only_with_those_that_it_belongs_to(tmp_path: Path) -> None:
    def search_lora(start: str, trials: int) -> Found:
        values = {"method": start, "rank": 8}
        return search_values(LORA, values, by_rank, tmp_path / f"{start}.db", minutes=5, trials=trials)

    found = search_lora("full", 8)
    assert dict(found.trials[0].values) == {"method": "full"}
    tried_methods = {trial.values["method"] for trial in found.trials}
    assert tried_methods == {"full", "lora"}
    assert all(("rank" in trial.values) == (trial.values["method"] == "lora") for trial in found.trials)
    # The method full leaves nothing else to choose, so that it is tried once.
    assert sum(trial.values["method"] == "full" for trial in found.trials) == 1
    assert search_lora("lora", 1).trials[0].values == {"method": "lora", "rank": 8}


def climbing(number: int, values: Mapping[str, Any], report: Report) -> list[float]:
    """Reports on its way what it is going to be; a stage that decides nothing reports nonsense."""
    for share in (0.5, 1.0):
        report("other", share, -number)
        report("words", share, share * values["x"])
    return [values["x"]] * USERS


LINE = {"x": Range(0.0, 1.0)}


def climb(file: Path, trials: int = 14, **changes: Any) -> Found:
    return search_values(
        LINE, {"x": 0.5}, climbing, file, **{"minutes": 5, "trials": trials, "prune": "words"} | changes
    )


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return climb(tmp_path_factory.mktemp("pruned") / "study.db")


def test_a_trial_below_the_median_at_the_same_point_is_given_up(pruned: Found) -> None:
    whole = [trial for trial in pruned.trials if trial.per_user]
    given_up = [trial for trial in pruned.trials if trial.pruned]
    assert len(whole) >= 5
    assert given_up
    assert min(trial.number for trial in given_up) >= 5
    for trial in given_up:
        before = [other.values["x"] for other in whole if other.number < trial.number]
        assert trial.values["x"] < sorted(before)[len(before) // 2]
        assert [(point.stage, point.share) for point in trial.curve] == [("other", 0.5), ("words", 0.5)]
        assert "after 50 % of the steps of words" in trial.pruned
        assert (trial.problem, trial.per_user) == ("", ())
    assert pruned.best.value == max(trial.values["x"] for trial in whole)
    assert all(len(trial.curve) == 4 for trial in whole)


def test_trials_that_were_given_up_are_remembered(pruned: Found, tmp_path: Path) -> None:
    climb(tmp_path / "study.db", trials=9)
    again = climb(tmp_path / "study.db", resume=True)
    assert [(trial.values, trial.per_user, trial.pruned, trial.curve) for trial in again.trials] == [
        (trial.values, trial.per_user, trial.pruned, trial.curve) for trial in pruned.trials
    ]


def test_without_a_decisive_stage_nothing_is_given_up(tmp_path: Path) -> None:
    found = climb(tmp_path / "study.db", trials=7, prune=None)
    assert all(trial.per_user and len(trial.curve) == 4 for trial in found.trials)
