"""The fused reading: all sources in one list, words heard, nothing seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file as save_array

from flanrec.catalogue.people import Person
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import CheckpointError, SettingsError
from flanrec.ranking.boosting import Boosted
from flanrec.ranking.fusion import Fusion
from flanrec.ranking.lessons import BASE
from flanrec.ranking.loglinear import LogLinear
from flanrec.ranking.verdicts import Verdict
from flanrec.recommender import Asking, Recommender, RecommenderSettings
from flanrec.recommender.lists import closed_items


def test_lists_are_unseen_items_by_falling_score(fitted: Recommender, small_dataset: Dataset) -> None:
    persons = fitted.people(small_dataset.user_ids)
    items, scores = fitted.rank(persons, 7)
    assert (items >= 0).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    for person, listed in zip(persons, items, strict=True):
        assert len(set(listed.tolist())) == 7
        assert not set(listed.tolist()) & set(person.items.tolist())


def test_a_list_is_the_top_of_the_scores_of_all_items(fitted: Recommender, small_dataset: Dataset) -> None:
    persons = fitted.people(small_dataset.user_ids[:9])
    reading = fitted.fused_reading
    for asking in (Asking(), Asking(wish="comedy"), Asking(avoid="drama")):
        items, scores = reading.top(persons, 5, asking)
        everything = reading.scores(persons, asking)
        assert everything.shape == (9, len(fitted.parts.catalogue))
        np.testing.assert_allclose(np.take_along_axis(everything, items, axis=1), scores, atol=1e-4)
        np.testing.assert_allclose(-np.sort(-everything, axis=1)[:, :5], scores, atol=1e-4)


def test_words_change_a_score_by_what_the_item_tokens_make_of_them(fitted: Recommender, small_dataset: Dataset) -> None:
    persons = fitted.people(small_dataset.user_ids[:4])
    said = Asking(wish="comedy", avoid="drama")
    fused, tokens = fitted.fused_reading, fitted.token_reading
    change = fused.scores(persons, said) - fused.scores(persons)
    np.testing.assert_allclose(change, tokens.scores(persons, said) - tokens.scores(persons), atol=1e-3)


def test_what_the_sources_give_adds_up_to_the_score(fitted: Recommender, small_dataset: Dataset) -> None:
    persons = fitted.people(small_dataset.user_ids[:3])
    said = Asking(wish="comedy")
    items, _ = fitted.rank(persons, 6, said)
    items[0, 5] = -1
    given = fitted.fused_reading.contributions(persons, items, said)
    assert {"ease", "transitions", "tokens", "trees", "words"} <= given.keys()
    assert np.isnan(given["ease"][0, 5])
    assert np.abs(given["words"][1]).max() > 0
    total = sum(given.values())
    scores = np.take_along_axis(fitted.fused_reading.scores(persons, said), np.maximum(items, 0), axis=1)
    away = (total - scores)[1:]
    np.testing.assert_allclose(away - away[:, :1], 0, atol=1e-3)


def test_recommend_tells_what_every_source_gave(fitted: Recommender, small_dataset: Dataset) -> None:
    table = fitted.recommend(small_dataset.user_ids[:2], k=4, sources=True)
    plain = fitted.recommend(small_dataset.user_ids[:2], k=4)
    assert table.select(plain.columns).equals(plain)
    given = table.select([name for name in table.columns if name.startswith("from_")])
    assert {"from_ease", "from_tokens", "from_words"} <= set(given.columns)
    assert given.null_count().sum_horizontal()[0] == 0
    with pytest.raises(SettingsError, match="fused"):
        fitted.recommend(small_dataset.user_ids[:2], reading="item_tokens", sources=True)


def test_one_user_among_others_gets_the_same_list_as_alone(fitted: Recommender, small_dataset: Dataset) -> None:
    persons = fitted.people(small_dataset.user_ids[:6])
    asking = [Asking(wish="comedy") if at % 2 else Asking() for at in range(6)]
    together, scores = fitted.fused_reading.top(persons, 5, asking)
    for at, person in enumerate(persons):
        alone, own = fitted.fused_reading.top([person], 5, asking[at])
        np.testing.assert_allclose(own[0], scores[at], atol=1e-4)
        assert alone[0].tolist() == together[at].tolist()


def test_held_out_wording_is_heard_without_a_wish_too(fitted: Recommender, small_dataset: Dataset) -> None:
    persons = fitted.people(small_dataset.user_ids[:8])
    plain, other = Asking(), Asking(held_out=True)
    weight = dict(zip(fitted.parts.fusion.base.names, fitted.parts.fusion.base.weights, strict=True))["tokens.score"]
    fused, tokens = fitted.fused_reading, fitted.token_reading
    moved = fused.scores(persons, other) - fused.scores(persons, plain)
    expected = weight * (tokens.scores(persons, other) - tokens.scores(persons, plain))
    np.testing.assert_allclose(moved, expected, atol=1e-3)
    assert np.abs(moved).max() > 1e-3


def test_a_stranger_gets_a_list_and_restrictions_hold(fitted: Recommender) -> None:
    catalogue = fitted.parts.catalogue
    items, _ = fitted.rank([Person.new()], 5)
    assert len(set(items[0].tolist()) - {-1}) == 5
    few = [catalogue.item_ids[item] for item in items[0][:2]]
    only, _ = fitted.rank([Person.new()], 5, only=few)
    assert {catalogue.item_ids[item] for item in only[0] if item >= 0} == set(few)
    without, _ = fitted.rank([Person.new()], 5, without=few)
    assert not {catalogue.item_ids[item] for item in without[0]} & set(few)


def test_a_saved_fusion_gives_the_same_lists(fitted: Recommender, small_dataset: Dataset, tmp_path: Path) -> None:
    fitted.save_pretrained(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    assert loaded.parts.fusion == fitted.parts.fusion
    persons = fitted.people(small_dataset.user_ids)
    for reading in (fitted.rank(persons, 6), loaded.rank(persons, 6)):
        np.testing.assert_allclose(reading[1], fitted.rank(persons, 6)[1], atol=1e-4)
    assert loaded.rank(persons, 6)[0].tolist() == fitted.rank(persons, 6)[0].tolist()


def test_a_fusion_survives_json() -> None:
    fusion = Fusion(
        LogLinear(("a.score",), (0.5,)),
        Boosted(("a.score",), "", {0: 0.1, 25: 0.2}),
        (Verdict("texts", 90, 0.02, 0.01),),
    )
    assert Fusion.from_dict(fusion.to_dict()) == fusion
    earlier = fusion.to_dict()
    del earlier["verdicts"]
    assert Fusion.from_dict(earlier) == replace(fusion, verdicts=())


def test_few_held_out_users_leave_the_weights_of_the_blend(fitted: Recommender) -> None:
    assert fitted.parts.fusion == Fusion.unlearned(BASE)


def test_fast_tunes_nothing_and_asks_no_t5_for_its_lists(
    small_dataset: Dataset, fresh_backbone: pytest.FixtureRequest
) -> None:
    backbone = fresh_backbone()  # type: ignore[operator]
    before = {name: weight.clone() for name, weight in backbone.model.state_dict().items()}
    settings = RecommenderSettings.preset("fast", validation_users=12)
    fast = Recommender(backbone, settings).fit(small_dataset)
    assert all((before[name] == weight).all() for name, weight in fast.backbone.model.state_dict().items())
    assert not settings.tokens_are_asked
    assert fast.parts.calibration.words == 0.0
    asked: list[int] = []
    encode = fast.parts.encoder.encode
    fast.parts.encoder.encode = lambda prompts: asked.append(len(prompts)) or encode(prompts)  # type: ignore[method-assign, func-returns-value]
    persons = fast.people(small_dataset.user_ids[:3])
    assert (fast.rank(persons, 5)[0] >= 0).all()
    assert not asked
    plain = fast.fused_reading.scores(persons)
    assert not asked
    worded = fast.fused_reading.scores(persons, Asking(wish="comedy"))
    assert asked
    comedies = fast.parts.facets.members[:, fast.parts.facets.names.index("Comedy")]
    change = worded - plain
    assert change[:, comedies].mean() > change[:, ~comedies].mean()


def test_what_the_fusion_does_not_hear_is_not_asked(fitted: Recommender, small_dataset: Dataset) -> None:
    parts, deaf = fitted.parts, Recommender(fitted.backbone, fitted.settings)
    blind = Fusion(LogLinear(("ease.score", "kind.score"), (0.4, 0.2)))
    deaf.adopt(replace(parts, fusion=blind))
    assert blind.sources == {"ease", "kind"}
    persons = deaf.people(small_dataset.user_ids[:3])
    names = next(deaf.fused_reading.gatherer.pools(persons))[1].names
    assert not [name for name in names if name.startswith(("text.", "nearest.", "tokens."))]
    every = next(deaf.gatherer(frozenset({"text", "tokens"})).pools(persons))[1].names
    assert {"text.score", "tokens.score", "tokens.rank"} <= set(every)
    assert "nearest.score" not in every
    plain, worded = deaf.fused_reading.scores(persons), deaf.fused_reading.scores(persons, Asking(wish="comedy"))
    assert np.abs(worded - plain).max() > 0, "a wish is heard all the same"


def test_the_language_model_can_be_kept_out(small_dataset: Dataset, fresh_backbone: pytest.FixtureRequest) -> None:
    settings = RecommenderSettings.preset("fast")
    told = {}
    for how in ("always", "never", "auto"):
        changed = settings.model_copy(update={"fusion": settings.fusion.model_copy(update={"language_model": how})})
        fusion = Recommender(fresh_backbone(), changed).fit(small_dataset).parts.fusion  # type: ignore[operator]
        told[how] = fusion.sources & {"text", "nearest"}
        assert [verdict.group for verdict in fusion.verdicts] == (["texts"] if how == "auto" else [])
        if fusion.verdicts:
            assert fusion.verdicts[0].kept == bool(told[how])
    assert told["always"] == {"text", "nearest"}
    assert not told["never"]


def test_closed_items_are_those_excluded_or_not_allowed() -> None:
    allowed = np.array([True, True, False, True])
    closed = closed_items((2, 4), [np.array([0]), np.array([], dtype=np.int64)], allowed)
    assert closed.tolist() == [[True, False, True, False], [False, False, True, False]]


def test_a_list_says_what_it_rests_on(fitted: Recommender, small_dataset: Dataset) -> None:
    told = {"age": "25", "occupation": "writer"}
    for how, basis in (
        ({"users": ["u1"]}, "history"),
        ({"history": []}, "popularity"),
        ({"history": [], "attributes": told}, "attributes"),
        ({"history": [], "attributes": told, "wish": "comedy"}, "words"),
        ({"history": ["i3"], "wish": "comedy"}, "history"),
    ):
        assert set(fitted.recommend(k=3, sources=True, **how)["basis"]) == {basis}  # type: ignore[arg-type]


def test_attributes_are_heard_of_somebody_without_events(fitted: Recommender) -> None:
    people = [Person.new([], {"occupation": job}) for job in ("writer", "doctor")]
    pool = next(fitted.fused_reading.gatherer.pools(people, everything=True))[1]
    writer, doctor = pool.column("audience.score").reshape(2, -1)
    assert np.abs(writer - doctor).max() > 0.1


def test_items_without_events_alone_are_ranked_as_new_ones(fitted: Recommender) -> None:
    listed = fitted.recommend(["u1"], only=["i28", "i29"])
    alone = fitted.rank_new(fitted.parts.dataset.items.filter(pl.col("item_id").is_in(["i28", "i29"])), ["u1"])
    assert listed.equals(alone)
    mixed = fitted.recommend(["u1"], only=["i28", "i29", "i20"])
    assert sorted(mixed["item_id"]) == ["i20", "i28", "i29"]


@pytest.fixture(scope="module")
def told(small_dataset: Dataset, fresh_backbone: pytest.FixtureRequest) -> Recommender:
    """Fitted where everybody praises comedies for their jokes, and says of dramas that they wept."""
    words = {0: "So many jokes, I laughed.", 1: "A sad end, I wept.", 2: ""}
    reviews = small_dataset.interactions.select("user_id", "item_id").with_columns(
        text=pl.col("item_id").str.slice(1).cast(pl.Int64).mod(3).replace_strict(words)
    )
    data = replace(small_dataset, reviews=reviews.filter(pl.col("text") != ""))
    settings = RecommenderSettings.preset("fast")
    kept = settings.fusion.model_copy(update={"language_model": "always"})
    return Recommender(fresh_backbone(), settings.model_copy(update={"fusion": kept})).fit(data)  # type: ignore[operator]


def test_reviews_are_a_source_of_the_fusion(told: Recommender, small_dataset: Dataset) -> None:
    assert "written" in told.parts.fusion.sources
    laughed = replace(Person.new([28]), reviews=("I laughed at the jokes.",))
    pool = next(told.fused_reading.gatherer.pools([laughed], everything=True))[1]
    found = pool.column("written.score")
    assert found[0:28:3].min() > found[1:28:3].max(), "comedies before dramas"
    assert not found[2:28:3].any()
    items, _ = told.rank(told.people(small_dataset.user_ids[:2]), 5)
    assert (items >= 0).all()


def test_saved_reviews_are_read_back(told: Recommender, small_dataset: Dataset, tmp_path: Path) -> None:
    told.save_pretrained(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    persons = told.people(small_dataset.user_ids)
    for reading in (told, loaded):
        assert reading.parts.reviews is not None
    np.testing.assert_allclose(loaded.rank(persons, 6)[1], told.rank(persons, 6)[1], atol=1e-4)
    assert loaded.parts.people.find(["u3"])[0].reviews == told.parts.people.find(["u3"])[0].reviews
    path = tmp_path / "model" / "review_states.safetensors"
    save_array({"items": np.zeros((2, 2), dtype=np.float32), "mean": np.zeros(2, dtype=np.float32)}, path)
    with pytest.raises(CheckpointError, match="review_states"):
        Recommender.load(tmp_path / "model")


def test_what_is_written_of_a_validation_event_is_not_learned_from(told: Recommender) -> None:
    last = [person.reviews[-1] for person in told.people(told.parts.dataset.user_ids) if person.reviews]
    assert any(last), "known in the end"
    train, validation = hold_out_last(told.parts.dataset)
    assert train.reviews is not None
    held = validation.interactions.select("user_id", "item_id")
    assert train.reviews.join(held, on=["user_id", "item_id"], how="semi").height == 0
