from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.people import Person
from flanrec.errors import NotFoundError, SettingsError
from flanrec.explanation import Explanation, explain
from flanrec.recommender import Asking, Recommender

# What each event adds to the score of every item, and what the wish adds.
WEIGHTS = {3: 0.5, 4: -0.4, 7: 2.0, 9: 0.25, 12: 1.0}
WISHED = {"comedy": 0.75, "noise": -1.5}


def additive(persons: Sequence[Person], wish: str) -> NDArray[np.float32]:
    """Scores in which each event has its own share, on top of the item's index / 100."""
    own = np.arange(30) / 100
    rows = [own + sum(WEIGHTS.get(int(item), 0.0) for item in person.items) for person in persons]
    return np.asarray(rows, dtype=np.float32) + np.float32(WISHED.get(wish, 0.0))


def of(catalogue: Catalogue, items: list[int], item: int = 27, **more: object) -> Explanation:
    return explain(Person.new(items), item, additive, catalogue, Facets.of(catalogue), **more)  # type: ignore[arg-type]


def test_each_event_has_the_effect_it_adds(small_catalogue: Catalogue) -> None:
    found = of(small_catalogue, [3, 4, 7, 9, 12])
    assert [reason.item_id for reason in found.reasons] == ["i7", "i12", "i3"]
    assert [reason.effect for reason in found.reasons] == pytest.approx([2.0, 1.0, 0.5], abs=1e-6)
    assert found.against is not None
    assert found.against.item_id == "i4"
    assert found.against.effect == pytest.approx(-0.4, abs=1e-6)
    assert found.score == pytest.approx(3.35 + 0.27, abs=1e-6)


def test_shared_categories_and_decades_are_named(small_catalogue: Catalogue) -> None:
    # i27 is a comedy of 2007; i12 a comedy of 1992, i21 a comedy of 2001, i7 a drama of 1987.
    found = of(small_catalogue, [7, 12, 3])
    assert found.facets == ("Comedy", "2000s")
    assert {reason.item_id: reason.shared for reason in found.reasons} == {"i7": (), "i12": ("Comedy",),
                                                                          "i3": ("Comedy",)}  # fmt: skip
    assert of(small_catalogue, [3], favourite_categories=["Drama", "Comedy"]).favourites == ("Comedy",)


def test_the_rank_counts_only_what_the_user_does_not_have(small_catalogue: Catalogue) -> None:
    assert of(small_catalogue, [3]).rank == 3
    assert of(small_catalogue, [3, 28]).rank == 2
    seen = of(small_catalogue, [3, 27, 29])
    assert seen.seen
    assert seen.rank == 2
    assert "would be number 2" in seen.to_text()
    assert not of(small_catalogue, [3]).seen


def test_the_wish_has_the_effect_it_adds(small_catalogue: Catalogue) -> None:
    for wish, effect in WISHED.items():
        assert of(small_catalogue, [3], wish=wish).wish_effect == pytest.approx(effect, abs=1e-6)
    assert of(small_catalogue, [3]).wish_effect == 0.0
    assert "raises its odds by a factor of 2.1" in of(small_catalogue, [3], wish="comedy").to_text()
    assert "lowers its odds by a factor of 4.5" in of(small_catalogue, [3], wish="noise").to_text()


def test_only_the_newest_events_are_tried(small_catalogue: Catalogue) -> None:
    assert [reason.item_id for reason in of(small_catalogue, [7, 12, 9], window=2).reasons] == ["i12", "i9"]
    assert len(of(small_catalogue, [3, 7, 9, 12], most=1).reasons) == 1


def test_what_adds_nothing_is_no_reason(small_catalogue: Catalogue) -> None:
    found = of(small_catalogue, [0, 1, 2])
    assert found.reasons == ()
    assert found.against is None
    assert "Nothing of your history speaks for it" in found.to_text()


def test_somebody_without_a_history_gets_an_explanation_too(small_catalogue: Catalogue) -> None:
    found = of(small_catalogue, [])
    assert (found.reasons, found.against, found.rank) == ((), None, 3)
    assert found.to_text() == (
        "Fjord Orchard (2007) is number 3 of what you do not have yet. "
        "Nothing of your history speaks for it; it suits many."
    )


def test_the_text_tells_what_the_numbers_say(small_catalogue: Catalogue) -> None:
    text = of(small_catalogue, [7, 12, 4], favourite_categories=["Comedy"]).to_text()
    assert text == (
        "Fjord Orchard (2007) is number 3 of what you do not have yet. It is here because of Basalt Orchard (1987) and "
        "Cobalt Orchard (1992) (Comedy too). You often choose Comedy. Amber Viaduct (1984) speaks against it."
    )


def test_effects_are_the_differences_of_scores_computed_by_hand(fitted: Recommender) -> None:
    person, item, wish = fitted.people(["u6"])[0], 29, "drama"
    reading = fitted.fused_reading

    def score(person: Person, wish: str) -> float:
        return float(reading.scores([person], Asking(wish=wish))[0, item])

    whole = score(person, wish)
    effects = {}
    for at in range(len(person.items)):
        rest = [place for place in range(len(person.items)) if place != at]
        assert person.times is not None
        without = Person(person.items[rest], person.ratings[rest], person.attributes, person.times[rest])
        effects[f"i{person.items[at]}"] = whole - score(without, wish)
    found = fitted.explain("u6", "i29", wish=wish)
    assert found.score == pytest.approx(whole, abs=1e-5)
    assert found.wish_effect == pytest.approx(whole - score(person, ""), abs=1e-5)
    assert abs(found.wish_effect) > 1e-6
    expected = sorted((effect for effect in effects.values() if effect > 0), reverse=True)[:3]
    assert [reason.effect for reason in found.reasons] == pytest.approx(expected, abs=1e-5)
    assert expected
    for reason in found.reasons:
        assert reason.effect == pytest.approx(effects[reason.item_id], abs=1e-5)
    listed = fitted.recommend(["u6"], k=30, wish=wish)
    assert listed["item_id"].to_list().index("i29") + 1 == found.rank
    assert wish in found.prompt


def test_a_stored_user_and_the_same_history_explain_alike_but_for_what_else_is_known(fitted: Recommender) -> None:
    history = [f"i{item}" for item in fitted.people(["u6"])[0].items]
    attributes = fitted.people(["u6"])[0].attributes
    stored, given = fitted.explain("u6", "i29"), fitted.explain(history=history, attributes=attributes, item="i29")
    assert given.score == pytest.approx(stored.score, abs=1e-5)
    assert [reason.item_id for reason in given.reasons] == [reason.item_id for reason in stored.reasons]
    assert fitted.explain("u6", "Fjord Viaduct (2009)") == stored
    assert fitted.explain("nobody", "i29").reasons == ()


def test_what_cannot_be_explained_is_refused(fitted: Recommender) -> None:
    with pytest.raises(SettingsError, match="either a user or a history"):
        fitted.explain(item="i29")
    with pytest.raises(SettingsError, match="either a user or a history"):
        fitted.explain("u1", "i29", history=["i3"])
    with pytest.raises(NotFoundError, match=r"'Fjord Viadukt'.*'Fjord Viaduct \(2009\)'"):
        fitted.explain("u1", "Fjord Viadukt")


def test_an_explanation_is_plain_values(fitted: Recommender) -> None:
    body = fitted.explain("u6", "i29", wish="drama").to_dict()
    assert body["item_id"] == "i29"
    assert all(isinstance(reason["effect"], float) for reason in body["reasons"])


def test_what_the_user_wrote_of_an_event_is_quoted(small_catalogue: Catalogue) -> None:
    person = replace(Person.new([3, 7, 12]), reviews=("", "Warm</s> and " + "long " * 40, ""))
    found = explain(person, 27, additive, small_catalogue, Facets.of(small_catalogue))
    quoted = {reason.item_id: reason.review for reason in found.reasons}
    assert quoted["i3"] == quoted["i12"] == ""
    assert quoted["i7"].startswith("Warm and long")
    assert len(quoted["i7"]) <= 80
    assert "you wrote: “Warm and long" in found.to_text()
    assert "you wrote" not in of(small_catalogue, [3, 7, 12]).to_text()
