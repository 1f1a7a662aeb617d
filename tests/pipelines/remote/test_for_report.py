"""What is fetched for a report: a little of each slide of the run, and nothing of others."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.records import SlideRecord, write_records
from pipelines.remote import for_report
from pipelines.remote.store import write_object
from wsi.remote import file_system, slide_path

OF_A_SLIDE = ("heatmap.ome.zarr/0", "image.ome.zarr/0", "prediction.json", "preview/p.webp")


@pytest.fixture
def out() -> Iterator[Path]:
    """A run in memory that has objects of six slides."""
    url = slide_path("memory://shown/run")
    for number in range(6):
        for name in OF_A_SLIDE[number == 0 :]:  # the first one has no heatmap
            write_object(url / "slides" / f"s{number}" / name, b"12345")
    yield url
    file_system(url).rm("/shown", recursive=True)


def fetched(folder: Path) -> list[str]:
    root = folder / "slides"
    return sorted(f.relative_to(root).as_posix() for f in root.rglob("*") if f.is_file())


def shown(*slide_ids: str) -> list[str]:
    return [f"{i}/{name}" for i in slide_ids for name in ("prediction.json", "preview/p.webp")]


def test_of_a_finished_run_its_own_slides_few_at_once(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(for_report, "LISTED_AT_ONCE", 2)
    asked: list[Sequence[str]] = []
    real = for_report.list_each

    def listed(url: Path, names: Sequence[str]) -> Any:
        asked.append(names)
        return real(url, names)

    monkeypatch.setattr(for_report, "list_each", listed)
    ids = ["s4", "s0", "s1", "failed", "s3"]
    records = [SlideRecord(slide_id=i, path="x.svs", verdict="ok") for i in ids]
    write_records(tmp_path / "slides.parquet", records)
    own = (tmp_path / "slides.parquet").stat().st_size
    assert for_report.gather_for_report(out, tmp_path) == own + 5 * (4 + 3 + 4 + 4)
    assert asked == [["s4", "s0"], ["s1", "failed"], ["s3"]]
    heatmap = ["s4/heatmap.ome.zarr/0"]
    assert fetched(tmp_path) == sorted(shown("s0", "s1", "s3", "s4") + heatmap)
    assert not (tmp_path / "slides" / "failed").exists()


def test_of_a_run_under_way_all_that_are_begun(out: Path, tmp_path: Path) -> None:
    assert for_report.gather_for_report(out, tmp_path) == 5 * (6 * 4 - 1)
    heatmap = ["s1/heatmap.ome.zarr/0"]
    assert fetched(tmp_path) == sorted(shown(*(f"s{n}" for n in range(6))) + heatmap)
