"""The viewer in a real browser: the overlay lies on the cells it is about, to a screen pixel."""

import io
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import uvicorn
from PIL import Image

from pipelines.records import read_records, write_records
from pipelines.viewer import server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not server.OPENSEADRAGON.exists(), reason="OpenSeadragon is absent: run 'make viewer'"
    ),
]
PATIENCE_S = 15.0
SQUARE_UM = 50.0  # edge of the dark square: 100 level-0 pixels of 0.5 µm


def change_record(out: Path, slide_id: str, **changes: Any) -> None:
    """Say something else of one slide of a run."""
    records = read_records(out / "slides.parquet")
    changed = [replace(r, **changes) if r.slide_id == slide_id else r for r in records]
    write_records(out / "slides.parquet", changed)


@contextmanager
def served(out: Path) -> Iterator[str]:
    """The viewer on a free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = server.create_app(out)
        running = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        finally:  # a thread that goes on would keep the tests from ending
            running.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address(made_run: Any) -> Iterator[str]:
    with served(made_run.path) as url:
        yield url


@pytest.fixture(scope="module")
def copied_address(copied_run: Any) -> Iterator[str]:
    with served(copied_run.path) as url:
        yield url


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Edges of what was found, screen pixels; right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def distance(self, other: "Box") -> int:
        """How far the edges lie apart at most."""
        edges = ("left", "top", "right", "bottom")
        return max(abs(getattr(self, e) - getattr(other, e)) for e in edges)


def stage_pixels(page: Any) -> np.ndarray:
    """The inner part of the stage, without the controls at its rim, (H, W, 3)."""
    box = page.locator("#osd").bounding_box()
    clip = {
        "x": box["x"] + box["width"] * 0.12,
        "y": box["y"] + box["height"] * 0.12,
        "width": box["width"] * 0.7,
        "height": box["height"] * 0.7,
    }
    with Image.open(io.BytesIO(page.screenshot(clip=clip))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def find(page: Any, match: Callable[[np.ndarray], np.ndarray]) -> Box | None:
    """Where the pixels that match are, once the picture stands still; None if there are none."""
    deadline, before = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < deadline:
        page.wait_for_timeout(250)
        pixels = stage_pixels(page)
        if before is not None and np.array_equal(pixels, before):
            break
        before = pixels
    rows, columns = np.nonzero(match(pixels))
    if len(rows) < 20:
        return None
    return Box(
        left=int(columns.min()),
        top=int(rows.min()),
        right=int(columns.max()) + 1,
        bottom=int(rows.max()) + 1,
    )


def dark(pixels: np.ndarray) -> np.ndarray:
    return pixels.max(axis=2) < 110


def hot(pixels: np.ndarray) -> np.ndarray:
    """The upper end of the score's colours, a dark red."""
    return (pixels[..., 0] > 140) & (pixels[..., 1] < 40) & (pixels[..., 2] < 70)


def pink(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 0] > 190) & (pixels[..., 1] < 170) & (pixels[..., 2] > 140)


def settled(page: Any) -> None:
    page.wait_for_selector("#tick", state="attached")
    page.wait_for_load_state("networkidle")


@pytest.mark.parametrize("switches", [(), ("--disable-3d-apis",)], ids=["webgl", "canvas"])
def test_the_overlay_lies_on_its_cell(
    address: str, made_run: Any, open_page: Callable[..., Any], switches: tuple[str, ...]
) -> None:
    page = open_page(f"{address}#{quote(made_run.positive)}", *switches)
    settled(page)
    check_that_the_overlay_lies_on_the_square(page, zooms=(0, 2))


def test_it_does_on_the_scanners_own_levels_far_from_the_corner(
    copied_address: str, open_page: Callable[..., Any]
) -> None:
    page = open_page(copied_address)
    settled(page)
    check_that_the_overlay_lies_on_the_square(page, zooms=(0, 1, 1))


def check_that_the_overlay_lies_on_the_square(page: Any, *, zooms: tuple[int, ...]) -> None:
    for steps in zooms:
        for _ in range(steps):
            page.click("#zoom-in")
        page.locator("#opacity").fill("0")
        square = find(page, dark)
        assert square is not None
        assert find(page, pink) is not None, "tissue is not drawn"
        assert find(page, hot) is None, "the overlay shows at opacity 0"
        bar_um = float(page.inner_text("#scale-text").removesuffix("µm"))
        bar_px = page.locator("#scale-bar").bounding_box()["width"]
        assert square.right - square.left == pytest.approx(SQUARE_UM * bar_px / bar_um, abs=2.5)
        page.locator("#opacity").fill("100")
        cell = find(page, hot)
        assert cell is not None, "the overlay is not drawn"
        assert cell.distance(square) <= 2
        page.keyboard.press("h")
        assert find(page, hot) is None, "h does not hide the overlay"
        page.keyboard.press("h")


def test_legend_and_readout_say_what_is_seen(
    address: str, made_run: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(f"{address}#{quote(made_run.positive)}")
    settled(page)
    legend = page.inner_text("#legend")
    for text in ("tumour score of each tile", "not tumour", "not a probability", "Not looked at"):
        assert text in legend
    page.click("#zoom-one")
    page.wait_for_timeout(800)
    assert page.inner_text("#scale-text") == "50 µm"
    assert page.inner_text("#zoom-text") == "20× equivalent, 0.500 µm a pixel"
    box = page.locator("#osd").bounding_box()
    row, column = made_run.fiducial
    # At 1:1 the slide's centre is the stage's, and a level-0 pixel is a screen pixel.
    dx, dy = (column + 0.5) * 100 - 1301 / 2, (row + 0.5) * 100 - 1107 / 2
    page.mouse.move(box["x"] + box["width"] / 2 + dx, box["y"] + box["height"] / 2 + dy)
    assert page.inner_text("#value-text") == "tumour score of each tile: 1.00"
    x = float(page.inner_text("#cursor-text").split("y")[0].removeprefix("x").strip())
    assert x == pytest.approx((column + 0.5) * 100, abs=2)
    page.mouse.move(box["x"] + box["width"] / 2 + dx + 100, box["y"] + box["height"] / 2 + dy)
    assert page.inner_text("#value-text") == "not looked at: blurred"
    assert "Research use only. Not a medical device." in page.inner_text("footer")


def test_a_negative_slide_warns_of_relative_maps(
    address: str, made_run: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(f"{address}#{quote(made_run.negative)}")
    settled(page)
    assert page.locator(".relative").count() == 0
    page.select_option("#channel", "1")
    assert "lights up all the same" in page.inner_text(".relative")


def test_attention_of_a_negative_slide_is_shown_only_when_asked_for(
    attention_run: Any, open_page: Callable[..., Any]
) -> None:
    with served(attention_run.path) as address:
        page = open_page(f"{address}#{quote(attention_run.negative)}")
        settled(page)
        assert not page.is_checked("#shown")
        assert "not shown unless you tick" in page.inner_text(".relative")
        bare = stage_pixels(page)
        # Another slide is shown as usual, and this one is held back again on the way back.
        page.evaluate(f"location.hash = '{quote(attention_run.positive)}'")
        page.wait_for_selector("#shown:checked")
        assert page.locator(".relative").count() == 0
        page.evaluate(f"location.hash = '{quote(attention_run.negative)}'")
        page.wait_for_selector("#shown:not(:checked)")
        page.check("#shown")
        page.locator("#opacity").fill("100")
        page.wait_for_timeout(1000)
        assert np.abs(stage_pixels(page) - bare).max() > 60


def test_what_is_shown_of_a_slide_that_failed_now_is_said_to_be_older(
    made_run: Any, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    out = shutil.copytree(made_run.path, tmp_path / "run")
    ended = {"verdict": "failed", "reason": "truncated", "message": "the file ends early"}
    change_record(out, made_run.negative, **ended)
    with served(out) as url:
        page = open_page(f"{url}#{quote(made_run.negative)}")
        page.wait_for_selector("#reason:has-text('the file ends early')")
        assert "What is shown was made before it failed" in page.inner_text("#reason")
        page = open_page(f"{url}#{quote(made_run.failed)}")
        page.wait_for_selector("#reason:has-text('--mpp')")
        assert "What is shown" not in page.inner_text("#reason")


def test_the_list_finds_and_explains_failures(
    address: str, made_run: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(address)
    page.wait_for_selector(".row")
    assert page.locator(".row").count() == 4
    page.fill("#search", "no mpp")
    page.wait_for_selector("#found:has-text('1 of 4 slides')")
    page.click(".row:visible")
    page.wait_for_selector("#reason")
    assert page.inner_text("h2 >> nth=0") == "There is no image of this slide"
    assert page.inner_text(".panel h2") == made_run.failed
    assert "<b>give µm per pixel with --mpp</b>" in page.inner_text("#reason")
    page.fill("#search", "")
    page.wait_for_selector("#found:text-is('4 slides')")
    page.click("button.chip.partial")
    assert page.locator(".row:visible").count() == 1
    page.focus("#slides")
    page.keyboard.press("ArrowDown")
    page.wait_for_selector("#reason:has-text('3 of 60 tiles did not decode')")
    assert "Could not be read from the file" in page.inner_text("#legend")
