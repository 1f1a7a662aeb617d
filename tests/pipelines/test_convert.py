"""Conversion: in parts, in parallel, continued after any interruption, and never half-written."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import zarr
from ome_zarr_models import v04, v05
from PIL import ImageCms

from cluster.ray_executor import RayExecutor
from cluster.serial import SerialExecutor
from pipelines.conversion import parts
from pipelines.conversion.tasks import ConvertJob
from pipelines.convert import ConvertRecord, convert_slide, convert_slides
from wsi.pyramid.options import PyramidOptions
from wsi.pyramid.write import write_pyramid
from wsi.ref import SlideRef
from wsi.resolution import MppSource, Resolution
from wsi.synthetic.aperio import Associated, write_svs
from wsi.tissue import Tissue

Bytes = dict[str, bytes]
PATTERN = np.random.default_rng(7).integers(60, 240, (1024, 1024, 3), dtype=np.uint8)
SMALL = {"chunk_px": 256, "block_px": 1024}


def write_pattern(path: Path, *, width: int, height: int, **extra: Any) -> Path:
    """A slide with levels 1, 4, … whose content costs nothing to make."""
    smooth = np.repeat(np.repeat(PATTERN[::16, ::16], 16, axis=0), 16, axis=1)

    def read_block(x: int, y: int, w: int, h: int) -> Any:
        rows, columns = np.arange(y, y + h) % 1024, np.arange(x, x + w) % 1024
        return smooth[rows[:, None], columns]

    return write_svs(
        path,
        width=width,
        height=height,
        mpp=0.25,
        magnification=40,
        read_block=read_block,
        **extra,
    )


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three by two shards of copied tiles at level 0, six by five blocks when decoded."""
    return write_pattern(
        tmp_path_factory.mktemp("slides") / "slide.svs", width=17_000, height=9_000
    )


@pytest.fixture(scope="module")
def small_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    label = np.full((40, 60, 3), 200, np.uint8)
    return write_pattern(
        tmp_path_factory.mktemp("small") / "small.svs",
        width=2500,
        height=1900,
        associated=Associated(label=label),
        properties={"User": "Dr Who", "Filename": "S26-1 Smith", "Date": "01/02/26"},
    )


def tree(folder: Path) -> Bytes:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def convert(slide: Path, path: Path, **options: Any) -> ConvertRecord:
    return convert_slide(SlideRef.of(slide), path, options=PyramidOptions(**options), threads=2)


def command(slide: Path, out: Path, *flags: str) -> list[str]:
    raypath = Path(sys.executable).with_name("raypath")
    return [str(raypath), "convert", str(slide), "-o", str(out), *flags]


def test_the_json_of_a_slide(small_slide: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command(small_slide, tmp_path, "--json"), capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)
    path = tmp_path / "small.ome.zarr"
    assert said["slide_id"] == "small"
    assert (said["verdict"], said["codec"], said["invalid_tiles"]) == ("ok", "jpeg", 0)
    assert said["megapixels"] == 4.75
    assert said["levels"] == len(zarr.open_group(path).attrs["ome"]["multiscales"][0]["datasets"])  # type: ignore[call-overload, index]
    assert said["bytes_in"] == small_slide.stat().st_size
    assert said["bytes_out"] == sum(len(data) for data in tree(path).values())
    assert 0 < said["seconds"] < 600
    assert 50e6 < said["peak_rss_bytes"] < 1 << 30


@pytest.mark.parametrize("flags", [("--codec", "auto"), ("--codec", "jpeg", "--quality", "80")])
@pytest.mark.parametrize("executor", ["serial", "threads", "ray"])
def test_killed_again_and_again_the_result_is_that_of_an_undisturbed_run(
    slide: Path, tmp_path: Path, flags: tuple[str, ...], executor: str
) -> None:
    undisturbed = tmp_path / "undisturbed"
    subprocess.run(command(slide, undisturbed, *flags), check=True, capture_output=True)
    generator = random.Random(f"{flags}{executor}")
    out = tmp_path / "killed"
    partial, final = out / ".partial-slide.ome.zarr", out / "slide.ome.zarr"
    killed, seen = 0, 0
    for attempt in range(6):
        process = subprocess.Popen(
            command(slide, out, *flags, "--resume", "--executor", executor, "--workers", "2"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # First while the slide is looked at, then after some parts and a moment more.
        wanted = seen + (generator.randint(0, 2) if attempt else 0)
        while process.poll() is None and not (
            partial.exists() and len(list(partial.glob("parts/*.json"))) >= wanted
        ):
            time.sleep(0.001)
        time.sleep(generator.random() * (0.02 if attempt else 0.2))
        seen = len(list(partial.glob("parts/*.json")))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        if final.exists():
            break
    assert killed >= 2
    last = command(slide, out, *flags, "--resume", "--json")
    done = subprocess.run(last, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["verdict"] == "ok"
    assert tree(final) == tree(undisturbed / "slide.ome.zarr")
    assert [path.name for path in out.iterdir()] == ["slide.ome.zarr"]


def test_resuming_does_only_what_is_left(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "slide.ome.zarr"
    job = ConvertJob(ref=SlideRef.of(slide), path=path, options=PyramidOptions(), resume=True)
    written: list[str] = []

    class Stops:
        """Runs tasks in this process until three parts are written."""

        workers = 1

        def map(self, task: Any, items: Any, *, follow: Any) -> Iterator[Any]:
            def counted(item: Any) -> Any:
                if hasattr(item, "part"):
                    if len(written) == 3:
                        raise KeyboardInterrupt
                    written.append(item.part.part_id)
                return task(item)

            return SerialExecutor().map(counted, items, follow=follow)

    with pytest.raises(KeyboardInterrupt):
        list(convert_slides([job], Stops()))
    assert not path.exists()
    first = list(written)
    assert len(first) == 3
    written.clear()

    original = parts.write_copy
    monkeypatch.setattr(
        parts,
        "write_copy",
        lambda root, part: (written.append(part.part_id), original(root, part))[1],
    )
    (record,) = convert_slides([job], SerialExecutor())
    assert record.verdict == "ok"
    assert not set(first) & set(written)
    assert convert(slide, tmp_path / "other.ome.zarr").verdict == "ok"
    assert tree(path) == tree(tmp_path / "other.ome.zarr")


def test_ray_writes_what_one_process_writes(slide: Path, tmp_path: Path) -> None:
    jobs = [
        ConvertJob(
            ref=SlideRef.of(slide),
            path=tmp_path / f"{codec}.ome.zarr",
            options=PyramidOptions(codec=codec, block_px=2048),
        )
        for codec in ("auto", "zstd")
    ]
    with RayExecutor(workers=2) as executor:
        records = {record.path: record for record in convert_slides(jobs, executor)}
    for codec in ("auto", "zstd"):
        assert records[str(tmp_path / f"{codec}.ome.zarr")].verdict == "ok"
        alone = tmp_path / "alone" / f"{codec}.ome.zarr"
        assert convert(slide, alone, codec=codec, block_px=2048).verdict == "ok"
        assert tree(tmp_path / f"{codec}.ome.zarr") == tree(alone)


@pytest.mark.parametrize("codec", ["zstd", "blosc"])
def test_version_04_for_readers_that_need_it(small_slide: Path, tmp_path: Path, codec: str) -> None:
    path = tmp_path / "image.ome.zarr"
    record = convert(small_slide, path, codec=codec, ngff="0.4", **SMALL)
    assert (record.verdict, record.codec) == ("ok", codec)
    group = zarr.open_group(path, mode="r", zarr_format=2)
    image = v04.Image.from_zarr(group)
    assert image.attributes.multiscales[0].version == "0.4"
    v04.ImageLabel.from_zarr(group["labels/tissue"])  # type: ignore[arg-type]
    array: Any = group["0"]
    assert array.shards is None
    assert (path / "0" / "0" / "3" / "4").is_file()
    with openslide.OpenSlide(small_slide) as slide:
        expected = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(array[:]).transpose(1, 2, 0), expected)
    zipped = convert(small_slide, tmp_path / "v05.ome.zarr", codec=codec, **SMALL)
    assert zipped.levels == record.levels
    for level in range(record.levels or 0):
        other: Any = zarr.open_group(tmp_path / "v05.ome.zarr", mode="r")[str(level)]
        np.testing.assert_array_equal(group[str(level)][:], other[:])  # type: ignore[index]


def test_encoding_as_jpeg_loses_little_and_less_at_higher_quality(
    small_slide: Path, tmp_path: Path
) -> None:
    with openslide.OpenSlide(small_slide) as slide:
        source = np.asarray(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
    errors, sizes = [], []
    for quality in (60, 95):
        path = tmp_path / f"{quality}.ome.zarr"
        record = convert(small_slide, path, codec="jpeg", quality=quality)
        level: Any = zarr.open_group(path, mode="r")["0"]
        pixels = np.asarray(level[:]).transpose(1, 2, 0).astype(int)
        errors.append(np.abs(pixels - source).mean())
        sizes.append(record.bytes_out)
    assert errors[1] < errors[0] < 12
    assert errors[1] < 2
    assert sizes[0] < sizes[1]


def test_filled_levels_lie_between_those_of_the_slide(small_slide: Path, tmp_path: Path) -> None:
    plain, filled = tmp_path / "plain.ome.zarr", tmp_path / "filled.ome.zarr"
    convert(small_slide, plain)
    convert(small_slide, filled, fill_levels=True)
    group = zarr.open_group(filled, mode="r")
    v05.Image.from_zarr(group)
    widths = [group[str(n)].shape[2] for n in range(len(list(group.array_keys())))]  # type: ignore[union-attr]
    assert widths == [2500, 1250, 625, 313]
    slide_levels: Any = zarr.open_group(plain, mode="r")
    np.testing.assert_array_equal(group["2"][:], slide_levels["1"][:])  # type: ignore[index]
    ome: Any = group.attrs["ome"]
    scales = [
        dataset["coordinateTransformations"][0]["scale"][2]
        for dataset in ome["multiscales"][0]["datasets"]
    ]
    assert scales == [0.25, 0.5, 1.0, 2.0]
    between, finest = np.asarray(group["1"][:]).astype(int), np.asarray(group["0"][:])  # type: ignore[index]
    means = finest.reshape(3, 950, 2, 1250, 2).mean(axis=(2, 4))
    assert np.abs(between - means).mean() < 2


def test_what_is_known_of_the_slide_is_kept_but_no_name(small_slide: Path, tmp_path: Path) -> None:
    path = tmp_path / "image.ome.zarr"
    convert(small_slide, path)
    known: Any = zarr.open_group(path, mode="r").attrs["raypath"]
    assert known["properties"]["aperio.AppMag"] == "40"
    assert known["properties"]["aperio.Date"] == "01/02/26"
    assert {"aperio.User", "aperio.Filename"} <= set(known["withheld_properties"])
    assert (known["level0_mpp"], known["mpp_source"]) == (0.25, MppSource.VENDOR.value)
    assert "label" in known["associated_images"]
    assert "associated" not in zarr.open_group(path, mode="r")
    everything = b"".join(tree(path).values())
    assert b"Smith" not in everything
    assert b"Who" not in everything


def test_associated_images_are_copied_when_asked_for(small_slide: Path, tmp_path: Path) -> None:
    path = tmp_path / "image.ome.zarr"
    record = convert(small_slide, path, associated=("label", "macro"))
    images: Any = zarr.open_group(path, mode="r")["associated"]
    assert list(images) == ["label"]
    assert images["label"].shape == (3, 40, 60)
    assert record.flags[-1] == "no_macro_image"


def test_the_colour_profile_is_kept_byte_for_byte(
    tmp_path: Path, array_slide: Callable[[Any], Any]
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    slide = array_slide(np.full((300, 400, 3), 200, np.uint8))
    slide.icc_profile = profile
    tissue = Tissue(mask=np.ones((30, 40), np.bool_), downsample=10.0)
    resolution = Resolution(mpp=0.5, source=MppSource.VENDOR)
    for ngff in ("0.5", "0.4"):
        path = tmp_path / ngff
        write_pyramid(
            slide,
            path,
            name="x",
            resolution=resolution,
            tissue=tissue,
            options=PyramidOptions(codec="zstd", ngff=ngff),  # type: ignore[arg-type]
        )
        stored: Any = zarr.open_group(path, mode="r")["icc/profile"]
        assert stored[:].tobytes() == profile


def test_a_pyramid_that_exists_is_kept_or_replaced_as_asked(
    small_slide: Path, tmp_path: Path
) -> None:
    path = tmp_path / "image.ome.zarr"
    ref = SlideRef.of(small_slide)
    assert convert_slide(ref, path).verdict == "ok"
    before = tree(path)
    refused = convert_slide(ref, path)
    assert (refused.verdict, refused.reason) == ("failed", "usage")
    assert "--overwrite" in (refused.message or "")
    kept = convert_slide(ref, path, resume=True)
    assert (kept.verdict, kept.reused, kept.levels) == ("ok", True, 3)
    other = PyramidOptions(codec="zstd")
    differs = convert_slide(ref, path, options=other, resume=True)
    assert (differs.reason, "other settings" in (differs.message or "")) == ("usage", True)
    assert tree(path) == before
    replaced = convert_slide(ref, path, options=other, overwrite=True)
    assert (replaced.verdict, replaced.codec) == ("ok", "zstd")
    assert [p.name for p in tmp_path.iterdir()] == ["image.ome.zarr"]


def test_two_processes_do_not_write_the_same_pyramid(small_slide: Path, tmp_path: Path) -> None:
    ref, path = SlideRef.of(small_slide), tmp_path / "image.ome.zarr"
    seconds = []

    class Interrupted:
        """Converts the same slide once more between the beginning and the rest."""

        workers = 1

        def map(self, task: Any, items: Any, *, follow: Any) -> Iterator[Any]:
            for outcome in SerialExecutor().map(task, items, follow=follow):
                if not seconds:
                    seconds.append(convert_slide(ref, path))
                yield outcome

    job = ConvertJob(ref=ref, path=path, options=PyramidOptions())
    (first,) = convert_slides([job], Interrupted())
    assert first.verdict == "ok"
    assert seconds[0].reason == "usage"
    assert "another process" in (seconds[0].message or "")


def test_a_slide_that_changes_while_it_is_read_is_refused(
    small_slide: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "growing.svs"
    shutil.copyfile(small_slide, copy)
    path = tmp_path / "out" / "image.ome.zarr"

    class Grows:
        workers = 1

        def map(self, task: Any, items: Any, *, follow: Any) -> Iterator[Any]:
            for outcome in SerialExecutor().map(task, items, follow=follow):
                with copy.open("ab") as file:
                    file.write(b"more")
                yield outcome

    job = ConvertJob(ref=SlideRef.of(copy), path=path, options=PyramidOptions())
    (record,) = convert_slides([job], Grows())
    assert (record.verdict, record.reason) == ("failed", "input_changed")
    assert str(copy) in (record.message or "")
    assert not list(path.parent.iterdir())


def test_a_full_disk_is_said_and_the_work_can_go_on(slide: Path, tmp_path: Path) -> None:
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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_too_small_for_the_copy_is_said_before_any_work(slide: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", megabytes=1) as out:
        record = convert(slide, out / "slide.ome.zarr")
    assert (record.verdict, record.reason) == ("failed", "disk_full")
    assert "needs about" in (record.message or "")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")
def test_a_disk_that_fills_leaves_nothing_under_the_final_name(slide: Path, tmp_path: Path) -> None:
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
        "from pipelines.convert import convert_slide\n"
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
    assert done.stdout.startswith("no_permission"), done.stderr
    assert "--out" in done.stdout


def test_output_inside_the_slide_is_refused(small_slide: Path, tmp_path: Path) -> None:
    source = tmp_path / "series"
    source.mkdir()
    record = convert_slide(SlideRef(path=source, slide_id="x"), source / "image.ome.zarr")
    assert (record.reason, "inside the slide" in (record.message or "")) == ("usage", True)
    assert not list(source.iterdir())


def test_many_slides_and_a_broken_one(small_slide: Path, shared_data: Path, tmp_path: Path) -> None:
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
    small_slide: Path, damage_tile: Callable[[Path, int], Path], tmp_path: Path
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


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_slide_that_ends_early_is_refused_or_partial_and_never_white(
    small_slide: Path, tmp_path: Path, share: float
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
    small_slide: Path, tmp_path: Path, flags: tuple[str, ...], says: str
) -> None:
    done = subprocess.run(command(small_slide, tmp_path, *flags), capture_output=True, text=True)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
