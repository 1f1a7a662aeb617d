"""The right column in a real browser: what it says of a slide and what it remembers."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines.viewer import server
from tests.pipelines.viewer.test_browser import change_record, served

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not server.OPENSEADRAGON.exists(), reason="OpenSeadragon is absent: run 'make viewer'"
    ),
]


def test_tiles_left_out_for_quality_are_told(
    made_run: Any, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    out = shutil.copytree(made_run.path, tmp_path / "run")
    left_out = {"n_excluded_tiles": 4, "excluded": {"pen": 3, "focus": 1}}
    change_record(out, made_run.positive, **left_out)
    with served(out) as url:
        page = open_page(f"{url}#{quote(made_run.positive)}")
        said = "4 tiles left out for quality: pen ink 3, blurred 1"
        page.wait_for_selector(f".facts:has-text('{said}')")
        page = open_page(f"{url}#{quote(made_run.negative)}")
        page.wait_for_selector(".facts")
        assert "quality" not in page.inner_text(".facts")


def test_the_channel_chosen_last_is_shown_of_other_slides_unless_it_misleads(
    made_run: Any, open_page: Callable[..., Any]
) -> None:
    with served(made_run.path) as url:
        page = open_page(f"{url}#{quote(made_run.positive)}")
        page.wait_for_selector("#channel")
        page.select_option("#channel", "1")
        for slide_id, channel in ((made_run.partial, "1"), (made_run.negative, "0")):
            go_to(page, slide_id)
            assert page.input_value("#channel") == channel
        go_to(page, made_run.positive)
        assert page.input_value("#channel") == "1"
        page.mouse.move(640, 400)
        page.wait_for_function("document.querySelector('#value-text').textContent.endsWith(' %')")


def test_a_hidden_class_stays_hidden(segmented_run: Any, open_page: Callable[..., Any]) -> None:
    with served(segmented_run.path) as url:
        page = open_page(f"{url}#{quote(segmented_run.alone)}")
        page.wait_for_selector(".class")
        page.click(".class:has-text('gland')")
        go_to(page, segmented_run.with_heatmap)
        ticks = [box.is_checked() for box in page.locator(".class input").all()]
        assert ticks == [False, False, True]  # the first is the background


def test_colours_of_the_legend_are_as_opaque_as_over_the_slide(
    segmented_run: Any, open_page: Callable[..., Any]
) -> None:
    with served(segmented_run.path) as url:
        page = open_page(f"{url}#{quote(segmented_run.with_heatmap)}")
        page.wait_for_selector("#legend .colours")
        page.locator("#opacity").fill("30")
        page.locator("#segmentation-opacity").fill("70")
        for selector, opacity in (("#legend .colours", "0.3"), (".class-colour", "0.7")):
            script = "(element) => getComputedStyle(element).opacity"
            assert page.locator(selector).first.evaluate(script) == opacity


def test_keys_are_offered_for_what_the_slide_has(
    segmented_run: Any, open_page: Callable[..., Any]
) -> None:
    with served(segmented_run.path) as url:
        page = open_page(f"{url}#{quote(segmented_run.alone)}")
        page.wait_for_selector("#segmentation")
        assert page.is_visible("#key-segmentation")
        for absent in ("heatmap", "nuclei"):
            assert page.is_hidden(f"#key-{absent}")


def go_to(page: Any, slide_id: str) -> None:
    """Show another slide, as a click on it does."""
    page.click(f".row[title='{slide_id}']")
    page.wait_for_selector(f".panel h2:text-is('{slide_id}')")
