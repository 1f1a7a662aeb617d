"""The left column in a real browser: what rows and chips say, and what keys do there."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines.viewer import server
from tests.pipelines.viewer.test_browser import served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not server.OPENSEADRAGON.exists(), reason="OpenSeadragon is absent: run 'make viewer'"
    ),
]


@pytest.fixture(scope="module")
def address(made_run: Any) -> Iterator[str]:
    with served(made_run.path) as url:
        yield url


def visible_ids(page: Any) -> list[str]:
    """The slides that the list shows, from the top."""
    return [row.inner_text() for row in page.locator(".row-id").all() if row.is_visible()]


@pytest.fixture
def uncertain_address(made_run: Any, tmp_path: Path) -> Iterator[str]:
    """A run whose negative slide is to be read again."""
    out = shutil.copytree(made_run.path, tmp_path / "run")
    said = out / "slides" / made_run.negative / "prediction.json"
    said.write_text(json.dumps(json.loads(said.read_text()) | {"uncertain": True}))
    with served(out) as url:
        yield url


def test_a_slide_to_be_read_again_is_marked_and_found(
    uncertain_address: str, made_run: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(f"{uncertain_address}#{quote(made_run.negative)}")
    page.wait_for_selector("#uncertain:has-text('Uncertain: read again')")
    page.click("button.chip.uncertain")
    assert visible_ids(page) == [made_run.negative]
    assert page.locator(".row:visible .badge.uncertain").count() == 1


def test_no_slide_is_said_to_be_uncertain_where_none_is(
    address: str, made_run: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(f"{address}#{quote(made_run.negative)}")
    page.wait_for_selector(".says-large")
    for nowhere in ("#uncertain", ".chip.uncertain", ".badge.uncertain"):
        assert not page.is_visible(nowhere)


def test_a_filter_keeps_the_focus_and_says_how_many_match(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    page.wait_for_selector("#found:text-is('4 slides')")
    page.focus(".chip.failed")
    page.keyboard.press("Enter")
    page.wait_for_selector("#found:text-is('1 of 4 slides')")
    assert page.evaluate("document.activeElement.className") == "chip failed"
    assert page.get_attribute(".chip.failed", "aria-pressed") == "true"
    assert page.get_attribute("#found", "role") == "status"


def test_a_search_keeps_the_rows_that_are_there(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    page.wait_for_selector(".row")
    before = visible_ids(page)
    page.evaluate("document.querySelectorAll('.row').forEach((row) => (row.isOld = true))")
    page.fill("#search", "no mpp")
    page.wait_for_selector("#found:text-is('1 of 4 slides')")
    page.fill("#search", "nothing of that name")
    page.wait_for_selector("#no-slides:has-text('No slide matches')")
    page.fill("#search", "")
    page.wait_for_selector("#found:text-is('4 slides')")
    assert visible_ids(page) == before
    assert page.evaluate("[...document.querySelectorAll('.row')].every((row) => row.isOld)")


@pytest.mark.parametrize("place", ["#slides", ".openseadragon-canvas"])
def test_keys_choose_the_slide_wherever_the_focus_is(
    address: str, made_run: Any, open_page: Callable[..., Any], place: str
) -> None:
    page = open_page(f"{address}#{quote(made_run.positive)}")
    page.wait_for_selector("#legend")
    ids, entries = visible_ids(page), page.evaluate("history.length")
    for key, at in (("Home", 0), ("ArrowDown", 1), ("PageDown", 3), ("ArrowUp", 2), ("End", 3)):
        page.focus(place)
        page.keyboard.press(key)
        page.wait_for_selector(f".panel h2:text-is('{ids[at]}')")
    assert page.evaluate("history.length") == entries, "each key is a step for “back”"


@pytest.mark.parametrize("hash_", ["", "#"])
def test_an_empty_address_shows_the_first_slide(
    address: str, open_page: Callable[..., Any], hash_: str
) -> None:
    page = open_page(address + hash_)
    page.wait_for_selector(".panel h2")
    assert page.is_hidden("#message")
    first = page.inner_text(".panel h2")
    page.keyboard.press("End")
    page.wait_for_selector(f".panel h2:not(:text-is('{first}'))")
    page.evaluate("location.hash = ''")
    page.wait_for_selector(f".panel h2:text-is('{first}')")


def test_from_an_unknown_slide_there_is_a_way_back(address: str, fallible_page: Any) -> None:
    fallible_page.goto(f"{address}#unknown")
    fallible_page.click("#message a")
    fallible_page.wait_for_selector(".panel h2")


@pytest.mark.parametrize(("width", "least"), [(800, 500), (390, 390)])
def test_a_narrow_window_leaves_room_for_the_slide(
    address: str, open_page: Callable[..., Any], width: int, least: int
) -> None:
    page = open_page(address)
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_selector("#legend")
    assert page.locator(".stage").bounding_box()["width"] >= least
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in ("#search", "#zoom-in"):  # neither lies on the other
        page.click(selector, trial=True)


def test_in_a_narrow_window_a_chosen_slide_is_what_is_seen(
    address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    page.wait_for_selector("#legend")
    assert page.evaluate("scrollY") == 0  # the list lies far below
    page.locator("#slides [role=option]:visible").last.click()
    page.wait_for_function("scrollY === 0")
