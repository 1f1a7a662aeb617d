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
        assert page.locator(nowhere).count() == 0
