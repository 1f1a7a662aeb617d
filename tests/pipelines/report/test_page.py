"""The report's page in a browser: pictures, filters, many slides, and paper."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.records import read_records, write_records
from pipelines.report.report import write_report


@pytest.mark.browser
def test_the_picture_of_a_slide_that_failed_now_is_said_to_be_older(
    report: Path, made_run: Any, open_page: Callable[..., Any]
) -> None:
    file = report.parent / "slides.parquet"
    records = [
        replace(record, verdict="failed", reason="truncated", message="the file ends early")
        if record.slide_id == made_run.negative
        else record
        for record in read_records(file)
    ]
    write_records(file, records)
    page = open_page(write_report(report.parent).as_uri())
    whys = {
        card.get_attribute("data-id"): card.locator(".why.failed").inner_text()
        for card in page.locator(".card:has(.why.failed)").all()
    }
    assert whys.keys() == {made_run.negative, made_run.failed}
    assert "The picture was made before it failed" in whys[made_run.negative]
    assert "picture" not in whys[made_run.failed]  # there is none


@pytest.mark.browser
def test_a_browser_shows_the_pictures(
    report: Path, made_run: Any, open_page: Callable[..., Any]
) -> None:
    page = open_page(report.as_uri())
    cards = page.locator(".card")
    assert cards.count() == 4
    assert cards.nth(0).get_attribute("data-id") == made_run.failed
    assert cards.nth(0).locator("h2").inner_text() == made_run.failed
    assert cards.nth(1).get_attribute("data-id") == made_run.partial
    widths = "all => Promise.all(all.map(async (i) => { await i.decode(); return i.naturalWidth }))"
    shown = page.eval_on_selector_all("img", widths)
    assert len(shown) == 6
    assert min(shown) > 0
    page.click("label[for=pick-failed]")
    assert cards.count() == 1
    page.click("label[for=pick-all]")
    page.select_option("#sort", "score")
    assert cards.nth(0).get_attribute("data-id") == made_run.positive
    page.select_option("#note", "pen marks")
    assert cards.count() == 1
    page.select_option("#note", "")
    page.fill("#search", "PARTIAL tiles")
    assert [card.get_attribute("data-id") for card in cards.all()] == [made_run.partial]
    page.fill("#search", "nothing is called so")
    assert page.locator("#list").inner_text() == "No slide fits."


@pytest.mark.browser
def test_paper_gets_all_chosen_slides_in_daylight(
    report: Path, made_run: Any, open_page: Callable[..., Any]
) -> None:
    some = [
        r for r in read_records(report.parent / "slides.parquet") if r.slide_id == made_run.failed
    ]
    many = [replace(some[0], slide_id=f"copy {n}", tissue_mm2=0.0234) for n in range(50)]
    write_records(report.parent / "slides.parquet", many)
    page = open_page(write_report(report.parent).as_uri())
    cards = page.locator(".card")
    assert cards.count() == 20
    count = "document.querySelectorAll('.card').length"
    page.evaluate(f"addEventListener('beforeprint', () => (window.printed = {count}))")
    page.emulate_media(color_scheme="dark")
    ground = "getComputedStyle(document.documentElement).getPropertyValue('--ground')"
    assert page.evaluate(ground) == "#14191f"
    page.pdf()
    assert page.evaluate("printed") == 50
    assert cards.count() == 20
    assert "0.0234 mm²" in cards.nth(0).inner_text()
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate(ground) == "#f4f6f8"


@pytest.mark.browser
def test_a_browser_goes_through_many_slides(
    report: Path, made_run: Any, open_page: Callable[..., Any]
) -> None:
    """Of 450 slides each has its thumbnail, and pictures of the others come from the folder."""
    out = report.parent
    some = [r for r in read_records(out / "slides.parquet") if r.slide_id == made_run.positive]
    many = [replace(some[0], slide_id=f"copy {n}") for n in range(450)]
    write_records(out / "slides.parquet", many)
    for record in many:
        shutil.copytree(
            out / "slides" / made_run.positive / "preview",
            out / "slides" / record.slide_id / "preview",
        )
    page = open_page(write_report(out).as_uri())
    lines = page.locator("tr.slide")
    assert lines.count() == 100
    for _ in range(4):
        page.click(".pages >> nth=0 >> text=Next")
    assert page.locator(".pages >> nth=0 >> span").inner_text() == "401–450 of 450"
    lines.nth(49).click()
    assert page.locator(".card h2").inner_text() == "copy 449"
    assert lines.nth(49).locator("img").evaluate("image => image.naturalWidth") == 72
    inside = page.locator(".card img")
    assert inside.nth(0).get_attribute("src") == "slides/copy%20449/preview/slide.webp"
    decoded = "async (image) => { await image.decode(); return image.naturalWidth }"
    assert [image.evaluate(decoded) for image in inside.all()] == [360, 360]
