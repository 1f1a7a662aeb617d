"""The right column in a real browser: what it says of a slide and what it remembers."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from pipelines.records import read_records, write_records
from pipelines.viewer import server
from tests.pipelines.viewer.test_browser import served

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
    excluded = {"pen": 3, "blurred": 1}
    records = [
        replace(record, n_excluded_tiles=4, excluded=excluded)
        if record.slide_id == made_run.positive
        else record
        for record in read_records(out / "slides.parquet")
    ]
    write_records(out / "slides.parquet", records)
    with served(out) as url:
        page = open_page(f"{url}#{quote(made_run.positive)}")
        page.wait_for_selector(".facts:has-text('4 tiles left out for quality: pen 3, blurred 1')")
        page = open_page(f"{url}#{quote(made_run.negative)}")
        page.wait_for_selector(".facts")
        assert "quality" not in page.inner_text(".facts")
