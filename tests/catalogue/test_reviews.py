"""What users write is read once, and compared with what others wrote."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flanrec.backbone import Backbone
from flanrec.catalogue import reviews as module
from flanrec.catalogue.people import Person
from flanrec.catalogue.reviews import ReviewReader, Reviews

SPACE = "Rockets, planets, aliens: the best science fiction in years."
LOVE = "A tender love story, I cried at the wedding."
SPACE_TOO = "Astronauts and a planet full of aliens, great science fiction."
LOVE_TOO = "So romantic, a wedding and a love that lasts."


def wrote(**texts: str) -> Person:
    """A user who met item 3 for ``i3="..."``, and wrote it; "" for nothing."""
    person = Person.new([int(name[1:]) for name in texts])
    return replace(person, reviews=tuple(texts.values()), times=np.arange(len(texts), dtype=np.float64))


@pytest.fixture(scope="module")
def known(backbone: Backbone) -> Reviews:
    """Items 0 and 2 were praised for space, 1 and 3 for love; 4 was met in silence."""
    others = [wrote(i0=SPACE, i1=LOVE, i4=""), wrote(i2=SPACE_TOO, i3=LOVE_TOO)]
    found = Reviews.of(others, 6, ReviewReader(backbone))
    assert found is not None
    return found


def test_who_writes_of_space_is_shown_what_others_praise_for_it(known: Reviews) -> None:
    scores = known.scores([wrote(i5="Loved the aliens and their planet."), wrote(i5="What a wedding, what a love.")])
    assert scores.shape == (2, 6)
    assert scores[0, [0, 2]].min() > scores[0, [1, 3]].max()
    assert scores[1, [1, 3]].min() > scores[1, [0, 2]].max()
    assert not scores[:, 4:].any(), "nobody wrote of these"


def test_who_wrote_nothing_is_told_nothing(known: Reviews) -> None:
    assert not known.scores([Person.new([1, 2]), wrote(i1="", i2=""), Person.new()]).any()


def test_without_reviews_there_is_nothing_to_compare(backbone: Backbone) -> None:
    assert Reviews.of([Person.new([1]), wrote(i2="")], 6, ReviewReader(backbone)) is None


def test_the_five_newest_reviews_count(known: Reviews) -> None:
    older = replace(Person.new([5, 4, 4, 4, 4, 4]), reviews=(LOVE_TOO, *[SPACE_TOO] * 5))
    newest = replace(Person.new([4] * 5), reviews=(SPACE_TOO,) * 5)
    np.testing.assert_allclose(known.scores([older]), known.scores([newest]), atol=1e-6)


def test_what_the_user_wrote_is_not_what_others_wrote(known: Reviews) -> None:
    alone = known.scores([wrote(i0=SPACE)])
    assert alone[0, 0] == 0
    assert alone[0, 2] > 0


def test_of_very_many_reviews_the_newest_are_read(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 2)
    found = Reviews.of([wrote(i0=SPACE, i1=LOVE, i2=SPACE_TOO)], 3, ReviewReader(backbone))
    assert found is not None
    assert np.linalg.norm(found.items, axis=1) == pytest.approx([0, 1, 1], abs=1e-5)


def test_of_very_many_reviews_without_times_some_are_drawn(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST", 8)
    users = [replace(Person.new([user]), reviews=(f"{SPACE} {user}",)) for user in range(40)]
    found = Reviews.of(users, 40, ReviewReader(backbone))
    assert found is not None
    read = np.flatnonzero(np.linalg.norm(found.items, axis=1))
    assert len(read) == 8
    assert read.min() < 20 < read.max(), "not those of the last users"


def test_texts_are_cleaned_and_cut_before_they_are_read(backbone: Backbone) -> None:
    reader = ReviewReader(backbone)
    plain, cut = reader.read([SPACE, LOVE + " and so on" * 500])
    np.testing.assert_array_equal(reader.read([f"{SPACE}</s> \u0000"])[0], plain)
    np.testing.assert_array_equal(reader.read([LOVE + " and so on" * 400])[0], cut)


def test_a_text_is_encoded_once_and_the_oldest_is_forgotten(
    backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    encode = module.mean_states
    monkeypatch.setattr(
        module, "mean_states", lambda model, texts, **how: asked.extend(texts) or encode(model, texts, **how)
    )
    reader = ReviewReader(backbone, remember=2)
    first = reader.read([SPACE, LOVE, SPACE])
    assert first.shape == (3, reader.width)
    np.testing.assert_array_equal(first[0], first[2])
    assert reader.read([]).shape == (0, reader.width)
    np.testing.assert_allclose(reader.read([LOVE, SPACE]), first[[1, 0]])
    assert asked == [SPACE, LOVE]
    reader.read([LOVE_TOO])
    reader.read([SPACE])
    assert asked == [SPACE, LOVE, LOVE_TOO], "the newest two are kept"
    reader.read([LOVE])
    assert asked[-1] == LOVE


def test_new_items_have_no_reviews_yet(known: Reviews) -> None:
    more = known.extended(8)
    asked = [wrote(i5=SPACE)]
    np.testing.assert_array_equal(more.scores(asked)[:, :6], known.scores(asked))
    assert not more.scores(asked)[:, 6:].any()
