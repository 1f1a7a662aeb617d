"""A slide that is looked at while its run goes on: what comes of it is shown, and nothing moves."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines.viewer import server
from tests.pipelines.viewer.test_browser import dark, find, hot, served
from tests.pipelines.viewer.test_failures import refuse

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not server.OPENSEADRAGON.exists(), reason="OpenSeadragon is absent: run 'make viewer'"
    ),
]
POLL_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A run that has verdicts and the positive slide's image and heatmap yet to come."""

    address: str
    out: Path
    aside: Path
    slide_id: str

    def finish(self, *names: str) -> None:
        """Put what was aside in its place."""
        for name in names:
            (self.aside / name).rename(self.place(name))

    def place(self, name: str) -> Path:
        """Where a file of the run, or of its slide, belongs."""
        is_of_run = name == "slides.parquet"
        return (self.out if is_of_run else self.out / "slides" / self.slide_id) / name


@pytest.fixture
def running(made_run: Any, tmp_path: Path) -> Iterator[Running]:
    out, aside = shutil.copytree(made_run.path, tmp_path / "run"), tmp_path / "aside"
    aside.mkdir()
    with served(out) as url:
        run = Running(
            address=f"{url}#{quote(made_run.positive)}",
            out=out,
            aside=aside,
            slide_id=made_run.positive,
        )
        for name in ("slides.parquet", "image.ome.zarr", "heatmap.ome.zarr"):
            run.place(name).rename(aside / name)
        yield run


def test_what_becomes_of_the_slide_in_view_is_shown_where_it_is(
    running: Running, fallible_page: Any
) -> None:
    page = fallible_page
    page.clock.install()
    page.goto(running.address)
    page.wait_for_selector("#message:has-text('There is no image')")
    running.finish("image.ome.zarr")
    page.clock.fast_forward(POLL_MS)
    page.wait_for_selector("#message", state="hidden")
    for _ in range(2):
        page.click("#zoom-in")
    square = find(page, dark)
    assert square is not None
    assert "not through with it" in page.inner_text("#reason")
    running.finish("heatmap.ome.zarr", "slides.parquet")
    page.clock.fast_forward(POLL_MS)
    page.wait_for_selector("#legend:has-text('tumour score')")
    assert page.locator("#reason").count() == 0
    page.locator("#opacity").fill("100")
    cell = find(page, hot)
    assert cell is not None
    assert cell.distance(square) <= 2, "the view moved"


def test_a_slide_of_which_nothing_is_new_is_left_alone_and_a_failure_is_made_up_for(
    running: Running, fallible_page: Any
) -> None:
    running.finish("image.ome.zarr", "heatmap.ome.zarr")
    page, slide = fallible_page, f"**/api/slides/{running.slide_id}"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    page.goto(running.address)
    page.wait_for_selector("#legend")
    page.select_option("#channel", "1")
    page.wait_for_load_state("networkidle")
    asked.clear()
    with page.expect_response("**/api/run"):
        page.clock.fast_forward(POLL_MS)
    page.wait_for_load_state("networkidle")
    assert not [url for url in asked if url.endswith(running.slide_id)]
    prediction = running.place("prediction.json")
    prediction.write_text(prediction.read_text().replace("0.91", "0.62"))
    page.route(slide, refuse)
    with page.expect_response(slide):
        page.clock.fast_forward(POLL_MS)
    assert "0.91" in page.inner_text("#panel")
    assert page.is_hidden("#message")
    page.unroute(slide)
    page.clock.fast_forward(POLL_MS)
    page.wait_for_selector("#panel:has-text('0.62')")
    assert page.input_value("#channel") == "1"
