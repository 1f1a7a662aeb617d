"""The report: every slide with its reason and picture, on one page that loads nothing."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.channels import colourise
from pipelines.records import read_records, write_records
from pipelines.report.pictures import (
    MOST_BYTES,
    OPACITY,
    REASON_COLOURS,
    data_uri,
    lay_over,
    mark_left_out,
)
from pipelines.report.report import write_report
from pipelines.runfolder import NotARunError
from wsi.quality import MEASURES
from wsi.tilestore import LeftOut, TileTable, write_tiles


@pytest.fixture
def report(made_run: Any, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    shutil.copytree(made_run.path, out)
    return write_report(out)


def test_every_slide_is_there_the_failed_one_first(report: Path, made_run: Any) -> None:
    page = report.read_text(encoding="utf-8")
    ids = re.findall(r'data-id="([^"]*)"', page)
    assert len(ids) == 4
    assert ids[0].startswith("failed")
    assert ids[1] == made_run.partial
    for text in (
        "no mpp",
        "3 of 60 tiles did not decode",
        "pen marks",
        "tiny-rckd",
        "made-up cohort",
        "2026-01-02 03:04 UTC",
        "tumour score of each tile",
        "not looked at",
        "run the same command again: finished slides are skipped by their receipts",
        "Research use only. Not a medical device.",
    ):
        assert text in page
    assert not list(report.parent.glob(".tmp-*"))


def test_what_a_slide_is_called_is_never_markup(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>give" not in page
    assert "&lt;b&gt;give" in page


def test_the_page_is_small_and_alone(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert len(page) < 4 * 60_000
    assert not re.search(r"https?://", page)
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_the_overlay_keeps_its_place(report: Path, made_run: Any) -> None:
    page = report.read_text(encoding="utf-8")
    card = page[page.index(f'data-id="{made_run.positive}"') :]
    plain, mixed = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))).astype(int)
        for text in re.findall(r"data:image/jpeg;base64,([^\"]+)", card)[:2]
    )
    made = made_run.slides[made_run.positive]
    scale = plain.shape[1] / made.pixels.shape[1]
    row, column = made_run.fiducial
    y, x = round((row + 0.5) * 100 * scale), round((column + 0.5) * 100 * scale)
    hot = colourise(made.heatmap.values[0], made.heatmap.channels[0])[row, column, :3]
    expected = np.array([20, 20, 24]) * (1 - OPACITY) + hot * OPACITY
    np.testing.assert_allclose(plain[y, x], (20, 20, 24), atol=12)
    np.testing.assert_allclose(mixed[y, x], expected, atol=16)
    np.testing.assert_allclose(mixed[2, 2], plain[2, 2], atol=4)  # not looked at


def test_cells_are_laid_by_their_own_size(made_run: Any) -> None:
    """One picture pixel a level-0 pixel: the hot cell covers its 100 x 100 and no more."""
    made = made_run.slides[made_run.positive]
    grey = np.full_like(made.pixels, 128)
    red = lay_over(grey, made.heatmap)[..., 0].astype(int)
    row, column = (100 * n for n in made_run.fiducial)
    inside = red[row + 1 : row + 99, column + 1 : column + 99]
    assert (inside == inside[0, 0]).all()
    assert inside[0, 0] > 130
    assert (red[row - 2, column : column + 100] < 100).all()
    assert (red[row : row + 100, column + 102] < 100).all()


def test_attention_of_a_negative_slide_is_not_drawn(attention_run: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(attention_run.path, out)
    page = write_report(out).read_text(encoding="utf-8")
    cards = {
        slide_id: page[page.index(f'data-id="{slide_id}"') :].split("</article>")[0]
        for slide_id in (attention_run.positive, attention_run.negative)
    }
    assert "under its heatmap" in cards[attention_run.positive]
    assert "under its heatmap" not in cards[attention_run.negative]
    assert "heatmap not drawn" in cards[attention_run.negative]
    assert "heatmap not drawn" not in cards[attention_run.positive]


def test_pictures_are_bounded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 360, 3), dtype=np.uint8)
    smooth = np.full((360, 360, 3), 200, np.uint8)
    assert len(data_uri(smooth)) < MOST_BYTES
    assert len(data_uri(noise)) < 60_000 * 4 / 3  # noise is the worst there is


def test_a_damaged_slide_does_not_stop_the_others(made_run: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(made_run.path, out)
    (out / "slides" / made_run.positive / "image.ome.zarr" / "2" / "zarr.json").write_text("{")
    page = write_report(out).read_text(encoding="utf-8")
    assert "cannot be drawn" in page
    assert page.count("data:image/jpeg") == 4


def test_a_run_without_verdicts_is_reported(made_run: Any, tmp_path: Path) -> None:
    shutil.copytree(made_run.path / "slides", tmp_path / "slides")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "This run is not finished" in page
    assert page.count("is-unfinished") == 3


def test_an_uncertain_verdict_is_to_be_read_again(report: Path) -> None:
    assert "read again" not in report.read_text(encoding="utf-8")
    path = next((report.parent / "slides").glob("*/prediction.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"uncertain": True}))
    page = write_report(report.parent).read_text(encoding="utf-8")
    assert page.count("uncertain: read again") == 1


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARunError):
        write_report(tmp_path)


@pytest.mark.browser
def test_a_browser_shows_the_pictures(report: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(report.as_uri())
    widths = page.eval_on_selector_all("img", "all => all.map((image) => image.naturalWidth)")
    assert len(widths) == 6
    assert min(widths) > 0
    assert page.locator(".card:visible").count() == 4
    page.click("label[for=pick-failed]")
    assert page.locator(".card:visible").count() == 1
    page.click("label[for=pick-all]")
    page.select_option("#sort", "score")
    assert page.get_attribute(".card >> nth=0", "data-id") == "positive"


def left_out_at(*corners: tuple[int, int], reason: str) -> LeftOut:
    count = len(corners)
    return LeftOut(
        coords=np.array(corners, np.int64).reshape(-1, 2),
        quality=np.zeros((count, len(MEASURES)), np.float32),
        reason=np.full(count, MEASURES.index(reason), np.int8),
    )


def test_tiles_left_out_are_marked_where_they_are() -> None:
    pixels = np.full((60, 90, 3), 200, np.uint8)
    marked = mark_left_out(
        pixels,
        left_out_at((400, 200), reason="focus"),
        tile_level0_px=200.0,
        downsample=10.0,
    ).astype(int)
    colour = [int(REASON_COLOURS["focus"][k : k + 2], 16) for k in (1, 3, 5)]
    assert marked[20, 40].tolist() == colour  # the outline
    assert marked[39, 59].tolist() == colour
    plain = marked[0, 0]
    np.testing.assert_allclose(marked[30, 50], plain + OPACITY * (colour - plain), atol=1)
    differs = (marked != plain).any(axis=-1)
    assert differs.sum() == 20 * 20
    assert differs[20:40, 40:60].all()


def test_a_tile_smaller_than_a_pixel_is_still_seen() -> None:
    pixels = np.full((20, 30, 3), 200, np.uint8)
    left_out = left_out_at((100, 50), reason="pen")
    marked = mark_left_out(pixels, left_out, tile_level0_px=4.0, downsample=10.0)
    assert (marked != marked[0, 0]).any(axis=-1).sum() == 1


def test_the_card_counts_and_shows_what_was_left_out(made_run: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(made_run.path, out)
    records = [
        replace(r, n_excluded_tiles=3, excluded={"pen": 1, "focus": 2})
        if r.slide_id == made_run.positive
        else r
        for r in read_records(out / "slides.parquet")
    ]
    write_records(out / "slides.parquet", records)
    table = TileTable(
        coords=np.zeros((1, 2), np.int64),
        embeddings=np.zeros((1, 2), np.float32),
        invalid=np.zeros((0, 2), np.int64),
        attributes={"patch_size": 100, "mpp": 0.5, "level0_mpp": 0.5},
        quality=np.zeros((1, 4), np.float32),
        left_out=left_out_at((300, 300), (400, 300), (500, 300), reason="focus"),
    )
    write_tiles(out / "slides" / made_run.positive / "tiles.h5", table)
    page = write_report(out).read_text(encoding="utf-8")
    start = page.index(f'data-id="{made_run.positive}"')
    card = page[start : page.index("</article>", start)]
    text = re.sub(r"<[^>]*>", "", card)
    assert "3 tiles for quality: pen 1, focus 2" in text
    assert card.count("data:image/jpeg") == 3
    assert page.count("left out for quality") == 1
