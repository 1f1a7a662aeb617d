"""A pyramid in one go, in parts, by two workers, or after a kill: the same files."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from cluster.executor import Executor
from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from pipelines import receipts
from pipelines.cohort.manifest import Entry
from pipelines.demo.alignment import write_colour_model
from pipelines.run import run_cohort
from pipelines.runfolder import IMAGE_NAME
from pipelines.settings.config import RunConfig
from pipelines.steps import pyramid
from wsi.atomic import digest
from wsi.plan import TileSpec
from wsi.pyramid import write
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slide")
    return write_slide(folder / "s.svs", Specimen(seed=7, width=2600, height=2300))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine blocks where there would be one."""
    options = partial(PyramidOptions, block_px=1024, chunk_px=256)
    monkeypatch.setattr(pyramid, "PyramidOptions", options)


def run(slide: Path, out: Path, executor: Executor) -> str:
    """Digest of the pyramid; nothing else is left of its parts."""
    model = out.parent / "model"
    write_colour_model(model, TileSpec(size_px=256, mpp=1.0))
    config = RunConfig(model=model, codec="zstd")
    entry = Entry(ref=SlideRef(path=slide, slide_id="s"))
    assert run_cohort([entry], out, config, executor)["ok"] == 1
    assert not list((out / "slides" / "s").glob(".partial*"))
    return digest(out / "slides" / "s" / "image.ome.zarr")


def test_parts_spread_or_killed_make_the_same_pyramid(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    real = write.write_part

    def watch(root: Path, part: Any, *rest: Any) -> Any:
        written.append(part.part_id)
        if len(written) == stop_at:
            raise KeyboardInterrupt
        return real(root, part, *rest)

    stop_at = 0
    monkeypatch.setattr(write, "write_part", watch)
    monkeypatch.setattr(pyramid, "DECODED_ALONE", 100)
    in_one_go = run(slide, tmp_path / "whole", ThreadExecutor(2))
    assert len(written) == len(set(written)) == 9
    monkeypatch.setattr(pyramid, "DECODED_ALONE", 4)
    for name, executor in (("threads", ThreadExecutor(2)), ("serial", SerialExecutor())):
        written.clear()
        assert run(slide, tmp_path / name, executor) == in_one_go
        assert len(written) == len(set(written)) == 9
    written.clear()
    stop_at = 4
    with pytest.raises(KeyboardInterrupt):
        run(slide, tmp_path / "killed", SerialExecutor())
    assert run(slide, tmp_path / "killed", SerialExecutor()) == in_one_go
    assert len(written) == 10  # the fourth twice
    assert len(set(written)) == 9


def test_a_kill_once_the_image_is_in_place_leaves_no_blank_one(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = run(slide, tmp_path / "whole", SerialExecutor())

    def is_killed(path: Path) -> str:
        if path.name == IMAGE_NAME:
            raise KeyboardInterrupt
        return digest(path)

    with monkeypatch.context() as patched:
        patched.setattr(receipts, "digest", is_killed)
        with pytest.raises(KeyboardInterrupt):
            run(slide, tmp_path / "killed", SerialExecutor())
    assert (tmp_path / "killed" / "slides" / "s" / IMAGE_NAME).exists()
    assert run(slide, tmp_path / "killed", SerialExecutor()) == undisturbed
