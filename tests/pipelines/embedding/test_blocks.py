"""Tiles of one slide embedded in one task, in blocks, or by several workers: the same bytes."""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cluster.executor import Executor, Outcome
from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from cluster.threads import ThreadExecutor
from distill.card import EncoderCard, ModelCard, TileCard, TrainingCard
from distill.encoders import create_encoder
from pipelines.cohort.manifest import Entry
from pipelines.embedding import work
from pipelines.job import BlockDone
from pipelines.model import save_model
from pipelines.records import read_records
from pipelines.run import run_cohort
from pipelines.runfolder import RECORDS_NAME
from pipelines.settings.config import RunConfig
from pipelines.status import progress
from pipelines.status.progress_file import PROGRESS_NAME
from pipelines.status.status import RunStatus, RunWatch
from pipelines.tasks import step_of
from wsi.atomic import digest
from wsi.plan import TileSpec
from wsi.ref import SlideRef
from wsi.testing import Specimen, write_slide
from wsi.tilestore import read_tiles

pytestmark = pytest.mark.usefixtures("one_thread")

EDGE = 32
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "fitted": {"preprocess": ("macenko",)},
    "bfloat16": {"bfloat16": True},
}


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("slide")
    made = Specimen(seed=7, width=2600, height=2300, pen=True, blur=True)
    return write_slide(folder / "s.svs", made)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network with random weights: its sums depend on which tiles it sees together."""
    folder = tmp_path_factory.mktemp("model")
    spec = TileSpec(size_px=EDGE, mpp=1.0)
    encoder = create_encoder("mobilenetv3_small_050", spec=spec)
    card = ModelCard(
        encoder=EncoderCard(
            architecture="mobilenetv3_small_050",
            identifier=encoder.identifier,
            dim=encoder.dim,
            mean=encoder.mean,
            std=encoder.std,
            licence="Apache-2.0",
        ),
        tile=TileCard(size_px=EDGE, mpp=1.0),
        training=TrainingCard(data="none", data_licence="none", method="none", measures={}),
    )
    save_model(folder, card, encoder)
    return folder


class Counting:
    """An executor that counts the blocks which were tasks of their own, and their time."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.workers = executor.workers
        self.blocks, self.seconds = 0, 0.0

    def map(
        self, task: Callable[[Any], Any], items: Iterable[Any], **follow: Any
    ) -> Iterator[Outcome[Any, Any]]:
        for outcome in self.executor.map(task, items, **follow):
            assert outcome.failure is None, outcome.failure
            if isinstance(outcome.result, BlockDone):
                self.blocks += 1
                self.seconds += outcome.result.seconds
            yield outcome


def run(
    slide: Path, model: Path, out: Path, executor: Executor, settings: str = "plain"
) -> tuple[str, int]:
    """Digest of `tiles.h5`, and the blocks that were tasks; nothing else is left of them."""
    config = RunConfig(model=model, **SETTINGS[settings])
    counting = Counting(executor)
    entry = Entry(ref=SlideRef(path=slide, slide_id="s"))
    assert run_cohort([entry], out, config, counting) == {"ok": 1, "partial": 0, "failed": 0}
    assert not list((out / "slides" / "s").glob(".partial*"))
    return digest(out / "slides" / "s" / "tiles.h5"), counting.blocks


@pytest.fixture(scope="module", params=list(SETTINGS))
def in_one_task(
    request: pytest.FixtureRequest,
    slide: Path,
    model: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[str, str]:
    """The settings' name, and the digest of what one task makes of all tiles at once."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, "BLOCK_TILES", 1 << 20)
        made, blocks = run(slide, model, out, ThreadExecutor(2), request.param)
    assert blocks == 0
    table = read_tiles(out / "slides" / "s" / "tiles.h5")
    assert len(table.coords) > work.BLOCK_TILES  # so that workers which nobody patched cut it
    assert len(table.left_out.coords) > 0
    return request.param, made


@pytest.mark.parametrize("where", ["serial", "threads", "ray"])
def test_cut_and_spread_the_bytes_are_the_same(
    in_one_task: tuple[str, str],
    slide: Path,
    model: Path,
    tmp_path: Path,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, expected = in_one_task
    places: dict[str, Callable[[], AbstractContextManager[Executor]]] = {
        "serial": lambda: nullcontext(SerialExecutor()),
        "threads": lambda: nullcontext(ThreadExecutor(2)),
        "ray": lambda: RayExecutor(workers=2),
    }
    if where != "ray":  # in whose workers nothing is patched
        monkeypatch.setattr(work, "BLOCK_TILES", 150)
    with places[where]() as executor:
        made, blocks = run(slide, model, tmp_path, executor, name)
    assert made == expected
    assert (blocks > 1) == (where != "serial")


def test_slides_that_are_done_are_no_reason_to_leave_another_whole(
    slide: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BLOCK_TILES", 150)
    config = RunConfig(model=model)
    first, *others = (Entry(ref=SlideRef(path=slide, slide_id=name)) for name in "abcd")
    run_cohort(others, tmp_path, config, SerialExecutor())
    counting = Counting(ThreadExecutor(2))
    run_cohort([first, *others], tmp_path, config, counting)
    assert counting.blocks > 1


def test_a_steps_time_is_that_of_its_blocks_too(
    slide: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BLOCK_TILES", 150)
    counting = Counting(ThreadExecutor(2))
    entry = Entry(ref=SlideRef(path=slide, slide_id="s"))
    run_cohort([entry], tmp_path, RunConfig(model=model), counting)
    (record,) = read_records(tmp_path / RECORDS_NAME)
    assert record.seconds["embed"] > counting.seconds - 0.001 > 0  # rounded to milliseconds


class Looking:
    """Two workers in this process, of whom one interrupts the run after so many blocks.

    After each task of the slide the run's folder is looked at; `seen` are pairs of its kind and
    of what was seen.
    """

    workers = 2

    def __init__(self, out: Path, *, most: float = math.inf) -> None:
        self.out, self.most = out, most
        self.seen: list[tuple[str, RunStatus]] = []

    def map(
        self, task: Callable[[Any], Any], items: Iterable[Any], **follow: Any
    ) -> Iterator[Outcome[Any, Any]]:
        for outcome in SerialExecutor().map(task, items, **follow):
            yield outcome
            if isinstance(outcome.item, RunConfig):
                continue
            for _ in range(2):  # of two beats the second began after the driver knew
                before = (self.out / PROGRESS_NAME).stat().st_ino
                while (self.out / PROGRESS_NAME).stat().st_ino == before:
                    time.sleep(0.001)
            self.seen.append((step_of(outcome.item), RunWatch(self.out).look()))
            if len(self.seen) > self.most:
                raise KeyboardInterrupt


def test_how_far_it_is_shows_while_one_slide_is_at_work(
    slide: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BLOCK_TILES", 150)
    monkeypatch.setattr(progress, "BEAT_S", 0.01)
    entry = Entry(ref=SlideRef(path=slide, slide_id="s"))
    killed = Looking(tmp_path, most=3)
    with pytest.raises(KeyboardInterrupt):
        run_cohort([entry], tmp_path, RunConfig(model=model), killed)
    (_, cut), *after = killed.seen
    count = cut.blocks_total
    assert (cut.blocks_done, cut.done_share, cut.eta_s, cut.tiles_per_s) == (0, 0.0, None, 0.0)
    assert [step for step, _ in after] == ["embed"] * 3
    a_block = after[0][1].tiles_per_s * after[0][1].elapsed_s
    assert a_block > 0
    for done, (_, now) in enumerate(after, start=1):
        assert (now.state, now.done, now.running) == ("running", 0, 1)
        assert (now.blocks_done, now.blocks_total) == (done, count)
        assert now.done_share == pytest.approx(done / (count + 1))
        assert now.eta_s == pytest.approx((count + 1 - done) * now.elapsed_s / done)
        assert now.tiles_per_s * now.elapsed_s == pytest.approx(done * a_block)
    assert RunWatch(tmp_path).look().state == "interrupted"

    resumed = Looking(tmp_path)
    run_cohort([entry], tmp_path, RunConfig(model=model), resumed)
    first, fourth, last = (resumed.seen[n][1] for n in (1, 4, -1))
    assert (first.blocks_done, first.done_share > 0) == (1, True)
    assert (first.eta_s, first.tiles_per_s) == (None, 0.0)  # it was merely found done
    assert fourth.eta_s == pytest.approx((count + 1 - 4) * fourth.elapsed_s / 1)
    assert (last.done, last.blocks_done, last.blocks_total, last.done_share) == (1, 0, 0, 1.0)


def test_a_killed_run_goes_on_with_the_blocks_that_are_left(
    in_one_task: tuple[str, str],
    slide: Path,
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, expected = in_one_task
    monkeypatch.setattr(work, "BLOCK_TILES", 150)
    real, asked = work.embed_tiles, []

    def killed_at_the_third(*arguments: Any) -> Any:
        asked.append(tuple(arguments[1].coords[0]))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(work, "embed_tiles", killed_at_the_third)
    with pytest.raises((KeyboardInterrupt, FileNotFoundError)):
        run(slide, model, tmp_path, SerialExecutor(), name)
    made, _ = run(slide, model, tmp_path, SerialExecutor(), name)
    assert made == expected
    assert len(asked) == len(set(asked)) + 1  # the third twice, no other
    assert asked[2] == asked[3]


def test_blocks_are_whole_batches_and_cover_the_grid_once(
    slide: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BLOCK_TILES", 100)
    seen: list[Any] = []
    real = work.EmbeddingWork.make

    def watch(self: Any, block: Any) -> None:
        seen.append(block)
        real(self, block)

    monkeypatch.setattr(work.EmbeddingWork, "make", watch)
    run(slide, model, tmp_path, ThreadExecutor(2))
    seen.sort(key=lambda block: block.first)
    assert [b.first for b in seen] == [0, *(b.last for b in seen[:-1])]
    (length,) = {b.last - b.first for b in seen[:-1]}  # all alike but the last
    assert length % 8 == 0
    assert length <= 100
    assert len(seen) >= work.FEWEST_BLOCKS
    table = read_tiles(tmp_path / "slides" / "s" / "tiles.h5")
    assert seen[-1].last == len(table.coords) + len(table.invalid) + len(table.left_out.coords)
    rows = np.lexsort(table.coords.T)
    np.testing.assert_array_equal(rows, np.arange(len(rows)))  # the grid's order: row by row
