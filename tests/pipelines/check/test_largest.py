"""Slides too large for the memory of one process are named beforehand, with the numbers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cluster.executor import Failure, Outcome
from cluster.limits import Limits, enforced, memory_limit
from cluster.serial import SerialExecutor
from pipelines.check.check import check_cohort
from pipelines.check.largest import KEPT, Largest
from pipelines.check.look import Checked, Work
from pipelines.check.measure import MeasureTask, measure
from pipelines.code_version import code_version
from pipelines.cohort.manifest import Entry
from pipelines.demo.alignment import write_colour_model
from pipelines.settings.config import RunConfig
from tests.pipelines.check.rates import COPIED, FIXED
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide

GIB = 1 << 30
DIM = 1024  # 12 KiB a tile


def entry(name: str) -> Entry:
    return Entry(ref=SlideRef(path=Path(f"/{name}.svs"), slide_id=name))


def work(tiles: int) -> Work:
    return Work(
        n_tiles=tiles,
        tissue_mm2=1.0,
        megapixels=1.0,
        is_copied=True,
        bytes_in=1,
        look_seconds=0.0,
        flags=(),
    )


def beyond(tiles: Iterable[int], *, limit: float | None) -> list[Checked]:
    largest = Largest()
    for n in tiles:
        largest.add(entry(f"s{n}"), work(n))
    fixed, tried = replace(FIXED, held_bytes=GIB), replace(COPIED, limit_bytes=limit)
    return largest.beyond(fixed, [tried], dim=DIM)


def test_only_slides_beyond_the_limit_are_named_the_largest_first() -> None:
    fits, fits_not = GIB // (12 << 10), GIB // (12 << 10) + 1
    found = beyond([7, fits_not, fits, 5 * fits], limit=2 * GIB)
    assert [checked.slide_id for checked in found] == [f"s{5 * fits}", f"s{fits_not}"]
    assert {checked.reason for checked in found} == {"out_of_memory"}
    said = found[0].describe()
    assert "needs about 6.00 GiB, and the limit is 2.00 GiB: raise 'memory_gb' in [limits]" in said


def test_without_a_limit_none_is_too_large() -> None:
    assert beyond([10**9], limit=None) == []


def test_no_more_than_a_few_are_kept() -> None:
    found = beyond(range(1000), limit=1.0)
    assert [checked.slide_id for checked in found] == [f"s{999 - n}" for n in range(KEPT)]


def test_the_limit_is_that_of_the_process_where_pieces_are_tried(
    tmp_path: Path, model: Path
) -> None:
    path = write_slide(tmp_path / "s.svs", Specimen(seed=1, width=600, height=600))
    config = RunConfig(model=model, executor="serial")
    task = MeasureTask(config=config, near=tmp_path, entry=Entry(ref=SlideRef.of(path)))
    with enforced(Limits(memory_bytes=1 << 40), workers=1, tell=lambda _: None):
        assert memory_limit() == 1 << 40
        limited: Any = measure(task)
    free: Any = measure(task)
    assert (limited.limit_bytes, free.limit_bytes) == (1 << 40, None)
    assert 0 < limited.held_bytes < limited.peak_bytes


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    write_colour_model(folder, TileSpec(size_px=64, mpp=1.0))
    return folder


class Small(SerialExecutor):
    """Processes of 3 GiB; that of the slide `dies` is ended when it is tried."""

    def map(
        self, task: Callable[[Any], Any], items: Iterable[Any], **_: Any
    ) -> Iterator[Outcome[Any, Any]]:
        tiles = {"few": 10, "many": 2 * 10**8, "dies": 3}
        for item in items:
            name = getattr(getattr(item, "entry", None), "ref", None)
            result: Any = None
            failure = None
            if isinstance(item, RunConfig):
                result = code_version()
            elif isinstance(item, MeasureTask) and name is None:
                result = replace(FIXED, held_bytes=GIB)
            elif isinstance(item, MeasureTask) and name.slide_id == "dies":
                failure = Failure(kind="out_of_memory", message="its process held 3.1 GiB")
            elif isinstance(item, MeasureTask):
                result = replace(COPIED, limit_bytes=3.0 * GIB)
            elif name is not None:
                n = tiles[name.slide_id]
                result = replace(work(n), megapixels=float(tiles["few"] * 5 - n))
            yield Outcome(item=item, result=result, failure=failure)


def test_a_check_names_what_is_too_large_and_what_did_not_survive_the_try(
    model: Path, tmp_path: Path
) -> None:
    config = RunConfig(model=model, address="10.0.0.1:6379")
    cohort = [entry("few"), entry("many"), entry("dies")]
    found = check_cohort(cohort, tmp_path / "out", config, Small(), memory_bytes=1 << 50)
    assert found.failing == 2
    dies, many = found.problems
    assert dies.startswith("dies: will fail (out_of_memory): its process held 3.1 GiB")
    assert many.startswith("many: will fail (out_of_memory): with 200000000 tiles")
    assert found.estimate is not None


def test_where_no_slide_survived_the_try_that_is_the_answer(model: Path, tmp_path: Path) -> None:
    config = RunConfig(model=model, address="10.0.0.1:6379")
    found = check_cohort([entry("dies")], tmp_path / "out", config, Small())
    assert (found.failing, found.estimate) == (1, None)
    assert "its process held 3.1 GiB" in found.problems[0]
