"""What the clicks of the page do, on a real model and store, without a browser."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import pytest

from flanrec.errors import NotFoundError, SettingsError
from flanrec.serving.batching import Late
from flanrec.serving.service import Service
from flanrec.serving.store import Case, Event
from flanrec.serving.store.records import Shown
from flanrec.serving.store.trail import Trace
from flanrec.studio.clicks import Click, click_of, on_ask, said
from flanrec.studio.looking import Dials, look, rates_of
from flanrec.studio.somebody import Somebody, attributes_of
from flanrec.studio.tabs.catalogue import CatalogueTab
from flanrec.studio.tabs.compare import CompareTab
from flanrec.studio.tabs.recommend import DESCRIBED, STORED, RecommendTab
from flanrec.studio.tabs.review import ReviewTab
from flanrec.studio.tabs.traffic import TrafficTab

PLAIN = ("", "", 0.0, 0.0, "")
HOSTILE = "<img src=x onerror=\"alert('1')\">"


def listed(markup: str) -> list[str]:
    return re.findall(r'<li class="fs-card" data-item="([^"]+)"', markup)


def test_a_user_gets_what_the_service_recommends_with_reasons_and_sources(service: Service, run: Any) -> None:
    somebody, about, cards, history, instruction = run(RecommendTab(service).choose(Click("choose", "u3"), *PLAIN))
    live = service.models.get()
    expected, _ = live.recommender.rank(live.recommender.people(["u3"]), 10)
    assert listed(cards) == [live.ids[item] for item in expected[0]]
    assert somebody == Somebody("u3")
    assert "user u3" in about
    assert live.version in about
    assert cards.count("It is here because of") + cards.count("Nothing of your history") >= 5
    assert '<th scope="row">ease</th>' in cards
    titles = live.recommender.parts.catalogue.titles
    person = live.recommender.people(["u3"])[0]
    assert [history.index(titles[item]) for item in person.items[::-1]] == sorted(
        history.index(titles[item]) for item in person.items
    )
    assert live.recommender.token_reading.prompts([person])[0] in instruction.unescape()


def test_a_like_is_an_event_and_its_item_leaves_the_list(service: Service, run: Any) -> None:
    acts = RecommendTab(service)

    async def walk() -> Any:
        chosen = await acts.choose(Click("choose", "u12"), *PLAIN)
        first = listed(chosen[2])[0]
        return first, await acts.react(Click("like", first), chosen[0], "", *PLAIN)

    first, after = run(walk())
    newest = service.store.events.of("u12").events[-1]
    assert (newest.item_id, newest.event, newest.rating, newest.request_id) == (first, "like", None, None)
    assert first not in listed(after[2])
    assert service.models.get().recommender.parts.catalogue.titles[service.models.get().places[first]] in after[3]


def test_a_dislike_takes_an_item_away_and_is_no_part_of_the_history(service: Service, run: Any) -> None:
    acts = RecommendTab(service)

    async def walk() -> Any:
        chosen = await acts.choose(Click("choose", "u13"), *PLAIN)
        first = listed(chosen[2])[0]
        return first, chosen, await acts.react(Click("dislike", first), chosen[0], "", *PLAIN)

    first, before, after = run(walk())
    assert service.store.events.of("u13").events[-1].event == "dislike"
    assert first not in listed(after[2])
    assert "1 turned down" in after[3]
    assert "turned down" not in before[3]


def test_a_rating_is_kept_with_its_value(service: Service, run: Any) -> None:
    run(RecommendTab(service).react(Click("rate", "i9", "4"), Somebody("u14"), "", *PLAIN))
    newest = service.store.events.of("u14").events[-1]
    assert (newest.item_id, newest.event, newest.rating) == ("i9", "rating", 4.0)


@pytest.mark.parametrize("value", ["", "x", "nan", "inf", "1e9"])
def test_a_rating_that_is_none_is_refused(service: Service, run: Any, value: str) -> None:
    with pytest.raises(SettingsError, match="a rating is a number"):
        run(RecommendTab(service).react(Click("rate", "i9", value), Somebody("u15"), "", *PLAIN))
    assert service.store.events.of("u15").events[-1].event != "rating"


def test_somebody_described_is_changed_and_nothing_is_written(service: Service, run: Any) -> None:
    acts = RecommendTab(service)
    before = service.store.events.count()

    async def walk() -> list[Any]:
        added = await acts.add(Click("add", "i5"), Somebody("u3"), "age = 30", *PLAIN)
        liked = await acts.react(Click("like", "i6"), added[0], "age = 30", *PLAIN)
        low = await acts.react(Click("rate", "i7", "2"), liked[0], "age = 30", *PLAIN)
        left = await acts.react(Click("leave", "i5"), low[0], "age = 30", *PLAIN)
        return [added, liked, low, left]

    added, liked, low, left = run(walk())
    assert added[0] == Somebody(None, ("i5",), (), {"age": "30"})
    assert liked[0].history == ("i5", "i6")
    assert low[0].refused == ("i7",)
    assert "i7" not in listed(low[2])
    assert left[0].history == ("i6",)
    assert 'data-act="leave"' in left[3]
    assert service.store.events.count() == before


def test_the_sliders_act_on_the_list(service: Service, run: Any) -> None:
    acts = RecommendTab(service)
    live = service.models.get()

    async def walk() -> Any:
        plain = await acts.choose(Click("choose", "u3"), *PLAIN)
        return plain, await acts.again(STORED, plain[0], "", "", "", 0.0, 1.0, "")

    plain, tail = run(walk())
    shares = [sum(bool(live.tail[live.places[item]]) for item in listed(one[2])) for one in (plain, tail)]
    assert shares[1] > shares[0]


def test_settings_change_nothing_while_nobody_is_chosen(service: Service, run: Any) -> None:
    outputs = run(RecommendTab(service).again(STORED, Somebody(), "", "comedy", "", 0.5, 0.5, ""))
    assert all(one["__type__"] == "update" and len(one) == 1 for one in outputs)


def test_an_id_may_be_typed_and_one_of_nobody_is_refused(service: Service, run: Any) -> None:
    acts = RecommendTab(service)

    async def walk() -> Any:
        found = await acts.ask(STORED, " u5 ", Somebody(), "", *PLAIN)
        with pytest.raises(NotFoundError, match="no user 'u99'"):
            await acts.ask(STORED, "u99", Somebody(), "", *PLAIN)
        with pytest.raises(SettingsError, match="choose a user first"):
            await acts.ask(STORED, "", Somebody(), "", *PLAIN)
        return found

    assert run(walk())[0] == Somebody("u5")


def test_a_wish_is_part_of_the_list_and_of_the_instruction(service: Service, run: Any) -> None:
    outputs = run(RecommendTab(service).ask(DESCRIBED, "", Somebody(), "", "comedy", "drama", 0.0, 0.0, ""))
    assert "the wish" in outputs[1]
    assert "comedy" in outputs[4]
    assert "drama" in outputs[4]


def test_what_is_looked_at_is_not_counted_as_shown(service: Service, run: Any) -> None:
    async def walk() -> None:
        await RecommendTab(service).choose(Click("choose", "u3"), *PLAIN)
        await CompareTab(service).compare(Somebody("u3"), "", "", "", "fused", 0, 0, "", "item_tokens", 0, 0)
        await CatalogueTab(service).read(Click("read", "i3"))

    run(walk())
    assert service.store.shown.answers(0.0) == []
    told = service.metrics.text().decode()
    assert not re.findall(r"^flanrec_(lists|items_shown|history_events)\w*\{.*\} [1-9]", told, re.MULTILINE)


def test_attributes_are_read_line_by_line() -> None:
    assert attributes_of("age = 30\n\n town: Łódź = 2 ") == {"age": "30", "town: Łódź": "2"}
    for wrong in ("age", "= 3", "age ="):
        with pytest.raises(SettingsError, match="line 1"):
            attributes_of(wrong)


def test_ratings_are_those_of_the_log(service: Service) -> None:
    assert rates_of(service.models.get()) == [2.0, 4.0, 5.0]


def test_users_are_found_by_how_their_ids_begin(service: Service, run: Any) -> None:
    acts = RecommendTab(service)
    assert re.findall('data-item="([^"]+)"', run(acts.users("u3"))[0]) == ["u3", *(f"u3{n}" for n in range(10))]
    assert "and more" in run(acts.users(""))[0]
    assert "No user begins with x" in run(acts.users("x"))[0]


def test_two_settings_are_compared_and_what_differs_is_marked(service: Service, run: Any) -> None:
    (markup,) = run(
        CompareTab(service).compare(Somebody("u3"), "", "", "", "fused", 0.0, 0.0, "", "item_tokens", 0.0, 0.0)
    )
    live = service.models.get()
    people = live.recommender.people(["u3"])
    first, second = (
        set(live.recommender.rank(people, 10, reading=reading)[0][0].tolist()) for reading in ("fused", "item_tokens")
    )
    assert f"{len(first & second)} of 10" in markup
    assert markup.count("only here") == 2 * (10 - len(first & second))


def test_the_same_settings_give_the_same_lists(service: Service, run: Any) -> None:
    (markup,) = run(CompareTab(service).compare(Somebody("u3"), "", "", "", "fused", 0, 0, "", "fused", 0, 0))
    assert markup.count("same place") == 20
    assert "only here" not in markup


def test_nobody_is_compared_with_nothing(service: Service, run: Any) -> None:
    with pytest.raises(SettingsError, match="under Recommend first"):
        run(CompareTab(service).compare(Somebody(), "", "", "", "fused", 0, 0, "", "fused", 0, 0))


def test_traffic_tells_lists_hits_and_fallbacks(service: Service, run: Any) -> None:
    version, now = service.models.get().version, time.time()
    lists, head, models = run(TrafficTab(service).show(float("nan")))
    assert "No list was shown" in lists
    assert "no list yet" in head
    assert service.models.get().recommender.backbone.source.name in models
    service.store.shown.add(
        [Shown(f"r{n}", f"u{n}", now - 60, version, ("i1", "i2"), "", "down" if n < 2 else "") for n in range(8)]
    )
    service.store.events.add([Event(f"u{n}", "i2", now, "click", request_id=f"r{n}") for n in range(4)])
    service.metrics.items.labels("default", "head").inc(3)
    service.metrics.items.labels("default", "tail").inc(1)
    lists, head, _ = run(TrafficTab(service).show(7.0))
    assert f"8 of default · {version}" in lists
    assert "25.0%" in lists  # fallbacks
    assert "0.500 (" in lists  # hit rate
    assert "0.250" in lists  # half of them, at the second place
    assert "75%" in head


def test_items_are_found_in_titles_and_texts_and_read(service: Service, run: Any) -> None:
    acts = CatalogueTab(service)
    service.store.events.add([Event("u1", "i3", 5.0, "click"), Event("u2", "i3", 6.0, "click")])

    async def walk() -> Any:
        return (
            await acts.search("letter 26."),
            await acts.search("amber orchard"),
            await acts.read(Click("read", "i3")),
        )

    (by_text,), (by_title,), (item,) = run(walk())
    assert re.findall('data-item="([^"]+)"', by_text) == ["i26"]
    assert re.findall('data-item="([^"]+)"', by_title) == ["i2"]
    assert "2 click" in item
    assert item.count('data-act="read"') == 16
    with pytest.raises(NotFoundError):
        run(acts.read(Click("read", "i99")))


def test_a_case_is_kept_or_its_item_taken_down_by_whoever_clicks(service: Service, run: Any) -> None:
    acts, store = ReviewTab(service), service.store
    first, second = store.cases.add(Case("asked", "i27", reason=HOSTILE)), store.cases.add(Case("report", "i28", "u1"))
    (waiting,) = run(acts.show("open"))
    assert waiting.count(f'data-case="{first.number}"') == waiting.count(f'data-case="{second.number}"') == 1
    assert HOSTILE not in waiting
    run(acts.click(Click("keep", str(first.number), by=Trace("mia", "r1")), "open", " fine "))
    run(acts.click(Click("take_down", str(second.number), by=Trace("mia", "r2")), "open", ""))
    kept, gone = store.cases.get(first.number), store.cases.get(second.number)
    assert kept is not None
    assert gone is not None
    assert (kept.state, kept.note, kept.decided_by) == ("kept", "fine", "mia")
    assert gone.state == "taken_down"
    assert store.items.get("i28") is None
    assert f'data-case="{first.number}"' not in run(acts.show("open"))[0]
    live = run(look(service, Somebody("u3"), Dials())).live
    assert not live.open[live.places["i28"]]


@pytest.mark.parametrize(
    "click", [Click("keep", "x"), Click("keep", "9" * 30), Click("burn", "1"), Click("older", "-1")]
)
def test_a_click_on_no_case_is_refused(service: Service, run: Any, click: Click) -> None:
    with pytest.raises(SettingsError):
        run(ReviewTab(service).click(click, "open", ""))


def test_cases_come_in_pages(service: Service, run: Any) -> None:
    acts = ReviewTab(service)
    for item in range(25):
        service.store.cases.add(Case("asked", f"i{item}"))
    (first,) = run(acts.show("open"))
    assert first.count("data-case") == 20
    after = re.findall('data-act="older" data-item="([^"]+)"', first)
    rest, _ = run(acts.click(Click("older", after[0]), "open", ""))
    assert rest.count("data-case") == service.store.cases.counts()["open"] - 20


def test_what_hides_in_titles_texts_and_attributes_stays_text(alone: tuple[Service, Any]) -> None:
    service, run = alone
    store, by = service.store, Trace("tests")
    hidden = {"text": HOSTILE, "category": (HOSTILE,), "attributes": {"studio": HOSTILE}}
    for item in range(30):
        store.items.patch(f"i{item}", {"title": f"{HOSTILE} {item}", **hidden}, by)
    store.users.patch("u3", {"occupation": HOSTILE}, by)

    async def walk() -> list[Any]:
        await service.refresh()
        recommend = RecommendTab(service)
        shown = await recommend.choose(Click("choose", "u3"), *PLAIN)
        about = f"a = {HOSTILE}"
        described = await recommend.ask(DESCRIBED, "", Somebody(), about, HOSTILE, HOSTILE, 0.0, 0.0, "")
        both = await CompareTab(service).compare(
            Somebody("u3"), HOSTILE, "", "", "fused", 0, 0, "", "item_tokens", 0, 0
        )
        item = await CatalogueTab(service).read(Click("read", "i3"))
        found = [
            await CatalogueTab(service).search("img"),
            await recommend.titles("img"),
            await recommend.users(HOSTILE),
        ]
        cases = await ReviewTab(service).show("all")
        return [*shown[1:], *described[1:], *both, *item, *(one for (one,) in found), *cases]

    outputs = run(walk())
    assert sum("&lt;img" in one for one in outputs) >= 11
    for one in outputs:
        assert "<img" not in one
        assert not re.search(r"<[^>]*\sonerror", one)


def test_errors_are_messages_without_a_trail(run: Any, caplog: pytest.LogCaptureFixture) -> None:
    async def broken() -> tuple[Any, ...]:
        raise RuntimeError("secret place")

    async def missing() -> tuple[Any, ...]:
        raise NotFoundError(f"there is no item {HOSTILE!r}")

    *kept, message = run(on_ask(broken, 2)())
    assert len(kept) == 2
    assert "secret" not in message
    assert "log of the service" in message
    assert "secret place" in caplog.text
    assert "&lt;img" in run(on_ask(missing, 1)())[-1]
    assert "deadline" in said(Late())


def test_an_answer_that_comes_too_late_is_a_message(
    service: Service, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, answer = threading.Event(), service.answerer.answer

    def slow(asked: Any) -> Any:
        gate.wait(20)
        return answer(asked)

    monkeypatch.setattr(service.batcher, "_run", slow)
    hasty = service.settings.queue.model_copy(update={"deadline_ms": 50})
    monkeypatch.setattr(service, "settings", service.settings.model_copy(update={"queue": hasty}))
    *_, message = run(on_ask(RecommendTab(service).choose, 5)(Click("choose", "u3"), *PLAIN))
    gate.set()
    assert "deadline" in message


@pytest.mark.parametrize("data", [None, [], "x", {"act": None}, {"item": {"a": 1}}])
def test_a_click_may_be_anything(data: Any) -> None:
    click = click_of(data)
    assert isinstance(click.act, str)
    assert isinstance(click.item, str)


def test_a_model_that_is_not_there_is_told(service: Service, run: Any) -> None:
    with pytest.raises(NotFoundError, match="no model 'other'"):
        run(look(service, Somebody("u3"), Dials(model="other")))


def test_a_search_of_strange_characters_finds_nothing_and_breaks_nothing(service: Service, run: Any) -> None:
    acts = RecommendTab(service)
    for words in ("\0", "\ud800", "%", "_", "'; DROP TABLE users; --", "\U0010ffff"):
        assert "fs-empty" in run(acts.users(f"u{words}"))[0] or words == "\0"
        run(acts.titles(f"x{words}"))
    with pytest.raises(SettingsError, match="more than this service takes"):
        run(acts.users("x" * 3_000))
