"""A fitted recommender learns what arrived, unless held-out events speak against it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from tiny_run import Regression, Tiny

from flanrec.backbone import Backbone
from flanrec.data import Dataset
from flanrec.data.arrivals import arrivals
from flanrec.errors import CheckpointError
from flanrec.ranking.fusion import Fusion
from flanrec.ranking.loglinear import LogLinear
from flanrec.recommender import Recommender, RecommenderSettings, UpdateSettings
from flanrec.recommender.answering import Answering
from flanrec.recommender.fused import behaviour_of
from flanrec.recommender.updating.asking import Asked
from flanrec.recommender.updating.gate import Check
from flanrec.recommender.updating.held_out import hold_out
from flanrec.recommender.updating.lesson import beside
from flanrec.recommender.updating.relearning import calibration_after, fusion_after
from flanrec.recommender.updating.sources import behaviour_after
from flanrec.tuning import Weighted
from flanrec.tuning.objectives.replayed import Replayed
from flanrec.tuning.report import Evaluation, StepRecord, TrainingReport

Fresh = Callable[[], Backbone]
ITEM = {"item_id": ["i40"], "title": ["Gneiss Harbour (2020)"], "category": [["Comedy"]], "year": [2020]}


def quick(**changes: Any) -> UpdateSettings:
    """Few events are asked about, of which a few tuning steps may lose some."""
    return UpdateSettings.model_validate({"gate": {"users": 20, "generation_users": 4, "tolerance": 0.9}} | changes)


def circle(users: int, events: int = 6, start: int = 1_500_000_000) -> dict[str, list[Any]]:
    """New users who walk the circle as the known ones do; the third event of each is a new item."""
    told = [(user, step) for user in range(users) for step in range(events)]
    return {
        "user_id": [f"n{user}" for user, _ in told],
        "item_id": ["i40" if step == 2 else f"i{(3 * user + step) % 28}" for user, step in told],
        "timestamp": [start + 1000 * step + user for user, step in told],
        "rating": [float(2 + (user + step) % 4) for user, step in told],
    }


def copy_of(recommender: Recommender) -> Recommender:
    """The same recommender, to be updated by itself."""
    copy = Recommender(recommender.backbone, recommender.settings)
    copy.adopt(recommender.parts)
    return copy


def weights_of(recommender: Recommender) -> dict[str, torch.Tensor]:
    modules = {"t5": recommender.backbone.model, "tokens": recommender.parts.tokens}
    return {f"{name}.{key}": value.clone() for name, one in modules.items() for key, value in one.state_dict().items()}


@pytest.fixture(scope="session")
def learner(small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh) -> Recommender:
    """Item tokens tuned a little, the T5 as it is. Shared: update copies only."""
    changes = {
        "words": short_settings.words.model_copy(update={"steps": 0}),
        "tokens": short_settings.tokens.model_copy(update={"passes": 4}),
    }
    return Recommender(fresh_backbone(), short_settings.model_copy(update=changes)).fit(small_dataset)


@pytest.fixture(scope="session")
def updated(learner: Recommender) -> Recommender:
    """After eight new users with a new item. Shared: ask it, never update it again."""
    copy = copy_of(learner)
    assert copy.update(circle(8), ITEM, settings=quick()).accepted
    return copy


def test_new_users_and_items_are_known_afterwards(learner: Recommender, updated: Recommender) -> None:
    before = weights_of(learner)
    person = updated.people(["n3"])[0]
    assert person.items.tolist() == [9, 10, 30, 12, 13, 14], "events that were set apart are part of the history"
    table = updated.recommend(["n3", "u1"], k=31)
    assert set(table.filter(pl.col("user_id") == "n3")["item_id"]).isdisjoint({"i9", "i40", "i14"})
    assert "i40" in table.filter(pl.col("user_id") == "u1")["item_id"]
    after = updated.recommend(history=["i1", "i2"], k=31, reading="item_tokens")
    assert "i40" in after["item_id"]
    assert updated.parts.tokens.n_items == len(learner.parts.catalogue) + 1
    assert updated.reports["item tokens"].steps > 0
    assert all(torch.equal(value, before[name]) for name, value in weights_of(learner).items())
    assert learner.people(["n3"])[0].items.tolist() == []


def test_an_updated_model_is_saved_and_loaded_like_any(
    updated: Recommender, rested: Callable[[Recommender], Recommender], tmp_path: Path
) -> None:
    updated.save_pretrained(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model", device="cpu")
    for users in (["n3"], ["u1", "nobody"]):
        one, two = rested(updated).recommend(users, k=9), loaded.recommend(users, k=9)
        assert one["item_id"].to_list() == two["item_id"].to_list()
        assert one["score"].to_list() == pytest.approx(two["score"].to_list(), abs=1e-4)


def test_the_same_update_again_changes_nothing(updated: Recommender) -> None:
    parts, backbone = updated.parts, updated.backbone
    report = updated.update(circle(8), ITEM, settings=quick())
    assert (report.accepted, report.changed, report.interactions, report.repeated) == (True, False, 0, 48)
    assert updated.parts is parts
    assert updated.backbone is backbone


def test_items_alone_need_no_learning(learner: Recommender) -> None:
    copy = copy_of(learner)
    nothing = {name: [] for name in ("user_id", "item_id", "timestamp")}
    report = copy.update(nothing, ITEM, settings=quick())
    assert (report.changed, report.items, report.checks, report.stages) == (True, 1, [], {})
    assert "i40" in copy.recommend(["u1"], k=31)["item_id"]


def test_events_before_those_known_are_learnt_too(learner: Recommender) -> None:
    copy = copy_of(learner)
    early = circle(3, start=900_000_000)
    early["user_id"] = [user.replace("n", "u") for user in early["user_id"]]
    report = copy.update(early, ITEM, settings=quick())
    assert report.accepted
    assert copy.people(["u2"])[0].items[:6].tolist() == [6, 7, 30, 9, 10, 11]
    known = learner.people(["u2"])[0].items.tolist()
    assert copy.people(["u2"])[0].items[6:].tolist() == known


def test_a_single_event_of_a_stranger_cannot_be_judged_and_is_taken_in(learner: Recommender) -> None:
    copy = copy_of(learner)
    report = copy.update({"user_id": ["s"], "item_id": ["i3"], "timestamp": [1_500_000_000]}, settings=quick())
    assert report.accepted
    assert {check.events for check in report.checks} == {"old"}
    assert copy.people(["s"])[0].items.tolist() == [3]


def test_penalties_lead_elsewhere(learner: Recommender) -> None:
    found = []
    for kind in ("l2_sp", "ewc"):
        copy = copy_of(learner)
        changes = {"tokens": {"passes": 5}, "penalty": {"kind": kind, "strength": 100.0, "batches": 1}}
        assert copy.update(circle(8), ITEM, settings=quick(gate={"users": 1}, **changes)).accepted
        found.append(copy.parts.tokens.state_dict()["norm.weight"])
    assert not torch.equal(*found)


def test_an_update_that_spoils_the_model_is_refused(learner: Recommender) -> None:
    copy = copy_of(learner)
    parts, before = copy.parts, weights_of(copy)
    spoiling = {"rate": 200.0, "passes": 1}
    report = copy.update(
        circle(12), ITEM, settings=quick(tokens=spoiling, penalty={"kind": "none"}, gate={"users": 20})
    )
    assert not report.accepted
    assert not report.changed
    failed = {(check.reading, check.events) for check in report.checks if not check.passed}
    assert ("item_tokens", "old") in failed
    assert copy.parts is parts
    assert all(torch.equal(value, before[name]) for name, value in weights_of(copy).items())
    assert copy.people(["n1"])[0].items.tolist() == []
    told = report.to_dict()
    assert told["accepted"] is False
    assert told["checks"][0]["reading"] == "fused"


class Watch:
    """Remembers the stages, and presses Ctrl-C after the first step of one of them."""

    def __init__(self, stop: str = "") -> None:
        self.stop, self.steps = stop, {}  # type: str, dict[str, list[int]]
        self._stage = ""

    def __call__(self, stage: str) -> Sequence[Watch]:
        self._stage = stage
        return [self]

    def on_step(self, record: StepRecord) -> None:
        self.steps.setdefault(self._stage, []).append(record.step)
        if self._stage == self.stop:
            raise KeyboardInterrupt

    def on_evaluation(self, evaluation: Evaluation) -> None:
        pass

    def on_end(self, report: TrainingReport) -> None:
        pass


@pytest.mark.parametrize(
    "stages", [["item tokens"], pytest.param(["words", "item tokens"], marks=pytest.mark.slow)], ids=["once", "twice"]
)
def test_an_interrupted_update_goes_on_to_the_same_result(
    fitted: Recommender, tmp_path: Path, stages: list[str]
) -> None:
    settings = quick(words={"steps": 2}, tokens={"passes": 2}, gate={"users": 9, "generation_users": 1})
    whole, killed, resumed = (copy_of(fitted) for _ in range(3))
    whole.update(circle(12), ITEM, settings=settings)
    for number, stage in enumerate(stages):
        with pytest.raises(KeyboardInterrupt):
            killed.update(circle(12), ITEM, settings=settings, folder=tmp_path, resume=number > 0,
                          callbacks=Watch(stage))  # fmt: skip
        assert killed.parts is fitted.parts
    with pytest.raises(CheckpointError, match="earlier"):
        killed.update(circle(12), ITEM, settings=settings, folder=tmp_path)
    with pytest.raises(CheckpointError, match="other data or settings"):
        killed.update(circle(11), ITEM, settings=settings, folder=tmp_path, resume=True)
    watch = Watch()
    report = resumed.update(circle(12), ITEM, settings=settings, folder=tmp_path, resume=True, callbacks=watch)
    assert report.accepted
    assert watch.steps == {"item tokens": [2]}
    expected, query = weights_of(whole), "decoder.block.0.layer.0.SelfAttention.q.weight"
    # The T5 came back from a file; what it reads rounds as before.
    assert all(torch.allclose(value, expected[name], atol=1e-5) for name, value in weights_of(resumed).items())
    assert not torch.equal(expected[f"t5.{query}"], fitted.backbone.model.state_dict()[query])


def test_what_is_set_apart_is_each_users_last(small_dataset: Dataset) -> None:
    found = arrivals(small_dataset, circle(8), ITEM)
    held = hold_out(found, 100, 1)
    events = found.dataset.interactions
    rows = set(held.rows.to_list())
    assert held.new.sum() == 8
    assert (~held.new).sum() == 40
    assert held.log.interactions.height == events.height - 48
    for user in ("n3", "u5"):
        own = events.filter(pl.col("user_id") == user).sort("timestamp")["row"].to_list()
        assert [row in rows for row in own] == [False] * (len(own) - 1) + [True]
    for person, answer in zip(held.persons, held.answers.tolist(), strict=True):
        assert answer not in person.items
    # Where everybody has new events, what was known last is asked about as if it were the newest.
    more = {"user_id": [f"u{user}" for user in range(40)], "item_id": ["i29"] * 40, "timestamp": [1_500_000_000] * 40}
    both = hold_out(arrivals(small_dataset, more), 100, 1)
    assert (both.new.sum(), (~both.new).sum()) == (40, 40)
    assert both.log.interactions.height == small_dataset.interactions.height - 40
    old, new = (
        sorted(both.persons[at].items.tolist() for at in np.flatnonzero(both.new == kind)) for kind in (False, True)
    )
    assert old == new, "both events of a user are asked about after the same history"
    few = hold_out(found, 5, 1)
    assert (few.new.sum(), (~few.new).sum()) == (5, 5)


@pytest.mark.parametrize("late", [True, False])
def test_sources_that_are_added_to_say_what_fitted_ones_say(
    learner: Recommender, small_dataset: Dataset, late: bool
) -> None:
    new = circle(6, start=1_500_000_000 if late else 900_000_000)
    new["user_id"] = [user.replace("n", "u") for user in new["user_id"]]
    parts = learner.parts
    grown = parts.extended(learner.backbone, arrivals(small_dataset, new, ITEM).dataset.items, learner.settings)
    now = arrivals(small_dataset, new, ITEM).dataset
    expected = behaviour_of(now, grown.catalogue, grown.facets)
    found = behaviour_after(parts.behaviour, small_dataset, now, grown.catalogue, grown.facets)
    persons = learner.people(["u1", "u9", "stranger"])
    for name, scores in expected.scores(persons).items():
        assert np.allclose(found.scores(persons)[name], scores, atol=1e-4), name
    fewer = now.with_interactions(now.interactions.tail(100))
    again = behaviour_after(found, now, fewer, grown.catalogue, grown.facets)
    apart = behaviour_of(fewer, grown.catalogue, grown.facets)
    assert np.allclose(again.scores(persons)["ease"], apart.scores(persons)["ease"], atol=1e-4)


@pytest.fixture(scope="module")
def asked(learner: Recommender, small_dataset: Dataset) -> Asked:
    """A model that was asked about the next events of sixty newcomers, and of the known users."""
    found = arrivals(small_dataset, circle(60), ITEM)
    held = hold_out(found, 60, 1)
    model = Answering(learner.backbone, learner.settings)
    parts = learner.parts.extended(learner.backbone, found.dataset.items, learner.settings)
    model.adopt(replace(parts, behaviour=behaviour_of(held.log, parts.catalogue, parts.facets)))
    return Asked.of(model, held, tokens=True)


def test_both_readings_are_measured_in_one_pass(asked: Asked) -> None:
    for reading, values in (("fused", asked.fused), ("item_tokens", asked.tokens)):
        items, _ = asked.model.rank(asked.held.persons, 10, reading=reading)  # type: ignore[arg-type]
        hit = items == asked.held.answers[:, None]
        expected = (hit / np.log2(np.arange(10) + 2)).sum(axis=1)
        assert values is not None
        assert values == pytest.approx(expected)


def with_fusion(asked: Asked, names: tuple[str, ...], weights: tuple[float, ...]) -> Asked:
    model = Answering(asked.model.backbone, asked.model.settings)
    model.adopt(replace(asked.model.parts, fusion=Fusion(LogLinear(names, weights))))
    return replace(asked, model=model)


def test_a_fusion_is_learnt_again_only_where_new_events_ask_for_it(asked: Asked) -> None:
    names = ("transitions.score", "popularity.score")
    wrong = with_fusion(asked, names, (-0.05, 0.05))
    fusion, choice = fusion_after(wrong)
    assert choice.taken
    assert choice.events == 60
    assert fusion.base.weights[0] > -0.05
    right = with_fusion(asked, names, (5.0, 0.1))
    kept, choice = fusion_after(right)
    assert not choice.taken
    assert kept is right.model.parts.fusion
    few = replace(asked, held=replace(asked.held, new=np.zeros_like(asked.held.new)))
    assert fusion_after(few)[1].events == 0
    assert "too few" in fusion_after(few)[1].to_text()


def test_a_calibration_is_learnt_again_only_where_new_events_ask_for_it(asked: Asked) -> None:
    parts = asked.model.parts
    model = Answering(asked.model.backbone, asked.model.settings)
    model.adopt(replace(parts, calibration=replace(parts.calibration, intercept=6.0)))
    found, choice = calibration_after(replace(asked, model=model), 80)
    assert choice.taken
    assert found.intercept < 5.0
    assert found.words == 0.0, "the T5 was not tuned and has no say"
    model.adopt(replace(parts, calibration=found))
    kept, choice = calibration_after(replace(asked, model=model), 80)
    assert not choice.taken
    assert kept is found


@pytest.mark.parametrize(
    ("after", "high", "allowed", "passed"),
    [
        (0.21, 0.03, 0.0, True),  # better
        (0.19, 0.01, 0.0, True),  # worse, perhaps by chance
        (0.19, -0.001, 0.0, False),  # surely worse
        (0.197, -0.001, 0.004, True),  # surely worse, by less than may be lost
        (0.19, -0.001, 0.004, False),  # surely worse, by more
    ],
)
def test_a_loss_is_refused_where_it_is_sure_and_larger_than_allowed(
    after: float, high: float, allowed: float, passed: bool
) -> None:
    check = Check("fused", "new", 50, 0.2, after, -0.05, high, allowed)
    assert check.passed is passed
    assert ("refused" in check.to_text()) is not passed
    assert replace(check, count=9).passed, "a handful of events is sure of nothing"


def test_what_has_no_new_examples_is_replayed_alone() -> None:
    model = Tiny()
    families = {name: Weighted(Regression(model, name), weight) for name, weight in (("a", 0.6), ("b", 0.4))}
    both = beside([families["a"]], [families["a"], families["b"]], 0.5)
    assert [(one.objective.name, one.weight) for one in both] == [("a", 0.6), ("b", 0.2)]
    assert isinstance(both[0].objective, Replayed)
    assert both[1].objective is families["b"].objective
    assert beside([families["a"]], [families["b"]], 0.0) == [families["a"]]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "changed"),
    [("lora", {"q", "v"}), ("adalora", {"q", "v"}), ("prompt-tuning", {"soft_prompt"}), ("adapter", {"down", "up"})],
)
def test_what_the_fit_tuned_is_tuned_on(
    small_dataset: Dataset, short_settings: RecommenderSettings, fresh_backbone: Fresh, tmp_path: Path, method: str,
    changed: set[str],
) -> None:  # fmt: skip
    words = short_settings.words.model_copy(update={"method": method, "steps": 1, "rank": 2})
    tokens = short_settings.tokens.model_copy(update={"passes": 0})
    settings = short_settings.model_copy(update={"words": words, "tokens": tokens})
    Recommender(fresh_backbone(), settings).fit(small_dataset).save_pretrained(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model", device="cpu")
    before = {name: value.clone() for name, value in loaded.backbone.model.state_dict().items()}
    report = loaded.update(circle(8), ITEM, settings=quick(words={"steps": 2, "rate": 1.0}))
    assert report.accepted
    after = loaded.backbone.model.state_dict()
    assert after.keys() == before.keys()
    assert {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])} == changed
    loaded.save_pretrained(tmp_path / "updated")
    again = Recommender.load(tmp_path / "updated", device="cpu")
    assert again.recommend(["n3"], k=5)["item_id"].to_list() == loaded.recommend(["n3"], k=5)["item_id"].to_list()
