"""Segmentation classes over HTTP and in a browser: named, measured, on their pixels."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipelines.viewer import server
from tests.pipelines.viewer.test_browser import PATIENCE_S, Box, find, served

GLAND, NECROSIS = (213, 94, 0), (0, 114, 178)
browser = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not server.OPENSEADRAGON.exists(), reason="OpenSeadragon is absent: run 'make viewer'"
    ),
]


@pytest.fixture
def client(segmented_run: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(server, "OPENSEADRAGON", Path(__file__))  # HTTP does without it
    with TestClient(server.create_app(segmented_run.path)) as client:
        yield client


def test_classes_are_named_coloured_and_measured(client: TestClient, segmented_run: Any) -> None:
    said = client.get(f"/api/slides/{segmented_run.alone}").json()["segmentation"]
    assert said["name"] == "glands"
    assert said["levels"] == [[651, 554], [326, 277], [163, 139]]
    assert said["downsamples"] == pytest.approx([2, 4, 8])
    classes = {each["name"]: each for each in said["classes"]}
    assert list(classes) == ["stroma", "gland", "necrosis <i>"]
    assert classes["gland"]["colour"] == "#d55e00"
    assert classes["gland"]["area_mm2"] == pytest.approx(0.045 * 0.1)
    assert sum(each["share_of_looked"] for each in classes.values()) == pytest.approx(1)


@pytest.mark.parametrize(("column", "row"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_tile_of_labels_has_the_labels(
    client: TestClient, segmented_run: Any, column: int, row: int
) -> None:
    answer = client.get(f"/api/slides/{segmented_run.alone}/labels/0/{column}_{row}.png")
    with Image.open(io.BytesIO(answer.content)) as image:
        found = np.asarray(image)
    x, y = 512 * column, 512 * row
    np.testing.assert_array_equal(found, segmented_run.labels[y : y + 512, x : x + 512])


@pytest.mark.parametrize("tile", ["0/2_0", "0/0_2", "3/0_0", "0/-1_0"])
def test_there_are_no_labels_outside(client: TestClient, segmented_run: Any, tile: str) -> None:
    answer = client.get(f"/api/slides/{segmented_run.alone}/labels/{tile}.png")
    assert answer.status_code == 404


def test_a_slide_without_labels_has_none(client: TestClient, made_run: Any) -> None:
    with TestClient(server.create_app(made_run.path)) as other:
        address = f"/api/slides/{made_run.positive}"
        assert other.get(address).json()["segmentation"] is None
        answer = other.get(f"{address}/labels/0/0_0.png")
    assert (answer.status_code, answer.json()["kind"]) == (404, "unknown_slide")


def of_colour(colour: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda pixels: np.abs(pixels - colour).max(axis=2) < 12


def awaited(page: Any, colour: tuple[int, int, int]) -> Box:
    """Where a colour is, once its tiles have come."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := find(page, of_colour(colour))) is None:
        assert time.monotonic() < deadline, f"{colour} is not drawn"
    page.wait_for_load_state("networkidle")
    found = find(page, of_colour(colour))
    assert found is not None
    return found


def expected(page: Any, edges: tuple[int, int, int, int]) -> Box:
    """Where a rectangle of level-0 pixels is in what `find` looks at."""
    x, y, scale = page.evaluate(
        "() => { const v = document.querySelector('#osd'); const b = v.getBoundingClientRect();"
        "const c = document.querySelector('#scale-bar').getBoundingClientRect().width;"
        "return [b.width, b.height, c]; }"
    )
    um = float(page.inner_text("#scale-text").removesuffix("µm"))
    pixel = scale / um * 0.5  # screen pixels per level-0 pixel
    left, top = x / 2 - 1301 / 2 * pixel - x * 0.12, y / 2 - 1107 / 2 * pixel - y * 0.12
    return Box(
        left=round(left + edges[0] * pixel),
        top=round(top + edges[1] * pixel),
        right=round(left + edges[2] * pixel),
        bottom=round(top + edges[3] * pixel),
    )


class TestInABrowser:
    """One page each; the slide's centre is the stage's."""

    pytestmark = browser

    def test_classes_lie_on_their_pixels_and_can_be_hidden(
        self, segmented_run: Any, open_page: Callable[..., Any]
    ) -> None:
        with served(segmented_run.path) as address:
            page = open_page(f"{address}#{quote(segmented_run.alone)}")
            page.wait_for_selector("#segmentation:checked")
            page.locator("#segmentation-opacity").fill("100")
            for colour, edges in (
                (GLAND, segmented_run.gland),
                (NECROSIS, segmented_run.necrosis),
            ):
                assert awaited(page, colour).distance(expected(page, edges)) <= 2
            page.click(
                "#zoom-in"
            )  # the gland is at the stage's edge then, where `find` does not look
            found = awaited(page, NECROSIS)
            assert found.distance(expected(page, segmented_run.necrosis)) <= 2
            page.get_by_label("gland").uncheck()
            assert find(page, of_colour(GLAND)) is None
            awaited(page, NECROSIS)
            page.keyboard.press("s")
            assert find(page, of_colour(NECROSIS)) is None

    def test_legend_and_readout_say_what_is_seen(
        self, segmented_run: Any, open_page: Callable[..., Any]
    ) -> None:
        with served(segmented_run.path) as address:
            page = open_page(f"{address}#{quote(segmented_run.alone)}")
            page.wait_for_selector("#segmentation:checked")
            said = page.inner_text("#segmentation-section")
            for text in (
                "Segmentation: glands",
                "necrosis <i>",
                "0.0045 mm²",
                "0.02 mm² could not",
            ):
                assert text in said
            assert not page.get_by_label("stroma").is_checked()  # it would cover everything
            page.click("#zoom-one")
            page.wait_for_timeout(1200)
            box = page.locator("#osd").bounding_box()
            middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            for (x, y), name in (((430, 550), "necrosis <i>"), ((650, 550), "stroma")):
                page.mouse.move(middle[0] + x - 1301 / 2, middle[1] + y - 1107 / 2)
                assert page.inner_text("#value-text") == f"glands: {name}"

    def test_over_a_heatmap_it_is_shown_when_asked_for(
        self, segmented_run: Any, open_page: Callable[..., Any]
    ) -> None:
        with served(segmented_run.path) as address:
            page = open_page(f"{address}#{quote(segmented_run.with_heatmap)}")
            assert page.is_checked("#shown")
            assert not page.is_checked("#segmentation")
            page.keyboard.press("s")
            page.locator("#segmentation-opacity").fill("100")
            awaited(page, NECROSIS)
