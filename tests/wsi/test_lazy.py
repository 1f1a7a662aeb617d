"""A lazy slide has the pixels of the slide, whoever reads it, and holds nothing but its name."""

import multiprocessing
import pickle
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import tifffile

import wsi.lazy
from pipelines.conversion.driver import convert_slide
from wsi.errors import SlideNotFoundError, UnreadableRegionError
from wsi.lazy import as_dask, as_masked_dask, borrowed
from wsi.open import open_slide
from wsi.ref import SlideRef
from wsi.testing import write_locating_slide


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(wsi.lazy, "BLOCK_PX", 600)
    yield
    wsi.lazy._idle.close()


def untiled(path: Path, folder: Path) -> Path:
    with open_slide(path) as slide:
        pixels = slide.read_region((0, 0), 0, slide.dimensions)
    tifffile.imwrite(folder / "plain.tif", pixels, photometric="rgb")
    return folder / "plain.tif"


def pyramid(path: Path, folder: Path) -> Path:
    convert_slide(SlideRef.of(path), folder / "p.ome.zarr")
    return folder / "p.ome.zarr"


MADE: dict[str, Callable[[Path, Path], Path]] = {
    "jpeg": lambda path, _: path,
    "tiffslide": untiled,
    "omezarr": pyramid,
}


@pytest.mark.parametrize("reader", MADE)
def test_every_backend_gives_its_pixels(synthetic: Any, tmp_path: Path, reader: str) -> None:
    path = MADE[reader](synthetic.path, tmp_path)
    with open_slide(path) as slide:
        assert slide.reader == ("jpeg" if reader == "omezarr" else reader)
        for level, (width, height) in enumerate(slide.level_dimensions):
            lazy = as_dask(path, level)
            assert (lazy.shape, lazy.dtype) == ((height, width, 3), np.uint8)
            assert max(lazy.chunksize[:2]) <= 600
            whole = slide.read_region((0, 0), level, (width, height))
            off = np.abs(lazy.compute().astype(int) - whole).max()
            assert off <= 0


def test_blocks_are_whole_stored_tiles(synthetic: Any) -> None:
    assert as_dask(synthetic.path).chunks == ((512, 512, 277), (512, 512, 476), (3,))


def test_the_graph_travels_and_names_the_slide(synthetic: Any) -> None:
    lazy = as_dask(SlideRef.of(synthetic.path))
    arrived = pickle.loads(pickle.dumps(lazy))
    np.testing.assert_array_equal(arrived.compute(), lazy.compute())
    assert as_dask(synthetic.path).name == lazy.name
    assert as_dask(synthetic.path, 1).name != lazy.name
    assert len(pickle.dumps(lazy)) < 10_000


def test_reading_and_reducing_a_block_are_one_task(synthetic: Any) -> None:
    mean = as_dask(synthetic.path).mean(axis=(0, 1))
    (optimised,) = dask.optimize(mean)
    tasks = [str(key) for key in optimised.__dask_graph__()]
    assert not [key for key in tasks if "read_block" in key]
    assert sum("chunk" in key for key in tasks) == 9


def test_handles_are_used_by_one_thread_at_a_time_and_kept(
    synthetic: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []

    def open_and_count(ref: SlideRef) -> Any:
        opened.append(open_slide(ref))
        return opened[-1]

    monkeypatch.setattr(wsi.lazy, "open_slide", open_and_count)
    lazy = as_dask(synthetic.path)
    with dask.config.set(scheduler="threads", num_workers=4):
        expected = lazy.compute()
        for _ in range(3):
            np.testing.assert_array_equal(lazy.compute(), expected)
    assert 1 <= len(opened) <= 4
    ref = SlideRef.of(synthetic.path)
    with borrowed(ref) as one, borrowed(ref) as other:
        assert one is not other
    with borrowed(ref) as again:
        assert again in (one, other)


def test_slides_beyond_the_limit_are_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wsi.lazy, "IDLE_SLIDES", 2)
    refs = []
    for n in range(4):
        path = write_locating_slide(tmp_path / f"{n}.svs", width=300, height=200)
        refs.append(SlideRef.of(path))
    closed: list[Path] = []
    for ref in refs:
        with borrowed(ref) as slide:
            monkeypatch.setattr(slide, "close", lambda path=ref.path: closed.append(path))
    assert closed == [refs[0].path, refs[1].path]


def test_a_file_written_anew_is_another_slide(tmp_path: Path) -> None:
    path = write_locating_slide(tmp_path / "a.svs", width=300, height=200)
    before = as_dask(path)
    assert before.compute()[..., 2].max() == 128
    write_locating_slide(path, width=500, height=200)
    after = as_dask(path)
    assert after.shape == (200, 500, 3)
    assert after.name != before.name


def test_what_does_not_decode_raises_or_is_masked(
    synthetic: Any, damage_tile: Callable[[Path, int], Path]
) -> None:
    damaged = damage_tile(synthetic.path, 8)  # x 512-768, y 256-512
    lazy = as_dask(damaged)
    with pytest.raises(UnreadableRegionError):
        lazy.compute()
    np.testing.assert_array_equal(lazy[512:].compute(), as_dask(synthetic.path)[512:].compute())
    pixels, readable = dask.compute(*as_masked_dask(damaged))
    expected = as_dask(synthetic.path).compute()
    expected[256:512, 512:768] = 0
    wanted = np.ones((1301, 1500), np.bool_)
    wanted[256:512, 512:768] = False
    np.testing.assert_array_equal(readable, wanted)
    np.testing.assert_array_equal(pixels, expected)


def test_what_is_not_there_is_said_before_computing(tmp_path: Path, synthetic: Any) -> None:
    with pytest.raises(SlideNotFoundError):
        as_dask(tmp_path / "none.svs")
    with pytest.raises(ValueError, match="level 2: the slide has 2, from 0"):
        as_dask(synthetic.path, 2)


def _mean(path: Path) -> float:
    return float(as_dask(path).mean().compute(scheduler="synchronous"))


def test_a_forked_child_opens_its_own_handles(synthetic: Any) -> None:
    """A spawned one has none to begin with."""
    ref = SlideRef.of(synthetic.path)
    with borrowed(ref):
        pass
    kept = list(wsi.lazy._idle._slides)
    assert kept
    forked = wsi.lazy._IdleSlides()
    forked._slides = kept
    forked.forget()
    assert forked.take(kept[0][0]) is None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_mean, (synthetic.path,)) == _mean(synthetic.path)


def test_memory_is_that_of_a_few_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a slide of 28 MB, one block at a time is held and its reduction."""
    monkeypatch.setattr(wsi.lazy, "BLOCK_PX", 256)
    path = write_locating_slide(tmp_path / "a.svs", width=3072, height=3072)
    mean = as_dask(path).mean(axis=(0, 1))
    tracemalloc.start()
    shown = mean.compute(scheduler="synchronous")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shown == pytest.approx([127.5, 127.5, 128], abs=0.1)
    assert peak < 8e6
