"""A large slide whose blocks others do is the same from its plan until they are joined."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.threads import ThreadExecutor
from pipelines.cohort.manifest import Entry
from pipelines.demo.alignment import write_colour_model
from pipelines.records import SlideRecord, read_records
from pipelines.run import run_cohort
from pipelines.settings.config import RunConfig
from pipelines.steps import pyramid
from wsi.atomic import digest
from wsi.plan import TileSpec
from wsi.pyramid import write
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide


def run(slide: Path, out: Path) -> SlideRecord:
    model = out.parent / "model"
    write_colour_model(model, TileSpec(size_px=256, mpp=1.0))
    entry = Entry(ref=SlideRef(path=slide, slide_id="s"))
    run_cohort([entry], out, RunConfig(model=model, codec="zstd"), ThreadExecutor(2))
    (record,) = read_records(out / "slides.parquet")
    return record


def test_a_file_rewritten_while_its_blocks_were_done_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = partial(PyramidOptions, block_px=1024, chunk_px=256)
    monkeypatch.setattr(pyramid, "PyramidOptions", options)  # nine blocks for one
    slide = write_slide(tmp_path / "s.svs", Specimen(seed=7, width=2600, height=2300))
    real = write.write_part
    written: list[Any] = []

    def rewrite(*arguments: Any) -> Any:
        """Write the slide in place: before its last part is done it is equal again."""
        if not written:
            shutil.copyfile(slide, tmp_path / "copy")
            with slide.open("r+b") as file:
                file.write((tmp_path / "copy").read_bytes())
        written.append(arguments)
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(write, "write_part", rewrite)
        record = run(slide, tmp_path / "out")
    assert (record.verdict, record.reason) == ("failed", "slide_changed")
    folder = tmp_path / "out" / "slides" / "s"
    assert not folder.exists() or {p.name for p in folder.iterdir()} <= {"tissue.geojson"}
    assert run(slide, tmp_path / "out").verdict == "ok"
    assert run(slide, tmp_path / "undisturbed").verdict == "ok"
    assert digest(folder) == digest(tmp_path / "undisturbed" / "slides" / "s")
