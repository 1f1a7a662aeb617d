"""Conversions that cannot be: full disks, damaged slides, forbidden folders, wrong flags."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from cluster import retries
from cluster.serial import SerialExecutor
from pipelines.conversion.do import do
from pipelines.conversion.driver import convert_slide, convert_slides
from pipelines.conversion.record import ConvertRecord
from pipelines.conversion.tasks import ConvertJob, PartTask, Task
from pipelines.errors import UsageError
from pipelines.output import check_folder
from wsi.errors import UnreachableSlideError
from wsi.pyramid.options import PyramidOptions
from wsi.ref import SlideRef

SMALL = {"chunk_px": 256, "block_px": 1024}


def test_a_full_disk_is_said_and_the_work_can_go_on(
    slide: Path, tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    """A limit on the size of files stands in for a full disk: it is refused in the same way."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))

    done = subprocess.run(
        command(slide, tmp_path, "--json"), capture_output=True, text=True, preexec_fn=limit
    )
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["reason"] == "disk_full"
    assert "MB are free" in said["message"]
    assert "--resume" in said["message"]
    assert not (tmp_path / "slide.ome.zarr").exists()
    subprocess.run(command(slide, tmp_path, "--resume"), check=True, capture_output=True)
    assert (tmp_path / "slide.ome.zarr").is_dir()


def test_a_storage_that_goes_away_costs_no_work(
    small_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []
    gone_after = 1

    def do_while_it_answers(task: Task) -> object:
        if isinstance(task, PartTask):
            if len(parts) == gone_after:
                raise UnreachableSlideError("no answer")
            parts.append(task.part)
        return do(task)

    monkeypatch.setattr(retries, "FIRST_WAIT_S", 0.0)
    monkeypatch.setattr("pipelines.conversion.driver.do", do_while_it_answers)
    options, path = PyramidOptions(codec="zstd", **SMALL), tmp_path / "image.ome.zarr"
    record = convert_slide(SlideRef.of(small_slide), path, options=options)
    assert (record.reason, "--resume" in record.message) == ("unreachable", True)
    gone_after = -1
    again = convert_slide(SlideRef.of(small_slide), path, options=options, resume=True)
    assert again.verdict == "ok"
    assert len(parts) == len({str(part) for part in parts}) > 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_too_small_for_the_copy_is_said_before_any_work(
    slide: Path, tmp_path: Path, convert: Callable[..., ConvertRecord]
) -> None:
    with small_disk(tmp_path / "small", megabytes=1) as out:
        record = convert(slide, out / "slide.ome.zarr")
    assert (record.verdict, record.reason) == ("failed", "disk_full")
    assert "needs about" in (record.message or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_that_fills_leaves_nothing_under_the_final_name(
    slide: Path, tmp_path: Path, convert: Callable[..., ConvertRecord]
) -> None:
    with small_disk(tmp_path / "small", megabytes=4) as out:
        record = convert(slide, out / "slide.ome.zarr", codec="zstd")
        assert (record.verdict, record.reason) == ("failed", "disk_full")
        assert "MB are free" in (record.message or "")
        assert [path.name for path in out.iterdir()] == [".partial-slide.ome.zarr"]


@contextmanager
def small_disk(path: Path, *, megabytes: int) -> Iterator[Path]:
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_a_folder_that_may_not_be_written_to(small_slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "sealed"
    out.mkdir()
    out.chmod(0o555)
    tmp_path.chmod(0o755)

    def become_nobody() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.seteuid(65534)

    # Through the interpreter, because a person's own folders may hide the command from nobody.
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from pipelines.conversion.driver import convert_slide\n"
        "from wsi.ref import SlideRef\n"
        "if os.geteuid() == 0:\n"
        "    os.seteuid(65534)\n"
        f"record = convert_slide(SlideRef.of(Path({str(small_slide)!r})), "
        f"Path({str(out / 'image.ome.zarr')!r}))\n"
        "print(record.reason, record.message)\n"
    )
    for folder in (small_slide.parent, *small_slide.parents[:4], *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("not_writable"), done.stderr
    assert "--out" in done.stdout


def test_output_inside_the_slide_is_refused(small_slide: Path, tmp_path: Path) -> None:
    source = tmp_path / "series"
    source.mkdir()
    record = convert_slide(SlideRef(path=source, slide_id="x"), source / "image.ome.zarr")
    assert (record.reason, "inside the slide" in (record.message or "")) == ("usage", True)
    assert not list(source.iterdir())


@pytest.mark.parametrize("below", [".", "further/down"])
def test_a_file_is_no_folder_for_results(
    small_slide: Path, tmp_path: Path, below: str, command: Callable[..., list[str]]
) -> None:
    file = tmp_path / "out"
    file.write_text("precious")
    done = subprocess.run(command(small_slide, file / below), capture_output=True, text=True)
    assert done.returncode == 2
    assert f"{file} is no folder" in " ".join(done.stderr.split())
    with pytest.raises(UsageError, match="out is no folder"):
        check_folder(file / below / "slides")
    assert file.read_text() == "precious"


def test_many_slides_and_a_broken_one(
    small_slide: Path, shared_data: Path, tmp_path: Path, command: Callable[..., list[str]]
) -> None:
    missing = tmp_path / "missing.svs"
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide at all")
    real = shared_data / "slides" / "CMU-1-Small-Region.svs"
    asked = command(small_slide, tmp_path / "out", str(broken), str(real), "--json")
    done = subprocess.run(asked, capture_output=True, text=True)
    said = {line["slide_id"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    verdicts = {slide_id: line["verdict"] for slide_id, line in said.items()}
    assert verdicts == {"small": "ok", "broken": "failed", "CMU-1-Small-Region": "ok"}
    assert said["broken"]["reason"] == "unsupported"
    (gone,) = convert_slides(
        [
            ConvertJob(
                ref=SlideRef.of(missing),
                path=tmp_path / "out" / "missing.ome.zarr",
                options=PyramidOptions(),
            )
        ],
        SerialExecutor(),
    )
    assert (gone.reason, str(missing) in (gone.message or "")) == ("not_found", True)


def test_a_damaged_tile_makes_the_verdict_partial(
    small_slide: Path,
    damage_tile: Callable[[Path, int], Path],
    tmp_path: Path,
    convert: Callable[..., ConvertRecord],
) -> None:
    damaged = damage_tile(small_slide, 13)
    for codec in ("auto", "zstd"):
        path = tmp_path / f"{codec}.ome.zarr"
        record = convert(damaged, path, codec=codec, **SMALL)
        assert (record.verdict, record.reason) == ("partial", "unreadable_region")
        assert record.invalid_tiles == 1
        validity: Any = zarr.open_group(path, mode="r")["validity/0"]
        assert np.argwhere(~np.asarray(validity[:])).tolist() == [[1, 3]]
        level: Any = zarr.open_group(path, mode="r")["0"]
        assert not np.asarray(level[:, 256:512, 768:1024]).any()


@pytest.mark.parametrize("codec", ["auto", "zstd"])
def test_a_slide_of_which_nothing_decodes_fails_and_leaves_nothing(
    tmp_path: Path, convert: Callable[..., ConvertRecord], codec: str
) -> None:
    slide = tmp_path / "slide.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (600, 700, 3), dtype=np.uint8)
    said: Any = {"photometric": "rgb", "resolution": (20_000, 20_000), "resolutionunit": 3}
    tifffile.imwrite(slide, pixels, tile=(256, 256), compression="deflate", **said)
    with tifffile.TiffFile(slide) as tiff, slide.open("r+b") as file:
        page = tiff.pages.first
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            file.seek(offset)
            file.write(bytes(count))
    path = tmp_path / "out" / "slide.ome.zarr"
    record = convert(slide, path, codec=codec, **SMALL)
    assert (record.verdict, record.reason) == ("failed", "unreadable_region")
    assert "none of the 9 tiles decodes" in record.message
    assert not any(path.parent.iterdir())


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_slide_that_ends_early_is_refused_or_partial_and_never_white(
    small_slide: Path, tmp_path: Path, share: float, convert: Callable[..., ConvertRecord]
) -> None:
    whole = small_slide.read_bytes()
    cut = tmp_path / "cut.svs"
    cut.write_bytes(whole[: int(len(whole) * share)])
    path = tmp_path / "cut.ome.zarr"
    record = convert(cut, path, **SMALL)
    if record.verdict == "failed":
        assert record.reason in ("truncated", "unsupported", "unreadable_region")
        assert not path.exists()
        return
    assert record.verdict == "partial"
    group = zarr.open_group(path, mode="r")
    valid = np.asarray(group["validity/0"][:])  # type: ignore[index]
    assert (~valid).any()
    pixels = np.asarray(group["0"][:])  # type: ignore[index]
    for row, column in np.argwhere(~valid):
        tile = pixels[:, row * 256 : row * 256 + 256, column * 256 : column * 256 + 256]
        assert not tile.any()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--codec", "webp"), "known are auto, jpeg, zstd, blosc"),
        (("--ngff", "0.4"), "choose zstd or blosc"),
        (("--ngff", "0.6"), "known are 0.5, 0.4"),
        (("--quality", "0"), "quality must be in 1-100, got 0"),
        (("--fill-levels", "--codec", "zstd"), "makes every level anyway"),
        (("--resume", "--overwrite"), "give one of them"),
        (("--executor", "dask"), "known are ray, serial"),
    ],
)
def test_what_cannot_be_asked(
    small_slide: Path,
    tmp_path: Path,
    flags: tuple[str, ...],
    says: str,
    command: Callable[..., list[str]],
) -> None:
    done = subprocess.run(command(small_slide, tmp_path, *flags), capture_output=True, text=True)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
