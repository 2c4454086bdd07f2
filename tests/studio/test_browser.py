"""The page in a browser: Debian's or another Chromium, without a window."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from served import Served, serving

CHROMIUM = os.environ.get("FLANREC_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium: apt-get install chromium, or name one in FLANREC_CHROMIUM"
)
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=1</script>'
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 800}


@pytest.fixture(scope="module")
def one(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with the page, in a process of its own."""
    with serving(model_folder, tmp_path_factory.mktemp("browser") / "store.db", "--studio") as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the browser tests need the extra browser")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def tab(browser: Any, one: Served) -> Iterator[Any]:
    """A tab with the page, wide unless the test says otherwise; whatever it asked for was of the service."""
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.set_default_timeout(20_000)
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    page.goto(f"{one.address}/studio/")
    page.wait_for_selector("#fs-users button")
    yield page
    own = (f"{one.address}/studio", "data:")
    assert asked
    assert [url for url in asked if not url.startswith(own)] == []
    assert wrong == []
    assert page.evaluate("window.hit") is None
    context.close()


def opened(page: Any, name: str) -> None:
    page.click(f'button[role=tab]:has-text("{name}")')


def items(page: Any) -> list[str]:
    return [card.get_attribute("data-item") for card in page.query_selector_all("#fs-listed .fs-card")]


def chosen(page: Any, user: str) -> list[str]:
    page.fill("#fs-user textarea, #fs-user input", user)
    page.click(f'#fs-users button[data-item="{user}"]')
    page.wait_for_selector(f'#fs-about:has-text("user {user}")')
    return items(page)


def changed(page: Any, before: list[str]) -> list[str]:
    """The list once it is another one."""
    shown = "[...document.querySelectorAll('#fs-listed .fs-card')].map(card => card.dataset.item).join()"
    page.wait_for_function(f"(before) => {shown} != before", arg=",".join(before))
    return items(page)


def fits(page: Any) -> None:
    """Nothing is wider than the window."""
    page.wait_for_timeout(150)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_choose_read_answer_and_see_the_list_change(tab: Any, one: Served) -> None:
    before = chosen(tab, "u7")
    assert len(before) == 10
    assert re.search("because of|Nothing of your history", tab.inner_text("#fs-listed .fs-why >> nth=0"))
    tab.click("#fs-listed summary >> nth=0")
    assert tab.is_visible('#fs-listed .fs-sources >> nth=0 >> text="ease"')
    tab.click("#fs-instruction summary")
    assert "movie" in tab.inner_text("#fs-instruction pre >> nth=0")
    first = before[0]
    tab.click(f'#fs-listed button[data-act="like"][data-item="{first}"]')
    after = changed(tab, before)
    assert first not in after
    tab.click(f'#fs-listed button[data-act="dislike"][data-item="{after[0]}"]')
    assert after[0] not in changed(tab, after)
    kinds = [event["event"] for event in one.client.get("/v1/users/u7/events").json()["events"]]
    assert kinds[-2:] == ["like", "dislike"]


def test_describe_somebody_by_titles_and_a_wish(tab: Any) -> None:
    tab.click('#fs-kind label:has-text("described")')
    tab.fill("#fs-add textarea, #fs-add input", "ember")
    tab.click("#fs-titles button >> nth=0")
    tab.wait_for_selector("#fs-history button[data-act=leave]")
    before = items(tab)
    tab.fill("#fs-wish textarea, #fs-wish input", "comedy")
    tab.click("#fs-go")
    tab.wait_for_selector('#fs-about:has-text("words")')
    assert len(items(tab)) == len(before) == 10
    tab.fill("#fs-attributes textarea", "age")
    tab.click("#fs-go")
    assert "line 1" in tab.inner_text("#fs-notice [role=alert]")


def test_what_hides_in_titles_reasons_and_attributes_does_not_run(tab: Any, one: Served) -> None:
    user = "u9"
    hidden = [
        {
            "item_id": f"i{item}",
            "title": f"{HOSTILE} {item}",
            "text": HOSTILE,
            "category": [HOSTILE],
            "year": 1980 + item,
        }
        for item in range(24)
    ]
    assert one.client.post("/v1/items", json={"items": hidden}).json()["replaced"] == 24
    one.client.patch(f"/v1/users/{user}", json={"attributes": {"occupation": HOSTILE}})
    chosen(tab, user)
    assert "<img src=x" in tab.inner_text("#fs-listed")
    assert any("<img src=x" in why for why in tab.locator("#fs-listed .fs-why").all_inner_texts())
    assert "<img src=x" in tab.inner_text("#fs-history dl")
    opened(tab, "Compare")
    tab.wait_for_selector("#fs-compared .fs-rows")
    assert "<img src=x" in tab.inner_text("#fs-compared")
    opened(tab, "Catalogue")
    tab.fill("#fs-search textarea, #fs-search input", "img 12")
    tab.wait_for_function("document.querySelectorAll('#fs-found button').length == 1")
    tab.click("#fs-found button >> nth=0")
    tab.wait_for_selector("#fs-item .fs-pair")
    assert "<img src=x" in tab.inner_text("#fs-item")
    opened(tab, "Review")  # texts with markup wait there
    tab.wait_for_selector("#fs-cases .fs-card")
    assert "<img src=x" in tab.inner_text("#fs-cases")


def test_even_markup_that_was_not_escaped_would_not_run(browser: Any, one: Served) -> None:
    page = browser.new_page()
    told: list[str] = []
    page.on("console", lambda line: told.append(line.text))
    page.goto(f"{one.address}/studio/")
    page.wait_for_selector("#fs-users button")
    page.evaluate("markup => document.body.insertAdjacentHTML('beforeend', markup)", HOSTILE)
    page.evaluate("markup => document.body.append(document.createRange().createContextualFragment(markup))", HOSTILE)
    page.evaluate("() => fetch('https://elsewhere.example/').catch(() => null)")
    page.wait_for_timeout(300)
    assert page.evaluate("window.hit") is None
    assert sum("Content Security Policy" in line for line in told) >= 3
    page.close()


def test_a_case_is_decided(tab: Any, one: Served) -> None:
    for item, reason in (("i25", "spam"), ("i26", "fine")):
        one.client.post("/v1/moderation", json={"item_id": item, "reason": reason})
    opened(tab, "Review")
    tab.fill("#fs-note textarea, #fs-note input", "as the rules say")
    spam = tab.locator('#fs-cases .fs-card:has-text("spam")')
    spam.locator('button[data-act="take_down"]').click()
    spam.wait_for(state="detached")
    assert one.client.get("/v1/items/i25").status_code == 404
    fine = tab.locator('#fs-cases .fs-card:has-text("item i26"):has-text("asked for")')
    fine.locator('button[data-act="keep"]').click()
    fine.wait_for(state="detached")
    assert one.client.get("/v1/items/i26").status_code == 200
    cases = one.client.get("/v1/moderation?state=taken_down").json()["cases"]
    assert "as the rules say" in [case["note"] for case in cases]


def test_every_tab_fits_a_phone(tab: Any, one: Served) -> None:
    answer = one.client.post("/v1/recommend", json={"user_id": "u11"}).json()
    met = {"user_id": "u11", "item_id": answer["items"][0]["item_id"], "request_id": answer["request_id"]}
    one.client.post("/v1/feedback", json={"events": [met]})
    one.client.post("/v1/moderation", json={"item_id": "i24", "reason": "x" * 300})
    tab.set_viewport_size(PHONE)
    tab.reload()
    tab.wait_for_selector("#fs-users button")
    fits(tab)
    chosen(tab, "u8")
    tab.click("#fs-listed summary >> nth=0")
    tab.click("#fs-instruction summary")
    fits(tab)
    for name, there in (("Compare", "#fs-compared .fs-rows"), ("Traffic", "#fs-lists .fs-table"),
                        ("Catalogue", "#fs-found button"), ("Review", "#fs-cases .fs-card")):  # fmt: skip
        opened(tab, name)
        tab.wait_for_selector(there)
        fits(tab)
    opened(tab, "Catalogue")
    tab.click("#fs-found button >> nth=0")
    tab.wait_for_selector("#fs-item .fs-pair")
    fits(tab)
