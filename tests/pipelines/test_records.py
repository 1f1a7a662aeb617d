"""`slides.parquet`: what was said of each slide comes back, for us and for others."""

import math
from dataclasses import fields, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipelines.records import ROWS_AT_ONCE, SlideRecord, read_records, write_records

FULL = SlideRecord(
    slide_id="négative (2) ø",
    path="/slides/négative.svs",
    verdict="partial",
    reason="unreadable_region",
    message='3 of 60 tiles, "torn"\nand more',
    patient_id="p1",
    label="tumour",
    split="test",
    flags=("pen_marks", "blurred"),
    vendor="aperio",
    width=150_000,
    height=90_001,
    mpp=0.2527,
    mpp_source="vendor property",
    tissue_mm2=123.5,
    n_tiles=60,
    n_invalid_tiles=3,
    n_excluded_tiles=5,
    excluded={"pen": 1, "focus": 4},
    prediction="normal",
    score=0.125,
    seconds={"pyramid": 1.5, "embed": 0.25},
    reused=("pyramid",),
)
BARE = SlideRecord(slide_id="gone", path="/slides/gone.svs", verdict="failed", reason="not_found")


@pytest.mark.parametrize("records", [(FULL, BARE), (BARE, FULL), (BARE,), ()])
def test_records_come_back_as_they_were(tmp_path: Path, records: tuple[SlideRecord, ...]) -> None:
    write_records(tmp_path / "slides.parquet", records)
    assert read_records(tmp_path / "slides.parquet") == records


def test_a_score_that_is_no_number_comes_back(tmp_path: Path) -> None:
    odd = SlideRecord(slide_id="a", path="a.svs", verdict="ok", score=math.nan)
    write_records(tmp_path / "x", [odd])
    (back,) = read_records(tmp_path / "x")
    assert back.score is not None
    assert math.isnan(back.score)


@pytest.mark.parametrize("records", [(FULL,), (BARE,), ()])
def test_columns_have_the_same_types_whatever_is_in_them(
    tmp_path: Path, records: tuple[SlideRecord, ...]
) -> None:
    """Tables of several runs can be put together, though one of them failed everywhere."""
    write_records(tmp_path / "x", records)
    schema = pq.read_schema(tmp_path / "x")
    assert schema.names == [field.name for field in fields(SlideRecord)]
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert {n for n, t in types.items() if t == "int64"} == {
        "width",
        "height",
        "n_tiles",
        "n_invalid_tiles",
        "n_excluded_tiles",
        "n_reused_tiles",
        "n_nuclei",
        "peak_rss_bytes",
    }
    doubles = {"mpp", "tissue_mm2", "nuclei_per_mm2", "score", "waited_s", "worked_s"}
    assert {n for n, t in types.items() if t == "double"} == doubles
    assert {n for n, t in types.items() if t.startswith("list")} == {"flags", "reused"}
    assert {n for n, t in types.items() if t == "bool"} == {"peak_is_bound"}
    known = {"int64", "double", "string", "bool", str(schema.field("flags").type)}
    assert set(types.values()) == known


def test_a_path_that_is_no_text_does_not_cost_the_table(tmp_path: Path) -> None:
    """File names are bytes on Linux; those of an old disk are often Latin-1."""
    path = str(Path("/slides") / b"donn\xe9es".decode("utf-8", "surrogateescape") / "a.svs")
    odd = SlideRecord(slide_id="a", path=path, verdict="failed", message=f"no slide at {path}")
    write_records(tmp_path / "x", [odd, FULL])
    back, full = read_records(tmp_path / "x")
    assert full == FULL
    assert back.slide_id == "a"
    assert "donn" in back.path
    assert "a.svs" in back.message


def test_a_table_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "slides.parquet"
    write_records(path, [FULL, BARE])
    write_records(path, [BARE])
    assert read_records(path) == (BARE,)
    assert list(tmp_path.iterdir()) == [path]


def test_more_records_than_are_in_memory_come_back_in_order(tmp_path: Path) -> None:
    count = 2 * ROWS_AT_ONCE + 3
    write_records(tmp_path / "x", (replace(BARE, slide_id=f"s{i}") for i in range(count)))
    assert [record.slide_id for record in read_records(tmp_path / "x")] == [
        f"s{i}" for i in range(count)
    ]


@pytest.mark.parametrize(
    ("kept", "left_out", "reused", "new"),
    [
        (70, 30, 60, 40),  # 30 kept and 30 left out were known, the other 40 are kept
        (70, 30, 0, 70),
        (70, 30, 100, 0),
        (None, None, None, 0),
    ],
)
def test_tiles_that_were_known_and_left_out_are_not_taken_off_those_embedded_now(
    kept: int | None, left_out: int | None, reused: int | None, new: int
) -> None:
    record = SlideRecord(
        slide_id="s",
        path="s.svs",
        verdict="ok",
        n_tiles=kept,
        n_invalid_tiles=left_out and left_out - 10,
        n_excluded_tiles=left_out and 10,
        n_reused_tiles=reused,
    )
    assert record.new_tiles == new
