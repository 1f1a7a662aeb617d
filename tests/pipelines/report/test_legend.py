"""What the report says of its colours is true of the slides that have a verdict."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.heatmaps.ome_zarr import read_heatmap, write_heatmap
from pipelines.nuclei.density import DENSITY
from pipelines.records import read_records, write_records
from pipelines.report.report import write_report
from pipelines.runfolder import HEATMAP_NAME


def test_the_legend_is_not_that_of_a_slide_that_failed(made_run: Any, tmp_path: Path) -> None:
    """What lies in its folder may be an earlier run's, of another model."""
    out = shutil.copytree(made_run.path, tmp_path / "run")
    first, *others = read_records(out / "slides.parquet")
    write_records(out / "slides.parquet", [replace(first, verdict="failed"), *others])
    heatmap = out / "slides" / first.slide_id / HEATMAP_NAME
    old = read_heatmap(heatmap)
    shutil.rmtree(heatmap)
    dense = replace(old, values=old.values[:1], channels=(DENSITY,))
    write_heatmap(heatmap, dense, name=first.slide_id)
    page = write_report(out).read_text(encoding="utf-8")
    assert '<section class="legend"' in page
    assert DENSITY.title not in page
