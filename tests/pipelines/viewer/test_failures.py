"""What the viewer shows when something cannot be loaded: that it could not, and nothing stale."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from playwright.sync_api import Route

from pipelines.viewer import server
from tests.pipelines.viewer.test_browser import dark, find, hot, served, settled, stage_pixels

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not server.OPENSEADRAGON.exists(), reason="OpenSeadragon is absent: run 'make viewer'"
    ),
]
BROKEN = {"kind": "broken", "error": "the files of this slide cannot be read: damaged"}

NUCLEUS = [[500, 400], [800, 400], [800, 700], [500, 700]]  # large, to be seen by `find`


@pytest.fixture(scope="module")
def address(made_run: Any) -> Iterator[str]:
    with served(made_run.path) as url:
        yield f"{url}#{quote(made_run.positive)}"


def refuse(route: Route) -> None:
    """Answer as the server does for damaged files."""
    route.fulfill(status=500, json=BROKEN)


def test_a_late_answer_is_not_drawn_under_the_legend_of_another_channel(
    address: str, fallible_page: Any
) -> None:
    page, held = fallible_page, []
    page.route("**/heatmap/1.*", lambda route: held.append(route))  # does not answer yet
    page.goto(address)
    settled(page)
    page.locator("#opacity").fill("100")
    square = find(page, hot)
    assert square is not None
    score = stage_pixels(page)
    page.select_option("#channel", "1")
    assert find(page, hot) is None, "the score is drawn under the legend of the attention"
    page.select_option("#channel", "0")
    assert find(page, hot) == square
    assert len(held) == 2
    for route in held:
        route.continue_()
    page.wait_for_load_state("networkidle")
    find(page, hot)
    np.testing.assert_array_equal(stage_pixels(page), score)


def test_a_channel_that_cannot_be_read_is_not_drawn_as_another(
    address: str, fallible_page: Any
) -> None:
    page = fallible_page
    page.route("**/heatmap/1.*", refuse)
    page.goto(address)
    settled(page)
    page.locator("#opacity").fill("100")
    assert find(page, hot) is not None
    page.select_option("#channel", "1")
    page.wait_for_selector("#heatmap-trouble:has-text('cannot be read: damaged')")
    assert find(page, hot) is None
    assert find(page, dark) is not None, "there is something between the slide and the eye"
    page.select_option("#channel", "0")
    page.wait_for_selector("#heatmap-trouble", state="hidden")
    assert find(page, hot) is not None


def test_what_is_seen_of_a_slide_that_cannot_be_read_is_said_to_be_coarse(
    address: str, fallible_page: Any
) -> None:
    page = fallible_page
    page.route("**/tiles/0/*", refuse)
    page.goto(address)
    page.wait_for_selector("#image-trouble:has-text('cannot be read: damaged')")
    page.unroute("**/tiles/0/*")
    with page.expect_response("**/tiles/0/*") as answer:  # asks again
        page.click("#zoom-in")
    assert answer.value.ok
    page.wait_for_selector("#image-trouble", state="hidden")


def test_nuclei_that_cannot_be_read_are_not_said_to_be_none(
    address: str, fallible_page: Any, made_run: Any
) -> None:
    page = fallible_page
    describe_nuclei(page, f"**/api/slides/{made_run.positive}")
    page.route("**/nuclei/*.json*", refuse)
    page.goto(address)
    settled(page)
    page.uncheck("#shown")  # the heatmap, some of which is blue
    assert page.is_hidden("#nuclei-trouble")
    page.check("#nuclei")
    page.wait_for_selector("#nuclei-trouble:has-text('cannot be read: damaged')")
    page.uncheck("#nuclei")
    page.wait_for_selector("#nuclei-trouble", state="hidden")
    page.check("#nuclei")
    page.wait_for_selector("#nuclei-trouble:has-text('cannot be read: damaged')")
    assert find(page, blue) is None
    page.unroute("**/nuclei/*.json*")
    page.route("**/nuclei/*.json*", lambda route: route.fulfill(json=[NUCLEUS]))
    page.click("#zoom-in")  # asks again
    page.wait_for_selector("#nuclei-trouble", state="hidden")
    assert find(page, blue) is not None, "nuclei are not drawn"


def blue(pixels: np.ndarray) -> np.ndarray:
    """The line around a nucleus."""
    return pixels[..., 2] - pixels[..., 0] > 90


def describe_nuclei(page: Any, address: str) -> None:
    """Have the slide say that it has nuclei, in one cell."""

    def answer(route: Route) -> None:
        said = route.fetch()
        nuclei = {"version": "1", "cell_level0_px": 2048}
        route.fulfill(response=said, json=said.json() | {"nuclei": nuclei})

    page.route(address, answer)


def test_a_segmentation_that_cannot_be_read_is_not_said_to_be_none(
    segmented_run: Any, fallible_page: Any
) -> None:
    page = fallible_page
    page.route("**/labels/**", refuse)
    with served(segmented_run.path) as url:
        page.goto(f"{url}#{quote(segmented_run.alone)}")
        page.wait_for_selector("#segmentation-trouble:has-text('cannot be read: damaged')")
        page.unroute("**/labels/**")
        page.click("#zoom-in")  # asks again
        page.wait_for_selector("#segmentation-trouble", state="hidden")


def test_the_list_is_asked_for_again_after_a_failure(address: str, fallible_page: Any) -> None:
    page, answers = fallible_page, iter([running("first"), refuse, running("second")])
    page.clock.install()
    page.route("**/api/run", lambda route: next(answers)(route))
    page.goto(address)
    page.wait_for_selector("#run-name:has-text('first')")
    page.clock.fast_forward(10_000)
    page.wait_for_selector("#run-trouble:has-text('cannot be read: damaged')")
    assert page.is_hidden("#message"), "what is wrong with the list hides the slide"
    page.clock.fast_forward(10_000)
    page.wait_for_selector("#run-name:has-text('second')")
    assert page.is_hidden("#run-trouble")


def test_a_first_slide_is_shown_after_a_failure(address: str, fallible_page: Any) -> None:
    page, answers = fallible_page, iter([refuse, running("second")])
    page.clock.install()
    page.route("**/api/run", lambda route: next(answers)(route))
    page.goto(re.sub("#.*", "", address))
    page.wait_for_selector("#run-trouble:has-text('cannot be read: damaged')")
    page.clock.fast_forward(10_000)
    page.wait_for_selector(".panel h2")
    assert page.is_hidden("#run-trouble")


def running(name: str) -> Callable[[Route], None]:
    """Answer as for a run of that name that is under way."""

    def answer(route: Route) -> None:
        said = route.fetch()
        route.fulfill(response=said, json=said.json() | {"name": name, "is_finished": False})

    return answer
