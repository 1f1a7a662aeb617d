"""Ids in a run's records that lead out of its folder: `raypath verify` names them, and stays in."""

from pathlib import Path

import pytest

from cluster.serial import SerialExecutor
from pipelines.journal import Journal
from pipelines.records import SlideRecord, write_records
from pipelines.verify.run import count_slides, redo_slide, verify_run


def a_slide(slide_id: str) -> SlideRecord:
    return SlideRecord(slide_id=slide_id, path="x.svs", verdict="ok")


@pytest.mark.parametrize("is_finished", [True, False])
@pytest.mark.parametrize("slide_id", ["../../other/slides/a", "..", "/absolute", ""])
def test_an_id_that_leads_out_is_named_and_not_followed(
    tmp_path: Path, slide_id: str, is_finished: bool
) -> None:
    out, records = tmp_path / "run", [a_slide(slide_id), a_slide("mine")]
    for folder in (out, out / "slides" / "mine", tmp_path / "other" / "slides" / "a"):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "receipt.json").write_text("{}")
    if is_finished:
        write_records(out / "slides.parquet", records)
    else:
        with Journal(out / "records.jsonl") as journal:
            for record in records:
                journal.append(record)
    found = list(verify_run(out, SerialExecutor()))
    assert [each.name for each in found] == ["", "mine"]
    assert count_slides(out) == 1
    file = "slides.parquet" if is_finished else "records.jsonl"
    said = [(p.file, p.kind) for p in found[0].problems if repr(slide_id) in p.message]
    assert said == [(file, "wrong")]
    for each in found:
        redo_slide(out, each)
    assert (out / "receipt.json").exists()
    assert (tmp_path / "other" / "slides" / "a" / "receipt.json").exists()
