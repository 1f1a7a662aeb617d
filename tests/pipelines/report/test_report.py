"""The report: every slide with its reason and picture, on one page that loads nothing."""

import base64
import io
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipelines.heatmaps.channels import colourise
from pipelines.records import SlideRecord, read_records, write_records
from pipelines.report import report as report_module
from pipelines.report.pictures import (
    OPACITY,
    REASON_COLOURS,
    TISSUE_COLOUR,
    encode_webp,
    lay_over,
    mark_left_out,
    outline_tissue,
)
from pipelines.report.preview import PANEL_BYTES, THUMBNAIL_BYTES, read_preview, write_preview
from pipelines.report.report import write_report
from pipelines.report.summary import summarise
from pipelines.runfolder import NotARunError
from wsi.quality import MEASURES
from wsi.tilestore import LeftOut, TileTable, write_tiles


def slides_of(report: Path) -> dict[str, dict[str, Any]]:
    """What the page's script gets to know, by slide."""
    page = report.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="slides">(.*?)</script>', page, re.S)
    assert found
    return {row["slide_id"]: row for row in json.loads(found[1])}


def pixels_of(address: str) -> Any:
    """(H, W, 3) int of a picture in the page."""
    encoded = base64.b64decode(address.removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB")).astype(int)


def test_every_slide_is_there_with_its_numbers(report: Path, made_run: Any) -> None:
    slides = slides_of(report)
    assert len(slides) == 4
    assert slides[made_run.failed]["reason"] == "no_mpp"
    assert "thumbnail" not in slides[made_run.failed]
    assert slides[made_run.partial]["message"] == "3 of 60 tiles did not decode"
    assert slides[made_run.partial]["flags"] == ["pen_marks"]
    assert slides[made_run.positive]["said"]["positive"] == "tumour"
    page = report.read_text(encoding="utf-8")
    for text in (
        "tiny-rckd",
        "made-up cohort",
        "2026-01-02 03:04 UTC",
        "tumour score of each tile",
        "not looked at",
        "Correct what is said of the failed slides below, then run the same command again",
        "Research use only. Not a medical device.",
    ):
        assert text in page
    assert not list(report.parent.glob(".tmp-*"))


def test_what_a_slide_is_called_is_never_markup(report: Path, made_run: Any) -> None:
    page = report.read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "<b>give" not in page
    assert page.count("</script>") == 4  # ours
    failed = slides_of(report)[made_run.failed]
    assert failed["slide_id"] == made_run.failed
    assert "<b>give" in failed["message"]


def test_the_page_is_small_and_alone(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    assert len(page) < 4 * 60_000
    assert not re.search(r"https?://", page)
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_of_many_slides_those_that_want_attention_bring_their_pictures(
    report: Path, made_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "EMBEDDED", 2)
    slides = slides_of(write_report(report.parent))
    with_pictures = {slide_id for slide_id, row in slides.items() if "pictures" in row}
    assert with_pictures == {made_run.partial}  # and the failed one, which has none
    for slide_id in (made_run.positive, made_run.negative):
        assert len(base64.b64decode(slides[slide_id]["thumbnail"].partition(",")[2])) < 1600
        folder = report.parent / "slides" / slide_id / "preview"
        assert all((folder / f"{name}.webp").exists() for name in slides[slide_id]["panels"])


def test_the_overlay_keeps_its_place(report: Path, made_run: Any) -> None:
    pictures = slides_of(report)[made_run.positive]["pictures"]
    plain, mixed = pixels_of(pictures["slide"]), pixels_of(pictures["heatmap"])
    made = made_run.slides[made_run.positive]
    scale = plain.shape[1] / made.pixels.shape[1]
    row, column = made_run.fiducial
    y, x = round((row + 0.5) * 100 * scale), round((column + 0.5) * 100 * scale)
    hot = colourise(made.heatmap.values[0], made.heatmap.channels[0])[row, column, :3]
    expected = np.array([20, 20, 24]) * (1 - OPACITY) + hot * OPACITY
    np.testing.assert_allclose(plain[y, x], (20, 20, 24), atol=12)
    np.testing.assert_allclose(mixed[y, x], expected, atol=16)
    np.testing.assert_allclose(mixed[2, 2], plain[2, 2], atol=4)  # not looked at


def test_the_outline_follows_the_tissue(report: Path, made_run: Any) -> None:
    made = made_run.slides[made_run.positive]
    shown = pixels_of(slides_of(report)[made_run.positive]["pictures"]["slide"])
    is_drawn = np.abs(shown - TISSUE_COLOUR).sum(axis=-1) < 90
    height, width = shown.shape[:2]
    y, x = np.nonzero(is_drawn)
    radius = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5)
    cell = 16 / made.pixels.shape[1]  # the mask is that coarse
    assert len(radius) > 400
    assert np.mean(np.abs(radius - 0.42) < 2 * cell) > 0.98


def test_an_outline_lies_inside() -> None:
    mask = np.zeros((12, 12), np.bool_)
    mask[2:10, 2:10] = True
    drawn = outline_tissue(np.full((12, 12, 3), 200, np.uint8), mask)
    changed = (drawn != 200).any(axis=-1)
    assert changed.sum() == 8 * 8 - 4 * 4
    assert not changed[~mask].any()


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
    assert (red[row : row + 100, column - 2] < 100).all()
    assert (red[row : row + 100, column + 102] == 128).all()  # not looked at


def test_attention_of_a_negative_slide_is_not_drawn(attention_run: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(attention_run.path, out)
    slides = slides_of(write_report(out))
    assert slides[attention_run.positive]["panels"] == ["slide", "heatmap"]
    assert "withheld" not in slides[attention_run.positive]
    assert slides[attention_run.negative]["panels"] == ["slide"]
    assert slides[attention_run.negative]["withheld"] == "attention, rank within this slide"


@pytest.mark.parametrize("most_bytes", [PANEL_BYTES, THUMBNAIL_BYTES])
def test_pictures_are_bounded_whatever_they_show(most_bytes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (360, 300, 3), dtype=np.uint8)
    encoded = encode_webp(noise, most_bytes=most_bytes)
    assert len(encoded) <= most_bytes
    width, height = Image.open(io.BytesIO(encoded)).size
    assert height / width == pytest.approx(360 / 300, rel=0.05)


def test_a_preview_is_drawn_once_and_again_when_the_slide_is_newer(
    made_run: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "slide"
    shutil.copytree(made_run.path / "slides" / made_run.positive, folder)
    first = write_preview(folder)
    assert first.panels == ["slide", "heatmap"]
    picture = folder / "preview" / "slide.webp"
    picture.write_bytes(b"mine")
    assert read_preview(folder) == first
    assert picture.read_bytes() == b"mine"
    now = (folder / "preview" / "preview.json").stat().st_mtime_ns + 1_000_000_000
    os.utime(folder / "heatmap.ome.zarr" / "zarr.json", ns=(now, now))
    assert read_preview(folder) == first
    assert picture.read_bytes() != b"mine"


def test_a_damaged_slide_does_not_stop_the_others(made_run: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(made_run.path, out)
    (out / "slides" / made_run.positive / "image.ome.zarr" / "2" / "zarr.json").write_text("{")
    slides = slides_of(write_report(out))
    assert slides[made_run.positive]["trouble"].startswith("cannot be drawn: ")
    assert sum("pictures" in row for row in slides.values()) == 2


def test_a_number_that_is_none_does_not_stop_the_page(report: Path, made_run: Any) -> None:
    out = report.parent
    records = [
        replace(r, segmented_mm2={"stroma": float("nan"), "fat": 0.5}, score=float("inf"))
        for r in read_records(out / "slides.parquet")
    ]
    write_records(out / "slides.parquet", records)
    page = write_report(out).read_text(encoding="utf-8")
    assert "NaN" not in page.split('id="slides">')[1].split("</script>")[0]
    assert slides_of(report)[made_run.positive]["segmented_mm2"] == {"fat": 0.5}


def test_a_run_without_verdicts_is_reported(made_run: Any, tmp_path: Path) -> None:
    shutil.copytree(made_run.path / "slides", tmp_path / "slides")
    page = write_report(tmp_path)
    assert "This run is not finished" in page.read_text(encoding="utf-8")
    assert [row["verdict"] for row in slides_of(page).values()] == ["unfinished"] * 3


def test_an_uncertain_verdict_is_known_to_the_page(report: Path, made_run: Any) -> None:
    path = report.parent / "slides" / made_run.positive / "prediction.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"uncertain": True}))
    slides = slides_of(write_report(report.parent))
    assert {i for i, row in slides.items() if row.get("said", {}).get("uncertain")} == {
        made_run.positive
    }


def test_the_summary_adds_up_and_does_not_grow() -> None:
    def record(number: int) -> SlideRecord:
        verdict = "failed" if number % 100 == 7 else "ok"
        flags = ("pen_marks",) if number % 10 == 0 else ()
        times = {"pyramid": float(number), "embed": 0.5}
        return SlideRecord(
            slide_id=f"s{number:04d}",
            path="",
            verdict=verdict,
            flags=flags,
            seconds=times,
            waited_s=1.0 if number % 2 else None,
            worked_s=4.0 if number % 2 else None,
        )

    summary = summarise((record(n) for n in range(1000)), urgent=13)
    assert summary.verdicts == [("ok", 990), ("partial", 0), ("failed", 10)]
    assert summary.steps["pyramid"].seconds == 999 * 1000 / 2
    assert summary.steps["pyramid"].longest_id == "s0999"
    assert summary.steps["embed"].slides == 1000
    assert summary.waited_share == 0.2
    failed = {f"s{n:04d}" for n in range(7, 1000, 100)}
    assert summary.urgent == failed | {"s0000", "s0010", "s0020"}


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotARunError):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("reasons", "advice"),
    [
        (("no_mpp",), "Correct what is said of the failed slides below, then run the same"),
        (("timed_out",), "1 of 1 failed slide lacked time, memory, a worker or storage"),
        (("no_mpp", "worker_lost"), "Of the others, correct first what is said below"),
    ],
)
def test_only_what_can_pass_is_to_be_run_again_as_it_is(
    report: Path, reasons: tuple[str, ...], advice: str
) -> None:
    failed = [
        SlideRecord(slide_id=f"s{n}", path="", verdict="failed", reason=reason)
        for n, reason in enumerate(reasons)
    ]
    write_records(report.parent / "slides.parquet", failed)
    assert advice in write_report(report.parent).read_text(encoding="utf-8")


def test_settings_are_shown_in_words(report: Path) -> None:
    info = {
        "config": {
            "bfloat16": False,
            "also": [],
            "quality": {"max_pen": 0.25, "min_focus": 1.0},
            "resources": {"embed": {"cpus": 1.0, "memory_gb": None}},
        },
        "versions": {"torch": "2.15.0"},
    }
    (report.parent / "run.json").write_text(json.dumps(info))
    page = write_report(report.parent).read_text(encoding="utf-8")
    for name, value in (
        ("bfloat16", "no"),
        ("also", "none"),
        ("quality", "max pen: 0.25, min focus: 1"),
        ("resources, embed", "cpus: 1, memory gb: not set"),
        ("torch", "2.15.0"),
    ):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page


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
    page = write_report(out)
    slides = slides_of(page)
    assert slides[made_run.positive]["excluded"] == {"pen": 1, "focus": 2}
    assert '"focus": "blurred"' in page.read_text(encoding="utf-8")  # what the page calls it
    assert slides[made_run.positive]["panels"] == ["slide", "heatmap", "quality"]
    assert sum("quality" in row.get("panels", ()) for row in slides.values()) == 1
